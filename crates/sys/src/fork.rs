//! The plain `fork`, for where clone3 is refused: default seccomp profiles answer it with ENOSYS, because a filter cannot
//! look into its arguments.
#![allow(unsafe_code)]

use rustix::io::{Errno, Result};

/// Forks; `None` in the child, its number in the parent.
///
/// The caller must have one thread: a lock that another thread holds stays held in the child for ever. The child must end
/// with [`crate::process::exit_now`] or `execve`, not by returning from `main`.
pub fn fork() -> Result<Option<i32>> {
    // SAFETY: fork takes no argument; the caller has one thread (see above), so that the child's copy of this memory
    // holds no lock of a thread that is not there.
    match unsafe { libc::fork() } {
        -1 => Err(Errno::from_raw_os_error(
            std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EAGAIN),
        )),
        0 => Ok(None),
        pid => Ok(Some(pid)),
    }
}
