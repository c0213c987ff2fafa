//! Which limits the machine's control groups can set, found out by looking.

use std::path::{Path, PathBuf};

use crate::Engine;
use crate::config::CgroupSetting;

/// Which limits can be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// Memory.
    pub memory: bool,
    /// Memory and swap together.
    pub swap: bool,
    /// Processor time by period and quota.
    pub cpu_quota: bool,
    /// Processor time by weight.
    pub cpu_shares: bool,
    /// On which processors to run.
    pub cpuset: bool,
    /// How many processes there may be.
    pub pids: bool,
}

impl Engine {
    /// Looks which limits can be set; none without control groups.
    pub(super) fn limits(&self) -> Limits {
        if self.cgroups() == CgroupSetting::Disabled {
            return Limits::default();
        }
        probe(Path::new("/sys/fs/cgroup"))
    }
}

/// Looks below `base`, where the hierarchies are mounted: v2 alone, v1, or v1 with v2 in `unified`.
fn probe(base: &Path) -> Limits {
    let v1 = |file: &str| base.join(file).exists();
    let trees = [base.to_owned(), base.join("unified")];
    let v2 = trees.iter().find_map(|tree| {
        let offered = std::fs::read_to_string(tree.join("cgroup.controllers")).ok()?;
        Some((tree.as_path(), offered))
    });
    let offers = |name: &str| {
        v2.as_ref().is_some_and(|(_, offered)| offered.split_whitespace().any(|have| have == name))
    };
    let swap2 = || v2.as_ref().is_some_and(|(tree, _)| a_group_of(tree).join("memory.swap.max").exists());
    Limits {
        memory: v1("memory/memory.limit_in_bytes") || offers("memory"),
        swap: v1("memory/memory.memsw.limit_in_bytes") || offers("memory") && swap2(),
        cpu_quota: v1("cpu/cpu.cfs_quota_us") || offers("cpu"),
        cpu_shares: v1("cpu/cpu.shares") || offers("cpu"),
        cpuset: v1("cpuset/cpuset.cpus") || offers("cpuset"),
        // The root of v1 has no pids.max.
        pids: v1("pids/cgroup.procs") || offers("pids"),
    }
}

/// Returns a group of a v2 tree that is not its root, which has no limits.
fn a_group_of(tree: &Path) -> PathBuf {
    let groups = std::fs::read_dir(tree).into_iter().flatten().flatten();
    let mut groups = groups.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    groups.next().map_or_else(|| tree.to_owned(), |entry| entry.path())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        folder
    }

    #[test]
    fn what_is_not_there_is_not_claimed() {
        assert_eq!(probe(tree(&[]).path()), Limits::default());
        let v1 = tree(&[("memory/memory.limit_in_bytes", ""), ("pids/cgroup.procs", "")]);
        assert_eq!(probe(v1.path()), Limits { memory: true, pids: true, ..Limits::default() });
        let v2 = tree(&[("cgroup.controllers", "cpu memory\n"), ("brig/memory.swap.max", "max\n")]);
        let limits =
            Limits { memory: true, swap: true, cpu_quota: true, cpu_shares: true, ..Limits::default() };
        assert_eq!(probe(v2.path()), limits);
        let hybrid = tree(&[("unified/cgroup.controllers", "pids\n"), ("cpuset/cpuset.cpus", "0\n")]);
        assert_eq!(probe(hybrid.path()), Limits { pids: true, cpuset: true, ..Limits::default() });
    }
}
