//! Limits of resources: each is seen in the container's own cgroup or felt by its process.

use testkit::World;

/// Reads the first of `files` that is in the container's cgroup: v1 has it below the controller, v2 has one tree.
fn cgroup_value(world: &World, options: &[&str], v1: &str, v2: &str) -> Option<String> {
    let script =
        format!("cat /sys/fs/cgroup/{v1} 2>/dev/null || cat /sys/fs/cgroup/{v2} 2>/dev/null || echo none");
    let args = [&["run", "--rm"], options, &["tiny", "sh", "-c", &script]].concat();
    let value = world.brig(args).ok();
    if value == "none" {
        eprintln!("SKIP this machine's cgroups have neither {v1} nor {v2}");
        return None;
    }
    Some(value)
}

#[test]
fn root_memory() {
    let Some(world) = World::root_because("limits need a control group") else { return };
    let Some(limit) = cgroup_value(&world, &["-m", "32m"], "memory/memory.limit_in_bytes", "memory.max")
    else {
        return;
    };
    assert_eq!(limit, (32 << 20).to_string());
    world
        .brig([
            "run",
            "--name",
            "hungry",
            "-m",
            "16m",
            "--memory-swap",
            "16m",
            "tiny",
            "sh",
            "-c",
            "tail /dev/zero",
        ])
        .exits(137);
    assert_eq!(world.inspect("hungry", "{{.State.OOMKilled}}"), "true");
    world.brig(["rm", "hungry"]).ok();
    world.brig(["run", "--rm", "-m", "1k", "tiny", "true"]).refuses(125, &["memory"]);
    world.brig(["run", "--rm", "-m", "much", "tiny", "true"]).refuses(125, &["much"]);
    world.brig(["run", "--rm", "-m", "32m", "--memory-swap", "16m", "tiny", "true"]).refuses(125, &["swap"]);
}

#[test]
fn root_processor() {
    let Some(world) = World::root_because("limits need a control group") else { return };
    let Some(quota) = cgroup_value(&world, &["--cpus", "0.5"], "cpu/cpu.cfs_quota_us", "cpu.max") else {
        return;
    };
    assert!(quota == "50000" || quota == "50000 100000", "{quota}");
    if let Some(shares) = cgroup_value(&world, &["-c", "512"], "cpu/cpu.shares", "cpu.weight") {
        assert!(shares == "512" || shares == "20" || shares == "59", "{shares}");
    }
    assert_eq!(world.brig(["run", "--rm", "--cpuset-cpus", "0", "tiny", "nproc"]).ok(), "1");
    world.brig(["run", "--rm", "--cpus", "9999", "tiny", "true"]).refuses(125, &["CPUs"]);
    world.brig(["run", "--rm", "--cpus", "-1", "tiny", "true"]).exits(125);
    world.brig(["run", "--rm", "--cpuset-cpus", "4096", "tiny", "true"]).refuses(125, &["4096"]);
}

#[test]
fn root_processes() {
    let Some(world) = World::root() else { return };
    let Some(most) = cgroup_value(&world, &["--pids-limit", "7"], "pids/pids.max", "pids.max") else {
        return;
    };
    assert_eq!(most, "7");
    let script = "for i in 1 2 3 4 5 6 7 8 9; do sleep 1 & done; wait";
    let done = world.brig(["run", "--rm", "--pids-limit", "5", "tiny", "sh", "-c", script]);
    assert!(done.stderr.contains("fork"), "{done:?}");
}

#[test]
fn root_ulimits_and_shared_memory() {
    let Some(world) = World::root() else { return };
    assert_eq!(
        world
            .brig(["run", "--rm", "--ulimit", "nofile=64:128", "tiny", "sh", "-c", "ulimit -Sn; ulimit -Hn"])
            .ok(),
        "64\n128"
    );
    assert!(
        world
            .brig(["run", "--rm", "--shm-size", "3m", "tiny", "grep", "/dev/shm", "/proc/mounts"])
            .ok()
            .contains("size=3072k")
    );
    world.brig(["run", "--rm", "--ulimit", "nonsense=1", "tiny", "true"]).refuses(125, &["nonsense"]);
    world.brig(["run", "--rm", "--ulimit", "nofile=5:4", "tiny", "true"]).exits(125);
}

#[test]
fn root_oom_score() {
    let Some(world) = World::root() else { return };
    assert_eq!(
        world.brig(["run", "--rm", "--oom-score-adj", "500", "tiny", "cat", "/proc/self/oom_score_adj"]).ok(),
        "500"
    );
    world.brig(["run", "--rm", "--oom-score-adj", "5000", "tiny", "true"]).refuses(125, &["5000"]);
}

#[test]
fn root_block_devices() {
    let Some(world) = World::root_because("limits need a control group") else { return };
    let Some(device) =
        ["/dev/loop0", "/dev/vda", "/dev/sda"].into_iter().find(|path| std::path::Path::new(path).exists())
    else {
        eprintln!("SKIP this machine has no block device");
        return;
    };
    for (flag, rate, file, want) in [
        ("--device-read-bps", "1mb", "read_bps", "1048576"),
        ("--device-write-bps", "2mb", "write_bps", "2097152"),
        ("--device-read-iops", "100", "read_iops", "100"),
        ("--device-write-iops", "200", "write_iops", "200"),
    ] {
        let given = format!("{device}:{rate}");
        let v1 = format!("blkio/blkio.throttle.{file}_device");
        let Some(set) = cgroup_value(&world, &[flag, &given], &v1, "io.max") else { return };
        assert!(set.contains(want), "{flag}: {set}");
    }
    world
        .brig(["run", "--rm", "--device-read-bps", "/dev/null:1mb", "tiny", "true"])
        .refuses(125, &["/dev/null"]);
    world
        .brig(["run", "--rm", "--device-read-bps", "/dev/none:1mb", "tiny", "true"])
        .refuses(125, &["/dev/none"]);
}
