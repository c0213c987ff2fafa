//! Health: what a monitor is told to probe, and what is done when a container's health has changed.

use std::ffi::OsString;

use base::ContainerId;
use docker_types::container::{ContainerConfig, Healthcheck};
use monitor::{HealthCheck, HealthReport, HealthStatus};
use serde_json::{Value, json};

use super::stop::SIGKILL;
use crate::Engine;
use crate::db::ContainerRow;
use crate::error::{Doing, Error, Result};
use crate::model::Status;

/// Docker's defaults, in milliseconds.
const INTERVAL_MS: u64 = 30_000;
const TIMEOUT_MS: u64 = 30_000;
const START_INTERVAL_MS: u64 = 5_000;
/// Docker's default of failures in a row.
const RETRIES: u32 = 3;

/// The shell of `CMD-SHELL` when the image names none.
const SHELL: [&str; 2] = ["/bin/sh", "-c"];

impl Engine {
    /// What the monitor of `row` is to probe; `process` is the container's own of `config.json`.
    pub(super) fn health_check(&self, row: &ContainerRow, process: &Value) -> Option<HealthCheck> {
        let config = &row.spec.config;
        let check = config.healthcheck.as_ref()?;
        let args = probe(check, config)?;
        let mut process = process.clone();
        process["args"] = json!(args);
        process["terminal"] = json!(false);
        process.as_object_mut().map(|process| process.remove("consoleSize"));
        Some(HealthCheck {
            process: process.to_string(),
            interval_ms: milliseconds(check.interval, INTERVAL_MS),
            timeout_ms: milliseconds(check.timeout, TIMEOUT_MS),
            start_period_ms: milliseconds(check.start_period, 0),
            start_interval_ms: milliseconds(check.start_interval, START_INTERVAL_MS),
            retries: u32::try_from(check.retries).ok().filter(|retries| *retries > 0).unwrap_or(RETRIES),
            changed: match config.healthcheck_on_failure_action.as_str() {
                "" | "none" => Vec::new(),
                _ => self.own_command(["container", "health-changed", row.id.as_str()].map(OsString::from)),
            },
        })
    }

    /// How well a container is; none when nobody probes it or it was never started.
    pub(super) fn health_of(&self, row: &ContainerRow, alive: bool) -> Option<HealthReport> {
        let config = &row.spec.config;
        if !is_checked(config) {
            return None;
        }
        let mut report = HealthReport::load(&self.roots().container_run(row.id.as_str()))?;
        if !alive {
            // Whoever does not run is not well, as in Docker.
            report.status = HealthStatus::Unhealthy;
        }
        Some(report)
    }

    /// Does what follows from a change of health. Called by the monitor, through the program.
    pub fn health_changed(&self, id: &ContainerId, status: &str) -> Result<()> {
        let row = self.row(id.as_str())?;
        if status != HealthStatus::Unhealthy.as_str() || self.state_of(&row).status != Status::Running {
            return Ok(());
        }
        match row.spec.config.healthcheck_on_failure_action.as_str() {
            // Its restart policy decides what follows, as after any other end.
            "kill" => {
                self.client(&row)?.signal(SIGKILL).doing(|| format!("cannot kill container {}", row.name))
            }
            "stop" => self.stop(id.as_str(), None, None),
            "restart" => self.restart(id.as_str(), None, None),
            _ => Ok(()),
        }
    }
}

/// Says whether a container's health is checked.
pub(super) fn is_checked(config: &ContainerConfig) -> bool {
    config.healthcheck.as_ref().is_some_and(|check| probe(check, config).is_some())
}

/// The program and arguments of a probe; none when the check is off.
fn probe(check: &Healthcheck, config: &ContainerConfig) -> Option<Vec<String>> {
    let (kind, rest) = check.test.split_first()?;
    match kind.as_str() {
        "CMD" if !rest.is_empty() => Some(rest.to_vec()),
        "CMD-SHELL" => {
            let shell = config.shell.clone().filter(|shell| !shell.is_empty());
            let mut args = shell.unwrap_or_else(|| SHELL.map(str::to_owned).to_vec());
            args.extend(rest.first().cloned());
            Some(args)
        }
        _ => None,
    }
}

/// Checks what a request says of health.
pub(super) fn check(config: &ContainerConfig) -> Result<()> {
    let action = config.healthcheck_on_failure_action.as_str();
    if !matches!(action, "" | "none" | "restart" | "stop" | "kill") {
        return Err(Error::Invalid(format!(
            "invalid on-failure action for health check: {action:?}: must be one of \"none\", \"restart\", \"stop\" or \"kill\""
        )));
    }
    if !is_checked(config) && !matches!(action, "" | "none") {
        return Err(Error::Invalid(format!(
            "cannot set on-failure action to {action} without a health check"
        )));
    }
    Ok(())
}

/// Nanoseconds of a request as milliseconds; 0 takes the default.
fn milliseconds(nanos: i64, default: u64) -> u64 {
    match u64::try_from(nanos).unwrap_or(0) {
        0 => default,
        nanos => nanos.div_ceil(1_000_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn a_test_becomes_a_command_line() {
        let config = |shell: Option<&str>| ContainerConfig { shell: shell.map(words), ..Default::default() };
        for (test, shell, wanted) in [
            ("CMD /probe -x", None, Some("/probe -x")),
            ("CMD", None, None),
            ("NONE", None, None),
            ("FOO bar", None, None),
            ("CMD-SHELL true", None, Some("/bin/sh -c true")),
            ("CMD-SHELL true", Some("/bin/bash -o x -c"), Some("/bin/bash -o x -c true")),
        ] {
            let check = Healthcheck { test: words(test), ..Default::default() };
            assert_eq!(probe(&check, &config(shell)), wanted.map(words), "{test}");
        }
        assert_eq!(probe(&Healthcheck::default(), &config(None)), None);
    }

    #[test]
    fn an_action_wants_a_check() {
        let config = |action: &str, test: &str| ContainerConfig {
            healthcheck: Some(Healthcheck { test: words(test), ..Default::default() }),
            healthcheck_on_failure_action: action.to_owned(),
            ..Default::default()
        };
        assert!(check(&config("kill", "CMD true")).is_ok());
        assert!(check(&config("none", "NONE")).is_ok());
        assert!(check(&config("kill", "NONE")).is_err());
        assert!(check(&config("explode", "CMD true")).is_err());
    }

    #[test]
    fn times_are_never_rounded_to_nothing() {
        assert_eq!([milliseconds(0, 7), milliseconds(1, 7), milliseconds(1_500_000, 7)], [7, 1, 2]);
    }
}
