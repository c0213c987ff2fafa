//! The life of a container: statuses, errors, hooks, what is undone, and what the process gets.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;

use common::{Done, World, wait_for, world};
use serde_json::{Value, json};

fn status(world: &World, id: &str) -> String {
    let state: Value = serde_json::from_str(&world.brig(&["state", id]).good()).unwrap();
    state["status"].as_str().unwrap().to_owned()
}

fn create(world: &World, spec: &Value) -> (String, Done) {
    world.write(spec);
    let id = world.id();
    let mut command = world.command(&["create", &id]);
    let stderr = std::fs::File::create(world.path().join("create")).unwrap();
    let code = command.stdout(Stdio::null()).stderr(stderr).status().unwrap().code().unwrap_or(-1);
    let err = std::fs::read_to_string(world.path().join("create")).unwrap();
    (id, Done { code, out: String::new(), err })
}

/// Returns what a container has left on the machine.
fn remains(world: &World, id: &str) -> Vec<String> {
    let mut found = Vec::new();
    if world.path().join("state").join(id).exists() {
        found.push("state".to_owned());
    }
    for group in std::fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten() {
        if group.path().join(id).exists() {
            found.push(group.path().display().to_string());
        }
    }
    found
}

#[test]
fn root_statuses_follow_the_verbs() {
    let Some(world) = world() else { return };
    let (id, done) = create(&world, &world.spec("exec sleep 60"));
    done.good();
    assert_eq!(status(&world, &id), "created");
    world.brig(&["create", &id]).bad("exists already");
    world.brig(&["start", &id]).good();
    world.brig(&["delete", &id]).bad("it is running");
    world.brig(&["start", &id]).bad("it is running");
    assert_eq!(status(&world, &id), "running");
    world.brig(&["pause", &id]).good();
    assert_eq!(status(&world, &id), "paused");
    world.brig(&["exec", &id, "/bin/true"]).bad("it is paused");
    world.brig(&["pause", &id]).bad("it is paused");
    world.brig(&["resume", &id]).good();
    world.brig(&["resume", &id]).bad("it is running");
    let list: Value = serde_json::from_str(&world.brig(&["list", "-f", "json"]).good()).unwrap();
    assert_eq!(list[0]["id"], json!(id));
    assert_eq!(world.brig(&["list", "-q"]).good(), format!("{id}\n"));
    world.brig(&["kill", &id, "KILL"]).good();
    wait_for("its end", || status(&world, &id) == "stopped");
    world.brig(&["kill", &id, "TERM"]).bad("container not running");
    world.brig(&["exec", &id, "/bin/true"]).bad("it is stopped");
    world.brig(&["delete", &id]).good();
    world.brig(&["state", &id]).bad("does not exist");
    world.brig(&["delete", &id]).bad("does not exist");
    world.brig(&["delete", "--force", &id]).good();
    assert!(remains(&world, &id).is_empty());
    let (id, done) = create(&world, &world.spec("true"));
    done.good();
    world.brig(&["delete", &id]).good();
    assert!(remains(&world, &id).is_empty(), "one that was never started may go");
}

#[test]
fn root_a_paused_container_dies_of_sigkill_and_can_be_removed() {
    let Some(world) = world() else { return };
    for force in [true, false] {
        let id = world.start(&world.spec("sleep 60"));
        world.brig(&["pause", &id]).good();
        if force {
            world.brig(&["delete", "-f", &id]).good();
        } else {
            world.brig(&["kill", &id, "9"]).good();
            wait_for("its end", || status(&world, &id) == "stopped");
            world.brig(&["delete", &id]).good();
        }
        assert!(remains(&world, &id).is_empty());
    }
}

