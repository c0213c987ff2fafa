//! `wait`: until a container has ended, ends the next time, is removed, runs, or is well or ill.

use std::time::Duration;

use monitor::{Claim, HealthReport, HealthStatus};

use crate::Engine;
use crate::db::ContainerRow;
use crate::error::{Doing, Error, Result};
use crate::model::Status;

/// How often something is looked at that nobody tells of.
const POLL: Duration = Duration::from_millis(20);

/// The exit code of one that has not ended, as in Podman.
const NOT_ENDED: i32 = -1;

/// What `wait` waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WaitCondition {
    /// That it does not run.
    #[default]
    NotRunning,
    /// That it ends the next time.
    NextExit,
    /// That it is removed.
    Removed,
    /// That it runs.
    Running,
    /// That its health check succeeds.
    Healthy,
    /// That its health check has failed too often.
    Unhealthy,
}

impl std::str::FromStr for WaitCondition {
    type Err = String;

    /// Reads the words of Docker's API and those of Podman.
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "not-running" | "" | "stopped" | "exited" => Ok(Self::NotRunning),
            "next-exit" => Ok(Self::NextExit),
            "removed" => Ok(Self::Removed),
            "running" => Ok(Self::Running),
            "healthy" => Ok(Self::Healthy),
            "unhealthy" => Ok(Self::Unhealthy),
            _ => Err(format!(
                "invalid condition: {text:?}: must be one of \"not-running\", \"next-exit\", \"removed\", \"running\", \"healthy\" or \"unhealthy\""
            )),
        }
    }
}

impl Engine {
    /// Waits until `condition` holds and returns the exit code, −1 for one that has not ended.
    pub fn wait(&self, name: &str, condition: WaitCondition) -> Result<i32> {
        let row = self.row(name)?;
        match condition {
            WaitCondition::NotRunning => match self.state_of(&row) {
                state if state.status.is_alive() => Ok(self.wait_exit(&row)?),
                state => Ok(state.exit_code),
            },
            WaitCondition::NextExit => self.wait_next_exit(&row),
            WaitCondition::Removed => self.wait_removed(row),
            WaitCondition::Running => {
                while !self.state_of(&self.row(row.id.as_str())?).status.is_alive() {
                    std::thread::sleep(POLL);
                }
                Ok(NOT_ENDED)
            }
            WaitCondition::Healthy => self.wait_health(&row, HealthStatus::Healthy),
            WaitCondition::Unhealthy => self.wait_health(&row, HealthStatus::Unhealthy),
        }
    }

    fn wait_next_exit(&self, row: &ContainerRow) -> Result<i32> {
        // One that has just ended may not be recorded as such yet: its end is not the next one.
        let before = self.state_of(row).finished;
        let mut row = row.clone();
        loop {
            if self.state_of(&row).status.is_alive() {
                return self.wait_exit(&row);
            }
            // It may be about to run, with an end that is not known yet: only a recorded one counts.
            if row.status != Status::Running && row.finished != before {
                return Ok(row.exit_code);
            }
            std::thread::sleep(POLL);
            row = self.row(row.id.as_str())?;
        }
    }

    fn wait_removed(&self, mut row: ContainerRow) -> Result<i32> {
        loop {
            let state = self.state_of(&row);
            let mut code = state.exit_code;
            if state.status.is_alive() {
                code = self.wait_exit(&row)?;
            }
            std::thread::sleep(POLL);
            row = match self.row(row.id.as_str()) {
                Ok(row) => row,
                Err(Error::NotFound { .. }) => return Ok(code),
                Err(error) => return Err(error),
            };
        }
    }

    fn wait_health(&self, row: &ContainerRow, wanted: HealthStatus) -> Result<i32> {
        if !super::health::is_checked(&row.spec.config) {
            return Err(Error::Conflict(format!("container {} has no health check", row.name)));
        }
        loop {
            let row = self.row(row.id.as_str())?;
            if !self.state_of(&row).status.is_alive() && row.status != Status::Restarting {
                return Err(Error::Conflict(format!(
                    "container {} is not running, so that it does not become {}",
                    row.name,
                    wanted.as_str()
                )));
            }
            if HealthReport::status(&self.roots().container_run(row.id.as_str())) == Some(wanted) {
                return Ok(NOT_ENDED);
            }
            std::thread::sleep(POLL);
        }
    }

    fn wait_exit(&self, row: &ContainerRow) -> Result<i32> {
        let doing = || format!("cannot wait for container {}", row.name);
        loop {
            let waited = self.client(row).and_then(|mut client| {
                client.watch(Claim::No).doing(doing)?;
                client.wait(None).doing(doing)
            });
            match waited {
                Ok(Some(exit)) => return Ok(exit.exit_code),
                Ok(None) => {}
                // The monitor was killed; the next turn has another one take over.
                Err(_) if self.state_of(row).status.is_alive() => {}
                // It had ended before anybody could be asked to tell of it.
                Err(_) => return Ok(self.state_of(&self.row(row.id.as_str())?).exit_code),
            }
        }
    }
}
