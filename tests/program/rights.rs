//! Who may reach what: sockets, files, environments, secrets, and what many or large requests leave behind.

use std::os::unix::fs::PermissionsExt;

use testkit::{World, eventually};

/// CVE-2020-15257: a container with the machine's network must find no socket of ours there.
#[test]
fn root_no_socket_is_reached_by_the_network() {
    let Some(world) = World::root() else { return };
    world.brig(["run", "-d", "--name", "box", "--network", "host", "-p", "8080:80", "tiny", "sleep", "100"]);
    world.brig(["run", "-d", "--name", "other", "tiny", "sleep", "100"]).ok();
    let sockets =
        "grep ' @' /proc/net/unix; grep -v 'local_address' /proc/net/tcp /proc/net/tcp6 /proc/net/udp; true";
    assert_eq!(world.brig(["run", "--rm", "--network", "host", "tiny", "sh", "-c", sockets]).ok(), "");
}

/// CVE-2021-41103, CVE-2024-25621: nobody but the owner enters the roots, and what lies in them is not for others to write.
#[test]
fn root_the_roots_belong_to_their_owner() {
    let Some(world) = World::root() else { return };
    world
        .brig(["run", "-d", "--name", "box", "-v", "data:/data", "-v", "/anonymous", "tiny", "sleep", "100"])
        .ok();
    world.brig(["logs", "box"]).ok();
    // A root that Brig makes: others may pass, to what is theirs below, and not look around.
    let made = world.path("fresh");
    world.brig(["--root", &made.display().to_string(), "ps"]).ok();
    let mode = made.metadata().expect("the root is there").permissions().mode();
    assert_eq!(mode & 0o066, 0, "{mode:o}");
    // The files of images and volumes are the containers'; everything else is ours.
    let script = "cd \"$BRIG_ROOT\" && find . -path './layers/*' -prune -o -path './snapshots/*/*/*' -prune -o -path './volumes/*/_data*' -prune \
        -o ! -type l -perm /022 -print; find \"$BRIG_RUN\" ! -type l ! -type p ! -type s -perm /022 -print; find \"$BRIG_RUN\" -type s -perm /077";
    assert_eq!(world.sh(script).ok(), "");
    let secret = world.sh("find \"$BRIG_ROOT\" \"$BRIG_RUN\" -name 'brig.db*' -perm /077").ok();
    assert_eq!(secret, "");
}

/// CVE-2020-14370: what one request brings stays with it, also when many come at once.
#[test]
fn root_environments_do_not_mix() {
    let Some(world) = World::root() else { return };
    let number = 8;
    let children: Vec<_> = (0..number)
        .map(|n| {
            let (name, env, label) = (format!("box{n}"), format!("MINE={n}"), format!("mine={n}"));
            world.spawn([
                "create",
                "--name",
                &name,
                "-e",
                &env,
                "-e",
                &format!("ONLY{n}=1"),
                "-l",
                &label,
                "tiny",
                "env",
            ])
        })
        .collect();
    for mut child in children {
        assert!(child.wait().expect("wait").success());
    }
    for n in 0..number {
        let shown = world.inspect(&format!("box{n}"), "{{json .Config.Env}} {{json .Config.Labels}}");
        assert!(
            shown.contains(&format!("\"MINE={n}\"")) && shown.contains(&format!("\"mine\":\"{n}\"")),
            "{shown}"
        );
        assert_eq!(shown.matches("MINE=").count(), 1, "{shown}");
        assert_eq!(shown.matches("ONLY").count(), 1, "{shown}");
    }
}

