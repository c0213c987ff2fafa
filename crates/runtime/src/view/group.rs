//! What a container's group allows and uses, read when somebody asks. What cannot be read is not limited.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::cgroup::CgroupPaths;

/// More than any machine has: version 1's way to say that there is no limit.
const NO_LIMIT: u64 = 1 << 60;

/// Limits and use.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Group {
    /// Bytes.
    pub(super) memory_limit: Option<u64>,
    /// Bytes.
    pub(super) memory_used: u64,
    /// Bytes of swap, without memory.
    pub(super) swap_limit: Option<u64>,
    /// Bytes of swap, without memory.
    pub(super) swap_used: u64,
    /// `memory.stat`, in bytes; names of version 2.
    pub(super) memory: BTreeMap<String, u64>,
    /// The processors that may be used; `None` for all.
    pub(super) cpus: Option<Vec<usize>>,
    /// Processors' worth of time, rounded up; `None` for no quota.
    pub(super) quota: Option<usize>,
    /// Microseconds in user and system mode.
    pub(super) cpu_used: (u64, u64),
}

/// Names of `memory.stat` on version 1, and what version 2 calls them.
const V1_NAMES: [(&str, &str); 10] = [
    ("total_cache", "file"),
    ("total_rss", "anon"),
    ("total_shmem", "shmem"),
    ("total_mapped_file", "file_mapped"),
    ("total_dirty", "file_dirty"),
    ("total_writeback", "file_writeback"),
    ("total_inactive_anon", "inactive_anon"),
    ("total_active_anon", "active_anon"),
    ("total_inactive_file", "inactive_file"),
    ("total_active_file", "active_file"),
];

impl Group {
    /// Reads the group.
    pub(super) fn read(paths: &CgroupPaths) -> Self {
        let mut group = Self::default();
        if let Some(folder) = paths.v1.get("memory") {
            group.read_memory_v1(folder);
        }
        if let Some(folder) = paths.v1.get("cpuset") {
            group.cpus = read(folder, "cpuset.cpus").and_then(|text| parse_list(&text));
        }
        if let Some(folder) = paths.v1.get("cpu") {
            let number = |name: &str| read(folder, name)?.parse::<i64>().ok();
            group.quota = quota(number("cpu.cfs_quota_us"), number("cpu.cfs_period_us"));
        }
        if let Some(folder) = paths.v1.get("cpuacct") {
            let nanos = |name: &str| number(folder, name).unwrap_or(0) / 1000;
            group.cpu_used = (nanos("cpuacct.usage_user"), nanos("cpuacct.usage_sys"));
        }
        // On a hybrid machine the group of version 2 has no controllers, and none of these files.
        if let Some(folder) = paths.unified.as_deref().filter(|_| !paths.v1.contains_key("memory")) {
            group.read_unified(folder);
        }
        group
    }

    fn read_memory_v1(&mut self, folder: &Path) {
        let limited = |name: &str| number(folder, name).filter(|limit| *limit < NO_LIMIT);
        self.memory_limit = limited("memory.limit_in_bytes");
        self.memory_used = number(folder, "memory.usage_in_bytes").unwrap_or(0);
        let both = number(folder, "memory.memsw.usage_in_bytes").unwrap_or(self.memory_used);
        self.swap_used = both.saturating_sub(self.memory_used);
        let both = limited("memory.memsw.limit_in_bytes");
        self.swap_limit = both.zip(self.memory_limit).map(|(both, memory)| both.saturating_sub(memory));
        let stat = pairs(&read(folder, "memory.stat").unwrap_or_default());
        let named = V1_NAMES.iter().filter_map(|(old, new)| Some(((*new).to_owned(), *stat.get(*old)?)));
        self.memory = named.collect();
    }

