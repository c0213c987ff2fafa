//! Networks that people make. The "host" is the world's own network namespace.

use testkit::World;

/// Starts a web server on port 80 of the container `name` that answers with that name.
fn serve(world: &World, name: &str, options: &[&str]) {
    let script = format!("mkdir /www; echo {name} > /www/index.html; exec httpd -f -p 80 -h /www");
    let args = [&["run", "-d", "--name", name], options, &["tiny", "sh", "-c", &script]].concat();
    world.brig(args).ok();
}

fn idle(world: &World, name: &str, options: &[&str]) {
    world.brig([&["run", "-d", "--name", name], options, &["tiny", "sleep", "1000"]].concat()).ok();
}

fn address(world: &World, name: &str, network: &str) -> String {
    world.inspect(name, &format!("{{{{(index .NetworkSettings.Networks \"{network}\").IPAddress}}}}"))
}

fn address6(world: &World, name: &str, network: &str) -> String {
    world.inspect(name, &format!("{{{{(index .NetworkSettings.Networks \"{network}\").GlobalIPv6Address}}}}"))
}

/// What the web server at `url` answers to a container; empty when nothing does.
fn get(world: &World, from: &str, url: &str) -> String {
    let script = format!("timeout 2 wget -qO- http://{url}/ 2>/dev/null || true");
    world.brig(["exec", from, "sh", "-c", &script]).ok()
}

fn reaches(world: &World, from: &str, url: &str, answer: &str) {
    testkit::eventually(&format!("{from} reaches {url}"), || get(world, from, url) == answer);
}

#[test]
fn root_a_network_is_made_used_and_removed() {
    let Some(world) = World::root() else { return };
    let id = world.brig(["network", "create", "--label", "tier=front", "lan"]).ok();
    assert_eq!(id.len(), 64);
    serve(&world, "web", &["--network", "lan"]);
    idle(&world, "box", &["--network", &id[..12]]);
    reaches(&world, "box", &address(&world, "web", "lan"), "web");
    assert_eq!(world.brig(["ps", "-q", "--filter", "network=lan"]).ok().lines().count(), 2);
    assert_eq!(world.inspect("box", "{{.HostConfig.NetworkMode}}"), "lan");
    assert_eq!(world.inspect("web", "{{.NetworkSettings.Networks.lan.NetworkID}}"), id);
    let members = "{{range .Containers}}{{.Name}}={{.IPv4Address}} {{end}}";
    let shown = world.brig(["network", "inspect", "-f", members, "lan"]).ok();
    assert!(shown.contains(&format!("web={}/24", address(&world, "web", "lan"))), "{shown}");
    let listed = world.brig([
        "network",
        "ls",
        "--filter",
        "type=custom",
        "--format",
        "{{.Name}} {{.Driver}} {{.Labels}}",
    ]);
    assert_eq!(listed.ok(), "lan bridge tier=front");
    world.brig(["network", "rm", "lan"]).refuses(1, &["lan", "active endpoints", "web", "box"]);
    world.brig(["network", "create", "lan"]).refuses(1, &["network with name lan already exists"]);
    world.brig(["rm", "-f", "web", "box"]).ok();
    assert_eq!(world.brig(["network", "rm", "lan"]).ok(), "lan");
    world.brig(["network", "rm", "lan"]).refuses(1, &["network lan not found"]);
    world.brig(["network", "rm", "-f", "lan"]).ok();
    world.brig(["run", "--rm", "--network", "lan", "tiny", "true"]).refuses(125, &["network lan not found"]);
    assert!(!world.sh("ip -o link").ok().contains("br-"), "the bridge is gone");
}

/// Two networks, five containers: `a1` and `a2` on the one, `b1` and `b2` on the other, `both` on both.
fn two_networks(world: &World, options: &[&str]) {
    for name in ["red", "blue"] {
        world.brig([&["network", "create"], options, &[name]].concat()).ok();
    }
    for (name, network) in [("a1", "red"), ("a2", "red"), ("b1", "blue"), ("b2", "blue")] {
        serve(world, name, &["--network", network]);
    }
    serve(world, "both", &["--network", "red", "--network", "blue"]);
}