#[test]
fn root_of_concurrent_creates_one_wins() {
    let Some(world) = world() else { return };
    world.write(&world.spec("sleep 60"));
    let id = world.id();
    let children: Vec<_> = (0..6)
        .map(|_| world.command(&["create", &id]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
        .collect();
    let won = children
        .into_iter()
        .filter_map(|mut child| child.wait().ok())
        .filter(|status| status.success())
        .count();
    assert_eq!(won, 1);
    assert_eq!(status(&world, &id), "created");
}

#[test]
fn root_a_failed_create_leaves_nothing() {
    let Some(world) = world() else { return };
    let mut spec = world.spec("true");
    let mount = |mount: Value| {
        let mut spec = spec.clone();
        spec["mounts"].as_array_mut().unwrap().push(mount);
        spec
    };
    let cases = [
        (
            mount(
                json!({"destination": "/x", "type": "bind", "source": world.path().join("absent"), "options": ["bind"]}),
            ),
            "absent",
        ),
        (mount(json!({"destination": "/x", "type": "nofs", "source": "x"})), "nofs"),
        (
            mount(json!({"destination": "/x", "type": "tmpfs", "source": "x", "options": ["size=banana"]})),
            "size",
        ),
        (json!({"ociVersion": "1.2.0"}), "process"),
    ];
    for (spec, expected) in cases {
        let (id, done) = create(&world, &spec);
        done.bad(expected);
        assert!(remains(&world, &id).is_empty(), "{:?}", remains(&world, &id));
    }
    spec["root"]["path"] = json!("missing");
    let (id, done) = create(&world, &spec);
    done.bad("missing");
    assert!(remains(&world, &id).is_empty());
    std::fs::write(world.bundle().join("config.json"), "{\"ociVersion\": ").unwrap();
    world.brig(&["create", &id]).bad("cannot parse");
}

#[test]
fn root_a_killed_create_is_cleaned_up() {
    let Some(world) = world() else { return };
    let mut spec = world.spec("sleep 60");
    spec["hooks"] = json!({"createRuntime": [{"path": "/bin/sleep", "args": ["sleep", "30"]}]});
    world.write(&spec);
    let id = world.id();
    let mut child =
        world.command(&["create", &id]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let pid = child.id();
    wait_for("the hook", || children(pid).len() == 2);
    let mine = children(pid);
    assert_eq!(status(&world, &id), "creating");
    world.brig(&["delete", &id]).bad("creating");
    child.kill().unwrap();
    child.wait().unwrap();
    // The init sees that nobody speaks with it any more and ends; the hook is a program of the host's own.
    wait_for("the init's end", || mine.iter().filter(|pid| !is_sleep(**pid)).all(|pid| !alive(*pid)));
    for pid in mine.iter().filter(|pid| is_sleep(**pid)) {
        let _ = sys::process::kill(*pid, 9);
    }
    assert_eq!(status(&world, &id), "stopped");
    world.brig(&["delete", "--force", &id]).good();
    assert!(remains(&world, &id).is_empty(), "{:?}", remains(&world, &id));
}

fn children(pid: u32) -> Vec<i32> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

fn is_sleep(pid: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm == "sleep\n")
}

fn alive(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

#[test]
fn root_exit_codes_and_errors_of_programs() {
    let Some(world) = world() else { return };
    let bin = world.rootfs().join("bin");
    std::fs::write(bin.join("plain"), "no program").unwrap();
    std::fs::write(bin.join("text"), "no program").unwrap();
    std::fs::set_permissions(bin.join("text"), PermissionsExt::from_mode(0o755)).unwrap();
    std::fs::write(bin.join("script"), "#!/no/interpreter\n").unwrap();
    std::fs::set_permissions(bin.join("script"), PermissionsExt::from_mode(0o755)).unwrap();
    let mut foreign = std::fs::read("/bin/busybox").unwrap();
    foreign[18] = 183;
    std::fs::write(bin.join("foreign"), &foreign[..4096]).unwrap();
    std::fs::set_permissions(bin.join("foreign"), PermissionsExt::from_mode(0o755)).unwrap();
    let id = world.start(&world.spec("sleep 60"));
    let cases = [
        ("nosuch", 127, "executable file not found in $PATH"),
        ("/bin/nosuch", 127, "no such file or directory"),
        ("plain", 126, "permission denied"),
        ("/bin", 126, "is a directory"),
        ("text", 126, "exec format error"),
        ("script", 126, "interpreter"),
    ];
    for (program, code, text) in cases {
        let mut spec = world.spec("");
        spec["process"]["args"] = json!([program]);
        for done in [world.run(&spec), world.brig(&["exec", &id, program])] {
            assert!(done.code == code && done.err.contains(text), "{program}: {done:?}");
        }
    }
    if cfg!(target_arch = "x86_64") {
        let done = world.brig(&["exec", &id, "foreign"]);
        assert!(done.code == 126 && done.err.contains("arm64") && done.err.contains("x86_64"), "{done:?}");
    }
    assert_eq!(world.run(&world.spec("exit 42")).code, 42);
    assert_eq!(world.run(&world.spec("kill -9 $$; sleep 5")).code, 0, "process 1 cannot kill itself");
    assert_eq!(world.brig(&["exec", &id, "/bin/sh", "-c", "kill -15 $$"]).code, 143);
}

#[test]
fn root_hooks_run_in_order_with_the_state() {
    let Some(world) = world() else { return };
    let log = world.path().join("hooks");
    let hook = |name: &str| {
        let script = format!(
            "echo {name} $(cat | grep -o '\"status\":\"[a-z]*\"') env=$(env | grep -c EVIL) >> {}",
            log.display()
        );
        json!({"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin:/usr/bin"]})
    };
    let inside = json!({"path": "/bin/sh", "args": ["sh", "-c", "cat > /tmp/state; echo inside >> /tmp/order"], "env": ["PATH=/bin"]});
    let mut spec = world.spec("cat /tmp/order");
    spec["process"]["env"] = json!(["PATH=/bin", "EVIL=1"]);
    spec["hooks"] = json!({"prestart": [hook("prestart")], "createRuntime": [hook("createRuntime")],
        "createContainer": [hook("createContainer")], "startContainer": [inside], "poststart": [hook("poststart")],
        "poststop": [hook("poststop")]});
    spec["annotations"] = json!({"a": "b"});
    assert_eq!(world.run(&spec).good(), "inside\n");
    let expected = "prestart \"status\":\"created\" env=0\ncreateRuntime \"status\":\"creating\" env=0\n\
        createContainer \"status\":\"creating\" env=0\npoststart \"status\":\"running\" env=0\n\
        poststop \"status\":\"stopped\" env=0\n";
    assert_eq!(std::fs::read_to_string(&log).unwrap(), expected);
    let state: Value =
        serde_json::from_slice(&std::fs::read(world.rootfs().join("tmp/state")).unwrap()).unwrap();
    assert_eq!(state["annotations"]["a"], "b");
}

#[test]
fn root_hooks_that_fail_or_hang_stop_the_create() {
    let Some(world) = world() else { return };
    let mut spec = world.spec("true");
    spec["hooks"] =
        json!({"createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", "echo reason >&2; exit 3"]}]});
    world.run(&spec).bad("reason");
    spec["hooks"] = json!({"prestart": [{"path": "/bin/sleep", "args": ["sleep", "30"], "timeout": 1}]});
    world.run(&spec).bad("timeout of 1 s");
    spec["hooks"] = json!({"createContainer": [{"path": "relative"}]});
    world.run(&spec).bad("an absolute path");
}

