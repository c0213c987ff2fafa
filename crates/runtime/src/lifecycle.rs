//! What can be done with a container that exists: signals, removal, freezing, limits, looking.

use std::path::Path;
use std::time::{Duration, Instant};

use oci::runtime::LinuxResources;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::cgroup::{Manager, OnMissing, Stats};
use crate::error::{Doing, Error, Result, part};
use crate::hooks;
use crate::start::hook_state;
use crate::state::{ContainerState, Record, StateDir, Status, is_alive, names};

/// How long a removal waits for killed processes and their groups.
const PATIENCE: Duration = Duration::from_secs(10);

/// Returns the states of all containers.
pub(crate) fn list(state_root: &Path) -> Result<Vec<ContainerState>> {
    let mut states = Vec::new();
    for name in names(state_root)? {
        match StateDir::open(state_root, &name).and_then(|dir| dir.state()) {
            // Another process may remove one while we look.
            Err(Error::NotFound { .. }) => {}
            result => states.push(result?),
        }
    }
    states.retain(|state| !state.created.is_empty());
    Ok(states)
}

/// Sends a signal to the init, or to everything.
pub(crate) fn kill(state_root: &Path, id: &str, signal: i32, all: bool) -> Result<()> {
    let (dir, record) = recorded(state_root, id)?;
    let status = dir.status(&record);
    if all {
        return kill_all(&record, signal);
    }
    if !matches!(status, Status::Created | Status::Running | Status::Paused) {
        return Err(Error::Status {
            id: id.to_owned(),
            action: "signal",
            status: format!("{status} (container not running)"),
        });
    }
    kill_init(&record, signal).doing(|| format!("send signal {signal} to container {id:?}"))?;
    // A frozen process does not die of SIGKILL on cgroup v1 before it is thawed.
    if status == Status::Paused && signal == 9 {
        group(&record)?.thaw().map_err(|error| part("thaw the container", error))?;
    }
    Ok(())
}

/// Sends a signal to the init of the record, and to no later process of the same number.
fn kill_init(record: &Record, signal: i32) -> rustix::io::Result<()> {
    use std::os::fd::AsFd;
    let pid = Pid::from_raw(record.pid).ok_or(rustix::io::Errno::SRCH)?;
    let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
    // The number may have been reused before the descriptor was opened; afterwards it cannot be.
    if !is_alive(record.pid, record.start_time) {
        return Err(rustix::io::Errno::SRCH);
    }
    sys::process::pidfd_kill(pidfd.as_fd(), signal)
}

fn kill_all(record: &Record, signal: i32) -> Result<()> {
    if record.cgroup.is_empty() {
        return kill_init(record, signal).or(Ok(()));
    }
    let group = group(record)?;
    if signal == 9 {
        return group.kill_all().map_err(|error| part("kill every process of the container", error));
    }
    for pid in group.pids(true).map_err(|error| part("list the container's processes", error))? {
        match sys::process::kill(pid, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => {}
            Err(error) => return Err(error).doing(|| format!("send signal {signal} to process {pid}")),
        }
    }
    Ok(())
}

/// Removes a container.
pub(crate) fn delete(state_root: &Path, id: &str, force: bool) -> Result<Vec<String>> {
    let dir = match StateDir::open(state_root, id) {
        Err(Error::NotFound { .. }) if force => return Ok(Vec::new()),
        result => result?,
    };
    if !force && !dir.try_lock()? {
        return Err(Error::Status {
            id: id.to_owned(),
            action: "delete",
            status: Status::Creating.to_string(),
        });
    }
    let Some(record) = dir.load()? else {
        if force || dir.try_lock()? {
            return dir.remove().map(|()| Vec::new());
        }
        return Err(Error::Status {
            id: id.to_owned(),
            action: "delete",
            status: Status::Creating.to_string(),
        });
    };
    let status = if force { dir.status(&record) } else { settled_status(&dir, &record) };
    // As runc does it: one that was never started may go.
    if !force && !matches!(status, Status::Stopped | Status::Created) {
        return Err(Error::Status { id: id.to_owned(), action: "delete", status: status.to_string() });
    }
    if status != Status::Stopped {
        // Dead already is what is wanted.
        let _ = kill_init(&record, 9);
    }
    remove_rest(&dir, &record)
}

