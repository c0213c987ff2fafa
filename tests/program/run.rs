//! `run`: what the process gets, and what its end means.

use testkit::World;

#[test]
fn root_output_and_status_are_the_process_own() {
    let Some(world) = World::root() else { return };
    assert_eq!(world.brig(["run", "--rm", "tiny", "echo", "hello"]).ok(), "hello");
    let done = world.brig(["run", "--rm", "tiny", "sh", "-c", "echo out; echo err >&2; exit 42"]);
    assert_eq!(done.exits(42), "err");
    assert_eq!(done.stdout, "out\n");
}

#[test]
fn root_a_signal_is_128_and_its_number() {
    let Some(world) = World::root() else { return };
    world.brig(["run", "--rm", "tiny", "sh", "-c", "kill -9 $$"]).exits(0);
    world.brig(["run", "--rm", "--init", "tiny", "sh", "-c", "kill -9 $$"]).exits(137);
    world.brig(["run", "--rm", "--init", "tiny", "sh", "-c", "kill -15 $$"]).exits(143);
}

#[test]
fn root_what_cannot_start_says_why_in_its_status() {
    let Some(world) = World::root() else { return };
    world.brig(["run", "--rm", "--no-such-flag", "tiny"]).refuses(125, &["no-such-flag"]);
    world.brig(["run", "--rm", "tiny", "/etc/passwd"]).refuses(126, &["/etc/passwd"]);
    world.brig(["run", "--rm", "tiny", "/etc"]).exits(126);
    world.brig(["run", "--rm", "tiny", "no-such-program"]).refuses(127, &["no-such-program"]);
    world.brig(["run", "--rm", "tiny", "/no/such/program"]).refuses(127, &["/no/such/program"]);
    assert_eq!(world.brig(["ps", "-aq"]).ok(), "");
}

#[test]
fn root_standard_input_reaches_the_process() {
    let Some(world) = World::root() else { return };
    assert_eq!(world.brig_with_input(["run", "-i", "--rm", "tiny", "cat"], b"a\nb\n").ok(), "a\nb");
    // Without -i there is nothing to read.
    assert_eq!(world.brig_with_input(["run", "--rm", "tiny", "cat"], b"a\n").ok(), "");
    let much = vec![b'x'; 3_000_000];
    let counted = world.brig_with_input(["run", "-i", "--rm", "tiny", "wc", "-c"], &much).ok();
    assert_eq!(counted, "3000000");
}

#[test]
fn root_environment_folder_user_and_name() {
    let Some(world) = World::root() else { return };
    std::fs::write(world.path("env"), "# comment\nC=3\nHOME_OF=x y\n").expect("write");
    let env = world.path("env").to_string_lossy().into_owned();
    let script = "echo $A-$B-$C-$HOME_OF; pwd; id -u; id -g; hostname";
    let done = world.brig([
        "run",
        "--rm",
        "-e",
        "A=1",
        "--env",
        "B=2",
        "--env-file",
        &env,
        "-w",
        "/tmp/new",
        "-u",
        "1000:2000",
        "--hostname",
        "box",
        "tiny",
        "sh",
        "-c",
        script,
    ]);
    assert_eq!(done.ok(), "1-2-3-x y\n/tmp/new\n1000\n2000\nbox");
    assert_eq!(
        world.brig(["run", "--rm", "-u", "user", "tiny", "id"]).ok(),
        "uid=1000(user) gid=1000(user) groups=1000(user),2000(extra)"
    );
    assert_eq!(world.brig(["run", "--rm", "-u", "user", "tiny", "sh", "-c", "echo $HOME"]).ok(), "/home");
    let groups =
        world.brig(["run", "--rm", "--group-add", "extra", "--group-add", "77", "tiny", "id", "-G"]).ok();
    assert!(groups.split(' ').filter(|group| ["77", "2000"].contains(group)).count() == 2, "{groups}");
    world.brig(["run", "--rm", "-u", "nobody-here", "tiny", "true"]).refuses(125, &["nobody-here"]);
}

#[test]
fn root_entrypoint_and_command() {
    let Some(world) = World::root() else { return };
    assert_eq!(world.brig(["run", "--rm", "--entrypoint", "echo", "tiny", "a", "b"]).ok(), "a b");
    let tar = world.path("tiny.tar").to_string_lossy().into_owned();
    world
        .brig([
            "import",
            "-c",
            "ENTRYPOINT [\"echo\", \"entry\"]",
            "-c",
            "CMD [\"word\"]",
            "-c",
            "ENV X=from-image",
            "-c",
            "WORKDIR /tmp",
            &tar,
            "entry",
        ])
        .ok();
    assert_eq!(world.brig(["run", "--rm", "entry"]).ok(), "entry word");
    assert_eq!(world.brig(["run", "--rm", "entry", "other"]).ok(), "entry other");
    assert_eq!(
        world.brig(["run", "--rm", "--entrypoint", "sh", "entry", "-c", "echo $X; pwd"]).ok(),
        "from-image\n/tmp"
    );
}

