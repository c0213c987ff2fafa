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
    let id = world.brig(["create", "--name", "c", "tiny", "sh", "-c", PATIENT]).ok();
    assert_eq!(id.len(), 64);
    assert_eq!(state(&world, "c"), "created");
    assert_eq!(world.brig(["start", "c"]).ok(), "c");
    assert_eq!(state(&world, "c"), "running");
    assert_ne!(world.inspect("c", "{{.State.Pid}}"), "0");
    assert_eq!(world.brig(["stop", "c"]).ok(), "c");
    assert_eq!(world.inspect("c", "{{.State.Status}} {{.State.ExitCode}} {{.State.Pid}}"), "exited 0 0");
    world.brig(["start", "c"]).ok();
    assert_eq!(state(&world, "c"), "running");
    world.brig(["rm", "c"]).refuses(1, &["running"]);
    assert_eq!(world.brig(["rm", "-f", "c"]).ok(), "c");
    world.brig(["inspect", "c"]).refuses(1, &["c"]);
}

#[test]
fn root_the_same_under_the_noun() {
    let Some(world) = World::root() else { return };
    world.brig(["container", "create", "--name", "c", "tiny", "sleep", "100"]).ok();
    world.brig(["container", "start", "c"]).ok();
    assert_eq!(world.brig(["container", "ls", "--format", "{{.Names}}"]).ok(), "c");
    assert_eq!(world.brig(["container", "exec", "c", "echo", "in"]).ok(), "in");
    world.brig(["container", "stop", "-t", "0", "c"]).ok();
    world.brig(["container", "rm", "c"]).ok();
}

#[test]
fn root_stop_is_quick_when_the_process_listens() {
    let Some(world) = World::root() else { return };
    world.brig(["run", "-d", "--name", "c", "tiny", "sh", "-c", PATIENT]).ok();
    std::thread::sleep(Duration::from_millis(300));
    let start = Instant::now();
    world.brig(["stop", "c"]).ok();
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
    assert_eq!(world.inspect("c", "{{.State.ExitCode}}"), "0");
}

#[test]
fn root_stop_kills_what_does_not_listen() {
    let Some(world) = World::root() else { return };
    world
        .brig(["run", "-d", "--name", "c", "tiny", "sh", "-c", "trap '' TERM; while :; do sleep 1; done"])
        .ok();
    let start = Instant::now();
    world.brig(["stop", "-t", "1", "c"]).ok();
    let took = start.elapsed();
    assert!(took >= Duration::from_secs(1) && took < Duration::from_secs(8), "{took:?}");
    assert_eq!(world.inspect("c", "{{.State.ExitCode}}"), "137");
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
            "c",
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
    world.brig(["stop", "c"]).ok();
    assert_eq!(world.inspect("c", "{{.State.ExitCode}}"), "7");
}

#[test]
fn root_kill_sends_any_signal() {
    let Some(world) = World::root() else { return };
    let script = "trap 'echo got' HUP; while :; do sleep 1 & wait $!; done";
    world.brig(["run", "-d", "--name", "c", "tiny", "sh", "-c", script]).ok();
    std::thread::sleep(Duration::from_millis(300));
    world.brig(["kill", "-s", "HUP", "c"]).ok();
    testkit::eventually("the trap", || world.brig(["logs", "c"]).stdout.contains("got"));
    assert_eq!(state(&world, "c"), "running");
    world.brig(["kill", "--signal", "NONSENSE", "c"]).refuses(1, &["NONSENSE"]);
    assert_eq!(world.brig(["kill", "c"]).ok(), "c");
    world.wait_for_state("c", "exited");
    assert_eq!(world.inspect("c", "{{.State.ExitCode}}"), "137");
    world.brig(["kill", "c"]).refuses(1, &["not running"]);
}