#[test]
fn root_networks_are_apart_from_each_other_and_from_the_bridge() {
    let Some(world) = World::root_because("a plain user's bridges are not on the host") else { return };
    two_networks(&world, &["--ipv6"]);
    serve(&world, "plain", &[]);
    let six = |name: &str, network: &str| format!("[{}]", address6(&world, name, network));
    reaches(&world, "a1", &address(&world, "a2", "red"), "a2");
    reaches(&world, "b1", &address(&world, "b2", "blue"), "b2");
    reaches(&world, "a1", &six("a2", "red"), "a2");
    for (from, network) in [("a1", "red"), ("b1", "blue")] {
        reaches(&world, from, &address(&world, "both", network), "both");
        reaches(
            &world,
            "both",
            &six(if from == "a1" { "a2" } else { "b2" }, network),
            if from == "a1" { "a2" } else { "b2" },
        );
    }
    // Nobody gets from one network into another, in either direction, in either family.
    let plain = world.inspect("plain", "{{.NetworkSettings.IPAddress}}");
    for (from, target) in [
        ("a1", address(&world, "b1", "blue")),
        ("b1", address(&world, "a1", "red")),
        ("a1", address(&world, "both", "blue")),
        ("a1", six("b1", "blue")),
        ("b1", six("a1", "red")),
        ("a1", plain),
        ("plain", address(&world, "a1", "red")),
        ("plain", six("a1", "red")),
    ] {
        assert_eq!(get(&world, from, &target), "", "{from} reaches {target}");
    }
    // The host reaches them all.
    for target in [address(&world, "a1", "red"), six("b1", "blue")] {
        world.sh(&format!("curl -gfsS -m 3 http://{target}/")).ok();
    }
    assert_eq!(world.brig(["exec", "both", "ls", "/sys/class/net"]).ok(), "eth0\neth1\nlo");
}

#[test]
fn root_a_container_that_runs_is_put_on_networks_and_taken_off() {
    let Some(world) = World::root_because("a plain user's way out is pasta's link") else { return };
    two_networks(&world, &[]);
    let target = address(&world, "b1", "blue");
    assert_eq!(get(&world, "a1", &target), "");
    world.brig(["network", "connect", "--alias", "second", "blue", "a1"]).ok();
    reaches(&world, "a1", &target, "b1");
    let own = address(&world, "a1", "blue");
    assert!(world.brig(["exec", "a1", "cat", "/etc/hosts"]).ok().contains(&own));
    assert_eq!(world.inspect("a1", "{{index .NetworkSettings.Networks.blue.Aliases 0}}"), "second");
    world.brig(["network", "connect", "blue", "a1"]).refuses(1, &["already exists in network blue"]);
    // It stays over a restart.
    world.brig(["restart", "-t", "0", "a1"]).ok();
    reaches(&world, "a1", &target, "b1");
    reaches(&world, "a1", &address(&world, "a2", "red"), "a2");
    world.brig(["network", "disconnect", "blue", "a1"]).ok();
    assert_eq!(get(&world, "a1", &target), "");
    assert!(!world.brig(["exec", "a1", "cat", "/etc/hosts"]).ok().contains(&own));
    assert_eq!(world.brig(["exec", "a1", "ls", "/sys/class/net"]).ok(), "eth0\nlo");
    world.brig(["network", "disconnect", "blue", "a1"]).refuses(1, &["not connected to network blue"]);
    // Off the last one, and back.
    world.brig(["network", "disconnect", "red", "a1"]).ok();
    assert_eq!(world.brig(["exec", "a1", "ls", "/sys/class/net"]).ok(), "lo");
    world.brig(["restart", "-t", "0", "a1"]).ok();
    assert_eq!(world.brig(["exec", "a1", "ls", "/sys/class/net"]).ok(), "lo");
    world.brig(["network", "connect", "red", "a1"]).ok();
    reaches(&world, "a1", &address(&world, "a2", "red"), "a2");
    // One that does not run is put on a network by its next start.
    world.brig(["stop", "-t", "0", "b2"]).ok();
    world.brig(["network", "connect", "red", "b2"]).ok();
    world.brig(["network", "disconnect", "blue", "b2"]).ok();
    world.brig(["start", "b2"]).ok();
    reaches(&world, "a1", &address(&world, "b2", "red"), "b2");
    assert_eq!(get(&world, "b2", &target), "");
    for mode in ["host", "none"] {
        world.brig(["network", "connect", mode, "a1"]).refuses(1, &["container cannot be"]);
    }
    world.brig(["network", "disconnect", "-f", "red", "nobody"]).ok();
    world.brig(["network", "disconnect", "red", "nobody"]).refuses(1, &["nobody"]);
}

