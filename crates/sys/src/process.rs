//! Making and replacing processes: `clone3`, `execve`, `execveat`, `close_range`, `unshare`.

#![allow(unsafe_code)]

use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::ptr;

use rustix::io::{Errno, Result};

/// New namespaces and other wishes for a child, as `CLONE_*` bits of `linux/sched.h`.
pub mod clone_flags {
    /// A new time namespace.
    pub const NEWTIME: u64 = 0x0000_0080;
    /// A new mount namespace.
    pub const NEWNS: u64 = 0x0002_0000;
    /// The child's parent is the caller's parent.
    pub const PARENT: u64 = 0x0000_8000;
    /// A new cgroup namespace.
    pub const NEWCGROUP: u64 = 0x0200_0000;
    /// A new namespace for host and domain name.
    pub const NEWUTS: u64 = 0x0400_0000;
    /// A new System V and message queue namespace.
    pub const NEWIPC: u64 = 0x0800_0000;
    /// A new user namespace.
    pub const NEWUSER: u64 = 0x1000_0000;
    /// A new process namespace.
    pub const NEWPID: u64 = 0x2000_0000;
    /// A new network namespace.
    pub const NEWNET: u64 = 0x4000_0000;
}

const CLONE_PIDFD: u64 = 0x0000_1000;
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// The side on which [`clone3`] returned.
#[derive(Debug)]
pub enum Forked {
    /// The caller: the child's number in the caller's process namespace, and a descriptor of it.
    Parent {
        /// The child's process number.
        pid: i32,
        /// The child.
        pidfd: OwnedFd,
    },
    /// The new process.
    Child,
}

/// `struct clone_args` of version 2 (Linux 5.7).
#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// Forks with `flags` (see [`clone_flags`]), the child being born in `cgroup` (a folder of a cgroup2 mount) where given.
///
/// The caller must have one thread: a lock that another thread holds stays held in the child for ever. Handlers of the C
/// library for `fork` do not run. The child must end with [`exit_now`] or `execve`, not by returning from `main`.
pub fn clone3(flags: u64, cgroup: Option<BorrowedFd<'_>>) -> Result<Forked> {
    let mut pidfd: RawFd = -1;
    let mut args = CloneArgs {
        flags: flags | CLONE_PIDFD,
        pidfd: ptr::from_mut(&mut pidfd) as u64,
        // With CLONE_PARENT the kernel takes the caller's own exit signal and refuses another.
        exit_signal: if flags & clone_flags::PARENT == 0 { libc::SIGCHLD as u64 } else { 0 },
        ..CloneArgs::default()
    };
    if let Some(cgroup) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = cgroup.as_raw_fd() as u64;
    }
    // SAFETY: `args` is a valid clone_args of the given size and lives through the call; `pidfd` is where the kernel writes
    // one int. Without CLONE_VM and with a zero stack the child runs on a copy of this memory, as after fork.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, ptr::from_mut(&mut args), size_of::<CloneArgs>()) };
    match pid {
        -1 => Err(last_error()),
        0 => Ok(Forked::Child),
        pid => {
            // SAFETY: the kernel has just made this descriptor for us and nobody else knows it.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            Ok(Forked::Parent { pid: pid as i32, pidfd })
        }
    }
}

/// Ends the process at once: no destructor, no buffer, no handler runs.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: _exit takes any number and does not return; nothing of ours runs after it.
    unsafe { libc::_exit(code) }
}

/// The argument and environment vectors of a program, laid out before they are needed.
#[derive(Debug)]
pub struct ExecVectors {
    // The pointer tables point into these; they are never changed after `new`.
    _strings: Vec<CString>,
    argv: Vec<*const libc::c_char>,
    envp: Vec<*const libc::c_char>,
}

impl ExecVectors {
    /// Lays out `args` and `env`.
    pub fn new(args: Vec<CString>, env: Vec<CString>) -> Self {
        let table = |list: &[CString]| {
            list.iter().map(|text| text.as_ptr()).chain([ptr::null()]).collect::<Vec<*const libc::c_char>>()
        };
        let (argv, envp) = (table(&args), table(&env));
        let mut strings = args;
        strings.extend(env);
        Self { _strings: strings, argv, envp }
    }
}

/// Replaces the program by the file at `path`; returns only on failure.
pub fn execve(path: &CStr, vectors: &ExecVectors) -> Errno {
    // SAFETY: `path` is a C string; both tables end with null and point to C strings that `vectors` owns.
    unsafe { libc::execve(path.as_ptr(), vectors.argv.as_ptr(), vectors.envp.as_ptr()) };
    last_error()
}

/// Replaces the program by the open file `file`; returns only on failure.
pub fn fexecve(file: BorrowedFd<'_>, vectors: &ExecVectors) -> Errno {
    // SAFETY: an empty path with AT_EMPTY_PATH names the descriptor itself, which is borrowed for the call; the tables
    // are as in `execve`.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            file.as_raw_fd(),
            c"".as_ptr(),
            vectors.argv.as_ptr(),
            vectors.envp.as_ptr(),
            libc::AT_EMPTY_PATH,
        )
    };
    last_error()
}

/// Closes every descriptor from `first` on except `kept`, which gets the number `first` and the close-on-exec flag. Only for
/// a process that is about to execute a program or to end: owners that still exist must not be used or dropped afterwards.
pub fn close_from(first: i32, kept: OwnedFd) -> Result<OwnedFd> {
    let kept = if kept.as_raw_fd() == first {
        kept
    } else {
        // SAFETY: dup3 replaces number `first`, which by the contract has no owner that is used any more.
        match unsafe { libc::dup3(kept.into_raw_fd(), first, libc::O_CLOEXEC) } {
            -1 => return Err(last_error()),
            // SAFETY: just made, and every other owner of the number is given up.
            number => unsafe { OwnedFd::from_raw_fd(number) },
        }
    };
    close_range(first.cast_unsigned() + 1, u32::MAX)?;
    Ok(kept)
}

