//! `logs`: what a container wrote, from its json-file log.

use std::os::fd::AsFd;

use jiff::Timestamp;
use monitor::log::{self, FollowUntil, Line, ReadOptions};
use monitor::{Claim, Client};

use super::LOG_FILE;
use crate::Engine;
use crate::error::{Doing, Error, Result};

/// What to read.
#[derive(Debug, Clone, Copy, Default)]
pub struct LogOptions {
    /// Wait for more until the container ends.
    pub follow: bool,
    /// Only lines not before.
    pub since: Option<Timestamp>,
    /// Only lines not after.
    pub until: Option<Timestamp>,
    /// Only the last that many.
    pub tail: Option<u64>,
    /// Standard output.
    pub stdout: bool,
    /// Standard error.
    pub stderr: bool,
}

impl LogOptions {
    fn read(&self) -> ReadOptions<'static> {
        ReadOptions {
            stdout: self.stdout,
            stderr: self.stderr,
            tail: self.tail,
            since: self.since.map(|stamp| stamp.as_nanosecond()),
            until: self.until.map(|stamp| stamp.as_nanosecond()),
            follow: None,
        }
    }
}

impl Engine {
    /// Calls `each` for every line of a container's log; `Ok(false)` from it ends the reading.
    pub fn logs(
        &self,
        name: &str,
        options: &LogOptions,
        each: &mut dyn FnMut(Line<'_>) -> std::io::Result<bool>,
    ) -> Result<()> {
        let row = match self.row(name) {
            Err(Error::NotFound { .. }) if docker_types::names::check(name).is_ok() => {
                return self.kept_log(name, options, each);
            }
            other => other?,
        };
        let Some(path) = self.log_path(&row) else {
            return Err(Error::Unsupported("configured logging driver does not support reading".to_owned()));
        };
        // Nothing was written by one that was never started; a follower of one that runs waits for the file.
        if !path.exists() && !self.state_of(&row).status.is_alive() {
            return Ok(());
        }
        let watched = match options.follow && self.state_of(&row).status.is_alive() {
            true => {
                let mut client: Client = self.client(&row)?;
                client.watch(Claim::No).doing(|| format!("cannot follow container {}", row.name))?;
                Some(client)
            }
            false => None,
        };
        let follow = watched.as_ref().map(|client| FollowUntil::Readable(client.as_fd()));
        log::read(&path, &ReadOptions { follow, ..options.read() }, each)
            .doing(|| format!("cannot read the log of container {}", row.name))
    }

    /// Reads the log that was kept by the name of a container that is gone.
    fn kept_log(
        &self,
        name: &str,
        options: &LogOptions,
        each: &mut dyn FnMut(Line<'_>) -> std::io::Result<bool>,
    ) -> Result<()> {
        let path = self.kept_logs(name).join(LOG_FILE);
        if !path.exists() {
            return Err(Error::NotFound { what: "container", name: name.to_owned() });
        }
        log::read(&path, &options.read(), each)
            .doing(|| format!("cannot read the log that was kept of {name}"))
    }
}
