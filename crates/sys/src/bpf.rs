//! bpf(2), as far as device rules of cgroup v2 need it: load a program of type `BPF_PROG_TYPE_CGROUP_DEVICE`, attach, replace,
//! detach and list such programs on a group.
//!
//! Source: bpf(2), `linux/bpf.h`, `kernel/bpf/cgroup.c`. Replacing (`BPF_F_REPLACE`) needs Linux 5.6.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// One instruction of an eBPF program, laid out as the kernel's `struct bpf_insn` on a little-endian machine.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Insn {
    /// The operation.
    pub code: u8,
    /// Destination register in the lower, source register in the upper half.
    pub registers: u8,
    /// Offset of a jump or a load.
    pub off: i16,
    /// The operand.
    pub imm: i32,
}

const _: () = assert!(size_of::<Insn>() == 8);

const PROG_LOAD: libc::c_int = 5;
const PROG_ATTACH: libc::c_int = 8;
const PROG_DETACH: libc::c_int = 9;
const PROG_GET_FD_BY_ID: libc::c_int = 13;
const PROG_QUERY: libc::c_int = 16;
const PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const ATTACH_CGROUP_DEVICE: u32 = 6;
/// `BPF_F_ALLOW_MULTI`: programs of groups above and others' on this one are asked too, and all must allow.
const ALLOW_MULTI: u32 = 1 << 1;
/// `BPF_F_REPLACE`.
const REPLACE: u32 = 1 << 2;
/// The most programs that the kernel keeps on one group (`BPF_CGROUP_MAX_PROGS`).
const MOST_PROGRAMS: usize = 64;
/// The kernel wants a licence; only helpers, of which we use none, ask for the GPL.
const LICENSE: &[u8] = b"Apache-2.0\0";

/// The part of `union bpf_attr` that `BPF_PROG_LOAD` reads.
#[repr(C)]
#[derive(Default)]
struct LoadAttr {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
}

/// The part that `BPF_PROG_ATTACH` and `BPF_PROG_DETACH` read.
#[repr(C)]
#[derive(Default)]
struct AttachAttr {
    target_fd: u32,
    attach_bpf_fd: u32,
    attach_type: u32,
    attach_flags: u32,
    replace_bpf_fd: u32,
}

/// The part that `BPF_PROG_QUERY` reads and writes.
#[repr(C)]
#[derive(Default)]
struct QueryAttr {
    target_fd: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    prog_ids: u64,
    prog_cnt: u32,
    padding: u32,
}

/// The part that `BPF_PROG_GET_FD_BY_ID` reads.
#[repr(C)]
#[derive(Default)]
struct IdAttr {
    prog_id: u32,
    next_id: u32,
    open_flags: u32,
    padding: u32,
}

/// Calls bpf(2).
///
/// # Safety
/// `attr` is the part of `union bpf_attr` that `command` reads, and each address in it is valid for what the command does.
unsafe fn bpf<T>(command: libc::c_int, attr: &mut T) -> io::Result<libc::c_long> {
    // SAFETY: the kernel reads and writes at most the given size of `attr`, which outlives the call; the caller vouches for
    // the addresses in it.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attr), size_of::<T>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Takes the descriptor that a successful command returned.
///
/// # Safety
/// `result` is a fresh descriptor that nobody else owns.
unsafe fn take_fd(result: libc::c_long) -> io::Result<OwnedFd> {
    let fd = i32::try_from(result).map_err(|_| io::Error::from_raw_os_error(libc::EBADF))?;
    // SAFETY: the caller vouches for it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn raw(fd: BorrowedFd<'_>) -> u32 {
    fd.as_raw_fd().cast_unsigned()
}

/// Loads a program that decides over devices. The kernel verifies it. Needs `CAP_BPF` and `CAP_NET_ADMIN`, or `CAP_SYS_ADMIN`.
pub fn load_device_program(program: &[Insn]) -> io::Result<OwnedFd> {
    let mut attr = LoadAttr {
        prog_type: PROG_TYPE_CGROUP_DEVICE,
        insn_cnt: u32::try_from(program.len()).map_err(|_| io::Error::from_raw_os_error(libc::E2BIG))?,
        insns: program.as_ptr().addr() as u64,
        license: LICENSE.as_ptr().addr() as u64,
        ..LoadAttr::default()
    };
    // SAFETY: `insns` and `license` are the addresses of slices that outlive the call, read only.
    let result = unsafe { bpf(PROG_LOAD, &mut attr) }?;
    // SAFETY: BPF_PROG_LOAD returns a fresh descriptor (closed on exec by the kernel).
    unsafe { take_fd(result) }
}

/// Attaches `program` to the v2 group `group`, beside others that are there.
pub fn attach_device_program(group: BorrowedFd<'_>, program: &OwnedFd) -> io::Result<()> {
    attach(PROG_ATTACH, group, program.as_fd(), ALLOW_MULTI, None)
}

/// Puts `program` in the place of `old` on `group`, in one step.
pub fn replace_device_program(group: BorrowedFd<'_>, program: &OwnedFd, old: &OwnedFd) -> io::Result<()> {
    attach(PROG_ATTACH, group, program.as_fd(), ALLOW_MULTI | REPLACE, Some(old.as_fd()))
}

/// Takes `program` off `group`.
pub fn detach_device_program(group: BorrowedFd<'_>, program: &OwnedFd) -> io::Result<()> {
    attach(PROG_DETACH, group, program.as_fd(), 0, None)
}

fn attach(
    command: libc::c_int,
    group: BorrowedFd<'_>,
    program: BorrowedFd<'_>,
    flags: u32,
    old: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    let mut attr = AttachAttr {
        target_fd: raw(group),
        attach_bpf_fd: raw(program),
        attach_type: ATTACH_CGROUP_DEVICE,
        attach_flags: flags,
        replace_bpf_fd: old.map_or(0, raw),
    };
    // SAFETY: the attribute holds descriptors and flags, no address.
    unsafe { bpf(command, &mut attr) }.map(drop)
}

/// Returns the device programs that are attached to `group` itself.
pub fn attached_device_programs(group: BorrowedFd<'_>) -> io::Result<Vec<OwnedFd>> {
    let mut ids = [0_u32; MOST_PROGRAMS];
    let mut attr = QueryAttr {
        target_fd: raw(group),
        attach_type: ATTACH_CGROUP_DEVICE,
        prog_ids: ids.as_mut_ptr().addr() as u64,
        prog_cnt: MOST_PROGRAMS as u32,
        ..QueryAttr::default()
    };
    // SAFETY: `prog_ids` is the address of `prog_cnt` numbers that outlive the call and that the kernel may write.
    unsafe { bpf(PROG_QUERY, &mut attr) }?;
    let count = usize::try_from(attr.prog_cnt).unwrap_or_default().min(MOST_PROGRAMS);
    ids[..count].iter().map(|id| program_by_id(*id)).collect()
}

fn program_by_id(id: u32) -> io::Result<OwnedFd> {
    let mut attr = IdAttr { prog_id: id, ..IdAttr::default() };
    // SAFETY: the attribute holds numbers, no address.
    let result = unsafe { bpf(PROG_GET_FD_BY_ID, &mut attr) }?;
    // SAFETY: the command returns a fresh descriptor.
    unsafe { take_fd(result) }
}
