//! Options of netlink sockets that rustix does not have.

#![allow(unsafe_code)]

use std::os::fd::{AsFd, AsRawFd};

use rustix::io::{Errno, Result};

/// Makes error answers leave out the request that they answer (Linux 4.3).
pub const CAP_ACK: i32 = 10;
/// Makes error answers carry a text and the offset of the offending attribute (Linux 4.12).
pub const EXT_ACK: i32 = 11;
/// Makes the kernel check the header of dump requests and filter by it (Linux 4.20).
pub const GET_STRICT_CHK: i32 = 12;

/// Switches `option` of the netlink socket `socket` on.
pub fn enable(socket: impl AsFd, option: i32) -> Result<()> {
    let on: libc::c_int = 1;
    let size = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the pointer names `on`, which lives until the call returns, and `size` is its size; the kernel only reads.
    let answer = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_NETLINK,
            option,
            std::ptr::from_ref(&on).cast(),
            size,
        )
    };
    if answer == 0 {
        Ok(())
    } else {
        Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::INVAL))
    }
}
