//! What a start that was killed half-way left: a monitor that no engine speaks with, a control group without a record,
//! addresses and ports of a container that never ran.

use std::fs::{self, File};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::{remove_folder, spec};
use crate::Engine;
use crate::config::CgroupSetting;
use crate::db::ContainerRow;
use crate::error::{Doing, Result};
use crate::model::Status;

/// How long killed processes may take to end.
const PATIENCE: Timespec = Timespec { tv_sec: 5, tv_nsec: 0 };
/// How often strays are looked for again: a process may fork while it is killed.
const STRAY_ROUNDS: u32 = 20;
/// How long the kernel may hold an empty control group.
const GROUP_PATIENCE: Duration = Duration::from_secs(1);

impl Engine {
    /// Takes away what a killed start left of a container that does not run and whose lock the caller holds: nobody else
    /// is starting it, so whoever is still at it speaks with nobody. Looks at two paths and one table when there is nothing.
    pub(super) fn clear_remains(&self, row: &ContainerRow) -> Result<()> {
        let state_root = self.roots().run.join("runtime");
        let run_dir = self.roots().container_run(row.id.as_str());
        let begun = row.status == Status::Created && run_dir.exists();
        if !begun && !state_root.join(row.id.as_str()).exists() {
            // An end whose clean-up failed left its addresses, and with them perhaps rules.
            return match self.db()?.has_network(&row.id)? {
                true => self.teardown_network(row),
                false => Ok(()),
            };
        }
        kill_monitors(&run_dir);
        runtime::delete(&state_root, row.id.as_str(), true)
            .doing(|| format!("cannot remove what the runtime keeps of container {}", row.name))?;
        remove_groups(&spec::cgroups_path(&row.spec.host_config, row.id.as_str()));
        self.teardown_network(row)?;
        remove_folder(&run_dir)
    }

    /// Kills what still runs of a container of which nothing is known but its control group: somebody emptied the run root
    /// under it. Left alone it would keep an address and ports that are given to others.
    pub(super) fn kill_lost(&self, row: &ContainerRow) {
        let path = spec::cgroups_path(&row.spec.host_config, row.id.as_str());
        if self.cgroups() == CgroupSetting::Disabled {
            kill_monitors(&self.roots().container_run(row.id.as_str()));
            self.kill_strays(row);
            return;
        }
        if groups(&path).next().is_none() {
            return;
        }
        kill_monitors(&self.roots().container_run(row.id.as_str()));
        groups(&path).for_each(|group| kill_members(&group));
        remove_groups(&path);
    }

    /// Kills what still runs on the root file system of a container that has no control group to find it by.
    pub(super) fn kill_strays(&self, row: &ContainerRow) {
        let upper = self.roots().data.join("snapshots").join(row.id.as_str()).join("upper");
        let mark = format!("upperdir={}", upper.display());
        for _ in 0..STRAY_ROUNDS {
            let killed: Vec<OwnedFd> =
                processes().filter_map(|pid| kill_if(pid, &|pid| stands_on(pid, &mark))).collect();
            if killed.is_empty() {
                return;
            }
            wait_for_end(&killed);
        }
    }

    /// Does what [`Engine::clear_remains`] does unless somebody is at work on the container, and takes its addresses and
    /// ports back.
    pub(super) fn clear_idle(&self, row: &ContainerRow) -> Result<()> {
        let path = self.container_path(&row.id).join("lock");
        let Ok(file) = File::options().create(true).truncate(false).write(true).open(path) else {
            return Ok(());
        };
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            return Ok(());
        }
        let row = self.row(row.id.as_str())?;
        if !matches!(row.status, Status::Created | Status::Exited) {
            return Ok(());
        }
        self.clear_remains(&row)
    }
}

