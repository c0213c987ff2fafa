//! What follows the end of a run: the record, the network, the control group; then the restart policy or the removal.
//!
//! It may be done by the monitor (`brig container cleanup`), by the attached client that promised it, by `stop` or `rm`, or by
//! the next command after a crash; each step is harmless when it was done before.

use std::time::Duration;

use base::ContainerId;
use docker_types::container::RestartPolicy;
use jiff::Timestamp;
use monitor::Session;

use super::truth::{Truth, run_result};
use crate::Engine;
use crate::config::CgroupSetting;
use crate::db::{ContainerRow, Next, RunResult};
use crate::error::{Doing, Error, Result};
use crate::events;
use crate::model::Status;

/// First wait before a restart; it doubles each time, as in Docker.
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// Longest wait before a restart.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// A run of that length begins the waits anew.
const STABLE_RUN: Duration = Duration::from_secs(10);

impl Engine {
    /// Does the clean-up of an attached run whose session has ended: see [`super::Started::owns_cleanup`].
    pub fn finish(&self, id: &ContainerId, session: Session) -> Result<()> {
        if self.cleanup(id.as_str(), false)?.is_none() {
            // The monitor may be gone already; all that it waited for is done.
            let _ = session.cleaned();
        }
        // A policy that it got while it ran wants it started again: left without an answer the monitor sees to that.
        Ok(())
    }

