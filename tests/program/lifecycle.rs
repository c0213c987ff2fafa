//! The life of a container: create, start, stop, kill, pause, restart, wait, rm, rename.

use std::time::{Duration, Instant};

use testkit::World;

use crate::PATIENT;

fn state(world: &World, name: &str) -> String {
    world.inspect(name, "{{.State.Status}}")
}

#[test]
fn root_created_running_exited_gone() {
    let Some(world) = World::root() else { return };
    let id = world.brig(["create", "--name", "box", "tiny", "sh", "-c", PATIENT]).ok();
    assert_eq!(id.len(), 64);
    assert_eq!(state(&world, "box"), "created");
    assert_eq!(world.brig(["start", "box"]).ok(), "box");
    assert_eq!(state(&world, "box"), "running");
    assert_ne!(world.inspect("box", "{{.State.Pid}}"), "0");
    assert_eq!(world.brig(["stop", "box"]).ok(), "box");
    assert_eq!(world.inspect("box", "{{.State.Status}} {{.State.ExitCode}} {{.State.Pid}}"), "exited 0 0");
    world.brig(["start", "box"]).ok();
    assert_eq!(state(&world, "box"), "running");
    world.brig(["rm", "box"]).refuses(1, &["running"]);
    assert_eq!(world.brig(["rm", "-f", "box"]).ok(), "box");
    world.brig(["inspect", "box"]).refuses(1, &["box"]);
}

#[test]
fn root_the_same_under_the_noun() {
    let Some(world) = World::root() else { return };
    world.brig(["container", "create", "--name", "box", "tiny", "sleep", "100"]).ok();
    world.brig(["container", "start", "box"]).ok();
    assert_eq!(world.brig(["container", "ls", "--format", "{{.Names}}"]).ok(), "box");
    assert_eq!(world.brig(["container", "exec", "box", "echo", "in"]).ok(), "in");
    world.brig(["container", "stop", "-t", "0", "box"]).ok();
    world.brig(["container", "rm", "box"]).ok();
}

#[test]
fn root_stop_is_quick_when_the_process_listens() {
    let Some(world) = World::root() else { return };
    world.brig(["run", "-d", "--name", "box", "tiny", "sh", "-c", PATIENT]).ok();
    std::thread::sleep(Duration::from_millis(300));
    let start = Instant::now();
    world.brig(["stop", "box"]).ok();
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
    assert_eq!(world.inspect("box", "{{.State.ExitCode}}"), "0");
}

#[test]
fn root_stop_kills_what_does_not_listen() {
    let Some(world) = World::root() else { return };
    world
        .brig(["run", "-d", "--name", "box", "tiny", "sh", "-c", "trap '' TERM; while :; do sleep 1; done"])
        .ok();
    let start = Instant::now();
    world.brig(["stop", "-t", "1", "box"]).ok();
    let took = start.elapsed();
    assert!(took >= Duration::from_secs(1) && took < Duration::from_secs(8), "{took:?}");
    assert_eq!(world.inspect("box", "{{.State.ExitCode}}"), "137");
}

#[test]
fn root_stop_uses_the_signal_that_was_asked_for() {
    let Some(world) = World::root() else { return };
    let script = "trap 'exit 7' USR1; while :; do sleep 1 & wait $!; done";
    world
        .brig([
            "run",
            "-d",
            "--name",
            "box",
            "--stop-signal",
            "SIGUSR1",
            "--stop-timeout",
            "30",
            "tiny",
            "sh",
            "-c",
            script,
        ])
        .ok();
    std::thread::sleep(Duration::from_millis(300));
    world.brig(["stop", "box"]).ok();
    assert_eq!(world.inspect("box", "{{.State.ExitCode}}"), "7");
}

#[test]
fn root_kill_sends_any_signal() {
    let Some(world) = World::root() else { return };
    let script = "trap 'echo got' HUP; while :; do sleep 1 & wait $!; done";
    world.brig(["run", "-d", "--name", "box", "tiny", "sh", "-c", script]).ok();
    std::thread::sleep(Duration::from_millis(300));
    world.brig(["kill", "-s", "HUP", "box"]).ok();
    testkit::eventually("the trap", || world.brig(["logs", "box"]).stdout.contains("got"));
    assert_eq!(state(&world, "box"), "running");
    world.brig(["kill", "--signal", "NONSENSE", "box"]).refuses(1, &["NONSENSE"]);
    assert_eq!(world.brig(["kill", "box"]).ok(), "box");
    world.wait_for_state("box", "exited");
    assert_eq!(world.inspect("box", "{{.State.ExitCode}}"), "137");
    world.brig(["kill", "box"]).refuses(1, &["not running"]);
}

