//! Watching another process at each of its system calls, and putting an error in the place of one: ptrace(2), for tests of what
//! happens when something fails. The program itself traces nobody.

#![allow(unsafe_code)]

use std::mem::{MaybeUninit, offset_of};
use std::ptr;

use rustix::io::{Errno, Result};

// linux/ptrace.h; not in libc for every C library.
const GET_SYSCALL_INFO: libc::c_int = 0x420e;
const OPTION_SYSGOOD: usize = 0x01;
const OPTION_FORK: usize = 0x02;
const OPTION_VFORK: usize = 0x04;
const OPTION_CLONE: usize = 0x08;
const OPTION_EXEC: usize = 0x10;
const OPTION_EXITKILL: usize = 0x0010_0000;
const EVENT_EXEC: i32 = 4;
const EVENT_STOP: i32 = 128;
const WNOTHREAD: libc::c_int = 0x2000_0000;

/// Why a traced process stopped, or how it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Before or after a system call; see [`syscall`].
    Syscall,
    /// It made a process or a thread, which is traced too and has this number.
    Forked(i32),
    /// It executes another program.
    Executed,
    /// It is new, or was interrupted: it goes on with [`go_on`].
    Paused,
    /// A stopping signal stopped it; [`listen`] leaves it so.
    Group,
    /// A signal is to be delivered; hand it to [`go_on`].
    Signal(i32),
    /// It ended with this status.
    Exited(i32),
    /// A signal killed it.
    Killed(i32),
}

/// One system call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Syscall {
    /// It is about to happen: number and arguments.
    Entry(i64, [u64; 6]),
    /// It has happened.
    Exit,
    /// The process is not stopped at one.
    None,
}

/// What a process that goes on is stopped at next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// The next event: a new process or program, a signal.
    Event,
    /// The next system call, too.
    Syscall,
}

/// `struct ptrace_syscall_info`, Linux 5.3, as far as the arguments of an entry.
#[repr(C)]
#[derive(Clone, Copy)]
struct Info {
    op: u8,
    pad: [u8; 3],
    arch: u32,
    instruction: u64,
    stack: u64,
    number: u64,
    arguments: [u64; 6],
    // Room for what a newer kernel adds.
    rest: [u64; 4],
}

/// Begins to trace the process `pid` and all that it will make; they are killed when the tracer ends. It goes on running.
///
/// Only the calling thread may use the other functions on them.
pub fn seize(pid: i32) -> Result<()> {
    let options = OPTION_SYSGOOD | OPTION_FORK | OPTION_VFORK | OPTION_CLONE | OPTION_EXEC | OPTION_EXITKILL;
    request(libc::PTRACE_SEIZE, pid, 0, options)
}

/// Asks a running traced process to stop; [`wait`] then returns [`Stop::Paused`], or what happened first.
pub fn interrupt(pid: i32) -> Result<()> {
    request(libc::PTRACE_INTERRUPT, pid, 0, 0)
}

/// Lets a stopped process go on, with `signal` delivered unless it is 0.
pub fn go_on(pid: i32, until: Until, signal: i32) -> Result<()> {
    let how = if until == Until::Syscall { libc::PTRACE_SYSCALL } else { libc::PTRACE_CONT };
    request(how, pid, 0, signal.unsigned_abs() as usize)
}

/// Leaves a process stopped that a stopping signal stopped, until it is continued by another signal.
pub fn listen(pid: i32) -> Result<()> {
    request(libc::PTRACE_LISTEN, pid, 0, 0)
}

/// Ends the tracing of a stopped process, which goes on.
pub fn detach(pid: i32, signal: i32) -> Result<()> {
    request(libc::PTRACE_DETACH, pid, 0, signal.unsigned_abs() as usize)
}

/// Returns what system call a process is stopped at.
pub fn syscall(pid: i32) -> Result<Syscall> {
    let mut info = MaybeUninit::<Info>::zeroed();
    let size = size_of::<Info>();
    request(GET_SYSCALL_INFO, pid, size, info.as_mut_ptr() as usize)?;
    // SAFETY: every byte was zero before the kernel wrote a part of them, and every pattern of bytes is an Info.
    let info = unsafe { info.assume_init() };
    Ok(match info.op {
        1 => Syscall::Entry(info.number.cast_signed(), info.arguments),
        2 => Syscall::Exit,
        _ => Syscall::None,
    })
}

/// Has the system call that a process is about to make not happen.
pub fn skip(pid: i32) -> Result<()> {
    #[cfg(target_arch = "x86_64")]
    {
        let mut registers = registers(pid)?;
        registers.orig_rax = u64::MAX;
        set_registers(pid, &registers)
    }
    #[cfg(target_arch = "aarch64")]
    {
        const NT_ARM_SYSTEM_CALL: usize = 0x404;
        let mut none: libc::c_int = -1;
        let part =
            libc::iovec { iov_base: ptr::from_mut(&mut none).cast(), iov_len: size_of::<libc::c_int>() };
        request(libc::PTRACE_SETREGSET, pid, NT_ARM_SYSTEM_CALL, ptr::from_ref(&part) as usize)
    }
}

