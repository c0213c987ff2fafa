//! Control groups: makes, fills, limits, freezes, measures, empties and removes the group of one container, on
//! cgroup v2, v1 and the hybrid of both, by files or by systemd.
//!
//! A [`Layout`] says what the machine has; [`Manager::create`] makes the folders; [`Manager::join`] (v1) and
//! [`Manager::procs_fd`] (v2) put the init into them; [`Manager::apply`] sets limits. [`CgroupPaths`] goes into the
//! container's state; a later command attaches by it and decides nothing anew.

mod error;

use std::collections::BTreeMap;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use oci::runtime::LinuxResources;
use serde::{Deserialize, Serialize};

pub use error::Error;

/// Who makes the folders.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Driver {
    /// We do, by mkdir(2).
    #[default]
    File,
    /// systemd does: a transient scope, asked for over D-Bus.
    Systemd,
}

/// The hierarchies that are mounted on this machine, and where in them this process is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Layout {
    /// The cgroup v2 hierarchy, if mounted.
    pub unified: Option<Hierarchy>,
    /// The v1 hierarchies: one for each mount, with every controller that is mounted there.
    pub v1: Vec<Hierarchy>,
}

/// One mounted hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hierarchy {
    /// The controllers; for v1 as in the mount options (`cpu`, `cpuacct`, `name=systemd`), for v2 empty.
    pub controllers: Vec<String>,
    /// Where it is mounted.
    pub mount: PathBuf,
    /// Our own group, as a path below `mount`, without a leading slash.
    pub own: PathBuf,
}

impl Layout {
    /// Reads `/proc/self/mountinfo` and `/proc/self/cgroup`.
    pub fn detect() -> Result<Self, Error> {
        Err(Error::Layout("it is being written".into()))
    }

    /// Returns whether v2 carries the resource controllers: no v1 controller is mounted.
    pub fn is_unified(&self) -> bool {
        self.unified.is_some() && self.v1.iter().all(|h| h.controllers.iter().all(|c| c.starts_with("name=")))
    }
}

/// What a new control group is made from.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The container's identity: the default for the name of the group.
    pub id: &'a str,
    /// `linux.cgroupsPath`: absolute (from the hierarchy's root), relative (from our own group), or `slice:prefix:name`
    /// with [`Driver::Systemd`].
    pub cgroups_path: Option<&'a Path>,
    /// Who makes the folders.
    pub driver: Driver,
    /// The limits that will be set: decides which hierarchies are needed.
    pub resources: Option<&'a LinuxResources>,
}

/// Where the group of a container is: everything that a later command needs to find it again.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CgroupPaths {
    /// The folder in the v2 hierarchy, absolute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unified: Option<PathBuf>,
    /// The folder of each v1 controller (`memory`, `name=systemd`), absolute. Controllers that are mounted together have
    /// the same folder.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub v1: BTreeMap<String, PathBuf>,
    /// systemd's unit, when it made the folders.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// Where the hierarchies are mounted: folder by folder the part of the paths above that is not the group.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub mounts: BTreeMap<String, PathBuf>,
}

impl CgroupPaths {
    /// Returns whether there is no group at all (a rootless container without delegation).
    pub fn is_empty(&self) -> bool {
        self.unified.is_none() && self.v1.is_empty()
    }
}

/// A limit that was asked for and could not be set, when the caller took [`OnMissing::Warn`].
#[derive(Debug)]
pub struct Warning(pub Error);

/// What to do with a limit that this machine cannot set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnMissing {
    /// Fail, before anything is written where that can be known before.
    #[default]
    Refuse,
    /// Go on and say it.
    Warn,
}

/// The control group of one container, in every hierarchy, held by directory descriptors.
#[derive(Debug)]
pub struct Manager {
    paths: CgroupPaths,
}

/// Opened files through which a process moves itself into a group. Make it before clone, use it in the child.
#[derive(Debug)]
pub struct Join {
    files: Vec<OwnedFd>,
}