/// Returns the status, after a moment for a process that is just ending: its last words come before its end.
fn settled_status(dir: &StateDir, record: &Record) -> Status {
    let end = Instant::now() + Duration::from_millis(100);
    loop {
        let status = dir.status(record);
        if status != Status::Running || Instant::now() > end {
            return status;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Kills what is left of a container whose init ended, removes its group and its state, and runs the poststop hooks.
fn remove_rest(dir: &StateDir, record: &Record) -> Result<Vec<String>> {
    if !record.cgroup.is_empty() {
        let group = group(record)?;
        let _ = group.kill_all();
        let _ = group.thaw();
        wait_for_end(record)?;
        group.delete(PATIENCE).map_err(|error| part("remove the cgroup", error))?;
    } else {
        wait_for_end(record)?;
    }
    if let Some(before) = record.covered_mount {
        crate::create::detach_root(&record.rootfs, before);
    }
    dir.remove()?;
    Ok(hooks::run_each(record.poststop.iter(), &hook_state(record, "stopped"), "poststop"))
}

fn wait_for_end(record: &Record) -> Result<()> {
    let end = Instant::now() + PATIENCE;
    let mut pause = Duration::from_micros(100);
    while record.pid != 0 && is_alive(record.pid, record.start_time) {
        if Instant::now() > end {
            let status = Status::Running.to_string();
            return Err(Error::Status { id: record.id.clone(), action: "delete (it does not die)", status });
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(10));
    }
    Ok(())
}

/// Freezes or thaws.
pub(crate) fn freeze(state_root: &Path, id: &str, frozen: bool) -> Result<()> {
    let (dir, record) = recorded(state_root, id)?;
    let status = dir.status(&record);
    let (action, allowed) = match frozen {
        true => ("pause", matches!(status, Status::Created | Status::Running)),
        false => ("resume", status == Status::Paused),
    };
    if !allowed {
        return Err(Error::Status { id: id.to_owned(), action, status: status.to_string() });
    }
    let group = group(&record)?;
    let done = if frozen { group.freeze() } else { group.thaw() };
    done.map_err(|error| part(&format!("{action} container {id:?}"), error))
}

/// Changes limits.
pub(crate) fn update(state_root: &Path, id: &str, resources: &LinuxResources) -> Result<()> {
    let (dir, record) = recorded(state_root, id)?;
    let status = dir.status(&record);
    if matches!(status, Status::Stopped | Status::Creating) {
        return Err(Error::Status { id: id.to_owned(), action: "update", status: status.to_string() });
    }
    let warnings = group(&record)?
        .apply(resources, OnMissing::Refuse)
        .map_err(|error| part(&format!("update container {id:?}"), error))?;
    match warnings.into_iter().next() {
        Some(warning) => Err(part(&format!("update container {id:?}"), warning.0)),
        None => Ok(()),
    }
}

/// Returns the processes.
pub(crate) fn ps(state_root: &Path, id: &str) -> Result<Vec<i32>> {
    let (dir, record) = recorded(state_root, id)?;
    let status = dir.status(&record);
    if matches!(status, Status::Stopped | Status::Creating) {
        return Err(Error::Status {
            id: id.to_owned(),
            action: "list the processes of",
            status: status.to_string(),
        });
    }
    if record.cgroup.is_empty() {
        return Ok(members(record.pid));
    }
    group(&record)?
        .pids(true)
        .map_err(|error| part(&format!("list the processes of container {id:?}"), error))
}

/// The processes of a container without a group: those that are in a namespace of the init that is not the caller's.
fn members(init: i32) -> Vec<i32> {
    let namespace = |pid: &str, kind: &str| std::fs::read_link(format!("/proc/{pid}/ns/{kind}")).ok();
    let of_init = ["pid", "mnt"].map(|kind| {
        let theirs = namespace(&init.to_string(), kind);
        (kind, theirs.filter(|theirs| namespace("self", kind).as_ref() != Some(theirs)))
    });
    let shares =
        |pid: &str| of_init.iter().any(|(kind, theirs)| theirs.is_some() && namespace(pid, kind) == *theirs);
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let numbers = names.filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()) && shares(name));
    let mut list: Vec<i32> = numbers.filter_map(|name| name.parse().ok()).collect();
    list.sort_unstable();
    if list.is_empty() {
        list.push(init);
    }
    list
}

/// Measures.
pub(crate) fn stats(state_root: &Path, id: &str) -> Result<Stats> {
    let (_, record) = recorded(state_root, id)?;
    group(&record)?.stats().map_err(|error| part(&format!("measure container {id:?}"), error))
}

/// Counts what the kernel killed.
pub(crate) fn oom_kills(state_root: &Path, id: &str) -> Result<u64> {
    let (_, record) = recorded(state_root, id)?;
    if record.cgroup.is_empty() {
        return Ok(0);
    }
    group(&record)?.oom_kills().map_err(|error| part(&format!("measure container {id:?}"), error))
}

/// Returns the folder and the record of a container that was made.
pub(crate) fn recorded(state_root: &Path, id: &str) -> Result<(StateDir, Record)> {
    let dir = StateDir::open(state_root, id)?;
    let record = dir.load()?.ok_or_else(|| Error::NotFound { id: id.to_owned() })?;
    Ok((dir, record))
}

/// Returns the container's group.
pub(crate) fn group(record: &Record) -> Result<Manager> {
    if record.cgroup.is_empty() {
        return Err(Error::unsupported(
            format!("this for container {:?}", record.id),
            "it has no cgroup of its own",
        ));
    }
    Manager::attach(&record.cgroup).map_err(|error| part("open the container's cgroup", error))
}
