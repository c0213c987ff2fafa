//! Measures by v1's files.

use super::{BlkioEntry, Folder, Hugetlb, MemoryEntry, Stats, number, number_list, pairs};

/// Clock ticks a second, in which `cpuacct.stat` counts (`USER_HZ`, the same everywhere), as nanoseconds a tick.
const NANOSECONDS_A_TICK: u64 = 10_000_000;

/// Reads what `controller` has to say.
pub(super) fn read(controller: &str, folder: &Folder, stats: &mut Stats) {
    match controller {
        "cpuacct" => {
            read_time(folder, stats);
            read_table(folder, stats);
        }
        "cpu" => read_throttling(folder, stats),
        "cpuset" => read_cpuset(folder, stats),
        "memory" => read_memory(folder, stats),
        "pids" => read_pids(folder, stats),
        "blkio" => read_blkio(folder, stats),
        "hugetlb" => read_hugetlb(folder, stats),
        _ => {}
    }
}

/// Reads of `controller` what [`super::Manager::usage`] tells.
pub(super) fn read_usage(controller: &str, folder: &Folder, stats: &mut Stats) {
    match controller {
        "cpuacct" => read_time(folder, stats),
        "cpu" => read_throttling(folder, stats),
        "memory" => {
            stats.memory.raw = pairs(folder, "memory.stat").collect();
            stats.memory.usage = memory_entry(folder, "memory");
        }
        "pids" => read_pids(folder, stats),
        "blkio" => read_transfers(folder, stats),
        _ => {}
    }
}

fn read_pids(folder: &Folder, stats: &mut Stats) {
    stats.pids.current = number(folder, "pids.current");
    stats.pids.limit = Some(number(folder, "pids.max")).filter(|max| *max != u64::MAX).unwrap_or(0);
}

fn read_time(folder: &Folder, stats: &mut Stats) {
    let usage = &mut stats.cpu.usage;
    usage.total = number(folder, "cpuacct.usage");
    let list = folder.read("cpuacct.usage_percpu").unwrap_or_default();
    usage.percpu = list.split_whitespace().filter_map(|time| time.parse().ok()).collect();
    for (key, ticks) in pairs(folder, "cpuacct.stat") {
        match key.as_str() {
            "user" => usage.user = ticks * NANOSECONDS_A_TICK,
            "system" => usage.kernel = ticks * NANOSECONDS_A_TICK,
            _ => {}
        }
    }
}

fn read_table(folder: &Folder, stats: &mut Stats) {
    let usage = &mut stats.cpu.usage;
    // Since 4.7: a table `cpu user system` in nanoseconds, the same as above by processor.
    for line in folder.read("cpuacct.usage_all").unwrap_or_default().lines().skip(1) {
        let mut fields = line.split_whitespace().skip(1).filter_map(|time| time.parse().ok());
        if let (Some(user), Some(kernel)) = (fields.next(), fields.next()) {
            usage.percpu_user.push(user);
            usage.percpu_kernel.push(kernel);
        }
    }
}

fn read_throttling(folder: &Folder, stats: &mut Stats) {
    for (key, value) in pairs(folder, "cpu.stat") {
        match key.as_str() {
            "nr_periods" => stats.cpu.throttling.periods = value,
            "nr_throttled" => stats.cpu.throttling.throttled_periods = value,
            "throttled_time" => stats.cpu.throttling.throttled_time = value,
            _ => {}
        }
    }
}

fn read_cpuset(folder: &Folder, stats: &mut Stats) {
    let cpuset = &mut stats.cpuset;
    cpuset.cpus = number_list(&folder.read("cpuset.cpus").unwrap_or_default());
    cpuset.mems = number_list(&folder.read("cpuset.mems").unwrap_or_default());
    cpuset.cpu_exclusive = number(folder, "cpuset.cpu_exclusive");
    cpuset.mem_exclusive = number(folder, "cpuset.mem_exclusive");
    cpuset.mem_hardwall = number(folder, "cpuset.mem_hardwall");
    cpuset.memory_migrate = number(folder, "cpuset.memory_migrate");
    cpuset.memory_spread_page = number(folder, "cpuset.memory_spread_page");
    cpuset.memory_spread_slab = number(folder, "cpuset.memory_spread_slab");
    cpuset.memory_pressure = number(folder, "cpuset.memory_pressure");
    cpuset.sched_load_balance = number(folder, "cpuset.sched_load_balance");
    let level = folder.read("cpuset.sched_relax_domain_level").unwrap_or_default();
    cpuset.sched_relax_domain_level = level.trim().parse().unwrap_or_default();
}

