//! The recorded state of a container and its comparison with the kernel.
//!
//! ```text
//!   creating ──init waits──▶ created ──start──▶ running ──init ends──▶ stopped ──delete──▶ (gone)
//!                                                │  ▲
//!                                           pause▼  │resume
//!                                               paused
//! ```
//! `creating`: the folder exists, `state.json` does not, or the init does not wait yet. `created`: the init listens on `start.sock`.
//! `running`: it runs the user's program. `stopped`: the process is gone or a zombie. Only `create`, `start` and `delete` change
//! what is recorded; everybody may read, and reads the kernel's truth with it.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use oci::runtime::{Hook, Spec};
use rustix::fs::{FlockOperation, Mode, OFlags};
use serde::{Deserialize, Serialize};

use crate::cgroup::{CgroupPaths, Manager};
use crate::error::{Doing, Error, Result};

/// The status of a container, in the words of the specification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Being made.
    Creating,
    /// Made; the init waits for `start`.
    Created,
    /// The user's program runs.
    Running,
    /// Running, and frozen.
    Paused,
    /// The process is gone.
    Stopped,
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Creating => "creating",
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
        })
    }
}

/// The state of a container as `state` and `list` print it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ContainerState {
    /// The version of the runtime specification.
    pub oci_version: String,
    /// The container's name.
    pub id: String,
    /// The process number of the init, 0 when there is none.
    pub pid: i32,
    /// What it does.
    pub status: Status,
    /// The bundle folder.
    pub bundle: PathBuf,
    /// The root file system; empty when it was given as a mount.
    pub rootfs: PathBuf,
    /// When it was created, RFC 3339.
    pub created: String,
    /// The annotations of its spec.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// The user who made it.
    pub owner: String,
}

/// What `state.json` holds.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Record {
    /// The format's version; a newer one is refused.
    pub(crate) version: u32,
    pub(crate) oci_version: String,
    pub(crate) id: String,
    /// 0 until the init waits.
    pub(crate) pid: i32,
    /// Field 22 of `/proc/PID/stat`: tells a reused number from ours.
    pub(crate) start_time: u64,
    pub(crate) bundle: PathBuf,
    pub(crate) rootfs: PathBuf,
    pub(crate) created: String,
    pub(crate) owner: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) annotations: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) cgroup: CgroupPaths,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) poststart: Vec<Hook>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) poststop: Vec<Hook>,
    /// A folder of the resource control file system, removed with the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) resctrl: Option<PathBuf>,
    /// The container has no mount namespace of its own: the mount that its root covers, by the kernel's number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) covered_mount: Option<u64>,
}

/// The version that we write.
pub(crate) const VERSION: u32 = 1;
const STATE_FILE: &str = "state.json";
const SPEC_FILE: &str = "spec.json";
/// The socket on which a created init waits.
pub(crate) const START_SOCKET: &str = "start.sock";

/// The folder of one container in the state root.
#[derive(Debug)]
pub(crate) struct StateDir {
    pub(crate) path: PathBuf,
    pub(crate) id: String,
    fd: OwnedFd,
}

/// Checks a container's name.
pub(crate) fn check_id(id: &str) -> Result<()> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'+' | b'-' | b'.');
    if id.is_empty() || id.len() > 1024 || id == "." || id == ".." || !id.bytes().all(legal) {
        return Err(Error::invalid(
            "container id",
            id,
            "letters, digits, _, +, - and . (not . or .. alone) are wanted",
        ));
    }
    Ok(())
}

impl StateDir {
    /// Makes the folder; one of several callers wins.
    pub(crate) fn create(root: &Path, id: &str) -> Result<Self> {
        check_id(id)?;
        std::fs::create_dir_all(root).doing(|| format!("make the state root {root:?}"))?;
        let path = root.join(id);
        match rustix::fs::mkdir(&path, Mode::RWXU) {
            Ok(()) => {}
            Err(rustix::io::Errno::EXIST) => return Err(Error::Exists { id: id.to_owned() }),
            Err(error) => return Err(error).doing(|| format!("make {path:?}")),
        }
        Self::open(root, id)
    }

