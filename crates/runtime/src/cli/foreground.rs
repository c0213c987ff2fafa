//! Staying beside a process in the foreground: signals are passed on, the terminal is copied and resized, the exit
//! status becomes ours.

use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Signal, WaitOptions, wait};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize};

use crate::error::{Doing, Result};

/// Signals are caught from here on.
#[derive(Debug)]
pub(super) struct Watch {
    signals: OwnedFd,
}

impl Watch {
    /// Begins to catch signals.
    pub(super) fn begin() -> Result<Self> {
        let signals = sys::sigset::descriptor().doing(|| "catch signals".into())?;
        Ok(Self { signals })
    }

    /// Serves the process until it ends.
    pub(super) fn serve(self, pid: i32, pidfd: &OwnedFd, console: Option<OwnedFd>) -> Result<ExitCode> {
        let console = console.map(Console::begin).transpose()?;
        let status = self.pump(pid, pidfd, console.as_ref())?;
        if let Some(console) = &console {
            console.drain();
        }
        Ok(status)
    }

    fn pump(&self, pid: i32, pidfd: &OwnedFd, console: Option<&Console>) -> Result<ExitCode> {
        let mut input_open = true;
        let mut output_open = true;
        loop {
            if let Some(code) = reap(pid)? {
                return Ok(code);
            }
            let stdin = rustix::stdio::stdin();
            let mut wanted =
                vec![PollFd::new(&self.signals, PollFlags::IN), PollFd::new(pidfd, PollFlags::IN)];
            if let Some(console) = console.filter(|_| output_open) {
                wanted.push(PollFd::new(&console.master, PollFlags::IN));
                if input_open {
                    wanted.push(PollFd::new(&stdin, PollFlags::IN));
                }
            }
            match poll(&mut wanted, None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error).doing(|| "wait for the container".into()),
            }
            let ready: Vec<bool> = wanted.iter().map(|fd| !fd.revents().is_empty()).collect();
            if ready[0] {
                self.pass_on(pidfd, console);
            }
            let Some(console) = console else { continue };
            if ready.get(2) == Some(&true) {
                output_open = console.copy_out();
            }
            if ready.get(3) == Some(&true) {
                input_open = console.copy_in();
            }
        }
    }

    fn pass_on(&self, pidfd: &OwnedFd, console: Option<&Console>) {
        while let Ok(Some(received)) = sys::sigset::read_descriptor(self.signals.as_fd()) {
            match Signal::from_named_raw(received.signal) {
                // The next turn of the loop reaps.
                Some(Signal::CHILD) => {}
                Some(Signal::WINCH) if console.is_some() => {
                    if let Some(console) = console {
                        console.resize();
                    }
                }
                // Ours alone: runtimes and terminals send these for their own ends.
                Some(Signal::URG | Signal::PIPE) => {}
                // Ended already: the next wait sees it.
                _ => drop(sys::process::pidfd_kill(pidfd.as_fd(), received.signal)),
            }
        }
    }
}

/// Reaps what has ended, orphans that came to us too; returns the exit code once the process `init` has.
fn reap(init: i32) -> Result<Option<ExitCode>> {
    loop {
        let ended = match wait(WaitOptions::NOHANG) {
            Ok(Some(ended)) => ended,
            Ok(None) => return Ok(None),
            Err(Errno::INTR) => continue,
            Err(error) => return Err(error).doing(|| "wait for the container".into()),
        };
        if ended.0.as_raw_nonzero().get() == init {
            let signal = || ended.1.terminating_signal().map(|signal| 128 + signal);
            let code = ended.1.exit_status().or_else(signal).and_then(|code| u8::try_from(code).ok());
            return Ok(Some(ExitCode::from(code.unwrap_or(255))));
        }
    }
}

/// The terminal: our own in raw mode, the container's master end beside it.
#[derive(Debug)]
struct Console {
    master: OwnedFd,
    before: Option<Termios>,
}

impl Console {
    fn begin(master: OwnedFd) -> Result<Self> {
        let before = tcgetattr(rustix::stdio::stdin()).ok();
        if let Some(before) = &before {
            let mut raw = before.clone();
            raw.make_raw();
            tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, &raw)
                .doing(|| "set the terminal to raw".into())?;
        }
        let console = Self { master, before };
        console.resize();
        Ok(console)
    }

    fn resize(&self) {
        // Without a terminal of ours the container's keeps its size.
        if let Ok(size) = tcgetwinsize(rustix::stdio::stdin()) {
            let _ = tcsetwinsize(&self.master, size);
        }
    }

    /// Copies what the container says; `false` at its end.
    fn copy_out(&self) -> bool {
        let mut buffer = [0; 16 << 10];
        match rustix::io::read(&self.master, &mut buffer) {
            Ok(0) | Err(Errno::IO) => false,
            Ok(length) => {
                let mut stdout = std::io::stdout().lock();
                stdout.write_all(&buffer[..length]).and_then(|()| stdout.flush()).is_ok()
            }
            Err(_) => true,
        }
    }

    /// Copies what is typed; `false` at its end.
    fn copy_in(&self) -> bool {
        let mut buffer = [0; 4096];
        match rustix::io::read(rustix::stdio::stdin(), &mut buffer) {
            Ok(length) if length > 0 => {
                let mut rest = &buffer[..length];
                while !rest.is_empty() {
                    match rustix::io::write(&self.master, rest) {
                        Ok(written) => rest = &rest[written..],
                        Err(Errno::INTR) => {}
                        Err(_) => return false,
                    }
                }
                true
            }
            Ok(_) => {
                // The end of a file becomes the character that means it.
                let _ = rustix::io::write(&self.master, &[4]);
                false
            }
            Err(_) => false,
        }
    }

    /// Copies what was said last.
    fn drain(&self) {
        let _ = rustix::io::ioctl_fionbio(&self.master, true);
        while matches!(rustix::io::ioctl_fionread(&self.master), Ok(1..)) && self.copy_out() {}
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            let _ = tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, before);
        }
    }
}
