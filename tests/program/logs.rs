//! `logs`: what the container said, as it said it.

use testkit::World;

#[test]
fn root_streams_stay_apart() {
    let Some(world) = World::root() else { return };
    world.brig(["run", "--name", "box", "tiny", "sh", "-c", "echo out; echo err >&2; printf tail"]).exits(0);
    let done = world.brig(["logs", "box"]);
    done.exits(0);
    assert_eq!(done.stdout, "out\ntail");
    assert_eq!(done.stderr, "err\n");
}

#[test]
fn root_tail_since_until_and_timestamps() {
    let Some(world) = World::root() else { return };
    world.brig(["run", "--name", "box", "tiny", "sh", "-c", "for i in 1 2 3 4 5; do echo $i; done"]).ok();
    assert_eq!(world.brig(["logs", "--tail", "2", "box"]).ok(), "4\n5");
    assert_eq!(world.brig(["logs", "-n", "0", "box"]).ok(), "");
    assert_eq!(world.brig(["logs", "--tail", "all", "box"]).ok().lines().count(), 5);
    assert_eq!(world.brig(["logs", "--since", "10m", "box"]).ok().lines().count(), 5);
    assert_eq!(world.brig(["logs", "--until", "10m", "box"]).ok(), "");
    let stamped = world.brig(["logs", "-t", "--tail", "1", "box"]).ok();
    let (stamp, word) = stamped.split_once(' ').expect("a stamp and the line");
    assert!(stamp.len() == 30 && stamp.ends_with('Z') && word == "5", "{stamped}");
    world.brig(["logs", "--tail", "few", "box"]).exits(1);
    world.brig(["logs", "nobody"]).refuses(1, &["nobody"]);
}

#[test]
fn root_follow_ends_with_the_container() {
    let Some(world) = World::root() else { return };
    world.brig(["run", "-d", "--name", "box", "tiny", "sh", "-c", "echo first; sleep 0.7; echo last"]).ok();
    assert_eq!(world.brig(["logs", "-f", "box"]).ok(), "first\nlast");
}

#[test]
fn root_a_flood_is_kept_whole() {
    let Some(world) = World::root() else { return };
    let script = "i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done";
    world.brig(["run", "--name", "box", "tiny", "sh", "-c", script]).ok();
    let text = world.brig(["logs", "box"]).ok();
    assert_eq!(text.lines().count(), 20000);
    assert!(text.lines().enumerate().all(|(number, line)| line == format!("line {number}")));
}

#[test]
fn root_rotation_keeps_the_budget() {
    let Some(world) = World::root() else { return };
    world.brig(["run", "--name", "box", "--log-opt", "max-size=20k", "--log-opt", "max-file=2", "tiny", "sh", "-c",
        "i=0; while [ $i -lt 5000 ]; do echo line $i of a log with a text of some length; i=$((i+1)); done"]).ok();
    let text = world.brig(["logs", "box"]).ok();
    assert!(text.ends_with("line 4999 of a log with a text of some length"), "{}", &text[text.len() - 100..]);
    assert!(text.len() < 45_000, "{}", text.len());
    world.brig(["run", "--rm", "--log-opt", "max-size=huge", "tiny", "true"]).refuses(125, &["huge"]);
    world.brig(["run", "--rm", "--log-opt", "no-such=1", "tiny", "true"]).refuses(125, &["no-such"]);
}

#[test]
fn root_any_bytes_survive() {
    let Some(world) = World::root() else { return };
    world
        .brig(["run", "--name", "box", "tiny", "printf", "tab\\there \\\\ \"quoted\" \\033[1m\\nend\\n"])
        .ok();
    assert_eq!(world.brig(["logs", "box"]).stdout, "tab\there \\ \"quoted\" \u{1b}[1m\nend\n");
}

#[test]
fn root_a_container_that_never_ran_has_an_empty_log() {
    let Some(world) = World::root() else { return };
    world.brig(["create", "--name", "box", "tiny", "true"]).ok();
    assert_eq!(world.brig(["logs", "box"]).ok(), "");
    assert_eq!(world.brig(["logs", "--follow", "box"]).ok(), "");
}
