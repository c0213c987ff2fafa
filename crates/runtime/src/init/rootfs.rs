//! The root file system: attached in the container's own mount namespace, then made the root.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MoveMountFlags, UnmountFlags, unmount};
use sys::beneath::Root;
use sys::mount::{Propagation, SetAttr, mount_setattr};

use super::RootSource;
use crate::binds::{change_propagation_old, clone_tree};
use crate::error::{Doing, Result};
use crate::plan::options::PropagationWord;

/// Cuts the copied mounts off from the host's: nothing that is mounted here reaches the host.
pub(super) fn stop_propagation(asked: Option<(PropagationWord, bool)>) -> Result<()> {
    // A slave still sees what the host mounts later, which a root with the propagation "slave" or "shared" is to see.
    let word = match asked {
        Some((PropagationWord::Shared | PropagationWord::Slave, _)) => Propagation::Slave,
        _ => Propagation::Private,
    };
    let old_root =
        rustix::fs::open("/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).doing(|| "open /".into())?;
    change_propagation(old_root.as_fd(), c"/", word, true)
        .doing(|| "cut the mounts off from the host's".into())
}

/// Gives the new root, once it is `/`, the propagation that the spec asks for.
pub(super) fn propagate_root(word: PropagationWord, below: bool) -> Result<()> {
    let root =
        rustix::fs::open("/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).doing(|| "open /".into())?;
    change_propagation(root.as_fd(), c"/", word.into(), below).doing(|| "set the root's propagation".into())
}

fn change_propagation(
    mount: std::os::fd::BorrowedFd<'_>,
    path: &std::ffi::CStr,
    word: Propagation,
    below: bool,
) -> rustix::io::Result<()> {
    match mount_setattr(mount, below, SetAttr { propagation: Some(word), ..SetAttr::default() }) {
        Err(Errno::NOSYS) => change_propagation_old(&path.to_owned(), word, below),
        result => result,
    }
}

/// Attaches the root. `host_path` is where hooks expect it; without one it is laid over `/`, out of everybody's way.
pub(super) fn attach(
    source: &RootSource,
    propagation: Option<(PropagationWord, bool)>,
    host_path: Option<&Path>,
) -> Result<Root> {
    let tree = match source {
        RootSource::Tree(tree) => {
            rustix::io::fcntl_dupfd_cloexec(tree, 3).doing(|| "keep the root's mount".into())?
        }
        RootSource::Path(path) => {
            clone_tree(rustix::fs::CWD, path, true).doing(|| format!("bind the root file system {path:?}"))?
        }
    };
    let target = host_path.filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new("/"));
    let target_fd =
        rustix::fs::open(target, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .doing(|| format!("open {target:?} to attach the root file system"))?;
    move_to(tree.as_fd(), target_fd.as_fd())
        .doing(|| format!("attach the root file system on {target:?}"))?;
    // A copy of a shared mount is shared, too, and such a one cannot become the root; what the spec asks for comes after that.
    let word = if propagation.is_some() { Propagation::Slave } else { Propagation::Private };
    let change = SetAttr { propagation: Some(word), ..SetAttr::default() };
    match mount_setattr(tree.as_fd(), true, change) {
        Err(Errno::NOSYS) => change_propagation_old(&crate::binds::fd_path(&tree), word, true),
        result => result,
    }
    .doing(|| "cut the root file system off from the host's mounts".into())?;
    Ok(Root::from_fd(tree))
}

/// Attaches a detached tree on an opened place.
pub(super) fn move_to(
    tree: std::os::fd::BorrowedFd<'_>,
    target: std::os::fd::BorrowedFd<'_>,
) -> rustix::io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    rustix::mount::move_mount(tree, c"", target, c"", flags)
}

/// Makes `root` the root and forgets everything of the host.
///
/// `placed` says that it was attached elsewhere than over `/`.
pub(super) fn enter(root: Root, no_pivot: bool, placed: bool) -> Result<()> {
    rustix::process::fchdir(&root).doing(|| "enter the root file system".into())?;
    if no_pivot {
        return enter_without_pivot(&root, placed);
    }
    let old_root: OwnedFd =
        rustix::fs::open("/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .doing(|| "open the old root".into())?;
    // With "." twice the old root lands on top of the new one, and no folder for it is needed inside.
    rustix::process::pivot_root(".", ".").doing(|| "pivot_root".into())?;
    rustix::process::fchdir(&old_root).doing(|| "enter the old root".into())?;
    unmount(".", UnmountFlags::DETACH).doing(|| "detach the old root".into())?;
    rustix::process::chdir("/").doing(|| "enter the new root".into())
}

/// For a host whose root is an initramfs, which cannot be pivoted away: the root is moved over `/`.
fn enter_without_pivot(root: &Root, placed: bool) -> Result<()> {
    let slash = rustix::fs::open("/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .doing(|| "open /".into())?;
    if placed {
        move_to(root.as_fd(), slash.as_fd()).doing(|| "move the root file system over /".into())?;
    }
    rustix::process::chroot(".").doing(|| "change the root".into())?;
    rustix::process::chdir("/").doing(|| "enter the new root".into())
}

/// Only changes the root: for a container without a mount namespace of its own.
pub(super) fn change_root_only(root: &Root) -> Result<()> {
    rustix::process::fchdir(root).doing(|| "enter the root file system".into())?;
    rustix::process::chroot(".").doing(|| "change the root".into())?;
    rustix::process::chdir("/").doing(|| "enter the new root".into())
}
