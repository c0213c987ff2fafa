//! The writes for cgroup v2.
//!
//! Source: kernel `Documentation/admin-guide/cgroup-v2.rst`, "Controllers"; runtime-spec `config-linux.md` for the meaning of fields
//! that were made for v1.

use oci::runtime::{LinuxBlockIo, LinuxCpu, LinuxMemory, LinuxResources};

use super::convert::{Limit, io_weight, swap_alone, weight_of_shares};
use super::{Otherwise, Plan, Write};
use crate::cgroup::Error;

/// The kernel's period when none is given, microseconds.
const DEFAULT_PERIOD: u64 = 100_000;

/// Plans the writes for checked `resources`.
pub(super) fn plan(resources: &LinuxResources) -> Result<Plan, Error> {
    let mut plan = Plan::default();
    if let Some(cpu) = resources.cpu() {
        plan_cpu(&mut plan, cpu);
    }
    if let Some(memory) = resources.memory() {
        plan_memory(&mut plan, memory);
    }
    if let Some(pids) = resources.pids() {
        plan.push(Write::new("pids", "pids.max", pids_max(pids.limit()), "pids.limit"));
    }
    if let Some(block_io) = resources.block_io() {
        plan_block_io(&mut plan, block_io);
    }
    for (index, limit) in resources.hugepage_limits().iter().flatten().enumerate() {
        let (size, field) = (limit.page_size(), format!("hugepageLimits[{index}].limit"));
        plan.push(Write::new("hugetlb", format!("hugetlb.{size}.max"), limit.limit(), &field));
        let reserved = format!("hugetlb.{size}.rsvd.max");
        plan.push(Write::new("hugetlb", reserved, limit.limit(), &field).otherwise(Otherwise::SkipMissing));
    }
    plan_rdma(&mut plan, resources);
    if let Some(network) = resources.network() {
        if let Some(class) = network.class_id() {
            plan.missing("network.classID", class, "cgroup v2 has no net_cls controller");
        }
        if let Some(priorities) = network.priorities().as_ref().filter(|list| !list.is_empty()) {
            plan.missing("network.priorities", priorities[0].name(), "cgroup v2 has no net_prio controller");
        }
    }
    plan_unified(&mut plan, resources);
    Ok(plan)
}

/// Returns the text of `pids.max` on either version. Zero, a limit that nothing can live under, is none, as the OCI
/// conformance tests and Docker have it.
pub(super) fn pids_max(limit: i64) -> String {
    if limit <= 0 { "max".to_owned() } else { limit.to_string() }
}

/// Plans `rdma.max`, which is the same on both versions.
pub(super) fn plan_rdma(plan: &mut Plan, resources: &LinuxResources) {
    let mut devices: Vec<_> = resources.rdma().iter().flatten().collect();
    devices.sort_by_key(|(device, _)| *device);
    for (device, limit) in devices {
        let handles = limit.hca_handles().map(|count| format!(" hca_handle={count}")).unwrap_or_default();
        let objects = limit.hca_objects().map(|count| format!(" hca_object={count}")).unwrap_or_default();
        if !handles.is_empty() || !objects.is_empty() {
            plan.push(Write::new(
                "rdma",
                "rdma.max",
                format!("{device}{handles}{objects}"),
                format!("rdma.{device}"),
            ));
        }
    }
}

fn plan_cpu(plan: &mut Plan, cpu: &LinuxCpu) {
    if let Some(idle) = cpu.idle() {
        plan.push(Write::new("cpu", "cpu.idle", idle, "cpu.idle"));
    }
    if let Some(shares) = cpu.shares().filter(|shares| *shares != 0) {
        plan.push(Write::new("cpu", "cpu.weight", weight_of_shares(shares), "cpu.shares"));
    }
    if let Some(burst) = cpu.burst() {
        plan.push(Write::new("cpu", "cpu.max.burst", burst, "cpu.burst").otherwise(Otherwise::Again));
    }
    let (quota, period) = (cpu.quota().unwrap_or(0), cpu.period().unwrap_or(0));
    if quota != 0 || period != 0 {
        let quota = if quota > 0 { quota.to_string() } else { "max".to_owned() };
        let period = if period == 0 { DEFAULT_PERIOD } else { period };
        plan.push(Write::new("cpu", "cpu.max", format!("{quota} {period}"), "cpu.quota"));
    }
    for (field, value) in [
        (
            "cpu.realtimeRuntime",
            cpu.realtime_runtime().filter(|value| *value != 0).map(|value| value.to_string()),
        ),
        (
            "cpu.realtimePeriod",
            cpu.realtime_period().filter(|value| *value != 0).map(|value| value.to_string()),
        ),
    ] {
        if let Some(value) = value {
            plan.missing(field, value, "cgroup v2 has no limits on realtime processes");
        }
    }
    for (file, field, list) in
        [("cpuset.cpus", "cpu.cpus", cpu.cpus()), ("cpuset.mems", "cpu.mems", cpu.mems())]
    {
        if let Some(list) = list.as_deref().filter(|list| !list.is_empty()) {
            plan.push(Write::new("cpuset", file, list, field));
        }
    }
}

