//! Entering namespaces that exist, and making those that must be made from inside.

use std::os::fd::{AsFd, OwnedFd};

use oci::runtime::LinuxNamespaceType;
use rustix::thread::move_into_link_name_space;
use sys::process::{clone_flags, unshare};

use crate::error::{Doing, Result};
use crate::procfs::Procfs;

/// Enters `namespaces`. Those of users and processes were entered before the clone.
pub(crate) fn join(namespaces: &[(LinuxNamespaceType, OwnedFd)]) -> Result<()> {
    for (kind, namespace) in namespaces {
        move_into_link_name_space(namespace.as_fd(), None).doing(|| format!("join the {kind} namespace"))?;
    }
    Ok(())
}

/// Makes the namespaces that clone3 cannot make right: a cgroup namespace is rooted where its maker is, the files of an IPC
/// namespace belong to its maker, and the offsets of a time namespace can only be set before somebody lives in it.
pub(super) fn split(flags: u64, time: bool, offsets: &str) -> Result<()> {
    if flags != 0 {
        unshare(flags).doing(|| "make a cgroup or IPC namespace".into())?;
    }
    if !time {
        return Ok(());
    }
    unshare(clone_flags::NEWTIME).doing(|| "make a time namespace".into())?;
    let proc = Procfs::open().doing(|| "open a procfs".into())?;
    let pid = rustix::process::getpid();
    if !offsets.is_empty() {
        proc.write(&format!("{pid}/timens_offsets"), offsets.as_bytes())
            .doing(|| format!("set {offsets:?}"))?;
    }
    let namespace = proc
        .namespace(&format!("{pid}/ns/time_for_children"))
        .doing(|| "open the new time namespace".into())?;
    move_into_link_name_space(namespace.as_fd(), None).doing(|| "enter the new time namespace".into())
}
