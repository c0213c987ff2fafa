//! What takes a half-made container away again.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::process::{WaitId, WaitIdOptions, waitid};
use sys::process::pidfd_kill;

use super::group::PATIENCE;
use crate::cgroup::Manager;
use crate::state::StateDir;

/// What a half-made container has; [`Undo::run`] takes it away again.
#[derive(Debug, Default)]
pub(super) struct Undo {
    pub(super) dir: Option<StateDir>,
    pub(super) group: Option<Manager>,
    pub(super) process: Option<(i32, OwnedFd)>,
    /// A root that is attached where others see it, and the mount that was there before.
    pub(super) covered: Option<(PathBuf, u64)>,
}

impl Undo {
    /// Undoes everything, in reverse. Goes on after an error: the first reason is what the caller needs to know.
    pub(super) fn run(&mut self) {
        if let Some((_, pidfd)) = self.process.take() {
            kill_and_reap(pidfd.as_fd());
        }
        if let Some((path, before)) = self.covered.take() {
            detach_root(&path, before);
        }
        if let Some(group) = self.group.take() {
            let _ = group.kill_all();
            let _ = group.delete(PATIENCE);
        }
        if let Some(dir) = self.dir.take() {
            let _ = dir.remove();
        }
    }
}

/// Kills a process and waits until it is gone, whoever its parent is.
pub(crate) fn kill_and_reap(pidfd: BorrowedFd<'_>) {
    // Gone already is what is wanted.
    let _ = pidfd_kill(pidfd, 9);
    if waitid(WaitId::PidFd(pidfd), WaitIdOptions::EXITED).is_err() {
        let limit = rustix::event::Timespec { tv_sec: 5, tv_nsec: 0 };
        let wanted = rustix::event::PollFd::from_borrowed_fd(pidfd, rustix::event::PollFlags::IN);
        let _ = rustix::event::poll(&mut [wanted], Some(&limit));
    }
}

/// Returns the mount that a path is on, by the kernel's number.
pub(super) fn mount_id(path: &Path) -> Option<u64> {
    let flags = rustix::fs::StatxFlags::MNT_ID;
    let stat = rustix::fs::statx(rustix::fs::CWD, path, rustix::fs::AtFlags::NO_AUTOMOUNT, flags).ok()?;
    Some(stat.stx_mnt_id)
}

/// Detaches the root of a container that shared the caller's mount namespace, with everything mounted below it; nothing
/// when the mount `before` is the one that is seen at `path`.
pub(crate) fn detach_root(path: &Path, before: u64) {
    if mount_id(path).is_some_and(|now| now != before) {
        // Another container may have covered it since; what cannot be detached is seen in the mount table.
        let _ = rustix::mount::unmount(path, rustix::mount::UnmountFlags::DETACH);
    }
}
