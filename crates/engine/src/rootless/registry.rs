//! Who of this user's processes is in a user namespace of ours: small files `<run>/userns/<pid>` with the start time of the
//! process, and the state files of running containers.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use monitor::StateRecord;
use rustix::fs::{Mode, OFlags};

use crate::Roots;
use crate::error::{IoContext, Result};

/// The folder of one run root.
#[derive(Debug)]
pub(super) struct Registry {
    folder: PathBuf,
}

impl Registry {
    pub(super) fn open(run: &Path) -> Result<Self> {
        let folder = run.join("userns");
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder).at("make the folder", &folder)?;
        Ok(Self { folder })
    }

    /// Opens the user namespace of a living process of ours; forgets those that are dead.
    pub(super) fn living(&self, uid: u32, roots: &Roots) -> Option<OwnedFd> {
        self.of_commands(uid).or_else(|| of_containers(uid, &roots.run.join("containers")))
    }

    fn of_commands(&self, uid: u32) -> Option<OwnedFd> {
        for entry in fs::read_dir(&self.folder).ok()?.flatten() {
            let pid = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok());
            let recorded =
                fs::read_to_string(entry.path()).ok().and_then(|text| text.trim().parse::<u64>().ok());
            match pid.filter(|pid| recorded.is_some() && start_time(*pid) == recorded) {
                Some(pid) => {
                    if let Some(namespace) = namespace_of(pid, uid) {
                        return Some(namespace);
                    }
                }
                // Another command may have forgotten it at the same time.
                None => drop(fs::remove_file(entry.path())),
            }
        }
        None
    }

    /// Records this process.
    pub(super) fn add_self(&self) -> Result<()> {
        let pid = std::process::id();
        let path = self.folder.join(pid.to_string());
        let time = i32::try_from(pid).ok().and_then(start_time).unwrap_or_default();
        fs::write(&path, time.to_string()).at("write", &path)
    }
}

fn of_containers(uid: u32, folder: &Path) -> Option<OwnedFd> {
    fs::read_dir(folder).ok()?.flatten().find_map(|entry| {
        let record = StateRecord::load(&entry.path()).ok().flatten().filter(StateRecord::is_alive)?;
        namespace_of(record.pid, uid)
    })
}

/// Opens the namespace of a process when its root is the user `uid`.
fn namespace_of(pid: i32, uid: u32) -> Option<OwnedFd> {
    let map = fs::read_to_string(format!("/proc/{pid}/uid_map")).ok()?;
    let ours = map.split_whitespace().take(2).eq(["0".to_owned(), uid.to_string()]);
    let path = format!("/proc/{pid}/ns/user");
    let namespace = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    ours.then_some(namespace)
}

/// Field 22 of `/proc/PID/stat`: tells a reused process number from ours.
fn start_time(pid: i32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    text.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}
