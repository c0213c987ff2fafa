//! `system boot` and `system shutdown`: what a machine's start and end mean for containers.
//!
//! ```text
//! boot:      settle what the machine's end cut off ─▶ start what its policy wants, whatever others need first
//! shutdown:  forbid restarts ─▶ stop everything, whatever needs others first ─▶ the policies hold at the next boot
//! ```
//! A boot that was completed leaves a mark in the run root, which does not outlive the machine: a second one does nothing.

use std::collections::HashMap;
use std::fs::File;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use monitor::{Claim, Client};
use rustix::fs::{FlockOperation, flock};

use super::stop::{KILL_PATIENCE, SIGKILL, stop_signal, wait_for};
use super::truth::Truth;
use crate::Engine;
use crate::db::ContainerRow;
use crate::error::{Doing, Error, IoContext, Result};
use crate::events::of_container;
use crate::model::Status;

/// Containers that are stopped at once: each needs a descriptor until it has ended.
const AT_ONCE: usize = 200;

/// What a boot or a shutdown did.
#[derive(Debug, Default)]
pub struct Turn {
    /// Names of the containers that were started or stopped, in that order.
    pub done: Vec<String>,
    /// Those with which it did not work, and why.
    pub failed: Vec<(String, Error)>,
}

impl Turn {
    fn add(&mut self, name: &str, result: Result<()>) {
        match result {
            Ok(()) => self.done.push(name.to_owned()),
            Err(error) => self.failed.push((name.to_owned(), error)),
        }
    }
}

impl Engine {
    /// Starts, after a start of the machine, the containers whose policy says so. Does nothing when that was done.
    pub fn boot(&self) -> Result<Turn> {
        let _one_at_a_time = self.run_lock("boot.lock")?;
        let mark = self.roots().run.join("booted");
        let mut turn = Turn::default();
        if mark.exists() {
            return Ok(turn);
        }
        for row in self.db()?.containers()? {
            if let Err(error) = self.settle_cut_off(&row) {
                turn.failed.push((row.name, error));
            }
        }
        let rows = self.db()?.containers()?;
        for (at, _) in order(&rows) {
            let row = &rows[at];
            if starts_at_boot(row) && !self.state_of(row).status.is_alive() {
                turn.add(&row.name, self.start(row.id.as_str(), None).map(|_| ()));
            }
        }
        if turn.failed.is_empty() {
            File::create(&mark).at("make", &mark)?;
        }
        Ok(turn)
    }

    /// Records the end of a container that ran, or waited for its restart, when the machine went down. What it left is cleared.
    fn settle_cut_off(&self, row: &ContainerRow) -> Result<()> {
        let monitored = || Client::connect(&self.roots().container_run(row.id.as_str())).is_ok();
        match row.status {
            Status::Running if matches!(self.truth(&row.id), Truth::Alive(_)) || monitored() => {
                self.tend(row).map(|_| ())
            }
            Status::Running | Status::Restarting if !monitored() => {
                let _lock = self.lock(&row.id)?;
                let row = self.row(row.id.as_str())?;
                match row.status {
                    Status::Running => self.settle(&row)?,
                    Status::Restarting => self.db()?.set_status(&row.id, Status::Exited)?,
                    _ => return Ok(()),
                }
                if row.spec.host_config.auto_remove { self.remove_locked(&row, true) } else { Ok(()) }
            }
            Status::Removing => self.tend(row).map(|_| ()),
            _ => Ok(()),
        }
    }

