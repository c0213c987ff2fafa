//! Measures by v2's files, translated into v1's words where runc does so.

use super::v1::page_sizes;
use super::{BlkioEntry, Folder, Hugetlb, MemoryEntry, Psi, PsiData, Stats, number, pairs};

/// Reads everything but pressure.
pub(super) fn read(folder: &Folder, stats: &mut Stats) {
    read_usage(folder, stats);
    for size in page_sizes() {
        let failures = pairs(folder, &format!("hugetlb.{size}.events")).find(|(key, _)| key == "max");
        let usage = number(folder, &format!("hugetlb.{size}.current"));
        stats
            .hugetlb
            .insert(size, Hugetlb { usage, max: 0, failcnt: failures.map_or(0, |(_, count)| count) });
    }
}

/// Reads what [`super::Manager::usage`] tells.
pub(super) fn read_usage(folder: &Folder, stats: &mut Stats) {
    read_cpu(folder, stats);
    read_memory(folder, stats);
    read_pids(folder, stats);
    read_io(folder, stats);
}

/// Reads `cpu.pressure`, `memory.pressure` and `io.pressure`, which a v2 group has with or without controllers.
pub(super) fn read_pressure(folder: &Folder, stats: &mut Stats) {
    let psi = |file: &str| folder.read(file).ok().map(|text| parse_psi(&text));
    stats.cpu.psi = psi("cpu.pressure");
    stats.memory.psi = psi("memory.pressure");
    stats.blkio.psi = psi("io.pressure");
}

fn read_cpu(folder: &Folder, stats: &mut Stats) {
    let cpu = &mut stats.cpu;
    for (key, value) in pairs(folder, "cpu.stat") {
        match key.as_str() {
            "usage_usec" => cpu.usage.total = value * 1000,
            "user_usec" => cpu.usage.user = value * 1000,
            "system_usec" => cpu.usage.kernel = value * 1000,
            "nr_periods" => cpu.throttling.periods = value,
            "nr_throttled" => cpu.throttling.throttled_periods = value,
            "throttled_usec" => cpu.throttling.throttled_time = value * 1000,
            _ => {}
        }
    }
}

fn read_memory(folder: &Folder, stats: &mut Stats) {
    let memory = &mut stats.memory;
    memory.raw = pairs(folder, "memory.stat").collect();
    memory.cache = memory.raw.get("file").copied().unwrap_or_default();
    let entry = |prefix: &str| MemoryEntry {
        limit: number(folder, &format!("{prefix}.max")),
        usage: number(folder, &format!("{prefix}.current")),
        max: number(folder, &format!("{prefix}.peak")),
        failcnt: 0,
    };
    memory.usage = entry("memory");
    memory.usage.failcnt =
        pairs(folder, "memory.events").find(|(key, _)| key == "max").map_or(0, |(_, count)| count);
    // v1 counts memory and swap together; the peaks of the two cannot be added.
    let swap = entry("memory.swap");
    memory.swap = MemoryEntry {
        limit: swap.limit.saturating_add(if swap.limit == u64::MAX { 0 } else { memory.usage.limit }),
        usage: swap.usage.saturating_add(memory.usage.usage),
        ..MemoryEntry::default()
    };
}

fn read_pids(folder: &Folder, stats: &mut Stats) {
    stats.pids.current = match folder.read_number("pids.current") {
        Ok(count) => count,
        // Without the controller the processes can still be counted.
        Err(_) => folder.read("cgroup.procs").unwrap_or_default().lines().count() as u64,
    };
    stats.pids.limit = folder.read_number("pids.max").ok().filter(|max| *max != u64::MAX).unwrap_or(0);
}

fn read_io(folder: &Folder, stats: &mut Stats) {
    for line in folder.read("io.stat").unwrap_or_default().lines() {
        let mut words = line.split_whitespace();
        let Some((major, minor)) = words.next().and_then(parse_device) else { continue };
        for (key, value) in words.filter_map(|word| word.split_once('=')) {
            let Ok(value) = value.parse() else { continue };
            let (list, op) = match key {
                "rbytes" => (&mut stats.blkio.io_service_bytes_recursive, "Read"),
                "wbytes" => (&mut stats.blkio.io_service_bytes_recursive, "Write"),
                "rios" => (&mut stats.blkio.io_serviced_recursive, "Read"),
                "wios" => (&mut stats.blkio.io_serviced_recursive, "Write"),
                _ => continue,
            };
            list.push(BlkioEntry { major, minor, op: op.to_owned(), value });
        }
    }
}