    /// Cleans up after a run that ended. Returns how long to wait before a restart, if the policy wants one; after
    /// that wait it is called again with `restart`. A container that runs or is unknown is left alone.
    pub fn cleanup(&self, id: &str, restart: bool) -> Result<Option<Duration>> {
        let row = match self.row(id) {
            Ok(row) => row,
            Err(Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let _lock = match self.lock(&row.id) {
            Ok(lock) => lock,
            Err(Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut row = self.row(id)?;
        if restart {
            if row.status == Status::Restarting {
                self.start_locked(&row, None)?;
            }
            return Ok(None);
        }
        if row.status == Status::Restarting {
            // Whoever cleaned up before was killed, or left the wait to the monitor.
            return Ok(Some(Duration::from_millis(row.restart_wait.into())));
        }
        if row.status != Status::Running || matches!(self.truth(&row.id), Truth::Alive(_)) {
            return Ok(None);
        }
        let policy = &row.spec.host_config.restart_policy;
        let next = |result: &RunResult| match restart_wait(policy, &row, result) {
            _ if row.spec.host_config.auto_remove => Next::Remove,
            Some(wait) if !self.is_shutting_down() => {
                Next::Restart { wait_ms: u32::try_from(wait.as_millis()).unwrap_or(u32::MAX) }
            }
            _ => Next::Rest,
        };
        let wait = self.settle_by(&row, next)?;
        crate::timings::mark("settled");
        if row.spec.host_config.auto_remove {
            row.status = Status::Removing;
            self.remove_locked(&row, true)?;
            crate::timings::mark("removed");
            return Ok(None);
        }
        Ok(wait)
    }

    /// Makes the records and the machine agree with the end of a run: exit code, network, control group, run folder.
    pub(super) fn settle(&self, row: &ContainerRow) -> Result<()> {
        self.settle_by(row, |_| Next::Rest).map(|_| ())
    }

    /// [`Engine::settle`], with what is to follow. Returns the wait before another run.
    fn settle_by(
        &self,
        row: &ContainerRow,
        next: impl FnOnce(&RunResult) -> Next,
    ) -> Result<Option<Duration>> {
        let truth = self.truth(&row.id);
        if matches!(truth, Truth::Lost) {
            self.kill_lost(row);
        } else if !row.spec.host_config.pid_mode.is_empty() && self.cgroups() == CgroupSetting::Disabled {
            // Nothing else ends with the first process where it is not the first of a namespace.
            self.kill_strays(row);
        }
        let result = run_result(&truth, &self.container_path(&row.id));
        if result.oom_killed && !row.spec.host_config.auto_remove {
            self.record_oom(row);
        }
        let network = self.teardown_network(row);
        let group = runtime::delete(&self.roots().run.join("runtime"), row.id.as_str(), true)
            .doing(|| format!("cannot remove what the runtime keeps of container {}", row.name));
        let next = next(&result);
        let restarts = self.db()?.set_ended(&row.id, &result, next)?;
        let unseen = matches!(truth, Truth::Lost)
            .then(|| events::of_container(&row.id, "die").with("exitCode", result.exit_code));
        let list: Vec<_> = unseen.into_iter().chain(self.release_events(row)).collect();
        self.record(&list);
        if let (true, Next::Restart { wait_ms }) = (restarts, next) {
            // What could not be taken away is in the way of the start, which says so.
            return Ok(Some(Duration::from_millis(wait_ms.into())));
        }
        network.and(group).map(|_| None)
    }

    /// Finishes what killed processes left half done: see [`Engine::tend`]. The first error is told, the rest goes on.
    pub fn repair(&self) -> Result<()> {
        let mut first = self.finish_pending();
        for row in self.db()?.containers()? {
            let result = match row.status {
                Status::Created | Status::Exited => self.clear_idle(&row),
                _ => self.tend(&row).map(|_| ()),
            };
            first = first.and(result);
        }
        first
    }

    /// Sees to one container: a running one whose monitor was killed gets another, one that ended while nobody watched
    /// is cleaned up, a removal that was begun is finished, a wait for a restart that nobody keeps is ended. Returns whether the row changed.
    pub(crate) fn tend(&self, row: &ContainerRow) -> Result<bool> {
        let run_dir = self.roots().container_run(row.id.as_str());
        match row.status {
            Status::Running => match self.truth(&row.id) {
                Truth::Alive(state) => {
                    self.thaw_left(row);
                    if !state.has_monitor() {
                        self.ensure_monitor(row)?;
                    }
                    Ok(false)
                }
                // A living monitor does the clean-up itself.
                _ if monitor::Client::connect(&run_dir).is_ok() => Ok(false),
                _ => {
                    if self.cleanup(row.id.as_str(), false)?.is_some() {
                        self.cleanup(row.id.as_str(), true)?;
                    }
                    Ok(true)
                }
            },
            Status::Restarting if monitor::Client::connect(&run_dir).is_err() => {
                self.cleanup(row.id.as_str(), true)?;
                Ok(true)
            }
            Status::Removing => {
                let _lock = self.lock(&row.id);
                self.remove_locked(row, true)?;
                Ok(true)
            }
            // Its clean-up failed after the end was recorded; whoever is still at it has the lock.
            Status::Exited if row.spec.host_config.auto_remove => {
                let _lock = self.lock(&row.id)?;
                match self.row(row.id.as_str()) {
                    Ok(row) if row.status == Status::Exited => self.remove_locked(&row, true)?,
                    _ => {}
                }
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// Ends the wait of a container for its restart; `false` when it was over meanwhile.
    pub(super) fn end_restarting(&self, row: &ContainerRow) -> Result<bool> {
        // Whoever starts it holds the lock, so that it is known which of both was first.
        let _lock = self.lock(&row.id)?;
        if self.row(row.id.as_str())?.status != Status::Restarting {
            return Ok(false);
        }
        self.cancel_restart(row);
        self.db()?.set_status(&row.id, Status::Exited)?;
        Ok(true)
    }

    /// Has a monitor not wait for a restart any more, if it does.
    pub(super) fn cancel_restart(&self, row: &ContainerRow) {
        if let Ok(mut client) = monitor::Client::connect(&self.roots().container_run(row.id.as_str())) {
            // It may have ended its wait just now; then the status tells.
            let _ = client.cancel_restart();
        }
    }
}

/// Decides whether, and after what wait, a container is started again.
fn restart_wait(policy: &RestartPolicy, row: &ContainerRow, result: &RunResult) -> Option<Duration> {
    if row.stopped_by_user {
        return None;
    }
    let limit = u32::try_from(policy.maximum_retry_count).unwrap_or(0);
    let wanted = match policy.name.as_str() {
        "always" | "unless-stopped" => true,
        "on-failure" => result.exit_code != 0 && (limit == 0 || row.restart_count < limit),
        _ => false,
    };
    let last = Duration::from_millis(row.restart_wait.into());
    wanted.then(|| next_wait(last, run_length(row.started, result.finished)))
}

fn run_length(started: Option<Timestamp>, finished: Timestamp) -> Duration {
    started.and_then(|started| Duration::try_from(finished - started).ok()).unwrap_or_default()
}

/// Doubles with each restart; a long run begins anew.
fn next_wait(last: Duration, run: Duration) -> Duration {
    if run >= STABLE_RUN || last.is_zero() { FIRST_WAIT } else { last.saturating_mul(2).min(LONGEST_WAIT) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_went_back_makes_a_short_run() {
        let started = Timestamp::from_second(1_000).unwrap();
        assert_eq!(run_length(Some(started), Timestamp::from_second(400).unwrap()), Duration::ZERO);
    }

    #[test]
    fn waits_double_up_to_a_minute_and_begin_anew() {
        let ms = |last, run| next_wait(Duration::from_millis(last), Duration::from_secs(run)).as_millis();
        assert_eq!([ms(0, 0), ms(100, 9), ms(800, 0)], [100, 200, 1600]);
        assert_eq!([ms(51_200, 0), ms(60_000, 0)], [60_000, 60_000]);
        // After a long run a short one waits twice the shortest wait, not twice the longest that ever was.
        assert_eq!([ms(60_000, 10), ms(100, 1)], [100, 200]);
    }
}
