//! Raw mode of a terminal, for as long as a value lives.

use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};

/// A terminal in raw mode; dropping it, on unwinding too, restores the former mode.
pub(super) struct RawMode {
    terminal: OwnedFd,
    former: Termios,
}

impl RawMode {
    /// Enters raw mode; `None` when `terminal` is no terminal.
    pub(super) fn enter(terminal: BorrowedFd<'_>) -> Option<Self> {
        let former = tcgetattr(terminal).ok()?;
        let mut raw = former.clone();
        raw.make_raw();
        let terminal = terminal.try_clone_to_owned().ok()?;
        tcsetattr(&terminal, OptionalActions::Now, &raw).ok()?;
        Some(Self { terminal, former })
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        // A terminal that is gone needs no mode. What was typed and not read is left for the shell.
        let _ = tcsetattr(&self.terminal, OptionalActions::Now, &self.former);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
    use rustix::termios::LocalModes;
    use std::os::fd::AsFd;

    fn is_raw(terminal: &OwnedFd) -> bool {
        !tcgetattr(terminal).unwrap().local_modes.contains(LocalModes::ICANON)
    }

    #[test]
    fn the_mode_is_restored_even_by_a_panic() {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let terminal = ioctl_tiocgptpeer(&master, OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        assert!(!is_raw(&terminal));
        let result = std::panic::catch_unwind(|| {
            let _raw = RawMode::enter(terminal.as_fd()).unwrap();
            assert!(is_raw(&terminal));
            std::panic::resume_unwind(Box::new("on purpose"));
        });
        assert!(result.is_err());
        assert!(!is_raw(&terminal));
        assert!(RawMode::enter(std::fs::File::open("/dev/null").unwrap().as_fd()).is_none());
    }
}