    /// Stops every container before the machine goes down. None is taken for stopped by a person, so that the next boot
    /// starts what its policy wants.
    pub fn shutdown(&self) -> Result<Turn> {
        let _no_restarts = self.run_lock(SHUTDOWN_LOCK)?;
        let mark = self.roots().run.join("booted");
        match std::fs::remove_file(&mark) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).at("remove", &mark);
            }
            _ => {}
        }
        let rows = self.db()?.containers()?;
        let order = order(&rows);
        let mut turn = Turn::default();
        for level in (0..=order.iter().map(|(_, level)| *level).max().unwrap_or(0)).rev() {
            let level: Vec<_> =
                order.iter().filter(|(_, of)| *of == level).map(|(at, _)| &rows[*at]).collect();
            level.chunks(AT_ONCE).for_each(|some| self.stop_all(some, &mut turn));
        }
        Ok(turn)
    }

    /// Stops containers side by side: all are told before the first is waited for.
    fn stop_all(&self, rows: &[&ContainerRow], turn: &mut Turn) {
        let mut told = Vec::new();
        for row in rows {
            match self.tell_to_stop(row) {
                Ok(Some(client)) => told.push((*row, client, Instant::now())),
                Ok(None) => {}
                Err(error) => turn.failed.push((row.name.clone(), error)),
            }
        }
        for (row, mut client, since) in told {
            turn.add(&row.name, self.wait_stopped(row, &mut client, since));
            // The monitor only waits for this word; when it is gone there is nobody to tell.
            let _ = client.cleaned();
        }
    }

    /// Sends the stop signal; none when the container does not run.
    fn tell_to_stop(&self, row: &ContainerRow) -> Result<Option<Client>> {
        if row.status == Status::Restarting && self.end_restarting(row)? {
            return Ok(None);
        }
        let row = &self.row(row.id.as_str())?;
        if !self.state_of(row).status.is_alive() {
            return self.cleanup(row.id.as_str(), false).map(|_| None);
        }
        let doing = || format!("cannot stop container {}", row.name);
        let mut client = self.client(row)?;
        client.watch(Claim::Yes).doing(doing)?;
        if row.paused {
            self.thaw(row)?;
        }
        self.signal(row, &mut client, stop_signal(row)).doing(doing)?;
        Ok(Some(client))
    }

    fn wait_stopped(&self, row: &ContainerRow, client: &mut Client, since: Instant) -> Result<()> {
        let doing = || format!("cannot stop container {}", row.name);
        let timeout = row.spec.config.stop_timeout.unwrap_or(super::stop::STOP_TIMEOUT);
        let patience = u64::try_from(timeout).ok().map(Duration::from_secs);
        let left = patience.map(|patience| patience.saturating_sub(since.elapsed()));
        if wait_for(client, left).doing(doing)?.is_none() {
            self.signal(row, client, SIGKILL).doing(doing)?;
            if wait_for(client, Some(KILL_PATIENCE)).doing(doing)?.is_none() {
                return Err(Error::Unavailable(format!(
                    "cannot stop container {}: tried to kill it, but it did not end",
                    row.name
                )));
            }
        }
        self.cleanup(row.id.as_str(), false)?;
        self.record(&[of_container(&row.id, "stop")]);
        Ok(())
    }

    /// Says whether the machine's containers are being stopped, so that no policy starts one again.
    pub(super) fn is_shutting_down(&self) -> bool {
        // Without the file nobody ever shut down.
        let file = File::open(self.roots().run.join(SHUTDOWN_LOCK));
        file.is_ok_and(|file| flock(&file, FlockOperation::NonBlockingLockShared).is_err())
    }

    fn run_lock(&self, name: &str) -> Result<File> {
        let path: PathBuf = self.roots().run.join(name);
        let file = File::options().create(true).truncate(false).write(true).open(&path).at("open", &path)?;
        flock(&file, FlockOperation::LockExclusive).at("lock", &path)?;
        Ok(file)
    }
}

/// Held while the containers of the machine are being stopped.
const SHUTDOWN_LOCK: &str = "shutdown.lock";

/// Says whether a container that does not run is to run after a start of the machine: always; unless a person stopped
/// it; or because the machine's end was a failure. One that never ran is not started, as in Docker.
fn starts_at_boot(row: &ContainerRow) -> bool {
    let policy = &row.spec.host_config.restart_policy;
    let limit = u32::try_from(policy.maximum_retry_count).unwrap_or(0);
    let wanted = match policy.name.as_str() {
        "always" => true,
        "unless-stopped" => !row.stopped_by_user,
        "on-failure" => {
            !row.stopped_by_user && row.exit_code != 0 && (limit == 0 || row.restart_count < limit)
        }
        _ => false,
    };
    wanted && row.started.is_some() && matches!(row.status, Status::Exited | Status::Created)
}

