//! Control groups: makes, fills, limits, freezes, measures, empties and removes the group of one container, on
//! cgroup v2, v1 and the hybrid of both, by files or by systemd.
//!
//! A [`Layout`] says what the machine has; [`Manager::create`] makes the folders; the init enters them by
//! [`Manager::procs_fd`] (v2, at its birth) and [`Manager::join`] (v1, one write a hierarchy); [`Manager::apply`] sets
//! limits. [`CgroupPaths`] goes into the container's state: a later command attaches by it and decides nothing anew.
//!
//! ```text
//!   Layout ─┐
//!   Request ┴─ create ─▶ Manager ── join / procs_fd / add ── apply ── freeze, thaw, stats, kill_all … ── delete
//!                          ▲  │ paths()
//!                   attach │  ▼
//!                        CgroupPaths (state.json)
//! ```
//!
//! **Which v1 hierarchies.** Every mounted controller is joined, named `systemd` included, but for perf_event, net_cls, net_prio,
//! hugetlb, rdma and misc, which are joined when a limit asks for them. memory, pids, cpuacct and blkio are needed for `stats`,
//! freezer for `pause`, devices always, cpu for fair shares between containers, cpuset because programs (Java before 21) take the
//! absence of any of these for "not in a container", systemd so that it does not count the container to the service that
//! started it. The rest would cost time at each start and give nothing. Measured on kernel 6.18: all ten 0.4 ms, made, joined and removed.
//!
//! Source: kernel `Documentation/admin-guide/cgroup-v1/`, `Documentation/admin-guide/cgroup-v2.rst`; cgroups(7).

mod apply;
mod create;
pub mod devices;
mod error;
mod folder;
mod freeze;
mod layout;
mod oom;
pub mod plan;
mod processes;
mod remove;
pub mod stats;
mod systemd;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use oci::runtime::LinuxResources;
use serde::{Deserialize, Serialize};

pub use devices::in_initial_user_namespace;
pub use error::Error;
pub use layout::{Hierarchy, Layout};
pub use oom::OomWatch;
pub use processes::Join;
pub use stats::{Stats, cpu_time};

use folder::Folder;

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
    /// The limits that will be set: decides which hierarchies are needed, and with [`Driver::Systemd`] what systemd is told.
    pub resources: Option<&'a LinuxResources>,
    /// The process to make a scope around; [`Driver::Systemd`] cannot make an empty one. It is in the group afterwards.
    pub pid: Option<i32>,
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
}

impl CgroupPaths {
    /// Returns whether there is no group at all (a rootless container without delegation).
    pub fn is_empty(&self) -> bool {
        self.unified.is_none() && self.v1.is_empty()
    }
}

/// What to do with a limit that this machine cannot set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnMissing {
    /// Fail before anything is written where that can be known before.
    #[default]
    Refuse,
    /// Go on, and give the error back as a warning.
    Warn,
}

/// A limit that was asked for and could not be set, when the caller took [`OnMissing::Warn`].
#[derive(Debug)]
pub struct Warning(pub Error);

impl std::fmt::Display for Warning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&base::error::render_chain(&self.0))
    }
}

/// The group in one v1 hierarchy.
#[derive(Debug)]
struct Group {
    controllers: Vec<String>,
    folder: Folder,
}

/// The control group of one container, in every hierarchy, held by directory descriptors.
#[derive(Debug)]
pub struct Manager {
    paths: CgroupPaths,
    v1: Vec<Group>,
    unified: Option<Folder>,
}

impl Manager {
    /// Opens the group that `paths` names. Folders that are gone are left out, so that teardown can always go on.
    pub fn attach(paths: &CgroupPaths) -> Result<Self, Error> {
        let mut v1: Vec<Group> = Vec::new();
        for (controller, path) in &paths.v1 {
            if let Some(group) = v1.iter_mut().find(|group| group.folder.path() == path) {
                group.controllers.push(controller.clone());
            } else if let Some(folder) = Folder::open(path)? {
                v1.push(Group { controllers: vec![controller.clone()], folder });
            }
        }
        let unified = paths.unified.as_deref().map(Folder::open).transpose()?.flatten();
        Ok(Self { paths: paths.clone(), v1, unified })
    }

    /// Returns where the group is.
    pub fn paths(&self) -> &CgroupPaths {
        &self.paths
    }

    /// Returns the folder of the v2 group, for clone3(2) with `CLONE_INTO_CGROUP`; `None` where v2 is not mounted.
    pub fn procs_fd(&self) -> Option<BorrowedFd<'_>> {
        self.unified.as_ref().map(Folder::as_fd)
    }

    /// Returns the v1 group that has `controller`.
    fn v1(&self, controller: &str) -> Option<&Folder> {
        let mut groups = self.v1.iter();
        groups
            .find(|group| group.controllers.iter().any(|name| name == controller))
            .map(|group| &group.folder)
    }

    /// Returns all folders, v1 first.
    fn folders(&self) -> impl Iterator<Item = &Folder> {
        self.v1.iter().map(|group| &group.folder).chain(self.unified.as_ref())
    }

    /// Returns whether v2 carries the resource controllers of this group.
    fn is_unified(&self) -> bool {
        self.unified.is_some() && self.v1.iter().all(|g| g.controllers.iter().all(|c| c.starts_with("name=")))
    }
}
