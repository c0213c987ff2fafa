//! Signals as something to poll: `signalfd`, and the mask that it needs.

#![allow(unsafe_code)]

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;

use rustix::io::{Errno, Result};

/// A descriptor that becomes readable when one of its signals is pending. The signals are blocked in the calling thread;
/// dropping it restores the former mask.
pub struct SignalFd {
    fd: OwnedFd,
    former: libc::sigset_t,
}

impl SignalFd {
    /// Blocks `signals` in this thread and makes them readable. A program with threads must block them in each.
    pub fn new(signals: &[i32]) -> Result<Self> {
        let mut set = MaybeUninit::<libc::sigset_t>::uninit();
        let mut former = MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: sigemptyset initialises the set before the others read it; pthread_sigmask fills `former`; signalfd
        // makes a new descriptor that nobody else knows.
        unsafe {
            libc::sigemptyset(set.as_mut_ptr());
            for signal in signals {
                libc::sigaddset(set.as_mut_ptr(), *signal);
            }
            let fd = libc::signalfd(-1, set.as_ptr(), libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
            if fd < 0 {
                return Err(last_error());
            }
            let fd = OwnedFd::from_raw_fd(fd);
            match libc::pthread_sigmask(libc::SIG_BLOCK, set.as_ptr(), former.as_mut_ptr()) {
                0 => Ok(Self { fd, former: former.assume_init() }),
                error => Err(Errno::from_raw_os_error(error)),
            }
        }
    }

    /// Takes one pending signal, or `None` when none is pending.
    pub fn read(&self) -> Result<Option<i32>> {
        let mut info = MaybeUninit::<libc::signalfd_siginfo>::zeroed();
        // SAFETY: the kernel writes at most one structure of this size.
        let got = unsafe {
            libc::read(self.fd.as_raw_fd(), info.as_mut_ptr().cast(), size_of::<libc::signalfd_siginfo>())
        };
        if got < 0 {
            return match last_error() {
                Errno::AGAIN => Ok(None),
                error => Err(error),
            };
        }
        // SAFETY: zeroed before and written by the kernel; every bit pattern is valid.
        Ok(Some(unsafe { info.assume_init() }.ssi_signo as i32))
    }
}

impl AsFd for SignalFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for SignalFd {
    fn drop(&mut self) {
        // SAFETY: restores the mask that `new` read in this thread.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &self.former, ptr::null_mut()) };
    }
}

impl std::fmt::Debug for SignalFd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SignalFd").field("fd", &self.fd).finish_non_exhaustive()
    }
}

/// Ignores SIGPIPE (writing to what nobody reads answers an error) and what a terminal or a shell may send, so that only
/// SIGKILL ends this process.
pub fn ignore_ends() {
    for signal in [
        libc::SIGPIPE,
        libc::SIGHUP,
        libc::SIGINT,
        libc::SIGQUIT,
        libc::SIGTERM,
        libc::SIGUSR1,
        libc::SIGUSR2,
    ] {
        // SAFETY: SIG_IGN installs no function of ours.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
}

/// Ends this process by `signal` with its default action.
pub fn die_of(signal: i32) {
    // SAFETY: SIG_DFL installs no function; unblocking and raising one's own signal is always allowed.
    unsafe {
        libc::signal(signal, libc::SIG_DFL);
        let mut set = MaybeUninit::<libc::sigset_t>::uninit();
        libc::sigemptyset(set.as_mut_ptr());
        libc::sigaddset(set.as_mut_ptr(), signal);
        libc::pthread_sigmask(libc::SIG_UNBLOCK, set.as_ptr(), ptr::null_mut());
        libc::raise(signal);
    }
}

fn last_error() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::INVAL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_raised_signal_is_read() {
        let signals = SignalFd::new(&[libc::SIGWINCH]).unwrap();
        assert_eq!(signals.read().unwrap(), None);
        // SAFETY: the signal is blocked in this thread, to which pthread_kill directs it.
        unsafe { libc::pthread_kill(libc::pthread_self(), libc::SIGWINCH) };
        assert_eq!(signals.read().unwrap(), Some(libc::SIGWINCH));
    }
}
