//! Restart policies: when a container is started again, after what wait, and what ends that.

use std::time::Duration;

use testkit::{World, eventually};

/// Writes a line for each start to the container's file `/starts`, and ends with the exit code that `/code` holds, or 1.
const FAILS: &str = "echo x >> /starts; exit $(cat /code 2>/dev/null || echo 1)";

fn count(world: &World, name: &str) -> u32 {
    world.inspect(name, "{{.RestartCount}}").parse().unwrap_or(0)
}

/// How often the container has been started, by its own log.
fn starts(world: &World, name: &str) -> usize {
    world.brig(["logs", name]).stdout.lines().filter(|line| *line == "start").count()
}

#[test]
fn root_policies_decide_who_is_started_again() {
    let Some(world) = World::root() else { return };
    let run = |name: &str, policy: &str, script: &str| {
        world.brig(["run", "-d", "--name", name, "--restart", policy, "tiny", "sh", "-c", script]).ok();
    };
    run("never", "no", "exit 1");
    run("done", "on-failure", "exit 0");
    run("thrice", "on-failure:3", "echo start; exit 7");
    run("ever", "always", "echo start; exit 0");
    run("unless", "unless-stopped", "echo start; exit 0");
    for name in ["never", "done", "thrice"] {
        world.wait_for_state(name, "exited");
    }
    assert_eq!((count(&world, "never"), count(&world, "done")), (0, 0));
    eventually("three restarts", || count(&world, "thrice") == 3);
    world.wait_for_state("thrice", "exited");
    assert_eq!(world.inspect("thrice", "{{.State.ExitCode}}"), "7");
    assert_eq!(starts(&world, "thrice"), 4);
    for name in ["ever", "unless"] {
        eventually("some restarts", || starts(&world, name) >= 4);
        world.brig(["stop", name]).ok();
        assert_eq!(world.inspect(name, "{{.State.Status}}"), "exited");
    }
    // By hand everything begins anew.
    world.brig(["start", "thrice"]).ok();
    eventually("three restarts again", || starts(&world, "thrice") == 8);
    world.wait_for_state("thrice", "exited");
    assert_eq!(count(&world, "thrice"), 3);
}

#[test]
fn root_a_stop_while_a_restart_is_waited_for_ends_that() {
    let Some(world) = World::root() else { return };
    world
        .brig(["run", "-d", "--name", "box", "--restart", "always", "tiny", "sh", "-c", "echo start; exit 5"])
        .ok();
    // The waits double: the fifth one leaves a second and a half.
    eventually("some restarts", || count(&world, "box") >= 5);
    eventually("it waits", || {
        world.inspect("box", "{{.State.Status}} {{.State.Restarting}} {{.State.Running}}")
            == "restarting true true"
    });
    let listed = world.brig(["ps", "--format", "{{.Status}}"]).ok();
    assert!(listed.starts_with("Restarting (5)"), "{listed}");
    world.brig(["exec", "box", "true"]).refuses(1, &["is restarting, wait until the container is running"]);
    world.brig(["rm", "box"]).refuses(1, &["restarting"]);
    assert_eq!(world.brig(["stop", "box"]).ok(), "box");
    assert_eq!(world.inspect("box", "{{.State.Status}} {{.State.ExitCode}}"), "exited 5");
    let before = starts(&world, "box");
    std::thread::sleep(Duration::from_millis(2500));
    assert_eq!(starts(&world, "box"), before, "it was started again");
}

#[test]
fn root_start_and_restart_and_rm_end_a_wait_too() {
    let Some(world) = World::root() else { return };
    let run = |name: &str| {
        world.brig(["run", "-d", "--name", name, "--restart", "always", "tiny", "sh", "-c", FAILS]).ok();
        eventually("some restarts", || count(&world, name) >= 6);
        world.wait_for_state(name, "restarting");
    };
    run("started");
    world.brig(["start", "started"]).ok();
    assert!(count(&world, "started") <= 3, "a start begins anew");
    run("restarted");
    world.brig(["restart", "-t", "0", "restarted"]).ok();
    assert!(count(&world, "restarted") <= 3);
    run("removed");
    world.brig(["rm", "-f", "started", "restarted", "removed"]).ok();
    assert_eq!(world.brig(["ps", "-aq"]).ok(), "");
}

