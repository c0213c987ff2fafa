//! Signals of a single-threaded process: all back to their defaults before an exec, or blocked and waited for.

#![allow(unsafe_code)]

use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;

use rustix::io::{Errno, Result};

/// What [`wait`] got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received {
    /// The signal's number.
    pub signal: i32,
    /// Who sent it, 0 for the kernel and for processes of other namespaces.
    pub sender: i32,
}

/// Sets every signal to its default action and unblocks all of them.
pub fn reset() -> Result<()> {
    for number in 1..=libc::SIGRTMAX() {
        // SAFETY: SIG_DFL installs no function of ours; numbers that may not be changed answer an error that is right
        // to ignore (SIGKILL, SIGSTOP, those of the C library).
        unsafe { libc::signal(number, libc::SIG_DFL) };
    }
    set_mask(|set| {
        // SAFETY: `set` points to a signal set that is written here.
        unsafe { libc::sigemptyset(set) };
    })
}

/// Blocks every signal, so that [`wait`] gets them.
pub fn block_all() -> Result<()> {
    set_mask(|set| {
        // SAFETY: `set` points to a signal set that is written here.
        unsafe { libc::sigfillset(set) };
    })
}

/// Waits for any signal. They must be blocked.
pub fn wait() -> Result<Received> {
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    // SAFETY: both pointers are to memory of the right type; sigfillset initialises the set before it is read, and a
    // successful sigwaitinfo fills `info`, whose si_pid is read only for signals that processes send or SIGCHLD.
    unsafe {
        libc::sigfillset(set.as_mut_ptr());
        let signal = libc::sigwaitinfo(set.as_ptr(), info.as_mut_ptr());
        if signal < 0 {
            return Err(last_error());
        }
        let info = info.assume_init();
        let sender = if info.si_code <= 0 || signal == libc::SIGCHLD { info.si_pid() } else { 0 };
        Ok(Received { signal, sender })
    }
}

/// Blocks every signal and returns a descriptor from which they are read ([`read_descriptor`]); it does not wait.
pub fn descriptor() -> Result<OwnedFd> {
    block_all()?;
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigfillset initialises the set before signalfd reads it; -1 asks for a new descriptor, which is ours alone.
    unsafe {
        libc::sigfillset(set.as_mut_ptr());
        match libc::signalfd(-1, set.as_ptr(), libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) {
            -1 => Err(last_error()),
            fd => Ok(OwnedFd::from_raw_fd(fd)),
        }
    }
}

/// Reads one signal; `None` when there is none.
pub fn read_descriptor(descriptor: BorrowedFd<'_>) -> Result<Option<Received>> {
    let mut bytes = [0; size_of::<libc::signalfd_siginfo>()];
    match rustix::io::read(descriptor, &mut bytes) {
        Err(Errno::AGAIN | Errno::INTR) => Ok(None),
        Err(error) => Err(error),
        Ok(length) if length == bytes.len() => {
            // SAFETY: signalfd_siginfo is plain integers, for which any bytes are valid; the kernel filled all of them.
            let info: libc::signalfd_siginfo = unsafe { ptr::read_unaligned(bytes.as_ptr().cast()) };
            Ok(Some(Received { signal: info.ssi_signo as i32, sender: info.ssi_pid as i32 }))
        }
        Ok(_) => Err(Errno::IO),
    }
}

fn set_mask(fill: impl FnOnce(*mut libc::sigset_t)) -> Result<()> {
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    fill(set.as_mut_ptr());
    // SAFETY: `fill` has initialised the set; the old mask is not asked for.
    match unsafe { libc::sigprocmask(libc::SIG_SETMASK, set.as_ptr(), ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(last_error()),
    }
}

fn last_error() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::INVAL)
}