#[test]
fn root_the_process_gets_what_the_spec_says() {
    let Some(world) = world() else { return };
    let script = "cat /proc/self/oom_score_adj; busybox hostname; cat /proc/sys/kernel/domainname; ulimit -c; umask; \
        grep NoNewPrivs /proc/self/status; busybox cut -d' ' -f19 /proc/self/stat; pwd; id -u; env; cat /proc/self/timens_offsets | busybox awk '{print $1,$2}'";
    let mut spec = world.spec(script);
    spec["hostname"] = json!("inside");
    spec["domainname"] = json!("example");
    spec["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "time"}));
    spec["linux"]["timeOffsets"] = json!({"monotonic": {"secs": 1000}, "boottime": {"secs": 2000}});
    let process = &mut spec["process"];
    process["oomScoreAdj"] = json!(500);
    process["rlimits"] = json!([{"type": "RLIMIT_CORE", "soft": 0, "hard": 0}]);
    process["user"]["umask"] = json!(0o027);
    process["noNewPrivileges"] = json!(true);
    process["scheduler"] = json!({"policy": "SCHED_BATCH", "nice": 5});
    process["ioPriority"] = json!({"class": "IOPRIO_CLASS_IDLE", "priority": 4});
    process["cwd"] = json!("/work/dir");
    process["env"] = json!(["PATH=/bin", "HOME=/own"]);
    let out = world.run(&spec).good();
    let expected = "500\ninside\nexample\n0\n0027\nNoNewPrivs:\t1\n5\n/work/dir\n0\n";
    assert!(out.starts_with(expected), "{out}");
    assert!(out.contains("monotonic 1000\nboottime 2000"), "{out}");
    assert!(out.contains("HOME=/own") && !out.contains("USER="), "{out}");
}

#[test]
fn root_limits_that_cannot_be_raised_are_reported() {
    let Some(world) = world() else { return };
    let mut spec = world.spec("ulimit -n");
    spec["process"]["rlimits"] =
        json!([{"type": "RLIMIT_NOFILE", "soft": 1_000_000_000_u64, "hard": 2_000_000_000_u64}]);
    world.write(&spec);
    let log = world.path().join("log");
    let done = world.brig(&["--log", log.to_str().unwrap(), "run", &world.id()]);
    // Who may raise limits is still bound by fs.nr_open.
    let said = std::fs::read_to_string(&log).unwrap();
    assert!(done.code == 0 && said.contains("cannot raise RLIMIT_NOFILE"), "{done:?} {said}");
    assert_eq!(done.err, "", "the container's own standard error is not written to");
    spec["process"]["rlimits"] = json!([{"type": "RLIMIT_NOFILE", "soft": 64, "hard": 128}]);
    assert_eq!(world.run(&spec).good(), "64\n");
}

#[test]
fn root_our_own_init_forwards_and_reaps() {
    let Some(world) = world() else { return };
    let spec = world.spec("trap 'exit 9' TERM; (sleep 0.1 &) ; while :; do sleep 0.05; done");
    world.write(&spec);
    let id = world.id();
    let mut child = world.command(&["run", "--init", &id]).stdout(Stdio::null()).spawn().unwrap();
    wait_for("its start", || world.brig(&["state", &id]).out.contains("running"));
    let out = world.brig(&[
        "exec",
        &id,
        "/bin/sh",
        "-c",
        "cat /proc/1/comm; ls /proc/1/fd 2>&1 | grep -c .; readlink /proc/1/exe",
    ]);
    // Nobody inside can look at it.
    assert!(!out.out.contains(&*world.program.to_string_lossy()), "{out:?}");
    std::thread::sleep(std::time::Duration::from_millis(300));
    let zombies =
        world.brig(&["exec", &id, "/bin/sh", "-c", "grep -l '^State:.Z' /proc/[0-9]*/status | grep -c ."]);
    assert_eq!(zombies.out, "0\n");
    world.brig(&["kill", &id, "TERM"]).good();
    assert_eq!(child.wait().unwrap().code(), Some(9));
}

#[test]
fn root_signals_to_the_foreground_reach_the_container() {
    let Some(world) = world() else { return };
    world.write(&world.spec("trap 'exit 7' USR1; while :; do sleep 0.05; done"));
    let id = world.id();
    let mut child = world.command(&["run", &id]).stdout(Stdio::null()).spawn().unwrap();
    wait_for("its start", || world.brig(&["state", &id]).out.contains("running"));
    std::thread::sleep(std::time::Duration::from_millis(100));
    sys::process::kill(i32::try_from(child.id()).unwrap(), 10).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(7));
    assert!(remains(&world, &id).is_empty());
}