/// Closes every descriptor from `first` on except those of `kept`. The same contract as for [`close_from`].
pub fn close_from_except(first: u32, kept: &[BorrowedFd<'_>]) -> Result<()> {
    let mut numbers: Vec<u32> = kept.iter().map(|fd| fd.as_raw_fd().cast_unsigned()).collect();
    numbers.sort_unstable();
    let mut next = first;
    for number in numbers.into_iter().filter(|number| *number >= first) {
        if number > next {
            close_range(next, number - 1)?;
        }
        next = number + 1;
    }
    close_range(next, u32::MAX)
}

fn close_range(first: u32, last: u32) -> Result<()> {
    // SAFETY: by the contract of the callers no owner of these numbers is used or dropped afterwards.
    if unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) } == 0 {
        return Ok(());
    }
    match last_error() {
        // Before Linux 5.9: one by one, as far as numbers go by default.
        Errno::NOSYS => {
            for number in first..=last.min(4096) {
                // SAFETY: as above; numbers that are not open answer an error that is right to ignore.
                unsafe { libc::close(number.cast_signed()) };
            }
            Ok(())
        }
        error => Err(error),
    }
}

/// Closes every descriptor. Only for a process that goes on without any (a reaper): owners that still exist must never be
/// dropped, and nothing may be opened.
pub fn close_all() {
    // What cannot be closed stays open; there is nobody to tell.
    let _ = close_range(0, u32::MAX);
}

/// Closes the copy that a cloned process has of a descriptor of its parent. Only for a child that never returns into the
/// frames of its parent, where the owner of the number would be dropped.
pub fn close_copy(number: RawFd) {
    // SAFETY: by the contract the owner of this number is not used or dropped in this process.
    unsafe { libc::close(number) };
}

/// Moves the process into new namespaces (`CLONE_NEW*` bits of [`clone_flags`]).
pub fn unshare(flags: u64) -> Result<()> {
    let flags = i32::try_from(flags).map_err(|_| Errno::INVAL)?;
    // SAFETY: namespace flags change no memory and no descriptor table; CLONE_FILES and CLONE_VM cannot be in `flags`
    // by the documented contract, and would only unshare what one thread has for itself.
    match unsafe { libc::unshare(flags) } {
        0 => Ok(()),
        _ => Err(last_error()),
    }
}

/// Makes descriptor number `target` a copy of `source`, without the close-on-exec flag.
pub fn dup_to(source: BorrowedFd<'_>, target: i32) -> Result<()> {
    if source.as_raw_fd() == target {
        // SAFETY: fcntl with F_SETFD on a borrowed, open descriptor.
        return match unsafe { libc::fcntl(target, libc::F_SETFD, 0) } {
            -1 => Err(last_error()),
            _ => Ok(()),
        };
    }
    // SAFETY: dup2 replaces number `target`; callers use it for 0, 1 and 2, which nothing owns, just before an exec.
    match unsafe { libc::dup2(source.as_raw_fd(), target) } {
        -1 => Err(last_error()),
        _ => Ok(()),
    }
}

/// Takes the descriptor with number `number` that the process was given, or `None` when it is not open.
pub fn inherited_fd(number: i32) -> Option<OwnedFd> {
    // SAFETY: fcntl with F_DUPFD_CLOEXEC on any number is harmless; the copy is ours alone.
    match unsafe { libc::fcntl(number, libc::F_DUPFD_CLOEXEC, 3) } {
        -1 => None,
        // SAFETY: just made by fcntl, known to nobody else.
        copy => Some(unsafe { OwnedFd::from_raw_fd(copy) }),
    }
}

/// Sends `signal` to the process `pid`, by number (realtime signals too).
pub fn kill(pid: i32, signal: i32) -> Result<()> {
    // SAFETY: kill takes any two numbers.
    match unsafe { libc::kill(pid, signal) } {
        0 => Ok(()),
        _ => Err(last_error()),
    }
}

/// Sends `signal` to the process of `pidfd`, by number (realtime signals too).
pub fn pidfd_kill(pidfd: BorrowedFd<'_>, signal: i32) -> Result<()> {
    // SAFETY: a null siginfo asks the kernel to fill one in; the descriptor is borrowed for the call.
    let done = unsafe {
        libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, ptr::null::<libc::c_void>(), 0)
    };
    if done == 0 { Ok(()) } else { Err(last_error()) }
}

fn last_error() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::INVAL)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::{WaitId, WaitIdOptions, waitid};
    use std::os::fd::AsFd;

    #[test]
    fn a_child_is_waited_for_by_descriptor() {
        match clone3(0, None).unwrap() {
            Forked::Child => exit_now(7),
            Forked::Parent { pid, pidfd } => {
                assert!(pid > 0);
                let status = waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED).unwrap().unwrap();
                assert_eq!(status.exit_status(), Some(7));
            }
        }
    }

    #[test]
    fn vectors_end_with_null() {
        let vectors = ExecVectors::new(vec![c"a".into(), c"b".into()], Vec::new());
        assert_eq!((vectors.argv.len(), vectors.envp.len()), (3, 1));
        assert_eq!(execve(c"/nonexistent/program", &vectors), Errno::NOENT);
    }
}
