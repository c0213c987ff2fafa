//! `stop`, `kill`, `restart`, `pause`, `unpause`, `rename`.

use std::time::{Duration, Instant};

use docker_types::{names, signal};
use monitor::{Claim, Client, ExitRecord};

use crate::Engine;
use crate::db::ContainerRow;
use crate::error::{Doing, Error, Result};
use crate::events::{object_of, of_container};
use crate::model::Status;

/// Seconds from the stop signal to SIGKILL when nobody says.
pub(super) const STOP_TIMEOUT: i64 = 10;
/// SIGTERM and SIGKILL.
const SIGTERM: i32 = 15;
pub(super) const SIGKILL: i32 = 9;
/// How often a stop goes on with another monitor when one was killed under it.
const TAKEOVERS: u32 = 3;
/// How long a killed container may take to end; longer means that the kernel holds it (a process in state D).
pub(super) const KILL_PATIENCE: Duration = Duration::from_secs(10);
impl Engine {
    /// Stops a container: its stop signal (or `signal`), and SIGKILL after `timeout` seconds (−1 waits for ever).
    /// Stopping one that does not run does nothing.
    pub fn stop(&self, name: &str, signal: Option<&str>, timeout: Option<i64>) -> Result<()> {
        let row = self.row(name)?;
        let chosen = signal.or(row.spec.config.stop_signal.as_deref());
        let number = chosen.map(parse_signal).transpose()?.unwrap_or(SIGTERM);
        let timeout = timeout.or(row.spec.config.stop_timeout).unwrap_or(STOP_TIMEOUT);
        let Some(row) = self.stopped_by_hand(row)? else { return Ok(()) };
        if !self.state_of(&row).status.is_alive() {
            return self.cleanup_stopped(&row);
        }
        let patience = u64::try_from(timeout).ok().map(Duration::from_secs);
        self.end(&row, number, patience, Claim::Yes)?;
        self.record(&[of_container(&row.id, "stop")]);
        Ok(())
    }

    /// Notes that a person stops the container, so that no policy starts it again once it has ended. Returns it as it is then;
    /// none when it only waited for its restart, which is over.
    pub(super) fn stopped_by_hand(&self, mut row: ContainerRow) -> Result<Option<ContainerRow>> {
        while matches!(row.status, Status::Restarting | Status::Running) {
            let noted = self.db()?.set_stopped_by_user(&row.id);
            if matches!(row.spec.host_config.restart_policy.name.as_str(), "" | "no") {
                // No policy looks at the note: stopped even when the disk takes none.
                break;
            }
            noted?;
            row = self.row(row.id.as_str())?;
            match row.status {
                Status::Restarting if self.end_restarting(&row)? => return Ok(None),
                // It has just been started again, which forgets who stopped it before.
                Status::Restarting => row = self.row(row.id.as_str())?,
                Status::Running if !row.stopped_by_user => {}
                _ => break,
            }
        }
        Ok(Some(row))
    }

    /// Cleans up after the end of a container that is to stay as it is, even if somebody started it just before and so made
    /// its policy hold again.
    fn cleanup_stopped(&self, row: &ContainerRow) -> Result<()> {
        if self.cleanup(row.id.as_str(), false)?.is_some() {
            self.end_restarting(row)?;
        }
        Ok(())
    }

    /// Sends `number`, waits as long as `patience` (none: for ever), then kills; cleans up itself, as it claims to.
    pub(super) fn end(
        &self,
        row: &ContainerRow,
        number: i32,
        patience: Option<Duration>,
        claim: Claim,
    ) -> Result<()> {
        let mut tries = TAKEOVERS;
        loop {
            let mut client = match self.client(row) {
                // It ended by itself just now, and its monitor with it.
                Err(_) if !self.state_of(row).status.is_alive() => return self.cleanup_stopped(row),
                other => other?,
            };
            match self.end_by(&mut client, row, number, patience, claim) {
                // Its monitor was at the end already, or was killed with it: what was wanted.
                Err(Error::Part { .. }) if !self.state_of(row).status.is_alive() => {}
                // Its monitor was killed in that moment: another takes over.
                Err(error) if tries > 0 && is_closed(&error) => {
                    tries -= 1;
                    continue;
                }
                result => result?,
            }
            crate::timings::mark("ended");
            self.cleanup_stopped(row)?;
            // The monitor only waits for this word; when it is gone there is nobody to tell.
            let _ = client.cleaned();
            return Ok(());
        }
    }