impl Join {
    /// Moves the calling thread, the only one of its process, into the group: one write for each v1 hierarchy. Takes
    /// no memory and no lock, so it may run between clone and exec.
    pub fn join_current(&self) -> Result<(), rustix::io::Errno> {
        for file in &self.files {
            rustix::io::write(file, b"0")?;
        }
        Ok(())
    }
}

/// Counts out-of-memory kills and says when one happens.
#[derive(Debug)]
pub struct OomWatch {
    event: OwnedFd,
}

impl OomWatch {
    /// The descriptor that becomes readable when the group may have run out of memory.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        std::os::fd::AsFd::as_fd(&self.event)
    }
}

/// What is measured of a group, in the shape of `runc events --stats`.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Stats {}

const UNWRITTEN: &str = "it is being written";

impl Manager {
    /// Makes the group in every hierarchy that it needs. What was made is removed again when a step fails.
    ///
    /// The systemd driver needs `pid`: a scope is made around a process.
    pub fn create(_layout: &Layout, _request: &Request<'_>) -> Result<Self, Error> {
        Err(Error::Layout(UNWRITTEN.into()))
    }

    /// Opens the group that `paths` names. Folders that are gone are left out.
    pub fn attach(paths: &CgroupPaths) -> Result<Self, Error> {
        Ok(Self { paths: paths.clone() })
    }

    /// Returns where the group is.
    pub fn paths(&self) -> &CgroupPaths {
        &self.paths
    }

    /// Returns the folder of the v2 group, for clone3(2) with `CLONE_INTO_CGROUP`; `None` where v2 is not mounted.
    pub fn procs_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// Opens what a child needs to move itself into the v1 hierarchies (and into v2, unless it was born there).
    pub fn join(&self, _born_in_unified: bool) -> Result<Join, Error> {
        Err(Error::Layout(UNWRITTEN.into()))
    }

    /// Moves the process `pid` into the group. Slower than [`Manager::join`]: the kernel waits for all forks.
    pub fn add(&self, _pid: i32) -> Result<(), Error> {
        Err(Error::Layout(UNWRITTEN.into()))
    }

    /// Sets limits; used for new groups and for `update`. Values are checked before anything is written.
    pub fn apply(&self, _resources: &LinuxResources, _missing: OnMissing) -> Result<Vec<Warning>, Error> {
        Err(Error::Layout(UNWRITTEN.into()))
    }

    /// Stops every process of the group; returns when all are stopped.
    pub fn freeze(&self) -> Result<(), Error> {
        Err(Error::Layout(UNWRITTEN.into()))
    }

    /// Lets every process go on.
    pub fn thaw(&self) -> Result<(), Error> {
        Err(Error::Layout(UNWRITTEN.into()))
    }

    /// Returns whether the group is frozen.
    pub fn is_frozen(&self) -> Result<bool, Error> {
        Err(Error::Layout(UNWRITTEN.into()))
    }

    /// Returns the processes of the group, with those of nested groups when `recursive`.
    pub fn pids(&self, _recursive: bool) -> Result<Vec<i32>, Error> {
        Err(Error::Layout(UNWRITTEN.into()))
    }

    /// Kills every process of the group and of nested ones with SIGKILL.
    pub fn kill_all(&self) -> Result<(), Error> {
        Err(Error::Layout(UNWRITTEN.into()))
    }

    /// Measures.
    pub fn stats(&self) -> Result<Stats, Error> {
        Err(Error::Layout(UNWRITTEN.into()))
    }

    /// Watches for out-of-memory events.
    pub fn watch_oom(&self) -> Result<OomWatch, Error> {
        Err(Error::Layout(UNWRITTEN.into()))
    }

    /// Returns how many processes the kernel has killed in this group for want of memory.
    pub fn oom_kills(&self) -> Result<u64, Error> {
        Err(Error::Layout(UNWRITTEN.into()))
    }

    /// Removes the group and nested ones from every hierarchy; what is gone already counts as removed. Tries again for
    /// at most `patience` while the kernel says that it is busy.
    pub fn delete(&self, _patience: Duration) -> Result<(), Error> {
        Err(Error::Layout(UNWRITTEN.into()))
    }
}