/// Kills the monitor of a run folder, its creator and an init that is not yet the user's program: all are this program
/// with that folder among its arguments.
pub(super) fn kill_monitors(run_dir: &Path) {
    let killed: Vec<OwnedFd> =
        processes().filter_map(|pid| kill_if(pid, &|pid| is_monitor(pid, run_dir))).collect();
    wait_for_end(&killed);
}

/// The processes that `/proc` shows.
fn processes() -> impl Iterator<Item = Pid> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter_map(Pid::from_raw)
}

/// Kills a process that is `wanted`; returns its descriptor.
fn kill_if(pid: Pid, wanted: &dyn Fn(Pid) -> bool) -> Option<OwnedFd> {
    if !wanted(pid) {
        return None;
    }
    let pidfd = pidfd_open(pid, PidfdFlags::empty()).ok()?;
    // The number may have been given to another before the descriptor was opened; afterwards it cannot be.
    (wanted(pid) && pidfd_send_signal(&pidfd, Signal::KILL).is_ok()).then_some(pidfd)
}

/// Whether the root of a process is the overlay with the writable folder that `mark` names.
fn stands_on(pid: Pid, mark: &str) -> bool {
    let text = fs::read_to_string(format!("/proc/{}/mountinfo", pid.as_raw_nonzero())).unwrap_or_default();
    let root = text.lines().find(|line| line.split(' ').nth(4) == Some("/"));
    root.and_then(|line| line.rsplit(' ').next())
        .is_some_and(|options| options.split(',').any(|option| option == mark))
}

fn is_monitor(pid: Pid, run_dir: &Path) -> bool {
    let Ok(line) = fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())) else { return false };
    let mut words = line.split(|byte| *byte == 0);
    words.next() == Some(b"brig".as_slice())
        && words.next() == Some(b"monitor".as_slice())
        && words.next() == Some(b"--run-dir".as_slice())
        && words.next() == Some(run_dir.as_os_str().as_encoded_bytes())
}

/// Finds a container's control groups by their path, in whatever hierarchies there are.
fn groups(path: &str) -> impl Iterator<Item = PathBuf> {
    let base = Path::new("/sys/fs/cgroup");
    let hierarchies = fs::read_dir(base).into_iter().flatten().flatten().map(|entry| entry.path());
    let path = path.trim_start_matches('/').to_owned();
    hierarchies.chain([base.to_owned()]).map(move |root| root.join(&path)).filter(|group| group.is_dir())
}

/// Removes a container's control groups: a creator that was killed early left no record of them.
fn remove_groups(path: &str) {
    for group in groups(path) {
        let end = Instant::now() + GROUP_PATIENCE;
        while group.is_dir() && !remove_group(&group) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Kills the processes of a group and of those below it.
fn kill_members(group: &Path) {
    // What is frozen does not die; the one or the other file is there.
    let _ = fs::write(group.join("freezer.state"), "THAWED");
    let _ = fs::write(group.join("cgroup.freeze"), "0");
    let members = || fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    let mut killed = Vec::new();
    for line in members().lines() {
        let Some(pid) = line.parse().ok().and_then(Pid::from_raw) else { continue };
        let Ok(pidfd) = pidfd_open(pid, PidfdFlags::empty()) else { continue };
        // The number may have been given to another before the descriptor was opened; afterwards it cannot be.
        if members().lines().any(|member| member == line) && pidfd_send_signal(&pidfd, Signal::KILL).is_ok() {
            killed.push(pidfd);
        }
    }
    wait_for_end(&killed);
    for entry in fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            kill_members(&entry.path());
        }
    }
}

fn wait_for_end(killed: &[OwnedFd]) {
    for pidfd in killed {
        // One that does not die is reported by what cannot be removed then.
        let _ = poll(&mut [PollFd::from_borrowed_fd(pidfd.as_fd(), PollFlags::IN)], Some(&PATIENCE));
    }
}

/// Removes a group and those below it; false when one is busy.
fn remove_group(group: &Path) -> bool {
    for entry in fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_group(&entry.path());
        }
    }
    fs::remove_dir(group).is_ok()
}
