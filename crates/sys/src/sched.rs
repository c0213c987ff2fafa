//! Scheduling, input/output priority, memory policy, personality and the session keyring of the calling thread.

#![allow(unsafe_code)]

use std::ffi::CStr;

use rustix::io::{Errno, Result};

/// The fields of `struct sched_attr` up to version 1.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SchedAttr {
    /// `SCHED_*`.
    pub policy: u32,
    /// `SCHED_FLAG_*`.
    pub flags: u64,
    /// For `SCHED_OTHER` and `SCHED_BATCH`.
    pub nice: i32,
    /// For `SCHED_FIFO` and `SCHED_RR`.
    pub priority: u32,
    /// For `SCHED_DEADLINE`, nanoseconds.
    pub runtime: u64,
    /// For `SCHED_DEADLINE`, nanoseconds.
    pub deadline: u64,
    /// For `SCHED_DEADLINE`, nanoseconds.
    pub period: u64,
}

#[repr(C)]
struct RawSchedAttr {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
}

/// Sets the calling thread's scheduling policy.
pub fn sched_setattr(attr: SchedAttr) -> Result<()> {
    let raw = RawSchedAttr {
        size: size_of::<RawSchedAttr>() as u32,
        policy: attr.policy,
        flags: attr.flags,
        nice: attr.nice,
        priority: attr.priority,
        runtime: attr.runtime,
        deadline: attr.deadline,
        period: attr.period,
    };
    // SAFETY: `raw` is a sched_attr that says its own size; the kernel reads it only. Thread 0 is the caller.
    check(unsafe { libc::syscall(libc::SYS_sched_setattr, 0, std::ptr::from_ref(&raw), 0) })
}

/// Sets the calling thread's input/output priority: `class` 1 to 3, `level` 0 to 7.
pub fn ioprio_set(class: u16, level: u16) -> Result<()> {
    const IOPRIO_WHO_PROCESS: libc::c_int = 1;
    const CLASS_SHIFT: u32 = 13;
    let value = (u32::from(class) << CLASS_SHIFT) | u32::from(level);
    // SAFETY: three integers; process 0 is the caller.
    check(unsafe { libc::syscall(libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, value) })
}

/// Sets the calling thread's NUMA memory policy: `mode` with its flags, `nodes` as a bit mask.
pub fn set_mempolicy(mode: i32, nodes: &[u64]) -> Result<()> {
    let (mask, bits) =
        if nodes.is_empty() { (std::ptr::null(), 0) } else { (nodes.as_ptr(), nodes.len() * 64 + 1) };
    // SAFETY: the kernel reads `bits - 1` bits, which is the length of `nodes`, or nothing at all.
    check(unsafe { libc::syscall(libc::SYS_set_mempolicy, mode, mask, bits) })
}

/// Sets the execution domain, such as `PER_LINUX32`.
pub fn personality(domain: u64) -> Result<()> {
    // SAFETY: an integer; -1 is the only failure.
    check(libc::c_long::from(unsafe { libc::personality(domain as libc::c_ulong) }).min(0))
}

/// Joins a new session keyring called `name` and returns its serial number.
pub fn new_session_keyring(name: &CStr) -> Result<i32> {
    const KEYCTL_JOIN_SESSION_KEYRING: libc::c_int = 1;
    // SAFETY: `name` is a C string that the kernel copies.
    let key = unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, name.as_ptr()) };
    if key < 0 { Err(last_error()) } else { Ok(key as i32) }
}

/// Lets the owner of the keyring `key` search it, on top of what its possessor may do.
pub fn let_owner_search(key: i32) -> Result<()> {
    const KEYCTL_SETPERM: libc::c_int = 5;
    /// Possessor: all six rights; owner: view, read, search.
    const RIGHTS: u32 = 0x3f0b_0000;
    // SAFETY: two integers.
    check(unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_SETPERM, key, RIGHTS) })
}

fn check(result: libc::c_long) -> Result<()> {
    if result < 0 { Err(last_error()) } else { Ok(()) }
}

fn last_error() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::INVAL)
}
