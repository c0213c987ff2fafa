//! The monitor over Brig's own runtime: a real container, with namespaces.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;

use base::{ErrorKind, Kinded};
use common::{World, collect, kill, read_all};
use monitor::{AttachOptions, CgroupManager, ExecLaunch, ensure_monitor};

const ALL: AttachOptions = AttachOptions {
    stdin: false,
    stdout: true,
    stderr: true,
    lossless: true,
    claim_cleanup: false,
    size: None,
};

/// A world whose bundle is the host's programs, read-only; `None` without root.
fn world(args: &[&str]) -> Option<World> {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIP a real container needs root");
        return None;
    }
    let mut world = World::new();
    let script = world.root.join("brig");
    let program = env!("CARGO_BIN_EXE_monitor-plain");
    fs::write(&script, format!("#!/bin/sh\nBRIG_TEST_RUNTIME=1 exec {program} \"$@\"\n")).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o700)).unwrap();
    world.launch.program = Some(script);
    world.launch.cgroup = CgroupManager::Disabled;
    let bundle = world.launch.bundle.clone();
    fs::create_dir(bundle.join("rootfs")).unwrap();
    let bind = |path: &str| serde_json::json!({"destination": path, "source": path, "type": "bind", "options": ["rbind", "ro"]});
    let mut mounts = vec![serde_json::json!({"destination": "/proc", "source": "proc", "type": "proc"})];
    mounts.extend(
        ["/usr", "/bin", "/lib", "/lib64"].into_iter().filter(|path| fs::exists(path).unwrap()).map(bind),
    );
    let namespaces: Vec<_> =
        ["pid", "mount", "ipc", "uts", "network"].map(|kind| serde_json::json!({"type": kind})).into();
    let spec = serde_json::json!({
        "ociVersion": "1.2.0",
        "root": {"path": "rootfs"},
        "process": process(args),
        "mounts": mounts,
        "linux": {"namespaces": namespaces},
    });
    fs::write(bundle.join("config.json"), spec.to_string()).unwrap();
    Some(world)
}

fn process(args: &[&str]) -> serde_json::Value {
    serde_json::json!({
        "args": args, "cwd": "/", "env": ["PATH=/usr/bin:/bin"], "user": {"uid": 0, "gid": 0},
    })
}

/// Removes what the runtime keeps; the engine's clean-up command does that otherwise.
fn delete(world: &World) {
    runtime::delete(&world.launch.state_root, world.launch.id.as_str(), true).unwrap();
}

#[test]
fn root_a_container_runs_and_ends() {
    let Some(world) = world(&["/bin/sh", "-c", "echo pid $$; echo err >&2; exit 12"]) else { return };
    let mut pending = world.spawn();
    pending.wait_created().unwrap();
    let mut session = pending.attach(ALL).unwrap();
    pending.start().unwrap();
    let got = collect(&mut session);
    assert_eq!((got.stdout.as_slice(), got.stderr.as_slice()), (&b"pid 1\n"[..], &b"err\n"[..]));
    assert_eq!(got.exit.unwrap().exit_code, 12);
    world.wait_gone();
    delete(&world);
}

#[test]
fn root_a_missing_program_is_the_starts_error_and_leaves_nothing() {
    let Some(world) = world(&["/nonexistent"]) else { return };
    let mut pending = world.spawn();
    let error = pending.wait_created().and_then(|_| pending.start()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::CommandNotFound, "{error}");
    world.wait_gone();
    assert_eq!(world.run_files(), Vec::<String>::new());
    assert!(runtime::state(&world.launch.state_root, world.launch.id.as_str()).is_err());
}

#[test]
fn root_a_container_outlives_its_monitor() {
    let Some(world) = world(&["/bin/sh", "-c", "while :; do echo tick; sleep 0.01; done"]) else { return };
    let mut pending = world.spawn();
    pending.wait_created().unwrap();
    let pid = pending.start().unwrap().pid;
    kill(world.monitor());
    std::thread::sleep(std::time::Duration::from_millis(50));
    assert!(common::is_alive(pid));
    ensure_monitor(&world.launch.run_dir, None).unwrap();
    let exec = |id: &str, args: &[&str]| ExecLaunch {
        id: id.to_owned(),
        process: process(args).to_string(),
        terminal: false,
        stdin: false,
        stdout: true,
        stderr: true,
        detach: false,
    };
    let mut session =
        world.client().exec(&exec("a", &["/bin/sh", "-c", "echo in; exit 3"])).unwrap().unwrap();
    let got = collect(&mut session);
    assert_eq!((got.stdout.as_slice(), got.code), (&b"in\n"[..], Some(3)));
    let error = world.client().exec(&exec("b", &["/nonexistent"])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::CommandNotFound, "{error}");
    let mut client = world.client();
    client.watch(monitor::Claim::No).unwrap();
    client.signal(9).unwrap();
    let record = client.wait(None).unwrap().unwrap();
    assert_eq!((record.exit_code, record.unknown), (137, false));
    world.wait_gone();
    assert!(read_all(&world.log()).len() > 3);
    delete(&world);
}

#[test]
fn root_a_container_has_a_terminal() {
    let Some(mut world) = world(&["/bin/sh", "-c", "stty size; tty >/dev/null && echo tty"]) else { return };
    world.launch.terminal = true;
    world.launch.console_size = Some((93, 31));
    let path = world.launch.bundle.join("config.json");
    let mut spec: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    spec["process"]["terminal"] = true.into();
    spec["mounts"].as_array_mut().unwrap().extend([
        serde_json::json!({"destination": "/dev", "source": "tmpfs", "type": "tmpfs", "options": ["mode=755"]}),
        serde_json::json!({"destination": "/dev/pts", "source": "devpts", "type": "devpts",
            "options": ["newinstance", "ptmxmode=0666"]}),
    ]);
    fs::write(&path, spec.to_string()).unwrap();
    let mut pending = world.spawn();
    pending.wait_created().unwrap();
    let mut session = pending.attach(ALL).unwrap();
    pending.start().unwrap();
    let got = collect(&mut session);
    assert_eq!(String::from_utf8_lossy(&got.stdout), "31 93\r\ntty\r\n");
    world.wait_gone();
    delete(&world);
}
