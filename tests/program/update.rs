//! `update` and `wait --condition`.

use testkit::{World, eventually};

/// Reads the first of `files` that is in the running container's cgroup; none where this machine's cgroups have neither.
fn limit(world: &World, v1: &str, v2: &str) -> Option<String> {
    let script =
        format!("cat /sys/fs/cgroup/{v1} 2>/dev/null || cat /sys/fs/cgroup/{v2} 2>/dev/null || echo none");
    let value = world.brig(["exec", "box", "sh", "-c", &script]).ok();
    if value == "none" {
        eprintln!("SKIP this machine's cgroups have neither {v1} nor {v2}");
    }
    Some(value).filter(|value| value != "none")
}

#[test]
fn root_limits_change_while_it_runs_and_hold_after_a_restart() {
    let Some(world) = World::root_because("limits need a control group") else { return };
    world
        .brig([
            "run",
            "-d",
            "--name",
            "box",
            "-m",
            "64m",
            "--pids-limit",
            "100",
            "tiny",
            "sh",
            "-c",
            crate::PATIENT,
        ])
        .ok();
    let args = [
        "update",
        "-m",
        "96m",
        "--memory-swap",
        "128m",
        "--cpus",
        "0.5",
        "-c",
        "512",
        "--pids-limit",
        "50",
        "--cpuset-cpus",
        "0",
    ];
    assert_eq!(world.brig(args.into_iter().chain(["box"])).ok(), "box");
    let check = || {
        let memory = limit(&world, "memory/memory.limit_in_bytes", "memory.max");
        assert!(memory.is_none_or(|memory| memory == (96 << 20).to_string()));
        let quota = limit(&world, "cpu/cpu.cfs_quota_us", "cpu.max");
        assert!(quota.is_none_or(|quota| quota == "50000" || quota == "50000 100000"));
        let shares = limit(&world, "cpu/cpu.shares", "cpu.weight");
        assert!(shares.is_none_or(|shares| shares == "512" || shares == "20" || shares == "59"));
        let pids = limit(&world, "pids/pids.max", "pids.max");
        assert!(pids.is_none_or(|pids| pids == "50"));
        assert_eq!(world.brig(["exec", "box", "nproc"]).ok(), "1");
    };
    check();
    let recorded = "{{.HostConfig.Memory}} {{.HostConfig.MemorySwap}} {{.HostConfig.NanoCpus}} {{.HostConfig.PidsLimit}} {{.HostConfig.CpusetCpus}}";
    assert_eq!(world.inspect("box", recorded), format!("{} {} 500000000 50 0", 96 << 20, 128 << 20));
    world.brig(["restart", "-t", "1", "box"]).ok();
    check();
    world.brig(["update", "--pids-limit", "-1", "box"]).ok();
    let pids = limit(&world, "pids/pids.max", "pids.max");
    assert!(pids.is_none_or(|pids| pids == "max"));
}

#[test]
fn root_stopped_and_several_containers_are_updated() {
    let Some(world) = World::root_because("limits need a control group") else { return };
    world.brig(["create", "--name", "made", "tiny", "true"]).ok();
    world.brig(["run", "-d", "--name", "box", "tiny", "sleep", "1000"]).ok();
    assert_eq!(
        world.brig(["container", "update", "--memory", "64m", "--restart", "always", "made", "box"]).ok(),
        "made\nbox"
    );
    for name in ["made", "box"] {
        let recorded = world.inspect(name, "{{.HostConfig.Memory}} {{.HostConfig.RestartPolicy.Name}}");
        assert_eq!(recorded, format!("{} always", 64 << 20));
    }
    let done = world.brig(["update", "--memory", "80m", "not-there", "made"]);
    assert_eq!((done.code, done.stdout.trim()), (1, "made"));
    assert!(done.stderr.contains("not-there"), "{}", done.stderr);
    world.brig(["stop", "-t", "0", "box"]).ok();
}

