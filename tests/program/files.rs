//! Volumes, bind mounts, `--mount`, `--volumes-from`.

use testkit::World;

#[test]
fn root_a_named_volume_outlives_its_containers() {
    let Some(world) = World::root() else { return };
    world.brig(["run", "--rm", "-v", "data:/data", "tiny", "sh", "-c", "echo kept > /data/file"]).ok();
    assert_eq!(
        world.brig(["run", "--rm", "-v", "data:/elsewhere:ro", "tiny", "cat", "/elsewhere/file"]).ok(),
        "kept"
    );
    assert_eq!(world.brig(["volume", "ls", "-q"]).ok(), "data");
    world.brig(["create", "--name", "box", "-v", "data:/data", "tiny"]).ok();
    world.brig(["volume", "rm", "data"]).refuses(1, &["data", "in use"]);
    world.brig(["rm", "-v", "box"]).ok();
    assert_eq!(world.brig(["volume", "ls", "-q"]).ok(), "data");
    assert_eq!(world.brig(["volume", "rm", "data"]).ok(), "data");
    assert_eq!(world.brig(["volume", "ls", "-q"]).ok(), "");
}

#[test]
fn root_volume_commands() {
    let Some(world) = World::root() else { return };
    assert_eq!(world.brig(["volume", "create", "--label", "a=b", "one"]).ok(), "one");
    assert_eq!(world.brig(["volume", "create", "one"]).ok(), "one");
    assert_eq!(world.brig(["volume", "create"]).ok().len(), 64);
    assert_eq!(
        world.brig(["volume", "inspect", "-f", "{{.Name}} {{.Driver}} {{.Labels.a}}", "one"]).ok(),
        "one local b"
    );
    let point = world.brig(["volume", "inspect", "-f", "{{.Mountpoint}}", "one"]).ok();
    assert!(std::path::Path::new(&point).is_dir(), "{point}");
    world.brig(["volume", "create", "../up"]).exits(1);
    world.brig(["volume", "inspect", "none"]).refuses(1, &["none"]);
    world.brig(["volume", "prune", "-f", "-a"]).ok();
    assert_eq!(world.brig(["volume", "ls", "-q"]).ok(), "");
}

#[test]
fn root_a_fresh_volume_is_filled_from_the_image() {
    let Some(world) = World::root() else { return };
    assert_eq!(
        world.brig(["run", "--rm", "-v", "etc:/etc", "tiny", "grep", "-c", "user", "/etc/passwd"]).ok(),
        "1"
    );
    // Only the first time: what is there stays.
    world.brig(["run", "--rm", "-v", "etc:/etc", "tiny", "sh", "-c", "rm /etc/passwd"]).ok();
    world.brig(["run", "--rm", "-v", "etc:/etc", "tiny", "test", "-e", "/etc/passwd"]).exits(1);
    world.brig(["run", "--rm", "-v", "bare:/etc:nocopy", "tiny", "test", "-e", "/etc/passwd"]).exits(1);
}

#[test]
fn root_bind_mounts() {
    let Some(world) = World::root() else { return };
    let folder = world.path("shared");
    std::fs::create_dir(&folder).expect("make a folder");
    std::fs::write(folder.join("in"), "from outside").expect("write");
    world.own(&folder);
    let folder = folder.to_string_lossy().into_owned();
    let script = "cat /s/in; echo from inside > /s/out";
    assert_eq!(
        world.brig(["run", "--rm", "-v", &format!("{folder}:/s"), "tiny", "sh", "-c", script]).ok(),
        "from outside"
    );
    assert_eq!(std::fs::read_to_string(world.path("shared/out")).expect("read"), "from inside\n");
    let read_only = world.brig(["run", "--rm", "-v", &format!("{folder}:/s:ro"), "tiny", "touch", "/s/x"]);
    assert!(read_only.exits(1).contains("Read-only"), "{read_only:?}");
    // -v makes what is missing, --mount does not.
    world.brig(["run", "--rm", "-v", &format!("{folder}/new:/s"), "tiny", "true"]).ok();
    assert!(world.path("shared/new").is_dir());
    let missing = format!("type=bind,source={folder}/missing,target=/s");
    world.brig(["run", "--rm", "--mount", &missing, "tiny", "true"]).refuses(125, &["missing"]);
    // One file.
    let file = format!("type=bind,src={folder}/in,dst=/etc/motd,readonly");
    assert_eq!(
        world.brig(["run", "--rm", "--mount", &file, "tiny", "cat", "/etc/motd"]).ok(),
        "from outside"
    );
}

