//! What must not pass, and whose address is seen.

use std::net::TcpListener;

use network::{BridgeConfig, Protocol, ensure_bridge, ensure_firewall, publish};

use crate::world::*;

#[test]
fn root_containers_reach_each_other_and_the_world() {
    on_host(|| {
        set_up();
        let (web, other, outside) = (container(1), container(2), neighbour(1));
        web.serve_tcp(80, "web");
        outside.serve_tcp(80, "world");
        assert_eq!(tcp("10.7.0.2:80").unwrap(), "web 10.7.0.1");
        assert_eq!(other.inside(|| tcp("10.7.0.2:80")).unwrap(), "web 10.7.0.3");
        assert_eq!(other.inside(|| tcp("[fd07::2]:80")).unwrap(), "web fd07::3");
        // The world sees the host.
        assert_eq!(other.inside(|| tcp("192.0.2.2:80")).unwrap(), "world 192.0.2.1");
        assert_eq!(other.inside(|| tcp("[fd99::2]:80")).unwrap(), "world fd99::1");
    });
}

#[test]
fn root_without_masquerade_the_world_sees_the_container() {
    on_host(|| {
        let plain = BridgeConfig { masquerade: false, ..bridge() };
        ensure_bridge(&plain).unwrap();
        ensure_firewall(TABLE, &[plain]).unwrap();
        let (web, outside) = (container(1), neighbour(1));
        outside.serve_tcp(80, "world");
        assert_eq!(web.inside(|| tcp("192.0.2.2:80")).unwrap(), "world 10.7.0.2");
    });
}

#[test]
fn root_unpublished_ports_are_closed_to_neighbours() {
    on_host(|| {
        set_up();
        let (web, outside) = (container(1), neighbour(1));
        web.serve_tcp(80, "web");
        // The neighbour knows the way (the host is its router), the firewall stops it.
        assert!(outside.inside(|| tcp("10.7.0.2:80")).is_err());
        assert!(outside.inside(|| tcp("[fd07::2]:80")).is_err());
        // Shown to be the firewall's doing.
        network::teardown_firewall(TABLE).unwrap();
        assert_eq!(outside.inside(|| tcp("10.7.0.2:80")).unwrap(), "web 192.0.2.2");
    });
}

#[test]
fn root_networks_are_apart_but_for_published_ports() {
    on_host(|| {
        let second = BridgeConfig { name: "brig1".into(), ..lan() };
        set_up();
        ensure_bridge(&second).unwrap();
        ensure_firewall(TABLE, &[bridge(), second.clone()]).unwrap();
        let (web, stranger) = (container(1), guest_on(&second, "s", 1));
        web.serve_tcp(80, "web");
        assert!(stranger.inside(|| tcp("10.7.0.2:80")).is_err());
        publish(TABLE, "web", &[port(Protocol::Tcp, None, 8080, &web, 80)]).unwrap();
        assert_eq!(stranger.inside(|| tcp("192.0.2.1:8080")).unwrap(), "web 10.7.0.1");
        assert!(stranger.inside(|| tcp("10.7.0.2:80")).is_err());
    });
}

#[test]
fn root_without_icc_containers_are_apart() {
    for value in ["0", "1"] {
        on_host(|| {
            let _ = sysctl("net/bridge/bridge-nf-call-iptables", value);
            let apart = BridgeConfig { icc: false, ..bridge() };
            ensure_bridge(&apart).unwrap();
            ensure_firewall(TABLE, std::slice::from_ref(&apart)).unwrap();
            let (web, other) = (guest_on(&apart, "c", 1), guest_on(&apart, "c", 2));
            web.serve_tcp(80, "web");
            assert_eq!(tcp("10.7.0.2:80").unwrap(), "web 10.7.0.1");
            assert!(other.inside(|| tcp("10.7.0.2:80")).is_err());
            assert!(other.inside(|| tcp("[fd07::2]:80")).is_err());
        });
    }
}

