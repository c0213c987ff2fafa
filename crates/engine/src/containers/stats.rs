//! `stats`: what containers use of the machine.
//!
//! A share of the processors needs two samples. [`Sampler`] keeps the former ones, so that a reader who comes every second
//! pays for one sample a turn; the first turn takes a short one itself, [`FIRST_SPAN`] before the full one. In that time the
//! rest (names, traffic) is not worth reading twice. Docker waits one or two seconds for it.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::time::{Duration, Instant};

use base::ContainerId;
use docker_types::inspect::stats::{
    BlkioEntry, BlkioStats, CpuStats, CpuUsage, MemoryStats, NetworkStats, PidsStats, Pressure,
    StatsResponse, ThrottlingData,
};
use docker_types::time;
use jiff::Timestamp;
use runtime::cgroup::{self, CgroupPaths, Manager, Stats};
use rustix::time::{ClockId, clock_gettime};

use crate::Engine;
use crate::error::Result;
use crate::model::Container;

/// Between the two samples of a first turn. The kernel brings the time of a running process up to date at each tick (1 to
/// 10 ms), so that the error of the share stays below a tenth.
const FIRST_SPAN: Duration = Duration::from_millis(40);

/// Samples containers, again and again.
#[derive(Debug)]
pub struct Sampler<'e> {
    engine: &'e Engine,
    former: HashMap<ContainerId, Former>,
    memory: u64,
    cpus: u32,
}

/// What a share needs of the sample before.
#[derive(Debug, Clone, Default)]
struct Former {
    read: Timestamp,
    cpu: CpuStats,
}

impl Engine {
    /// Makes a sampler. The first [`Sampler::sample`] takes a moment longer than the others.
    pub fn sampler(&self) -> Sampler<'_> {
        let info = rustix::system::sysinfo();
        Sampler {
            engine: self,
            former: HashMap::new(),
            memory: info.totalram.saturating_mul(info.mem_unit.into()),
            cpus: std::thread::available_parallelism().map_or(1, |count| count.get() as u32),
        }
    }
}

impl Sampler<'_> {
    /// Takes a sample of each of `containers`; one that does not run has zeros.
    pub fn sample(&mut self, containers: &[Container]) -> Result<Vec<StatsResponse>> {
        let groups: Vec<(&Container, Option<CgroupPaths>)> = containers
            .iter()
            .map(|container| {
                let state_root = self.engine.roots().run.join("runtime");
                let alive = container.state.status.is_alive();
                // One that ended this moment has none.
                (
                    container,
                    alive.then(|| runtime::control_group(&state_root, container.id.as_str()).ok()).flatten(),
                )
            })
            .collect();
        let begin = Instant::now();
        let mut fresh = false;
        for (container, group) in &groups {
            if let (Some(group), false) = (group, self.former.contains_key(&container.id)) {
                fresh = true;
                let cpu_usage =
                    CpuUsage { total_usage: cgroup::cpu_time(group).unwrap_or(0), ..CpuUsage::default() };
                let cpu = CpuStats { cpu_usage, ..self.host_time() };
                self.former.insert(container.id.clone(), Former { read: Timestamp::now(), cpu });
            }
        }
        if fresh {
            std::thread::sleep(FIRST_SPAN.saturating_sub(begin.elapsed()));
        }
        let list = groups.iter().map(|(container, group)| match group {
            Some(group) => self.measure(container, group),
            None => named(container),
        });
        let list: Vec<StatsResponse> = list.collect();
        self.former = list
            .iter()
            .filter(|one| one.cpu_stats.online_cpus > 0)
            .filter_map(|one| {
                let read = one.read.parse().ok()?;
                Some((one.id.parse().ok()?, Former { read, cpu: one.cpu_stats.clone() }))
            })
            .collect();
        Ok(list)
    }

    fn measure(&self, container: &Container, group: &CgroupPaths) -> StatsResponse {
        let stats = Manager::attach(group).map(|group| group.usage()).unwrap_or_default();
        let former = self.former.get(&container.id).cloned().unwrap_or_default();
        let mut cpu = self.host_time();
        cpu.cpu_usage = CpuUsage {
            total_usage: stats.cpu.usage.total,
            percpu_usage: stats.cpu.usage.percpu.clone(),
            usage_in_kernelmode: stats.cpu.usage.kernel,
            usage_in_usermode: stats.cpu.usage.user,
        };
        cpu.throttling_data = ThrottlingData {
            periods: stats.cpu.throttling.periods,
            throttled_periods: stats.cpu.throttling.throttled_periods,
            throttled_time: stats.cpu.throttling.throttled_time,
        };
        let own_network = container.spec.host_config.network_mode != "host";
        StatsResponse {
            read: time::rfc3339_nanos(Timestamp::now()),
            preread: time::rfc3339_nanos(former.read),
            networks: own_network.then(|| traffic(container.state.pid)).flatten(),
            cpu_stats: cpu,
            precpu_stats: former.cpu,
            ..self.translate(stats, named(container))
        }
    }

    /// Fills in what is measured, but for the processors.
    fn translate(&self, stats: Stats, empty: StatsResponse) -> StatsResponse {
        let pressure = match (stats.cpu.psi, stats.memory.psi, stats.blkio.psi) {
            (None, None, None) => None,
            (cpu, memory, io) => {
                let share = |psi: Option<cgroup::stats::Psi>| psi.map_or(0.0, |psi| psi.some.avg10);
                Some(Pressure { cpu: share(cpu), memory: share(memory), io: share(io) })
            }
        };
        let usage = stats.memory.usage;
        StatsResponse {
            memory_stats: MemoryStats {
                usage: usage.usage,
                max_usage: usage.max,
                stats: stats.memory.raw,
                failcnt: usage.failcnt,
                // No limit is a number larger than any memory.
                limit: if usage.limit == 0 { self.memory } else { usage.limit.min(self.memory) },
            },
            pids_stats: PidsStats {
                current: stats.pids.current,
                limit: if stats.pids.limit == 0 { u64::MAX } else { stats.pids.limit },
            },
            blkio_stats: block_io(stats.blkio),
            pressure,
            ..empty
        }
    }

    /// The time that the host's processors had to give up to now. The kernel's own account (`/proc/stat`) counts in
    /// hundredths of a second, too coarse for a short span; it is the same sum.
    fn host_time(&self) -> CpuStats {
        let now = clock_gettime(ClockId::Boottime);
        let nanos =
            u64::try_from(now.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0);
        CpuStats {
            system_cpu_usage: nanos.saturating_mul(self.cpus.into()),
            online_cpus: self.cpus,
            ..CpuStats::default()
        }
    }
}

