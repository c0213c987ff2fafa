//! `system boot` and `system shutdown`: what runs after a start of the machine, in which order, and once.
//!
//! A start of the machine is played by killing everything of a world at once and emptying its run root.

use testkit::World;

/// Kills all processes of containers and of Brig and drops the run root, as a power cut would.
fn reboot(world: &World) {
    let pids: Vec<String> = world
        .brig(["ps", "-q"])
        .ok()
        .lines()
        .map(|id| world.inspect(id, "{{.State.Pid}}"))
        .filter(|pid| pid != "0")
        .collect();
    // Brig first, so that nothing of it sees a container end.
    while world.kill_brig_processes() > 0 {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    if !pids.is_empty() {
        world.sh_as_root(&format!("kill -9 {} 2>/dev/null || true", pids.join(" ")));
    }
    world.sh_as_root(&format!("rm -rf {}/*", world.run_root().display()));
}

fn state(world: &World, name: &str) -> String {
    world.inspect(name, "{{.State.Status}}")
}

/// Containers of all policies: name, policy, whether somebody stops it.
const KINDS: [(&str, &str, bool); 7] = [
    ("plain", "no", false),
    ("ever", "always", false),
    ("ever-stopped", "always", true),
    ("unless", "unless-stopped", false),
    ("unless-stopped", "unless-stopped", true),
    ("failing", "on-failure", false),
    ("failing-stopped", "on-failure:5", true),
];

fn fill(world: &World) {
    for (name, policy, stopped) in KINDS {
        world
            .brig([
                "run",
                "-d",
                "--network",
                "none",
                "--name",
                name,
                "--restart",
                policy,
                "tiny",
                "sh",
                "-c",
                crate::PATIENT,
            ])
            .ok();
        if stopped {
            world.brig(["stop", "-t", "1", name]).ok();
        }
    }
    world
        .brig([
            "create",
            "--network",
            "none",
            "--name",
            "never-ran",
            "--restart",
            "always",
            "tiny",
            "sleep",
            "1000",
        ])
        .ok();
}

fn running(world: &World) -> Vec<String> {
    let mut names: Vec<String> =
        world.brig(["ps", "--format", "{{.Names}}"]).ok().lines().map(str::to_owned).collect();
    names.sort();
    names
}

fn boots_by_policy(world: &World) {
    fill(world);
    reboot(world);
    let started = world.brig(["system", "boot"]).ok();
    // Oldest first.
    assert_eq!(started.lines().collect::<Vec<_>>(), ["ever", "ever-stopped", "unless", "failing"]);
    assert_eq!(running(world), ["ever", "ever-stopped", "failing", "unless"]);
    assert_eq!(world.inspect("plain", "{{.State.Status}} {{.State.ExitCode}}"), "exited 255");
    assert_eq!(state(world, "never-ran"), "created");
    // Once a boot.
    world.brig(["stop", "-t", "1", "ever"]).ok();
    assert_eq!(world.brig(["system", "boot"]).ok(), "");
    assert_eq!(state(world, "ever"), "exited");
}

#[test]
fn root_a_boot_starts_what_the_policies_want() {
    let Some(world) = World::root() else { return };
    boots_by_policy(&world);
}

#[test]
fn root_a_plain_users_boot_starts_what_the_policies_want() {
    let Some(world) = World::plain_user() else { return };
    boots_by_policy(&world);
}

#[test]
fn root_a_boot_starts_first_what_others_need() {
    let Some(world) = World::root() else { return };
    let run = |name: &str, flags: &[&str]| {
        let head = ["run", "-d", "--restart", "always", "--name", name];
        world.brig(head.iter().chain(flags).copied().chain(["tiny", "sh", "-c", crate::PATIENT])).ok()
    };
    let id = run("needed", &["-v", "shared:/data", "--ipc", "shareable"]);
    run("network", &["--network", "container:needed"]);
    run("pid", &["--pid", &format!("container:{id}")]);
    run("ipc", &["--ipc", "container:needed"]);
    run("volumes", &["--volumes-from", "needed:ro"]);
    run("upon-network", &["--network", "none", "--pid", "container:network"]);
    // The oldest is the one that needs: it is made anew and joined by name.
    world.brig(["rm", "-f", "needed"]).ok();
    run("needed", &["-v", "shared:/data", "--ipc", "shareable"]);
    world.brig(["rm", "-f", "pid"]).ok();
    world.brig(["restart", "-t", "1", "network", "ipc"]).ok();
    reboot(&world);
    let started = world.brig(["system", "boot"]).ok();
    assert_eq!(started.lines().collect::<Vec<_>>(), ["needed", "network", "ipc", "volumes", "upon-network"]);
    assert_eq!(running(&world).len(), 5);
}

#[test]
fn root_a_shutdown_stops_in_order_and_a_boot_brings_all_back() {
    let Some(world) = World::root() else { return };
    fill(&world);
    world
        .brig([
            "run",
            "-d",
            "--rm",
            "--network",
            "none",
            "--name",
            "temporary",
            "tiny",
            "sh",
            "-c",
            crate::PATIENT,
        ])
        .ok();
    let on =
        ["run", "-d", "--restart", "unless-stopped", "--name", "needs-ever", "--network", "container:ever"];
    world.brig(on.into_iter().chain(["tiny", "sh", "-c", crate::PATIENT])).ok();
    let restless = [
        "run",
        "-d",
        "--restart",
        "always",
        "--network",
        "none",
        "--name",
        "restless",
        "tiny",
        "sh",
        "-c",
        "exit 1",
    ];
    world.brig(restless).ok();
    let done = world.brig(["system", "shutdown"]).ok();
    let stopped: Vec<&str> = done.lines().collect();
    let at = |name: &str| stopped.iter().position(|stopped| *stopped == name);
    assert!(at("needs-ever") < at("ever"), "{stopped:?}");
    assert_eq!(running(&world), Vec::<String>::new());
    // Orderly: they were asked, and none is started again by its policy.
    assert_eq!(world.inspect("ever", "{{.State.ExitCode}}"), "0");
    world.brig(["inspect", "temporary"]).refuses(1, &["temporary"]);
    std::thread::sleep(std::time::Duration::from_millis(400));
    assert_eq!(running(&world), Vec::<String>::new());
    reboot(&world);
    let done = world.brig(["system", "boot"]).ok();
    let started: Vec<&str> = done.lines().collect();
    // What needs nothing to be repaired ended with 0, so `on-failure` has no reason.
    assert_eq!(started, ["ever", "ever-stopped", "unless", "needs-ever", "restless"]);
    // Without a start of the machine in between, too.
    world.brig(["system", "shutdown"]).ok();
    assert!(world.brig(["system", "boot"]).ok().lines().any(|name| name == "ever"));
    world.brig(["stop", "restless"]).ok();
}

#[test]
fn root_a_boot_tells_of_what_it_cannot_start_and_tries_that_again() {
    let Some(world) = World::root() else { return };
    let source = world.path("source");
    std::fs::create_dir(&source).expect("make a folder");
    world
        .brig([
            "run",
            "-d",
            "--restart",
            "always",
            "--name",
            "bound",
            "--mount",
            &format!("type=bind,src={},dst=/data", source.display()),
            "tiny",
            "sleep",
            "1000",
        ])
        .ok();
    world.brig(["run", "-d", "--restart", "always", "--name", "other", "tiny", "sleep", "1000"]).ok();
    reboot(&world);
    std::fs::remove_dir(&source).expect("remove the folder");
    let done = world.brig(["system", "boot"]);
    assert_eq!(done.code, 1);
    assert!(done.stderr.contains("bound") && done.stdout.contains("other"), "{done:?}");
    std::fs::create_dir(&source).expect("make a folder");
    assert_eq!(world.brig(["system", "boot"]).ok(), "bound");
    assert_eq!(world.brig(["system", "boot"]).ok(), "");
}

#[test]
fn root_a_boot_that_is_killed_is_finished_by_the_next() {
    let Some(world) = World::root() else { return };
    for name in ["aa", "bb", "cc", "dd"] {
        world
            .brig(["run", "-d", "--restart", "always", "--name", name, "tiny", "sh", "-c", crate::PATIENT])
            .ok();
    }
    for delay in [1, 15, 40, 80] {
        reboot(&world);
        let boot = world.spawn(["system", "boot"]);
        std::thread::sleep(std::time::Duration::from_millis(delay));
        world.kill_brig_processes();
        drop(boot.wait_with_output());
        world.brig(["system", "boot"]).ok();
        assert_eq!(running(&world), ["aa", "bb", "cc", "dd"], "killed after {delay} ms");
    }
}
