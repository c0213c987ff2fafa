//! `cp`: both ways, streams, running and stopped containers, volumes, links; and never outside.

use testkit::World;

/// Makes the folder `src` with a file, a link, a second name and a folder in it.
fn source(world: &World) -> String {
    world.sh("mkdir -p src/sub && echo text > src/file && ln -s file src/link && ln src/file src/hard && echo deep > src/sub/deep").ok();
    world.path("src").to_string_lossy().into_owned()
}

#[test]
fn root_files_and_folders_both_ways() {
    let Some(world) = World::root() else { return };
    let src = source(&world);
    world.brig(["run", "-d", "--name", "box", "-v", "data:/data", "tiny", "sleep", "1000"]).ok();
    let file = format!("{src}/file");
    // Docker's table: what is there decides what is made.
    for (from, to, made) in [
        (file.as_str(), "box:/tmp/new", "/tmp/new"),
        (&file, "box:/tmp", "/tmp/file"),
        (&file, "box:/tmp/", "/tmp/file"),
        (&src, "box:/tmp/dir", "/tmp/dir/sub/deep"),
        (&src, "box:/tmp/dir", "/tmp/dir/src/sub/deep"),
        (&format!("{src}/."), "box:/data", "/data/sub/deep"),
        ("src/.", "box:tmp/relative", "/tmp/relative/sub/deep"),
    ] {
        let said = world.brig(["cp", from, to]).exits(0);
        assert!(said.contains("Successfully copied"), "{said}");
        world.brig(["exec", "box", "test", "-f", made]).ok();
    }
    assert_eq!(
        world.brig(["exec", "box", "sh", "-c", "stat -c %h /data/file; readlink /data/link"]).ok(),
        "2\nfile"
    );
    assert_eq!(world.brig(["cp", "-q", "box:/data", "out"]).exits(0), "");
    assert_eq!(world.sh("cat out/sub/deep; stat -c %h out/hard; readlink out/link").ok(), "deep\n2\nfile");
    world.brig(["cp", "-L", "box:/data/link", "followed"]).ok();
    assert_eq!(world.sh("cat followed").ok(), "text");
    world.brig(["cp", "box:/data/link", "kept"]).ok();
    assert_eq!(world.sh("readlink kept").ok(), "file");
}

#[test]
fn root_archives_by_the_standard_streams() {
    let Some(world) = World::root() else { return };
    source(&world);
    world.brig(["run", "-d", "--name", "box", "tiny", "sleep", "1000"]).ok();
    let brig = world.program().display().to_string();
    for packer in ["cat", "gzip", "zstd -q"] {
        if packer.starts_with("zstd") && world.sh("command -v zstd").code != 0 {
            continue;
        }
        world.brig(["exec", "box", "rm", "-rf", "/tmp/in"]).ok();
        world.brig(["exec", "box", "mkdir", "/tmp/in"]).ok();
        world.sh(&format!("tar -c src | {packer} | {brig} cp - box:/tmp/in")).ok();
        assert_eq!(world.brig(["exec", "box", "cat", "/tmp/in/src/sub/deep"]).ok(), "deep");
    }
    assert_eq!(
        world.sh(&format!("{brig} cp box:/tmp/in/src - | tar -t | sort")).ok(),
        "src/\nsrc/file\nsrc/hard\nsrc/link\nsrc/sub/\nsrc/sub/deep"
    );
    assert_eq!(world.sh(&format!("{brig} cp box:/tmp/in/src/sub/. - | tar -t")).ok(), "./\n./deep");
    assert_eq!(world.sh(&format!("{brig} cp box:/etc/passwd - | tar -xO | head -c 4")).ok(), "root");
    world.brig_with_input(["cp", "-", "box:/etc/passwd"], b"").refuses(1, &["must be a directory"]);
    world.brig_with_input(["cp", "-", "box:/tmp"], b"no archive").refuses(1, &["tar"]);
    world.brig_with_input(["cp", "-", "box:/tmp"], b"BZh9xxxxxxxx").refuses(1, &["bzip2", "not supported"]);
}