/// Names of the containers that must run before `row` can: whose namespaces it joins, whose volumes it takes.
fn needs(row: &ContainerRow) -> Vec<&str> {
    let host = &row.spec.host_config;
    let modes = [&host.network_mode, &host.ipc_mode, &host.pid_mode];
    let joined = modes.into_iter().filter_map(|mode| mode.strip_prefix("container:"));
    let volumes = host.volumes_from.iter().flatten().map(|text| text.split(':').next().unwrap_or(text));
    joined.chain(volumes).collect()
}

/// Puts containers into an order in which each comes after those that it needs, older ones first; with each goes how many
/// others stand one upon the other below it. `rows` are newest first.
fn order(rows: &[ContainerRow]) -> Vec<(usize, usize)> {
    let mut levels: HashMap<usize, usize> = HashMap::new();
    let mut list = Vec::with_capacity(rows.len());
    for at in (0..rows.len()).rev() {
        visit(rows, at, &mut levels, &mut list);
    }
    list.into_iter().map(|at| (at, levels[&at])).collect()
}

/// Visits what `at` needs and then itself. Returns its level.
fn visit(
    rows: &[ContainerRow],
    at: usize,
    levels: &mut HashMap<usize, usize>,
    list: &mut Vec<usize>,
) -> usize {
    if let Some(level) = levels.get(&at) {
        return *level;
    }
    // Entered before what it needs, so that a circle (a name that was given to another since) has an end.
    levels.insert(at, 0);
    let mut level = 0;
    for name in needs(&rows[at]) {
        let means =
            |row: &ContainerRow| row.name == name || (name.len() >= 12 && row.id.as_str().starts_with(name));
        if let Some(needed) = rows.iter().position(means).filter(|needed| *needed != at) {
            level = level.max(visit(rows, needed, levels, list) + 1);
        }
    }
    levels.insert(at, level);
    list.push(at);
    level
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::testing::row;

    #[test]
    fn each_comes_after_what_it_needs() {
        let mut rows: Vec<_> = ["d", "c", "b", "a"].map(row).into();
        // a needs b, b needs d; c needs nothing. The list is newest first.
        rows[3].spec.host_config.network_mode = "container:b".into();
        rows[2].spec.host_config.volumes_from = Some(vec!["d:ro".into()]);
        let names = |rows: &[ContainerRow]| -> Vec<(String, usize)> {
            order(rows).into_iter().map(|(at, level)| (rows[at].name.clone(), level)).collect()
        };
        let wanted = [("d", 0), ("b", 1), ("a", 2), ("c", 0)].map(|(name, level)| (name.to_owned(), level));
        assert_eq!(names(&rows), wanted);
        // A circle ends.
        rows[0].spec.host_config.pid_mode = "container:a".into();
        assert_eq!(names(&rows).len(), 4);
    }

    #[test]
    fn policies_decide_at_boot_as_in_docker() {
        for (policy, limit, by_user, exit_code, restarts, wanted) in [
            ("no", 0, false, 255, 0, false),
            ("always", 0, true, 0, 0, true),
            ("unless-stopped", 0, false, 0, 0, true),
            ("unless-stopped", 0, true, 0, 0, false),
            ("on-failure", 0, false, 255, 0, true),
            ("on-failure", 0, false, 0, 0, false),
            ("on-failure", 2, false, 1, 2, false),
            ("on-failure", 0, true, 137, 0, false),
        ] {
            let mut row = row("a");
            row.spec.host_config.restart_policy.name = policy.to_owned();
            row.spec.host_config.restart_policy.maximum_retry_count = limit;
            (row.stopped_by_user, row.exit_code, row.restart_count) = (by_user, exit_code, restarts);
            (row.status, row.started) = (Status::Exited, Some(jiff::Timestamp::UNIX_EPOCH));
            assert_eq!(starts_at_boot(&row), wanted, "{policy} {by_user} {exit_code}");
            row.started = None;
            assert!(!starts_at_boot(&row), "{policy}: it never ran");
        }
    }
}
