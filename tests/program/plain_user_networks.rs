//! Networks among a plain user's containers: one network namespace of the user with bridges, kept open by the monitors.

use std::fs::{self, File};
use std::path::PathBuf;

use testkit::{World, eventually, needs};

fn with_uplink() -> Option<World> {
    let world = needs::programs(&["pasta", "curl"]).then(World::plain_user).flatten()?;
    world.give_uplink();
    Some(world)
}

fn serve(world: &World, name: &str, options: &[&str]) {
    let script = format!("mkdir /www; echo {name} > /www/index.html; exec httpd -f -p 80 -h /www");
    world.brig([&["run", "-d", "--name", name], options, &["tiny", "sh", "-c", &script]].concat()).ok();
}

fn address(world: &World, name: &str, network: &str) -> String {
    world.inspect(name, &format!("{{{{(index .NetworkSettings.Networks \"{network}\").IPAddress}}}}"))
}

fn get(world: &World, from: &str, url: &str) -> String {
    let script = format!("timeout 2 wget -qO- http://{url}/ 2>/dev/null || true");
    world.brig(["exec", from, "sh", "-c", &script]).ok()
}

fn reaches(world: &World, from: &str, url: &str, answer: &str) {
    eventually(&format!("{from} reaches {url}"), || get(world, from, url) == answer);
}

/// Opens every network namespace that a process of brig has open.
fn namespaces_held(world: &World) -> Vec<File> {
    let folders = world.brig_processes().into_iter().map(|pid| format!("/proc/{pid}/fd"));
    let open = folders.flat_map(|folder| fs::read_dir(folder).into_iter().flatten().flatten());
    let is_netns = |path: &PathBuf| {
        fs::read_link(path).is_ok_and(|link| link.to_str().is_some_and(|text| text.starts_with("net:[")))
    };
    open.map(|entry| entry.path()).filter(is_netns).filter_map(|path| File::open(path).ok()).collect()
}

#[test]
fn root_and_userns_containers_of_a_plain_user_reach_each_other_on_a_network() {
    let Some(world) = with_uplink() else { return };
    world.brig(["network", "create", "one"]).ok();
    world.brig(["network", "create", "--internal", "two"]).ok();
    serve(&world, "aa", &["--network", "one", "-p", "127.0.0.1:8080:80"]);
    serve(&world, "bb", &["--network", "one"]);
    serve(&world, "cc", &["--network", "two"]);
    let (a, b, c) =
        (address(&world, "aa", "one"), address(&world, "bb", "one"), address(&world, "cc", "two"));
    reaches(&world, "aa", &b, "bb");
    reaches(&world, "bb", &a, "aa");
    // Networks are walls, and the host is out of reach.
    assert_eq!(get(&world, "aa", &c), "");
    assert_eq!(get(&world, "cc", &a), "");
    assert_eq!(world.brig(["exec", "cc", "sh", "-c", "ip route | grep -c default || true"]).ok(), "0");
    // A published port is pasta's, as on the default network.
    eventually("the port answers", || {
        world.sh("curl -fsS -m 3 http://127.0.0.1:8080/").stdout.trim() == "aa"
    });
    // The host has none of it.
    assert_eq!(world.sh_as_root("ip -o link | grep -c -e br- -e bv || true").ok(), "0");
    world.brig(["network", "rm", "one"]).refuses(1, &["active endpoints"]);
    world.brig(["rm", "-f", "aa", "bb", "cc"]).ok();
    world.brig(["network", "rm", "one", "two"]).ok();
}

#[test]
fn root_and_userns_a_network_of_a_plain_user_outlives_its_commands_and_monitors() {
    let Some(world) = with_uplink() else { return };
    world.brig(["network", "create", "net"]).ok();
    serve(&world, "aa", &["--network", "net"]);
    serve(&world, "bb", &["--network", "net"]);
    let a = address(&world, "aa", "net");
    reaches(&world, "bb", &a, "aa");
    // The namespace goes with all the monitors, and comes back with the next command. The kernel takes its links away
    // when it comes to it, or a stranger holds it: the containers still have them then.
    for is_held in [true, false] {
        let mut old = namespaces_held(&world);
        assert!(!old.is_empty(), "the monitors keep the namespace");
        old.retain(|_| is_held);
        world.kill_brig_processes();
        eventually("the monitors are gone", || world.brig_processes().is_empty());
        world.brig(["ps"]).ok();
        drop(old);
        reaches(&world, "bb", &a, "aa");
        reaches(&world, "aa", &address(&world, "bb", "net"), "bb");
    }
    // One that comes later is on the same bridge.
    serve(&world, "cc", &["--network", "net"]);
    reaches(&world, "cc", &a, "aa");
    world.brig(["restart", "-t", "0", "aa"]).ok();
    reaches(&world, "cc", &address(&world, "aa", "net"), "aa");
    world.brig(["rm", "-f", "aa", "bb", "cc"]).ok();
    world.brig(["network", "rm", "net"]).ok();
}

#[test]
fn root_and_userns_networks_that_a_plain_user_cannot_have() {
    let Some(world) = with_uplink() else { return };
    world
        .brig(["network", "create", "-d", "macvlan", "-o", "parent=up0", "shared"])
        .refuses(1, &["only root"]);
    assert!(!world.brig(["network", "ls"]).ok().contains("shared"));
    world.brig(["network", "create", "--subnet", "10.99.0.0/24", "net"]).ok();
    let beside = ["run", "--rm", "--network", "net", "--network", "bridge", "tiny", "id"];
    world.brig(beside).refuses(125, &["bridge"]);
    for option in [["--ip", "10.99.0.7"], ["--mac-address", "02:42:00:00:00:01"]] {
        world
            .brig(["run", "--rm"].iter().chain(&option).chain(&["tiny", "id"]).copied())
            .refuses(125, &[option[0]]);
    }
    let chosen = [
        "run",
        "--rm",
        "--network",
        "net",
        "--ip",
        "10.99.0.7",
        "tiny",
        "ip",
        "-4",
        "-o",
        "addr",
        "show",
        "eth0",
    ];
    assert!(world.brig(chosen).ok().contains("10.99.0.7/24"));
    world.brig(["network", "rm", "net"]).ok();
}

#[test]
fn root_and_userns_a_running_container_of_a_plain_user_joins_and_leaves_networks() {
    let Some(world) = with_uplink() else { return };
    world.brig(["network", "create", "one"]).ok();
    world.brig(["network", "create", "two"]).ok();
    serve(&world, "aa", &["--network", "one", "-p", "127.0.0.1:8080:80"]);
    serve(&world, "bb", &["--network", "two"]);
    assert_eq!(get(&world, "bb", &address(&world, "aa", "one")), "");
    world.brig(["network", "connect", "two", "aa"]).ok();
    reaches(&world, "bb", &address(&world, "aa", "two"), "aa");
    world.brig(["network", "disconnect", "one", "aa"]).ok();
    reaches(&world, "bb", &address(&world, "aa", "two"), "aa");
    // The way out and the ports are not touched by it.
    let answers = || world.sh("curl -fsS -m 3 http://127.0.0.1:8080/").stdout.trim() == "aa";
    eventually("the port answers", answers);
    world.brig(["exec", "aa", "sh", "-c", "ip route | grep -q '^default.*out0'"]).ok();
    world.brig(["rm", "-f", "aa", "bb"]).ok();
    world.brig(["network", "rm", "one", "two"]).ok();
}
