//! Who was killed for want of memory, in which control group, at what limit: the kernel's own log says so, and is asked when
//! it has happened, never before.
//!
//! Source: `dump_oom_summary` and `oom_kill_process` in the kernel's mm/oom_kill.c (since 4.20).

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};

use crate::Engine;
use crate::db::ContainerRow;

/// Name of the record inside a container's folder.
const FILE: &str = "oom.json";
/// The longest message of `/dev/kmsg`.
const MESSAGE: usize = 8192;

/// The record of a kill.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OomKill {
    /// The process's name; empty when the kernel's log may not be read or has forgotten it.
    #[serde(default)]
    pub(crate) process: String,
    /// The control group whose limit was met; empty when the whole machine was out of memory, or when it is not known.
    #[serde(default)]
    pub(crate) group: String,
    /// Whether the limit was the container's own.
    #[serde(default)]
    pub(crate) own: bool,
    /// Whether it was the machine's memory that ran out.
    #[serde(default)]
    pub(crate) machine: bool,
    /// The limit in bytes, where it could be read.
    #[serde(default)]
    pub(crate) limit: Option<u64>,
}

impl OomKill {
    /// Says it in a clause: `the kernel killed its process tail: its memory limit of 8MiB was met`.
    pub(crate) fn render(&self) -> String {
        let who = match self.process.as_str() {
            "" => "a process of it".to_owned(),
            name => format!("its process {name}"),
        };
        let limit =
            self.limit.and_then(|limit| i64::try_from(limit).ok()).map(docker_types::size::human_binary);
        let of = limit.map(|limit| format!(" of {limit}")).unwrap_or_default();
        let why = match (self.own, self.machine) {
            (true, _) => format!("its memory limit{of} was met"),
            (_, true) => "the machine had no memory left".to_owned(),
            _ if self.group.is_empty() => format!("a memory limit{of} was met"),
            _ => format!("the memory limit{of} of the control group {} above it was met", self.group),
        };
        format!("the kernel killed {who}: {why}")
    }
}

impl Engine {
    /// Records, in the container's folder, what the kernel says of the last kill. What cannot be learnt is left out.
    pub(crate) fn record_oom(&self, row: &ContainerRow) {
        let mut kill = last_kill(&kernel_log(), row.id.as_str()).unwrap_or_default();
        let limit = u64::try_from(row.spec.host_config.resources.memory).ok().filter(|limit| *limit > 0);
        if kill.group.is_empty() && !kill.machine {
            kill.own = limit.is_some();
        }
        kill.limit = if kill.own { limit } else { group_limit(&kill.group) };
        if let Ok(text) = serde_json::to_vec(&kill) {
            // The answer is the poorer for it when this fails, nothing else.
            let _ = fs::write(self.oom_path(row), text);
        }
    }

    /// Reads the record of the last kill.
    pub(crate) fn oom_kill(&self, row: &ContainerRow) -> Option<OomKill> {
        serde_json::from_slice(&fs::read(self.oom_path(row)).ok()?).ok()
    }

    fn oom_path(&self, row: &ContainerRow) -> PathBuf {
        self.container_path(&row.id).join(FILE)
    }
}

/// Finds the last kill in a group of the container `id`.
fn last_kill(log: &str, id: &str) -> Option<OomKill> {
    let line = log.lines().rev().find(|line| line.contains("oom-kill:") && line.contains(id))?;
    let (_, summary) = line.split_once("oom-kill:")?;
    let field = |name: &str| {
        let found = summary.split(',').find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        found.unwrap_or_default().trim()
    };
    let group = field("oom_memcg");
    Some(OomKill {
        process: field("task").to_owned(),
        group: group.to_owned(),
        own: group.contains(id),
        machine: group.is_empty() && field("constraint") == "CONSTRAINT_NONE",
        limit: None,
    })
}

/// The kernel's log; empty when it may not be read (a plain user).
fn kernel_log() -> String {
    let flags = OFlags::NONBLOCK.bits() as i32;
    let Ok(mut file) = fs::File::options().read(true).custom_flags(flags).open("/dev/kmsg") else {
        return String::new();
    };
    let mut text = String::new();
    let mut message = [0; MESSAGE];
    loop {
        match file.read(&mut message) {
            Ok(got) if got > 0 => text += &String::from_utf8_lossy(&message[..got]),
            // The oldest message was overwritten while it was read; the next is there.
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::PIPE.raw_os_error()) => {}
            _ => return text,
        }
    }
}

fn group_limit(group: &str) -> Option<u64> {
    let below = group.strip_prefix('/')?;
    let files = [
        Path::new("/sys/fs/cgroup/memory").join(below).join("memory.limit_in_bytes"),
        Path::new("/sys/fs/cgroup").join(below).join("memory.max"),
    ];
    files.iter().find_map(|file| fs::read_to_string(file).ok()?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "6,12,34,-;oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=abc,mems_allowed=0,oom_memcg=/brig/abc,task_memcg=/brig/abc,task=tail,pid=12,uid=0\n\
        3,13,34,-;Memory cgroup out of memory: Killed process 12 (tail) total-vm:1kB\n\
        6,14,35,-;oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/slice,task_memcg=/slice/def,task=java,pid=13,uid=0\n\
        6,15,36,-;oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=ghi,mems_allowed=0,global_oom,task_memcg=/brig/ghi,task=node,pid=14,uid=0\n";

    #[test]
    fn the_kernels_log_says_who_and_where() {
        let said = |id: &str, limit: Option<u64>| {
            last_kill(LOG, id).map(|kill| OomKill { limit, ..kill }.render()).unwrap_or_default()
        };
        assert_eq!(
            said("abc", Some(8 << 20)),
            "the kernel killed its process tail: its memory limit of 8MiB was met"
        );
        assert_eq!(
            said("def", Some(1 << 30)),
            "the kernel killed its process java: the memory limit of 1GiB of the control group /slice above it was met"
        );
        assert_eq!(said("ghi", None), "the kernel killed its process node: the machine had no memory left");
        assert_eq!(said("xyz", None), "");
        assert_eq!(OomKill::default().render(), "the kernel killed a process of it: a memory limit was met");
    }
}
