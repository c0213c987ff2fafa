//! `diff`, `export` and `commit`: what a container made of its image.

use testkit::World;

#[test]
fn root_diff_lists_what_changed_and_nothing_else() {
    let Some(world) = World::root() else { return };
    world.brig(["run", "--name", "idle", "tiny", "true"]).ok();
    assert_eq!(world.brig(["diff", "idle"]).ok(), "");
    world.brig(["create", "--name", "fresh", "tiny"]).ok();
    assert_eq!(world.brig(["diff", "fresh"]).ok(), "");
    let script = "echo x > /tmp/new; mkdir -p /srv/a/b; rm /bin/vi; echo y >> /etc/passwd; rm -r /home; mkdir /home; chmod 700 /root";
    world
        .brig([
            "run",
            "-d",
            "--name",
            "box",
            "-v",
            "/data",
            "tiny",
            "sh",
            "-c",
            &format!("{script}; sleep 1000"),
        ])
        .ok();
    let wanted = "C /bin\nD /bin/vi\nA /data\nC /etc\nC /etc/passwd\nC /home\nC /root\nA /srv\nA /srv/a\nA /srv/a/b\nC /tmp\nA /tmp/new";
    testkit::eventually("all is changed", || world.brig(["diff", "box"]).ok().contains("/srv/a/b"));
    let got = world.brig(["diff", "box"]).ok();
    // The mode of /root is 0700 in the image already.
    assert_eq!(got.replace("C /root\n", ""), wanted.replace("C /root\n", ""));
    world.brig(["stop", "-t", "0", "box"]).ok();
    assert_eq!(world.brig(["container", "diff", "box"]).ok(), got);
    world.brig(["diff", "none"]).refuses(1, &["No such container: none"]);
    world.brig(["diff"]).refuses(1, &["requires 1 argument"]);
}

#[test]
fn root_export_has_the_files_and_not_the_mounts() {
    let Some(world) = World::root() else { return };
    let script = "echo kept > /tmp/new; echo volume > /data/file; sleep 1000";
    world.brig(["run", "-d", "--name", "box", "-v", "/data", "tiny", "sh", "-c", script]).ok();
    testkit::eventually("the files are there", || {
        world.brig(["exec", "box", "test", "-s", "/data/file"]).code == 0
    });
    for state in ["running", "exited"] {
        world.brig(["export", "-o", "box.tar", "box"]).ok();
        let names = world.sh("tar -tf box.tar").ok();
        for name in ["tmp/new", "data/", "proc/", "bin/busybox"] {
            assert!(names.lines().any(|line| line == name), "{state}: {name} is missing");
        }
        assert!(!names.contains("data/file") && !names.contains("proc/self") && !names.contains("dev/null"));
        assert_eq!(world.sh("tar -xOf box.tar tmp/new").ok(), "kept");
        world.brig(["stop", "-t", "0", "box"]).ok();
    }
    world.brig(["import", "box.tar", "again"]).ok();
    assert_eq!(world.brig(["run", "--rm", "again", "cat", "/tmp/new"]).ok(), "kept");
    world.brig(["export", "none"]).refuses(1, &["No such container"]);
    assert!(!world.path("none.tar").exists());
    world.brig(["export", "-o", "none.tar", "none"]).exits(1);
    assert_eq!(world.sh("ls | grep none").stdout, "");
}

