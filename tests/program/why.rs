//! `why`: faults are planted, and the answer names them.

use std::fs;

use testkit::{World, eventually};

use crate::PATIENT;

/// Asks, and checks that all of `texts` are in the answer.
#[track_caller]
fn says(world: &World, object: &str, texts: &[&str]) {
    let answer = world.brig(["why", object]).ok();
    for text in texts {
        assert!(answer.contains(text), "{text:?} is not in the answer:\n{answer}");
    }
}

#[test]
fn root_a_missing_executable() {
    let Some(world) = World::root() else { return };
    let done = world.brig(["run", "--name", "box", "tiny", "nosuch"]);
    assert_eq!(done.code, 127);
    assert!(done.stderr.contains("exec: \"nosuch\": executable file not found in $PATH"), "{}", done.stderr);
    says(
        &world,
        "box",
        &["is not running: its start failed", "executable file not found in $PATH", "127", "try\n"],
    );
}

#[test]
fn root_a_missing_interpreter() {
    let Some(world) = World::root() else { return };
    let script = world.path("script");
    fs::write(&script, "#!/bin/nosuch\n").unwrap();
    world.sh_as_root(&format!("chmod 755 {}", script.display())).ok();
    let bind = format!("{}:/script", script.display());
    let done = world.brig(["run", "--name", "box", "-v", &bind, "tiny", "/script"]);
    assert_eq!(done.code, 126);
    let text = "its interpreter \"/bin/nosuch\" does not exist in the container";
    assert!(done.stderr.contains(text), "{}", done.stderr);
    says(&world, "box", &[text, "126"]);
}

#[test]
fn root_a_program_for_another_machine() {
    let Some(world) = World::root() else { return };
    // The head of a program for s390x, which is none of the machines that Brig runs on.
    let mut head = vec![0; 64];
    head[..7].copy_from_slice(b"\x7fELF\x02\x02\x01");
    head[16..20].copy_from_slice(&[0, 2, 0, 22]);
    let program = world.path("program");
    fs::write(&program, head).unwrap();
    world.sh_as_root(&format!("chmod 755 {}", program.display())).ok();
    let archive = world.path("other.tar").display().to_string();
    world.sh(&format!("tar -C {} -cf {archive} program", world.path("").display())).ok();
    world.brig(["import", "--platform", "linux/s390x", &archive, "other"]).ok();
    let done = world.brig(["run", "--name", "box", "other", "/program"]);
    assert_eq!(done.code, 126);
    for text in [
        "exec format error: the program is for s390x",
        "its image is for linux/s390x, this machine is linux/",
    ] {
        assert!(done.stderr.contains(text), "{text}: {}", done.stderr);
    }
    says(&world, "box", &["exec format error", "the image is for", "brig pull --platform linux/"]);
}

#[test]
fn root_a_want_of_memory() {
    let Some(world) = World::root_because("limits need a control group with controllers") else { return };
    let done = world.brig([
        "run",
        "--name",
        "box",
        "-m",
        "16m",
        "--memory-swap",
        "16m",
        "tiny",
        "tail",
        "/dev/zero",
    ]);
    if done.code != 137 {
        assert!(!testkit::needs::file("/sys/fs/cgroup/memory/memory.limit_in_bytes"), "{}", done.stderr);
        eprintln!("SKIP the machine has no memory controller");
        return;
    }
    assert!(done.stderr.contains("for want of memory"), "{}", done.stderr);
    says(
        &world,
        "box",
        &["is not running: the kernel killed", "its memory limit of 16MiB was met", "137", "brig run -m 32m"],
    );
    if world.sh("head -c 1 /dev/kmsg").code == 0 {
        says(&world, "box", &["its process tail"]);
    }
}

#[test]
fn root_a_port_of_another_container() {
    let Some(world) = World::root() else { return };
    world.brig(["run", "-d", "--name", "first", "-p", "8080:80", "tiny", "sh", "-c", PATIENT]).ok();
    world.brig(["run", "-d", "--name", "second", "-p", "8080:80", "tiny", "sh", "-c", PATIENT]).exits(125);
    says(&world, "second", &["cannot publish", "8080/tcp by container first", "brig why 8080/tcp"]);
    says(&world, "8080", &["port 8080/tcp is in use: container first publishes it"]);
    says(&world, "first", &["is unreachable: published port 8080/tcp: nothing inside listens on port 80"]);
    says(&world, "8081", &["is free"]);
}

#[test]
fn root_a_port_of_the_machine() {
    let Some(world) = World::root_because("root of a user namespace may not look at the host's processes")
    else {
        return;
    };
    let mut server = world.command("/bin/busybox");
    let mut server = server.args(["nc", "-l", "-p", "8080"]).spawn().unwrap();
    eventually("it listens", || world.sh("grep -q ':1F90 ' /proc/net/tcp /proc/net/tcp6").code == 0);
    let done = world.brig(["run", "-d", "--name", "box", "-p", "8080:80", "tiny", "sleep", "1000"]);
    assert_eq!(done.code, 125);
    assert!(done.stderr.contains("by busybox (process "), "{}", done.stderr);
    says(&world, "8080", &["is in use: busybox (process "]);
    says(&world, "box", &["cannot publish", "8080/tcp by busybox (process "]);
    world.sh("kill $(/bin/busybox pidof busybox)");
    server.kill().unwrap();
    server.wait().unwrap();
}