    fn end_by(
        &self,
        client: &mut Client,
        row: &ContainerRow,
        number: i32,
        patience: Option<Duration>,
        claim: Claim,
    ) -> Result<()> {
        let doing = || format!("cannot stop container {}", row.name);
        client.watch(claim).doing(doing)?;
        if row.paused {
            // A frozen process takes no signal; SIGKILL too waits for the thaw on cgroup v1.
            self.thaw(row)?;
        }
        self.signal(row, client, number).doing(doing)?;
        if wait_for(client, patience).doing(doing)?.is_none() {
            self.signal(row, client, SIGKILL).doing(doing)?;
            if wait_for(client, Some(KILL_PATIENCE)).doing(doing)?.is_none() {
                return Err(Error::Unavailable(format!(
                    "cannot stop container {}: tried to kill it, but it did not end in {} s; a process of it waits in the kernel (see state D in ps)",
                    row.name,
                    KILL_PATIENCE.as_secs()
                )));
            }
        }
        Ok(())
    }

    /// Sends a signal to the init; the record of it comes before what it does.
    pub(super) fn signal(&self, row: &ContainerRow, client: &mut Client, number: i32) -> monitor::Result<()> {
        self.record(&[of_container(&row.id, "kill").with("signal", number)]);
        client.signal(number)
    }

    /// Sends a signal to the init.
    pub fn kill(&self, name: &str, signal: &str) -> Result<()> {
        let number = parse_signal(signal)?;
        let row = self.row(name)?;
        let state = self.state_of(&row);
        if !state.status.is_alive() {
            return Err(Error::Conflict(format!(
                "cannot kill container: {name}: container {} is not running",
                row.id
            )));
        }
        if number == SIGKILL || number == stop_signal(&row) {
            self.db()?.set_stopped_by_user(&row.id)?;
        }
        let mut client = self.client(&row)?;
        self.signal(&row, &mut client, number).doing(|| format!("cannot kill container {}", row.name))?;
        if number == SIGKILL {
            if row.paused {
                self.thaw(&row)?;
            }
            client.watch(Claim::No).doing(|| format!("cannot wait for container {}", row.name))?;
            wait_for(&mut client, Some(KILL_PATIENCE))
                .doing(|| format!("cannot wait for container {}", row.name))?;
        }
        Ok(())
    }

    /// Stops a container and starts it again.
    pub fn restart(&self, name: &str, signal: Option<&str>, timeout: Option<i64>) -> Result<()> {
        let id = self.row(name)?.id;
        self.stop(id.as_str(), signal, timeout)?;
        self.start(id.as_str(), None)?;
        self.record(&[of_container(&id, "restart")]);
        Ok(())
    }

    /// Freezes all processes of a container.
    pub fn pause(&self, name: &str) -> Result<()> {
        let row = self.row(name)?;
        let _lock = self.lock(&row.id)?;
        match self.state_of(&row).status {
            Status::Running => {}
            Status::Paused => return Err(Error::Conflict(format!("Container {name} is already paused"))),
            _ => return Err(Error::Conflict(format!("Container {name} is not running"))),
        }
        // The row comes first: of one that it calls paused the kernel is asked, of any other it is not.
        self.db()?.set_paused(&row.id, true)?;
        let frozen = match runtime::pause(&self.roots().run.join("runtime"), row.id.as_str()) {
            Err(runtime::Error::Status { status, .. }) if status == "paused" => Ok(()),
            other => other,
        };
        if let Err(error) = frozen {
            self.db()?.set_paused(&row.id, false)?;
            return Err(error).doing(|| format!("cannot pause container {}", row.name));
        }
        self.record(&[of_container(&row.id, "pause")]);
        Ok(())
    }

