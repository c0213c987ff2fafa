//! Attaches the files of the container's view of `/proc` (see [`crate::view`]) over those of the kernel.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::UnmountFlags;
use sys::beneath::Root;

use super::rootfs;
use crate::binds::{clone_tree, fd_path};
use crate::error::{Doing, Result};
use crate::procfs::is_procfs;

/// Attaches every file whose place is there.
pub(super) fn attach(root: &Root, tree: OwnedFd) -> Result<()> {
    let what = || "attach the container's view of /proc".to_owned();
    let open = |path: &str| root.open_no_links(Path::new(path), OFlags::PATH, Mode::empty());
    let mut places = Vec::new();
    for (name, path) in crate::view::FILES {
        match open(path) {
            Ok(place) => places.push((name, place)),
            Err(Errno::NOENT) => {}
            Err(error) => return Err(error).doing(what),
        }
    }
    let proc = open("/proc").doing(what)?;
    if !is_procfs(&proc).doing(what)? {
        return Ok(());
    }
    // Before Linux 6.15 only what is attached somewhere can be cloned: for this moment it lies over /proc, whose files
    // are open already.
    rootfs::move_to(tree.as_fd(), proc.as_fd()).doing(what)?;
    for (name, place) in places {
        let file = clone_tree(&tree, Path::new(name), false).doing(what)?;
        rootfs::move_to(file.as_fd(), place.as_fd()).doing(|| format!("attach the container's {name}"))?;
    }
    rustix::mount::unmount(fd_path(&tree), UnmountFlags::DETACH).doing(what)
}
