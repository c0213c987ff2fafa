//! The writes for cgroup v1.
//!
//! Source: kernel `Documentation/admin-guide/cgroup-v1/` (memory.rst, cpusets.rst, blkio-controller.rst, hugetlb.rst, …) and
//! `Documentation/scheduler/sched-bwc.rst`.

use oci::runtime::{LinuxBlockIo, LinuxCpu, LinuxMemory, LinuxNetwork, LinuxResources};

use super::{Otherwise, Plan, Write};

/// Plans the writes for checked `resources`.
pub(super) fn plan(resources: &LinuxResources) -> Plan {
    let mut plan = Plan::default();
    if let Some(cpu) = resources.cpu() {
        plan_cpu(&mut plan, cpu);
    }
    if let Some(memory) = resources.memory() {
        plan_memory(&mut plan, memory);
    }
    if let Some(pids) = resources.pids() {
        plan.push(Write::new("pids", "pids.max", super::v2::pids_max(pids.limit()), "pids.limit"));
    }
    if let Some(block_io) = resources.block_io() {
        plan_block_io(&mut plan, block_io);
    }
    for (index, limit) in resources.hugepage_limits().iter().flatten().enumerate() {
        let (size, field) = (limit.page_size(), format!("hugepageLimits[{index}].limit"));
        plan.push(Write::new("hugetlb", format!("hugetlb.{size}.limit_in_bytes"), limit.limit(), &field));
        let reserved = format!("hugetlb.{size}.rsvd.limit_in_bytes");
        plan.push(Write::new("hugetlb", reserved, limit.limit(), &field).otherwise(Otherwise::SkipMissing));
    }
    super::v2::plan_rdma(&mut plan, resources);
    if let Some(network) = resources.network() {
        plan_network(&mut plan, network);
    }
    for (key, value) in resources.unified().iter().flatten() {
        plan.missing(&format!("unified.{key}"), format!("{value:?}"), "only cgroup v2 has such files");
    }
    plan
}