#[test]
fn root_a_failing_health_check() {
    let Some(world) = World::root() else { return };
    let check =
        ["--health-cmd", "echo no database; exit 7", "--health-interval", "100ms", "--health-retries", "2"];
    world
        .brig(["run", "-d", "--name", "box"].iter().chain(&check).chain(&["tiny", "sh", "-c", PATIENT]))
        .ok();
    eventually("it is unhealthy", || world.inspect("box", "{{.State.Health.Status}}").trim() == "unhealthy");
    says(&world, "box", &["is unhealthy: its health check failed", "no database", "7", "brig logs box"]);
}

#[test]
fn root_a_program_that_is_restarted() {
    let Some(world) = World::root() else { return };
    let script = "echo cannot reach the database >&2; exit 3";
    world.brig(["run", "-d", "--name", "box", "--restart", "always", "tiny", "sh", "-c", script]).ok();
    eventually("it waits for a restart", || {
        let answer = world.brig(["why", "box"]).stdout;
        answer.starts_with(
            "container box is restarting: its program ended with exit code 3, and its restart policy always",
        ) && answer.contains("next attempt")
            && answer.contains("cannot reach the database")
    });
}

#[test]
fn root_ends_of_several_kinds() {
    let Some(world) = World::root() else { return };
    world.brig(["run", "--name", "fault", "tiny", "sh", "-c", "echo last words; exit 3"]).exits(3);
    says(
        &world,
        "fault",
        &["is not running: its program ended with exit code 3", "last words", "none: nobody starts it again"],
    );
    world.brig(["run", "--name", "well", "tiny", "true"]).ok();
    says(&world, "well", &["came to its end without a fault"]);
    world.brig(["run", "--name", "segv", "tiny", "sh", "-c", "kill -SEGV $$"]);
    world.brig(["run", "-d", "--name", "stopped", "tiny", "sh", "-c", PATIENT]).ok();
    world.brig(["stop", "stopped"]).ok();
    says(&world, "stopped", &["is not running: somebody stopped it"]);
    world.brig(["create", "--name", "made", "tiny"]).ok();
    says(&world, "made", &["it was made and never started", "brig start made"]);
    let json = world.brig(["why", "--format", "json", "fault"]).ok();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((json["kind"].as_str(), json["state"].as_str()), (Some("container"), Some("not running")));
    assert!(json["try"].as_array().is_some_and(|list| !list.is_empty()), "{json}");
    assert_eq!(world.brig(["why", "--format", "{{.state}}", "made"]).ok(), "not running");
}

#[test]
fn root_a_program_that_listens_inside_only() {
    let Some(world) = World::root() else { return };
    let line = ["run", "-d", "--name", "box", "-p", "8080:80", "tiny", "httpd", "-f", "-p", "127.0.0.1:80"];
    world.brig(line).ok();
    eventually("it listens", || {
        world.brig(["why", "box"]).stdout.contains("the program listens on 127.0.0.1:80 inside only")
    });
    says(&world, "box", &["is unreachable: published port 8080/tcp", "let it listen on 0.0.0.0"]);
}

#[test]
fn root_a_bind_whose_source_is_gone() {
    let Some(world) = World::root() else { return };
    let source = world.path("source");
    fs::create_dir(&source).unwrap();
    let mount = format!("type=bind,source={},target=/data", source.display());
    world.brig(["create", "--name", "box", "--mount", &mount, "tiny", "true"]).ok();
    fs::remove_dir(&source).unwrap();
    let done = world.brig(["start", "box"]);
    assert!(done.code != 0 && done.stderr.contains(&source.display().to_string()), "{}", done.stderr);
    says(&world, "box", &["is not running: its start failed", &source.display().to_string()]);
}

#[test]
fn root_images_volumes_networks_and_the_disk() {
    let Some(world) = World::root() else { return };
    world.brig(["create", "--name", "box", "-v", "vol:/v", "tiny"]).ok();
    says(&world, "tiny", &["image tiny is in use: containers were made from it: box"]);
    says(&world, "vol", &["volume vol is in use: containers mount it: box", "brig rm -f box"]);
    says(&world, "bridge", &["network bridge is not in use", "always there"]);
    says(&world, "disk", &["images take", "image tiny", "free", "brig system df -v"]);
    let done = world.brig(["why", "tiny:2"]);
    assert_eq!(done.code, 1);
    for text in ["is missing", "docker.io/library/tiny:2", "similar", "tiny:latest", "brig pull tiny:2"] {
        assert!(done.stdout.contains(text), "{text}: {}", done.stdout);
    }
}