    /// Thaws a paused container.
    pub fn unpause(&self, name: &str) -> Result<()> {
        let row = self.row(name)?;
        let _lock = self.lock(&row.id)?;
        if self.state_of(&row).status != Status::Paused {
            return Err(Error::Conflict(format!("Container {name} is not paused")));
        }
        self.thaw(&row)?;
        self.record(&[of_container(&row.id, "unpause")]);
        Ok(())
    }

    pub(super) fn thaw(&self, row: &ContainerRow) -> Result<()> {
        let thawed = match runtime::resume(&self.roots().run.join("runtime"), row.id.as_str()) {
            // A command was killed between the two steps.
            Err(runtime::Error::Status { status, .. }) if status != "paused" => Ok(()),
            other => other,
        };
        thawed.doing(|| format!("cannot unpause container {}", row.name))?;
        self.db()?.set_paused(&row.id, false)
    }

    /// Gives a container another name.
    pub fn rename(&self, old: &str, new: &str) -> Result<()> {
        let row = self.row(old)?;
        let new = new.strip_prefix('/').unwrap_or(new);
        if new.is_empty() {
            return Err(Error::Invalid("Neither old nor new names may be empty".to_owned()));
        }
        names::check(new).map_err(|error| Error::Invalid(error.to_string()))?;
        if row.name == new {
            return Err(Error::Invalid(
                "Renaming a container with the same name as its current name".to_owned(),
            ));
        }
        self.rename_log(&row, new)?;
        self.db()?.rename_container(&row.id, new).inspect_err(|_| {
            // What was renamed before goes by its old name again.
            let back = ContainerRow { name: new.to_owned(), ..row.clone() };
            drop(self.rename_log(&back, &row.name));
        })?;
        let endpoints = self.db()?.endpoints(&row.id)?;
        let named = endpoints.iter().filter(|endpoint| !endpoint.network_id.is_empty());
        self.members_changed(named.map(|endpoint| endpoint.network.as_str()))?;
        let old = format!("/{}", row.name);
        let renamed = ContainerRow { name: new.to_owned(), ..row };
        let event = of_container(&renamed.id, "rename").with("oldName", old);
        self.record(&[event.about(object_of(&renamed))]);
        let networks = self.db()?.endpoints(&renamed.id)?;
        self.members_changed(networks.iter().map(|endpoint| endpoint.network.as_str()))
    }
}

pub(super) fn wait_for(
    client: &mut Client,
    patience: Option<Duration>,
) -> monitor::Result<Option<ExitRecord>> {
    let Some(patience) = patience else { return client.wait(None) };
    let end = Instant::now() + patience;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let turn = u32::try_from(left.as_millis()).unwrap_or(u32::MAX);
        match client.wait(Some(turn))? {
            Some(exit) => return Ok(Some(exit)),
            None if Instant::now() >= end => return Ok(None),
            None => {}
        }
    }
}

/// Whether the monitor went away without an answer.
fn is_closed(error: &Error) -> bool {
    let Error::Part { source, .. } = error else { return false };
    matches!(source.downcast_ref(), Some(monitor::Error::Closed))
}

fn parse_signal(text: &str) -> Result<i32> {
    signal::parse(text).map_err(|error| Error::Invalid(error.to_string()))
}

pub(super) fn stop_signal(row: &ContainerRow) -> i32 {
    row.spec.config.stop_signal.as_deref().and_then(|text| signal::parse(text).ok()).unwrap_or(SIGTERM)
}
