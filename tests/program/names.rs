//! Names between containers, and what becomes of all others. The "host's servers" are sockets of the test on the world's loopback.

use std::net::{TcpListener, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{fs, thread};

use testkit::World;

/// Starts a container that goes on for a while.
fn start(world: &World, name: &str, options: &[&str]) {
    world.brig([&["run", "-d", "--name", name], options, &["tiny", "sleep", "300"]].concat()).ok();
}

/// What `nslookup` says in a container, in one line.
fn ask(world: &World, container: &str, question: &str) -> String {
    let command = format!("nslookup {question} 2>&1 | tr '\\n' ' '");
    world.brig(["exec", container, "sh", "-c", &command]).stdout
}

fn ip(world: &World, container: &str, network: &str) -> String {
    world.inspect(container, &format!("{{{{.NetworkSettings.Networks.{network}.IPAddress}}}}"))
}

/// Asks by TCP, with the bytes of a question for an address; returns the answer in hexadecimal digits.
fn ask_by_tcp(world: &World, container: &str, name: &str) -> String {
    let labels: String = name.split('.').map(|label| format!("\\x{:02x}{label}", label.len())).collect();
    let length = 12 + name.len() + 2 + 4;
    let question = format!(
        "\\x00\\x{length:02x}\\xab\\xcd\\x01\\x00\\x00\\x01\\x00\\x00\\x00\\x00\\x00\\x00{labels}\\x00\\x00\\x01\\x00\\x01"
    );
    let command =
        format!("(printf '{question}'; sleep 1) | nc -w 3 127.0.0.11 53 | od -An -v -tx1 | tr -d ' \\n'");
    world.brig(["exec", container, "sh", "-c", &command]).stdout
}

/// A server that answers each question with one address, or that the name does not exist.
struct Server {
    asked: Arc<AtomicUsize>,
}

impl Server {
    /// Listens on an address of the world's loopback: knows `ext.example`; of `big.example` it says by UDP that there is more
    /// by TCP.
    fn start(world: &World, at: &str, answer: [u8; 4]) -> Self {
        let (udp, tcp) = world.on_network(|| {
            (UdpSocket::bind((at, 53)).expect("a socket"), TcpListener::bind((at, 53)).expect("a socket"))
        });
        let asked = Arc::new(AtomicUsize::new(0));
        let count = asked.clone();
        thread::spawn(move || {
            let mut bytes = [0; 2048];
            while let Ok((length, asker)) = udp.recv_from(&mut bytes) {
                count.fetch_add(1, Ordering::SeqCst);
                let _ = udp.send_to(&reply(&bytes[..length], answer, false), asker);
            }
        });
        thread::spawn(move || {
            use std::io::{Read as _, Write as _};
            while let Ok((mut stream, _)) = tcp.accept() {
                let mut bytes = [0; 2048];
                let length = stream.read(&mut bytes).unwrap_or(0);
                let Some(question) = bytes.get(2..length) else { continue };
                let reply = reply(question, answer, true);
                let _ = stream.write_all(&[&(reply.len() as u16).to_be_bytes()[..], &reply].concat());
            }
        });
        Self { asked }
    }
}

fn reply(question: &[u8], answer: [u8; 4], tcp: bool) -> Vec<u8> {
    let mut end = 12;
    while question.get(end).is_some_and(|length| *length != 0) {
        end += usize::from(question[end]) + 1;
    }
    end += 5;
    let name = String::from_utf8_lossy(&question[12..end]).into_owned();
    let is_address = question[end - 3] == 1;
    let known = name.contains("ext") || name.contains("big");
    let truncated = name.contains("big") && !tcp;
    let mut reply = question[..end].to_vec();
    reply[2] = 0x81 | if truncated { 2 } else { 0 };
    reply[3] = if known { 0x80 } else { 0x83 };
    reply[10..12].copy_from_slice(&[0, 0]);
    if known && is_address && !truncated {
        reply[7] = 1;
        reply.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
        reply.extend_from_slice(&answer);
    }
    reply
}

/// Gives the world a `resolv.conf` of its own, which the test may write over.
fn resolv_conf(world: &World, text: &str) {
    let path = world.path("resolv.conf");
    let first = !path.exists();
    fs::write(&path, text).expect("write resolv.conf");
    if first {
        world.sh_as_root(&format!("mount --bind {} /etc/resolv.conf", path.display())).ok();
    }
}

#[test]
fn root_containers_of_a_network_find_each_other() {
    let Some(world) = World::root() else { return };
    world.brig(["network", "create", "--ipv6", "front"]).ok();
    start(&world, "web", &["--network", "front", "--network-alias", "www"]);
    start(&world, "one", &["--network", "front", "--network-alias", "pool"]);
    start(&world, "two", &["--network", "front", "--network-alias", "pool", "--hostname", "second"]);
    let address = ip(&world, "web", "front");
    let id = world.inspect("web", "{{.Id}}");
    for name in ["web", "WEB", "www", "web.front", "www.front", &id[..12]] {
        let said = ask(&world, "one", name);
        assert!(said.contains(&format!("Address: {address} ")), "{name}: {said}");
    }
    assert!(ask(&world, "one", "second").contains(&ip(&world, "two", "front")));
    assert!(ask(&world, "one", &address).contains("name = web.front"), "reverse");
    let six = world.inspect("web", "{{.NetworkSettings.Networks.front.GlobalIPv6Address}}");
    assert!(!six.is_empty() && ask(&world, "one", "-type=aaaa web").contains(&six));
    // Both members of the pool come, each of them first some time.
    let addresses = ["one", "two"].map(|name| ip(&world, name, "front"));
    let mut first = std::collections::BTreeSet::new();
    for _ in 0..6 {
        let said = ask(&world, "web", "-type=a pool");
        let places =
            addresses.each_ref().map(|address| said.find(&format!("Address: {address} ")).expect("both"));
        first.insert(places[0] < places[1]);
    }
    assert_eq!(first.len(), 2, "round robin");
    world.brig(["exec", "one", "ping", "-c", "1", "-W", "2", "www"]).ok();
    let hexadecimal: String =
        address.split('.').map(|part| format!("{:02x}", part.parse::<u8>().expect("a number"))).collect();
    assert!(ask_by_tcp(&world, "one", "web").contains(&format!("0004{hexadecimal}")), "by TCP");
    // Names come and go with their containers.
    world.brig(["rename", "web", "site"]).ok();
    assert!(ask(&world, "one", "site").contains(&address));
    assert!(!ask(&world, "one", "web").contains(&address));
    world.brig(["rm", "-f", "site"]).ok();
    assert!(!ask(&world, "one", "www").contains(&address));
    // Their own programs have port 53.
    world.brig(["exec", "one", "sh", "-c", "nc -l -p 53 & sleep 1; kill $!"]).ok();
    let files = world.brig(["exec", "two", "cat", "/etc/resolv.conf", "/etc/hosts"]).ok();
    assert!(files.contains("nameserver 127.0.0.11") && files.contains("options ndots:0"), "{files}");
    assert!(files.contains(&format!("{}\tsecond", addresses[1])), "{files}");
}

#[test]
fn root_networks_keep_their_names_to_themselves() {
    let Some(world) = World::root() else { return };
    for network in ["front", "back"] {
        world.brig(["network", "create", network]).ok();
    }
    start(&world, "web", &["--network", "front"]);
    start(&world, "db", &["--network", "back"]);
    start(&world, "app", &["--network", "front", "--network", "back", "--link", "db:database"]);
    let (web, db) = (ip(&world, "web", "front"), ip(&world, "db", "back"));
    assert!(ask(&world, "app", "web").contains(&web) && ask(&world, "app", "db").contains(&db));
    assert!(!ask(&world, "web", "db").contains(&db) && !ask(&world, "db", "web").contains(&web));
    assert!(ask(&world, "web", "app").contains(&ip(&world, "app", "front")));
    assert!(ask(&world, "db", "app").contains(&ip(&world, "app", "back")));
    // The default network has no names.
    start(&world, "plain", &[]);
    let files = world.brig(["exec", "plain", "cat", "/etc/resolv.conf"]).ok();
    assert!(!files.contains("127.0.0.11"), "{files}");
}

#[test]
fn root_other_names_are_asked_of_the_hosts_servers_as_they_are_now() {
    let Some(world) = World::root() else { return };
    let first = Server::start(&world, "127.0.0.53", [192, 0, 2, 1]);
    let second = Server::start(&world, "127.0.0.54", [192, 0, 2, 2]);
    resolv_conf(&world, "nameserver 127.0.0.53\nsearch lan.example\n");
    world.brig(["network", "create", "front"]).ok();
    start(&world, "app", &["--network", "front"]);
    assert!(ask(&world, "app", "ext.example").contains("Address: 192.0.2.1 "));
    assert!(ask(&world, "app", "nothing.example").contains("NXDOMAIN"));
    assert!(first.asked.load(Ordering::SeqCst) > 0 && second.asked.load(Ordering::SeqCst) == 0);
    // More than a datagram holds comes by TCP.
    assert!(ask_by_tcp(&world, "app", "big.example").ends_with("0004c0000201"));
    // The host's servers change, and nobody need be told.
    resolv_conf(&world, "nameserver 127.0.0.54\n");
    assert!(ask(&world, "app", "ext.example").contains("Address: 192.0.2.2 "));
    // A server that is not there is passed over.
    resolv_conf(&world, "nameserver 127.0.0.99\nnameserver 127.0.0.54\n");
    assert!(ask(&world, "app", "ext.example").contains("Address: 192.0.2.2 "));
    resolv_conf(&world, "");
    assert!(ask(&world, "app", "ext.example").contains("SERVFAIL"));
    // Servers of the container's own.
    start(
        &world,
        "own",
        &[
            "--network",
            "front",
            "--dns",
            "127.0.0.53",
            "--dns-search",
            "a.example",
            "--dns-option",
            "ndots:2",
        ],
    );
    assert!(ask(&world, "own", "ext.example").contains("Address: 192.0.2.1 "));
    let files = world.brig(["exec", "own", "cat", "/etc/resolv.conf"]).ok();
    assert_eq!(files, "nameserver 127.0.0.11\nsearch a.example\noptions ndots:2");
}

/// CVE-2024-29018: what is asked on an internal network leaves it by the resolver.
#[test]
fn root_an_internal_network_asks_nobody_outside() {
    let Some(world) = World::root() else { return };
    let server = Server::start(&world, "127.0.0.53", [192, 0, 2, 1]);
    resolv_conf(&world, "nameserver 127.0.0.53\n");
    world.brig(["network", "create", "--internal", "inner"]).ok();
    start(&world, "db", &["--network", "inner"]);
    start(&world, "app", &["--network", "inner"]);
    assert!(ask(&world, "app", "ext.example").contains("SERVFAIL"));
    assert!(!ask_by_tcp(&world, "app", "ext.example").contains("c0000201"));
    assert!(ask(&world, "app", "db").contains(&ip(&world, "db", "inner")));
    assert_eq!(server.asked.load(Ordering::SeqCst), 0);
    // With the guard off the harm is done: the word in the container's file is what keeps it.
    let file = world.run_root().join("containers").join(world.inspect("app", "{{.Id}}")).join("names");
    let text = fs::read_to_string(&file).expect("read the file of names");
    fs::write(&file, text.replace("forward no\n", "")).expect("write the file of names");
    assert!(ask(&world, "app", "ext.example").contains("Address: 192.0.2.1 "));
    assert!(server.asked.load(Ordering::SeqCst) > 0);
}

#[test]
fn root_names_follow_a_container_that_changes_its_networks() {
    let Some(world) = World::root() else { return };
    world.brig(["network", "create", "front"]).ok();
    start(&world, "web", &["--network", "front"]);
    start(&world, "app", &[]);
    let address = ip(&world, "web", "front");
    assert!(!ask(&world, "app", "web").contains(&address), "the default network has no names");
    world.brig(["network", "connect", "--alias", "guest", "front", "app"]).ok();
    assert!(ask(&world, "app", "web").contains(&address));
    assert!(ask(&world, "web", "guest").contains(&ip(&world, "app", "front")));
    world.brig(["network", "create", "back"]).ok();
    world.brig(["network", "connect", "back", "web"]).ok();
    start(&world, "db", &["--network", "back"]);
    assert!(ask(&world, "web", "db").contains(&ip(&world, "db", "back")));
    world.brig(["network", "disconnect", "front", "app"]).ok();
    assert!(!ask(&world, "app", "web").contains(&address));
    assert!(!ask(&world, "web", "guest").contains("Address: 10."));
    world.brig(["restart", "-t", "0", "app"]).ok();
    assert!(!ask(&world, "app", "web").contains(&address));
}

#[test]
fn root_names_come_back_after_the_monitors_were_killed() {
    let Some(world) = World::root() else { return };
    world.brig(["network", "create", "front"]).ok();
    start(&world, "web", &["--network", "front"]);
    start(&world, "app", &["--network", "front"]);
    let address = ip(&world, "web", "front");
    assert!(ask(&world, "app", "web").contains(&address));
    world.kill_brig_processes();
    world.brig(["ps"]).ok();
    testkit::eventually("names", || ask(&world, "app", "web").contains(&address));
}

/// Whatever a container sends, its monitor goes on and answers the next question.
#[test]
fn root_a_flood_of_nonsense_stops_nobody() {
    let Some(world) = World::root() else { return };
    world.brig(["network", "create", "front"]).ok();
    start(&world, "app", &["--network", "front"]);
    let flood =
        "for i in $(seq 300); do head -c $((i * 3)) /dev/urandom | nc -u -w 1 127.0.0.11 53 & done; wait";
    world.brig(["exec", "app", "timeout", "20", "sh", "-c", flood]);
    world.brig([
        "exec",
        "app",
        "sh",
        "-c",
        "for i in $(seq 40); do nc 127.0.0.11 53 </dev/zero >/dev/null & done; sleep 1; kill $(jobs -p)",
    ]);
    testkit::eventually("an answer", || ask(&world, "app", "app").contains(&ip(&world, "app", "front")));
}
