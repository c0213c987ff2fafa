//! Killed programs: after `kill -9` of anything at any point the next command reports the truth and cleans up.

use std::time::Duration;

use testkit::World;

use crate::PATIENT;

/// Proof 7: twenty containers run, every brig process is killed at once, and nothing that people see changes.
#[test]
fn root_twenty_containers_survive_the_end_of_every_brig_process() {
    let Some(world) = World::root() else { return };
    let script = "trap 'echo stopping; exit 0' TERM; mkdir /www; hostname > /www/index.html; httpd -p 80 -h /www; while :; do echo tick; sleep 1 & wait $!; done";
    for i in 0..20 {
        let (name, port) = (format!("c{i}"), format!("{}:80", 8000 + i));
        world
            .brig([
                "run",
                "-d",
                "--name",
                &name,
                "--hostname",
                &name,
                "-p",
                &port,
                "tiny",
                "sh",
                "-c",
                script,
            ])
            .ok();
    }
    assert!(world.kill_brig_processes() >= 20);
    testkit::eventually("all brig processes are gone", || world.brig_processes().is_empty());
    for i in 0..20 {
        let answer = world.sh(&format!("curl -fsS -m 3 http://127.0.0.1:{}/", 8000 + i)).ok();
        assert_eq!(answer, format!("c{i}"));
    }
    assert_eq!(world.brig(["ps", "-q"]).ok().lines().count(), 20);
    for i in [0, 7, 19] {
        let name = format!("c{i}");
        assert_eq!(world.brig(["exec", &name, "hostname"]).ok(), name);
        let before = world.brig(["logs", &name]).ok().lines().count();
        testkit::eventually("the log goes on", || world.brig(["logs", &name]).ok().lines().count() > before);
        assert_eq!(world.brig(["stop", &name]).ok(), name);
        assert_eq!(world.inspect(&name, "{{.State.Status}} {{.State.ExitCode}}"), "exited 0");
        assert!(world.brig(["logs", &name]).ok().ends_with("stopping"));
    }
}

#[test]
fn root_a_container_that_ended_without_its_monitor_is_reported() {
    let Some(world) = World::root() else { return };
    world.brig(["run", "-d", "--name", "box", "tiny", "sh", "-c", "sleep 1; exit 3"]).ok();
    world.kill_brig_processes();
    std::thread::sleep(Duration::from_millis(1500));
    let state = world.inspect("box", "{{.State.Status}}");
    assert_eq!(state, "exited");
    world.brig(["start", "box"]).ok();
    assert_eq!(world.brig(["wait", "box"]).ok(), "3");
}

/// The client dies in the middle of `run`: whatever it had made is either a container that all commands manage or gone.
#[test]
fn root_a_client_killed_at_any_point_leaves_nothing_unowned() {
    let Some(world) = World::root() else { return };
    for delay in [1, 3, 5, 8, 12, 20, 30, 50, 80] {
        let child = world.spawn(["run", "--rm", "-p", "8080:80", "-v", "/anonymous", "tiny", "sleep", "5"]);
        std::thread::sleep(Duration::from_millis(delay));
        world.kill_brig_processes();
        // Its own exit status says nothing: it was killed.
        drop(child.wait_with_output());
        for id in world.brig(["ps", "-aq"]).ok().lines() {
            world.brig(["rm", "-f", "-v", id]).ok();
        }
        // The port is free, the name list is empty, and nothing runs.
        world.brig(["run", "--rm", "-p", "8080:80", "tiny", "true"]).ok();
        assert_eq!(world.brig(["ps", "-aq"]).ok(), "", "killed after {delay} ms");
    }
}

#[test]
fn root_a_stop_and_a_removal_that_are_killed_can_be_repeated() {
    let Some(world) = World::root() else { return };
    for (delay, verb) in [(2, "stop"), (10, "stop"), (2, "rm"), (6, "rm"), (15, "rm")] {
        world.brig(["run", "-d", "--name", "box", "-v", "/anonymous", "tiny", "sh", "-c", PATIENT]).ok();
        let args: &[&str] =
            if verb == "rm" { &["rm", "-f", "-v", "box"] } else { &["stop", "-t", "1", "box"] };
        let child = world.spawn(args.iter().copied());
        std::thread::sleep(Duration::from_millis(delay));
        world.kill_brig_processes();
        drop(child.wait_with_output());
        world.brig(["rm", "-f", "-v", "box"]).exits(0);
        assert_eq!(world.brig(["ps", "-aq"]).ok(), "", "{verb} killed after {delay} ms");
    }
}

#[test]
fn root_the_run_folder_may_vanish() {
    let Some(world) = World::root() else { return };
    // What a reboot does: no process, no run folder, an unchanged data root.
    world
        .brig([
            "run",
            "-d",
            "--name",
            "box",
            "-v",
            "data:/data",
            "tiny",
            "sh",
            "-c",
            "echo x >> /data/f; sleep 100",
        ])
        .ok();
    let pid = world.inspect("box", "{{.State.Pid}}");
    world.kill_brig_processes();
    world.sh(&format!("kill -9 {pid}")).ok();
    world.sh(&format!("rm -rf {}/*", world.run_root().display())).ok();
    assert_eq!(world.inspect("box", "{{.State.Status}}"), "exited");
    world.brig(["start", "box"]).ok();
    assert_eq!(world.brig(["exec", "box", "cat", "/data/f"]).ok(), "x\nx");
    world.brig(["rm", "-f", "box"]).ok();
    world.brig(["volume", "rm", "data"]).ok();
}

