//! Terminals: `-t`, window size, detach keys. The program `script` is the person at the keyboard.

use testkit::World;

#[test]
fn root_a_terminal_is_a_terminal() {
    let Some(world) = World::root() else { return };
    let done = world.on_terminal("run -it --rm tiny sh -c \"tty; test -t 0 && echo yes\"", "");
    assert!(done.stdout.contains("/dev/pts/0") && done.stdout.contains("yes"), "{done:?}");
    assert!(world.brig(["run", "--rm", "tiny", "tty"]).stdout.contains("not a tty"));
    assert!(world.brig(["run", "--rm", "-t", "tiny", "tty"]).stdout.contains("/dev/pts/0"));
    world.brig(["run", "--rm", "-it", "tiny", "true"]).refuses(1, &["TTY"]);
}

#[test]
fn root_what_is_typed_arrives() {
    let Some(world) = World::root() else { return };
    let done = world.on_terminal("run -it --rm tiny sh", "echo $((40 + 2))\nexit 7\n");
    assert!(done.stdout.contains("42"), "{done:?}");
    assert_eq!(done.code, 7, "{done:?}");
}

#[test]
fn root_the_window_has_the_size_of_ours() {
    let Some(world) = World::root() else { return };
    let brig = world.program().display();
    let line = format!("script -qec 'stty rows 33 cols 77; {brig} run -it --rm tiny stty size' /dev/null");
    assert!(world.sh(&line).ok().contains("33 77"));
}

#[test]
fn root_the_detach_keys_leave_it_running() {
    let Some(world) = World::root() else { return };
    let done = world.on_terminal("run -it --name box tiny sh", "\u{10}\u{11}");
    assert_eq!(done.code, 0, "{done:?}");
    assert_eq!(world.inspect("box", "{{.State.Status}}"), "running");
    let done = world.on_terminal("attach --detach-keys ctrl-a,d box", "\u{1}d");
    assert_eq!(done.code, 0, "{done:?}");
    assert_eq!(world.inspect("box", "{{.State.Status}}"), "running");
    world.brig(["rm", "-f", "box"]).ok();
}

#[test]
fn root_exec_on_a_terminal() {
    let Some(world) = World::root() else { return };
    world.brig(["run", "-d", "--name", "box", "tiny", "sleep", "100"]).ok();
    let done = world.on_terminal("exec -it box sh", "tty\nexit 3\n");
    assert!(done.stdout.contains("/dev/pts/"), "{done:?}");
    assert_eq!(done.code, 3, "{done:?}");
    world.brig(["rm", "-f", "box"]).ok();
}