#[test]
fn root_a_killed_container_is_left_alone_as_a_stopped_one() {
    let Some(world) = World::root() else { return };
    world.brig(["run", "-d", "--name", "box", "--restart", "always", "tiny", "sleep", "1000"]).ok();
    let first = world.inspect("box", "{{.State.Pid}}");
    // One that ends of somebody else's signal is started again.
    world.sh(&format!("kill -9 {first}")).ok();
    eventually("it runs again", || {
        world.inspect("box", "{{.State.Status}} {{.RestartCount}}") == "running 1"
    });
    assert_ne!(world.inspect("box", "{{.State.Pid}}"), first);
    world.brig(["kill", "box"]).ok();
    world.wait_for_state("box", "exited");
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(world.inspect("box", "{{.State.Status}}"), "exited");
}

/// Both sides of each race are at it many times; whoever comes last has the say.
#[test]
fn root_stops_and_starts_and_restarts_at_once_end_as_one_of_them_wants() {
    let Some(world) = World::root() else { return };
    world.brig(["run", "-d", "--name", "box", "--restart", "always", "tiny", "sh", "-c", "exit 1"]).ok();
    for round in 0..12 {
        let verbs: &[&str] = match round % 4 {
            0 => &["stop", "stop"],
            1 => &["restart", "stop"],
            2 => &["start", "stop"],
            _ => &["restart", "restart"],
        };
        let children: Vec<_> = verbs
            .iter()
            .map(|verb| match *verb {
                "start" => world.spawn(["start", "box"]),
                verb => world.spawn([verb, "-t", "1", "box"]),
            })
            .collect();
        for child in children {
            let done = child.wait_with_output().expect("wait");
            assert!(done.status.success(), "{verbs:?}: {}", String::from_utf8_lossy(&done.stderr));
        }
        world.brig(["stop", "-t", "1", "box"]).ok();
        assert_eq!(world.inspect("box", "{{.State.Status}}"), "exited", "{verbs:?}");
        std::thread::sleep(Duration::from_millis(250));
        assert_eq!(world.inspect("box", "{{.State.Status}}"), "exited", "{verbs:?}: it came back");
        world.brig(["start", "box"]).ok();
    }
}

#[test]
fn root_a_stop_whose_container_ends_by_itself_works() {
    let Some(world) = World::root() else { return };
    for policy in ["no", "always"] {
        for delay in [0, 10, 40, 80, 120] {
            let script = "sleep 0.1; exit 3";
            world.brig(["run", "-d", "--name", "box", "--restart", policy, "tiny", "sh", "-c", script]).ok();
            std::thread::sleep(Duration::from_millis(delay));
            world.brig(["stop", "-t", "1", "box"]).ok();
            assert_eq!(world.inspect("box", "{{.State.Status}}"), "exited", "{policy} {delay}");
            std::thread::sleep(Duration::from_millis(250));
            assert_eq!(world.inspect("box", "{{.State.Status}}"), "exited", "{policy} {delay}: it came back");
            world.brig(["rm", "box"]).ok();
        }
    }
}

#[test]
fn root_a_stop_survives_the_death_of_the_monitor() {
    let Some(world) = World::root() else { return };
    let monitors = |world: &World| -> Vec<i32> {
        let of_monitor = |pid: &i32| {
            std::fs::read(format!("/proc/{pid}/cmdline"))
                .is_ok_and(|line| line.starts_with(b"brig\0monitor\0"))
        };
        world.brig_processes().into_iter().filter(of_monitor).collect()
    };
    for delay in [0, 100, 400] {
        let script = "trap '' TERM; while :; do sleep 1; done";
        world.brig(["run", "-d", "--name", "box", "--restart", "always", "tiny", "sh", "-c", script]).ok();
        let stop = world.spawn(["stop", "-t", "1", "box"]);
        std::thread::sleep(Duration::from_millis(delay));
        let numbers: Vec<String> = monitors(&world).iter().map(i32::to_string).collect();
        // Numbers of the machine, so from outside of the world; one may have ended meanwhile.
        let kill = std::process::Command::new("sh")
            .args(["-c", &format!("kill -9 {}", numbers.join(" "))])
            .current_dir("/")
            .stderr(std::process::Stdio::null())
            .status();
        kill.expect("start sh");
        // Another monitor takes over, and the stop goes on with that.
        let done = stop.wait_with_output().expect("wait");
        assert!(done.status.success(), "{delay}: {}", String::from_utf8_lossy(&done.stderr));
        assert_eq!(world.inspect("box", "{{.State.Status}}"), "exited", "{delay}");
        std::thread::sleep(Duration::from_millis(300));
        assert_eq!(world.inspect("box", "{{.State.Status}}"), "exited", "{delay}: it came back");
        world.brig(["rm", "box"]).ok();
    }
}