#[test]
fn root_pause_freezes_and_unpause_thaws() {
    let Some(world) = World::root() else { return };
    world
        .brig(["run", "-d", "--name", "c", "tiny", "sh", "-c", "while :; do date +%s%N; sleep 0.1; done"])
        .ok();
    world.brig(["pause", "c"]).ok();
    assert_eq!(world.inspect("c", "{{.State.Status}} {{.State.Paused}}"), "paused true");
    let before = world.brig(["logs", "c"]).ok();
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(world.brig(["logs", "c"]).ok(), before);
    world.brig(["exec", "c", "true"]).refuses(1, &["paused"]);
    world.brig(["unpause", "c"]).ok();
    testkit::eventually("output after the thaw", || world.brig(["logs", "c"]).ok() != before);
    world.brig(["unpause", "c"]).refuses(1, &["not paused"]);
    world.brig(["pause", "c"]).ok();
    world.brig(["rm", "-f", "c"]).ok();
}

#[test]
fn root_restart_is_a_new_process() {
    let Some(world) = World::root() else { return };
    world.brig(["run", "-d", "--name", "c", "tiny", "sh", "-c", PATIENT]).ok();
    let first = world.inspect("c", "{{.State.Pid}}");
    world.brig(["exec", "c", "touch", "/kept"]).ok();
    world.brig(["restart", "-t", "1", "c"]).ok();
    assert_eq!(state(&world, "c"), "running");
    assert_ne!(world.inspect("c", "{{.State.Pid}}"), first);
    world.brig(["exec", "c", "test", "-e", "/kept"]).ok();
}

#[test]
fn root_wait_prints_each_status() {
    let Some(world) = World::root() else { return };
    world.brig(["run", "-d", "--name", "a", "tiny", "sh", "-c", "sleep 0.3; exit 3"]).ok();
    world.brig(["run", "-d", "--name", "b", "tiny", "sh", "-c", "exit 4"]).ok();
    assert_eq!(world.brig(["wait", "a", "b"]).ok(), "3\n4");
    world.brig(["wait", "nobody"]).refuses(1, &["nobody"]);
}

#[test]
fn root_start_attached_gives_output_and_status() {
    let Some(world) = World::root() else { return };
    world.brig(["create", "--name", "c", "tiny", "sh", "-c", "echo said; exit 5"]).ok();
    let done = world.brig(["start", "-a", "c"]);
    done.exits(5);
    assert_eq!(done.stdout, "said\n");
}

#[test]
fn root_attach_follows_a_running_container() {
    let Some(world) = World::root() else { return };
    world
        .brig(["run", "-d", "-i", "--name", "c", "tiny", "sh", "-c", "read line; echo read $line; exit 6"])
        .ok();
    let done = world.brig_with_input(["attach", "c"], b"words\n");
    done.exits(6);
    assert_eq!(done.stdout, "read words\n");
}

#[test]
fn root_top_lists_the_processes() {
    let Some(world) = World::root() else { return };
    world.brig(["run", "-d", "--name", "c", "tiny", "sleep", "1234"]).ok();
    let text = world.brig(["top", "c"]).ok();
    assert!(text.lines().next().is_some_and(|head| head.contains("PID")), "{text}");
    assert!(text.contains("sleep 1234"), "{text}");
}

#[test]
fn root_rm_says_what_is_not_there_and_goes_on() {
    let Some(world) = World::root() else { return };
    world.brig(["create", "--name", "c", "tiny"]).ok();
    let done = world.brig(["rm", "nobody", "c"]);
    done.refuses(1, &["nobody"]);
    assert_eq!(done.stdout, "c\n");
    world.brig(["rm", "-f", "nobody"]).exits(0);
}

#[test]
fn root_rm_at_the_end_of_run_removes_anonymous_volumes() {
    let Some(world) = World::root() else { return };
    world.brig(["run", "--rm", "-v", "/data", "tiny", "touch", "/data/x"]).ok();
    assert_eq!(world.brig(["volume", "ls", "-q"]).ok(), "");
}
