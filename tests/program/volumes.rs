//! Volumes with options, and their contents as tar, as a copy, under another name.

use testkit::World;

#[test]
fn root_options_mount_what_they_name() {
    let Some(world) = World::root() else { return };
    let bound = world.path("bound");
    std::fs::create_dir(&bound).expect("make a folder");
    world.own(&bound);
    let device = format!("device={}", bound.display());
    world.brig(["volume", "create", "-o", "type=none", "-o", "o=bind", "-o", &device, "bound"]).ok();
    world.brig(["run", "--rm", "-v", "bound:/data", "tiny", "sh", "-c", "echo inside > /data/file"]).ok();
    assert_eq!(std::fs::read_to_string(bound.join("file")).expect("read"), "inside\n");
    world.brig(["run", "--rm", "-v", "bound:/data:ro", "tiny", "touch", "/data/x"]).exits(1);
    world
        .brig([
            "volume",
            "create",
            "-d",
            "local",
            "-o",
            "type=tmpfs",
            "-o",
            "device=tmpfs",
            "-o",
            "o=size=1m,mode=0700",
            "small",
        ])
        .ok();
    let script =
        "stat -c %a /data; dd if=/dev/zero of=/data/big bs=64k count=64 2>/dev/null; stat -c %s /data/big";
    assert_eq!(
        world.brig(["run", "--rm", "-v", "small:/data", "tiny", "sh", "-c", script]).ok(),
        "700\n1048576"
    );
    assert_eq!(world.inspect("small", "{{.Options.o}} {{.Driver}}"), "size=1m,mode=0700 local");
    let mount =
        format!("type=volume,src=made,dst=/data,volume-opt=type=none,volume-opt=o=bind,volume-opt={device}");
    assert_eq!(world.brig(["run", "--rm", "--mount", &mount, "tiny", "cat", "/data/file"]).ok(), "inside");
    // A stopped container's volume is reached, too; nothing of it is mounted on the host.
    world.brig(["create", "--name", "box", "-v", "bound:/data", "tiny"]).ok();
    world.brig(["cp", "box:/data/file", "copied"]).ok();
    assert_eq!(world.sh("cat copied; grep -c bound /proc/self/mountinfo").stdout.trim(), "inside\n0");
    world.brig(["rm", "box"]).ok();
    world.brig(["volume", "rm", "bound", "small", "made"]).ok();
    assert!(bound.join("file").exists());
}

#[test]
fn root_wrong_options_make_nothing() {
    let Some(world) = World::root() else { return };
    for (options, words) in [
        (&["what=x"][..], "invalid option: \"what\""),
        (&["type=tmpfs"], "missing required option: \"device\""),
        (&["device=/x"], "missing required option: \"type\""),
        (&["type=none", "o=bind", "device=here"], "absolute path"),
        (&["type=proc", "device=proc"], "kernel"),
        (&["size=10m"], "no quota support"),
    ] {
        let flags = options.iter().flat_map(|option| ["-o", option]);
        world.brig(["volume", "create"].into_iter().chain(flags).chain(["bad"])).refuses(1, &[words]);
    }
    world.brig(["volume", "create", "-d", "nfs", "bad"]).refuses(1, &["nfs", "only \"local\" is"]);
    let mount = "type=volume,src=bad,dst=/data,volume-opt=what=x";
    world
        .brig(["run", "-v", "good:/good", "--mount", mount, "tiny", "true"])
        .refuses(125, &["invalid option"]);
    world
        .brig(["run", "--volume-driver", "nfs", "-v", "good:/good", "tiny", "true"])
        .refuses(125, &["local"]);
    assert_eq!(world.brig(["volume", "ls", "-q"]).ok(), "");
    assert_eq!(world.brig(["ps", "-aq"]).ok(), "");
    world.brig(["run", "--rm", "--volume-driver", "local", "-v", "good:/good", "tiny", "true"]).ok();
    world
        .brig(["volume", "create", "-o", "type=tmpfs", "-o", "device=tmpfs", "good"])
        .refuses(1, &["other options"]);
    // What is mounted may be missing at the start, as in Docker: then the start says so, and the container stays.
    world.brig(["volume", "create", "-o", "type=none", "-o", "o=bind", "-o", "device=/none", "later"]).ok();
    world.brig(["run", "--name", "box", "-v", "later:/data", "tiny", "true"]).refuses(125, &["/none"]);
}