#[test]
fn root_what_makes_no_sense_is_refused_and_changes_nothing() {
    let Some(world) = World::root_because("limits need a control group") else { return };
    world.brig(["run", "-d", "--name", "box", "-m", "64m", "--cpus", "1", "tiny", "sleep", "1000"]).ok();
    world.brig(["run", "-d", "--rm", "--name", "temporary", "tiny", "sleep", "1000"]).ok();
    let before = world.inspect("box", "{{json .HostConfig}}");
    for (args, message) in [
        (&["box"][..], "you must provide one or more flags when using this command"),
        (&["-m", "200m", "box"], "update the memoryswap at the same time"),
        (&["-m", "1m", "box"], "Minimum memory limit allowed is 6MB"),
        (&["--cpu-quota", "5000", "box"], "CPU Quota cannot be updated as NanoCPUs has already been set"),
        (&["--cpus", "9999", "box"], "CPUs"),
        (&["--cpuset-cpus", "9999", "box"], "cpuset"),
        (&["--restart", "sometimes", "box"], "unknown policy 'sometimes'"),
        (&["--restart", "always:3", "box"], "maximum retry count can only be used with 'on-failure'"),
        (&["--restart", "always", "temporary"], "AutoRemove is enabled"),
        (&["--kernel-memory", "5m", "box"], "kernel-memory"),
    ] {
        let done = world.brig(["update"].iter().chain(args));
        assert_ne!(done.code, 0, "{args:?}");
        assert!(done.stderr.contains(message), "{args:?}: {}", done.stderr);
    }
    assert_eq!(world.inspect("box", "{{json .HostConfig}}"), before);
}

#[test]
fn root_a_policy_that_it_got_while_it_ran_holds() {
    let Some(world) = World::root() else { return };
    // In the foreground: its client was to clean up after it.
    let client = world.spawn([
        "run",
        "--name",
        "box",
        "tiny",
        "sh",
        "-c",
        "echo start; sleep 1; while ! test -e /end; do sleep 0.1; done; exit 3",
    ]);
    world.wait_for_state("box", "running");
    world.brig(["update", "--restart", "on-failure:2", "box"]).ok();
    world.brig(["exec", "box", "touch", "/end"]).ok();
    assert_eq!(client.wait_with_output().expect("wait").status.code(), Some(3));
    eventually("it is started twice more", || {
        world.brig(["logs", "box"]).stdout.matches("start").count() == 3
    });
    world.wait_for_state("box", "exited");
    world.brig(["update", "--restart", "no", "box"]).ok();
    assert_eq!(world.inspect("box", "{{.HostConfig.RestartPolicy.Name}} {{.RestartCount}}"), "no 2");
}

#[test]
fn root_wait_waits_for_what_it_is_told() {
    let Some(world) = World::root() else { return };
    let check = ["--health-interval", "50ms", "--health-retries", "1", "--health-cmd", "test -e /ok"];
    let script = "while ! test -e /end; do sleep 0.1; done; exit 5";
    world
        .brig(["run", "-d", "--name", "box"].into_iter().chain(check).chain(["tiny", "sh", "-c", script]))
        .ok();
    let wait = |condition: &str| world.spawn(["wait", "--condition", condition, "box"]);
    let code = |child: std::process::Child| {
        let output = child.wait_with_output().expect("wait");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    assert_eq!(code(wait("running")), "-1");
    assert_eq!(code(wait("unhealthy")), "-1");
    let healthy = wait("healthy");
    world.brig(["exec", "box", "touch", "/ok"]).ok();
    assert_eq!(code(healthy), "-1");
    let (plain, next, removed) = (wait("not-running"), wait("next-exit"), wait("removed"));
    std::thread::sleep(std::time::Duration::from_millis(500));
    world.brig(["exec", "box", "touch", "/end"]).ok();
    assert_eq!((code(plain), code(next)), ("5".to_owned(), "5".to_owned()));
    assert_eq!(code(wait("exited")), "5");
    // One that has ended, ends the next time only after another start.
    let next = wait("next-exit");
    std::thread::sleep(std::time::Duration::from_millis(500));
    world.brig(["start", "box"]).ok();
    assert_eq!(code(next), "5");
    world.brig(["rm", "box"]).ok();
    assert_eq!(code(removed), "5");
    world.brig(["run", "-d", "--name", "plain", "tiny", "sleep", "1000"]).ok();
    world.brig(["wait", "--condition", "healthy", "plain"]).refuses(1, &["no health check"]);
    let done = world.brig(["wait", "--condition", "odd", "plain"]);
    assert!(done.code != 0 && done.stderr.contains("invalid condition"), "{done:?}");
    world.brig(["create", "--name", "second", "tiny", "true"]).ok();
    world.brig(["kill", "plain"]).ok();
    assert_eq!(world.brig(["wait", "plain", "second"]).ok(), "137\n0");
}
