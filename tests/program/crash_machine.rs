//! A machine that fails below the program: a reboot, a full disk, no room for files, a read-only disk, a monitor that is
//! stopped. Each time the error says so, what is there is still told, and afterwards all goes on.

use testkit::World;

use crate::PATIENT;

/// Puts a file system of its own under the data root, and the tiny image on it; taken away by [`take_disk`].
fn give_disk(world: &World, options: &str) {
    let root = world.data_root();
    world.sh(&format!("mount -t tmpfs -o mode=711,{options} disk {}", root.display())).ok();
    world.brig(["import", &world.path("tiny.tar").to_string_lossy(), "tiny"]).ok();
}

fn take_disk(world: &World) {
    for id in world.brig(["ps", "-aq"]).ok().lines() {
        world.brig(["rm", "-f", "-v", id]).ok();
    }
    world.sh(&format!("umount {}", world.data_root().display())).ok();
}

/// What the store holds, as names below the data root.
fn stored(world: &World) -> Vec<String> {
    let root = world.data_root();
    let script = format!(
        "cd {} && find layers content snapshots containers volumes -mindepth 1 -maxdepth 3 -not -path '*/diff/*' | sort",
        root.display()
    );
    world.sh(&script).ok().lines().map(str::to_owned).collect()
}

#[test]
fn root_a_full_disk_is_told_and_nothing_is_half_stored() {
    let Some(world) = World::root_because("root mounts the disk") else { return };
    give_disk(&world, "size=64m");
    world.brig(["run", "-d", "--name", "box", "tiny", "sh", "-c", PATIENT]).ok();
    world.brig(["save", "-o", &world.path("tiny.save").to_string_lossy(), "tiny"]).ok();
    world.sh("mkdir layer && dd if=/dev/urandom of=layer/big bs=1M count=8 2>/dev/null && tar -C layer -cf big.tar .").ok();
    let before = stored(&world);
    let disk = world.data_root();
    // Room for the database's journal, not for eight megabytes.
    let fill = format!(
        "cd {} && dd if=/dev/zero of=filler bs=64k 2>/dev/null; truncate -s -2M filler",
        disk.display()
    );
    world.sh(&fill);
    let big = world.path("big.tar").to_string_lossy().into_owned();
    world.brig(["import", &big, "big"]).refuses(1, &["no space left"]);
    assert_eq!(stored(&world), before, "after an import");
    assert_eq!(world.brig(["images", "-q", "big"]).ok(), "");
    // Not even room for a row.
    world.sh(&format!("cd {} && dd if=/dev/zero of=filler2 bs=4k 2>/dev/null; true", disk.display())).ok();
    let run = world.brig(["run", "--rm", "-v", "/a", "tiny", "true"]);
    assert!(run.code == 125 && run.stderr.to_lowercase().contains("full"), "{} {}", run.code, run.stderr);
    assert_eq!(stored(&world), before, "after a run");
    assert_eq!(world.brig(["ps", "-q"]).ok().lines().count(), 1);
    assert_eq!(world.inspect("box", "{{.State.Status}}"), "running");
    world.brig(["images"]).ok();
    world.brig(["logs", "box"]).ok();
    // A stop that cannot record the end may fail; it must not lie afterwards.
    world.brig(["stop", "box"]);
    assert_eq!(world.inspect("box", "{{.State.Running}}"), "false");
    world.sh(&format!("rm {0}/filler {0}/filler2", disk.display())).ok();
    assert_eq!(world.inspect("box", "{{.State.Status}}"), "exited");
    world.brig(["start", "box"]).ok();
    world.brig(["import", &big, "big"]).ok();
    world.brig(["rmi", "big"]).ok();
    assert_eq!(stored(&world), before, "when there is room again");
    take_disk(&world);
}

#[test]
fn root_a_disk_without_inodes_is_told_and_nothing_is_half_stored() {
    let Some(world) = World::root_because("root mounts the disk") else { return };
    give_disk(&world, "size=64m,nr_inodes=1k");
    world
        .sh("mkdir layer && cd layer && for i in $(seq 2000); do : > f$i; done && tar -cf ../many.tar .")
        .ok();
    let before = stored(&world);
    let many = world.path("many.tar").to_string_lossy().into_owned();
    world.brig(["import", &many, "many"]).refuses(1, &["no space left"]);
    assert_eq!(stored(&world), before);
    world.brig(["run", "--rm", "tiny", "true"]).ok();
    take_disk(&world);
}

