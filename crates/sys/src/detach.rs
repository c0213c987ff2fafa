//! Starting a program that outlives its starter and never becomes its zombie, without copying the starter's memory.

#![allow(unsafe_code)]

use std::ffi::{CStr, CString};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;
use std::sync::atomic::{AtomicI32, Ordering};

use rustix::io::{Errno, Result};

/// Bytes of stack of each of the two short-lived helpers; they only make system calls.
const STACK: usize = 32 << 10;

/// The first number to which inherited descriptors are moved out of the way of their targets.
const ASIDE: i32 = 1000;

/// What the helpers share with the starter: it waits until both are gone, so plain borrows are enough.
struct Plan<'a> {
    path: &'a CStr,
    argv: Vec<*const libc::c_char>,
    envp: Vec<*const libc::c_char>,
    // Becomes descriptor 0, 1, 2, …; written by the last helper, which moves them aside.
    fds: Vec<i32>,
    mask: libc::sigset_t,
    pid: AtomicI32,
    errno: AtomicI32,
    inner_stack: *mut u8,
}

/// Starts the program `path` in a new session, with the working directory `/` and exactly the descriptors `fds`, which
/// become its numbers 0, 1, 2, …. Signals are unblocked. Returns its process number; its parent is the reaper of the system, not the caller.
///
/// `env` holds `NAME=value`. Errors are those of `clone` and of `execve`. The caller may have threads: it is suspended while
/// the helpers borrow its memory, and they make nothing but system calls.
pub fn spawn_detached(path: &CStr, args: &[CString], env: &[CString], fds: &[BorrowedFd<'_>]) -> Result<i32> {
    let table = |list: &[CString]| list.iter().map(|text| text.as_ptr()).chain([ptr::null()]).collect();
    let mut outer_stack = vec![0u8; STACK];
    let mut inner_stack = vec![0u8; STACK];
    let mut mask = MaybeUninit::<libc::sigset_t>::uninit();
    let mut old_mask = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: both point to signal sets; sigfillset writes the first, pthread_sigmask the second. No handler may run in a
    // helper, which shares this memory, so all signals are blocked until it has gone.
    let (mask, old_mask) = unsafe {
        libc::sigfillset(mask.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, mask.as_ptr(), old_mask.as_mut_ptr());
        libc::sigemptyset(mask.as_mut_ptr());
        (mask.assume_init(), old_mask.assume_init())
    };
    let mut plan = Plan {
        path,
        argv: table(args),
        envp: table(env),
        fds: fds.iter().map(AsRawFd::as_raw_fd).collect(),
        mask,
        pid: AtomicI32::new(0),
        errno: AtomicI32::new(0),
        inner_stack: stack_top(&mut inner_stack),
    };
    // SAFETY: CLONE_VFORK suspends this thread until the helper has ended, so the stack and the plan outlive it; the
    // stack's top is aligned. No exit signal: nobody else's wait can take it.
    let helper = unsafe {
        libc::clone(
            outer,
            stack_top(&mut outer_stack).cast(),
            libc::CLONE_VM | libc::CLONE_VFORK,
            ptr::from_mut(&mut plan).cast(),
        )
    };
    let failed = (helper < 0).then(last_error);
    if helper > 0 {
        let mut status = 0;
        // SAFETY: waits for the helper just made, by number; it cannot be reaped by anyone else (__WCLONE).
        while unsafe { libc::waitpid(helper, &mut status, libc::__WALL) } < 0 && last_error() == Errno::INTR {
        }
    }
    // SAFETY: restores the mask that was read above.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &old_mask, ptr::null_mut()) };
    match (failed, plan.errno.load(Ordering::Acquire)) {
        (Some(error), _) => Err(error),
        (None, 0) => Ok(plan.pid.load(Ordering::Acquire)),
        (None, errno) => Err(Errno::from_raw_os_error(errno)),
    }
}

fn stack_top(stack: &mut [u8]) -> *mut u8 {
    let end = stack.as_mut_ptr_range().end;
    end.wrapping_sub(end as usize % 16)
}

/// The first helper: its only work is to be the parent that ends at once.
extern "C" fn outer(plan: *mut libc::c_void) -> libc::c_int {
    // SAFETY: `plan` is the starter's, which waits; this is the only code that runs on it. As above, the second helper
    // is waited for (until it has executed or ended) by CLONE_VFORK.
    unsafe {
        let shared = &*plan.cast::<Plan<'_>>();
        let pid = libc::clone(
            inner,
            shared.inner_stack.cast(),
            libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD,
            plan,
        );
        match pid {
            -1 => shared.errno.store(last_error().raw_os_error(), Ordering::Release),
            _ => shared.pid.store(pid, Ordering::Release),
        }
        libc::_exit(0)
    }
}

/// The second helper: becomes the program.
extern "C" fn inner(plan: *mut libc::c_void) -> libc::c_int {
    // SAFETY: `plan` is the starter's and everyone before us waits. The descriptor table is a copy, so what is moved and
    // marked here is ours alone. Only system calls follow, and `_exit` or `execve` end it.
    unsafe {
        let plan = &mut *plan.cast::<Plan<'_>>();
        let errno = become_program(plan);
        plan.errno.store(errno.raw_os_error(), Ordering::Release);
        libc::_exit(127)
    }
}

/// SAFETY: only for [`inner`], see there.
unsafe fn become_program(plan: &mut Plan<'_>) -> Errno {
    // SAFETY: plain system calls on numbers and on C strings and tables that the starter keeps.
    unsafe {
        if libc::setsid() < 0 || libc::chdir(c"/".as_ptr()) < 0 {
            return last_error();
        }
        for fd in &mut plan.fds {
            *fd = libc::fcntl(*fd, libc::F_DUPFD, ASIDE);
            if *fd < 0 {
                return last_error();
            }
        }
        for (target, fd) in plan.fds.iter().enumerate() {
            if libc::dup2(*fd, target as i32) < 0 {
                return last_error();
            }
        }
        if libc::syscall(libc::SYS_close_range, plan.fds.len() as u32, u32::MAX, 0) < 0 {
            return last_error();
        }
        // Rust's start-up ignores it, and what is ignored stays ignored over an exec.
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
        libc::sigprocmask(libc::SIG_SETMASK, &plan.mask, ptr::null_mut());
        libc::execve(plan.path.as_ptr(), plan.argv.as_ptr(), plan.envp.as_ptr());
        last_error()
    }
}

/// Takes over the descriptor `number` that [`spawn_detached`] gave to this program; `None` when it is not open. From then on an
/// `execve` closes it. To be called once for each number, before anything else opens files.
pub fn take_inherited(number: i32) -> Option<OwnedFd> {
    // SAFETY: fcntl on any number is harmless. By the contract the number, when open, is the one that the starter gave,
    // and nothing else in the process owns it.
    unsafe {
        match libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) {
            -1 => None,
            _ => Some(OwnedFd::from_raw_fd(number)),
        }
    }
}

