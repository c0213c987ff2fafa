//! Masked and read-only paths. What covers a file is the host's null device, never something found in the container.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::FileType;
use rustix::io::Errno;
use rustix::mount::MountFlags;
use sys::beneath::Root;
use sys::mount::{SetAttr, attr, mount_setattr};

use super::{mounts, nodes, rootfs};
use crate::binds::{self, clone_tree};
use crate::error::{Doing, Result};
use crate::plan::options::MountOptions;

/// What covers masked paths; made when the first needs it.
#[derive(Debug, Default)]
pub(super) struct Cover {
    null: Option<OwnedFd>,
    empty: Option<OwnedFd>,
}

impl Cover {
    /// Covers `path`; one that does not exist needs no cover.
    pub(super) fn mask(&mut self, root: &Root, path: &Path) -> Result<()> {
        let what = || format!("mask {path:?}");
        let Some(target) = existing(root, path).doing(what)? else { return Ok(()) };
        let (kind, _) = binds::kind_of(&target).doing(what)?;
        #[cfg(feature = "unguarded")]
        if crate::unguard::off("masks") && kind != FileType::Directory {
            let tree = crate::unguard::careless::null_tree(root).doing(what)?;
            return rootfs::move_to(tree.as_fd(), target.as_fd()).doing(what);
        }
        let model = if kind == FileType::Directory { self.empty()? } else { self.null()? };
        let tree = clone_or_new(model, kind == FileType::Directory).doing(what)?;
        rootfs::move_to(tree.as_fd(), target.as_fd()).doing(what)
    }

    fn null(&mut self) -> Result<&OwnedFd> {
        if self.null.is_none() {
            self.null = Some(nodes::null_tree()?);
        }
        Ok(self.null.get_or_insert_with(|| unreachable!("set just above")))
    }

    fn empty(&mut self) -> Result<&OwnedFd> {
        if self.empty.is_none() {
            self.empty =
                Some(empty_folder().map_err(|(error, _)| error).doing(|| "make an empty folder".into())?);
        }
        Ok(self.empty.get_or_insert_with(|| unreachable!("set just above")))
    }

    /// Makes the tree at `path` read-only; one that does not exist needs nothing.
    pub(super) fn make_readonly(&self, root: &Root, path: &Path) -> Result<()> {
        let what = || format!("make {path:?} read-only");
        let Some(target) = existing(root, path).doing(what)? else { return Ok(()) };
        let tree = clone_tree(&target, Path::new(""), true).doing(what)?;
        rootfs::move_to(tree.as_fd(), target.as_fd()).doing(what)?;
        let change = SetAttr { set: attr::RDONLY, ..SetAttr::default() };
        match mount_setattr(tree.as_fd(), true, change) {
            Err(Errno::NOSYS) => {
                binds::apply_old(&tree, &MountOptions { set: attr::RDONLY, ..MountOptions::default() })
            }
            result => result.doing(what),
        }
    }
}

/// Before Linux 6.15 a detached mount cannot be cloned; then another one is made.
fn clone_or_new(model: &OwnedFd, is_dir: bool) -> rustix::io::Result<OwnedFd> {
    match clone_tree(model, Path::new(""), false) {
        Err(Errno::INVAL) if is_dir => empty_folder().map_err(|(error, _)| error),
        Err(Errno::INVAL) => nodes::null_tree().map_err(|_| Errno::INVAL),
        result => result,
    }
}

/// A read-only tmpfs that can hold nothing.
fn empty_folder() -> Result<OwnedFd, (Errno, String)> {
    let options = MountOptions {
        set: attr::RDONLY | attr::NOSUID | attr::NODEV | attr::NOEXEC,
        data: vec!["nr_blocks=1".into(), "nr_inodes=1".into(), "mode=755".into()],
        ..MountOptions::default()
    };
    mounts::new_filesystem("tmpfs", "tmpfs", &options)
}

fn existing(root: &Root, path: &Path) -> rustix::io::Result<Option<OwnedFd>> {
    match nodes::look(root, path) {
        Ok(target) => Ok(Some(target)),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Makes the root itself read-only; what is mounted below keeps its own flags.
pub(super) fn readonly_root(root: &Root) -> Result<()> {
    let what = || "make the root read-only".to_owned();
    match mount_setattr(root.as_fd(), false, SetAttr { set: attr::RDONLY, ..SetAttr::default() }) {
        Err(Errno::NOSYS) => {
            let kept = rustix::fs::fstatvfs(root).doing(what)?.f_flag.bits();
            let flags =
                MountFlags::from_bits_retain((kept & 0xf) as u32) | MountFlags::BIND | MountFlags::RDONLY;
            rustix::mount::mount_remount(binds::fd_path(root), flags, c"").doing(what)
        }
        result => result.doing(what),
    }
}
