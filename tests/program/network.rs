//! Networks: none, host, the bridge, published ports, names. The "host" is the world's own network namespace.

use testkit::World;

fn ip(world: &World, name: &str) -> String {
    world.inspect(name, "{{.NetworkSettings.Networks.bridge.IPAddress}}")
}

/// Starts a web server on port 80 of the container `name` that answers `text`.
fn serve(world: &World, name: &str, options: &[&str], text: &str) {
    let script = format!("mkdir /www; echo {text} > /www/index.html; exec httpd -f -p 80 -h /www");
    let args = [&["run", "-d", "--name", name], options, &["tiny", "sh", "-c", &script]].concat();
    world.brig(args).ok();
}

#[test]
fn root_containers_on_the_bridge_reach_each_other_and_the_host() {
    let Some(world) = World::root_because("a plain user's default network is no bridge") else { return };
    serve(&world, "web", &[], "from-web");
    let address = ip(&world, "web");
    let get = format!("wget -qO- http://{address}/");
    testkit::eventually("the server", || {
        world.brig(["run", "--rm", "tiny", "sh", "-c", &get]).stdout.trim() == "from-web"
    });
    assert_eq!(world.sh(&format!("curl -fsS -m 3 http://{address}/")).ok(), "from-web");
    let gateway = world.inspect("web", "{{.NetworkSettings.Networks.bridge.Gateway}}");
    world.brig(["run", "--rm", "tiny", "ping", "-c", "1", "-W", "2", &gateway]).ok();
}

#[test]
fn root_published_ports_answer_on_every_address() {
    let Some(world) = World::root_because("a plain user's default network is no bridge") else { return };
    world.sh("ip link add out type bridge && ip addr add 192.0.2.10/24 dev out && ip link set out up").ok();
    serve(&world, "web", &["-p", "8080:80"], "published");
    for address in ["127.0.0.1", "192.0.2.10"] {
        let get = format!("curl -fsS -m 3 http://{address}:8080/");
        testkit::eventually(address, || world.sh(&get).stdout.trim() == "published");
    }
    // From another container, by the host's address.
    let get = "timeout 3 wget -qO- http://192.0.2.10:8080/";
    assert_eq!(world.brig(["run", "--rm", "tiny", "sh", "-c", get]).ok(), "published");
    assert_eq!(world.brig(["port", "web", "80"]).ok().lines().next(), Some("0.0.0.0:8080"));
    assert!(world.brig(["ps", "--format", "{{.Ports}}"]).ok().contains("0.0.0.0:8080->80/tcp"));
    world.brig(["rm", "-f", "web"]).ok();
    world.sh("curl -fsS -m 1 http://127.0.0.1:8080/").exits(7);
}

#[test]
fn root_a_port_published_on_loopback_is_for_loopback() {
    let Some(world) = World::root_because("a plain user's default network is no bridge") else { return };
    world.sh("ip link add out type bridge && ip addr add 192.0.2.10/24 dev out && ip link set out up").ok();
    serve(&world, "web", &["-p", "127.0.0.1:8080:80"], "private");
    testkit::eventually("loopback", || {
        world.sh("curl -fsS -m 3 http://127.0.0.1:8080/").stdout.trim() == "private"
    });
    assert_ne!(world.sh("curl -fsS -m 1 http://192.0.2.10:8080/").code, 0);
}

#[test]
fn root_ports_are_taken_once() {
    let Some(world) = World::root() else { return };
    serve(&world, "one", &["-p", "8080:80"], "one");
    world.brig(["run", "--rm", "-p", "8080:80", "tiny", "true"]).refuses(125, &["8080"]);
    assert_eq!(world.brig(["ps", "-aq"]).ok().lines().count(), 1);
    world.brig(["rm", "-f", "one"]).ok();
    world.brig(["run", "--rm", "-p", "8080:80", "tiny", "true"]).ok();
    for wrong in ["70000:80", "a:b", "80:80/icmp", "1-3:1-2", "999.1.1.1:80:80"] {
        world.brig(["run", "--rm", "-p", wrong, "tiny", "true"]).exits(125);
    }
}