fn memory_entry(folder: &Folder, prefix: &str) -> MemoryEntry {
    MemoryEntry {
        limit: number(folder, &format!("{prefix}.limit_in_bytes")),
        usage: number(folder, &format!("{prefix}.usage_in_bytes")),
        max: number(folder, &format!("{prefix}.max_usage_in_bytes")),
        failcnt: number(folder, &format!("{prefix}.failcnt")),
    }
}

fn read_memory(folder: &Folder, stats: &mut Stats) {
    let entry = |prefix: &str| memory_entry(folder, prefix);
    let memory = &mut stats.memory;
    memory.raw = pairs(folder, "memory.stat").collect();
    memory.cache = memory.raw.get("cache").copied().unwrap_or_default();
    memory.usage = entry("memory");
    memory.swap = entry("memory.memsw");
    memory.kernel = entry("memory.kmem");
    memory.kernel_tcp = entry("memory.kmem.tcp");
}

/// The entries of the first of `files` that has some: BFQ's counters where that scheduler runs, else the throttling layer's.
fn first(folder: &Folder, files: &[&str]) -> Vec<BlkioEntry> {
    let lists = files.iter().map(|file| entries(&folder.read(file).unwrap_or_default()));
    lists.into_iter().find(|list| !list.is_empty()).unwrap_or_default()
}

fn read_transfers(folder: &Folder, stats: &mut Stats) {
    let bytes = [
        "blkio.bfq.io_service_bytes_recursive",
        "blkio.throttle.io_service_bytes_recursive",
        "blkio.throttle.io_service_bytes",
    ];
    let operations = [
        "blkio.bfq.io_serviced_recursive",
        "blkio.throttle.io_serviced_recursive",
        "blkio.throttle.io_serviced",
    ];
    stats.blkio.io_service_bytes_recursive = first(folder, &bytes);
    stats.blkio.io_serviced_recursive = first(folder, &operations);
}

fn read_blkio(folder: &Folder, stats: &mut Stats) {
    read_transfers(folder, stats);
    let blkio = &mut stats.blkio;
    let first = |file: &str| first(folder, &[file]);
    blkio.io_queued_recursive = first("blkio.bfq.io_queued_recursive");
    blkio.io_service_time_recursive = first("blkio.bfq.io_service_time_recursive");
    blkio.io_wait_time_recursive = first("blkio.bfq.io_wait_time_recursive");
    blkio.io_merged_recursive = first("blkio.bfq.io_merged_recursive");
    blkio.io_time_recursive = first("blkio.bfq.time_recursive");
    blkio.sectors_recursive = first("blkio.bfq.sectors_recursive");
}

/// Reads lines such as `8:0 Read 4096`; the last line, `Total …`, has no device.
fn entries(text: &str) -> Vec<BlkioEntry> {
    let entry = |line: &str| {
        let (device, rest) = line.split_once(' ')?;
        let (major, minor) = device.split_once(':')?;
        let (op, value) = rest.rsplit_once(' ').unwrap_or(("", rest));
        Some(BlkioEntry {
            major: major.parse().ok()?,
            minor: minor.parse().ok()?,
            op: op.to_owned(),
            value: value.parse().ok()?,
        })
    };
    text.lines().filter_map(entry).collect()
}

fn read_hugetlb(folder: &Folder, stats: &mut Stats) {
    for size in page_sizes() {
        let entry = Hugetlb {
            usage: number(folder, &format!("hugetlb.{size}.usage_in_bytes")),
            max: number(folder, &format!("hugetlb.{size}.max_usage_in_bytes")),
            failcnt: number(folder, &format!("hugetlb.{size}.failcnt")),
        };
        stats.hugetlb.insert(size, entry);
    }
}

/// Returns the sizes of huge pages of this machine, as the files are named (`2MB`).
pub(super) fn page_sizes() -> Vec<String> {
    let name = |kib: u64| match kib {
        0..1024 => format!("{kib}KB"),
        1024..1_048_576 => format!("{}MB", kib >> 10),
        _ => format!("{}GB", kib >> 20),
    };
    let entries = std::fs::read_dir("/sys/kernel/mm/hugepages").into_iter().flatten().flatten();
    let sizes = entries.filter_map(|entry| {
        let folder = entry.file_name();
        folder.to_str()?.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse::<u64>().ok()
    });
    sizes.map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn block_lines_are_read() {
        let text = "8:0 Read 4096\n8:0 Total 4096\n8:16 12\nTotal 4096\n";
        let found: Vec<_> = entries(text).into_iter().map(|e| (e.major, e.minor, e.op, e.value)).collect();
        let expected =
            [(8, 0, "Read".to_owned(), 4096), (8, 0, "Total".to_owned(), 4096), (8, 16, String::new(), 12)];
        assert_eq!(found, expected);
    }
}
