//! `events`: what happened, in the order in which it happened, whichever process did it.

use std::io::{BufRead as _, BufReader};

use testkit::World;

/// Actions of all events so far, `type action` each.
fn actions(world: &World, filters: &[&str]) -> Vec<String> {
    let mut args = vec!["events", "--since", "1h", "--until", "0s", "--format", "{{.Type}} {{.Action}}"];
    filters.iter().for_each(|filter| args.extend(["--filter", filter]));
    world.brig(args).ok().lines().map(str::to_owned).collect()
}

#[test]
fn root_the_life_of_a_container_is_recorded_in_order() {
    let Some(world) = World::root() else { return };
    world.brig(["run", "-d", "--name", "box", "-v", "vol:/v", "tiny", "sleep", "1000"]).ok();
    world.brig(["exec", "box", "sh", "-c", "exit 3"]).exits(3);
    world.brig(["pause", "box"]).ok();
    world.brig(["unpause", "box"]).ok();
    world.brig(["rename", "box", "case"]).ok();
    world.brig(["stop", "-t", "0", "case"]).ok();
    world.brig(["start", "case"]).ok();
    world.brig(["rm", "-f", "case"]).ok();
    world.brig(["volume", "rm", "vol"]).ok();
    let wanted = "volume create, container create, volume mount, network connect, container start, \
        container exec_create: sh -c exit 3, container exec_start: sh -c exit 3, container exec_die, \
        container pause, container unpause, container rename, \
        container kill, container kill, container die, network disconnect, volume unmount, container stop, \
        volume mount, network connect, container start, \
        container kill, container die, network disconnect, volume unmount, container destroy, volume destroy";
    let done = actions(&world, &["type=container", "type=volume", "type=network"]);
    // With a patience of 0 the container may end of the first signal or of the second.
    let done: Vec<&str> = done.iter().map(String::as_str).collect();
    let wanted: Vec<&str> = wanted.split(", ").collect();
    let without_kills = |list: &[&str]| -> Vec<String> {
        list.iter().filter(|action| **action != "container kill").map(|action| (*action).to_owned()).collect()
    };
    assert_eq!(without_kills(&done), without_kills(&wanted));
    assert_eq!(actions(&world, &["event=exec_start"]), ["container exec_start: sh -c exit 3"]);
    assert_eq!(actions(&world, &["volume=vol"]).len(), 6);
    let died = world.brig([
        "events",
        "--since",
        "1h",
        "--until",
        "0s",
        "--filter",
        "event=exec_die",
        "--format",
        "json",
    ]);
    let died: serde_json::Value = serde_json::from_str(&died.ok()).unwrap();
    assert_eq!(died["Actor"]["Attributes"]["exitCode"], "3");
    assert_eq!(died["Actor"]["Attributes"]["name"], "box");
    assert_eq!(died["from"], "tiny");
    let renamed = ["events", "--since", "1h", "--until", "0s", "--filter", "event=rename"];
    let line = world.brig(renamed).ok();
    assert!(line.trim_end().ends_with("(image=tiny, name=case, oldName=/box)"), "{line}");
}

#[test]
fn root_images_are_recorded() {
    let Some(world) = World::root() else { return };
    world.brig(["tag", "tiny", "other:1"]).ok();
    let archive = world.path("saved.tar").display().to_string();
    world.brig(["save", "-o", &archive, "other:1"]).ok();
    world.brig(["rmi", "other:1"]).ok();
    world.brig(["load", "-i", &archive]).ok();
    world.brig(["rmi", "other:1", "tiny"]).ok();
    let wanted = ["import", "tag", "tag", "save", "untag", "load", "untag", "untag", "delete"];
    let wanted: Vec<String> = wanted.iter().map(|action| format!("image {action}")).collect();
    assert_eq!(actions(&world, &["type=image"]), wanted);
    assert_eq!(actions(&world, &["image=other"]).len(), 5);
}

#[test]
fn root_an_end_that_nobody_saw_is_recorded() {
    let Some(world) = World::root() else { return };
    world.brig(["run", "-d", "--name", "box", "--label", "tier=front", "tiny", "sleep", "1000"]).ok();
    let pid = world.inspect("box", "{{.State.Pid}}");
    world.kill_brig_processes();
    world.sh_as_root(&format!("kill -9 {}", pid.trim())).ok();
    world.wait_for_state("box", "exited");
    world.brig(["ps", "-a"]).ok();
    let wanted = ["container create", "container start", "container die"];
    assert_eq!(actions(&world, &["label=tier=front", "type=container"]), wanted);
}

/// A follower in one process sees what others do, and ends when its reader goes.
fn follow(world: &World) {
    let mut follower = world.spawn(["events", "--format", "{{.Action}} {{.Actor.Attributes.name}}"]);
    let mut lines = BufReader::new(follower.stdout.take().expect("its output is a pipe")).lines();
    // A first event tells when it listens: it is made until it is seen.
    let (sender, seen) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        let first = lines.next().expect("an event comes").expect("it is text");
        sender.send(first).expect("somebody waits for it");
        let mut list: Vec<String> = Vec::new();
        while !list.iter().any(|line| line == "destroy box") {
            list.push(lines.next().expect("an event comes").expect("it is text"));
        }
        list
    });
    let first = loop {
        world.brig(["tag", "tiny", "other"]).ok();
        match seen.recv_timeout(std::time::Duration::from_millis(100)) {
            Ok(first) => break first,
            Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {}
            Err(error) => panic!("{error}"),
        }
    };
    assert_eq!(first, "tag other:latest");
    world.brig(["run", "--rm", "--network", "none", "--name", "box", "tiny", "true"]).ok();
    let mut list = reader.join().expect("the reader ends");
    list.retain(|line| line.ends_with(" box"));
    assert_eq!(list, ["create box", "attach box", "start box", "die box", "destroy box"]);
    // No container is left, so it is the only one.
    world.kill_brig_processes();
    follower.wait().expect("it can be waited for");
}

#[test]
fn root_a_follower_sees_other_processes() {
    let Some(world) = World::root() else { return };
    follow(&world);
}

#[test]
fn userns_a_follower_sees_other_processes() {
    let Some(world) = World::plain_user() else { return };
    follow(&world);
}

#[test]
fn root_wrong_spans_and_filters_are_refused() {
    let Some(world) = World::root() else { return };
    let done = world.brig(["events", "--filter", "colour=red"]);
    assert_eq!((done.code, done.stderr.contains("invalid filter 'colour'")), (1, true), "{}", done.stderr);
    world.brig(["events", "--since", "yesterday"]).exits(1);
    world.brig(["events", "--until", "1h", "--since", "2h", "--format", "{{.Nothing}}", "x"]).exits(1);
}