fn named(container: &Container) -> StatsResponse {
    StatsResponse {
        name: format!("/{}", container.name),
        id: container.id.to_string(),
        os_type: "linux".to_owned(),
        read: time::ZERO.to_owned(),
        preread: time::ZERO.to_owned(),
        ..StatsResponse::default()
    }
}

fn block_io(stats: cgroup::stats::Blkio) -> BlkioStats {
    let list = |list: Vec<cgroup::stats::BlkioEntry>| -> Vec<BlkioEntry> {
        let entry = |one: cgroup::stats::BlkioEntry| BlkioEntry {
            major: one.major,
            minor: one.minor,
            op: one.op,
            value: one.value,
        };
        list.into_iter().map(entry).collect()
    };
    let some = |entries| Some(list(entries)).filter(|entries| !entries.is_empty());
    BlkioStats {
        io_service_bytes_recursive: list(stats.io_service_bytes_recursive),
        io_serviced_recursive: some(stats.io_serviced_recursive),
        io_queue_recursive: some(stats.io_queued_recursive),
        io_service_time_recursive: some(stats.io_service_time_recursive),
        io_wait_time_recursive: some(stats.io_wait_time_recursive),
        io_merged_recursive: some(stats.io_merged_recursive),
        io_time_recursive: some(stats.io_time_recursive),
        sectors_recursive: some(stats.sectors_recursive),
    }
}

/// The traffic of the network namespace of a process, loopback left out.
fn traffic(pid: i32) -> Option<BTreeMap<String, NetworkStats>> {
    let text = fs::read_to_string(format!("/proc/{pid}/net/dev")).ok()?;
    Some(text.lines().skip(2).filter_map(interface).filter(|(name, _)| name != "lo").collect())
}

/// Reads a line of `/proc/PID/net/dev`: a name, eight numbers received, eight sent.
fn interface(line: &str) -> Option<(String, NetworkStats)> {
    let (name, rest) = line.split_once(':')?;
    let numbers: Vec<u64> = rest.split_whitespace().map_while(|word| word.parse().ok()).collect();
    let [
        rx_bytes,
        rx_packets,
        rx_errors,
        rx_dropped,
        _,
        _,
        _,
        _,
        tx_bytes,
        tx_packets,
        tx_errors,
        tx_dropped,
        ..,
    ] = numbers[..]
    else {
        return None;
    };
    let stats = NetworkStats {
        rx_bytes,
        rx_packets,
        rx_errors,
        rx_dropped,
        tx_bytes,
        tx_packets,
        tx_errors,
        tx_dropped,
    };
    Some((name.trim().to_owned(), stats))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interfaces_are_read() {
        let line = "  eth0:    5338      36    1    2    0     0          0         0      648       8    3    4    0     0       0          0";
        let (name, stats) = interface(line).unwrap();
        assert_eq!((name.as_str(), stats.rx_bytes, stats.rx_packets), ("eth0", 5338, 36));
        assert_eq!((stats.tx_bytes, stats.tx_packets, stats.tx_errors, stats.tx_dropped), (648, 8, 3, 4));
        assert!(interface("Inter-|   Receive").is_none() && interface("eth0: 1 2").is_none());
    }
}
