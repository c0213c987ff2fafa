//! The same by a plain user: no root, no daemon, a range of subordinate users.

use testkit::{World, eventually};

use crate::PATIENT;

#[test]
fn root_and_userns_run_as_a_plain_user() {
    let Some(world) = World::plain_user() else { return };
    assert_eq!(world.brig(["run", "--rm", "--network", "none", "tiny", "id", "-u"]).ok(), "0");
    assert_eq!(
        world.brig(["run", "--rm", "--network", "none", "-u", "1000", "tiny", "id", "-u"]).ok(),
        "1000"
    );
    world.brig(["run", "--rm", "--network", "none", "tiny", "sh", "-c", "exit 4"]).exits(4);
    let map = world.brig(["run", "--rm", "--network", "none", "tiny", "cat", "/proc/self/uid_map"]).ok();
    assert!(map.split_whitespace().take(3).eq(["0", "4242", "1"]), "{map}");
}

#[test]
fn root_and_userns_life_cycle_of_a_plain_user() {
    let Some(world) = World::plain_user() else { return };
    world
        .brig([
            "run",
            "-d",
            "--name",
            "box",
            "--network",
            "none",
            "-v",
            "data:/data",
            "tiny",
            "sh",
            "-c",
            PATIENT,
        ])
        .ok();
    assert_eq!(world.brig(["exec", "box", "sh", "-c", "echo x > /data/f; cat /data/f"]).ok(), "x");
    assert_eq!(world.inspect("box", "{{.State.Status}}"), "running");
    world.brig(["stop", "box"]).ok();
    world.brig(["start", "box"]).ok();
    assert_eq!(world.brig(["exec", "box", "cat", "/data/f"]).ok(), "x");
    world.brig(["rm", "-f", "box"]).ok();
    world.brig(["volume", "rm", "data"]).ok();
}

#[test]
fn root_and_userns_the_host_is_out_of_reach_of_a_plain_user() {
    let Some(world) = World::plain_user() else { return };
    world
        .brig(["run", "--rm", "--network", "none", "-v", "/etc:/host", "tiny", "touch", "/host/written"])
        .exits(1);
    world
        .brig([
            "run",
            "--rm",
            "--network",
            "none",
            "--privileged",
            "tiny",
            "mknod",
            "/tmp/disk",
            "b",
            "8",
            "0",
        ])
        .exits(1);
}

/// Without a control group a container's processes are known by its namespaces and by the root that they stand on.
#[test]
fn root_and_userns_processes_of_a_plain_user_are_found_without_a_group() {
    let Some(world) = World::plain_user() else { return };
    let script = "sleep 4711 & exec sleep 4712";
    let run = |name: &str, more: &[&str]| {
        let args = ["run", "-d", "--name", name, "--network", "none"].into_iter().chain(more.iter().copied());
        world.brig(args.chain(["tiny", "sh", "-c", script])).ok();
        let top = world.brig(["top", name]).ok();
        assert!(top.contains("sleep 4711") && top.contains("sleep 4712"), "{name}: {top}");
    };
    run("own", &[]);
    run("host", &["--pid", "host"]);
    world.brig(["rm", "-f", "own", "host"]).ok();
    // The second is no child of a process namespace that would have taken it along.
    eventually("no process is left", || world.sh("ps -eo args").stdout.matches("sleep 47").count() == 0);
}

#[test]
fn root_and_userns_a_device_of_a_plain_user_may_have_another_name() {
    let Some(world) = World::plain_user() else { return };
    let device = ["--device", "/dev/zero:/dev/mine"];
    let done = world.brig(["run", "--rm", "--network", "none"].into_iter().chain(device).chain([
        "tiny",
        "sh",
        "-c",
        "stat -c %t:%T /dev/mine; dd if=/dev/mine bs=1 count=3 2>/dev/null | wc -c",
    ]));
    assert_eq!(done.ok(), "1:5\n3");
}

#[test]
fn root_and_userns_nothing_of_a_plain_user_outlives_an_emptied_run_root() {
    let Some(world) = World::plain_user() else { return };
    world.brig(["run", "-d", "--name", "box", "--network", "none", "tiny", "sleep", "4711"]).ok();
    world.sh(&format!("rm -rf {}/*", world.run_root().display())).ok();
    world.brig(["rm", "-f", "box"]).ok();
    eventually("no process is left", || world.sh("ps -eo args").stdout.matches("sleep 4711").count() == 0);
    eventually("the monitor is gone", || world.brig_processes().is_empty());
}

