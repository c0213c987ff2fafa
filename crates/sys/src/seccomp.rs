//! seccomp(2): installs a filter program on the calling thread and asks the kernel what it knows.
//!
//! The program is made elsewhere (`runtime::seccomp`); nothing here looks into it.
//!
//! Source: seccomp(2), `linux/seccomp.h`, `linux/filter.h`.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

/// The longest program that the kernel takes, in instructions (`BPF_MAXINSNS`).
pub const MAX_INSTRUCTIONS: usize = 4096;

/// `SECCOMP_FILTER_FLAG_TSYNC`: every thread of the process gets the filter.
pub const FLAG_TSYNC: u32 = 1;
/// `SECCOMP_FILTER_FLAG_LOG`: actions other than allow are logged (4.14).
pub const FLAG_LOG: u32 = 1 << 1;
/// `SECCOMP_FILTER_FLAG_SPEC_ALLOW`: no speculation mitigation comes with the filter (4.17).
pub const FLAG_SPEC_ALLOW: u32 = 1 << 2;
/// `SECCOMP_FILTER_FLAG_NEW_LISTENER`: the call returns a notification descriptor (5.0).
pub const FLAG_NEW_LISTENER: u32 = 1 << 3;
/// `SECCOMP_FILTER_FLAG_TSYNC_ESRCH`: a thread that cannot follow is an error, not its number (5.7).
pub const FLAG_TSYNC_ESRCH: u32 = 1 << 4;
/// `SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV`: only a fatal signal interrupts a notified call (5.19).
pub const FLAG_WAIT_KILLABLE_RECV: u32 = 1 << 5;

/// One instruction of a classic BPF program, laid out as the kernel's `struct sock_filter`.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Instruction {
    /// The operation.
    pub code: u16,
    /// Instructions to skip when the condition holds.
    pub jump_true: u8,
    /// Instructions to skip when it does not.
    pub jump_false: u8,
    /// The operand.
    pub k: u32,
}

const _: () = assert!(size_of::<Instruction>() == size_of::<libc::sock_filter>());
const _: () = assert!(std::mem::offset_of!(Instruction, k) == std::mem::offset_of!(libc::sock_filter, k));

/// Installs `program` on the calling thread (on all threads with [`FLAG_TSYNC`]).
///
/// Returns the notification descriptor when `flags` has [`FLAG_NEW_LISTENER`]. Takes one system call and no memory,
/// so it may run between clone and exec. Fails with `EACCES` when the thread has neither `no_new_privs` nor
/// `CAP_SYS_ADMIN` in its user namespace, with `EINVAL` for a malformed program or an unknown flag.
pub fn install(program: &[Instruction], flags: u32) -> io::Result<Option<OwnedFd>> {
    let len = u16::try_from(program.len()).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
    let fprog = libc::sock_fprog { len, filter: program.as_ptr().cast_mut().cast() };
    // SAFETY: `fprog` names `len` instructions that live until the call returns; `Instruction` has the layout of
    // `sock_filter` (asserted above); the kernel copies the program and writes to none of it.
    let result =
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const fprog) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    if flags & FLAG_NEW_LISTENER == 0 {
        if result > 0 {
            // TSYNC without TSYNC_ESRCH answers with the number of the thread that could not follow.
            return Err(io::Error::from_raw_os_error(libc::ESRCH));
        }
        return Ok(None);
    }
    let fd = i32::try_from(result).map_err(|_| io::Error::from_raw_os_error(libc::EBADF))?;
    // SAFETY: with NEW_LISTENER a non-negative result is a fresh descriptor that nobody else owns.
    Ok(Some(unsafe { OwnedFd::from_raw_fd(fd) }))
}

/// Returns whether the kernel knows the filter action `action` (`SECCOMP_GET_ACTION_AVAIL`, 4.14).
pub fn action_available(action: u32) -> bool {
    // SAFETY: the kernel reads four bytes from the pointer, which outlives the call.
    unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_GET_ACTION_AVAIL, 0, &raw const action) == 0 }
}

/// Returns whether the kernel knows all of `flags`: a null program gives `EFAULT` for known flags, `EINVAL` otherwise.
pub fn flags_available(flags: u32) -> bool {
    let none: *const libc::sock_fprog = std::ptr::null();
    // SAFETY: the kernel checks the flags first and then fails on the null pointer; no filter can come of it.
    let result = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, none) };
    result < 0 && io::Error::last_os_error().raw_os_error() == Some(libc::EFAULT)
}
