//! Finds what a test left behind: processes, mounts, cgroups, links, files.

use std::fs;
use std::path::Path;

use crate::sandbox::Sandbox;

/// Folders below the data root and the run root that are empty when no container exists.
const EMPTY: &[&str] =
    &["root/containers", "root/snapshots", "run/containers", "run/runtime", "root/content/ingest"];

/// Lists what is left in the world below `folder` when its containers `ids` are removed; each line names one thing.
pub(crate) fn find(folder: &Path, sandbox: Option<&Sandbox>, ids: &[String]) -> Vec<String> {
    let mut left = Vec::new();
    if let Some(sandbox) = sandbox {
        left.extend(processes(&sandbox.proc()));
        left.extend(mounts(&format!("/proc/{}/mountinfo", sandbox.init), folder));
        left.extend(links(&format!("{}/1/net/dev", sandbox.proc())));
    }
    left.extend(mounts("/proc/self/mountinfo", folder));
    for id in ids {
        left.extend(cgroups(Path::new("/sys/fs/cgroup"), id));
    }
    for name in EMPTY {
        left.extend(files(&folder.join(name)));
    }
    left
}

/// Every process of the sandbox but its first.
fn processes(proc: &str) -> Vec<String> {
    let Ok(entries) = fs::read_dir(proc) else { return Vec::new() };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let numbers = names.filter(|name| name != "1" && name.bytes().all(|byte| byte.is_ascii_digit()));
    numbers.filter_map(|pid| describe(proc, &pid)).collect()
}

fn describe(proc: &str, pid: &str) -> Option<String> {
    let status = fs::read_to_string(format!("{proc}/{pid}/status")).ok()?;
    let line = fs::read(format!("{proc}/{pid}/cmdline")).ok()?;
    let line = String::from_utf8_lossy(&line).replace('\0', " ");
    let name = status.lines().next().unwrap_or_default();
    let state = status.lines().find(|line| line.starts_with("State:")).unwrap_or_default();
    Some(format!("process {pid} {name} {state} {line}"))
}

fn mounts(mountinfo: &str, folder: &Path) -> Vec<String> {
    let text = fs::read_to_string(mountinfo).unwrap_or_default();
    let folder = folder.to_string_lossy();
    // The sandbox's own bind mounts of files in /etc have their source there; only mount points count.
    let points =
        text.lines().filter(|line| line.split(' ').nth(4).is_some_and(|point| point.starts_with(&*folder)));
    points.map(|line| format!("mount {line}")).collect()
}

/// Every veth: a container's end goes with its network namespace, the bridge itself may stay.
fn links(net_dev: &str) -> Vec<String> {
    let text = fs::read_to_string(net_dev).unwrap_or_default();
    let names = text.lines().filter_map(|line| Some(line.split_once(':')?.0.trim().to_owned()));
    names.filter(|name| name.starts_with("veth")).map(|name| format!("link {name}")).collect()
}

fn cgroups(folder: &Path, id: &str) -> Vec<String> {
    let mut left = Vec::new();
    let Ok(entries) = fs::read_dir(folder) else { return left };
    for path in entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.is_dir() && !path.is_symlink())
    {
        if path.to_string_lossy().contains(id) {
            left.push(format!("cgroup {}", path.display()));
        } else {
            left.extend(cgroups(&path, id));
        }
    }
    left
}

/// Removes a delegated group; lists what is in the way.
pub(crate) fn groups_in(group: &Path) -> Vec<String> {
    // The kernel needs a moment to see that a group is empty.
    let remove = |path: &Path| {
        (0..100).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(10));
            fs::remove_dir(path).is_ok() || !path.exists()
        })
    };
    let own = ["session", "brig", "init"].map(|name| group.join(name));
    let all = own.iter().map(std::path::PathBuf::as_path).chain([group]);
    all.filter(|path| path.exists() && !remove(path))
        .map(|path| format!("cgroup {}", path.display()))
        .collect()
}

/// Every entry; a folder whose name begins with a dot is the store's own workshop and may stay, when it is empty.
fn files(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let is_workshop = |path: &Path| {
        path.is_dir() && path.file_name().is_some_and(|name| name.as_encoded_bytes()[0] == b'.')
    };
    let names = |path: std::path::PathBuf| {
        if is_workshop(&path) { files(&path) } else { vec![format!("file {}", path.display())] }
    };
    paths.flat_map(names).collect()
}