#[test]
fn root_exec_has_its_own_process() {
    let Some(world) = world() else { return };
    let id = world.start(&world.spec("sleep 60"));
    let pid_file = world.path().join("pid");
    let script = "pwd; echo $A; grep -c . /proc/self/mountinfo > /dev/null; cat /proc/self/cgroup | grep -v ':/$'; true";
    let out = world.brig(&["exec", "--cwd", "/tmp", "-e", "A=b", &id, "/bin/sh", "-c", script]).good();
    assert_eq!(out, "/tmp\nb\n", "in the container's own groups");
    let mut detached =
        world.command(&["exec", "-d", "--pid-file", pid_file.to_str().unwrap(), &id, "/bin/sleep", "30"]);
    assert!(detached.stdout(Stdio::null()).status().unwrap().success());
    let pid: i32 = std::fs::read_to_string(&pid_file).unwrap().parse().unwrap();
    let pids: Vec<i32> = serde_json::from_str(&world.brig(&["ps", "-f", "json", &id]).good()).unwrap();
    assert!(pids.contains(&pid), "{pids:?} {pid}");
    let process = json!({"user": {"uid": 5, "gid": 6}, "args": ["/bin/sh", "-c", "id; busybox taskset -p $$"], "cwd": "/",
        "execCPUAffinity": {"initial": "0", "final": "0"}});
    std::fs::write(world.path().join("process.json"), process.to_string()).unwrap();
    let path = world.path().join("process.json");
    let out = world.brig(&["exec", "-p", path.to_str().unwrap(), &id]).good();
    assert!(out.contains("uid=5") && out.contains("mask: 1"), "{out}");
}