#[test]
fn root_the_way_out_follows_the_priority_and_published_ports_follow_the_way_out() {
    let Some(world) = World::root_because("a plain user's way out is pasta's link") else { return };
    for (name, subnet) in [("red", "10.201.1.0/24"), ("blue", "10.201.2.0/24")] {
        world.brig(["network", "create", "--subnet", subnet, name]).ok();
    }
    let way = |name: &str| {
        world
            .brig([
                "exec",
                name,
                "sh",
                "-c",
                "ip route | sed -n 's/^default via \\([^ ]*\\) dev \\([^ ]*\\).*/\\1 \\2/p'",
            ])
            .ok()
    };
    idle(&world, "plain", &["--network", "red", "--network", "blue"]);
    assert_eq!(way("plain"), "10.201.2.1 eth1", "without priorities the first by name");
    idle(&world, "first", &["--network", "name=red,gw-priority=1", "--network", "blue"]);
    assert_eq!(way("first"), "10.201.1.1 eth0");
    serve(&world, "live", &["--network", "red", "-p", "8080:80"]);
    assert_eq!(way("live"), "10.201.1.1 eth0");
    world.brig(["network", "connect", "--gw-priority", "5", "blue", "live"]).ok();
    assert_eq!(way("live"), "10.201.2.1 eth1");
    let get = "curl -fsS -m 3 http://127.0.0.1:8080/";
    testkit::eventually("the port", || world.sh(get).stdout.trim() == "live");
    world.brig(["network", "disconnect", "blue", "live"]).ok();
    assert_eq!(way("live"), "10.201.1.1 eth0");
    testkit::eventually("the port", || world.sh(get).stdout.trim() == "live");
    world.brig(["network", "disconnect", "red", "live"]).ok();
    assert_ne!(world.sh("curl -fsS -m 1 http://127.0.0.1:8080/").code, 0);
    world.brig(["network", "connect", "blue", "live"]).ok();
    testkit::eventually("the port", || world.sh(get).stdout.trim() == "live");
}

#[test]
fn root_an_internal_network_has_no_way_out() {
    let Some(world) = World::root_because("a plain user's bridges are not on the host") else { return };
    world.sh("ip link add out type bridge && ip addr add 192.0.2.10/24 dev out && ip link set out up").ok();
    world.brig(["network", "create", "--internal", "--ipv6", "inner"]).ok();
    world.brig(["network", "create", "outer"]).ok();
    serve(&world, "in1", &["--network", "inner"]);
    serve(&world, "in2", &["--network", "inner", "-p", "8081:80"]);
    serve(&world, "out1", &["--network", "outer", "-p", "8080:80"]);
    reaches(&world, "in1", &address(&world, "in2", "inner"), "in2");
    reaches(&world, "in1", &format!("[{}]", address6(&world, "in2", "inner")), "in2");
    testkit::eventually("the host", || {
        world.sh(&format!("curl -fsS -m 3 http://{}/", address(&world, "in1", "inner"))).stdout.trim()
            == "in1"
            && world
                .sh(&format!("curl -gfsS -m 3 http://[{}]/", address6(&world, "in1", "inner")))
                .stdout
                .trim()
                == "in1"
    });
    assert!(!world.brig(["exec", "in1", "ip", "route"]).ok().contains("default"));
    // A default route of its own making helps nobody, neither to the host's services nor beyond.
    let gateway =
        world.brig(["network", "inspect", "-f", "{{(index .IPAM.Config 0).Gateway}}", "inner"]).ok();
    world.brig(["rm", "-f", "in1"]).ok();
    serve(&world, "in1", &["--network", "inner", "--cap-add", "NET_ADMIN"]);
    world.brig(["exec", "in1", "ip", "route", "add", "default", "via", &gateway]).ok();
    for target in [address(&world, "out1", "outer"), "192.0.2.10:8080".to_owned(), format!("{gateway}:8080")]
    {
        assert_eq!(get(&world, "in1", &target), "", "in1 reaches {target}");
    }
    assert_eq!(get(&world, "out1", &address(&world, "in1", "inner")), "");
    assert_ne!(world.sh("curl -fsS -m 1 http://127.0.0.1:8081/").code, 0);
    let ping = format!("ping -c 1 -W 1 {gateway}");
    assert_ne!(world.brig(["exec", "in1", "sh", "-c", &ping]).code, 0, "the host answers");
}