/// Closes every descriptor but 0, 1, 2 and `keep`.
///
/// For a forked child that ends by `exit_now` or `execve`: values that own closed numbers must not be used or dropped.
pub fn close_all_except(keep: &[BorrowedFd<'_>]) -> Result<()> {
    let mut numbers: Vec<u32> = keep.iter().filter_map(|fd| u32::try_from(fd.as_raw_fd()).ok()).collect();
    numbers.sort_unstable();
    let mut first = 3;
    for number in numbers.into_iter().filter(|number| *number >= 3) {
        if number > first {
            close_range(first, number - 1)?;
        }
        first = number + 1;
    }
    close_range(first, u32::MAX)
}

fn close_range(first: u32, last: u32) -> Result<()> {
    // SAFETY: by the contract of the only caller nothing uses the numbers afterwards.
    match unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) } {
        0 => Ok(()),
        _ => Err(last_error()),
    }
}

fn last_error() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::INVAL)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::Read;
    use std::os::fd::AsFd;

    #[test]
    fn the_program_has_the_given_descriptors_and_no_others() {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let null = File::open("/dev/null").unwrap();
        let script = c"echo $(ls /proc/self/fd | wc -l) $(cut -d' ' -f6 /proc/$$/stat) $$ $PWD".to_owned();
        let args = [c"sh".to_owned(), c"-c".to_owned(), script];
        let fds = [null.as_fd(), writer.as_fd(), null.as_fd()];
        let pid = spawn_detached(c"/bin/sh", &args, &[c"PATH=/usr/bin:/bin".to_owned()], &fds).unwrap();
        drop(writer);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        // 0, 1, 2 and the folder that `ls` reads; a session of its own.
        assert_eq!(text, format!("4 {pid} {pid} /\n"));
    }

    #[test]
    fn a_missing_program_is_an_error_and_leaves_no_child() {
        assert_eq!(spawn_detached(c"/nonexistent", &[], &[], &[]), Err(Errno::NOENT));
    }
}