fn plan_memory(plan: &mut Plan, memory: &LinuxMemory) {
    if let Some(swap) = swap_alone(memory.swap(), memory.limit()) {
        let write = Write::new("memory", "memory.swap.max", swap, "memory.swap");
        // A kernel without swap accounting has nothing that "no swap" or "any swap" could change.
        let harmless = matches!(swap, Limit::Max | Limit::Bytes(0));
        plan.push(if harmless { write.otherwise(Otherwise::SkipMissing) } else { write });
    }
    if let Some(limit) = Limit::from_spec(memory.limit()) {
        plan.push(Write::new("memory", "memory.max", limit, "memory.limit"));
    }
    if let Some(reservation) = Limit::from_spec(memory.reservation()) {
        plan.push(Write::new("memory", "memory.low", reservation, "memory.reservation"));
    }
    let missing = [
        ("memory.swappiness", memory.swappiness().map(|value| value.to_string())),
        ("memory.kernel", memory.kernel().filter(|value| *value > 0).map(|value| value.to_string())),
        ("memory.kernelTCP", memory.kernel_tcp().filter(|value| *value > 0).map(|value| value.to_string())),
        (
            "memory.disableOOMKiller",
            memory.disable_oom_killer().filter(|value| *value).map(|value| value.to_string()),
        ),
        (
            "memory.useHierarchy",
            memory.use_hierarchy().filter(|value| !*value).map(|value| value.to_string()),
        ),
    ];
    for (field, value) in missing {
        if let Some(value) = value {
            plan.missing(field, value, "cgroup v2 has no such setting");
        }
    }
}

fn plan_block_io(plan: &mut Plan, block_io: &LinuxBlockIo) {
    if let Some(weight) = block_io.weight().filter(|weight| *weight != 0) {
        let instead = Otherwise::Instead("io.weight".to_owned(), io_weight(weight).to_string());
        plan.push(Write::new("io", "io.bfq.weight", weight, "blockIO.weight").otherwise(instead));
    }
    if let Some(weight) = block_io.leaf_weight().filter(|weight| *weight != 0) {
        plan.missing("blockIO.leafWeight", weight, "cgroup v2 has no leaf weights");
    }
    for device in block_io.weight_device().iter().flatten() {
        let number = format!("{}:{}", device.major(), device.minor());
        if let Some(weight) = device.weight().filter(|weight| *weight != 0) {
            let instead =
                Otherwise::Instead("io.weight".to_owned(), format!("{number} {}", io_weight(weight)));
            let write =
                Write::new("io", "io.bfq.weight", format!("{number} {weight}"), "blockIO.weightDevice");
            plan.push(write.otherwise(instead));
        }
        if let Some(weight) = device.leaf_weight().filter(|weight| *weight != 0) {
            plan.missing(
                "blockIO.weightDevice",
                format!("{number} {weight}"),
                "cgroup v2 has no leaf weights",
            );
        }
    }
    let throttles = [
        ("rbps", "throttleReadBpsDevice", block_io.throttle_read_bps_device()),
        ("wbps", "throttleWriteBpsDevice", block_io.throttle_write_bps_device()),
        ("riops", "throttleReadIOPSDevice", block_io.throttle_read_iops_device()),
        ("wiops", "throttleWriteIOPSDevice", block_io.throttle_write_iops_device()),
    ];
    for (key, field, devices) in throttles {
        for device in devices.iter().flatten() {
            // v1 lifts a limit by writing zero.
            let rate = if device.rate() == 0 { "max".to_owned() } else { device.rate().to_string() };
            let value = format!("{}:{} {key}={rate}", device.major(), device.minor());
            plan.push(Write::new("io", "io.max", value, format!("blockIO.{field}")));
        }
    }
}

/// Plans `unified`: file by file in the order of their names, line by line, since the kernel reads one line a write.
fn plan_unified(plan: &mut Plan, resources: &LinuxResources) {
    let mut files: Vec<_> = resources.unified().iter().flatten().collect();
    files.sort();
    for (file, text) in files {
        let controller = file.split_once('.').map_or("", |(controller, _)| controller);
        let field = format!("unified.{file}");
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            plan.push(Write::new(controller, file, line, &field));
        }
    }
}