    /// Opens the folder of a container that exists.
    pub(crate) fn open(root: &Path, id: &str) -> Result<Self> {
        check_id(id)?;
        let path = root.join(id);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::open(&path, flags, Mode::empty()) {
            Ok(fd) => Ok(Self { path, id: id.to_owned(), fd }),
            Err(rustix::io::Errno::NOENT) => Err(Error::NotFound { id: id.to_owned() }),
            Err(error) => Err(error).doing(|| format!("open {path:?}")),
        }
    }

    /// Holds the folder for the life of the result: creating, starting and deleting exclude each other. `None` when
    /// somebody else holds it.
    pub(crate) fn try_lock(&self) -> Result<bool> {
        match rustix::fs::flock(&self.fd, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(true),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(false),
            Err(error) => Err(error).doing(|| format!("lock {:?}", self.path)),
        }
    }

    /// Waits until nobody else holds the folder.
    pub(crate) fn lock(&self) -> Result<()> {
        rustix::io::retry_on_intr(|| rustix::fs::flock(&self.fd, FlockOperation::LockExclusive))
            .doing(|| format!("lock {:?}", self.path))
    }

    /// Gives the folder free.
    pub(crate) fn unlock(&self) {
        // An unlocked folder is what is wanted; the lock goes with the descriptor in any case.
        let _ = rustix::fs::flock(&self.fd, FlockOperation::Unlock);
    }

    /// Records the state, by rename.
    pub(crate) fn save(&self, record: &Record) -> Result<()> {
        let bytes = serde_json::to_vec(record).map_err(|source| self.json(STATE_FILE, source))?;
        let next = self.path.join("state.json.next");
        std::fs::write(&next, bytes).doing(|| format!("write {next:?}"))?;
        std::fs::rename(&next, self.path.join(STATE_FILE)).doing(|| format!("rename {next:?}"))
    }

    /// Records the spec: what `exec` starts from.
    pub(crate) fn save_spec(&self, spec: &Spec) -> Result<()> {
        let bytes = serde_json::to_vec(spec).map_err(|source| self.json(SPEC_FILE, source))?;
        let path = self.path.join(SPEC_FILE);
        std::fs::write(&path, bytes).doing(|| format!("write {path:?}"))
    }

