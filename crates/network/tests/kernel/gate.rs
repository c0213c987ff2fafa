//! Published ports and the host's own input rules.

use network::{Firewall, Protocol, PublishedPort};

use crate::world::*;

/// Publishes a port that is not open, with the gate; `None`, loudly, where the kernel has none.
fn publish_behind_the_host(ports: &[PublishedPort]) -> Option<()> {
    let firewall = Firewall::open(TABLE).unwrap();
    if !firewall.ensure_gate().unwrap() {
        eprintln!("SKIP the kernel has no nft_dup");
        return None;
    }
    let ports: Vec<PublishedPort> =
        ports.iter().map(|port| PublishedPort { open: false, ..port.clone() }).collect();
    firewall.publish("web", &ports).unwrap();
    Some(())
}

fn nft(rules: &str) -> Option<String> {
    program("nft", &[rules])
}

#[test]
fn root_the_hosts_input_rules_decide() {
    // Some hosts test the way back strictly.
    for rp_filter in ["0", "1"] {
        on_host(|| {
            set_up();
            sysctl("net/ipv4/conf/all/rp_filter", rp_filter).unwrap();
            let (web, other, outside) = (container(1), container(2), neighbour(1));
            web.serve_tcp(80, "web");
            web.serve_udp(53, "dns");
            let ports =
                [port(Protocol::Tcp, None, 8080, &web, 80), port(Protocol::Udp, None, 5353, &web, 53)];
            if publish_behind_the_host(&ports).is_none() {
                return;
            }
            // Without any rules all is open, with the caller's own address.
            let from_outside = |address: &str| outside.inside(|| tcp(address));
            assert_eq!(from_outside("192.0.2.1:8080").unwrap(), "web 192.0.2.2");
            assert_eq!(from_outside("[fd99::1]:8080").unwrap(), "web fd99::2");
            assert_eq!(outside.inside(|| udp("192.0.2.1:5353")).unwrap(), "dns 192.0.2.2");
            for guest in [&other, &web] {
                assert_eq!(guest.inside(|| tcp("192.0.2.1:8080")).unwrap(), "web 10.7.0.1");
            }
            assert_eq!(tcp("127.0.0.1:8080").unwrap(), "web 10.7.0.1");
            // As ufw and firewalld have it: nothing new comes in.
            let chain = "add chain inet fw input { type filter hook input priority 0; policy drop; }";
            let rules =
                "add rule inet fw input ct state established accept; add rule inet fw input iif lo accept;
                add rule inet fw input icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept";
            if nft(&format!("add table inet fw; {chain}; {rules}")).is_none() {
                return;
            }
            assert!(from_outside("192.0.2.1:8080").is_err());
            assert!(from_outside("[fd99::1]:8080").is_err());
            assert!(outside.inside(|| udp("192.0.2.1:5353")).is_err());
            assert!(other.inside(|| tcp("192.0.2.1:8080")).is_err());
            assert_eq!(tcp("127.0.0.1:8080").unwrap(), "web 10.7.0.1");
            assert_eq!(
                other.inside(|| tcp(&format!("{}:80", web.ip4))).unwrap(),
                format!("web {}", other.ip4)
            );
            // Who is let in by the host is let in, others are not.
            nft("add rule inet fw input ip saddr 192.0.2.2 tcp dport 8080 accept").unwrap();
            assert_eq!(from_outside("192.0.2.1:8080").unwrap(), "web 192.0.2.2");
            assert!(other.inside(|| tcp("192.0.2.1:8080")).is_err());
        });
    }
}

#[test]
fn root_an_open_port_passes_by_the_hosts_rules() {
    on_host(|| {
        set_up();
        let (web, outside) = (container(1), neighbour(1));
        web.serve_tcp(80, "web");
        network::publish(TABLE, "web", &[port(Protocol::Tcp, None, 8080, &web, 80)]).unwrap();
        let chain = "add chain inet fw input { type filter hook input priority 0; policy drop; }";
        if nft(&format!(
            "add table inet fw; {chain}; add rule inet fw input icmpv6 type nd-neighbor-solicit accept"
        ))
        .is_some()
        {
            assert_eq!(outside.inside(|| tcp("192.0.2.1:8080")).unwrap(), "web 192.0.2.2");
        }
    });
}

#[test]
fn root_the_gate_is_made_again_and_goes_with_the_table() {
    on_host(|| {
        set_up();
        let (web, outside) = (container(1), neighbour(1));
        web.serve_tcp(80, "web");
        let ports = [port(Protocol::Tcp, None, 8080, &web, 80)];
        let reached = || outside.inside(|| tcp("192.0.2.1:8080")).is_ok();
        if publish_behind_the_host(&ports).is_none() {
            return;
        }
        assert!(reached());
        for damage in ["delete table ip brig-test", "delete table ip6 brig-test", "flush table ip brig-test"]
        {
            if nft(damage).is_none() {
                return;
            }
            publish_behind_the_host(&ports);
            assert!(reached(), "{damage}");
        }
        program("ip", &["link", "del", "brig-test-o"]).unwrap();
        assert!(!reached());
        publish_behind_the_host(&ports);
        assert!(reached());
        network::teardown_firewall(TABLE).unwrap();
        assert_eq!(nft("list ruleset").unwrap(), "");
        assert!(!program("ip", &["-br", "link"]).unwrap().contains("brig-test-"));
    });
}

#[test]
fn root_a_moved_range_leads_each_port_to_its_own() {
    on_host(|| {
        set_up();
        let (web, outside) = (container(1), neighbour(1));
        // Up, down, and down so far and wide that it takes several pieces.
        for (host, guest) in [(20_000_u16, 30_000_u16), (30_000, 20_000), (1000, 500)] {
            let ports = [range(Protocol::Tcp, None, host..=host + 9_999, &web, guest..=guest + 9_999)];
            network::publish(TABLE, "web", &ports).unwrap();
            for place in [0, 1, 499, 4_321, 9_999] {
                web.serve_tcp(guest + place, "web");
                let (near, far) = (host + place, guest + place);
                assert_eq!(
                    outside.inside(|| tcp(&format!("192.0.2.1:{near}"))).unwrap(),
                    "web 192.0.2.2",
                    "{near} to {far}"
                );
                assert!(tcp(&format!("[fd07::1]:{near}")).is_ok(), "{near} to {far}");
            }
            assert!(outside.inside(|| tcp(&format!("192.0.2.1:{}", host + 2))).is_err());
            network::unpublish(TABLE, "web", &ports).unwrap();
        }
        network::publish(TABLE, "web", &[range(Protocol::Udp, None, 1..=65_535, &web, 1..=65_535)]).unwrap();
        if let Some(text) = program("nft", &["list", "map", "inet", TABLE, "ranges4"]) {
            assert_eq!(text.matches(" : ").count(), 2, "{text}");
        }
    });
}
