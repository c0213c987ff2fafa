//! The bridge and the attachments themselves.

use std::os::fd::AsFd;
use std::time::Instant;

use network::{
    attach, create_netns, detach, ensure_bridge, ensure_firewall, host_routes, publish, remove_bridge,
    teardown_all, unpublish,
};

use crate::world::*;

#[test]
fn root_ensure_bridge_repairs_what_is_missing() {
    on_host(|| {
        set_up();
        ensure_bridge(&bridge()).unwrap();
        let routes = host_routes().unwrap();
        assert!(
            routes.iter().any(|route| route.network == bridge().subnet4.unwrap().0 && route.prefix == 24),
            "{routes:?}"
        );
        assert!(
            routes.iter().any(|route| route.network == bridge().subnet6.unwrap().0 && route.prefix == 64),
            "{routes:?}"
        );
        for sabotage in [&["addr", "flush", "dev", "brig0"][..], &["link", "set", "brig0", "down"]] {
            if program("ip", sabotage).is_none() {
                return;
            }
            ensure_bridge(&bridge()).unwrap();
            let web = container(1);
            web.serve_tcp(80, "web");
            assert_eq!(tcp("10.7.0.2:80").unwrap(), "web 10.7.0.1");
            assert_eq!(tcp("[fd07::2]:80").unwrap(), "web fd07::1");
            detach("vc1").unwrap();
        }
        assert!(teardown_all(TABLE, &["brig0"]).is_empty());
        assert!(teardown_all(TABLE, &["brig0"]).is_empty());
        remove_bridge("brig0").unwrap();
    });
}

#[test]
fn root_the_hosts_own_router_is_still_heard() {
    on_host(|| {
        if program("ip", &["link", "add", "wan0", "type", "bridge"]).is_none() {
            return;
        }
        sysctl("net/ipv6/conf/wan0/accept_ra", "1").unwrap();
        let jumbo = network::BridgeConfig { mtu: Some(9000), ..bridge() };
        ensure_bridge(&jumbo).unwrap();
        // A host that forwards hears its router only with 2.
        let read =
            |path: &str| std::fs::read_to_string(format!("/proc/sys/{path}")).unwrap().trim().to_owned();
        assert_eq!(read("net/ipv6/conf/all/forwarding"), "1");
        assert_eq!(read("net/ipv6/conf/wan0/accept_ra"), "2");
        assert_eq!(read("net/ipv6/conf/brig0/accept_ra"), "0");
        assert_eq!(read("net/ipv6/conf/brig0/mtu"), "9000");
        ensure_bridge(&network::BridgeConfig { mtu: Some(1400), ..bridge() }).unwrap();
        assert_eq!(read("net/ipv6/conf/brig0/mtu"), "1400");
    });
}

#[test]
fn root_a_link_of_another_kind_is_not_taken_for_a_bridge() {
    on_host(|| {
        let loopback = network::BridgeConfig { name: "lo".into(), ..bridge() };
        assert!(matches!(ensure_bridge(&loopback), Err(network::Error::NoBridge { .. })));
    });
}

#[test]
fn root_twenty_at_once() {
    on_host(|| {
        let here = sys::netns::current().unwrap();
        std::thread::scope(|scope| {
            let start = |number: u8| {
                let here = here.as_fd();
                scope.spawn(move || {
                    // A thread begins in the namespace of the one that made it; said again for the reader.
                    sys::netns::inside(here, || {
                        ensure_bridge(&bridge()).unwrap();
                        ensure_firewall(TABLE, &[bridge()]).unwrap();
                        let guest = container(number);
                        guest.serve_tcp(80, "web");
                        let ports =
                            [port(network::Protocol::Tcp, None, 8000 + u16::from(number), &guest, 80)];
                        publish(TABLE, &format!("c{number}"), &ports).unwrap();
                        guest
                    })
                    .unwrap()
                })
            };
            let starts: Vec<_> = (1..=20).map(start).collect();
            let guests: Vec<_> = starts.into_iter().map(|start| start.join().unwrap()).collect();
            assert_eq!(network::list_published(TABLE).unwrap().len(), 40);
            for port in 8001..=8020 {
                assert_eq!(tcp(&format!("127.0.0.1:{port}")).unwrap(), "web 10.7.0.1", "{port}");
            }
            drop(guests);
        });
    });
}