#[test]
fn root_commit_makes_an_image_of_what_changed() {
    let Some(world) = World::root() else { return };
    let script = "echo made > /srv-file; rm /bin/vi; rm -r /home; mkdir /home; echo x > /home/own; ln /srv-file /hard; chown 1000:1000 /home; sleep 1000";
    world
        .brig([
            "run", "-d", "--name", "box", "-e", "GIVEN=1", "-v", "/data", "-w", "/tmp", "tiny", "sh", "-c",
            script,
        ])
        .ok();
    testkit::eventually("the files are there", || {
        world.brig(["exec", "box", "test", "-f", "/hard"]).code == 0
    });
    let commit = [
        "commit",
        "-a",
        "me",
        "-m",
        "why",
        "-c",
        "CMD [\"cat\", \"/srv-file\"]",
        "-c",
        "LABEL a=b",
        "box",
        "made:1",
    ];
    let id = world.brig(commit).ok();
    assert!(id.starts_with("sha256:"), "{id}");
    assert_eq!(world.inspect("box", "{{.State.Status}}"), "running");
    assert_eq!(world.brig(["run", "--rm", "made:1"]).ok(), "made");
    let look = "test ! -e /bin/vi && test ! -e /home/user && cat /home/own && stat -c '%h' /hard && stat -c %u /home && pwd && echo $GIVEN";
    assert_eq!(world.brig(["run", "--rm", "made:1", "sh", "-c", look]).ok(), "x\n2\n1000\n/tmp\n1");
    assert_eq!(world.inspect("made:1", "{{.Author}} {{.Comment}} {{.Config.Labels.a}}"), "me why b");
    let history =
        world.brig(["history", "--no-trunc", "--format", "{{.Comment}}|{{.CreatedBy}}", "made:1"]).ok();
    assert!(history.starts_with("why|sh -c echo made"), "{history}");
    assert_eq!(history.lines().count(), 2);
    // It travels: its blobs are whole.
    world.brig(["save", "-o", "made.tar", "made:1"]).ok();
    world.brig(["rmi", "made:1"]).ok();
    world.brig(["load", "-i", "made.tar"]).ok();
    assert_eq!(world.brig(["run", "--rm", "made:1"]).ok(), "made");
    // A stopped and a fresh one, on top of the new image.
    world.brig(["stop", "-t", "0", "box"]).ok();
    world.brig(["commit", "box"]).ok();
    world.brig(["create", "--name", "fresh", "made:1"]).ok();
    world.brig(["commit", "fresh", "fresh"]).ok();
    assert_eq!(world.brig(["run", "--rm", "fresh"]).ok(), "made");
}

#[test]
fn root_a_bad_commit_makes_nothing() {
    let Some(world) = World::root() else { return };
    world.brig(["create", "--name", "box", "tiny"]).ok();
    let images = world.brig(["images", "-aq"]).ok();
    world.brig(["commit", "-c", "FROM x", "box"]).refuses(1, &["FROM is not a change"]);
    world.brig(["commit", "box", "UPPER"]).refuses(1, &["must be lowercase"]);
    world.brig(["commit", "none"]).refuses(1, &["No such container"]);
    assert_eq!(world.brig(["images", "-aq"]).ok(), images);
}

/// A commit that is killed while the container is frozen: the next command thaws it.
#[test]
fn root_a_killed_commit_leaves_nothing_frozen() {
    let Some(world) = World::root() else { return };
    let script = "for i in 1 2 3 4 5 6 7 8; do dd if=/dev/zero of=/tmp/$i bs=1M count=64 2>/dev/null; done; touch /ready; while :; do date > /tmp/beat; sleep 0.1; done";
    world.brig(["run", "-d", "--name", "box", "tiny", "sh", "-c", script]).ok();
    testkit::eventually("the files are there", || {
        world.brig(["exec", "box", "test", "-f", "/ready"]).code == 0
    });
    let id = world.inspect("box", "{{.Id}}");
    let mark = world.run_root().join("containers").join(&id).join("frozen");
    let mut child = world.brig_command(["commit", "box"]).spawn().expect("start brig");
    testkit::eventually("it is frozen", || mark.exists() || matches!(child.try_wait(), Ok(Some(_))));
    let commits = |pid: &&i32| {
        std::fs::read(format!("/proc/{pid}/cmdline"))
            .is_ok_and(|line| line.windows(7).any(|w| w == b"commit\0"))
    };
    for pid in world.brig_processes().iter().filter(commits) {
        drop(std::process::Command::new("kill").args(["-9", &pid.to_string()]).current_dir("/").status());
    }
    drop(child.wait());
    // Whether it was killed in time or not: the container lives on.
    world.brig(["ps"]).ok();
    assert!(!mark.exists());
    assert_eq!(world.brig(["exec", "box", "echo", "alive"]).ok(), "alive");
    world.brig(["commit", "box"]).ok();
    // The half of a layer that it had written is swept with the images.
    world.brig(["image", "prune", "-f"]).ok();
}
