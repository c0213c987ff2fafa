//! What there is: of the kernel's things and of the store's files, as lines that are the same whenever the same is there.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use testkit::World;

/// How deep the listing of a root goes: below a container's, a layer's or a snapshot's own folder is its own business.
const DEPTH: usize = 4;

/// Everything that a command could have left in the world. Two listings are equal when nothing was left, and nothing taken.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Listing(pub BTreeSet<String>);

impl Listing {
    /// Lists the world: processes, mounts, links, firewall rules, files of both roots, and the control groups of `ids`.
    pub fn take<'a>(world: &World, ids: impl IntoIterator<Item = &'a str>) -> Self {
        let first = world.first_process();
        let mut lines = BTreeSet::new();
        lines.extend(processes(&format!("/proc/{first}/root/proc")));
        lines.extend(mounts(&format!("/proc/{first}/mountinfo"), "world"));
        let folder = world.path("");
        let ours = mounts("/proc/self/mountinfo", "machine");
        lines.extend(ours.into_iter().filter(|line| line.contains(&*folder.to_string_lossy())));
        lines.extend(links(&format!("/proc/{first}/net/dev")));
        lines.extend(rules(world));
        lines.extend(groups(ids));
        for root in ["root", "run", "etc", "home"] {
            files(&world.path(root), root, DEPTH, &mut lines);
        }
        Self(lines)
    }

    /// Returns what is here and not in `other` (`+`), and what is there and not here (`-`).
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let more = self.0.difference(&other.0).map(|line| format!("+ {line}"));
        let less = other.0.difference(&self.0).map(|line| format!("- {line}"));
        more.chain(less).collect()
    }
}

/// Every process of the world but its first, unless it has ended and only waits to be reaped.
fn processes(proc: &str) -> Vec<String> {
    let Ok(entries) = fs::read_dir(proc) else { return Vec::new() };
    let numbers = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let numbers = numbers.filter(|name| name != "1" && name.bytes().all(|byte| byte.is_ascii_digit()));
    let describe = |pid: String| {
        let line = fs::read(format!("{proc}/{pid}/cmdline")).ok()?;
        let name = fs::read_to_string(format!("{proc}/{pid}/comm")).ok()?;
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        Some(format!("process {pid} {} {}", name.trim(), line.trim()))
    };
    numbers.filter_map(describe).collect()
}

fn mounts(mountinfo: &str, whose: &str) -> Vec<String> {
    let text = fs::read_to_string(mountinfo).unwrap_or_default();
    let point = |line: &str| Some(format!("mount ({whose}) {}", line.split(' ').nth(4)?));
    text.lines().filter_map(point).collect()
}

fn links(net_dev: &str) -> Vec<String> {
    let text = fs::read_to_string(net_dev).unwrap_or_default();
    let names = text.lines().filter_map(|line| Some(line.split_once(':')?.0.trim().to_owned()));
    names.map(|name| format!("link {name}")).collect()
}

/// The firewall as `nft` tells it, where there is an `nft`.
fn rules(world: &World) -> Vec<String> {
    let text = world.sh("nft list ruleset 2>/dev/null || true").stdout;
    text.lines().map(str::trim).filter(|line| line.len() > 1).map(|line| format!("rule {line}")).collect()
}

fn groups<'a>(ids: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let ids: Vec<&str> = ids.into_iter().collect();
    let mut found = Vec::new();
    if !ids.is_empty() {
        find_groups(Path::new("/sys/fs/cgroup"), &ids, &mut found);
    }
    found
}

fn find_groups(folder: &Path, ids: &[&str], found: &mut Vec<String>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        if ids.iter().any(|id| name.contains(id)) {
            found.push(format!("group {}", path.display()));
        } else {
            find_groups(&path, ids, found);
        }
    }
}

/// Lists a folder. The database has files of its own, and locks that stay are empty files.
fn files(folder: &Path, name: &str, depth: usize, lines: &mut BTreeSet<String>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let file = entry.file_name().to_string_lossy().into_owned();
        let name = format!("{name}/{file}");
        if file.starts_with("brig.db") {
            continue;
        }
        lines.insert(format!("file {name}"));
        if depth > 1 && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            files(&entry.path(), &name, depth - 1, lines);
        }
    }
}
