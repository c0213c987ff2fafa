//! Published ports as another host sees them: the host's own input rules, ranges, ports in use. The "host" is the world's
//! network namespace, the other host one beside it.

use testkit::World;

/// Another host, 192.0.2.9, on a link to the world, which is 192.0.2.1 there. Ends with the test.
struct Outside<'w> {
    world: &'w World,
}

impl<'w> Outside<'w> {
    fn new(world: &'w World) -> Self {
        let script = "
            unshare -n sleep 300 & echo $! > outside.pid
            while [ \"$(readlink /proc/$!/ns/net)\" = \"$(readlink /proc/self/ns/net)\" ]; do sleep 0.05; done
            ip link add wire type veth peer name eth0 netns $!
            ip addr add 192.0.2.1/24 dev wire; ip addr add fd99::1/64 dev wire nodad; ip link set wire up
            nsenter -t $! -n sh -c 'ip link set lo up
                ip addr add 192.0.2.9/24 dev eth0; ip addr add fd99::9/64 dev eth0 nodad; ip link set eth0 up'";
        world.sh(&format!("({script}) >/dev/null 2>&1")).ok();
        Self { world }
    }

    /// Asks a URL from there.
    fn get(&self, url: &str) -> testkit::Done {
        self.world.sh(&format!("nsenter -t $(cat outside.pid) -n curl -gfsS -m 2 {url}"))
    }
}

impl Drop for Outside<'_> {
    fn drop(&mut self) {
        self.world.sh("kill $(cat outside.pid); ip link del wire");
    }
}

/// Starts a web server on port 80 of the container `name` that answers with the caller's address.
fn serve(world: &World, name: &str, options: &[&str]) -> testkit::Done {
    let script = "mkdir -p /www/cgi-bin; printf '#!/bin/sh\\necho; echo $REMOTE_ADDR\\n' > /www/cgi-bin/who; \
                  chmod 755 /www/cgi-bin/who; exec httpd -f -p 80 -h /www";
    let args = [&["run", "-d", "--name", name], options, &["tiny", "sh", "-c", script]].concat();
    let done = world.brig(args);
    done.exits(0);
    done
}

/// What ufw and firewalld come to: nothing new comes in but what IPv6 needs.
const DENY: &str = "nft -f - <<'END'
table inet fw {
    chain input {
        type filter hook input priority 0; policy drop;
        ct state established,related accept
        iif lo accept
        icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept
    }
}
END";

#[test]
fn root_the_hosts_input_rules_decide_who_comes_in() {
    let Some(world) = World::root_because("a plain user's ports are not led by rules") else { return };
    if !testkit::needs::programs(&["nft", "curl"]) {
        return;
    }
    let outside = Outside::new(&world);
    let said = serve(&world, "web", &["-p", "8080:80"]);
    assert_eq!(said.stderr, "", "nothing restricts it");
    // Open, and the caller's own address is seen.
    testkit::eventually("the server", || {
        outside.get("http://192.0.2.1:8080/cgi-bin/who").stdout.contains("192.0.2.9")
    });
    // A fresh link needs a moment for its IPv6 addresses.
    testkit::eventually("IPv6", || {
        outside.get("http://[fd99::1]:8080/cgi-bin/who").stdout.contains("fd99::9")
    });
    world.sh(DENY).ok();
    assert_ne!(outside.get("http://192.0.2.1:8080/cgi-bin/who").code, 0);
    assert_ne!(outside.get("http://[fd99::1]:8080/cgi-bin/who").code, 0);
    world.sh("curl -fsS -m 3 http://127.0.0.1:8080/cgi-bin/who").ok();
    // The command says so.
    let said = serve(&world, "other", &["-p", "8081:80"]);
    assert!(said.stderr.contains("8081/tcp") && said.stderr.contains("inet fw input"), "{said:?}");
    assert_eq!(serve(&world, "inner", &["-p", "127.0.0.1:8082:80"]).stderr, "");
    // What the host lets in comes in.
    world.sh("nft add rule inet fw input ip saddr 192.0.2.9 tcp dport 8080 accept").ok();
    assert!(outside.get("http://192.0.2.1:8080/cgi-bin/who").ok().contains("192.0.2.9"));
    assert_ne!(outside.get("http://192.0.2.1:8081/cgi-bin/who").code, 0);
    assert_ne!(outside.get("http://192.0.2.1:8082/cgi-bin/who").code, 0);
}

#[test]
fn root_one_setting_gives_dockers_meaning() {
    let Some(world) = World::root_because("a plain user's ports are not led by rules") else { return };
    if !testkit::needs::programs(&["nft", "curl"]) {
        return;
    }
    let outside = Outside::new(&world);
    std::fs::write(world.path("brig.toml"), "[network]\npublish = \"open\"\n")
        .expect("write the configuration");
    world.sh(DENY).ok();
    let config = world.path("brig.toml").to_string_lossy().into_owned();
    let args =
        ["--config", &config, "run", "-d", "-p", "8080:80", "tiny", "httpd", "-f", "-p", "80", "-h", "/"];
    let said = world.brig(args);
    said.exits(0);
    assert_eq!(said.stderr, "");
    testkit::eventually("the server", || outside.get("http://192.0.2.1:8080/etc/passwd").code == 0);
    std::fs::write(world.path("brig.toml"), "[network]\npublish = \"sometimes\"\n")
        .expect("write the configuration");
    world
        .brig(["--config", &config, "run", "--rm", "tiny", "true"])
        .refuses(125, &["sometimes", "host-rules"]);
}

