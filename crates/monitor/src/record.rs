//! The two records that a monitor leaves: that its init runs, and how it ended.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::{Doing, Error, Result};

/// The start record, `state.json` in the run folder, written before the init may run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateRecord {
    /// [`crate::launch::VERSION`].
    pub version: u32,
    /// The init, as the host numbers it.
    pub pid: i32,
    /// Field 22 of `/proc/PID/stat`: tells a reused process number from ours.
    pub start_time: u64,
    /// The monitor's process number.
    pub monitor: i32,
    /// When it started, RFC 3339.
    pub started_at: String,
}

/// The exit record, `exit.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitRecord {
    /// [`crate::launch::VERSION`].
    pub version: u32,
    /// The exit code, 128 + signal when a signal ended it. 255 when it is not known.
    pub exit_code: i32,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Whether the kernel killed a process of the container for want of memory.
    pub oom_killed: bool,
    /// Whether nobody saw how it ended: the monitor had been killed and the kernel does not tell.
    pub unknown: bool,
    /// When it started, RFC 3339.
    pub started_at: String,
    /// When it ended, RFC 3339.
    pub finished_at: String,
}

/// What is known of one exec session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecRecord {
    /// Its identity, chosen by the caller.
    pub id: String,
    /// Its process number, as the host numbers it.
    pub pid: i32,
    /// Whether it still runs.
    pub running: bool,
    /// Its exit code, once it ended.
    pub exit_code: Option<i32>,
}

impl StateRecord {
    /// The file's name in the run folder.
    pub const FILE: &str = "state.json";

    /// Reads the record of a run folder; `None` when there is none.
    pub fn load(run_dir: &Path) -> Result<Option<Self>> {
        load(&run_dir.join(Self::FILE))
    }

    /// Writes the record into a run folder, by rename.
    pub fn save(&self, run_dir: &Path) -> Result<()> {
        save(self, &run_dir.join(Self::FILE), false)
    }

    /// Says whether the recorded init lives: the process exists, is the same one and is no zombie.
    pub fn is_alive(&self) -> bool {
        matches!(process_stat(self.pid), Some(stat) if stat.start_time == self.start_time && stat.state != b'Z')
    }

    /// Says whether the recorded monitor has not ended; one that nobody has reaped yet has.
    pub fn has_monitor(&self) -> bool {
        process_stat(self.monitor).is_some_and(|stat| !matches!(stat.state, b'Z' | b'X'))
    }
}

impl ExitRecord {
    /// The record of a container whose end nobody saw.
    pub fn unknown(started_at: String, finished_at: String) -> Self {
        Self {
            version: crate::launch::VERSION,
            exit_code: 255,
            signal: None,
            oom_killed: false,
            unknown: true,
            started_at,
            finished_at,
        }
    }

    /// Reads a record; `None` when there is none.
    pub fn load(path: &Path) -> Result<Option<Self>> {
        load(path)
    }

    /// Writes the record by rename, and with `durable` so that it survives a power cut.
    pub fn save(&self, path: &Path, durable: bool) -> Result<()> {
        save(self, path, durable)
    }
}

/// What `/proc/PID/stat` says of a process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ProcessStat {
    /// Field 3.
    pub(crate) state: u8,
    /// Field 22, in clock ticks since boot.
    pub(crate) start_time: u64,
    /// Field 52 of a zombie, as `waitpid` encodes it; 0 for whom it is not shown.
    pub(crate) exit_status: i32,
}

/// Reads `/proc/PID/stat`; `None` when there is no such process.
pub(crate) fn process_stat(pid: i32) -> Option<ProcessStat> {
    // A process that vanishes while it is read is a process that does not exist.
    parse_stat(&fs::read(format!("/proc/{pid}/stat")).ok()?)
}

/// Parses `/proc/PID/stat`. The name in parentheses may hold anything, so fields count from the last `)`.
fn parse_stat(text: &[u8]) -> Option<ProcessStat> {
    let end = text.iter().rposition(|byte| *byte == b')')?;
    let mut fields = text[end + 1..].split(|byte| *byte == b' ').filter(|field| !field.is_empty());
    let state = *fields.next()?.first()?;
    let start_time = std::str::from_utf8(fields.nth(18)?).ok()?.parse().ok()?;
    let exit_status =
        fields.nth(29).and_then(|field| std::str::from_utf8(field).ok()?.trim_end().parse().ok());
    Some(ProcessStat { state, start_time, exit_status: exit_status.unwrap_or(0) })
}

fn load<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    match fs::read(path) {
        Ok(text) => serde_json::from_slice(&text)
            .map(Some)
            .map_err(|source| Error::Json { what: format!("{path:?}"), source }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).doing(|| format!("read {path:?}")),
    }
}

fn save<T: Serialize>(record: &T, path: &Path, durable: bool) -> Result<()> {
    let text =
        serde_json::to_vec(record).map_err(|source| Error::Json { what: format!("{path:?}"), source })?;
    let temporary = path.with_extension("tmp");
    let written = write(&text, &temporary, durable)
        .and_then(|()| fs::rename(&temporary, path).doing(|| format!("rename {temporary:?} to {path:?}")));
    if written.is_err() {
        // On a full disk even an empty file is in the way; the first error is the one that is told.
        let _ = fs::remove_file(&temporary);
    }
    written?;
    if durable && let Some(folder) = path.parent() {
        File::open(folder).and_then(|folder| folder.sync_all()).doing(|| format!("sync {folder:?}"))?;
    }
    Ok(())
}

fn write(text: &[u8], path: &Path, durable: bool) -> Result<()> {
    let mut file = File::create(path).doing(|| format!("create {path:?}"))?;
    file.write_all(text).doing(|| format!("write {path:?}"))?;
    if durable {
        file.sync_all().doing(|| format!("sync {path:?}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_process_may_hold_parentheses() {
        let numbers: Vec<_> = (4..=52).map(|field| field.to_string()).collect();
        let text = format!("12 (a) R 1 (b) Z {}\n", numbers.join(" "));
        let stat = parse_stat(text.as_bytes()).unwrap();
        assert_eq!((stat.state, stat.start_time, stat.exit_status), (b'Z', 22, 52));
        assert!(parse_stat(b"12 (a").is_none());
        assert!(process_stat(std::process::id() as i32).unwrap().start_time > 0);
    }

    #[test]
    fn a_monitor_that_ended_is_none() {
        let watched = |monitor| {
            StateRecord { version: 1, pid: 1, start_time: 1, monitor, started_at: String::new() }
                .has_monitor()
        };
        assert!(watched(std::process::id() as i32));
        let mut child = std::process::Command::new("true").current_dir("/").spawn().unwrap();
        let pid = child.id() as i32;
        while watched(pid) {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        child.wait().unwrap();
        assert!(!watched(pid));
    }

    #[test]
    fn a_missing_record_is_none_and_a_broken_one_an_error() {
        let dir = std::env::temp_dir().join(format!("brig-record-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        assert_eq!(StateRecord::load(&dir).unwrap(), None);
        let record = ExitRecord::unknown("a".into(), "b".into());
        record.save(&dir.join("exit.json"), true).unwrap();
        assert_eq!(ExitRecord::load(&dir.join("exit.json")).unwrap(), Some(record));
        fs::write(dir.join("state.json"), b"{").unwrap();
        assert!(StateRecord::load(&dir).is_err());
        fs::remove_dir_all(dir).unwrap();
    }
}