/// CVE-2020-8558: `route_localnet` opens the host's loopback to neighbours that send to 127.0.0.0/8.
#[test]
fn root_loopback_of_the_host_is_closed_to_containers_and_neighbours() {
    on_host(|| {
        set_up();
        let (web, evil, outside) = (container(1), container(2), neighbour(1));
        web.serve_tcp(80, "web");
        serve(TcpListener::bind("127.0.0.1:7777").unwrap(), "secret");
        publish(TABLE, "web", &[port(Protocol::Tcp, Some("127.0.0.1"), 8080, &web, 80)]).unwrap();
        sysctl("net/ipv4/conf/lan0/route_localnet", "1").unwrap();
        for (guest, gateway) in [(&evil, "10.7.0.1"), (&outside, "192.0.2.1")] {
            let source = guest.ip4.to_string();
            let routed = guest.inside(|| {
                sysctl("net/ipv4/conf/all/route_localnet", "1").unwrap();
                program("ip", &["address", "flush", "dev", "lo"])?;
                program("ip", &["route", "add", "127.0.0.1", "via", gateway, "src", &source])
            });
            if routed.is_none() {
                return;
            }
            assert!(guest.inside(|| tcp("127.0.0.1:7777")).is_err());
            assert!(guest.inside(|| tcp("127.0.0.1:8080")).is_err());
        }
        // With the guard switched off the hole is there: the test means what it says.
        if program("nft", &["flush", "chain", "inet", TABLE, "guard"]).is_some() {
            assert_eq!(evil.inside(|| tcp("127.0.0.1:7777")).unwrap(), "secret 10.7.0.3");
            assert_eq!(outside.inside(|| tcp("127.0.0.1:7777")).unwrap(), "secret 192.0.2.2");
        }
    });
}

/// CVE-2020-13401: a container that plays router must not become the host's.
#[test]
fn root_router_advertisements_are_ignored() {
    on_host(|| {
        set_up();
        let guest = container(1);
        let read = |link: &str| {
            std::fs::read_to_string(format!("/proc/sys/net/ipv6/conf/{link}/accept_ra")).unwrap()
        };
        assert_eq!(read("brig0").trim(), "0");
        assert_eq!(guest.inside(|| read("eth0")).trim(), "0");
        let advertise = |guest: &Guest| guest.inside(|| send_router_advertisement("eth0"));
        let heard = || std::fs::read_to_string("/proc/thread-self/net/ipv6_route").unwrap().contains("fdbad");
        let evil = container(2);
        for _ in 0..3 {
            advertise(&evil);
        }
        std::thread::sleep(std::time::Duration::from_millis(200));
        let addresses = || std::fs::read_to_string("/proc/thread-self/net/if_inet6").unwrap();
        assert!(!heard() && !addresses().contains("fdbad"), "{}", addresses());
        guest.inside(|| assert!(!heard() && !addresses().contains("fdbad"), "{}", addresses()));
        // With the guard switched off the host obeys.
        sysctl("net/ipv6/conf/brig0/accept_ra", "2").unwrap();
        for _ in 0..3 {
            advertise(&evil);
        }
        std::thread::sleep(std::time::Duration::from_millis(200));
        assert!(addresses().contains("fdbad"), "the advertisement is not one: {}", addresses());
    });
}

/// Sends the advertisement of the prefix fdba:d000::/64 to all nodes.
fn send_router_advertisement(link: &str) {
    use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketType, ipproto, sockopt};
    let index = link_local_index(link);
    let socket = rustix::net::socket(AddressFamily::INET6, SocketType::RAW, Some(ipproto::ICMPV6)).unwrap();
    sockopt::set_ipv6_unicast_hops(&socket, Some(255)).unwrap();
    sockopt::set_ipv6_multicast_hops(&socket, 255).unwrap();
    let mut packet = vec![134, 0, 0, 0, 64, 0, 0, 60, 0, 0, 0, 0, 0, 0, 0, 0];
    packet.extend_from_slice(&[3, 4, 64, 0xc0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0xfd, 0xba, 0xd0]);
    packet.resize(16 + 32, 0);
    let all_nodes = std::net::SocketAddrV6::new("ff02::1".parse().unwrap(), 0, 0, index);
    rustix::net::sendto(&socket, &packet, SendFlags::empty(), &all_nodes).unwrap();
    let _ = rustix::net::recv(&socket, &mut [0; 8][..], RecvFlags::DONTWAIT);
}

/// Waits for the link-local address, which the kernel gives a little later, and returns the number of the link.
fn link_local_index(link: &str) -> u32 {
    for _ in 0..200 {
        let table = std::fs::read_to_string("/proc/thread-self/net/if_inet6").unwrap();
        if let Some(line) = table.lines().find(|line| line.ends_with(link) && line.starts_with("fe80")) {
            return u32::from_str_radix(line.split_whitespace().nth(1).unwrap(), 16).unwrap();
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("{link} has no link-local address");
}