#[test]
fn root_a_read_only_disk_still_answers_questions() {
    let Some(world) = World::root_because("root mounts the disk") else { return };
    give_disk(&world, "size=64m");
    world.brig(["run", "-d", "--name", "box", "tiny", "sh", "-c", "echo said; exec sleep 1000"]).ok();
    testkit::eventually("it has said so", || world.brig(["logs", "box"]).stdout.contains("said"));
    let disk = world.data_root();
    let remount = |how: &str| {
        testkit::eventually("the disk is remounted", || {
            world.sh(&format!("mount -o remount,{how} {}", disk.display())).code == 0
        });
    };
    // The log of a running container is open for writing, so the whole file system cannot turn read-only; the place can.
    world.sh(&format!("mount --bind {0} {0} && mount -o remount,bind,ro {0}", disk.display())).ok();
    assert_eq!(world.brig(["ps", "--format", "{{.Names}} {{.State}}"]).ok(), "box running");
    assert_eq!(world.inspect("box", "{{.State.Status}}"), "running");
    assert!(world.brig(["images"]).ok().contains("tiny"));
    assert_eq!(world.brig(["logs", "box"]).ok(), "said");
    world.brig(["volume", "ls"]).ok();
    let run = world.brig(["run", "--rm", "tiny", "true"]);
    assert!(run.code == 125 && run.stderr.contains("read"), "{} {}", run.code, run.stderr);
    world.sh(&format!("umount {}", disk.display())).ok();
    remount("rw");
    world.brig(["run", "--rm", "tiny", "true"]).ok();
    take_disk(&world);
}

/// Stopped as a debugger or a cgroup freezer stops it: it is there, it listens, it says nothing.
#[test]
fn root_a_stopped_monitor_holds_up_no_question_and_no_removal() {
    let Some(world) = World::root() else { return };
    world.brig(["run", "-d", "--name", "box", "tiny", "sh", "-c", "echo said; exec sleep 1000"]).ok();
    testkit::eventually("it has said so", || world.brig(["logs", "box"]).stdout.contains("said"));
    let monitors = world.brig_processes();
    for monitor in &monitors {
        world.sh_as_root(&format!(
            "kill -STOP $(ps -eo pid,args | awk '/brig monitor/ && !/awk/ {{print $1}}') # {monitor}"
        ));
    }
    assert_eq!(world.brig(["ps", "--format", "{{.Names}} {{.State}}"]).ok(), "box running");
    assert_eq!(world.inspect("box", "{{.State.Status}}"), "running");
    assert_eq!(world.brig(["logs", "box"]).ok(), "said");
    world.brig(["top", "box"]).ok();
    world.brig(["stop", "-t", "0", "box"]).refuses(1, &["has not answered", "kill -CONT"]);
    assert_eq!(world.inspect("box", "{{.State.Status}}"), "running");
    world.brig(["rm", "-f", "box"]).ok();
    assert_eq!(world.brig(["ps", "-aq"]).ok(), "");
}

/// No process, no run folder, no link and no rule, an unchanged data root: containers, volumes and names are there, nothing runs,
/// and what ran can be started again with its address and port.
#[test]
fn root_after_a_reboot_everything_starts_again() {
    let Some(world) = World::root() else { return };
    world
        .brig(["run", "-d", "--name", "box", "-p", "8080:80", "-v", "data:/d", "tiny", "sh", "-c", PATIENT])
        .ok();
    world.brig(["run", "-d", "--name", "paused", "tiny", "sh", "-c", PATIENT]).ok();
    world.brig(["pause", "paused"]).ok();
    let pids = ["box", "paused"].map(|name| world.inspect(name, "{{.State.Pid}}"));
    world.brig(["unpause", "paused"]).ok();
    world.kill_brig_processes();
    testkit::eventually("all brig processes are gone", || world.brig_processes().is_empty());
    world.sh(&format!("kill -9 {} {}", pids[0], pids[1])).ok();
    world.sh(&format!(
        "rm -rf {}/*; for l in $(ls /sys/class/net); do ip link del $l 2>/dev/null; done; nft flush ruleset",
        world.run_root().display()
    ));
    assert_eq!(world.brig(["ps", "-q"]).ok(), "");
    for name in ["box", "paused"] {
        assert_eq!(world.inspect(name, "{{.State.Status}}"), "exited");
        world.brig(["start", name]).ok();
        assert_eq!(world.brig(["exec", name, "echo", "here"]).ok(), "here");
    }
    world.brig(["rm", "-f", "box", "paused"]).ok();
    world.brig(["volume", "rm", "data"]).ok();
}

/// The clock was set back while the container wrote: each line has its own time, and none is lost to those before it.
#[test]
fn root_a_clock_that_went_back_hides_no_line_of_a_log() {
    let Some(world) = World::root() else { return };
    world.brig(["run", "--name", "box", "tiny", "true"]).ok();
    let path = world.inspect("box", "{{.LogPath}}");
    let line = |text: &str, time: &str| {
        format!(
            "{{\"log\":\"{text}\\\\n\",\"stream\":\"stdout\",\"time\":\"2026-01-01T{time}.000000000Z\"}}\\n"
        )
    };
    let text = line("one", "10:00:00") + &line("two", "09:00:00") + &line("three", "10:00:01");
    world.sh(&format!("printf '{text}' > {path}")).ok();
    assert_eq!(world.brig(["logs", "box"]).ok(), "one\ntwo\nthree");
    assert_eq!(world.brig(["logs", "--since", "2026-01-01T09:30:00Z", "box"]).ok(), "one\nthree");
    assert_eq!(world.brig(["logs", "--until", "2026-01-01T09:30:00Z", "box"]).ok(), "two");
    assert_eq!(world.brig(["logs", "--tail", "2", "box"]).ok(), "two\nthree");
}