#[test]
fn root_thousands_of_ports_cost_one_element() {
    let Some(world) = World::root_because("a plain user's ports cost a socket each") else { return };
    if !testkit::needs::programs(&["nft"]) {
        return;
    }
    let ports = "20000-39999:20000-39999/udp";
    world
        .brig([
            "run",
            "-d",
            "--name",
            "media",
            "-p",
            ports,
            "-p",
            "5000-5999:6000-6999",
            "tiny",
            "sleep",
            "300",
        ])
        .ok();
    let rules = world.sh("nft list ruleset").ok();
    assert_eq!(rules.matches("20000-39999").count(), 4, "a claim and a way for each family\n{rules}");
    assert!(rules.len() < 20_000, "{rules}");
    let listing = world.brig(["ps", "--format", "{{.Ports}}"]).ok();
    assert!(listing.contains("0.0.0.0:20000-39999->20000-39999/udp"), "{listing}");
    let ports = world.brig(["port", "media"]).ok();
    assert!(ports.contains("20000-39999/udp -> 0.0.0.0:20000-39999"), "{ports}");
    assert!(ports.contains("6000-6999/tcp -> 0.0.0.0:5000-5999"), "{ports}");
    assert_eq!(world.brig(["port", "media", "20007/udp"]).ok().lines().next(), Some("0.0.0.0:20007"));
    // Docker's shape of it has each port.
    let shown = world
        .inspect("media", "{{index .NetworkSettings.Ports \"6042/tcp\"}} {{len .HostConfig.PortBindings}}");
    assert!(shown.contains("5042") && shown.ends_with("21000"), "{shown}");
    // A part of the range is taken, whoever asks for it in whatever size.
    for taken in ["30000:1/udp", "39999-40500:1-502/udp"] {
        world
            .brig(["run", "--rm", "-p", taken, "tiny", "true"])
            .refuses(125, &["port is already allocated", "media"]);
    }
    world.brig(["rm", "-f", "media"]).ok();
    assert_eq!(world.sh("nft list ruleset").ok().matches("20000-39999").count(), 0);
}

#[test]
fn root_ports_of_the_hosts_programs_are_respected() {
    let Some(world) = World::root_because("root of a user namespace may not look at the host's processes")
    else {
        return;
    };
    world.sh("busybox nc -l -p 4242 >/dev/null 2>&1 </dev/null & echo $! > nc.pid").ok();
    testkit::eventually("the listener", || {
        world.sh("cat /proc/net/tcp /proc/net/tcp6 | grep -q ':1092 '").code == 0
    });
    for taken in ["4242:80", "4000-4999:4000-4999", "127.0.0.1:4200-4300:4200-4300"] {
        world
            .brig(["run", "--rm", "-p", taken, "tiny", "true"])
            .refuses(125, &["4242", "already allocated", "process"]);
    }
    world.brig(["run", "--rm", "-p", "4242:80/udp", "tiny", "true"]).ok();
    world.sh("kill $(cat nc.pid)").ok();
    world.brig(["run", "--rm", "-p", "4000-4999:4000-4999", "tiny", "true"]).ok();
}

#[test]
fn root_of_two_commands_at_once_one_gets_the_port() {
    let Some(world) = World::root() else { return };
    let children: Vec<_> = (0..4)
        .map(|nth| {
            let ports = format!("{}-7100:7000-{}", 7000 + nth, 7100 - nth);
            world.spawn(["run", "-d", "-p", &ports, "tiny", "sleep", "300"])
        })
        .collect();
    let done: Vec<_> =
        children.into_iter().map(|child| child.wait_with_output().expect("wait for brig")).collect();
    assert_eq!(done.iter().filter(|done| done.status.success()).count(), 1, "{done:?}");
    for done in done.iter().filter(|done| !done.status.success()) {
        assert!(String::from_utf8_lossy(&done.stderr).contains("already allocated"), "{done:?}");
    }
}

/// CVE-2025-54410, CVE-2025-54388: a reload of another firewall takes rules away. Nobody runs a command of Brig's meanwhile.
#[test]
fn root_what_a_flush_took_comes_back_by_itself() {
    let Some(world) = World::root() else { return };
    if !testkit::needs::programs(&["nft", "curl"]) {
        return;
    }
    let outside = Outside::new(&world);
    for name in ["one", "two"] {
        world.brig(["run", "-d", "--name", name, "tiny", "sleep", "300"]).ok();
    }
    serve(&world, "web", &["-p", "8080:80"]);
    let reached = || outside.get("http://192.0.2.1:8080/cgi-bin/who").stdout.contains("192.0.2.9");
    testkit::eventually("the server", reached);
    let before = world.sh("nft list ruleset | grep -v counter | sort").ok();
    for damage in [
        "nft flush ruleset",
        "nft list tables | grep 'inet brig' | sed 's/^/delete /' | nft -f -",
        "nft list tables | grep 'ip brig' | sed 's/^/flush /' | nft -f -",
        "nft list tables | grep 'inet brig' | sed 's/^/flush /' | nft -f -",
    ] {
        world.sh(damage).ok();
        testkit::eventually(damage, || {
            reached() && world.sh("nft list ruleset | grep -v counter | sort").stdout.trim() == before.trim()
        });
    }
    // The rules of others are not touched.
    world.sh("nft flush ruleset; nft add table inet others").ok();
    testkit::eventually("the ports", reached);
    assert!(world.sh("nft list tables").ok().contains("table inet others"));
    world.sh("nft delete table inet others").ok();
    // With the guard off the harm stays: it is the monitors that watch.
    world.kill_brig_processes();
    world.sh("nft flush ruleset").ok();
    for _ in 0..3 {
        assert!(!reached());
    }
    // By hand it is done at once, and again does nothing.
    world.brig(["network", "repair"]).ok();
    world.brig(["network", "repair"]).ok();
    assert!(reached());
}