#[test]
fn root_wrong_ends_are_refused_in_dockers_words() {
    let Some(world) = World::root() else { return };
    let src = source(&world);
    world.brig(["create", "--name", "box", "tiny"]).ok();
    let file = format!("{src}/file");
    for (from, to, words) in [
        ("here", "there", "must specify at least one container source"),
        ("box:/a", "box:/b", "copying between containers is not supported"),
        ("", "box:/b", "source can not be empty"),
        ("box:/a", "", "destination can not be empty"),
        ("none:/a", ".", "No such container: none"),
        ("box:/none", ".", "Could not find the file /none in container box"),
        ("/none", "box:/", "no such file or directory"),
        (&file, "box:/none/file", "Could not find the file /none in container box"),
        (&file, "box:/none/", "no such directory"),
        (&src, "box:/etc/passwd", "cannot copy directory"),
        ("box:/etc/passwd", "none/passwd", "directory"),
        ("box:/etc", &file, "cannot copy directory"),
    ] {
        world.brig(["cp", from, to]).refuses(1, &[words]);
    }
    assert_eq!(world.sh("ls").ok().lines().filter(|name| name.starts_with("none")).count(), 0);
}

#[test]
fn root_a_stopped_container_is_the_same_as_a_running_one() {
    let Some(world) = World::root() else { return };
    let src = source(&world);
    let bind = world.path("bound");
    std::fs::create_dir(&bind).expect("make a folder");
    world.own(&bind);
    let bound = format!("{}:/bound", bind.display());
    let once = "ln -s /run/real /var-run; mkdir -p /run/real";
    world.brig(["create", "--name", "box", "-v", "data:/data", "-v", &bound, "tiny", "sh", "-c", once]).ok();
    // Never started: volumes are there and the mount points are made.
    world.brig(["cp", &src, "box:/data/one"]).ok();
    world.brig(["start", "-a", "box"]).ok();
    // Absolute links lead to what they lead to inside.
    for target in ["box:/data/two", "box:/bound/two", "box:/var-run/two", "box:/root/two"] {
        world.brig(["cp", &src, target]).ok();
    }
    assert!(bind.join("two/sub/deep").is_file());
    for path in ["/data/one", "/data/two", "/bound/two", "/run/real/two", "/root/two"] {
        world.brig(["cp", &format!("box:{path}/sub/deep"), "back"]).ok();
        assert_eq!(world.sh("cat back; rm back").ok(), "deep", "{path}");
    }
    world.brig(["rm", "box"]).ok();
    world.brig(["run", "--rm", "-v", "data:/data", "tiny", "cat", "/data/two/file"]).ok();
}

#[test]
fn root_read_only_and_kernel_file_systems_are_refused() {
    let Some(world) = World::root() else { return };
    let file = format!("{}/file", source(&world));
    let run = |name: &str, flags: &[&str], start: &str| {
        let fixed = [start, "--name", name];
        let rest = ["tiny", "sleep", "1000"];
        world.brig(fixed.iter().chain(flags).chain(&rest).copied()).ok();
    };
    run("stopped", &["--read-only", "-v", "data:/data:ro"], "create");
    world
        .brig(["run", "-d", "--name", "alive", "--read-only", "-v", "data:/data:ro", "tiny", "sleep", "1000"])
        .ok();
    for name in ["stopped", "alive"] {
        world.brig(["cp", &file, &format!("{name}:/etc/x")]).refuses(1, &["rootfs is marked read-only"]);
        world.brig(["cp", &file, &format!("{name}:/data/x")]).refuses(1, &["volume is marked read-only"]);
    }
    world.brig(["cp", "alive:/proc/version", "."]).refuses(1, &["/proc"]);
    world.brig(["cp", &file, "alive:/proc/sys/kernel/hostname"]).refuses(1, &["/proc"]);
    // A whole root comes without them.
    world.brig(["cp", "alive:/", "whole"]).ok();
    assert_eq!(world.sh("ls whole/proc whole/sys | wc -w").ok(), "2");
    // What is mounted as a file is written to.
    run("plain", &["-d"], "run");
    world.brig(["cp", &file, "plain:/etc/hosts"]).ok();
    assert_eq!(world.brig(["exec", "plain", "cat", "/etc/hosts"]).ok(), "text");
}

#[test]
fn root_owners_and_set_id_bits() {
    let Some(world) = World::root_because("only root may give files away") else { return };
    source(&world);
    world.brig(["run", "-d", "--name", "box", "tiny", "sleep", "1000"]).ok();
    world.sh("chown 1234:1235 src/file; chmod 4755 src/file").ok();
    let owner = "stat -c '%u:%g %a' /tmp/file";
    world.brig(["cp", "src/file", "box:/tmp/file"]).ok();
    assert_eq!(world.brig(["exec", "box", "sh", "-c", owner]).ok(), "0:0 755");
    world.brig(["cp", "-a", "src/file", "box:/tmp/file"]).ok();
    assert_eq!(world.brig(["exec", "box", "sh", "-c", owner]).ok(), "1234:1235 4755");
    world.brig(["exec", "box", "sh", "-c", "chown 0:0 /tmp/file; chmod 4755 /tmp/file"]).ok();
    world.brig(["cp", "box:/tmp/file", "plain"]).ok();
    world.brig(["cp", "-a", "box:/tmp/file", "exact"]).ok();
    assert_eq!(world.sh("stat -c '%u:%g %a' plain exact").ok(), "0:0 755\n0:0 4755");
}