#[test]
fn root_and_userns_unshare_shows_what_containers_see() {
    let Some(world) = World::plain_user() else { return };
    assert_eq!(world.brig(["unshare", "id", "-u"]).ok(), "0");
    let map = world.brig(["unshare", "cat", "/proc/self/uid_map"]).ok();
    assert!(map.split_whitespace().take(3).eq(["0", "4242", "1"]), "{map}");
    // What a container's user wrote is removed so, and the exit code is the command's.
    world.brig(["run", "--rm", "--network", "none", "-v", "data:/data", "-u", "1000", "tiny", "true"]).ok();
    world.brig(["unshare", "sh", "-c", "exit 7"]).exits(7);
    world.brig(["unshare", "no-such-program"]).exits(127);
    world.brig(["volume", "rm", "data"]).ok();
    if let Some(root) = World::root_because("it is what root is told") {
        root.brig(["unshare", "id"]).refuses(125, &["plain user"]);
    }
}

/// There is no set-id program, no socket and no file of Brig's that a group could use: membership of none gives anything.
#[test]
fn root_nothing_is_open_to_a_group() {
    let Some(world) = World::root() else { return };
    world
        .brig(["run", "-d", "--name", "box", "--network", "none", "-v", "data:/data", "tiny", "sleep", "100"])
        .ok();
    let roots = format!("{} {}", world.data_root().display(), world.run_root().display());
    // What images and containers bring is theirs, behind folders that nobody else may list.
    let theirs = "\\( -path '*/layers/*' -o -path '*/upper/*' -o -path '*/_data/*' \\) -prune -o";
    let found = world.sh_as_root(&format!("find {roots} {theirs} ! -type l -perm /6022 -print")).ok();
    assert_eq!(found, "");
    let program = world.sh(&format!("find {} -perm /6000", world.program().display())).ok();
    assert_eq!(program, "");
    world.brig(["rm", "-f", "box"]).ok();
    world.brig(["volume", "rm", "data"]).ok();
}

#[test]
fn root_and_userns_a_session_without_a_runtime_folder_has_a_place_for_running_things() {
    let Some(world) = World::plain_user() else { return };
    // Hidden from the machine: the sandbox has its own.
    world.sh_as_root("mount -t tmpfs none /run").ok();
    let info =
        |script: &str| world.sh(&format!("unset BRIG_RUN; {script} {} info", world.program().display()));
    let run = "/tmp/brig-4242";
    assert!(info("").ok().contains(&format!("Run Dir: {run}/brig")));
    assert_eq!(world.sh(&format!("stat -c %a {run}; rm -rf {run}")).ok(), "700");
    world
        .sh_as_root("mkdir -p /run/user/4242; chown 4242:4242 /run/user/4242; chmod 700 /run/user/4242")
        .ok();
    assert!(info("").ok().contains("Run Dir: /run/user/4242/brig"));
}

/// What a session of systemd's has: a group of v2 that belongs to the user.
#[test]
fn root_and_userns_a_delegated_group_is_used() {
    let Some(mut world) = World::plain_user() else { return };
    if !world.delegate() {
        return;
    }
    let args = ["run", "-d", "--name", "box", "--network", "none", "tiny", "sh", "-c"];
    world.brig(args.into_iter().chain(["while :; do date +%s%N; sleep 0.1; done"])).ok();
    let pid = world.inspect("box", "{{.State.Pid}}");
    let id = world.inspect("box", "{{.Id}}");
    let group = world.sh_as_root(&format!("grep ^0:: /proc/{pid}/cgroup")).ok();
    assert!(group.ends_with(&format!("/brig/{id}")) && group.contains("brig-test-"), "{group}");
    world.brig(["pause", "box"]).ok();
    let before = world.brig(["logs", "box"]).ok();
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert_eq!(world.brig(["logs", "box"]).ok(), before);
    world.brig(["unpause", "box"]).ok();
    eventually("it goes on", || world.brig(["logs", "box"]).ok() != before);
    assert!(world.brig(["stats", "--no-stream", "box"]).ok().contains("box"));
    assert!(world.brig(["exec", "box", "cat", "/proc/self/cgroup"]).ok().contains(&id));
    world.brig(["rm", "-f", "box"]).ok();
}
