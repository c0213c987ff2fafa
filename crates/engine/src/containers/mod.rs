//! The life of a container.
//!
//! ```text
//!             create                start
//!   (nothing) ──────▶ Created ──────────────▶ Running ⇄ Paused
//!                        ▲ start failed        │  ▲
//!                        └─────────────────────┘  │ start, restart policy
//!                                              ▼  │
//!                              Restarting ◀── Exited ──remove──▶ Removing ──▶ (nothing)
//! ```
//!
//! The row in the database is the intent. What is true is told by the monitor's `state.json` (run root), its `exit.json` (data
//! root) and the kernel; [`truth`] joins them, and every answer goes through it. Whoever changes the state of a
//! container holds the lock of its folder while doing so, never while waiting for it to end.

mod ahead;
mod attach;
mod boot;
mod cdi;
mod changes;
mod cleanup;
mod copyup;
mod create;
mod devices;
mod exec;
mod health;
mod log_driver;
mod logs;
mod merge;
mod mounts;
mod remains;
mod remove;
mod spec;
mod start;
mod stats;
mod stop;
mod top;
mod truth;
mod update;
mod user;
mod userns;
mod view;
mod wait;

use std::fs::File;
use std::path::PathBuf;

use base::ContainerId;
use rustix::fs::{FlockOperation, flock};

pub use ahead::Dying;
pub use attach::AttachOptions;
pub use boot::Turn;
pub use changes::{Change, ChangeKind, CommitSpec, Committed};
pub(crate) use create::random_bytes;
pub use create::{Created, PullPolicy};
pub use exec::{ExecSpec, ExecStarted};
pub use logs::LogOptions;
pub use monitor::log::Line;
pub use monitor::{ExitRecord, Session, interact};
pub(crate) use remove::remove_folder;
pub use remove::{Pruned, RemoveOptions};
/// The annotation that says whose figures `/proc` shows, `host` or `truthful`.
pub use runtime::view::ANNOTATION as PROC_ANNOTATION;
pub use start::Started;
pub use stats::Sampler;
pub use top::Top;
pub(crate) use truth::Truth;
pub use update::Changes;
pub(crate) use userns::UserNamespace;
pub(crate) use view::View;
pub use wait::WaitCondition;

use crate::Engine;
use crate::db::ContainerRow;
use crate::error::{Error, IoContext, Result};
use crate::model::Container;

/// Name of the log inside a container's folder.
const LOG_FILE: &str = "log.json";
/// Name of the monitor's record of the end.
pub(crate) const EXIT_FILE: &str = "exit.json";

impl Engine {
    /// Returns all containers, newest first, each as it is now.
    pub fn containers(&self) -> Result<Vec<Container>> {
        // What a killed command left half done is finished where it can be; the command that needs it says why not.
        let _ = self.finish_pending();
        self.views(self.db()?.containers()?)
    }

    /// Returns those that run, or wait for a restart or for the end of their removal: those that stopped are not even read.
    pub fn running_containers(&self) -> Result<Vec<Container>> {
        let _ = self.finish_pending();
        self.views(self.db()?.running_containers()?)
    }

    fn views(&self, rows: Vec<ContainerRow>) -> Result<Vec<Container>> {
        crate::timings::mark("database");
        let mut list = Vec::with_capacity(rows.len());
        for row in rows {
            match self.tend(&row) {
                Ok(false) => list.push(self.view(row)?),
                // It ended unnoticed and is cleaned up now; with --rm it is gone.
                Ok(true) => match self.row(row.id.as_str()) {
                    Ok(row) => list.push(self.view(row)?),
                    Err(Error::NotFound { .. }) => {}
                    Err(error) => return Err(error),
                },
                // A listing tells what is true even where it may not or cannot repair; the command that needs
                // the container says why.
                Err(_) => list.push(self.view(row)?),
            }
        }
        Ok(list)
    }

    /// Returns the container that `name` means: its name, its id, or an unambiguous beginning of its id.
    pub fn container(&self, name: &str) -> Result<Container> {
        let row = self.row(name)?;
        self.view(row)
    }

    /// Returns the bytes that the container wrote, and those of its whole root file system.
    pub fn container_size(&self, container: &Container) -> Result<(u64, u64)> {
        use crate::error::Doing as _;
        let written = match self.store()?.snapshot(container.id.as_str()) {
            Ok(snapshot) => {
                snapshot.size().doing(|| format!("cannot measure container {}", container.name))?
            }
            Err(_) => 0, // Never started: there is no snapshot.
        };
        let below = self
            .db()?
            .images()?
            .into_iter()
            .find(|row| row.id == container.image_id)
            .map_or(0, |row| row.size());
        Ok((written, written + below))
    }

    /// Finds the row that `name` means.
    pub(crate) fn row(&self, name: &str) -> Result<ContainerRow> {
        let missing = || Error::NotFound { what: "container", name: name.to_owned() };
        let name = name.strip_prefix('/').unwrap_or(name);
        if name.is_empty() {
            return Err(missing());
        }
        if let Some(row) = self.db()?.container_by_name(name)? {
            return Ok(row);
        }
        if name.len() > 64 || !name.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(missing());
        }
        let mut found = self.db()?.containers_by_prefix(name)?;
        match found.len() {
            0 => Err(missing()),
            1 => found.pop().ok_or_else(missing),
            _ => Err(Error::Ambiguous { what: "container", prefix: name.to_owned() }),
        }
    }

    /// Completes a row by what the kernel and the monitor say.
    fn view(&self, row: ContainerRow) -> Result<Container> {
        let state = self.state_of(&row);
        let alive = state.status.is_alive();
        let (endpoints, ports) = match alive {
            true => (self.shown_endpoints(&row.id)?, self.db()?.ports(&row.id)?),
            false => (Vec::new(), Vec::new()),
        };
        let health = self.health_of(&row, alive);
        let folder = self.roots().container(row.id.as_str());
        Ok(Container {
            log_path: self.log_path(&row),
            id: row.id,
            name: row.name,
            created: row.created,
            image_id: row.image,
            image_name: row.image_name,
            spec: row.spec,
            argv: row.argv,
            state,
            restart_count: row.restart_count,
            mounts: row.mounts.into_iter().map(|point| self.with_source(point)).collect(),
            endpoints,
            ports,
            health,
            folder,
        })
    }

    /// Takes the lock of a container's folder; it is released when the answer is dropped. Fails with "No such
    /// container" when the folder is gone.
    pub(crate) fn lock(&self, id: &ContainerId) -> Result<ContainerLock> {
        let folder = self.roots().container(id.as_str());
        let path = folder.join("lock");
        let file = match File::options().create(true).truncate(false).write(true).open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(Error::NotFound { what: "container", name: id.short().to_owned() });
            }
            Err(error) => return Err(error).at("open", &path),
        };
        flock(&file, FlockOperation::LockExclusive).at("lock", &path)?;
        Ok(ContainerLock { _file: file })
    }

    pub(crate) fn container_path(&self, id: &ContainerId) -> PathBuf {
        self.roots().container(id.as_str())
    }
}

/// The lock of a container's folder.
#[derive(Debug)]
pub(crate) struct ContainerLock {
    _file: File,
}