#[test]
fn root_mounts_that_make_no_sense_are_refused() {
    let Some(world) = World::root() else { return };
    for (option, value, word) in [
        ("-v", "a:b", "b"),
        ("-v", "/a:/b:wrong", "wrong"),
        ("-v", "/a:/", "/"),
        ("--mount", "type=bind,target=/x", "source"),
        ("--mount", "type=nothing,target=/x", "nothing"),
        ("--mount", "source=a", "target"),
        ("--tmpfs", "relative", "relative"),
        ("--tmpfs", "/t:size=big", "size"),
    ] {
        world.brig(["run", "--rm", option, value, "tiny", "true"]).refuses(125, &[word]);
    }
    assert_eq!(world.brig(["ps", "-aq"]).ok(), "");
    assert_eq!(world.brig(["volume", "ls", "-q"]).ok(), "");
}

#[test]
fn root_volumes_from_another_container() {
    let Some(world) = World::root() else { return };
    world.brig(["run", "--name", "owner", "-v", "/data", "tiny", "sh", "-c", "echo x > /data/f"]).ok();
    assert_eq!(world.brig(["run", "--rm", "--volumes-from", "owner", "tiny", "cat", "/data/f"]).ok(), "x");
    world.brig(["run", "--rm", "--volumes-from", "owner:ro", "tiny", "touch", "/data/g"]).exits(1);
    world.brig(["rm", "-v", "owner"]).ok();
    assert_eq!(world.brig(["volume", "ls", "-q"]).ok(), "");
}

#[test]
fn root_a_link_in_the_image_cannot_move_a_mount_out() {
    let Some(world) = World::root() else { return };
    let host = world.path("shared");
    std::fs::create_dir(&host).expect("make a folder");
    let tar = world.path("link.tar").to_string_lossy().into_owned();
    world
        .sh(&format!(
            "mkdir t && cd t && tar xf ../tiny.tar && ln -s ../../../../../../tmp link && tar cf {tar} ."
        ))
        .ok();
    world.brig(["import", &tar, "linked"]).ok();
    let bind = format!("{}:/link/inner", host.display());
    assert_eq!(world.brig(["run", "--rm", "-v", &bind, "linked", "ls", "/tmp"]).ok(), "inner");
    assert!(!std::path::Path::new("/tmp/inner").exists());
}

#[test]
fn root_a_link_in_a_volume_cannot_move_a_subpath_out() {
    let Some(world) = World::root() else { return };
    let script =
        "mkdir -p /v/sub; touch /v/sub/in; ln -s / /v/out; ln -s ../../../../.. /v/up; ln -s sub /v/same";
    world.brig(["run", "--rm", "-v", "vol:/v", "tiny", "sh", "-c", script]).ok();
    let list = |subpath: &str| {
        let mount = format!("type=volume,source=vol,target=/c,volume-subpath={subpath}");
        world.brig(["run", "--rm", "--mount", &mount, "tiny", "ls", "/c"])
    };
    assert_eq!(list("sub").ok(), "in");
    assert_eq!(list("same").ok(), "in");
    // The volume itself is what `/` means in it.
    assert_eq!(list("out/sub").ok(), "in");
    assert_eq!(list("up/sub").ok(), "in");
    list("out/etc").refuses(125, &["out/etc", "vol"]);
    list("../../etc").refuses(125, &["subpath"]);
    list("nowhere").refuses(125, &["nowhere", "No such file"]);
    world.brig(["volume", "rm", "vol"]).ok();
}
