//! The command line itself: help, unknown words, options that are not there.

use testkit::World;

const COMMANDS: &[&str] = &[
    "attach",
    "create",
    "exec",
    "history",
    "images",
    "import",
    "info",
    "inspect",
    "kill",
    "load",
    "login",
    "logout",
    "logs",
    "pause",
    "port",
    "ps",
    "pull",
    "rename",
    "restart",
    "rm",
    "rmi",
    "run",
    "save",
    "start",
    "stop",
    "tag",
    "top",
    "unpause",
    "version",
    "wait",
    "container ls",
    "container prune",
    "image ls",
    "image rm",
    "volume create",
    "volume ls",
    "volume rm",
    "volume inspect",
    "volume prune",
    "system df",
    "system prune",
    "runtime",
];

#[test]
fn root_every_command_has_help() {
    let Some(world) = World::root() else { return };
    let all = world.brig(["--help"]).ok();
    for command in COMMANDS {
        let words: Vec<&str> = command.split(' ').collect();
        // Not a command for people: other engines call it.
        assert!(all.contains(words[0]) || words[0] == "runtime", "{command} is not in --help");
        let help = world.brig(words.iter().copied().chain(["--help"])).ok();
        assert!(help.to_lowercase().contains("usage"), "{command}: {help}");
    }
}

#[test]
fn root_what_is_not_there_is_refused() {
    let Some(world) = World::root() else { return };
    let done = world.brig(["no-such-command"]);
    assert!(done.code != 0 && done.stderr.contains("no-such-command"), "{done:?}");
    world.brig(["ps", "--no-such-flag"]).refuses(125, &["--no-such-flag"]);
    let done = world.brig(["rm"]);
    assert!(done.code != 0 && !done.stderr.is_empty(), "{done:?}");
    // Docker has it, this version has not: an error, never silence.
    for flag in [
        ["--runtime", "runc"],
        ["--isolation", "hyperv"],
        ["--storage-opt", "size=1g"],
        ["--volume-driver", "x"],
    ] {
        let done = world.brig(["run", "--rm", flag[0], flag[1], "tiny", "true"]);
        done.refuses(125, &[flag[0].trim_start_matches('-')]);
    }
    assert_eq!(world.brig(["ps", "-aq"]).ok(), "");
}

#[test]
fn root_timings_on_demand() {
    let Some(world) = World::root() else { return };
    let mut command = world.brig_command(["run", "--rm", "tiny", "true"]);
    let output = command.env("BRIG_TIMINGS", "1").output().expect("start brig");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && said.contains("ms"), "{said}");
    assert_eq!(world.brig(["run", "--rm", "tiny", "true"]).exits(0), "");
}
