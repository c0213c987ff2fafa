//! Two commands at the same moment on one name, one port, one image, one container: one wins, the other says why.

use std::process::Output;

use testkit::World;

/// Runs all of `lines` at once and returns how they ended.
fn at_once(world: &World, lines: &[&[&str]]) -> Vec<Output> {
    let children: Vec<_> = lines.iter().map(|args| world.spawn(args.iter().copied())).collect();
    children.into_iter().map(|child| child.wait_with_output().expect("wait for brig")).collect()
}

fn winners(outputs: &[Output]) -> usize {
    outputs.iter().filter(|output| output.status.success()).count()
}

#[test]
fn root_one_name() {
    let Some(world) = World::root() else { return };
    let outputs = at_once(&world, &[&["run", "-d", "--name", "box", "tiny", "sleep", "100"][..]; 6]);
    assert_eq!(winners(&outputs), 1, "{outputs:?}");
    for loser in outputs.iter().filter(|output| !output.status.success()) {
        assert_eq!(loser.status.code(), Some(125));
        assert!(String::from_utf8_lossy(&loser.stderr).contains("already in use"), "{loser:?}");
    }
    assert_eq!(world.brig(["ps", "-aq"]).ok().lines().count(), 1);
}

#[test]
fn root_one_port() {
    let Some(world) = World::root() else { return };
    let outputs = at_once(&world, &[&["run", "-d", "-p", "8080:80", "tiny", "sleep", "100"][..]; 6]);
    assert_eq!(winners(&outputs), 1, "{outputs:?}");
    assert_eq!(world.brig(["ps", "-q"]).ok().lines().count(), 1);
}

#[test]
fn root_remove_stop_and_start_of_one_container() {
    let Some(world) = World::root() else { return };
    for _ in 0..3 {
        world.brig(["run", "-d", "--name", "box", "tiny", "sleep", "100"]).ok();
        let outputs = at_once(
            &world,
            &[
                &["rm", "-f", "box"],
                &["stop", "-t", "0", "box"],
                &["restart", "-t", "0", "box"],
                &["rm", "-f", "box"],
                &["kill", "box"],
            ],
        );
        assert!(winners(&outputs) >= 1, "{outputs:?}");
        world.brig(["rm", "-f", "box"]).exits(0);
        assert_eq!(world.brig(["ps", "-aq"]).ok(), "");
    }
}

#[test]
fn root_one_image_removed_while_it_is_used() {
    let Some(world) = World::root() else { return };
    let outputs = at_once(
        &world,
        &[
            &["rmi", "-f", "tiny"],
            &["run", "--rm", "tiny", "true"],
            &["run", "--rm", "tiny", "true"],
            &["rmi", "tiny"],
        ],
    );
    for output in outputs.iter().skip(1).take(2).filter(|output| !output.status.success()) {
        assert_eq!(output.status.code(), Some(125), "{output:?}");
    }
    assert_eq!(world.brig(["ps", "-aq"]).ok(), "");
}

#[test]
fn root_fifty_runs_at_once() {
    let Some(world) = World::root() else { return };
    let outputs = at_once(&world, &[&["run", "--rm", "tiny", "echo", "done"][..]; 50]);
    for output in &outputs {
        assert!(output.status.success() && output.stdout == b"done\n", "{output:?}");
    }
    assert_eq!(world.brig(["ps", "-aq"]).ok(), "");
}

#[test]
fn root_twenty_loads_of_one_image_while_it_is_removed() {
    let Some(world) = World::root() else { return };
    let archive = world.path("saved.tar").to_string_lossy().into_owned();
    world.brig(["save", "-o", &archive, "tiny"]).ok();
    world.brig(["rmi", "tiny"]).ok();
    let outputs = at_once(&world, &[&["load", "-i", &archive][..]; 20]);
    assert_eq!(winners(&outputs), 20, "{outputs:?}");
    let load = ["load", "-i", &archive];
    let outputs = at_once(
        &world,
        &[
            &load[..],
            &["image", "prune", "-af"],
            &load,
            &["rmi", "-f", "tiny"],
            &load,
            &["system", "prune", "-af"],
        ],
    );
    assert!(outputs.iter().step_by(2).all(|output| output.status.success()), "{outputs:?}");
    world.brig(load).ok();
    assert_eq!(world.brig(["run", "--rm", "tiny", "echo", "whole"]).ok(), "whole");
}
