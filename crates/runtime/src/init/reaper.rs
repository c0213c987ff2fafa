//! The small init of our own (`--init`): process 1 of the container that forwards signals and reaps orphans.
//!
//! It is the image that already runs, so nothing of the host is executed or mounted inside. It has the rights, the
//! filter and the root of the user's program, and is not dumpable.

use rustix::process::{Pid, WaitOptions, WaitStatus, wait};
use sys::process::{exit_now, kill};

use crate::error::{Doing, Result};

/// Forks: the child returns and executes the program, the caller stays and never returns.
pub(super) fn split() -> Result<()> {
    // Before the fork, so that no signal is lost between it and the wait.
    sys::sigset::block_all().doing(|| "block signals".into())?;
    // Not clone3: the container's filter holds already, and a default profile refuses that.
    match sys::fork::fork().doing(|| "fork the program from its init".into())? {
        None => {
            foreground();
            Ok(())
        }
        Some(pid) => {
            // Only the program is to hold the streams; the starter learns from their closing that it runs.
            sys::process::close_all();
            serve(pid)
        }
    }
}

/// Makes the program the foreground job of the terminal, if there is one.
fn foreground() {
    // Both only matter with a terminal; signals are blocked, so that the change does not stop us.
    let _ = rustix::process::setpgid(None, None);
    let _ = rustix::termios::tcsetpgrp(rustix::stdio::stdin(), rustix::process::getpgrp());
}

fn serve(child: i32) -> ! {
    loop {
        let Ok(received) = sys::sigset::wait() else { continue };
        if received.signal == rustix::process::Signal::CHILD.as_raw() {
            reap(child);
        } else {
            // A child that has just ended is reaped in the next turn.
            let _ = kill(child, received.signal);
        }
    }
}

/// Reaps everything that has ended; ends with the program's own status.
fn reap(child: i32) {
    while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
        if Pid::from_raw(child) == Some(pid) {
            end(status);
        }
    }
}

fn end(status: WaitStatus) -> ! {
    let code = status.exit_status().or_else(|| status.terminating_signal().map(|signal| 128 + signal));
    exit_now(code.unwrap_or(1))
}
