//! What is measured of a group, in the shape of `runc events --stats` (its `types/events.go`), so that programs that
//! read that read this.
//!
//! A file that the kernel lacks leaves its numbers at zero: what exists differs between kernels and layouts.

mod types;
mod v1;
mod v2;

pub use types::*;

use super::folder::Folder;
use super::{CgroupPaths, Error, Manager};

impl Manager {
    /// Measures: processor, memory, processes, block I/O, huge pages, and pressure where the kernel tells it.
    pub fn stats(&self) -> Result<Stats, Error> {
        let mut stats = Stats::default();
        for group in &self.v1 {
            for controller in &group.controllers {
                v1::read(controller, &group.folder, &mut stats);
            }
        }
        if let Some(folder) = &self.unified {
            if self.is_unified() {
                v2::read(folder, &mut stats);
            }
            v2::read_pressure(folder, &mut stats);
        }
        Ok(stats)
    }

    /// Measures what people ask for again and again and of many groups at once: processor, memory, processes, bytes of
    /// block I/O, pressure. A third of the files of [`Manager::stats`].
    pub fn usage(&self) -> Stats {
        let mut stats = Stats::default();
        for group in &self.v1 {
            for controller in &group.controllers {
                v1::read_usage(controller, &group.folder, &mut stats);
            }
        }
        if let Some(folder) = &self.unified {
            if self.is_unified() {
                v2::read_usage(folder, &mut stats);
            }
            v2::read_pressure(folder, &mut stats);
        }
        stats
    }
}

/// Reads nothing but the processor time of the group that `paths` names, in nanoseconds; `None` when nobody counts it.
///
/// For samples shortly before a full one: one file is read, where a full measurement reads forty.
pub fn cpu_time(paths: &CgroupPaths) -> Option<u64> {
    if let Some(folder) = paths.v1.get("cpuacct") {
        return std::fs::read_to_string(folder.join("cpuacct.usage")).ok()?.trim().parse().ok();
    }
    let text = std::fs::read_to_string(paths.unified.as_ref()?.join("cpu.stat")).ok()?;
    let (_, micros) = text.lines().filter_map(parse_pair).find(|(key, _)| key == "usage_usec")?;
    Some(micros * 1000)
}

/// Reads one number; zero where there is none.
fn number(folder: &Folder, file: &str) -> u64 {
    folder.read_number(file).unwrap_or_default()
}

/// Reads lines of `key value`.
fn pairs(folder: &Folder, file: &str) -> impl Iterator<Item = (String, u64)> {
    let text = folder.read(file).unwrap_or_default();
    let pairs: Vec<_> = text.lines().filter_map(parse_pair).collect();
    pairs.into_iter()
}

fn parse_pair(line: &str) -> Option<(String, u64)> {
    let (key, value) = line.trim().split_once(' ')?;
    Some((key.to_owned(), value.trim().parse().ok()?))
}

/// Reads a list such as `0-2,5`.
fn number_list(text: &str) -> Vec<u16> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.trim().parse::<u16>().ok()?..=last.trim().parse::<u16>().ok()?)
    };
    text.trim().split(',').filter_map(range).flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_pairs_are_read() {
        assert_eq!(number_list("0-2,5\n"), [0, 1, 2, 5]);
        assert_eq!(number_list("\n"), [] as [u16; 0]);
        assert_eq!(parse_pair("cache 12"), Some(("cache".into(), 12)));
        assert_eq!(parse_pair("nonsense"), None);
    }

    #[test]
    fn the_shape_is_runcs() {
        let mut stats = Stats::default();
        stats.cpu.usage.total = 5;
        stats.memory.usage = MemoryEntry { limit: 100, usage: 50, max: 60, failcnt: 0 };
        stats.pids = Pids { current: 3, limit: 10 };
        stats.blkio.io_service_bytes_recursive.push(BlkioEntry {
            major: 8,
            minor: 0,
            op: "Read".into(),
            value: 7,
        });
        let json = serde_json::to_value(&stats).expect("JSON");
        assert_eq!(json["cpu"]["usage"], serde_json::json!({"total": 5, "kernel": 0, "user": 0}));
        assert_eq!(
            json["memory"]["usage"],
            serde_json::json!({"limit": 100, "usage": 50, "max": 60, "failcnt": 0})
        );
        assert_eq!(json["pids"], serde_json::json!({"current": 3, "limit": 10}));
        let entry = serde_json::json!([{"major": 8, "op": "Read", "value": 7}]);
        assert_eq!(json["blkio"], serde_json::json!({"ioServiceBytesRecursive": entry}));
        assert_eq!(json["hugetlb"], serde_json::json!({}));
        assert_eq!(json["network_interfaces"], serde_json::Value::Null);
        assert_eq!(json["cpuset"]["sched_relax_domain_level"], 0);
    }
}
