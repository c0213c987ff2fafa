//! Containers without root: as a plain user, with a user namespace of one id.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::process::{Command, Stdio};

use common::{Done, World, wait_for, world};
use serde_json::{Value, json};

const USER: u32 = 65_534;

/// Returns a world that belongs to a plain user, and a spec that he may run.
fn rootless() -> Option<(World, impl Fn(&str) -> Value)> {
    let world = world()?;
    let given = Command::new("chown").args(["-R", &format!("{USER}:{USER}")]).arg(world.path()).status();
    let works = Command::new("setpriv")
        .args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "unshare", "-U", "true"])
        .status();
    if !matches!((given, works), (Ok(a), Ok(b)) if a.success() && b.success()) {
        common::skip("needs setpriv, unshare and user namespaces for users");
        return None;
    }
    let template = world.spec("");
    let spec = move |script: &str| {
        let mut spec = template.clone();
        spec["process"]["args"] = json!(["/bin/sh", "-c", script]);
        spec["linux"]["namespaces"] = json!([{"type": "pid"}, {"type": "network"}, {"type": "ipc"}, {"type": "uts"},
            {"type": "mount"}, {"type": "user"}]);
        spec["linux"]["uidMappings"] = json!([{"containerID": 0, "hostID": USER, "size": 1}]);
        spec["linux"]["gidMappings"] = json!([{"containerID": 0, "hostID": USER, "size": 1}]);
        spec
    };
    Some((world, spec))
}

fn brig(world: &World, args: &[&str]) -> Command {
    let inner = world.command(args);
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]).arg(inner.get_program());
    command.args(inner.get_args()).current_dir(world.bundle()).stdin(Stdio::null());
    command
}

fn run(world: &World, spec: &Value) -> Done {
    world.write(spec);
    Done::of(brig(world, &["run", &world.id()]).output().unwrap())
}

#[test]
fn userns_a_plain_user_runs_a_container() {
    let Some((world, spec)) = rootless() else { return };
    let script = "id -u; cat /proc/self/uid_map | busybox awk '{print $1,$2,$3}'; echo $$; echo x > /dev/null; \
        (echo 1 > /proc/sys/kernel/core_pattern) 2>&1 | grep -o Read-only; grep CapEff /proc/self/status";
    let out = run(&world, &spec(script)).good();
    assert_eq!(out, "0\n0 65534 1\n1\nRead-only\nCapEff:\t00000000000000e3\n");
}

#[test]
fn userns_a_plain_user_joins_his_container() {
    let Some((world, spec)) = rootless() else { return };
    world.write(&spec("sleep 60"));
    let id = world.id();
    let started =
        brig(&world, &["run", "-d", &id]).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
    assert!(started.success());
    let exec = |args: &[&str]| Done::of(brig(&world, args).output().unwrap());
    let out = exec(&[
        "exec",
        &id,
        "/bin/sh",
        "-c",
        "id -u; readlink /proc/self/ns/pid; readlink /proc/1/ns/pid; cd /proc/$$/fd; echo *",
    ])
    .good();
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!((lines[0], lines[1] == lines[2]), ("0", true), "{out}");
    assert!(lines[3].split(' ').all(|fd| fd.parse::<u32>().is_ok_and(|fd| fd <= 3)), "{out}");
    exec(&["exec", &id, "nosuch"]).bad("executable file not found");
    assert_eq!(exec(&["exec", &id, "/bin/sh", "-c", "exit 5"]).code, 5);
    exec(&["kill", &id, "9"]).good();
    wait_for("its end", || exec(&["state", &id]).out.contains("stopped"));
    exec(&["delete", &id]).good();
}

#[test]
fn userns_foreign_ids_are_refused() {
    let Some((world, spec)) = rootless() else { return };
    let mut foreign = spec("true");
    foreign["linux"]["uidMappings"] = json!([{"containerID": 0, "hostID": 0, "size": 1}]);
    run(&world, &foreign).bad("map");
    let mut no_maps = spec("true");
    no_maps["linux"]["uidMappings"] = json!([]);
    run(&world, &no_maps).bad("linux.uidMappings");
    let mut no_user = spec("true");
    no_user["linux"]["namespaces"].as_array_mut().unwrap().retain(|namespace| namespace["type"] != "user");
    no_user["linux"].as_object_mut().unwrap().remove("uidMappings");
    no_user["linux"].as_object_mut().unwrap().remove("gidMappings");
    run(&world, &no_user).bad("cannot");
}

#[test]
fn root_a_mapped_container_owns_nothing_of_the_host() {
    let Some(world) = world() else { return };
    let script = "id -u; touch /made; stat -c %u /made; cat /hostfile 2>&1 | grep -o denied; grep CapEff /proc/self/status; \
        ls -ln /dev/mqueue 2>/dev/null | head -1";
    let mut spec = world.spec(script);
    common::with_user_namespace(&mut spec, &world);
    let secret = world.path().join("secret");
    std::fs::write(&secret, "secret").unwrap();
    std::fs::set_permissions(&secret, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    spec["mounts"]
        .as_array_mut()
        .unwrap()
        .push(json!({"destination": "/hostfile", "type": "bind", "source": secret, "options": ["bind"]}));
    let out = world.run(&spec).good();
    assert!(out.starts_with("0\n0\ndenied\n"), "{out}");
    let owner = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(world.rootfs().join("made")).unwrap());
    assert_eq!(owner, 200_000);
}