fn parse_device(text: &str) -> Option<(u64, u64)> {
    let (major, minor) = text.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// Reads `some avg10=0.00 avg60=0.00 avg300=0.00 total=0` and `full …`.
fn parse_psi(text: &str) -> Psi {
    let mut psi = Psi::default();
    for line in text.lines() {
        let Some((kind, rest)) = line.split_once(' ') else { continue };
        let mut data = PsiData::default();
        for (key, value) in rest.split_whitespace().filter_map(|word| word.split_once('=')) {
            match key {
                "avg10" => data.avg10 = value.parse().unwrap_or_default(),
                "avg60" => data.avg60 = value.parse().unwrap_or_default(),
                "avg300" => data.avg300 = value.parse().unwrap_or_default(),
                "total" => data.total = value.parse().unwrap_or_default(),
                _ => {}
            }
        }
        match kind {
            "some" => psi.some = data,
            "full" => psi.full = data,
            _ => {}
        }
    }
    psi
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Files of a container's group on Debian 13 (kernel 6.12), unified, cut to the lines that are read and some beside.
    const RECORDED: [(&str, &str); 14] = [
        (
            "cpu.stat",
            "usage_usec 2731645\nuser_usec 1630987\nsystem_usec 1100657\nnice_usec 0\nnr_periods 41\nnr_throttled 7\nthrottled_usec 350123\nnr_bursts 0\nburst_usec 0\n",
        ),
        ("memory.current", "52961280\n"),
        ("memory.max", "134217728\n"),
        ("memory.peak", "60000000\n"),
        (
            "memory.stat",
            "anon 41943040\nfile 8388608\nkernel 2629632\ninactive_file 6291456\nactive_file 2097152\n",
        ),
        ("memory.events", "low 0\nhigh 0\nmax 12\noom 1\noom_kill 1\noom_group_kill 0\n"),
        ("memory.swap.current", "4096\n"),
        ("memory.swap.max", "max\n"),
        ("pids.current", "5\n"),
        ("pids.max", "max\n"),
        (
            "io.stat",
            "254:0 rbytes=1163264 wbytes=8192 rios=36 wios=2 dbytes=0 dios=0\n7:1 rbytes=4096 wbytes=0 rios=1 wios=0 dbytes=0 dios=0\n8:0 \n",
        ),
        (
            "cpu.pressure",
            "some avg10=2.50 avg60=0.50 avg300=0.10 total=99\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=1\n",
        ),
        (
            "memory.pressure",
            "some avg10=0.25 avg60=0.00 avg300=0.00 total=9\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n",
        ),
        (
            "io.pressure",
            "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n",
        ),
    ];

    #[test]
    fn a_recorded_group_is_measured() {
        let path = std::env::temp_dir().join(format!("brig-v2-stats-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("make the folder");
        for (name, text) in RECORDED {
            std::fs::write(path.join(name), text).expect("write a file");
        }
        let folder = Folder::recorded(&path);
        let mut stats = Stats::default();
        read(&folder, &mut stats);
        read_pressure(&folder, &mut stats);
        assert_eq!(
            (stats.cpu.usage.total, stats.cpu.usage.user, stats.cpu.usage.kernel),
            (2_731_645_000, 1_630_987_000, 1_100_657_000)
        );
        assert_eq!(stats.cpu.throttling.throttled_time, 350_123_000);
        assert_eq!(
            stats.memory.usage,
            MemoryEntry { limit: 134_217_728, usage: 52_961_280, max: 60_000_000, failcnt: 12 }
        );
        assert_eq!((stats.memory.raw["inactive_file"], stats.memory.cache), (6_291_456, 8_388_608));
        assert_eq!((stats.memory.swap.usage, stats.memory.swap.limit), (52_965_376, u64::MAX));
        assert_eq!((stats.pids.current, stats.pids.limit), (5, 0));
        let read: Vec<u64> = stats.blkio.io_service_bytes_recursive.iter().map(|entry| entry.value).collect();
        assert_eq!(read, [1_163_264, 8192, 4096, 0]);
        let pressure =
            [stats.cpu.psi, stats.memory.psi, stats.blkio.psi].map(|psi| psi.expect("there").some.avg10);
        assert_eq!(pressure, [2.5, 0.25, 0.0]);
        let paths = super::super::CgroupPaths { unified: Some(path.clone()), ..Default::default() };
        assert_eq!(super::super::cpu_time(&paths), Some(2_731_645_000));
        std::fs::remove_dir_all(path).expect("remove the folder");
    }

    #[test]
    fn pressure_is_read() {
        let psi = parse_psi(
            "some avg10=1.50 avg60=0.25 avg300=0.00 total=123\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=7\n",
        );
        assert_eq!(psi.some, PsiData { avg10: 1.5, avg60: 0.25, avg300: 0.0, total: 123 });
        assert_eq!(psi.full.total, 7);
    }
}
