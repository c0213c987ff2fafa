//! A plain user's network, and what the machine may lack: each is told in a sentence that says what to do.

use testkit::{World, eventually, needs};

use crate::PATIENT;

fn with_uplink() -> Option<World> {
    let world = needs::programs(&["pasta", "curl"]).then(World::plain_user).flatten()?;
    world.give_uplink();
    Some(world)
}

#[test]
fn root_and_userns_published_ports_of_a_plain_user_answer() {
    let Some(world) = with_uplink() else { return };
    let serve = "mkdir /www; echo hello > /www/index.html; httpd -p 80 -h /www; ".to_owned() + PATIENT;
    world.brig(["run", "-d", "--name", "web", "-p", "127.0.0.1:8080:80", "tiny", "sh", "-c", &serve]).ok();
    let fetch = "curl -fsS -m 3 http://127.0.0.1:8080/";
    eventually("the container answers", || world.sh(fetch).stdout.trim() == "hello");
    assert_eq!(world.brig(["port", "web"]).ok(), "80/tcp -> 127.0.0.1:8080");
    let taken = world.brig(["run", "--rm", "-p", "127.0.0.1:8080:80", "tiny", "true"]);
    taken.exits(125);
    // The other addresses of the machine do not answer.
    world.sh("curl -fsS -m 3 http://192.0.2.2:8080/").exits(7);
    world.brig(["stop", "web"]).ok();
    world.sh(fetch).exits(7);
    world.brig(["start", "web"]).ok();
    eventually("it answers again", || world.sh(fetch).stdout.trim() == "hello");
    world.brig(["rm", "-f", "web"]).ok();
}

/// Without `--no-map-gw` the gateway's address, and with `--tcp-ns auto` the loopback, would lead to the host's own ports.
#[test]
fn root_and_userns_the_hosts_loopback_is_out_of_reach_of_a_plain_user() {
    let Some(world) = with_uplink() else { return };
    world.sh_as_root("mkdir /dev/net/www; echo secret > /dev/net/www/index.html; busybox httpd -p 127.0.0.1:9999 -h /dev/net/www").ok();
    assert_eq!(world.sh("curl -fsS -m 3 http://127.0.0.1:9999/").ok(), "secret");
    for address in ["127.0.0.1", "192.0.2.1"] {
        // Process 1 would not hear the signal.
        let fetch = format!("timeout 3 wget -qO- http://{address}:9999/; echo $?");
        let done = world.brig(["run", "--rm", "tiny", "sh", "-c", &fetch]);
        assert!(["1", "124", "143"].contains(&done.stdout.trim()), "{address}: {done:?}");
    }
    world.sh_as_root("kill $(pidof busybox)").ok();
}

#[test]
fn root_and_userns_what_a_plain_user_cannot_have_is_said() {
    let Some(world) = with_uplink() else { return };
    for (args, why) in [
        (&["-p", "80:80"][..], "ports below"),
        (&["-p", "8080:80/sctp"], "tcp and udp"),
        (&["--add-host", "h:host-gateway"], "host-gateway"),
        (&["-u", "100000"], "/etc/subuid"),
    ] {
        let done = world.brig(["run", "--rm"].into_iter().chain(args.iter().copied()).chain(["tiny", "id"]));
        assert!(done.stderr.contains(why), "{args:?}: {}", done.stderr);
        assert_eq!(done.code, 125, "{args:?}");
    }
    let limited =
        world.brig(["run", "--rm", "--network", "none", "-m", "64m", "--cpus", "0.5", "tiny", "id"]);
    for option in ["--memory", "--cpus"] {
        assert!(limited.stderr.contains(&format!("{option} has no effect")), "{}", limited.stderr);
    }
    limited.exits(0);
    // What is had in spite of it: the host's processes, a device that the user may use.
    world.brig(["run", "--rm", "--network", "none", "--pid", "host", "tiny", "id"]).ok();
    world
        .brig(["run", "--rm", "--network", "none", "--device", "/dev/net/tun", "tiny", "ls", "/dev/net/tun"])
        .ok();
}