#[test]
fn root_pause_freezes_and_unpause_thaws() {
    let Some(world) = World::root() else { return };
    world
        .brig(["run", "-d", "--name", "box", "tiny", "sh", "-c", "while :; do date +%s%N; sleep 0.1; done"])
        .ok();
    world.brig(["pause", "box"]).ok();
    assert_eq!(world.inspect("box", "{{.State.Status}} {{.State.Paused}}"), "paused true");
    let before = world.brig(["logs", "box"]).ok();
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(world.brig(["logs", "box"]).ok(), before);
    world.brig(["exec", "box", "true"]).refuses(1, &["paused"]);
    world.brig(["unpause", "box"]).ok();
    testkit::eventually("output after the thaw", || world.brig(["logs", "box"]).ok() != before);
    world.brig(["unpause", "box"]).refuses(1, &["not paused"]);
    world.brig(["pause", "box"]).ok();
    world.brig(["rm", "-f", "box"]).ok();
}

#[test]
fn root_restart_is_a_new_process() {
    let Some(world) = World::root() else { return };
    world.brig(["run", "-d", "--name", "box", "tiny", "sh", "-c", PATIENT]).ok();
    let first = world.inspect("box", "{{.State.Pid}}");
    world.brig(["exec", "box", "touch", "/kept"]).ok();
    world.brig(["restart", "-t", "1", "box"]).ok();
    assert_eq!(state(&world, "box"), "running");
    assert_ne!(world.inspect("box", "{{.State.Pid}}"), first);
    world.brig(["exec", "box", "test", "-e", "/kept"]).ok();
}

#[test]
fn root_wait_prints_each_status() {
    let Some(world) = World::root() else { return };
    world.brig(["run", "-d", "--name", "one", "tiny", "sh", "-c", "sleep 0.3; exit 3"]).ok();
    world.brig(["run", "-d", "--name", "two", "tiny", "sh", "-c", "exit 4"]).ok();
    assert_eq!(world.brig(["wait", "one", "two"]).ok(), "3\n4");
    world.brig(["wait", "nobody"]).refuses(1, &["nobody"]);
}

#[test]
fn root_start_attached_gives_output_and_status() {
    let Some(world) = World::root() else { return };
    world.brig(["create", "--name", "box", "tiny", "sh", "-c", "echo said; exit 5"]).ok();
    let done = world.brig(["start", "-a", "box"]);
    done.exits(5);
    assert_eq!(done.stdout, "said\n");
}

#[test]
fn root_attach_follows_a_running_container() {
    let Some(world) = World::root() else { return };
    world
        .brig(["run", "-d", "-i", "--name", "box", "tiny", "sh", "-c", "read line; echo read $line; exit 6"])
        .ok();
    let done = world.brig_with_input(["attach", "box"], b"words\n");
    done.exits(6);
    assert_eq!(done.stdout, "read words\n");
}

#[test]
fn root_top_lists_the_processes() {
    let Some(world) = World::root() else { return };
    world.brig(["run", "-d", "--name", "box", "tiny", "sleep", "1234"]).ok();
    let text = world.brig(["top", "box"]).ok();
    assert!(text.lines().next().is_some_and(|head| head.contains("PID")), "{text}");
    assert!(text.contains("sleep 1234"), "{text}");
}

#[test]
fn root_rm_says_what_is_not_there_and_goes_on() {
    let Some(world) = World::root() else { return };
    world.brig(["create", "--name", "box", "tiny"]).ok();
    let done = world.brig(["rm", "nobody", "box"]);
    done.refuses(1, &["nobody"]);
    assert_eq!(done.stdout, "box\n");
    world.brig(["rm", "-f", "nobody"]).exits(0);
}

#[test]
fn root_rm_at_the_end_of_run_removes_anonymous_volumes() {
    let Some(world) = World::root() else { return };
    world.brig(["run", "--rm", "-v", "/data", "tiny", "touch", "/data/x"]).ok();
    assert_eq!(world.brig(["volume", "ls", "-q"]).ok(), "");
}
