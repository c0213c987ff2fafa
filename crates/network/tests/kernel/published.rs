//! Published ports, from everywhere.

use network::{Error, Protocol, publish, unpublish};

use crate::world::*;

/// Both ways in which the host may treat bridged packets; without br_netfilter there is only one.
fn with_and_without_bridge_netfilter(test: impl Fn()) {
    for value in ["0", "1"] {
        on_host(|| match sysctl("net/bridge/bridge-nf-call-iptables", value) {
            Ok(()) => {
                let _ = sysctl("net/bridge/bridge-nf-call-ip6tables", value);
                test();
            }
            Err(_) if value == "0" => test(),
            Err(_) => eprintln!("SKIP no br_netfilter"),
        });
    }
}

#[test]
fn root_tcp_and_udp_from_everywhere() {
    with_and_without_bridge_netfilter(|| {
        set_up();
        let (web, other, outside) = (container(1), container(2), neighbour(1));
        web.serve_tcp(80, "web");
        web.serve_udp(53, "dns");
        let ports = [port(Protocol::Tcp, None, 8080, &web, 80), port(Protocol::Udp, None, 5353, &web, 53)];
        publish(TABLE, "web", &ports).unwrap();
        // From the host: loopback, the bridge's address, another address of the host.
        assert_eq!(tcp("127.0.0.1:8080").unwrap(), "web 10.7.0.1");
        assert_eq!(udp("127.0.0.1:5353").unwrap(), "dns 10.7.0.1");
        assert_eq!(tcp("10.7.0.1:8080").unwrap(), "web 10.7.0.1");
        assert_eq!(tcp("[fd07::1]:8080").unwrap(), "web fd07::1");
        assert_eq!(tcp("192.0.2.1:8080").unwrap(), "web 192.0.2.1");
        // From a neighbour: its own address is seen.
        assert_eq!(outside.inside(|| tcp("192.0.2.1:8080")).unwrap(), "web 192.0.2.2");
        assert_eq!(outside.inside(|| udp("192.0.2.1:5353")).unwrap(), "dns 192.0.2.2");
        assert_eq!(outside.inside(|| tcp("[fd99::1]:8080")).unwrap(), "web fd99::2");
        // From another container, and from itself.
        for guest in [&other, &web] {
            assert_eq!(guest.inside(|| tcp("10.7.0.1:8080")).unwrap(), "web 10.7.0.1");
            assert_eq!(guest.inside(|| udp("10.7.0.1:5353")).unwrap(), "dns 10.7.0.1");
            assert_eq!(guest.inside(|| tcp("192.0.2.1:8080")).unwrap(), "web 10.7.0.1");
            assert_eq!(guest.inside(|| tcp("[fd07::1]:8080")).unwrap(), "web fd07::1");
        }
        unpublish(TABLE, "web", &ports).unwrap();
        assert!(tcp("127.0.0.1:8080").is_err());
        assert!(outside.inside(|| tcp("192.0.2.1:8080")).is_err());
        assert_eq!(network::list_published(TABLE).unwrap(), []);
    });
}

/// The kernel allows it only while bridged packets keep out of the firewall; else it must be refused at once.
#[test]
fn root_ipv6_loopback_where_the_kernel_allows_it() {
    with_and_without_bridge_netfilter(|| {
        set_up();
        let web = container(1);
        web.serve_tcp(80, "web");
        publish(TABLE, "web", &[port(Protocol::Tcp, None, 8080, &web, 80)]).unwrap();
        let only = [port(Protocol::Tcp, Some("::1"), 8081, &web, 80)];
        if std::fs::read_to_string("/proc/sys/net/bridge/bridge-nf-call-ip6tables")
            .is_ok_and(|value| value.trim() == "1")
        {
            assert!(tcp("[::1]:8080").unwrap_err().contains("refused"));
            assert!(matches!(publish(TABLE, "web", &only), Err(Error::Unsupported { .. })));
        } else {
            assert_eq!(tcp("[::1]:8080").unwrap(), "web fd07::1");
            publish(TABLE, "web", &only).unwrap();
            assert_eq!(tcp("[::1]:8081").unwrap(), "web fd07::1");
            assert!(tcp("127.0.0.1:8081").is_err());
        }
    });
}

#[test]
fn root_one_address_of_the_host_only() {
    on_host(|| {
        set_up();
        let (web, outside) = (container(1), neighbour(1));
        web.serve_tcp(80, "web");
        publish(TABLE, "web", &[port(Protocol::Tcp, Some("127.0.0.1"), 8080, &web, 80)]).unwrap();
        assert_eq!(tcp("127.0.0.1:8080").unwrap(), "web 10.7.0.1");
        assert!(tcp("192.0.2.1:8080").is_err());
        assert!(outside.inside(|| tcp("192.0.2.1:8080")).is_err());
        publish(TABLE, "lan", &[port(Protocol::Tcp, Some("192.0.2.1"), 8080, &web, 80)]).unwrap();
        assert_eq!(outside.inside(|| tcp("192.0.2.1:8080")).unwrap(), "web 192.0.2.2");
    });
}