/// CVE-2018-15664, CVE-2019-10152: the container exchanges folders for links that lead outside while they are copied.
#[test]
fn root_nothing_outside_is_reached_while_the_container_exchanges_links() {
    let Some(world) = World::root() else { return };
    world.sh("mkdir outside && echo canary > outside/file && mkdir in && echo mine > in/file").ok();
    let outside = world.path("outside").display().to_string();
    let script = format!(
        "mkdir -p /w/dir; echo inside > /w/dir/file; ln -s {outside} /w/link; while :; do mv /w/dir /w/x; mv /w/link /w/dir; mv /w/dir /w/link; mv /w/x /w/dir; done"
    );
    world.brig(["run", "-d", "--name", "box", "tiny", "sh", "-c", &script]).ok();
    for _ in 0..25 {
        // Some fail, as the path is not there at that moment; none may reach out.
        world.brig(["cp", "-L", "box:/w/dir/file", "got"]);
        world.brig(["cp", "box:/w", "tree"]);
        world.brig(["cp", "in/file", "box:/w/dir/file"]);
        world.brig(["cp", "in/.", "box:/w/dir"]);
    }
    assert_eq!(world.sh("cat outside/file; ls outside").ok(), "canary\nfile");
    assert_eq!(world.sh("cat got 2>/dev/null | grep -c canary; find tree -type f 2>/dev/null | xargs -r grep -l canary").stdout.trim(), "0");
}

#[test]
fn root_a_plain_user_copies_both_ways() {
    let Some(world) = World::plain_user() else { return };
    world
        .sh_as_root(&format!(
            "cd {} && mkdir src && echo text > src/file && chown -R 4242:4242 src",
            world.path("").display()
        ))
        .ok();
    world
        .brig([
            "run",
            "-d",
            "--network",
            "none",
            "--name",
            "box",
            "-v",
            "data:/data",
            "tiny",
            "sleep",
            "1000",
        ])
        .ok();
    world.brig(["cp", "src", "box:/data/src"]).ok();
    assert_eq!(world.brig(["exec", "box", "stat", "-c", "%u", "/data/src/file"]).ok(), "0");
    world.brig(["cp", "box:/data/src", "home/back"]).ok();
    assert_eq!(world.sh("stat -c %u home/back/file").ok(), "4242");
    world.brig(["stop", "-t", "0", "box"]).ok();
    world.brig(["cp", "box:/data/src/file", "home/stopped"]).ok();
    assert_eq!(world.sh("cat home/stopped").ok(), "text");
}

/// The numbers of a container with a user namespace of its own are other ones outside.
#[test]
fn root_owners_are_those_of_the_containers_users() {
    let Some(world) = World::root() else { return };
    source(&world);
    let started = world.brig([
        "run",
        "-d",
        "--userns",
        "auto",
        "--name",
        "box",
        "-v",
        "data:/data",
        "tiny",
        "sleep",
        "1000",
    ]);
    if started.stderr.contains("idmap") {
        eprintln!("SKIP root_owners_are_those_of_the_containers_users: the file system cannot shift owners");
        return;
    }
    started.ok();
    world.sh("chown 1234:1235 src/sub/deep").ok();
    let brig = world.program().display().to_string();
    let look = |path: &str| world.brig(["exec", "box", "stat", "-c", "%u:%g", path]).ok();
    for folder in ["/data", "/tmp"] {
        world.brig(["cp", "src", &format!("box:{folder}/plain")]).ok();
        world.brig(["cp", "-a", "src", &format!("box:{folder}/exact")]).ok();
        world.sh(&format!("tar -c src | {brig} cp - box:{folder}")).ok();
        assert_eq!(look(&format!("{folder}/plain/sub/deep")), "0:0");
        assert_eq!(look(&format!("{folder}/exact/sub/deep")), "1234:1235");
        assert_eq!(look(&format!("{folder}/src/sub/deep")), "1234:1235");
    }
    world.brig(["cp", "-a", "box:/tmp/exact", "back"]).ok();
    assert_eq!(world.sh("stat -c %u:%g back/sub/deep back/file").ok(), "1234:1235\n0:0");
    let listed = world.sh(&format!("{brig} cp box:/data/exact - | tar -tv --numeric-owner | grep deep")).ok();
    assert!(listed.contains("1234/1235"), "{listed}");
}
