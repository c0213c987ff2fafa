//! `GET /containers/{id}/stats`, and the shares that its readers compute.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// One sample of what a container uses, with the one before it as far as shares need it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct StatsResponse {
    /// Its name, with a slash.
    pub name: String,
    /// Its identity.
    pub id: String,
    /// `linux`.
    pub os_type: String,
    /// When it was taken, RFC 3339.
    pub read: String,
    /// Processor time.
    pub cpu_stats: CpuStats,
    /// Memory.
    pub memory_stats: MemoryStats,
    /// Traffic by interface; none without a network of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub networks: Option<BTreeMap<String, NetworkStats>>,
    /// Processes.
    pub pids_stats: PidsStats,
    /// Block I/O.
    pub blkio_stats: BlkioStats,
    /// Always 0 on Linux.
    pub num_procs: u32,
    /// Empty on Linux.
    pub storage_stats: StorageStats,
    /// When the former sample was taken, RFC 3339.
    pub preread: String,
    /// Processor time then.
    pub precpu_stats: CpuStats,
    /// Time lost waiting, where the kernel tells it. Not in Docker's schema.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pressure: Option<Pressure>,
}

/// Processor time, in nanoseconds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CpuStats {
    /// The container's.
    pub cpu_usage: CpuUsage,
    /// All that the host's processors had to give since its start, idle time included.
    pub system_cpu_usage: u64,
    /// How many processors the host has.
    pub online_cpus: u32,
    /// What the quota withheld.
    pub throttling_data: ThrottlingData,
}

/// Processor time of a container, in nanoseconds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CpuUsage {
    /// In all.
    pub total_usage: u64,
    /// By processor; cgroup v1 only.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub percpu_usage: Vec<u64>,
    /// In the kernel.
    pub usage_in_kernelmode: u64,
    /// In programs.
    pub usage_in_usermode: u64,
}

/// What the quota withheld.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the names say it; time is in nanoseconds")]
pub struct ThrottlingData {
    pub periods: u64,
    pub throttled_periods: u64,
    pub throttled_time: u64,
}

/// Memory, in bytes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct MemoryStats {
    /// In use, page cache included.
    pub usage: u64,
    /// The most that was in use; cgroup v1 only.
    #[serde(skip_serializing_if = "is_zero")]
    pub max_usage: u64,
    /// `memory.stat`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub stats: BTreeMap<String, u64>,
    /// How often the limit was met; cgroup v1 only.
    #[serde(skip_serializing_if = "is_zero")]
    pub failcnt: u64,
    /// The limit, or the host's memory where there is none.
    pub limit: u64,
}

/// Traffic of one interface.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the names say it")]
pub struct NetworkStats {
    pub rx_bytes: u64,
    pub rx_packets: u64,
    pub rx_errors: u64,
    pub rx_dropped: u64,
    pub tx_bytes: u64,
    pub tx_packets: u64,
    pub tx_errors: u64,
    pub tx_dropped: u64,
}

/// Processes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PidsStats {
    /// Processes and threads.
    pub current: u64,
    /// The most that are allowed; 2⁶⁴−1 is no limit.
    pub limit: u64,
}

/// Block I/O.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the names say it, and are the kernel's")]
pub struct BlkioStats {
    pub io_service_bytes_recursive: Vec<BlkioEntry>,
    pub io_serviced_recursive: Option<Vec<BlkioEntry>>,
    pub io_queue_recursive: Option<Vec<BlkioEntry>>,
    pub io_service_time_recursive: Option<Vec<BlkioEntry>>,
    pub io_wait_time_recursive: Option<Vec<BlkioEntry>>,
    pub io_merged_recursive: Option<Vec<BlkioEntry>>,
    pub io_time_recursive: Option<Vec<BlkioEntry>>,
    pub sectors_recursive: Option<Vec<BlkioEntry>>,
}