#[test]
fn root_detached_prints_the_identity_and_writes_it() {
    let Some(world) = World::root() else { return };
    let file = world.path("id").to_string_lossy().into_owned();
    let id = world.brig(["run", "-d", "--cidfile", &file, "--name", "one", "tiny", "sleep", "100"]).ok();
    assert_eq!(id.len(), 64, "{id}");
    assert_eq!(std::fs::read_to_string(&file).expect("read the file"), id);
    assert_eq!(world.inspect("one", "{{.Id}}"), id);
    assert_eq!(world.inspect(&id[..12], "{{.Name}}"), "/one");
    world.brig(["run", "-d", "--cidfile", &file, "tiny", "true"]).refuses(125, &[&file]);
    world.brig(["rm", "-f", "one"]).ok();
}

#[test]
fn root_names_are_taken_once() {
    let Some(world) = World::root() else { return };
    world.brig(["create", "--name", "taken", "tiny"]).ok();
    world.brig(["create", "--name", "taken", "tiny"]).refuses(1, &["taken", "already in use"]);
    world.brig(["run", "--name", "taken", "tiny"]).refuses(125, &["taken", "already in use"]);
    world.brig(["run", "--name", "-bad", "tiny"]).exits(125);
    world.brig(["run", "--name", "a/b", "tiny"]).refuses(125, &["a/b", "[a-zA-Z0-9]"]);
    world.brig(["rename", "taken", "free"]).ok();
    world.brig(["create", "--name", "taken", "tiny"]).ok();
    world.brig(["rename", "free", "taken"]).refuses(1, &["taken", "already in use"]);
    world.brig(["rm", "taken", "free"]).ok();
}

#[test]
fn root_read_only_and_tmpfs() {
    let Some(world) = World::root() else { return };
    let script = "touch /x 2>&1 | grep -o 'Read-only file system'; touch /tmp/y && echo fine";
    assert_eq!(
        world.brig(["run", "--rm", "--read-only", "--tmpfs", "/tmp", "tiny", "sh", "-c", script]).ok(),
        "Read-only file system\nfine"
    );
    let mounted = world
        .brig([
            "run",
            "--rm",
            "--tmpfs",
            "/t:size=1m,mode=0700",
            "tiny",
            "sh",
            "-c",
            "grep ' /t ' /proc/mounts; stat -c %a /t",
        ])
        .ok();
    assert!(mounted.contains("size=1024k") && mounted.ends_with("700"), "{mounted}");
}

#[test]
fn root_restart_policy_starts_again() {
    let Some(world) = World::root() else { return };
    world
        .brig([
            "run",
            "-d",
            "--name",
            "twice",
            "--restart",
            "on-failure:2",
            "tiny",
            "sh",
            "-c",
            "echo once; exit 3",
        ])
        .ok();
    testkit::eventually("two restarts", || {
        world.inspect("twice", "{{.RestartCount}} {{.State.Status}}") == "2 exited"
    });
    assert_eq!(world.brig(["logs", "twice"]).ok(), "once\nonce\nonce");
    assert_eq!(world.inspect("twice", "{{.State.ExitCode}}"), "3");
    world.brig(["run", "--rm", "--restart", "always", "tiny"]).refuses(125, &["restart", "rm"]);
    world.brig(["rm", "twice"]).ok();
}

#[test]
fn root_pull_policy() {
    let Some(world) = World::root() else { return };
    world.brig(["run", "--rm", "--pull", "never", "nowhere:1", "true"]).refuses(125, &["nowhere:1"]);
    world.brig(["run", "--rm", "--pull", "sometimes", "tiny", "true"]).refuses(125, &["sometimes"]);
    world.brig(["run", "--rm", "--pull", "missing", "tiny", "true"]).ok();
}

#[test]
fn root_a_reader_that_goes_away_ends_the_command_quietly() {
    let Some(world) = World::root() else { return };
    let brig = world.program().display().to_string();
    for args in
        ["run --rm tiny seq 1 100000", "run --name box tiny seq 1 100000", "logs box", "ps -a", "inspect box"]
    {
        let done = world.sh(&format!("{brig} {args} 2>said | head -c 1 >/dev/null; cat said"));
        assert_eq!(done.stdout, "", "{args}");
    }
    // The first one is removed by its monitor once it ends.
    testkit::eventually("the container is removed", || world.brig(["ps", "-aq"]).stdout.lines().count() == 1);
}

#[test]
fn root_inspect_shows_the_defaults_that_hold() {
    let Some(world) = World::root() else { return };
    world.brig(["run", "-d", "--name", "box", "tiny", "sleep", "100"]).ok();
    let form = "{{.Config.Hostname}} {{.HostConfig.NetworkMode}} {{.HostConfig.IpcMode}} {{.HostConfig.ShmSize}} {{.HostConfig.LogConfig.Type}}";
    let hostname = world.brig(["exec", "box", "hostname"]).ok();
    assert_eq!(world.inspect("box", form), format!("{hostname} bridge private 67108864 json-file"));
}
