//! Mounts the control groups inside, as the machine has them: v2 alone, v1, or the hybrid of both.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::io::Errno;
use sys::beneath::Root;
use sys::mount::{SetAttr, attr, mount_setattr};

use super::{Setup, mounts, nodes};
use crate::binds::{self, clone_tree};
use crate::cgroup::{Hierarchy, Layout};
use crate::error::{Doing, Error, Result};
use crate::plan::MountOp;
use crate::plan::options::MountOptions;

/// Mounts everything on the destination of `op`.
pub(super) fn mount(root: &Root, op: &MountOp, setup: &Setup<'_>) -> Result<()> {
    let layout = setup
        .cgroup_layout
        .as_ref()
        .ok_or_else(|| Error::unsupported("a cgroup mount", "the machine has no cgroup file system"))?;
    let own_namespace = setup.late_namespaces & sys::process::clone_flags::NEWCGROUP != 0;
    if layout.v1.is_empty() {
        let unified = layout.unified.as_ref().ok_or_else(|| {
            Error::unsupported("a cgroup mount", "no cgroup file system is mounted on the host")
        })?;
        let tree = hierarchy_tree(unified, None, own_namespace, &op.options)?;
        return mounts::attach(root, &op.destination, tree.as_fd(), true);
    }
    mount_v1(root, op, layout, own_namespace)
}

/// A tmpfs with one folder per hierarchy, and links for controllers that share one.
fn mount_v1(root: &Root, op: &MountOp, layout: &Layout, own_namespace: bool) -> Result<()> {
    let what = || format!("mount tmpfs on {:?}", op.destination);
    let options = MountOptions {
        set: op.options.set & !attr::RDONLY,
        data: vec!["mode=755".into()],
        ..MountOptions::default()
    };
    let tmpfs = mounts::new_filesystem("tmpfs", "tmpfs", &options).map_err(|(error, _)| error).doing(what)?;
    mounts::attach(root, &op.destination, tmpfs.as_fd(), true)?;
    let hierarchies = layout.v1.iter().map(|hierarchy| (hierarchy, Some(hierarchy.controllers.join(","))));
    for (hierarchy, v1) in hierarchies.chain(layout.unified.iter().map(|hierarchy| (hierarchy, None))) {
        let Some(name) = hierarchy.mount.file_name() else { continue };
        let path = op.destination.join(name);
        let tree = hierarchy_tree(hierarchy, v1.as_deref(), own_namespace, &op.options)?;
        mounts::attach(root, &path, tree.as_fd(), true)?;
        for controller in hierarchy.controllers.iter().filter(|controller| !controller.contains('=')) {
            if Path::new(controller) != Path::new(name) {
                nodes::link(root, &op.destination.join(controller), Path::new(name))?;
            }
        }
    }
    if op.options.set & attr::RDONLY != 0 {
        let change = SetAttr { set: attr::RDONLY, ..SetAttr::default() };
        match mount_setattr(tmpfs.as_fd(), false, change) {
            Err(Errno::NOSYS) => {
                let options = MountOptions { set: attr::RDONLY, ..MountOptions::default() };
                binds::apply_old(&tmpfs, &options)?;
            }
            result => result.doing(|| format!("make {:?} read-only", op.destination))?,
        }
    }
    Ok(())
}

/// With a cgroup namespace a new mount shows the own group as root; without one the own group is bound, so that
/// nothing of the host's tree is seen.
fn hierarchy_tree(
    hierarchy: &Hierarchy,
    v1: Option<&str>,
    own_namespace: bool,
    asked: &MountOptions,
) -> Result<OwnedFd> {
    let what = || format!("mount the control groups of {:?}", hierarchy.mount);
    let mut options = MountOptions { set: asked.set, clear: asked.clear, ..MountOptions::default() };
    if own_namespace {
        options.data = v1.map(|controllers| vec![controllers.to_owned()]).unwrap_or_default();
        let fstype = if v1.is_some() { "cgroup" } else { "cgroup2" };
        match mounts::new_filesystem(fstype, "cgroup", &options) {
            Ok(tree) => return Ok(tree),
            // A user namespace may not mount v1 at all, and v2 only where it owns the cgroup namespace.
            Err((Errno::PERM, _)) => {}
            Err((error, _)) => return Err(error).doing(what),
        }
        options.data.clear();
    }
    let tree = clone_tree(rustix::fs::CWD, &hierarchy.mount.join(&hierarchy.own), false).doing(what)?;
    match binds::apply(&tree, &options) {
        Ok(()) | Err(Errno::NOSYS) => Ok(tree),
        Err(error) => Err(error).doing(what),
    }
}