#[test]
fn root_addresses_that_are_chosen_are_kept_and_taken_once() {
    let Some(world) = World::root() else { return };
    world
        .brig([
            "network",
            "create",
            "--subnet",
            "10.202.0.0/24",
            "--gateway",
            "10.202.0.254",
            "--ip-range",
            "10.202.0.64/30",
            "--aux-address",
            "router=10.202.0.65",
            "--subnet",
            "fd02:2::/64",
            "lan",
        ])
        .ok();
    let mac = "92:d0:c6:0a:29:33";
    idle(
        &world,
        "one",
        &["--network", "lan", "--ip", "10.202.0.7", "--ip6", "fd02:2::77", "--mac-address", mac],
    );
    assert_eq!(address(&world, "one", "lan"), "10.202.0.7");
    assert_eq!(address6(&world, "one", "lan"), "fd02:2::77");
    assert_eq!(world.brig(["exec", "one", "cat", "/sys/class/net/eth0/address"]).ok(), mac);
    let shown = world.brig(["exec", "one", "ip", "addr"]).ok();
    assert!(shown.contains("10.202.0.7/24") && shown.contains("fd02:2::77/64"), "{shown}");
    let run =
        |ip: &str| world.brig(["run", "--rm", "--network", &format!("name=lan,ip={ip}"), "tiny", "true"]);
    run("10.202.0.7").refuses(125, &["Address already in use", "10.202.0.7", "one"]);
    run("10.202.0.254").refuses(125, &["gateway"]);
    run("10.202.0.65").refuses(125, &["router"]);
    run("10.203.0.1").refuses(125, &["no configured subnet", "10.202.0.0/24"]);
    run("10.202.0.255").refuses(125, &["broadcast"]);
    run("x").exits(125);
    assert_eq!(world.brig(["ps", "-aq"]).ok().lines().count(), 1, "nothing stays of what was refused");
    // The range has three addresses beside the router's.
    for name in ["r1", "r2", "r3"] {
        idle(&world, name, &["--network", "lan"]);
        let ip = address(&world, name, "lan");
        assert!(["10.202.0.64", "10.202.0.66", "10.202.0.67"].contains(&ip.as_str()), "{ip}");
    }
    world.brig(["run", "--rm", "--network", "lan", "tiny", "true"]).refuses(125, &["no available", "lan"]);
    world.brig(["rm", "-f", "r2"]).ok();
    world.brig(["run", "--rm", "--network", "lan", "tiny", "true"]).ok();
    // A static address outlives a restart, and is free after the removal.
    world.brig(["restart", "-t", "0", "one"]).ok();
    assert_eq!(address(&world, "one", "lan"), "10.202.0.7");
    world.brig(["rm", "-f", "one"]).ok();
    run("10.202.0.7").ok();
}

