//! Checks every value of `linux.resources` before anything is written.

use oci::runtime::{LinuxBlockIo, LinuxCpu, LinuxMemory, LinuxNetwork, LinuxResources};

use super::Version;
use crate::cgroup::Error;

/// The kernel's range of `cpu.shares` (`MIN_SHARES`, `MAX_SHARES`): it would silently cut what lies outside.
const SHARES: std::ops::RangeInclusive<u64> = 2..=262_144;
/// Microseconds: the kernel's range of a period (`min_cfs_quota_period`, `max_cfs_quota_period`).
const PERIOD: std::ops::RangeInclusive<u64> = 1_000..=1_000_000;
/// Microseconds: the kernel's least quota.
const LEAST_QUOTA: i64 = 1_000;
/// The range of block I/O weights; BFQ itself takes 1 to 1,000.
const WEIGHT: std::ops::RangeInclusive<u16> = 10..=1_000;
/// Files of a v2 group that move, kill or stop processes or delegate: no limits.
const NOT_LIMITS: [&str; 7] = [
    "cgroup.procs",
    "cgroup.threads",
    "cgroup.kill",
    "cgroup.freeze",
    "cgroup.type",
    "cgroup.subtree_control",
    "cgroup.pressure",
];

/// Fails with [`Error::Invalid`] for the first value that is malformed or out of range.
pub(super) fn validate(resources: &LinuxResources, version: Version) -> Result<(), Error> {
    if let Some(cpu) = resources.cpu() {
        validate_cpu(cpu, version)?;
    }
    if let Some(memory) = resources.memory() {
        validate_memory(memory, version)?;
    }
    if let Some(pids) = resources.pids() {
        check(pids.limit() >= -1, "pids.limit", pids.limit(), "-1 (no limit) or a number")?;
    }
    if let Some(block_io) = resources.block_io() {
        validate_block_io(block_io)?;
    }
    for (index, limit) in resources.hugepage_limits().iter().flatten().enumerate() {
        let field = format!("hugepageLimits[{index}]");
        let size = limit.page_size();
        check(
            is_page_size(size),
            format!("{field}.pageSize"),
            format!("{size:?}"),
            "a size such as 2MB or 1GB",
        )?;
        check(limit.limit() >= 0, format!("{field}.limit"), limit.limit(), "a number of bytes")?;
    }
    for device in resources.rdma().iter().flatten().map(|(device, _)| device) {
        check(is_word(device), "rdma", format!("{device:?}"), "the name of an RDMA device")?;
    }
    if let Some(network) = resources.network() {
        validate_network(network)?;
    }
    for (key, value) in resources.unified().iter().flatten() {
        let plain =
            key.contains('.') && is_word(key) && !key.starts_with('.') && !NOT_LIMITS.contains(&key.as_str());
        check(plain, "unified", format!("{key:?}"), "a file of a cgroup v2 folder that holds a limit")?;
        check(!value.contains('\0'), format!("unified.{key}"), format!("{value:?}"), "text without NUL")?;
    }
    Ok(())
}

fn validate_cpu(cpu: &LinuxCpu, version: Version) -> Result<(), Error> {
    if version == Version::V1
        && let Some(shares) = cpu.shares().filter(|shares| *shares != 0)
    {
        check(SHARES.contains(&shares), "cpu.shares", shares, "2 to 262144")?;
    }
    if let Some(period) = cpu.period().filter(|period| *period != 0) {
        check(PERIOD.contains(&period), "cpu.period", period, "1000 to 1000000 microseconds")?;
    }
    if let Some(quota) = cpu.quota() {
        let valid = quota == -1 || quota == 0 || quota >= LEAST_QUOTA;
        check(valid, "cpu.quota", quota, "-1 (no limit) or at least 1000 microseconds")?;
    }
    if let Some(idle) = cpu.idle() {
        check((0..=1).contains(&idle), "cpu.idle", idle, "0 or 1")?;
    }
    if let Some(runtime) = cpu.realtime_runtime() {
        check(runtime >= -1, "cpu.realtimeRuntime", runtime, "-1 (no limit) or microseconds")?;
    }
    for (field, list) in [("cpu.cpus", cpu.cpus()), ("cpu.mems", cpu.mems())] {
        let list = list.as_deref().unwrap_or_default();
        check(is_number_list(list), field, format!("{list:?}"), "numbers and ranges such as 0-2,5")?;
    }
    Ok(())
}