fn plan_cpu(plan: &mut Plan, cpu: &LinuxCpu) {
    // Realtime limits come first: a realtime process cannot enter a group without them.
    if let Some(period) = cpu.realtime_period().filter(|period| *period != 0) {
        let write = Write::new("cpu", "cpu.rt_period_us", period, "cpu.realtimePeriod");
        plan.push(write.otherwise(Otherwise::Again));
    }
    if let Some(runtime) = cpu.realtime_runtime().filter(|runtime| *runtime != 0) {
        plan.push(Write::new("cpu", "cpu.rt_runtime_us", runtime, "cpu.realtimeRuntime"));
    }
    if let Some(shares) = cpu.shares().filter(|shares| *shares != 0) {
        plan.push(Write::new("cpu", "cpu.shares", shares, "cpu.shares"));
    }
    // A period may be too small for the present quota, a burst too large: both are tried again after the quota.
    if let Some(period) = cpu.period().filter(|period| *period != 0) {
        plan.push(Write::new("cpu", "cpu.cfs_period_us", period, "cpu.period").otherwise(Otherwise::Again));
    }
    if let Some(burst) = cpu.burst() {
        plan.push(Write::new("cpu", "cpu.cfs_burst_us", burst, "cpu.burst").otherwise(Otherwise::Again));
    }
    if let Some(quota) = cpu.quota().filter(|quota| *quota != 0) {
        plan.push(Write::new("cpu", "cpu.cfs_quota_us", quota, "cpu.quota"));
    }
    if let Some(idle) = cpu.idle() {
        plan.push(Write::new("cpu", "cpu.idle", idle, "cpu.idle"));
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
    let set = |value: Option<i64>| value.filter(|value| *value != 0);
    if let Some(limit) = set(memory.limit()) {
        // The kernel wants memory ≤ memory and swap at every moment. Lowered, memory goes first; raised, it fails, swap
        // goes first and memory is tried again.
        let write = Write::new("memory", "memory.limit_in_bytes", limit, "memory.limit");
        plan.push(write.otherwise(Otherwise::Again));
    }
    match set(memory.swap()) {
        Some(swap) => plan.push(Write::new("memory", "memory.memsw.limit_in_bytes", swap, "memory.swap")),
        // No limit on memory is none on swap either, or the old one on both together would stay.
        None if memory.limit() == Some(-1) => {
            let write = Write::new("memory", "memory.memsw.limit_in_bytes", -1, "memory.swap");
            plan.push(write.otherwise(Otherwise::SkipMissing));
        }
        None => {}
    }
    let rest = [
        ("memory.soft_limit_in_bytes", "memory.reservation", set(memory.reservation())),
        ("memory.kmem.limit_in_bytes", "memory.kernel", set(memory.kernel())),
        ("memory.kmem.tcp.limit_in_bytes", "memory.kernelTCP", set(memory.kernel_tcp())),
    ];
    for (file, field, value) in rest {
        if let Some(value) = value {
            plan.push(Write::new("memory", file, value, field));
        }
    }
    if let Some(hierarchy) = memory.use_hierarchy() {
        let value = u8::from(hierarchy);
        plan.push(Write::new("memory", "memory.use_hierarchy", value, "memory.useHierarchy"));
    }
    if let Some(disable) = memory.disable_oom_killer() {
        let value = u8::from(disable);
        plan.push(Write::new("memory", "memory.oom_control", value, "memory.disableOOMKiller"));
    }
    if let Some(swappiness) = memory.swappiness() {
        plan.push(Write::new("memory", "memory.swappiness", swappiness, "memory.swappiness"));
    }
}

fn plan_block_io(plan: &mut Plan, block_io: &LinuxBlockIo) {
    // The CFQ scheduler (until 5.0) had blkio.weight, BFQ has blkio.bfq.weight: the machine has one of them or none.
    let with_bfq = |plain: &str, bfq: &str, value: String, field: &str| {
        Write::new("blkio", bfq, &value, field).otherwise(Otherwise::Instead(plain.to_owned(), value))
    };
    if let Some(weight) = block_io.weight().filter(|weight| *weight != 0) {
        plan.push(with_bfq("blkio.weight", "blkio.bfq.weight", weight.to_string(), "blockIO.weight"));
    }
    if let Some(weight) = block_io.leaf_weight().filter(|weight| *weight != 0) {
        plan.push(Write::new("blkio", "blkio.leaf_weight", weight, "blockIO.leafWeight"));
    }
    for device in block_io.weight_device().iter().flatten() {
        let (major, minor) = (device.major(), device.minor());
        if let Some(weight) = device.weight().filter(|weight| *weight != 0) {
            let value = format!("{major}:{minor} {weight}");
            plan.push(with_bfq(
                "blkio.weight_device",
                "blkio.bfq.weight_device",
                value,
                "blockIO.weightDevice",
            ));
        }
        if let Some(weight) = device.leaf_weight().filter(|weight| *weight != 0) {
            let value = format!("{major}:{minor} {weight}");
            plan.push(Write::new("blkio", "blkio.leaf_weight_device", value, "blockIO.weightDevice"));
        }
    }
    let throttles = [
        ("read_bps", "throttleReadBpsDevice", block_io.throttle_read_bps_device()),
        ("write_bps", "throttleWriteBpsDevice", block_io.throttle_write_bps_device()),
        ("read_iops", "throttleReadIOPSDevice", block_io.throttle_read_iops_device()),
        ("write_iops", "throttleWriteIOPSDevice", block_io.throttle_write_iops_device()),
    ];
    for (kind, field, devices) in throttles {
        for device in devices.iter().flatten() {
            let value = format!("{}:{} {}", device.major(), device.minor(), device.rate());
            plan.push(Write::new(
                "blkio",
                format!("blkio.throttle.{kind}_device"),
                value,
                format!("blockIO.{field}"),
            ));
        }
    }
}

fn plan_network(plan: &mut Plan, network: &LinuxNetwork) {
    if let Some(class) = network.class_id() {
        plan.push(Write::new("net_cls", "net_cls.classid", class, "network.classID"));
    }
    for priority in network.priorities().iter().flatten() {
        let value = format!("{} {}", priority.name(), priority.priority());
        plan.push(Write::new("net_prio", "net_prio.ifpriomap", value, "network.priorities"));
    }
}