#[test]
fn root_signals_reach_the_process_of_an_attached_run() {
    let Some(world) = World::root() else { return };
    let child = world.spawn([
        "run",
        "--rm",
        "--name",
        "box",
        "tiny",
        "sh",
        "-c",
        "trap 'echo caught; exit 9' TERM; echo ready; while :; do sleep 1 & wait $!; done",
    ]);
    testkit::eventually("ready", || world.brig(["logs", "box"]).stdout.contains("ready"));
    let of_client = |pid: &&i32| {
        std::fs::read(format!("/proc/{pid}/cmdline"))
            .is_ok_and(|line| line.windows(8).any(|part| part == b"run\0--rm"))
    };
    let clients = world.brig_processes();
    let client = clients.iter().find(of_client).expect("the client runs");
    let kill = std::process::Command::new("sh")
        .args(["-c", &format!("kill -TERM {client}")])
        .current_dir("/")
        .status();
    assert!(kill.expect("start sh").success());
    let output = child.wait_with_output().expect("wait");
    assert_eq!(output.status.code(), Some(9));
    assert!(String::from_utf8_lossy(&output.stdout).contains("caught"));
}

/// A create that is killed between the record and the folder leaves the record alone.
#[test]
fn root_a_container_without_its_folder_can_be_removed() {
    let Some(world) = World::root() else { return };
    for flags in [&["--rm"][..], &[]] {
        let id = world.brig([&["create"], flags, &["tiny", "true"]].concat()).ok();
        std::fs::remove_dir_all(world.data_root().join("containers").join(&id)).expect("remove the folder");
        world.brig(["rm", "-f", &id]).ok();
        assert_eq!(world.brig(["ps", "-aq"]).ok(), "", "{flags:?}");
    }
}

#[test]
fn root_an_older_program_refuses_a_newer_root() {
    let Some(world) = World::root() else { return };
    let file = world.data_root().join("version");
    let old = std::fs::read_to_string(&file).expect("the root has a format number");
    std::fs::write(&file, "9999\n").expect("write");
    world.brig(["ps"]).refuses(1, &["9999"]);
    std::fs::write(&file, old).expect("write");
    world.brig(["ps"]).ok();
}

/// What a killed start leaves belongs to a row that says "created": starting it again and removing it both work, and a prune
/// leaves nothing of those that were killed before they had a row.
#[test]
fn root_a_start_that_was_killed_with_its_monitor_can_be_repeated() {
    let Some(world) = World::root() else { return };
    for delay in (1..40).step_by(2) {
        let child =
            world.spawn(["run", "-d", "--name", "box", "-p", "8080:80", "-v", "/a", "tiny", "sleep", "100"]);
        std::thread::sleep(Duration::from_millis(delay));
        world.kill_brig_processes();
        drop(child.wait_with_output());
        // The port is nobody's, or that of a container that runs.
        let other = world.brig(["run", "--rm", "-p", "8080:80", "tiny", "true"]);
        if world.brig(["ps", "-q"]).ok().is_empty() {
            other.ok();
        }
        if !world.brig(["ps", "-aq"]).ok().is_empty() {
            world.brig(["start", "box"]).ok();
            assert_eq!(world.inspect("box", "{{.State.Status}}"), "running", "killed after {delay} ms");
            world.brig(["rm", "-f", "-v", "box"]).ok();
        }
        assert_eq!(world.brig(["ps", "-aq"]).ok(), "", "killed after {delay} ms");
    }
    std::thread::sleep(Duration::from_millis(600));
    world.brig(["system", "prune", "-f", "--volumes"]).ok();
    let left = |folder: &str| {
        let entries = std::fs::read_dir(folder).expect("the folder is there");
        entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect::<Vec<_>>()
    };
    let (data, run) = (world.data_root(), world.run_root());
    for folder in [data.join("containers"), data.join("volumes"), run.join("containers"), run.join("runtime")]
    {
        assert_eq!(left(&folder.to_string_lossy()), Vec::<String>::new(), "{}", folder.display());
    }
}

/// Somebody empties the run folder while containers run: nothing can speak with them any more, so they end with the next
/// command that cleans up, and nothing keeps their addresses and ports.
#[test]
fn root_an_emptied_run_folder_leaves_no_stray_container() {
    let Some(world) = World::root() else { return };
    world.brig(["run", "-d", "--name", "box", "-p", "8080:80", "tiny", "sleep", "4711"]).ok();
    let pid = world.inspect("box", "{{.State.Pid}}");
    world.sh(&format!("rm -rf {}/*", world.run_root().display())).ok();
    world.brig(["rm", "-f", "box"]).ok();
    let alive = world.sh(&format!("grep -c 4711 /proc/{pid}/cmdline"));
    assert_ne!(alive.stdout.trim(), "1", "the container still runs");
    world.brig(["run", "--rm", "-p", "8080:80", "tiny", "true"]).ok();
    testkit::eventually("all brig processes are gone", || world.brig_processes().is_empty());
}

#[test]
fn root_a_root_that_others_may_write_is_refused() {
    let Some(world) = World::root() else { return };
    world.sh(&format!("chmod 777 {}", world.data_root().display())).ok();
    world.brig(["ps"]).refuses(1, &["others may list or write", "chmod"]);
    world.sh(&format!("chmod 711 {}", world.data_root().display())).ok();
    world.brig(["ps"]).ok();
}
