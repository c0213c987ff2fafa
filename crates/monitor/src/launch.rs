//! The launch record: everything that a monitor must know of its container, one JSON file in the run folder.
//!
//! It is a file and not a message, so that a monitor that takes over after a killed one reads the same.

use std::ffi::OsString;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use base::ContainerId;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{Doing, Error, Result};
use crate::log::Forward;

/// The version of [`Launch`] and of the other records.
pub const VERSION: u32 = 1;

/// A budget of 100 MiB for the log of a container for which nobody chose another one.
const DEFAULT_LOG_FILE: u64 = 20 << 20;
const DEFAULT_LOG_FILES: u32 = 5;

/// What a monitor is started with.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Launch {
    /// [`VERSION`].
    pub version: u32,
    /// The container.
    pub id: ContainerId,
    /// The bundle, a folder with `config.json`.
    pub bundle: PathBuf,
    /// `<run>/containers/<id>`: socket, streams, records. [`crate::spawn`] makes it where it is missing.
    pub run_dir: PathBuf,
    /// The runtime's state root, `<run>/runtime`.
    pub state_root: PathBuf,
    /// Whether the process gets a terminal.
    pub terminal: bool,
    /// The terminal's first size, columns and rows.
    pub console_size: Option<(u16, u16)>,
    /// What the process reads.
    pub stdin: StdinMode,
    /// Where its output is logged.
    pub log: LogSpec,
    /// The exit record, `<root>/containers/<id>/exit.json`.
    pub exit_file: PathBuf,
    /// Whether the exit record must survive a power cut (fsync); not wanted for `--rm`.
    pub durable: bool,
    /// Arguments after the program's name of the command that is run once at the end; empty for none.
    #[serde(with = "os_strings")]
    pub cleanup: Vec<OsString>,
    /// Whether process 1 is a small init of ours (`--init`).
    pub init: bool,
    /// Who keeps the control groups.
    pub cgroup: CgroupManager,
    /// Folder of compiled seccomp filters.
    pub seccomp_cache: Option<PathBuf>,
    /// Folder of the record of events, `<root>/events`; `None` keeps no record.
    #[serde(default)]
    pub events: Option<PathBuf>,
    /// How the container's health is checked, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<HealthCheck>,
    /// What is done when somebody changed the firewall; `None` when the container does not depend on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guard: Option<GuardSpec>,
    /// The program that the monitor and its clean-up are; `None` for this very one (`/proc/self/exe`).
    #[serde(default)]
    pub program: Option<PathBuf>,
}

/// How the health of a container is checked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthCheck {
    /// The probe: `process` of `config.json` as JSON, without a terminal.
    pub process: String,
    /// Milliseconds from the end of one probe to the next.
    pub interval_ms: u64,
    /// Milliseconds that a probe may take.
    pub timeout_ms: u64,
    /// Milliseconds from the start in which failures do not count, until a probe has succeeded.
    pub start_period_ms: u64,
    /// Milliseconds between probes in that time.
    pub start_interval_ms: u64,
    /// Failures in a row that mean unhealthy.
    pub retries: u32,
    /// Arguments after the program's name of the command that is run with the new status when it changes; empty for none.
    #[serde(with = "os_strings")]
    pub changed: Vec<OsString>,
}

/// What is done when somebody changed the firewall.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuardSpec {
    /// The file in which monitors note that they have had it looked at, the same for all of a run root.
    pub stamp: PathBuf,
    /// Arguments after the program's name of the command that looks.
    #[serde(with = "os_strings")]
    pub command: Vec<OsString>,
}

/// What the process of a container reads on its standard input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StdinMode {
    /// Nothing: `/dev/null`.
    #[default]
    Null,
    /// What any client sends; it never ends (`-i` of a detached container). It stays open when a monitor is killed.
    Open,
    /// What the first client sends; it ends when that client says so or leaves (`-i` in the foreground).
    Once,
}

/// Where the output of a container is logged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "driver")]
pub enum LogSpec {
    /// Nowhere.
    None,
    /// A file with one JSON object a line, as Docker's `json-file`.
    JsonFile {
        /// The newest file; older ones are `path.1`, `path.2`, …
        path: PathBuf,
        /// Bytes after which a new file is begun.
        max_size: Option<u64>,
        /// How many files are kept, the newest one included; at least 1.
        max_files: u32,
        /// Whether files that are not written any more are compressed.
        #[serde(default)]
        compress: bool,
        /// A JSON object that is written into each record; empty for none. At most [`MAX_ATTRS`] bytes.
        #[serde(default)]
        attrs: String,
        /// Another log that gets each line too.
        #[serde(default)]
        forward: Option<Forward>,
    },
}