/// CVE-2019-13509: a secret in a variable is in the container, in its record and its own files, and nowhere else.
#[test]
fn root_secrets_are_told_to_nobody() {
    let Some(world) = World::root() else { return };
    let secret = "correct-horse-battery";
    let run = ["run", "-d", "--name", "box", "-e", &format!("PASSWORD={secret}"), "tiny", "sleep", "100"];
    let mut command = world.brig_command(run);
    let output = command.env("BRIG_TIMINGS", "1").output().expect("start brig");
    assert!(output.status.success());
    world.brig(["exec", "-e", &format!("OTHER={secret}"), "box", "true"]).ok();
    let said = [output.stderr, output.stdout].concat();
    let seen = |text: &str| assert!(!text.contains(secret), "{text}");
    seen(&String::from_utf8_lossy(&said));
    for args in [
        &["ps", "-a", "--no-trunc"][..],
        &["logs", "box"],
        &["top", "box"],
        &["events", "--since", "1h", "--until", "0s"],
        &["info"],
    ] {
        let done = world.brig(args);
        seen(&done.stdout);
        seen(&done.stderr);
    }
    // No process of ours shows it, and no other file holds it.
    let lines =
        world.sh("for line in /proc/[0-9]*/cmdline; do tr '\\0' ' ' < $line 2>/dev/null; echo; done").ok();
    assert!(!lines.contains(&format!("PASSWORD={secret}")), "{lines}");
    let files = world
        .sh(&format!("grep -rl {secret} \"$BRIG_ROOT\" \"$BRIG_RUN\" 2>/dev/null | sed 's,.*/,,' | sort -u"))
        .stdout;
    for file in files.lines() {
        assert!(
            file.starts_with("brig.db")
                || matches!(file, "config.json" | "spec.json" | "state.json" | "launch.json"),
            "{files}"
        );
    }
}

/// Descriptors and private memory, in KiB, of the monitor of the only container.
fn monitor(world: &World) -> (usize, u64) {
    let pids = world.brig_processes();
    let [pid] = pids[..] else { panic!("one monitor is expected: {pids:?}") };
    let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd")).expect("list").count();
    let memory = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).expect("read");
    let of = |name: &str| {
        let line = memory.lines().find_map(|line| line.strip_prefix(name)).expect("a line");
        line.trim().split(' ').next().and_then(|text| text.parse::<u64>().ok()).expect("a number")
    };
    (descriptors, of("Private_Dirty:"))
}

/// CVE-2022-31030, CVE-2022-23471, CVE-2025-64329: execs that fail, and execs that never stop talking, cost the monitor
/// nothing that stays.
#[test]
fn root_execs_leave_nothing_behind() {
    let Some(world) = World::root() else { return };
    let races: usize = std::env::var("BRIG_TEST_RACES").ok().and_then(|text| text.parse().ok()).unwrap_or(40);
    world.brig(["run", "-d", "--name", "box", "tiny", "sleep", "10000"]).ok();
    let fail = || {
        world.brig(["exec", "box", "/no/such/program"]).exits(127);
        world.brig(["exec", "-w", "/no/such/folder", "box", "true"]);
        world.brig(["exec", "-d", "box", "/no/such/program"]);
    };
    (0..5).for_each(|_| fail());
    let before = monitor(&world);
    (0..races).for_each(|_| fail());
    eventually("the monitor's descriptors are as before", || monitor(&world).0 <= before.0);
    let after = monitor(&world);
    assert!(after.1 <= before.1 + 64, "{before:?} {after:?}");
    // A client that reads slowly, or not at all, does not make it keep what it was told; buffers of a fixed size are all.
    let told = |megabytes: u32| {
        let script = format!("head -c {megabytes}m /dev/zero");
        let mut child = world.brig_command(["exec", "box", "sh", "-c", &script]).spawn().expect("start brig");
        std::thread::sleep(std::time::Duration::from_millis(500));
        let during = monitor_beside(&world);
        child.kill().expect("kill");
        child.wait().expect("wait");
        assert!(during <= before.1 + 1024, "{before:?} {during}");
    };
    told(200);
    let done =
        world.sh(&format!("{} exec box sh -c 'head -c 100m /dev/zero' | wc -c", world.program().display()));
    assert_eq!(done.ok(), "104857600");
    (0..3).for_each(|_| told(400));
}

/// Private memory of the monitor, in KiB, while commands run beside it.
fn monitor_beside(world: &World) -> u64 {
    let of = |pid: &i32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        if !line.starts_with(b"brig\0monitor") {
            return None;
        }
        let memory = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
        let line = memory.lines().find_map(|line| line.strip_prefix("Private_Dirty:"))?;
        line.trim().split(' ').next()?.parse::<u64>().ok()
    };
    world.brig_processes().iter().filter_map(of).max().unwrap_or(0)
}
