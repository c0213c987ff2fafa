//! How a process ended that is not a child of ours: `PIDFD_GET_INFO` (Linux 6.13, exit status 6.15).

#![allow(unsafe_code)]

use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::{Errno, Result};

/// `PIDFD_INFO_EXIT` of `linux/pidfd.h`.
const INFO_EXIT: u64 = 1 << 3;

/// `_IOWR(0xff, 11, struct pidfd_info)` with the first published size of the structure, 64 bytes.
const GET_INFO: u32 = (3 << 30) | (64 << 16) | (0xff << 8) | 11;

/// `struct pidfd_info`, version 0.
#[repr(C)]
#[derive(Default)]
struct PidfdInfo {
    mask: u64,
    cgroup_id: u64,
    // pid, tgid, ppid and four pairs of user and group.
    numbers: [u32; 11],
    exit_code: i32,
}

/// Returns the wait status (as `waitpid` encodes it) of a process that has ended, or `None` while it lives.
///
/// The descriptor must have been opened before the process was reaped. Kernels without it answer `ENOTTY` or `EINVAL`.
pub fn exit_status(pidfd: BorrowedFd<'_>) -> Result<Option<i32>> {
    let mut info = PidfdInfo { mask: INFO_EXIT, ..PidfdInfo::default() };
    // SAFETY: the request carries the size of `info`, which is what the kernel reads and writes at most.
    let done = unsafe { libc::ioctl(pidfd.as_raw_fd(), GET_INFO as _, &mut info) };
    if done < 0 {
        return match Errno::from_io_error(&std::io::Error::last_os_error()) {
            // Reaped before the descriptor was opened, or a kernel that tells nothing of the dead.
            Some(error) => Err(error),
            None => Err(Errno::INVAL),
        };
    }
    Ok((info.mask & INFO_EXIT != 0).then_some(info.exit_code))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::{Forked, clone3, exit_now};
    use rustix::process::{WaitId, WaitIdOptions, waitid};
    use std::os::fd::AsFd;

    #[test]
    fn the_layout_is_the_kernels() {
        assert_eq!(size_of::<PidfdInfo>(), 64);
    }

    #[test]
    fn the_status_outlives_the_reaping() {
        let Forked::Parent { pidfd, .. } = clone3(0, None).unwrap() else { exit_now(42) };
        waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED).unwrap();
        match exit_status(pidfd.as_fd()) {
            Ok(status) => assert_eq!(status, Some(42 << 8)),
            Err(error) => eprintln!("SKIP this kernel has no PIDFD_GET_INFO: {error}"),
        }
    }
}