fn validate_memory(memory: &LinuxMemory, version: Version) -> Result<(), Error> {
    let fields = [
        ("memory.limit", memory.limit()),
        ("memory.reservation", memory.reservation()),
        ("memory.swap", memory.swap()),
        ("memory.kernel", memory.kernel()),
        ("memory.kernelTCP", memory.kernel_tcp()),
    ];
    for (field, value) in fields {
        let value = value.unwrap_or(0);
        check(value >= -1, field, value, "-1 (no limit) or a number of bytes")?;
    }
    let (limit, swap) = (memory.limit().unwrap_or(0), memory.swap().unwrap_or(0));
    if swap > 0 && limit > 0 {
        check(swap >= limit, "memory.swap", swap, "memory and swap together, so at least memory.limit")?;
    }
    if swap > 0 && limit == 0 && version == Version::V2 {
        return check(false, "memory.swap", swap, "memory and swap together: memory.limit must be given too");
    }
    if let Some(swappiness) = memory.swappiness() {
        check(swappiness <= 100, "memory.swappiness", swappiness, "0 to 100")?;
    }
    Ok(())
}

fn validate_block_io(block_io: &LinuxBlockIo) -> Result<(), Error> {
    let weights = [("blockIO.weight", block_io.weight()), ("blockIO.leafWeight", block_io.leaf_weight())];
    for (field, weight) in weights {
        check_weight(field, weight)?;
    }
    for (index, device) in block_io.weight_device().iter().flatten().enumerate() {
        check_weight(&format!("blockIO.weightDevice[{index}].weight"), device.weight())?;
        check_weight(&format!("blockIO.weightDevice[{index}].leafWeight"), device.leaf_weight())?;
        check_device(&format!("blockIO.weightDevice[{index}]"), device.major(), device.minor())?;
    }
    let throttles = [
        ("blockIO.throttleReadBpsDevice", block_io.throttle_read_bps_device()),
        ("blockIO.throttleWriteBpsDevice", block_io.throttle_write_bps_device()),
        ("blockIO.throttleReadIOPSDevice", block_io.throttle_read_iops_device()),
        ("blockIO.throttleWriteIOPSDevice", block_io.throttle_write_iops_device()),
    ];
    for (field, devices) in throttles {
        for (index, device) in devices.iter().flatten().enumerate() {
            check_device(&format!("{field}[{index}]"), device.major(), device.minor())?;
        }
    }
    Ok(())
}

fn validate_network(network: &LinuxNetwork) -> Result<(), Error> {
    for priority in network.priorities().iter().flatten() {
        let name = priority.name();
        check(is_word(name), "network.priorities", format!("{name:?}"), "the name of an interface")?;
    }
    Ok(())
}

fn check_weight(field: &str, weight: Option<u16>) -> Result<(), Error> {
    let weight = weight.unwrap_or(0);
    check(weight == 0 || WEIGHT.contains(&weight), field, weight, "10 to 1000")
}

fn check_device(field: &str, major: i64, minor: i64) -> Result<(), Error> {
    let valid = (0..1 << 12).contains(&major) && (0..1 << 20).contains(&minor);
    check(valid, field, format!("{major}:{minor}"), "a block device's major:minor")
}

fn check(valid: bool, field: impl Into<String>, value: impl ToString, allowed: &str) -> Result<(), Error> {
    if valid {
        return Ok(());
    }
    Err(Error::Invalid {
        field: field.into(),
        value: value.to_string(),
        allowed: format!("allowed is {allowed}"),
    })
}

/// Returns whether `text` is empty or a list as cpuset(7) has it, without strides.
fn is_number_list(text: &str) -> bool {
    let number = |text: &str| !text.is_empty() && text.len() <= 6 && text.bytes().all(|b| b.is_ascii_digit());
    let item = |item: &str| match item.split_once('-') {
        Some((first, last)) => {
            number(first) && number(last) && first.parse::<u32>().ok() <= last.parse::<u32>().ok()
        }
        None => number(item),
    };
    text.is_empty() || text.trim_end().split(',').all(|part| item(part.trim()))
}

/// Returns whether `size` is a page size as in the names of the kernel's files (`2MB`).
fn is_page_size(size: &str) -> bool {
    let digits = ["KB", "MB", "GB"].iter().find_map(|unit| size.strip_suffix(unit));
    digits.and_then(|digits| digits.parse::<u32>().ok()).is_some_and(u32::is_power_of_two)
}

/// Returns whether `text` is one word that is safe in a file's name and in a line of values.
fn is_word(text: &str) -> bool {
    !text.is_empty() && !text.contains(|c: char| c == '/' || c.is_whitespace() || c.is_control())
}