#[test]
fn root_ranges_udp_and_chosen_ports() {
    let Some(world) = World::root() else { return };
    world
        .brig([
            "run",
            "-d",
            "--name",
            "box",
            "-p",
            "9000-9001:80-81",
            "-p",
            "5353:53/udp",
            "-p",
            "99",
            "tiny",
            "sleep",
            "100",
        ])
        .ok();
    let ports = world.brig(["port", "box"]).ok();
    for line in
        ["80/tcp -> 0.0.0.0:9000", "81/tcp -> 0.0.0.0:9001", "53/udp -> 0.0.0.0:5353", "99/tcp -> 0.0.0.0:"]
    {
        assert!(ports.contains(line), "{line} is not in\n{ports}");
    }
    let tar = world.path("tiny.tar").to_string_lossy().into_owned();
    world.brig(["import", "-c", "EXPOSE 7", "-c", "EXPOSE 8/udp", &tar, "exposing"]).ok();
    world.brig(["run", "-d", "--name", "exposed", "-P", "exposing", "sleep", "100"]).ok();
    let ports = world.brig(["port", "exposed"]).ok();
    assert!(ports.contains("7/tcp -> ") && ports.contains("8/udp -> "), "{ports}");
}

#[test]
fn root_no_network_and_the_hosts() {
    let Some(world) = World::root() else { return };
    assert_eq!(world.brig(["run", "--rm", "--network", "none", "tiny", "ls", "/sys/class/net"]).ok(), "lo");
    let host = world.sh("readlink /proc/self/ns/net").ok();
    assert_eq!(
        world.brig(["run", "--rm", "--net", "host", "tiny", "readlink", "/proc/self/ns/net"]).ok(),
        host
    );
    assert_ne!(world.brig(["run", "--rm", "tiny", "readlink", "/proc/self/ns/net"]).ok(), host);
    world
        .brig(["run", "--rm", "--network", "no-such-network", "tiny", "true"])
        .refuses(125, &["no-such-network"]);
    world.brig(["run", "--rm", "--network", "container:nobody", "tiny", "true"]).refuses(125, &["nobody"]);
}

#[test]
fn root_names_and_resolvers() {
    let Some(world) = World::root_because("a plain user's default network is no bridge") else { return };
    let script = "cat /etc/hosts /etc/resolv.conf /etc/hostname";
    let text = world
        .brig([
            "run",
            "--rm",
            "--hostname",
            "box",
            "--add-host",
            "db:10.1.2.3",
            "--dns",
            "192.0.2.53",
            "--dns-search",
            "example.test",
            "--dns-option",
            "ndots:2",
            "tiny",
            "sh",
            "-c",
            script,
        ])
        .ok();
    for line in ["10.1.2.3\tdb", "nameserver 192.0.2.53", "search example.test", "options ndots:2"] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    assert!(text.ends_with("box"), "{text}");
    assert!(text.lines().any(|line| line.ends_with("\tbox")), "{text}");
    world.brig(["run", "--rm", "--add-host", "db", "tiny", "true"]).exits(125);
    world.brig(["run", "--rm", "--dns", "words", "tiny", "true"]).refuses(125, &["words"]);
}

#[test]
fn root_chosen_addresses() {
    let Some(world) = World::root_because("a plain user's default network is no bridge") else { return };
    let mac = world
        .brig([
            "run",
            "--rm",
            "--mac-address",
            "02:42:ac:11:00:99",
            "tiny",
            "cat",
            "/sys/class/net/eth0/address",
        ])
        .ok();
    assert_eq!(mac, "02:42:ac:11:00:99");
    world.brig(["run", "--rm", "--mac-address", "wrong", "tiny", "true"]).refuses(125, &["wrong"]);
}

