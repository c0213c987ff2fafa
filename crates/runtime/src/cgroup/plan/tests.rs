//! Tables: limits in, writes out, for both versions.

use super::*;

/// Returns the plan of a JSON text as lines `file=value`, and what is missing as `!field`.
fn lines(json: &str, version: Version) -> Vec<String> {
    let resources: LinuxResources = serde_json::from_str(json).expect(json);
    let plan = plan(&resources, version).unwrap_or_else(|error| panic!("{json}: {error}"));
    let writes = plan.writes.iter().map(|write| format!("{}={}", write.file, write.value));
    let missing = plan.missing.iter().map(|error| match error {
        Error::Missing { limit, .. } => format!("!{limit}"),
        other => panic!("{other}"),
    });
    writes.chain(missing).collect()
}

#[test]
fn limits_become_writes() {
    #[rustfmt::skip]
    let rows: &[(&str, &[&str], &[&str])] = &[
        ("{}", &[], &[]),
        (r#"{"cpu":{"shares":1024}}"#, &["cpu.shares=1024"], &["cpu.weight=100"]),
        (r#"{"cpu":{"quota":50000}}"#, &["cpu.cfs_quota_us=50000"], &["cpu.max=50000 100000"]),
        (r#"{"cpu":{"quota":-1,"period":20000}}"#, &["cpu.cfs_period_us=20000", "cpu.cfs_quota_us=-1"], &["cpu.max=max 20000"]),
        (r#"{"cpu":{"quota":50000,"burst":1000,"idle":1}}"#,
            &["cpu.cfs_burst_us=1000", "cpu.cfs_quota_us=50000", "cpu.idle=1"],
            &["cpu.idle=1", "cpu.max.burst=1000", "cpu.max=50000 100000"]),
        (r#"{"cpu":{"realtimeRuntime":500,"realtimePeriod":1000}}"#,
            &["cpu.rt_period_us=1000", "cpu.rt_runtime_us=500"], &["!cpu.realtimeRuntime", "!cpu.realtimePeriod"]),
        (r#"{"cpu":{"cpus":"0-1","mems":"0"}}"#, &["cpuset.cpus=0-1", "cpuset.mems=0"], &["cpuset.cpus=0-1", "cpuset.mems=0"]),
        (r#"{"cpu":{"cpus":"","shares":0,"quota":0,"period":0}}"#, &[], &[]),
        (r#"{"memory":{"limit":1000,"swap":3000,"reservation":500}}"#,
            &["memory.limit_in_bytes=1000", "memory.memsw.limit_in_bytes=3000", "memory.soft_limit_in_bytes=500"],
            &["memory.swap.max=2000", "memory.max=1000", "memory.low=500"]),
        (r#"{"memory":{"limit":-1}}"#,
            &["memory.limit_in_bytes=-1", "memory.memsw.limit_in_bytes=-1"], &["memory.swap.max=max", "memory.max=max"]),
        (r#"{"memory":{"limit":1000,"swap":-1}}"#,
            &["memory.limit_in_bytes=1000", "memory.memsw.limit_in_bytes=-1"], &["memory.swap.max=max", "memory.max=1000"]),
        (r#"{"memory":{"limit":1000,"swap":1000}}"#,
            &["memory.limit_in_bytes=1000", "memory.memsw.limit_in_bytes=1000"], &["memory.swap.max=0", "memory.max=1000"]),
        (r#"{"memory":{"swappiness":0,"disableOOMKiller":true}}"#,
            &["memory.oom_control=1", "memory.swappiness=0"], &["!memory.swappiness", "!memory.disableOOMKiller"]),
        (r#"{"memory":{"disableOOMKiller":false,"useHierarchy":true}}"#,
            &["memory.use_hierarchy=1", "memory.oom_control=0"], &[]),
        (r#"{"memory":{"kernel":4096,"kernelTCP":4096}}"#,
            &["memory.kmem.limit_in_bytes=4096", "memory.kmem.tcp.limit_in_bytes=4096"],
            &["!memory.kernel", "!memory.kernelTCP"]),
        (r#"{"pids":{"limit":100}}"#, &["pids.max=100"], &["pids.max=100"]),
        (r#"{"pids":{"limit":-1}}"#, &["pids.max=max"], &["pids.max=max"]),
        (r#"{"pids":{"limit":0}}"#, &["pids.max=max"], &["pids.max=max"]),
        (r#"{"blockIO":{"weight":100,"leafWeight":10}}"#,
            &["blkio.bfq.weight=100", "blkio.leaf_weight=10"], &["io.bfq.weight=100", "!blockIO.leafWeight"]),
        (r#"{"blockIO":{"weightDevice":[{"major":8,"minor":1,"weight":20}]}}"#,
            &["blkio.bfq.weight_device=8:1 20"], &["io.bfq.weight=8:1 20"]),
        (r#"{"blockIO":{"throttleReadBpsDevice":[{"major":8,"minor":0,"rate":600}],"throttleWriteIOPSDevice":[{"major":8,"minor":0,"rate":0}]}}"#,
            &["blkio.throttle.read_bps_device=8:0 600", "blkio.throttle.write_iops_device=8:0 0"],
            &["io.max=8:0 rbps=600", "io.max=8:0 wiops=max"]),
        (r#"{"hugepageLimits":[{"pageSize":"2MB","limit":0}]}"#,
            &["hugetlb.2MB.limit_in_bytes=0", "hugetlb.2MB.rsvd.limit_in_bytes=0"],
            &["hugetlb.2MB.max=0", "hugetlb.2MB.rsvd.max=0"]),
        (r#"{"rdma":{"mlx5_1":{"hcaHandles":3,"hcaObjects":10000}}}"#,
            &["rdma.max=mlx5_1 hca_handle=3 hca_object=10000"], &["rdma.max=mlx5_1 hca_handle=3 hca_object=10000"]),
        (r#"{"network":{"classID":1048577,"priorities":[{"name":"eth0","priority":5}]}}"#,
            &["net_cls.classid=1048577", "net_prio.ifpriomap=eth0 5"], &["!network.classID", "!network.priorities"]),
        (r#"{"unified":{"memory.high":"1000","io.max":"8:0 rbps=1\n8:1 rbps=2"}}"#,
            &["!unified.io.max", "!unified.memory.high"], &["io.max=8:0 rbps=1", "io.max=8:1 rbps=2", "memory.high=1000"]),
    ];
    for (json, v1, v2) in rows {
        let mut found = lines(json, Version::V1);
        if json.contains("unified") {
            found.sort();
        }
        assert_eq!(found, *v1, "v1 of {json}");
        assert_eq!(lines(json, Version::V2), *v2, "v2 of {json}");
    }
}

#[test]
fn bad_values_are_named_before_anything_is_planned() {
    let rows = [
        (r#"{"cpu":{"quota":500}}"#, "cpu.quota: 500"),
        (r#"{"cpu":{"quota":-2}}"#, "cpu.quota: -2"),
        (r#"{"cpu":{"period":10}}"#, "cpu.period: 10"),
        (r#"{"cpu":{"idle":2}}"#, "cpu.idle: 2"),
        (r#"{"cpu":{"cpus":"0-"}}"#, "cpu.cpus"),
        (r#"{"cpu":{"cpus":"3-1"}}"#, "cpu.cpus"),
        (r#"{"cpu":{"mems":"a"}}"#, "cpu.mems"),
        (r#"{"memory":{"limit":-5}}"#, "memory.limit: -5"),
        (r#"{"memory":{"limit":2000,"swap":1000}}"#, "memory.swap: 1000"),
        (r#"{"memory":{"swappiness":101}}"#, "memory.swappiness: 101"),
        (r#"{"pids":{"limit":-7}}"#, "pids.limit: -7"),
        (r#"{"blockIO":{"weight":5}}"#, "blockIO.weight: 5"),
        (
            r#"{"blockIO":{"throttleReadBpsDevice":[{"major":-1,"minor":0,"rate":1}]}}"#,
            "blockIO.throttleReadBpsDevice[0]",
        ),
        (r#"{"hugepageLimits":[{"pageSize":"../x","limit":1}]}"#, "hugepageLimits[0].pageSize"),
        (r#"{"hugepageLimits":[{"pageSize":"3MB","limit":1}]}"#, "hugepageLimits[0].pageSize"),
        (r#"{"rdma":{"a b":{"hcaHandles":3}}}"#, "rdma"),
        (r#"{"unified":{"../memory.max":"1"}}"#, "unified"),
        (r#"{"unified":{"cgroup.procs":"1"}}"#, "unified"),
        (r#"{"unified":{"nodot":"1"}}"#, "unified"),
    ];
    for (json, expected) in rows {
        let resources: LinuxResources = serde_json::from_str(json).expect(json);
        for version in [Version::V1, Version::V2] {
            let error = plan(&resources, version).expect_err(json).to_string();
            assert!(error.contains(expected), "{json}: {error}");
        }
    }
    let shares: LinuxResources = serde_json::from_str(r#"{"cpu":{"shares":1}}"#).expect("JSON");
    assert!(plan(&shares, Version::V1).is_err(), "v1 would cut it silently");
    assert!(plan(&shares, Version::V2).is_ok());
}