#[test]
fn root_links_of_the_host_move_in() {
    let Some(world) = world() else { return };
    // The "host" is a network namespace of its own.
    let script = world.path().join("netns.sh");
    let mut spec = world.spec("busybox ip addr show inner");
    spec["linux"]["netDevices"] = json!({"brigt0": {"name": "inner"}});
    world.write(&spec);
    let id = world.id();
    let run = format!(
        "ip link add brigt0 type veth peer name brigt1 && ip link set brigt1 up && ip addr add 10.9.8.7/24 dev brigt0 && {} --root {} run {id}",
        world.program.display(),
        world.path().join("state").display()
    );
    std::fs::write(&script, run).unwrap();
    let output = std::process::Command::new("unshare")
        .args(["-n", "sh"])
        .arg(&script)
        .current_dir(world.bundle())
        .output();
    let Ok(output) = output else { return common::skip("needs unshare and ip") };
    let done = Done::of(output);
    if done.err.contains("Unknown device type") || done.err.contains("ip: not found") {
        return common::skip("needs ip and the veth link type");
    }
    let out = done.good();
    assert!(out.contains("10.9.8.7/24") && out.contains("UP"), "{out}");
}

#[test]
fn root_features_and_spec_are_printed() {
    let Some(world) = world() else { return };
    let features: Value = serde_json::from_str(&world.brig(&["features"]).good()).unwrap();
    assert_eq!(features["linux"]["netDevices"]["enabled"], json!(true));
    let parsed: oci::runtime::Features = serde_json::from_value(features).unwrap();
    assert_eq!(parsed.oci_version_min(), "1.0.0");
    let empty = world.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    world.brig(&["spec", "-b", empty.to_str().unwrap()]).good();
    world.brig(&["spec", "-b", empty.to_str().unwrap()]).bad("exists already");
    assert!(Path::new(&empty.join("config.json")).exists());
    world.brig(&["nonsense"]).bad("unknown command");
    world.brig(&["run", "--nonsense", "x"]).bad("--nonsense");
    let log = world.path().join("log");
    let done = world.brig(&["--log", log.to_str().unwrap(), "--log-format", "json", "start", "nosuch"]);
    done.bad("does not exist");
    let line: Value =
        serde_json::from_str(std::fs::read_to_string(&log).unwrap().lines().last().unwrap()).unwrap();
    assert_eq!(line["level"], "error");
}