#[test]
fn root_concurrent_starts_have_addresses_of_their_own() {
    let Some(world) = World::root_because("a plain user's default network is no bridge") else { return };
    let children: Vec<_> = (0..10)
        .map(|i| world.spawn(["run", "-d", "--name", &format!("c{i}"), "tiny", "sleep", "100"]))
        .collect();
    for child in children {
        let output = child.wait_with_output().expect("wait");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let mut addresses: Vec<String> = (0..10).map(|i| ip(&world, &format!("c{i}"))).collect();
    addresses.sort();
    addresses.dedup();
    assert_eq!(addresses.len(), 10, "{addresses:?}");
}

/// Another engine's firewall drops what is forwarded; Brig says so or makes its own traffic pass.
#[test]
fn root_a_policy_of_drop_is_not_silent() {
    let Some(world) = World::root_because("a plain user's packets pass no rules of the host's") else {
        return;
    };
    if !testkit::needs::programs(&["nft"]) {
        return;
    }
    world.sh("nft add table ip filter && nft add chain ip filter FORWARD '{ type filter hook forward priority 0; policy drop; }'").ok();
    world.sh("ip link add out type bridge && ip addr add 192.0.2.10/24 dev out && ip link set out up").ok();
    let args = [
        "run",
        "-d",
        "--name",
        "web",
        "-p",
        "8080:80",
        "tiny",
        "sh",
        "-c",
        "mkdir /www; echo through > /www/index.html; exec httpd -f -p 80 -h /www",
    ];
    let said = world.brig(args);
    said.exits(0);
    let reached = || {
        world
            .brig([
                "run",
                "--rm",
                "--init",
                "tiny",
                "timeout",
                "3",
                "wget",
                "-qO-",
                "http://192.0.2.10:8080/",
            ])
            .stdout
            .trim()
            == "through"
    };
    let reached = (0..5).any(|_| reached());
    assert!(reached || said.stderr.to_lowercase().contains("forward"), "{said:?}");
}

#[test]
fn root_addresses_that_cannot_be_had() {
    let Some(world) = World::root_because("a plain user's default network is no bridge") else { return };
    let subnets =
        world.brig(["network", "inspect", "bridge", "-f", "{{range .IPAM.Config}}{{.Subnet}} {{end}}"]).ok();
    let prefix4 = subnets.split(".0/").next().expect("an IPv4 subnet").to_owned();
    let ip4 = format!("{prefix4}.77");
    let mac = "92:d0:c6:0a:29:33";
    let args = ["run", "-d", "--name", "fixed", "--ip", &ip4, "--mac-address", mac, "tiny", "sleep", "100"];
    world.brig(args).ok();
    assert!(world.brig(["exec", "fixed", "ip", "addr", "show", "eth0"]).ok().contains(&format!("{ip4}/")));
    assert_eq!(world.brig(["exec", "fixed", "cat", "/sys/class/net/eth0/address"]).ok(), mac);
    world.brig(["run", "--rm", "--ip", &ip4, "tiny", "true"]).refuses(125, &[&ip4, "in use"]);
    world
        .brig(["run", "--rm", "--ip", "203.0.113.5", "tiny", "true"])
        .refuses(125, &["203.0.113.5", "subnet"]);
    if let Some(prefix6) = subnets.split(' ').find_map(|subnet| subnet.strip_suffix("::/64")) {
        let ip6 = format!("{prefix6}::77");
        let shown = world.brig(["run", "--rm", "--ip6", &ip6, "tiny", "ip", "addr", "show", "eth0"]).ok();
        assert!(shown.contains(&format!("{ip6}/64")), "{shown}");
        world.brig(["run", "--rm", "--ip6", "::1", "tiny", "true"]).refuses(125, &["::1", "subnet"]);
    }
    for network in ["none", "host", "container:fixed"] {
        world
            .brig(["run", "--rm", "--network", network, "--ip", &ip4, "tiny", "true"])
            .refuses(125, &["address"]);
    }
}

#[test]
fn root_a_joined_container_keeps_what_it_cannot_change() {
    let Some(world) = World::root() else { return };
    world
        .brig([
            "run",
            "-d",
            "--name",
            "owner",
            "--ipc",
            "shareable",
            "tiny",
            "sh",
            "-c",
            "echo x > /dev/shm/x; sleep 100",
        ])
        .ok();
    for (flag, value, word) in [
        ("--hostname", "other", "hostname"),
        ("--dns", "192.0.2.1", "dns"),
        ("--add-host", "a:192.0.2.1", "custom host"),
        ("--expose", "80", "exposing"),
        ("--publish", "80:80", "publishing"),
        ("--mac-address", "92:d0:c6:0a:29:33", "mac-address"),
    ] {
        let args = ["run", "--rm", "--network", "container:owner", flag, value, "tiny", "true"];
        world.brig(args).refuses(125, &["conflicting options", word]);
    }
    world
        .brig(["run", "--rm", "--uts", "host", "--hostname", "other", "tiny", "true"])
        .refuses(125, &["UTS"]);
    testkit::eventually("the shared memory is the owner's", || {
        world.brig(["run", "--rm", "--ipc", "container:owner", "tiny", "cat", "/dev/shm/x"]).stdout == "x\n"
    });
    world.brig(["run", "-d", "--name", "private", "tiny", "sleep", "100"]).ok();
    world
        .brig(["run", "--rm", "--ipc", "container:private", "tiny", "true"])
        .refuses(125, &["private", "shareable"]);
}