/// As much as may be written into each record beside the line itself.
pub const MAX_ATTRS: usize = 64 << 10;

impl LogSpec {
    /// A json-file log with the default budget: 5 files of 20 MiB.
    pub fn json_file(path: PathBuf) -> Self {
        Self::JsonFile {
            path,
            max_size: Some(DEFAULT_LOG_FILE),
            max_files: DEFAULT_LOG_FILES,
            compress: false,
            attrs: String::new(),
            forward: None,
        }
    }
}

/// Who keeps the control groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CgroupManager {
    /// Brig writes the cgroup file systems.
    #[default]
    Cgroupfs,
    /// systemd, asked over D-Bus.
    Systemd,
    /// Nobody.
    Disabled,
}

/// Descriptors that a container is made from.
#[derive(Debug, Default)]
pub struct LaunchFds {
    /// The root file system as a detached mount; `None` takes `root.path` of the bundle.
    pub rootfs: Option<OwnedFd>,
    /// The network namespace to join; `None` does what the bundle says.
    pub netns: Option<OwnedFd>,
    /// The user namespace to join; `None` does what the bundle says.
    pub userns: Option<OwnedFd>,
    /// What the monitor only keeps open as long as it lives: a namespace that has no process.
    pub keep: Option<OwnedFd>,
}

impl Launch {
    /// Reads the record of a run folder.
    pub fn load(run_dir: &Path) -> Result<Self> {
        let path = Self::path(run_dir);
        let text = fs::read(&path).doing(|| format!("read {path:?}"))?;
        serde_json::from_slice(&text).map_err(|source| Error::Json { what: format!("{path:?}"), source })
    }

    /// Writes the record into its run folder.
    pub(crate) fn save(&self) -> Result<()> {
        let path = Self::path(&self.run_dir);
        let text =
            serde_json::to_vec(self).map_err(|source| Error::Json { what: format!("{path:?}"), source })?;
        fs::write(&path, text).doing(|| format!("write {path:?}"))
    }

    fn path(run_dir: &Path) -> PathBuf {
        run_dir.join("launch.json")
    }
}

/// Arguments need not be UTF-8: those that are not travel as lists of bytes.
mod os_strings {
    use super::{Deserialize, Deserializer, OsStrExt, OsString, OsStringExt, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    #[serde(untagged)]
    enum Form {
        Text(String),
        Bytes(Vec<u8>),
    }

    pub(super) fn serialize<S: Serializer>(list: &[OsString], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(list.iter().map(|arg| match arg.to_str() {
            Some(text) => Form::Text(text.to_owned()),
            None => Form::Bytes(arg.as_bytes().to_vec()),
        }))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<OsString>, D::Error> {
        let list = Vec::<Form>::deserialize(deserializer)?;
        Ok(list
            .into_iter()
            .map(|form| match form {
                Form::Text(text) => OsString::from(text),
                Form::Bytes(bytes) => OsString::from_vec(bytes),
            })
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_reads_back() {
        let dir = std::env::temp_dir().join(format!("brig-launch-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let launch = Launch {
            version: VERSION,
            id: ContainerId::from_random([7; 32]),
            bundle: "/b".into(),
            run_dir: dir.clone(),
            state_root: "/s".into(),
            terminal: true,
            console_size: Some((80, 24)),
            stdin: StdinMode::Once,
            log: LogSpec::json_file("/l".into()),
            exit_file: "/e".into(),
            durable: false,
            cleanup: vec!["a".into(), OsString::from_vec(vec![0xff, b'b'])],
            init: false,
            cgroup: CgroupManager::Systemd,
            seccomp_cache: None,
            events: None,
            health: Some(HealthCheck { process: "{}".into(), retries: 3, ..HealthCheck::default() }),
            guard: Some(GuardSpec { stamp: "/run/stamp".into(), command: vec!["network".into()] }),
            program: None,
        };
        launch.save().unwrap();
        let loaded = Launch::load(&dir).unwrap();
        assert_eq!((loaded.cleanup, loaded.health), (launch.cleanup, launch.health));
        assert_eq!((loaded.stdin, loaded.log, loaded.cgroup), (launch.stdin, launch.log, launch.cgroup));
        fs::remove_dir_all(dir).unwrap();
    }
}
