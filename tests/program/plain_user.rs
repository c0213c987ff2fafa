//! The same by a plain user: no root, no daemon, a range of subordinate users.

use testkit::World;

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
