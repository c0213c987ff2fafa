//! Entering namespaces that exist, and making those that must be made from inside.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use oci::runtime::LinuxNamespaceType;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use sys::process::{clone_flags, unshare};

use crate::error::{Doing, Result};
use crate::procfs::Procfs;

/// Enters `namespaces`. Those of users and processes were entered before the clone.
pub(crate) fn join(namespaces: &[(LinuxNamespaceType, OwnedFd)]) -> Result<()> {
    for (kind, namespace) in namespaces {
        enter(*kind, namespace.as_fd())?;
    }
    Ok(())
}

/// Enters `namespace`, which must be of `kind`: the path in the configuration says nothing of that, and a mount
/// namespace that came in under another name would be the caller's own, in which everything is then set up.
pub(crate) fn enter(kind: LinuxNamespaceType, namespace: BorrowedFd<'_>) -> Result<()> {
    let wanted = match kind {
        LinuxNamespaceType::Mount => LinkNameSpaceType::Mount,
        LinuxNamespaceType::Cgroup => LinkNameSpaceType::ControlGroup,
        LinuxNamespaceType::Uts => LinkNameSpaceType::HostNameAndNISDomainName,
        LinuxNamespaceType::Ipc => LinkNameSpaceType::InterProcessCommunication,
        LinuxNamespaceType::User => LinkNameSpaceType::User,
        LinuxNamespaceType::Pid => LinkNameSpaceType::ProcessID,
        LinuxNamespaceType::Network => LinkNameSpaceType::Network,
        LinuxNamespaceType::Time => LinkNameSpaceType::Time,
    };
    move_into_link_name_space(namespace, Some(wanted)).doing(|| format!("join the {kind} namespace"))
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
    let pid = proc.own().doing(|| "find the own process in /proc".into())?;
    if !offsets.is_empty() {
        proc.write(&format!("{pid}/timens_offsets"), offsets.as_bytes())
            .doing(|| format!("set {offsets:?}"))?;
    }
    let namespace = proc
        .namespace(&format!("{pid}/ns/time_for_children"))
        .doing(|| "open the new time namespace".into())?;
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Time))
        .doing(|| "enter the new time namespace".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_of_another_kind_is_refused() {
        let kinds = [
            (LinuxNamespaceType::Ipc, "mnt"),
            (LinuxNamespaceType::Cgroup, "ipc"),
            (LinuxNamespaceType::Mount, "net"),
            (LinuxNamespaceType::Network, "pid"),
            (LinuxNamespaceType::Pid, "user"),
            (LinuxNamespaceType::User, "uts"),
            (LinuxNamespaceType::Uts, "cgroup"),
            (LinuxNamespaceType::Time, "mnt"),
        ];
        for (kind, other) in kinds {
            let file =
                std::fs::File::open(format!("/proc/self/ns/{other}")).expect("every process has namespaces");
            assert!(enter(kind, file.as_fd()).is_err(), "{kind} by {other}");
        }
    }
}