#[test]
fn root_subnets_never_overlap_and_requests_are_checked() {
    let Some(world) = World::root_because("a plain user's bridges are not on the host") else { return };
    world.sh("ip link add vpn type bridge && ip addr add 10.203.9.1/24 dev vpn && ip link set vpn up").ok();
    world.sh("ip route add 10.204.0.0/16 dev vpn").ok();
    world.brig(["network", "create", "--subnet", "10.205.0.0/16", "one"]).ok();
    let refused = |args: &[&str], words: &[&str]| {
        world.brig([&["network", "create"], args, &["two"]].concat()).refuses(1, words);
    };
    refused(&["--subnet", "10.205.3.0/24"], &["Pool overlaps", "network one", "10.205.0.0/16"]);
    refused(&["--subnet", "10.203.0.0/16"], &["10.203.9.0/24", "vpn"]);
    refused(&["--subnet", "10.204.7.0/24"], &["10.204.0.0/16", "vpn"]);
    refused(&["--subnet", "10.1.0.0/16", "--gateway", "10.2.0.1"], &["no matching subnet"]);
    refused(&["--subnet", "10.1.0.1/16"], &["10.1.0.0/16"]);
    refused(&["--subnet", "10.1.0.0/16", "--subnet", "10.2.0.0/16"], &["multiple subnets"]);
    refused(&["-o", "com.docker.network.bridge.colour=red"], &["unknown option", "colour"]);
    refused(&["-o", "com.docker.network.driver.mtu=lots"], &["MTU", "lots"]);
    refused(&["-d", "overlay"], &["overlay"]);
    refused(&["-d", "weave"], &["weave"]);
    refused(&["-d", "host"], &["only one instance of \"host\""]);
    refused(&["--ipv4=false"], &["IPv4 or IPv6"]);
    refused(&["--ipam-driver", "dhcp"], &["dhcp"]);
    for name in ["bridge", "host", "none"] {
        world.brig(["network", "create", name]).refuses(1, &["predefined"]);
        world.brig(["network", "rm", name]).refuses(1, &["pre-defined"]);
    }
    world.brig(["network", "create", "a/b"]).refuses(1, &["a/b"]);
    assert_eq!(world.brig(["network", "ls", "-q", "--filter", "type=custom"]).ok().lines().count(), 1);
    // Chosen ones keep away from all of that, and from each other.
    let names: Vec<String> = (0..30).map(|number| format!("n{number}")).collect();
    for name in &names {
        world.brig(["network", "create", name]).ok();
    }
    let shown = world
        .brig(
            [
                &["network", "inspect", "-f", "{{range .IPAM.Config}}{{.Subnet}}{{end}}"],
                &names.iter().map(String::as_str).collect::<Vec<_>>()[..],
            ]
            .concat(),
        )
        .ok();
    let mut subnets: Vec<&str> = shown.lines().collect();
    subnets.sort_unstable();
    subnets.dedup();
    assert_eq!(subnets.len(), 30, "{shown}");
    assert!(
        subnets
            .iter()
            .all(|net| net.ends_with("/24") && !net.starts_with("10.203.9.") && !net.starts_with("10.204."))
    );
    // All of them at once, in one container and back.
    let options: Vec<String> = names.iter().flat_map(|name| ["--network".to_owned(), name.clone()]).collect();
    idle(&world, "many", &options.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(world.brig(["exec", "many", "sh", "-c", "ls /sys/class/net | wc -l"]).ok(), "31");
    let kept = world.brig(["network", "prune", "-f"]).ok();
    assert_eq!(kept, "Deleted Networks:\none", "those of a container stay");
    world.brig(["stop", "-t", "0", "many"]).ok();
    assert_eq!(world.brig(["network", "prune", "-f"]).ok(), "", "also when it does not run");
    world.brig(["rm", "-f", "many"]).ok();
    let pruned = world.brig(["network", "prune", "-f"]).ok();
    assert_eq!(pruned.lines().count(), 31, "{pruned}");
    assert_eq!(world.brig(["network", "ls", "-q"]).ok().lines().count(), 3);
    assert!(!world.sh("ip -o link").ok().contains("br-"));
}

#[test]
fn root_containers_without_icc_do_not_meet() {
    let Some(world) = World::root_because("a plain user's bridges are not on the host") else { return };
    world
        .brig([
            "network",
            "create",
            "-o",
            "com.docker.network.bridge.enable_icc=false",
            "-o",
            "com.docker.network.driver.mtu=1400",
            "-o",
            "com.docker.network.bridge.name=quiet0",
            "lan",
        ])
        .ok();
    serve(&world, "one", &["--network", "lan", "-p", "8080:80"]);
    serve(&world, "two", &["--network", "lan"]);
    testkit::eventually("the server", || {
        world.sh("curl -fsS -m 3 http://127.0.0.1:8080/").stdout.trim() == "one"
    });
    assert_eq!(get(&world, "two", &address(&world, "one", "lan")), "");
    assert_eq!(world.brig(["exec", "one", "cat", "/sys/class/net/eth0/mtu"]).ok(), "1400");
    world.sh("ip link show quiet0").ok();
    world
        .brig(["network", "create", "-o", "com.docker.network.bridge.name=quiet0", "other"])
        .refuses(1, &["quiet0", "lan"]);
}

#[test]
fn root_links_and_options_of_an_attachment() {
    let Some(world) = World::root_because("a plain user's bridges are not on the host") else { return };
    world.brig(["network", "create", "lan"]).ok();
    serve(&world, "web", &["--network", "lan"]);
    serve(&world, "old", &[]);
    let option = "name=lan,driver-opt=com.docker.network.endpoint.ifname=lan0,link-local-ip=169.254.7.7,alias=x,alias=y";
    idle(&world, "box", &["--network", option, "--link", "web:site"]);
    reaches(&world, "box", "site", "web");
    let shown = world.brig(["exec", "box", "ip", "addr", "show", "lan0"]).ok();
    assert!(shown.contains("169.254.7.7/16"), "{shown}");
    assert_eq!(world.inspect("box", "{{join .NetworkSettings.Networks.lan.Aliases \" \"}}"), "x y");
    idle(&world, "linked", &["--link", "old"]);
    reaches(&world, "linked", "old", "old");
    world.brig(["stop", "-t", "0", "old"]).ok();
    world
        .brig(["run", "--rm", "--link", "old", "tiny", "true"])
        .refuses(125, &["non running container", "old"]);
    world.brig(["run", "--rm", "--link", "nobody", "tiny", "true"]).refuses(125, &["nobody"]);
    for (option, word) in [
        ("name=lan,driver-opt=colour=red", "colour"),
        ("name=lan,gw-priority=high", "gw-priority"),
        ("name=lan,foo=bar", "foo"),
        ("name=lan,driver-opt=com.docker.network.endpoint.sysctls=kernel.x=1", "sysctl"),
    ] {
        world.brig(["run", "--rm", "--network", option, "tiny", "true"]).refuses(125, &[word]);
    }
    world
        .brig(["run", "--rm", "--network", "lan", "--network", "lan", "tiny", "true"])
        .refuses(125, &["multiple times"]);
    world
        .brig(["run", "--rm", "--network", "lan", "--network", "host", "tiny", "true"])
        .refuses(125, &["conflicting options"]);
    world
        .brig(["run", "--rm", "--network-alias", "x", "tiny", "true"])
        .refuses(125, &["alias", "user defined"]);
}

#[test]
fn root_containers_share_a_link_of_the_host_by_macvlan() {
    let Some(world) = World::root() else { return };
    world.sh("ip link add lan type bridge && ip addr add 10.206.0.1/24 dev lan && ip link set lan up").ok();
    let probe = world.sh("ip link add link lan name probe type macvlan && ip link del probe");
    if probe.code != 0 {
        eprintln!("SKIP the kernel has no macvlan: {}", probe.stderr.trim());
        return;
    }
    let options = ["--subnet", "10.206.0.0/24", "--gateway", "10.206.0.1", "--ip-range", "10.206.0.128/25"];
    world
        .brig(
            [&["network", "create", "-d", "macvlan", "-o", "parent=lan"], &options[..], &["outer"]].concat(),
        )
        .ok();
    world.brig(["network", "create", "-d", "macvlan", "island"]).ok();
    serve(&world, "one", &["--network", "outer"]);
    idle(&world, "two", &["--network", "outer", "--mac-address", "92:d0:c6:0a:29:33"]);
    reaches(&world, "two", &address(&world, "one", "outer"), "one");
    assert!(world.brig(["exec", "two", "ip", "route"]).ok().contains("default via 10.206.0.1"));
    assert_eq!(world.brig(["exec", "two", "cat", "/sys/class/net/eth0/address"]).ok(), "92:d0:c6:0a:29:33");
    // Without a parent the containers have each other only; live, too.
    world.brig(["network", "connect", "island", "one"]).ok();
    world.brig(["network", "connect", "island", "two"]).ok();
    reaches(&world, "two", &address(&world, "one", "island"), "one");
    world.brig(["network", "disconnect", "island", "two"]).ok();
    assert_eq!(world.brig(["exec", "two", "ls", "/sys/class/net"]).ok(), "eth0\nlo");
    world.brig(["network", "create", "-d", "macvlan", "-o", "parent=nothing0", "gone"]).ok();
    world.brig(["run", "--rm", "--network", "gone", "tiny", "true"]).refuses(125, &["nothing0"]);
    world.brig(["rm", "-f", "one", "two"]).ok();
    world.brig(["network", "rm", "outer", "island", "gone"]).ok();
    assert!(!world.sh("ip -o link").ok().contains("dm-"));
    world.sh("ip link show lan").ok();
}

#[test]
fn root_containers_share_a_link_of_the_host_by_ipvlan() {
    let Some(world) = World::root() else { return };
    world.sh("ip link add lan type bridge && ip addr add 10.206.0.1/24 dev lan && ip link set lan up").ok();
    let probe = world.sh("ip link add link lan name probe type ipvlan && ip link del probe");
    if probe.code != 0 {
        eprintln!("SKIP the kernel has no ipvlan: {}", probe.stderr.trim());
        return;
    }
    for mode in ["l2", "l3"] {
        let option = format!("ipvlan_mode={mode}");
        world
            .brig([
                "network",
                "create",
                "-d",
                "ipvlan",
                "-o",
                "parent=lan",
                "-o",
                &option,
                "--subnet",
                "10.207.0.0/24",
                mode,
            ])
            .ok();
        serve(&world, "one", &["--network", mode]);
        idle(&world, "two", &["--network", mode]);
        reaches(&world, "two", &address(&world, "one", mode), "one");
        world.brig(["rm", "-f", "one", "two"]).ok();
        world.brig(["network", "rm", mode]).ok();
    }
}

#[test]
fn root_a_network_of_ipv6_alone() {
    let Some(world) = World::root() else { return };
    world.brig(["network", "create", "--ipv4=false", "--ipv6", "six"]).ok();
    serve(&world, "web", &["--network", "six"]);
    idle(&world, "box", &["--network", "six"]);
    assert_eq!(address(&world, "web", "six"), "");
    reaches(&world, "box", &format!("[{}]", address6(&world, "web", "six")), "web");
    assert!(!world.brig(["exec", "box", "ip", "-4", "addr", "show", "eth0"]).ok().contains("inet "));
}

/// CVE-2024-32473: a network without IPv6 has none on its links, whatever the kernel does by itself.
#[test]
fn root_without_ipv6_a_link_has_no_ipv6_address() {
    let Some(world) = World::root() else { return };
    world.brig(["network", "create", "four"]).ok();
    idle(&world, "box", &["--network", "four"]);
    let shown = || world.brig(["exec", "box", "cat", "/proc/net/if_inet6"]).ok();
    assert!(!shown().contains("eth0"), "{}", shown());
    // With the guard off the kernel gives it one.
    let pid = world.inspect("box", "{{.State.Pid}}");
    world.sh(&format!("nsenter -t {pid} --net sysctl -qw net.ipv6.conf.eth0.disable_ipv6=0")).ok();
    testkit::eventually("an address of the kernel's own", || shown().contains("eth0"));
}

/// CVE-2024-29018 and isolation in general: it is these rules that keep an internal network in and networks apart.
#[test]
fn root_without_the_rules_networks_meet() {
    let Some(world) = World::root() else { return };
    if world.sh("nft list tables").code != 0 {
        eprintln!("SKIP no nft");
        return;
    }
    world.brig(["network", "create", "--internal", "inner"]).ok();
    world.brig(["network", "create", "outer"]).ok();
    serve(&world, "out", &["--network", "outer"]);
    idle(&world, "in", &["--network", "inner", "--cap-add", "NET_ADMIN"]);
    let gateway =
        world.brig(["network", "inspect", "-f", "{{(index .IPAM.Config 0).Gateway}}", "inner"]).ok();
    world.brig(["exec", "in", "ip", "route", "add", "default", "via", &gateway]).ok();
    let target = address(&world, "out", "outer");
    assert_eq!(get(&world, "in", &target), "");
    let ping = || world.brig(["exec", "in", "ping", "-c", "1", "-W", "1", &gateway]).code == 0;
    assert!(!ping());
    let table = world.sh("nft list tables | sed -n 's/^table inet //p'").ok();
    world.sh(&format!("nft 'flush chain inet {table} forward; flush chain inet {table} internal'")).ok();
    // With the guard off both are reached; the next command that needs the network brings it back.
    testkit::eventually("the way out", || get(&world, "in", &target) == "out" && ping());
    world.brig(["run", "--rm", "--network", "outer", "tiny", "true"]).ok();
    assert_eq!(get(&world, "in", &target), "");
    assert!(!ping());
}

/// CVE-2025-52889: without icc not even a neighbour's hardware address is told.
#[test]
fn root_without_icc_nobody_answers_who_has() {
    let Some(world) = World::root() else { return };
    world.brig(["network", "create", "-o", "com.docker.network.bridge.enable_icc=false", "lan"]).ok();
    idle(&world, "one", &["--network", "lan"]);
    idle(&world, "two", &["--network", "lan"]);
    let target = address(&world, "one", "lan");
    let ask = || {
        world
            .brig([
                "exec",
                "two",
                "sh",
                "-c",
                &format!("ping -c 1 -W 1 {target} >/dev/null; cat /proc/net/arp"),
            ])
            .stdout
    };
    let mac = world.inspect("one", "{{.NetworkSettings.Networks.lan.MacAddress}}");
    let known =
        |arp: String| arp.lines().any(|line| line.starts_with(&format!("{target} ")) && line.contains(&mac));
    assert!(!known(ask()));
    // With the guard off the neighbour answers: the firewall alone does not see such frames.
    world.sh("for port in $(ip -o link show type veth | sed -n 's/^[0-9]*: \\(bv[^@]*\\)@.*/\\1/p'); do ip link set \"$port\" type bridge_slave isolated off; done").ok();
    testkit::eventually("the neighbour answers", || known(ask()));
}

#[test]
fn root_starts_at_once_never_share_an_address() {
    let Some(world) = World::root() else { return };
    world.brig(["network", "create", "--subnet", "10.208.0.0/28", "lan"]).ok();
    let start = |number: usize| {
        world.spawn([
            "run",
            "-d",
            "--name",
            &format!("c{number}"),
            "--network",
            "lan",
            "tiny",
            "sleep",
            "1000",
        ])
    };
    let started: Vec<_> = (0..12).map(start).collect();
    for mut child in started {
        assert!(child.wait().is_ok_and(|status| status.success()));
    }
    let members = "{{range .Containers}}{{.IPv4Address}}\n{{end}}";
    let shown = world.brig(["network", "inspect", "-f", members, "lan"]).ok();
    let mut addresses: Vec<&str> = shown.lines().filter(|line| !line.is_empty()).collect();
    addresses.sort_unstable();
    addresses.dedup();
    assert_eq!(addresses.len(), 12, "{shown}");
}