    fn read_unified(&mut self, folder: &Path) {
        self.memory_limit = number(folder, "memory.max");
        self.memory_used = number(folder, "memory.current").unwrap_or(0);
        self.swap_limit = number(folder, "memory.swap.max");
        self.swap_used = number(folder, "memory.swap.current").unwrap_or(0);
        self.memory = pairs(&read(folder, "memory.stat").unwrap_or_default());
        self.cpus = read(folder, "cpuset.cpus.effective").and_then(|text| parse_list(&text));
        let max = read(folder, "cpu.max").unwrap_or_default();
        let mut words = max.split(' ').map(|word| word.parse::<i64>().ok());
        self.quota = quota(words.next().flatten(), words.next().flatten());
        let stat = pairs(&read(folder, "cpu.stat").unwrap_or_default());
        let micros = |name: &str| stat.get(name).copied().unwrap_or(0);
        self.cpu_used = (micros("user_usec"), micros("system_usec"));
    }

    /// Returns how many processors the container has, of the machine's `all`, and which they are.
    pub(super) fn processors(&self, all: usize) -> Vec<usize> {
        let mut cpus: Vec<usize> = match &self.cpus {
            Some(cpus) => cpus.iter().copied().filter(|cpu| *cpu < all).collect(),
            None => (0..all).collect(),
        };
        cpus.truncate(self.quota.unwrap_or(usize::MAX).max(1));
        cpus
    }
}

/// Counts the processes of the group: all, and those that run or wait for a disk.
pub(super) fn tasks(paths: &CgroupPaths) -> (usize, usize) {
    let folder = paths.v1.get("pids").or(paths.unified.as_ref()).or_else(|| paths.v1.values().next());
    let listed = folder.and_then(|folder| read(folder, "cgroup.procs")).unwrap_or_default();
    let (mut all, mut busy) = (0, 0);
    for pid in listed.lines() {
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        all += 1;
        let state = stat.rsplit_once(')').and_then(|(_, rest)| rest.trim_start().chars().next());
        busy += usize::from(matches!(state, Some('R' | 'D')));
    }
    (all, busy)
}

fn read(folder: &Path, name: &str) -> Option<String> {
    fs::read_to_string(folder.join(name)).ok().map(|text| text.trim_end().to_owned())
}

fn number(folder: &Path, name: &str) -> Option<u64> {
    read(folder, name)?.parse().ok()
}

fn pairs(text: &str) -> BTreeMap<String, u64> {
    let pair = |line: &str| {
        let (name, value) = line.split_once(' ')?;
        Some((name.to_owned(), value.parse().ok()?))
    };
    text.lines().filter_map(pair).collect()
}

fn quota(quota: Option<i64>, period: Option<i64>) -> Option<usize> {
    let (quota, period) = (quota.filter(|quota| *quota > 0)?, period.filter(|period| *period > 0)?);
    usize::try_from((quota + period - 1) / period).ok()
}

/// Reads `0-2,4`; `None` for nothing.
fn parse_list(text: &str) -> Option<Vec<usize>> {
    let mut list = Vec::new();
    for part in text.split(',').filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        list.extend(first.parse::<usize>().ok()?..=last.parse::<usize>().ok()?);
    }
    (!list.is_empty()).then_some(list)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_are_those_that_are_allowed_and_paid_for() {
        let group =
            |cpus: Option<&str>, quota| Group { cpus: cpus.and_then(parse_list), quota, ..Group::default() };
        for (group, expected) in [
            (group(None, None), vec![0, 1, 2, 3]),
            (group(Some("1,3"), None), vec![1, 3]),
            (group(Some("1-3"), Some(2)), vec![1, 2]),
            (group(None, Some(9)), vec![0, 1, 2, 3]),
            (group(Some("2-9"), None), vec![2, 3]),
        ] {
            assert_eq!(group.processors(4), expected);
        }
        assert_eq!(quota(Some(150_000), Some(100_000)), Some(2));
        assert_eq!(quota(Some(-1), Some(100_000)), None);
    }
}