    /// Reads the record; `None` when a create has not come that far.
    pub(crate) fn load(&self) -> Result<Option<Record>> {
        let path = self.path.join(STATE_FILE);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).doing(|| format!("read {path:?}")),
        };
        let record: Record =
            serde_json::from_slice(&bytes).map_err(|source| self.json(STATE_FILE, source))?;
        if record.version > VERSION {
            return Err(Error::unsupported(
                format!("version {} of {path:?}", record.version),
                "it was written by a newer program",
            ));
        }
        Ok(Some(record))
    }

    /// Reads the spec that the container was made from.
    pub(crate) fn load_spec(&self) -> Result<Spec> {
        let path = self.path.join(SPEC_FILE);
        let bytes = std::fs::read(&path).doing(|| format!("read {path:?}"))?;
        serde_json::from_slice(&bytes).map_err(|source| Error::Json { path, source })
    }

    /// Returns the path of the socket on which a created init waits.
    pub(crate) fn start_socket(&self) -> PathBuf {
        self.path.join(START_SOCKET)
    }

    /// Removes the folder and everything in it.
    pub(crate) fn remove(&self) -> Result<()> {
        match std::fs::remove_dir_all(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(error).doing(|| format!("remove {:?}", self.path))
            }
            _ => Ok(()),
        }
    }

    fn json(&self, file: &str, source: serde_json::Error) -> Error {
        Error::Json { path: self.path.join(file), source }
    }

    /// Returns what is recorded, compared with the kernel.
    pub(crate) fn state(&self) -> Result<ContainerState> {
        let record = self.load()?;
        let Some(record) = record else { return Ok(self.unrecorded()) };
        let status = self.status(&record);
        Ok(ContainerState {
            pid: if matches!(status, Status::Stopped) { 0 } else { record.pid },
            status,
            oci_version: record.oci_version,
            id: record.id,
            bundle: record.bundle,
            rootfs: record.rootfs,
            created: record.created,
            annotations: record.annotations,
            owner: record.owner,
        })
    }

    /// The state of a folder that a create has made and not filled: it is at work, or it crashed.
    fn unrecorded(&self) -> ContainerState {
        let busy = matches!(self.try_lock(), Ok(false));
        self.unlock();
        ContainerState {
            oci_version: crate::OCI_VERSION.to_owned(),
            id: self.id.clone(),
            pid: 0,
            status: if busy { Status::Creating } else { Status::Stopped },
            bundle: PathBuf::new(),
            rootfs: PathBuf::new(),
            created: String::new(),
            annotations: BTreeMap::new(),
            owner: String::new(),
        }
    }

    /// Returns what the container does.
    pub(crate) fn status(&self, record: &Record) -> Status {
        if record.pid == 0 {
            let busy = matches!(self.try_lock(), Ok(false));
            self.unlock();
            return if busy { Status::Creating } else { Status::Stopped };
        }
        if !is_alive(record.pid, record.start_time) {
            return Status::Stopped;
        }
        if self.waits_to_be_started() {
            return Status::Created;
        }
        let frozen = !record.cgroup.is_empty()
            && Manager::attach(&record.cgroup).and_then(|group| group.is_frozen()).unwrap_or(false);
        if frozen { Status::Paused } else { Status::Running }
    }

    /// Returns whether the init listens. The socket of an init that runs the program stays until it is removed; nobody
    /// answers there.
    fn waits_to_be_started(&self) -> bool {
        self.start_socket().exists() && crate::start::connect(self).is_ok()
    }
}

/// Returns the start time of a living process; `None` when it is gone or a zombie.
pub(crate) fn start_time(pid: i32) -> Option<u64> {
    let stat = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    let stat = String::from_utf8_lossy(&stat);
    // The program's name may hold anything, also spaces and parentheses: count from its end.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?;
    if state == "Z" || state == "X" {
        return None;
    }
    // The state is field 3; the start time is field 22.
    fields.nth(18)?.parse().ok()
}

/// Returns whether the process `pid` lives and is the one that started at `start_time`.
pub(crate) fn is_alive(pid: i32, start: u64) -> bool {
    start_time(pid) == Some(start)
}

/// Returns the names of all containers of a state root, sorted.
pub(crate) fn names(root: &Path) -> Result<Vec<String>> {
    let entries = match std::fs::read_dir(root) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).doing(|| format!("read {root:?}")),
    };
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| check_id(name).is_ok())
        .collect();
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_no_names_are_refused() {
        for id in ["", ".", "..", "a/b", "a b", "ü", &"x".repeat(1025)] {
            assert!(check_id(id).is_err(), "{id}");
        }
        for id in ["a", "A-1_2+3.4", "..a"] {
            assert!(check_id(id).is_ok(), "{id}");
        }
    }

    #[test]
    fn a_process_is_known_by_its_start() {
        let pid = i32::try_from(std::process::id()).unwrap();
        let start = start_time(pid).unwrap();
        assert!(is_alive(pid, start));
        assert!(!is_alive(pid, start + 1));
    }

    #[test]
    fn one_of_two_creators_wins() {
        let root = tempfile::tempdir().unwrap();
        let first = StateDir::create(root.path(), "a").unwrap();
        assert!(matches!(StateDir::create(root.path(), "a"), Err(Error::Exists { .. })));
        assert_eq!(first.state().unwrap().status, Status::Stopped, "made, not held, not filled");
        assert!(first.try_lock().unwrap());
        let other = StateDir::open(root.path(), "a").unwrap();
        assert_eq!(other.state().unwrap().status, Status::Creating);
        first.remove().unwrap();
        assert!(matches!(StateDir::open(root.path(), "a"), Err(Error::NotFound { .. })));
    }
}
