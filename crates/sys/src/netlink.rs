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

/// Has the kernel throw away what comes to the netlink socket `socket` and begins with a message of one of `types`, as numbered
/// in `nlmsghdr`; at most 100.
///
/// Source: the kernel's networking/filter.rst (classic BPF); a netlink message has its type at its fifth byte.
pub fn refuse_first_types(socket: impl AsFd, types: &[u16]) -> Result<()> {
    const LOAD_HALF: u16 = (libc::BPF_LD | libc::BPF_H | libc::BPF_ABS) as u16;
    const JUMP_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    if types.len() > 100 {
        return Err(Errno::INVAL);
    }
    let step = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let mut program = vec![step(LOAD_HALF, 0, 0, 4)];
    for (nth, kind) in types.iter().enumerate() {
        // A load is big-endian, the header is in the machine's order. A hit goes behind the others and the pass.
        let value = u32::from(u16::from_be_bytes(kind.to_ne_bytes()));
        program.push(step(JUMP_EQUAL, (types.len() - nth) as u8, 0, value));
    }
    program.push(step(RETURN, 0, 0, u32::MAX));
    program.push(step(RETURN, 0, 0, 0));
    let filter = libc::sock_fprog { len: program.len() as libc::c_ushort, filter: program.as_mut_ptr() };
    let size = size_of::<libc::sock_fprog>() as libc::socklen_t;
    // SAFETY: the pointer names `filter`, whose own pointer and length describe `program`; both live until the call returns,
    // and the kernel only reads and keeps a copy.
    let answer = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            std::ptr::from_ref(&filter).cast(),
            size,
        )
    };
    if answer == 0 {
        Ok(())
    } else {
        Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::INVAL))
    }
}