#[test]
fn root_contents_travel_as_tar() {
    let Some(world) = World::root() else { return };
    let script = "mkdir /data/sub; echo text > /data/sub/file; ln -s /etc/passwd /data/link; chown 1000:1000 /data/sub";
    world.brig(["run", "--rm", "-v", "one:/data", "tiny", "sh", "-c", script]).ok();
    world.brig(["volume", "export", "-o", "one.tar", "one"]).ok();
    assert_eq!(world.sh("tar -tf one.tar").ok(), "./\n./link\n./sub/\n./sub/file");
    world.brig(["volume", "create", "two"]).ok();
    world.brig(["volume", "import", "two", "one.tar"]).ok();
    let look = "cat /data/sub/file; readlink /data/link; stat -c %u /data/sub";
    assert_eq!(
        world.brig(["run", "--rm", "-v", "two:/data", "tiny", "sh", "-c", look]).ok(),
        "text\n/etc/passwd\n1000"
    );
    let brig = world.program().display().to_string();
    world.sh(&format!("{brig} volume export one | gzip | {brig} volume import two -")).ok();
    world.brig(["volume", "import", "none", "one.tar"]).refuses(1, &["No such volume: none"]);
    world.brig(["volume", "export", "none"]).refuses(1, &["No such volume: none"]);
    world.sh("head -c 700 one.tar > cut.tar; printf junk > junk").ok();
    world.brig(["volume", "import", "two", "cut.tar"]).exits(1);
    world.brig(["volume", "import", "two", "junk"]).refuses(1, &["tar"]);
    // CVE-2020-1726: what was put into a volume is never covered by an image's files.
    world.brig(["volume", "create", "etc"]).ok();
    world.sh("mkdir empty && tar -C empty -cf empty.tar .").ok();
    world.brig(["volume", "import", "etc", "empty.tar"]).ok();
    world.brig(["run", "--rm", "-v", "etc:/etc", "tiny", "test", "-e", "/etc/passwd"]).exits(1);
}

/// CVE-2023-0778: a container exchanges folders for links that lead outside while its volume is exported and cloned.
#[test]
fn root_nothing_outside_is_exported() {
    let Some(world) = World::root() else { return };
    world.sh("mkdir outside && echo canary > outside/file").ok();
    let outside = world.path("outside").display().to_string();
    let script = format!(
        "mkdir /data/dir; echo inside > /data/dir/file; ln -s {outside} /data/link; while :; do mv /data/dir /data/x; mv /data/link /data/dir; mv /data/dir /data/link; mv /data/x /data/dir; done"
    );
    world.brig(["run", "-d", "--name", "box", "-v", "data:/data", "tiny", "sh", "-c", &script]).ok();
    for _ in 0..25 {
        // It may fail when something vanished at the wrong moment.
        world.brig(["volume", "export", "-o", "out.tar", "data"]);
        assert_eq!(
            world.sh("grep -ac canary out.tar 2>/dev/null || :").stdout.trim().trim_start_matches('0'),
            ""
        );
    }
    world.brig(["rm", "-f", "box"]).ok();
}

#[test]
fn root_clones_and_new_names() {
    let Some(world) = World::root() else { return };
    world
        .brig([
            "run",
            "--rm",
            "-v",
            "one:/data",
            "tiny",
            "sh",
            "-c",
            "echo text > /data/file; chmod 700 /data",
        ])
        .ok();
    assert_eq!(world.brig(["volume", "clone", "--label", "a=b", "one", "two"]).ok(), "two");
    assert_eq!(world.inspect("two", "{{.Labels.a}}"), "b");
    world
        .brig([
            "run",
            "--rm",
            "-v",
            "two:/data",
            "tiny",
            "sh",
            "-c",
            "stat -c %a /data; echo more >> /data/file",
        ])
        .ok();
    assert_eq!(world.brig(["run", "--rm", "-v", "one:/data", "tiny", "cat", "/data/file"]).ok(), "text");
    world.brig(["volume", "clone", "one", "two"]).refuses(1, &["two exists already"]);
    world.brig(["volume", "clone", "none", "three"]).refuses(1, &["No such volume"]);
    world.brig(["volume", "clone", "one", "../x"]).refuses(1, &["invalid characters"]);
    world.brig(["create", "--name", "box", "-v", "one:/data", "tiny"]).ok();
    let id = world.inspect("box", "{{.Id}}");
    world.brig(["volume", "rename", "one", "uno"]).refuses(1, &["in use", &id]);
    world.brig(["rm", "box"]).ok();
    world.brig(["volume", "rename", "one", "two"]).refuses(1, &["two exists already"]);
    world.brig(["volume", "rename", "one", "uno"]).ok();
    assert_eq!(world.brig(["run", "--rm", "-v", "uno:/data", "tiny", "cat", "/data/file"]).ok(), "text");
    assert_eq!(world.brig(["volume", "ls", "-q"]).ok(), "two\nuno");
    if world.sh("command -v sqlite3").code != 0 {
        eprintln!("SKIP the second half of root_clones_and_new_names: sqlite3 is not installed");
        return;
    }
    // A rename that was killed between its two halves is finished by whoever uses the volume.
    world.brig(["volume", "rename", "uno", "tres"]).ok();
    let volumes = world.data_root().join("volumes");
    std::fs::rename(volumes.join("tres"), volumes.join("uno")).expect("undo the second half");
    let database = world.data_root().join("brig.db").display().to_string();
    world
        .sh(&format!("sqlite3 {database} \"INSERT INTO settings VALUES ('volume-renamed:tres', 'uno')\""))
        .ok();
    world.brig(["system", "prune", "-f"]).ok();
    assert_eq!(world.brig(["run", "--rm", "-v", "tres:/data", "tiny", "cat", "/data/file"]).ok(), "text");
}
