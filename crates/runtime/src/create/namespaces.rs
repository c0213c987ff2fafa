//! Which namespaces are made, which are joined, and when: by clone3, before it, or by the init itself.

use std::os::fd::OwnedFd;
use std::path::Path;

use oci::runtime::{LinuxNamespaceType, Spec};
use rustix::fs::{Mode, OFlags};
use rustix::thread::CapabilitySet;
use sys::process::clone_flags;

use crate::binds;
use crate::error::{Doing, Error, Result};
use crate::validate;

/// What becomes of each kind of namespace.
#[derive(Debug)]
pub(super) struct Namespaces {
    /// New ones that clone3 makes.
    pub(super) flags: u64,
    pub(super) new_mount: bool,
    /// New ones that the init makes itself.
    pub(super) late: u64,
    pub(super) new_time: bool,
    pub(super) has_user: bool,
    /// Strangers are in the process namespace: the init must be hidden before it exists.
    pub(super) hide_early: bool,
    /// Those that the init enters.
    pub(super) join: Vec<(LinuxNamespaceType, OwnedFd)>,
    /// Those that are entered before the clone, in this order: that of the users, that of the processes.
    pub(super) first: Vec<(LinuxNamespaceType, OwnedFd)>,
}

impl Namespaces {
    pub(super) fn of(spec: &Spec, given: Vec<(LinuxNamespaceType, OwnedFd)>) -> Result<Self> {
        let list = spec.linux().as_ref().and_then(|linux| linux.namespaces().as_ref());
        let mut namespaces = Self {
            flags: 0,
            new_mount: false,
            late: 0,
            new_time: false,
            has_user: false,
            hide_early: true,
            join: given,
            first: Vec::new(),
        };
        for namespace in list.into_iter().flatten() {
            let kind = namespace.typ();
            let path = namespace.path().as_ref().filter(|path| !path.as_os_str().is_empty());
            if namespaces.join.iter().any(|(joined, _)| *joined == kind) {
                continue;
            }
            match path {
                Some(path) => namespaces.join.push((kind, open_namespace(kind, path)?)),
                None => namespaces.make(kind),
            }
        }
        namespaces.has_user = namespaces.flags & clone_flags::NEWUSER != 0
            || namespaces.join.iter().any(|(kind, _)| *kind == LinuxNamespaceType::User);
        if namespaces.join.iter().any(|(kind, _)| *kind == LinuxNamespaceType::Mount) {
            namespaces.new_mount = false;
        }
        // The files of message queues belong to who makes their namespace: the root of the user namespace, which
        // the process is only once its maps are written.
        if namespaces.has_user && namespaces.flags & clone_flags::NEWIPC != 0 {
            namespaces.flags &= !clone_flags::NEWIPC;
            namespaces.late |= clone_flags::NEWIPC;
        }
        refuse_host_sysctls(spec, &namespaces.join)?;
        for wanted in [LinuxNamespaceType::User, LinuxNamespaceType::Pid] {
            let at = namespaces.join.iter().position(|(kind, _)| *kind == wanted);
            namespaces.first.extend(at.map(|at| namespaces.join.remove(at)));
        }
        Ok(namespaces)
    }

    fn make(&mut self, kind: LinuxNamespaceType) {
        match kind {
            LinuxNamespaceType::Mount => {
                self.flags |= clone_flags::NEWNS;
                self.new_mount = true;
            }
            LinuxNamespaceType::Cgroup => self.late |= clone_flags::NEWCGROUP,
            LinuxNamespaceType::Time => self.new_time = true,
            LinuxNamespaceType::Uts => self.flags |= clone_flags::NEWUTS,
            LinuxNamespaceType::Ipc => self.flags |= clone_flags::NEWIPC,
            LinuxNamespaceType::User => self.flags |= clone_flags::NEWUSER,
            LinuxNamespaceType::Network => self.flags |= clone_flags::NEWNET,
            LinuxNamespaceType::Pid => {
                self.flags |= clone_flags::NEWPID;
                self.hide_early = false;
            }
        }
    }

    /// Whether the caller itself may open detached mounts.
    pub(super) fn caller_may_mount(&self) -> bool {
        rustix::thread::capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::SYS_ADMIN))
    }
}

fn open_namespace(kind: LinuxNamespaceType, path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = rustix::fs::open(path, flags, Mode::empty())
        .doing(|| format!("open the {kind} namespace {path:?}"))?;
    /// `linux/magic.h`.
    const NSFS_MAGIC: i64 = 0x6e73_6673;
    let magic = rustix::fs::fstatfs(&file).doing(|| format!("look at {path:?}"))?.f_type as i64;
    if magic != NSFS_MAGIC {
        return Err(Error::invalid("linux.namespaces.path", path.to_string_lossy(), "a namespace"));
    }
    Ok(file)
}

/// A joined namespace that is the caller's own is the host's: its parameters are not the container's to set.
fn refuse_host_sysctls(spec: &Spec, join: &[(LinuxNamespaceType, OwnedFd)]) -> Result<()> {
    let sysctls = spec.linux().as_ref().and_then(|linux| linux.sysctl().as_ref());
    for (kind, namespace) in join {
        let prefix = match kind {
            LinuxNamespaceType::Network => "net",
            LinuxNamespaceType::Ipc => "ipc",
            LinuxNamespaceType::Uts => "uts",
            _ => continue,
        };
        let own = rustix::fs::open(
            format!("/proc/self/ns/{prefix}"),
            OFlags::PATH | OFlags::CLOEXEC,
            Mode::empty(),
        );
        let is_own = own
            .and_then(|own| {
                rustix::fs::open(binds::fd_path(&own), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            })
            .is_ok_and(|own| binds::same_file(own, namespace));
        let names = sysctls.into_iter().flat_map(|sysctls| sysctls.keys());
        let touched = names.into_iter().find(|name| {
            let is_net = validate::sysctl_path(name).starts_with("net/");
            is_net == (prefix == "net")
        });
        if let (true, Some(name)) = (is_own, touched) {
            return Err(Error::invalid("linux.sysctl", name, format!("the {kind} namespace is the host's")));
        }
    }
    Ok(())
}
