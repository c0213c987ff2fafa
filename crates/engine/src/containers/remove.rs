//! `rm` and `container prune`.

use std::fs;

use base::ContainerId;
use monitor::Claim;

use super::stop::{KILL_PATIENCE, SIGKILL};
use crate::Engine;
use crate::db::ContainerRow;
use crate::error::{Doing, Error, IoContext, Result};
use crate::events::{self, Event, Kind};
use crate::model::{Container, Status};

/// How `rm` goes about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RemoveOptions {
    /// Kill it if it runs.
    pub force: bool,
    /// Remove its anonymous volumes too.
    pub volumes: bool,
}

/// What a prune removed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pruned {
    /// Names or ids.
    pub deleted: Vec<String>,
    /// Bytes on disk.
    pub bytes: u64,
}

impl Engine {
    /// Removes a container.
    pub fn remove(&self, name: &str, options: RemoveOptions) -> Result<()> {
        let row = self.row(name).inspect_err(|_| {
            if options.volumes {
                // Perhaps the repetition of a removal that was killed; its error is the missing container.
                let _ = self.empty_volume_trash();
            }
        })?;
        let state = self.state_of(&row);
        if state.status.is_alive() || row.status == Status::Restarting {
            if !options.force {
                return Err(Error::Conflict(format!(
                    "cannot remove container \"{}\": container is {}: stop the container before removing or force remove",
                    row.name,
                    state.status.as_str()
                )));
            }
            let now = self.stopped_by_hand(row.clone())?;
            if let Some(now) = now.filter(|now| self.state_of(now).status.is_alive()) {
                self.end_by_force(&now)?;
            }
        }
        let _lock = match self.lock(&row.id) {
            Ok(lock) => Some(lock),
            // It went meanwhile, or its create was killed before it made the folder: the row tells.
            Err(Error::NotFound { .. }) => None,
            Err(error) => return Err(error),
        };
        let by_itself = row.spec.host_config.auto_remove;
        let row = match self.row(row.id.as_str()) {
            Ok(row) => row,
            Err(Error::NotFound { .. }) if options.force || by_itself => return Ok(()),
            Err(error) => return Err(error),
        };
        if row.status == Status::Running {
            self.settle(&row)?;
        }
        self.remove_locked(&row, options.volumes)
    }

    /// Kills a container, and its monitor first when that does not answer: another one takes over.
    fn end_by_force(&self, row: &ContainerRow) -> Result<()> {
        match self.end(row, SIGKILL, Some(KILL_PATIENCE), Claim::Removal) {
            Err(error) if is_silent(&error) => {
                super::remains::kill_monitors(&self.roots().container_run(row.id.as_str()));
                self.end(row, SIGKILL, Some(KILL_PATIENCE), Claim::Removal)
            }
            other => other,
        }
    }

    /// Removes a container that does not run, whose lock the caller holds. The row goes last: whatever a crash leaves is
    /// found through it and removed by the next command.
    pub(super) fn remove_locked(&self, row: &ContainerRow, volumes: bool) -> Result<()> {
        self.clear_remains(row)?;
        if row.status != Status::Removing {
            self.db()?.set_status(&row.id, Status::Removing)?;
        }
        let snapshot = self
            .store()?
            .remove_snapshot(row.id.as_str())
            .doing(|| format!("cannot remove the files of container {}", row.name));
        let run = self.roots().container_run(row.id.as_str());
        let folder = self.container_path(&row.id);
        let folders = remove_folder(&run).and(remove_folder(&folder));
        snapshot.and(folders)?;
        let mut discard = |name: &str| self.discard_volume(name);
        let orphans = self.db()?.remove_container(&row.id, volumes.then_some(&mut discard))?;
        self.record(&[events::of_container(&row.id, "destroy").about(events::object_of(row))]);
        if !volumes || orphans.is_empty() {
            return Ok(());
        }
        orphans.iter().for_each(|name| self.record_gone_volume(name));
        self.empty_volume_trash()
    }

    /// Removes the containers that do not run and that `wanted` picks.
    pub fn prune_containers(&self, wanted: &dyn Fn(&Container) -> bool) -> Result<Pruned> {
        let mut pruned = Pruned::default();
        for container in self.containers()? {
            let idle = matches!(container.state.status, Status::Created | Status::Exited | Status::Dead);
            if !idle || !wanted(&container) {
                continue;
            }
            let (bytes, _) = self.container_size(&container)?;
            match self.remove(container.id.as_str(), RemoveOptions::default()) {
                Ok(()) => {
                    pruned.deleted.push(container.id.to_string());
                    pruned.bytes += bytes;
                }
                // Somebody started or removed it meanwhile.
                Err(Error::Conflict(_) | Error::NotFound { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        self.record(&[Event::new(Kind::Container, "prune", "").with("reclaimed", pruned.bytes)]);
        Ok(pruned)
    }

    /// Removes what no row owns: what monitors, the runtime and half-finished removals keep of containers that are gone.
    /// Nothing of a container is made before its row.
    pub(crate) fn sweep_folders(&self) -> Result<()> {
        let known: std::collections::HashSet<String> =
            self.db()?.containers()?.into_iter().map(|row| row.id.to_string()).collect();
        let data = self.roots().data.join("containers");
        for name in unknown_in(&data, &known)? {
            remove_folder(&data.join(name))?;
        }
        let runtime = self.roots().run.join("runtime");
        for name in unknown_in(&runtime, &known)? {
            runtime::delete(&runtime, &name, true)
                .doing(|| format!("cannot remove what the runtime keeps of {name}"))?;
            remove_folder(&runtime.join(name))?;
        }
        let run = self.roots().run.join("containers");
        for name in unknown_in(&run, &known)? {
            remove_folder(&run.join(name))?;
        }
        Ok(())
    }
}

/// Whether a monitor that is there did not answer.
fn is_silent(error: &Error) -> bool {
    let first: Option<&dyn std::error::Error> = Some(error);
    std::iter::successors(first, |error| error.source())
        .filter_map(|error| error.downcast_ref::<monitor::Error>())
        .any(|error| matches!(error, monitor::Error::Silent { .. }))
}

/// Names in `base` that are ids and of no known container.
fn unknown_in(base: &std::path::Path, known: &std::collections::HashSet<String>) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(base).at("list", base)? {
        let name = entry.at("list", base)?.file_name().to_string_lossy().into_owned();
        if name.parse::<ContainerId>().is_ok() && !known.contains(&name) {
            found.push(name);
        }
    }
    Ok(found)
}

/// How often the removal of a folder is begun again that somebody put something into meanwhile: a command that waits for
/// the container's lock makes its file anew.
const REMOVE_TRIES: u32 = 100;

/// Removes a folder with everything in it; that it is not there is fine.
pub(crate) fn remove_folder(path: &std::path::Path) -> Result<()> {
    use std::io::ErrorKind;
    let mut tries = REMOVE_TRIES;
    loop {
        match fs::remove_dir_all(path) {
            Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty && tries > 0 => tries -= 1,
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error).at("remove", path),
            _ => return Ok(()),
        }
    }
}
