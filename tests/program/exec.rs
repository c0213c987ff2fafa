//! `exec`: another process in a running container.

use testkit::World;

#[test]
fn root_exec_output_status_and_input() {
    let Some(world) = World::root() else { return };
    world.brig(["run", "-d", "--name", "box", "-e", "A=1", "tiny", "sleep", "100"]).ok();
    assert_eq!(world.brig(["exec", "box", "sh", "-c", "echo $A"]).ok(), "1");
    world.brig(["exec", "box", "sh", "-c", "exit 9"]).exits(9);
    assert_eq!(world.brig_with_input(["exec", "-i", "box", "cat"], b"typed").ok(), "typed");
    world.brig(["exec", "box", "no-such-program"]).refuses(127, &["no-such-program"]);
    world.brig(["exec", "box", "/etc/passwd"]).exits(126);
}

#[test]
fn root_exec_options() {
    let Some(world) = World::root() else { return };
    world.brig(["run", "-d", "--name", "box", "tiny", "sleep", "100"]).ok();
    let script = "echo $X $(pwd) $(id -u)";
    assert_eq!(
        world.brig(["exec", "-e", "X=x", "-w", "/tmp", "-u", "1000", "box", "sh", "-c", script]).ok(),
        "x /tmp 1000"
    );
    assert_eq!(world.brig(["exec", "-d", "box", "sh", "-c", "sleep 0.2; touch /made"]).ok(), "");
    testkit::eventually("the file", || world.brig(["exec", "box", "test", "-e", "/made"]).code == 0);
    assert!(
        world
            .brig(["exec", "--privileged", "box", "grep", "CapEff", "/proc/self/status"])
            .ok()
            .contains("ff")
    );
}

#[test]
fn root_exec_needs_a_running_container() {
    let Some(world) = World::root() else { return };
    world.brig(["create", "--name", "box", "tiny"]).ok();
    world.brig(["exec", "box", "true"]).refuses(1, &["not running"]);
    world.brig(["exec", "nobody", "true"]).refuses(1, &["nobody"]);
}

#[test]
fn root_exec_as_nobody_known() {
    let Some(world) = World::root() else { return };
    world.brig(["run", "-d", "--name", "box", "tiny", "sleep", "100"]).ok();
    world
        .brig(["exec", "-u", "nobody-known", "box", "true"])
        .refuses(126, &["unable to find user nobody-known"]);
    world.brig(["exec", "-u", "0:no-group", "box", "true"]).refuses(126, &["unable to find group no-group"]);
    world.brig(["run", "--rm", "-u", "nobody-known", "tiny", "true"]).refuses(125, &["unable to find user"]);
}

#[test]
fn root_exec_shares_the_walls_of_the_container() {
    let Some(world) = World::root() else { return };
    world
        .brig(["run", "-d", "--name", "box", "--cap-drop", "all", "--memory", "64m", "tiny", "sleep", "100"])
        .ok();
    let of = |pid: &str| {
        world.brig(["exec", "box", "sh", "-c", &format!("grep -E 'Cap|NoNew|Seccomp:' /proc/{pid}/status; readlink /proc/{pid}/ns/pid /proc/{pid}/ns/net; cat /proc/{pid}/cgroup")]).ok()
    };
    assert_eq!(of("1"), of("self"));
}

#[test]
fn root_the_end_of_the_container_ends_its_execs() {
    let Some(world) = World::root() else { return };
    world.brig(["run", "-d", "--name", "box", "tiny", "sleep", "100"]).ok();
    let child = world.spawn(["exec", "box", "sleep", "100"]);
    testkit::eventually("the exec", || world.brig(["top", "box"]).stdout.matches("sleep").count() == 2);
    world.brig(["rm", "-f", "box"]).ok();
    let done = child.wait_with_output().expect("wait for exec");
    assert_eq!(done.status.code(), Some(137));
}

#[test]
fn root_an_exec_that_cannot_start_exits_with_126() {
    let Some(world) = World::root() else { return };
    world.brig(["run", "-d", "--name", "box", "tiny", "sleep", "100"]).ok();
    world.brig(["exec", "-w", "/no/such", "box", "pwd"]).refuses(126, &["/no/such"]);
    world.brig(["exec", "box", "no-such-program"]).refuses(127, &["no-such-program"]);
    world.brig(["exec", "nobody", "true"]).refuses(1, &["nobody"]);
}