/// One number of a device.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the names say it")]
pub struct BlkioEntry {
    pub major: u64,
    pub minor: u64,
    pub op: String,
    pub value: u64,
}

/// The place of what only other systems have.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct StorageStats {}

/// Shares of time lost, in percent over the last ten seconds: some process waited for it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Pressure {
    pub cpu: f64,
    pub memory: f64,
    pub io: f64,
}

impl StatsResponse {
    /// Share of the processors since the former sample, in percent of one; 0 when nothing can be told.
    #[expect(clippy::cast_precision_loss, reason = "two decimals are shown")]
    pub fn cpu_percent(&self) -> f64 {
        let (now, before) = (&self.cpu_stats, &self.precpu_stats);
        let used = now.cpu_usage.total_usage.saturating_sub(before.cpu_usage.total_usage);
        let had = now.system_cpu_usage.saturating_sub(before.system_cpu_usage);
        if used == 0 || had == 0 {
            return 0.0;
        }
        used as f64 / had as f64 * f64::from(now.online_cpus) * 100.0
    }

    /// Memory in use without the cache that the kernel can drop at once, as Docker counts it.
    pub fn memory_used(&self) -> u64 {
        let memory = &self.memory_stats;
        // v1 tells the groups below too, under a name of its own.
        let cache = memory.stats.get("total_inactive_file").or_else(|| memory.stats.get("inactive_file"));
        match cache {
            Some(cache) if *cache < memory.usage => memory.usage - cache,
            _ => memory.usage,
        }
    }

    /// [`StatsResponse::memory_used`] in percent of the limit.
    #[expect(clippy::cast_precision_loss, reason = "two decimals are shown")]
    pub fn memory_percent(&self) -> f64 {
        match self.memory_stats.limit {
            0 => 0.0,
            limit => self.memory_used() as f64 / limit as f64 * 100.0,
        }
    }

    /// Bytes received and sent, all interfaces.
    pub fn traffic(&self) -> (u64, u64) {
        self.networks
            .iter()
            .flatten()
            .fold((0, 0), |(rx, tx), (_, net)| (rx + net.rx_bytes, tx + net.tx_bytes))
    }

    /// Bytes read from and written to block devices.
    pub fn block_io(&self) -> (u64, u64) {
        let sum = |letter: &str| {
            let list = self.blkio_stats.io_service_bytes_recursive.iter();
            list.filter(|entry| entry.op.to_ascii_lowercase().starts_with(letter))
                .map(|entry| entry.value)
                .sum()
        };
        (sum("r"), sum("w"))
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants it so")]
fn is_zero(value: &u64) -> bool {
    *value == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_dockers() {
        let mut stats = StatsResponse::default();
        assert_eq!((stats.cpu_percent(), stats.memory_percent()), (0.0, 0.0));
        stats.cpu_stats.online_cpus = 4;
        stats.cpu_stats.system_cpu_usage = 8_000_000_000;
        stats.precpu_stats.system_cpu_usage = 4_000_000_000;
        stats.cpu_stats.cpu_usage.total_usage = 1_500_000_000;
        stats.precpu_stats.cpu_usage.total_usage = 1_000_000_000;
        assert!((stats.cpu_percent() - 50.0).abs() < 1e-9);
        stats.memory_stats.usage = 1000;
        stats.memory_stats.limit = 2000;
        stats.memory_stats.stats.insert("inactive_file".into(), 400);
        assert_eq!((stats.memory_used(), stats.memory_percent()), (600, 30.0));
        stats.memory_stats.stats.insert("total_inactive_file".into(), 5000);
        assert_eq!(stats.memory_used(), 1000);
        for (op, value) in [("Read", 5), ("read", 6), ("Write", 7), ("Total", 18)] {
            let entry = BlkioEntry { op: op.into(), value, ..BlkioEntry::default() };
            stats.blkio_stats.io_service_bytes_recursive.push(entry);
        }
        assert_eq!(stats.block_io(), (11, 7));
    }
}