/// Has the system call that a process has just made, or skipped, answer `error`.
pub fn answer(pid: i32, error: Errno) -> Result<()> {
    let mut registers = registers(pid)?;
    let value = i64::from(-error.raw_os_error()).cast_unsigned();
    #[cfg(target_arch = "x86_64")]
    {
        registers.rax = value;
    }
    #[cfg(target_arch = "aarch64")]
    {
        registers.regs[0] = value;
    }
    set_registers(pid, &registers)
}

/// Waits for the next stop or end of a process that this thread traces or has made; `None` when there is no such process.
pub fn wait() -> Result<Option<(i32, Stop)>> {
    let mut status = 0;
    // SAFETY: `status` is where the kernel writes one int.
    let pid = unsafe { libc::waitpid(-1, ptr::from_mut(&mut status), libc::__WALL | WNOTHREAD) };
    if pid == -1 {
        return match last_error() {
            Errno::CHILD => Ok(None),
            error => Err(error),
        };
    }
    Ok(Some((pid, decode(pid, status)?)))
}

fn decode(pid: i32, status: i32) -> Result<Stop> {
    if libc::WIFEXITED(status) {
        return Ok(Stop::Exited(libc::WEXITSTATUS(status)));
    }
    if libc::WIFSIGNALED(status) {
        return Ok(Stop::Killed(libc::WTERMSIG(status)));
    }
    let (signal, event) = (libc::WSTOPSIG(status), status >> 16);
    Ok(match event {
        0 if signal == libc::SIGTRAP | 0x80 => Stop::Syscall,
        0 => Stop::Signal(signal),
        EVENT_STOP if signal == libc::SIGTRAP => Stop::Paused,
        EVENT_STOP => Stop::Group,
        EVENT_EXEC => Stop::Executed,
        _ => Stop::Forked(message(pid)?),
    })
}

fn message(pid: i32) -> Result<i32> {
    let mut value: libc::c_ulong = 0;
    request(libc::PTRACE_GETEVENTMSG, pid, 0, ptr::from_mut(&mut value) as usize)?;
    i32::try_from(value).map_err(|_| Errno::INVAL)
}

fn registers(pid: i32) -> Result<libc::user_regs_struct> {
    let mut registers = MaybeUninit::<libc::user_regs_struct>::zeroed();
    let mut part =
        libc::iovec { iov_base: registers.as_mut_ptr().cast(), iov_len: size_of::<libc::user_regs_struct>() };
    request(libc::PTRACE_GETREGSET, pid, NT_PRSTATUS, ptr::from_mut(&mut part) as usize)?;
    // SAFETY: plain numbers, all zero before the kernel wrote them.
    Ok(unsafe { registers.assume_init() })
}

fn set_registers(pid: i32, registers: &libc::user_regs_struct) -> Result<()> {
    let part = libc::iovec {
        iov_base: ptr::from_ref(registers).cast_mut().cast(),
        iov_len: size_of::<libc::user_regs_struct>(),
    };
    request(libc::PTRACE_SETREGSET, pid, NT_PRSTATUS, ptr::from_ref(&part) as usize)
}

const NT_PRSTATUS: usize = 1;

fn request(what: libc::c_int, pid: i32, address: usize, data: usize) -> Result<()> {
    // SAFETY: the callers pass numbers, or the address of a value of theirs that lives through the call and has the size that
    // the request writes (GETEVENTMSG one long, GETREGSET what its iovec says, GET_SYSCALL_INFO `address` bytes). Other
    // processes' memory is not ours.
    match unsafe { libc::ptrace(what, pid, address, data) } {
        -1 => Err(last_error()),
        _ => Ok(()),
    }
}

fn last_error() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::INVAL)
}

const _: () = assert!(offset_of!(Info, number) == 24 && offset_of!(Info, arguments) == 32);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::{Forked, clone3, exit_now};

    /// A child that asks for its parent's number, and ends with it being an error.
    #[test]
    fn a_call_is_seen_and_replaced_by_an_error() {
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        let Forked::Parent { pid, .. } = clone3(0, None).unwrap() else {
            let mut byte = [0; 1];
            let _ = rustix::io::read(&reader, &mut byte);
            let fails = rustix::fs::mkdir(c"/nonexistent/folder", rustix::fs::Mode::RWXU);
            exit_now(fails.err().map_or(0, |error| error.raw_os_error()));
        };
        seize(pid).unwrap();
        interrupt(pid).unwrap();
        rustix::io::write(&writer, b"x").unwrap();
        let mut injected = false;
        let status = loop {
            let Some((_, stop)) = wait().unwrap() else { panic!("there is no child") };
            match stop {
                Stop::Exited(status) => break status,
                Stop::Syscall => match syscall(pid).unwrap() {
                    Syscall::Entry(libc::SYS_mkdir | libc::SYS_mkdirat, _) => {
                        injected = true;
                        skip(pid).unwrap();
                    }
                    Syscall::Exit if injected => {
                        injected = false;
                        answer(pid, Errno::NOSPC).unwrap();
                    }
                    _ => {}
                },
                _ => {}
            }
            go_on(pid, Until::Syscall, 0).unwrap();
        };
        assert_eq!(status, Errno::NOSPC.raw_os_error());
    }
}
