//! `--userns`: whose numbers a container has, and whose its files are.

use testkit::World;

use crate::PATIENT;

fn line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn root_containers_with_users_of_their_own() {
    let Some(world) = World::root_because("only root may show an image's files under other numbers") else {
        return;
    };
    let bind = world.path("bind");
    std::fs::create_dir(&bind).expect("make a folder");
    let script = "echo x > /data/f; chown 7:8 /data/f; stat -c %u:%g / /etc/passwd /data /data/f /etc/hosts; cat /proc/self/uid_map; id -u; touch /bind/f || echo refused; touch /new";
    let run = |name: &str, mode: &str| {
        let args = ["run", "--name", name, "--userns", mode, "-v", "data:/data", "-v"];
        let bound = format!("{}:/bind", bind.display());
        let done = world.brig(args.into_iter().chain([&*bound, "tiny", "sh", "-c", script]));
        line(&done.ok())
    };
    // The image is root's inside, a volume keeps the container's own numbers, the host's folders are the host's.
    assert_eq!(run("one", "auto:size=2000"), "0:0 0:0 0:0 7:8 0:0 0 1879048192 2000 0 refused");
    assert_eq!(run("two", "auto"), "0:0 0:0 0:0 7:8 0:0 0 1879050192 65536 0 refused");
    assert_eq!(run("three", "private"), "0:0 0:0 0:0 7:8 0:0 0 1879115728 65536 0 refused");
    // What a removed container had is given out again, and a restart keeps what it has.
    world.brig(["rm", "one"]).ok();
    assert_eq!(run("four", "auto:size=1024"), "0:0 0:0 0:0 7:8 0:0 0 1879048192 1024 0 refused");
    world.brig(["start", "-a", "two"]).ok();
    // On disk there is nothing of the other numbers.
    let found = world.sh(&format!("find {} -uid +65535 | wc -l", world.data_root().display()));
    assert_eq!(found.ok(), "0");
    world
        .brig(["run", "--rm", "--userns", "auto:size=1024", "-u", "1024", "tiny", "id"])
        .refuses(125, &["1023"]);
    world.brig(["rm", "two", "three", "four"]).ok();
    world.brig(["volume", "rm", "data"]).ok();
}

#[test]
fn root_a_fresh_volume_of_a_container_with_other_numbers_has_the_images_owners() {
    let Some(world) = World::root_because("only root may show an image's files under other numbers") else {
        return;
    };
    world
        .brig([
            "run",
            "--rm",
            "--userns",
            "auto",
            "-v",
            "etc:/etc",
            "tiny",
            "stat",
            "-c",
            "%u",
            "/etc/passwd",
        ])
        .ok();
    let owner = world.sh(&format!("stat -c %u {}/volumes/etc/_data/passwd", world.data_root().display()));
    assert_eq!(owner.ok(), "0");
    world.brig(["volume", "rm", "etc"]).ok();
}

#[test]
fn root_containers_with_a_user_namespace_live_like_others() {
    let Some(world) = World::root() else { return };
    world.brig(["run", "-d", "--name", "box", "--userns", "private", "tiny", "sh", "-c", PATIENT]).ok();
    let of = |world: &World, what: &str| world.brig(["exec", "box", "readlink", what]).ok();
    assert_eq!(of(&world, "/proc/self/ns/user"), of(&world, "/proc/1/ns/user"));
    let pid = world.inspect("box", "{{.State.Pid}}");
    let outer = world.sh_as_root("readlink /proc/1/ns/user").ok();
    assert_ne!(world.sh_as_root(&format!("readlink /proc/{pid}/ns/user")).ok(), outer);
    assert_eq!(world.inspect("box", "{{.HostConfig.UsernsMode}}"), "private");

    assert!(world.brig(["top", "box"]).ok().contains("sleep"));
    world.brig(["restart", "-t", "1", "box"]).ok();
    assert_eq!(world.brig(["exec", "-u", "1000", "box", "id", "-u"]).ok(), "1000");
    world.brig(["rm", "-f", "box"]).ok();
}

#[test]
fn root_user_namespaces_that_cannot_be_had() {
    let Some(world) = World::root() else { return };
    let run = |args: &[&str]| world.brig(["run", "--rm"].iter().chain(args).chain(&["tiny", "id"]).copied());
    run(&["--userns", "nomap"]).refuses(125, &["nomap"]);
    run(&["--userns", "x"]).refuses(125, &["invalid USER mode"]);
    run(&["--userns", "keep-id", "--network", "host"]).refuses(125, &["--network host"]);
    run(&["--userns", "private", "--privileged"]).refuses(125, &["privileged"]);
    if world.is_plain() {
        run(&["--userns", "auto"]).refuses(125, &["only root"]);
    }
    assert_eq!(world.brig(["ps", "-aq"]).ok(), "");
}

#[test]
fn root_and_userns_files_of_keep_id_belong_to_the_caller() {
    let Some(world) = World::plain_user() else { return };
    let bind = world.path("bind");
    std::fs::create_dir(&bind).expect("make a folder");
    world.own(&bind);
    let bound = format!("{}:/bind", bind.display());
    let run = |mode: &str, more: &[&str], script: &str| {
        let args = ["run", "--rm", "--network", "none", "--userns", mode, "-v", &bound];
        line(&world.brig(args.iter().chain(more).chain(&["tiny", "sh", "-c", script]).copied()).ok())
    };
    assert_eq!(
        run("keep-id", &[], "touch /bind/a; stat -c %u:%g /bind /bind/a; id -u; id -g"),
        "4242:4242 4242:4242 4242 4242"
    );
    assert_eq!(
        run("keep-id:uid=200,gid=210", &[], "touch /bind/b; stat -c %u:%g /bind/b; id -u; id -g"),
        "200:210 200 210"
    );
    // Who is asked for is had, and writes as somebody else outside.
    assert_eq!(run("keep-id", &["-u", "0"], "id -u; touch /bind/c; stat -c %u /bind/c"), "0 0");
    let owners = world.sh(&format!("stat -c %u {}/a {0}/b {0}/c", bind.display())).ok();
    assert_eq!(line(&owners), "4242 4242 504241");
    world
        .brig([
            "run",
            "--rm",
            "--network",
            "none",
            "-v",
            &bound,
            "tiny",
            "rm",
            "/bind/a",
            "/bind/b",
            "/bind/c",
        ])
        .ok();
}