#[test]
fn root_ranges_keep_their_order() {
    on_host(|| {
        set_up();
        let web = container(1);
        web.serve_tcp(81, "eighty-one");
        web.serve_tcp(9001, "nine");
        let ports = [
            range(Protocol::Tcp, None, 8000..=8002, &web, 80..=82),
            range(Protocol::Tcp, None, 9000..=9999, &web, 9000..=9999),
        ];
        publish(TABLE, "web", &ports).unwrap();
        assert_eq!(tcp("127.0.0.1:8001").unwrap(), "eighty-one 10.7.0.1");
        assert_eq!(tcp("127.0.0.1:9001").unwrap(), "nine 10.7.0.1");
        assert!(tcp("127.0.0.1:8000").is_err());
        let listed = network::list_published(TABLE).unwrap();
        assert_eq!(listed.len(), 4, "{listed:?}");
        assert!(listed.iter().all(|claim| claim.owner == "web"));
        assert!(listed.iter().any(|claim| claim.host_ports == (9000..=9999) && claim.host_ip.is_ipv6()));
        unpublish(TABLE, "web", &ports).unwrap();
        assert_eq!(network::list_published(TABLE).unwrap(), []);
    });
}

#[test]
fn root_two_containers_cannot_have_one_port() {
    on_host(|| {
        set_up();
        let (web, other) = (container(1), container(2));
        web.serve_tcp(80, "web");
        let port_of = |guest, ip, first| range(Protocol::Tcp, ip, first..=first + 2, guest, 80..=82);
        publish(TABLE, "web", &[port_of(&web, None, 8080)]).unwrap();
        for (ip, first) in [(None, 8080), (Some("127.0.0.1"), 8082), (None, 8078)] {
            let free = port(Protocol::Tcp, None, 7000, &other, 80);
            match publish(TABLE, "other", &[free, port_of(&other, ip, first)]) {
                Err(Error::PortTaken { by: Some(by), .. }) => assert_eq!(by, "container web"),
                result => panic!("{ip:?} {first}: {result:?}"),
            }
        }
        // Nothing of a refused request stays, and nobody withdraws the ports of another.
        assert_eq!(network::list_published(TABLE).unwrap().len(), 2);
        unpublish(TABLE, "other", &[port_of(&web, None, 8080)]).unwrap();
        assert_eq!(tcp("127.0.0.1:8080").unwrap(), "web 10.7.0.1");
        // The holder may repeat itself, with another container behind it too.
        publish(TABLE, "web", &[port_of(&web, None, 8080)]).unwrap();
        assert_eq!(tcp("127.0.0.1:8080").unwrap(), "web 10.7.0.1");
        // One request against itself.
        let twice = [port(Protocol::Tcp, None, 7000, &web, 80), port(Protocol::Tcp, None, 7000, &web, 81)];
        assert!(matches!(publish(TABLE, "web", &twice), Err(Error::PortTaken { .. })));
    });
}

#[test]
fn root_abandoned_ports_can_be_swept() {
    on_host(|| {
        set_up();
        let web = container(1);
        web.serve_tcp(80, "web");
        publish(TABLE, "dead", &[range(Protocol::Tcp, None, 8080..=8082, &web, 80..=82)]).unwrap();
        publish(TABLE, "dead", &[port(Protocol::Udp, Some("127.0.0.1"), 53, &web, 53)]).unwrap();
        publish(TABLE, "live", &[port(Protocol::Tcp, None, 9090, &web, 80)]).unwrap();
        let firewall = network::Firewall::open(TABLE).unwrap();
        // Two families with a claim, the mark that it is open and the way to each port (down by pieces), and one of each for the single port.
        assert_eq!(firewall.withdraw_unless(|owner| owner == "live").unwrap(), 2 * 3 + 3);
        assert_eq!(firewall.withdraw_unless(|owner| owner == "live").unwrap(), 0);
        assert!(tcp("127.0.0.1:8080").is_err());
        assert_eq!(tcp("127.0.0.1:9090").unwrap(), "web 10.7.0.1");
        firewall.publish("new", &[port(Protocol::Tcp, None, 8080, &web, 80)]).unwrap();
        assert_eq!(tcp("127.0.0.1:8080").unwrap(), "web 10.7.0.1");
    });
}

#[test]
fn root_a_udp_client_moves_to_the_new_container() {
    on_host(|| {
        set_up();
        let (old, new, outside) = (container(1), container(2), neighbour(1));
        old.serve_udp(53, "old");
        new.serve_udp(53, "new");
        let to = |guest| [port(Protocol::Udp, None, 5353, guest, 53)];
        // One socket, so that every datagram belongs to one tracked flow.
        let socket = outside.inside(|| std::net::UdpSocket::bind("0.0.0.0:0")).unwrap();
        let address = "192.0.2.1:5353".parse().unwrap();
        assert!(udp_from(&socket, address).is_err());
        publish(TABLE, "old", &to(&old)).unwrap();
        assert_eq!(udp_from(&socket, address).unwrap(), "old 192.0.2.2");
        unpublish(TABLE, "old", &to(&old)).unwrap();
        publish(TABLE, "new", &to(&new)).unwrap();
        assert_eq!(udp_from(&socket, address).unwrap(), "new 192.0.2.2");
    });
}

#[test]
fn root_sctp_when_the_kernel_has_it() {
    on_host(|| {
        set_up();
        let web = container(1);
        publish(TABLE, "web", &[port(Protocol::Sctp, None, 3868, &web, 3868)]).unwrap();
        assert!(network::list_published(TABLE).unwrap().iter().all(|claim| claim.protocol == Protocol::Sctp));
        if !std::fs::read_to_string("/proc/net/protocols").is_ok_and(|text| text.contains("SCTP")) {
            eprintln!("SKIP no SCTP in this kernel: rules only, no traffic");
        }
    });
}