#[test]
fn root_a_failed_attachment_leaves_nothing() {
    on_host(|| {
        set_up();
        let netns = create_netns().unwrap();
        let mut wrong = attachment(&bridge(), "c", 1);
        wrong.gateway4 = Some("203.0.113.1".parse().unwrap());
        let error = attach(netns.as_fd(), &wrong).unwrap_err();
        assert!(base::error::render_chain(&error).contains("eth0"), "{error}");
        // The name is free again, and the thread is where it was.
        let here = std::fs::read_link("/proc/thread-self/ns/net").unwrap();
        attach(netns.as_fd(), &attachment(&bridge(), "c", 1)).unwrap();
        assert_eq!(std::fs::read_link("/proc/thread-self/ns/net").unwrap(), here);
        assert!(attach(netns.as_fd(), &attachment(&bridge(), "c", 1)).is_err());
        detach("vc1").unwrap();
        detach("vc1").unwrap();
    });
}

#[test]
fn root_a_pair_dies_with_its_namespace() {
    on_host(|| {
        set_up();
        drop(container(1));
        for _ in 0..200 {
            if !std::path::Path::new("/proc/sys/net/ipv4/conf/vc1").exists() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        panic!("the pair is still there");
    });
}

#[test]
fn root_without_ipv6_the_link_has_none() {
    on_host(|| {
        set_up();
        let netns = create_netns().unwrap();
        let mut plain = attachment(&bridge(), "c", 1);
        (plain.address6, plain.gateway6) = (None, None);
        plain.sysctls = vec![("net.ipv4.ip_unprivileged_port_start".into(), "0".into())];
        attach(netns.as_fd(), &plain).unwrap();
        sys::netns::inside(netns.as_fd(), || {
            let addresses = std::fs::read_to_string("/proc/thread-self/net/if_inet6").unwrap();
            assert!(!addresses.contains("eth0"), "{addresses}");
            assert_eq!(
                std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap().trim(),
                "0"
            );
        })
        .unwrap();
        plain.sysctls = vec![("kernel.hostname".into(), "x".into())];
        plain.upper = attachment(&bridge(), "d", 1).upper;
        plain.guest_ifname = "eth1".into();
        assert!(attach(netns.as_fd(), &plain).is_err());
    });
}

/// Prints the medians; bounds only what would be a mistake of ours, as the machine may be busy.
#[test]
fn root_times() {
    on_host(|| {
        set_up();
        let mut rows = vec![];
        let mut measure = |name: &str, times: u32, step: &mut dyn FnMut(u32)| {
            let mut all: Vec<_> = (0..times)
                .map(|index| {
                    let begin = Instant::now();
                    step(index);
                    begin.elapsed()
                })
                .collect();
            all.sort();
            rows.push(format!("{name}: {:?} (min {:?})", all[all.len() / 2], all[0]));
            all[all.len() / 2]
        };
        let check = measure("ensure_bridge + ensure_firewall, in place", 101, &mut |_| {
            ensure_bridge(&bridge()).unwrap();
            assert_eq!(ensure_firewall(TABLE, &[bridge()]).unwrap(), network::FirewallState::InPlace);
        });
        let mut spaces = vec![];
        measure("create_netns", 51, &mut |_| spaces.push(create_netns().unwrap()));
        let join = measure("attach", 51, &mut |index| {
            attach(spaces[index as usize].as_fd(), &attachment(&bridge(), "c", index as u8 + 1)).unwrap();
        });
        let guest = container(60);
        let of = |index: u32| [port(network::Protocol::Tcp, None, 8000 + index as u16, &guest, 80)];
        let lead =
            measure("publish", 101, &mut |index| publish(TABLE, &format!("c{index}"), &of(index)).unwrap());
        let firewall = network::Firewall::open(TABLE).unwrap();
        measure("withdraw, one socket", 51, &mut |index| {
            firewall.withdraw(&format!("c{index}"), &of(index)).unwrap()
        });
        drop(firewall);
        measure("unpublish", 50, &mut |index| {
            unpublish(TABLE, &format!("c{}", index + 51), &of(index + 51)).unwrap()
        });
        eprintln!("{}", rows.join("\n"));
        let slow = 20;
        assert!(
            check.as_micros() < 300 * slow && join.as_micros() < 1500 * slow && lead.as_micros() < 500 * slow
        );
    });
}
