//! The one clone, and what must be entered before it: a process namespace takes effect on children only, and a user
//! namespace must be entered before others are made or entered in it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use base::{ErrorKind, Kinded};
use rustix::process::{WaitId, WaitIdOptions, waitid};
use sys::process::{Forked, clone_flags, clone3, exit_now};

use crate::channel::{Channel, FromInit};
use crate::error::{Doing, Error, Result};
use crate::procfs::Procfs;

/// Who enters what must be entered first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// Nothing need be entered.
    Plain,
    /// The caller enters a process namespace and returns.
    Return,
    /// The caller enters what it cannot leave and stays there: it made itself for this one task (`CLONE_PARENT` would
    /// make a helper's child the wrong one's).
    Stay,
    /// A helper process enters, clones with `CLONE_PARENT` and ends.
    Helper,
}

impl Way {
    /// Chooses: a user namespace cannot be left again; a process namespace can by the machine's root, to whose user
    /// namespace the own one belongs.
    pub(crate) fn choose(user: bool, pid: bool, child_of_parent: bool) -> Self {
        let fixed = user || pid && !crate::cgroup::devices::in_initial_user_namespace();
        Self::of(fixed, pid, child_of_parent)
    }

    fn of(fixed: bool, pid: bool, child_of_parent: bool) -> Self {
        match (fixed, pid) {
            (true, _) if child_of_parent => Self::Stay,
            (true, _) => Self::Helper,
            (false, true) => Self::Return,
            (false, false) => Self::Plain,
        }
    }
}

/// Clones. `enter` enters what must be entered before; `child` is the new process and does not return.
pub(crate) fn spawn(
    way: Way,
    enter: impl FnOnce() -> Result<()>,
    flags: u64,
    group: Option<BorrowedFd<'_>>,
    child: impl FnOnce(),
) -> Result<(i32, OwnedFd)> {
    let home = match way {
        Way::Plain | Way::Stay | Way::Helper => None,
        Way::Return => Some(own_pid_namespace()?),
    };
    if way == Way::Helper {
        return by_helper(enter, flags, group, child);
    }
    enter()?;
    let forked = clone3(flags, group).doing(|| "make the container's process (clone3)".into());
    if let (Some(home), Ok(Forked::Parent { .. }) | Err(_)) = (&home, &forked) {
        rustix::thread::move_into_link_name_space(home.as_fd(), None)
            .doing(|| "return to the own process namespace".into())?;
    }
    match forked? {
        Forked::Child => {
            child();
            exit_now(1)
        }
        Forked::Parent { pid, pidfd } => Ok((pid, pidfd)),
    }
}

fn by_helper(
    enter: impl FnOnce() -> Result<()>,
    flags: u64,
    group: Option<BorrowedFd<'_>>,
    child: impl FnOnce(),
) -> Result<(i32, OwnedFd)> {
    let (ours, theirs) = Channel::pair().doing(|| "make a socket pair".into())?;
    let helper = match clone3(0, None).doing(|| "make a helper process".into())? {
        Forked::Parent { pidfd, .. } => pidfd,
        Forked::Child => {
            drop(ours);
            help(enter, flags, group, child, &theirs)
        }
    };
    drop(theirs);
    let heard = ours.listen().doing(|| "hear from the helper process".into());
    // It has said all it has to say; only its reaping is left.
    let _ = waitid(WaitId::PidFd(helper.as_fd()), WaitIdOptions::EXITED);
    match heard? {
        Some(FromInit::Child(pid, pidfd)) => Ok((pid, pidfd)),
        Some(FromInit::Failed(kind, text)) => Err(Error::Inside { kind, text }),
        _ => Err(Error::Inside {
            kind: ErrorKind::Internal,
            text: "the helper process ended without a word".into(),
        }),
    }
}

fn help(
    enter: impl FnOnce() -> Result<()>,
    flags: u64,
    group: Option<BorrowedFd<'_>>,
    child: impl FnOnce(),
    channel: &Channel,
) -> ! {
    let forked = enter().and_then(|()| {
        clone3(flags | clone_flags::PARENT, group).doing(|| "make the container's process (clone3)".into())
    });
    let message = match forked {
        Ok(Forked::Child) => {
            child();
            exit_now(1)
        }
        Ok(Forked::Parent { pid, pidfd }) => FromInit::Child(pid, pidfd),
        Err(error) => FromInit::Failed(error.kind(), base::error::render_chain(&error)),
    };
    // Nobody else is there to be told.
    let _ = channel.report(&message);
    exit_now(0)
}

fn own_pid_namespace() -> Result<OwnedFd> {
    let proc = Procfs::host().doing(|| "open /proc".into())?;
    let pid = proc.own().doing(|| "find the own process in /proc".into())?;
    proc.namespace(&format!("{pid}/ns/pid")).doing(|| "open the own process namespace".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_namespace_is_never_returned_from() {
        assert_eq!(Way::of(false, false, true), Way::Plain);
        assert_eq!(Way::of(false, true, false), Way::Return);
        assert_eq!(Way::of(true, true, false), Way::Helper);
        assert_eq!(Way::of(true, false, true), Way::Stay);
    }

    /// Set in the process of its own that the test below runs in.
    const ALONE: &str = "BRIG_TEST_ALONE";

    #[test]
    fn a_helper_hands_its_child_over() {
        if std::env::var_os(ALONE).is_none() {
            // The callers of `spawn` have one thread. Among other tests a lock of the allocator may be held by another
            // thread in the moment of the clone, and the child would wait for it for ever.
            let this = std::env::current_exe().unwrap();
            let args = ["--exact", "spawn::tests::a_helper_hands_its_child_over", "--test-threads=1"];
            let status =
                std::process::Command::new(this).args(args).env(ALONE, "1").current_dir("/").status();
            assert!(status.unwrap().success());
            return;
        }
        let (pid, pidfd) = spawn(Way::Helper, || Ok(()), 0, None, || exit_now(9)).unwrap();
        assert!(pid > 0);
        let status = waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED).unwrap().unwrap();
        assert_eq!(status.exit_status(), Some(9));
        let failed =
            spawn(Way::Helper, || Err(Error::unsupported("this", "a test")), 0, None, || exit_now(9));
        assert!(failed.unwrap_err().to_string().contains("a test"));
    }
}