#[test]
fn root_and_userns_without_pasta_a_plain_user_is_told_to_install_it() {
    let Some(world) = with_uplink() else { return };
    world.sh_as_root("mount --bind /dev/null $(command -v pasta)").ok();
    let done = world.brig(["run", "--rm", "tiny", "id"]);
    assert!(done.stderr.contains("apt-get install passt"), "{}", done.stderr);
    done.exits(125);
    world.brig(["run", "--rm", "--network", "none", "tiny", "id"]).ok();
}

#[test]
fn root_and_userns_without_subordinate_users_one_is_left() {
    let Some(world) = World::plain_user() else { return };
    let one = |why: &str| {
        let done = world.brig(["run", "--rm", "--network", "none", "tiny", "id", "-u"]);
        assert_eq!(done.stdout.trim(), "0", "{}", done.stderr);
        for word in [why, "apt-get install uidmap", "usermod --add-subuids"] {
            assert!(done.stderr.contains(word), "{word}: {}", done.stderr);
        }
        let other = world.brig(["run", "--rm", "--network", "none", "-u", "1000", "tiny", "id"]);
        assert!(other.stderr.contains("cannot run as user 1000"), "{}", other.stderr);
        other.exits(125);
    };
    world.sh_as_root("mount --bind /dev/null $(command -v newuidmap)").ok();
    one("newuidmap is not installed");
    // The world's own copy, not the machine's.
    world.sh_as_root("findmnt /etc/subuid > /dev/null; : > /etc/subuid").ok();
    one("/etc/subuid has no range for plain");
}

#[test]
fn root_and_userns_containers_of_a_plain_user_share_a_namespace_of_users() {
    let Some(world) = World::plain_user() else { return };
    let start = |name: &str| {
        world.brig(["run", "-d", "--name", name, "--network", "none", "tiny", "sh", "-c", PATIENT]).ok();
        let pid = world.inspect(name, "{{.State.Pid}}");
        world.sh_as_root(&format!("readlink /proc/{pid}/ns/user")).ok()
    };
    let (first, second) = (start("first"), start("second"));
    assert_eq!(first, second);
    assert_ne!(first, world.sh_as_root("readlink /proc/1/ns/user").ok());
    // A process of another user inside is reached all the same, and so is one whose monitor was killed.
    world.kill_brig_processes();
    eventually("the monitors are gone", || world.brig_processes().is_empty());
    assert_eq!(world.brig(["exec", "-u", "1000", "first", "id", "-u"]).ok(), "1000");
    world.brig(["rm", "-f", "first", "second"]).ok();
}

#[test]
fn root_and_userns_a_run_root_in_another_users_hands_is_refused() {
    let Some(world) = World::plain_user() else { return };
    let folder = world.path("theirs");
    std::fs::create_dir(&folder).expect("make a folder");
    world.sh_as_root(&format!("chmod 777 {}", folder.display())).ok();
    let folder = folder.to_string_lossy().into_owned();
    for run in [folder.clone(), format!("{folder}/below")] {
        let done = world.brig(["--run-root", &run, "ps"]);
        assert!(done.stderr.contains("another user's hands"), "{run}: {}", done.stderr);
        done.exits(1);
    }
}

#[test]
fn root_and_userns_an_image_with_more_users_than_are_mapped_is_refused() {
    let Some(world) = World::plain_user() else { return };
    world.sh_as_root("for file in subuid subgid; do echo plain:500000:100 > /etc/$file; done").ok();
    let script = format!("cd {}; touch f; chown 5000:6 f; tar cf users.tar f", world.path("home").display());
    world.sh_as_root(&script).ok();
    let archive = world.path("home/users.tar").to_string_lossy().into_owned();
    world.brig(["import", &archive, "users"]).refuses(1, &["5000:6", "usermod --add-subuids"]);
    assert!(!world.brig(["images"]).ok().contains("users"));
    // What fits is had.
    assert_eq!(world.brig(["run", "--rm", "--network", "none", "-u", "100", "tiny", "id", "-u"]).ok(), "100");
    world
        .brig(["run", "--rm", "--network", "none", "-u", "101", "tiny", "id"])
        .refuses(125, &["/etc/subuid"]);
}
