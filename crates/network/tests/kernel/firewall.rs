//! The table itself: that it comes back, that it says what was planned, and what others do to us.

use network::firewall::Host;
use network::{BridgeConfig, FirewallState, Protocol, ensure_firewall, firewall_warnings, publish};

use crate::world::*;

#[test]
fn root_a_flushed_ruleset_comes_back() {
    on_host(|| {
        set_up();
        let web = container(1);
        web.serve_tcp(80, "web");
        let ports = [port(Protocol::Tcp, None, 8080, &web, 80)];
        publish(TABLE, "web", &ports).unwrap();
        assert_eq!(ensure_firewall(TABLE, &[bridge()]).unwrap(), FirewallState::InPlace);
        // Only the rules: the ports are still there.
        if program("nft", &["flush", "table", "inet", TABLE]).is_none() {
            return;
        }
        assert!(tcp("127.0.0.1:8080").is_err());
        assert_eq!(ensure_firewall(TABLE, &[bridge()]).unwrap(), FirewallState::Updated);
        assert_eq!(tcp("127.0.0.1:8080").unwrap(), "web 10.7.0.1");
        // All of it: the caller hears that it must publish again.
        program("nft", &["flush", "ruleset"]).unwrap();
        assert_eq!(ensure_firewall(TABLE, &[bridge()]).unwrap(), FirewallState::Rebuilt);
        assert!(tcp("127.0.0.1:8080").is_err());
        publish(TABLE, "web", &ports).unwrap();
        assert_eq!(tcp("127.0.0.1:8080").unwrap(), "web 10.7.0.1");
    });
}

#[test]
fn root_a_new_network_keeps_the_published_ports() {
    on_host(|| {
        set_up();
        let web = container(1);
        web.serve_tcp(80, "web");
        publish(TABLE, "web", &[port(Protocol::Tcp, None, 8080, &web, 80)]).unwrap();
        let second = BridgeConfig { name: "brig1".into(), ..lan() };
        assert_eq!(ensure_firewall(TABLE, &[bridge(), second]).unwrap(), FirewallState::Updated);
        assert_eq!(tcp("127.0.0.1:8080").unwrap(), "web 10.7.0.1");
    });
}

#[test]
fn root_a_table_of_another_shape_is_replaced() {
    on_host(|| {
        network::ensure_bridge(&bridge()).unwrap();
        let old = format!(
            "table inet {TABLE} {{ set claimed4 {{ type inet_service; }}; chain guard {{ type filter hook input priority 7; }}; }}"
        );
        if program("nft", &[&old]).is_none() {
            return;
        }
        assert_eq!(ensure_firewall(TABLE, &[bridge()]).unwrap(), FirewallState::Rebuilt);
        assert_eq!(ensure_firewall(TABLE, &[bridge()]).unwrap(), FirewallState::InPlace);
    });
}

#[test]
fn root_nft_reads_what_was_planned() {
    on_host(|| {
        set_up();
        let web = container(1);
        let ports = [
            port(Protocol::Tcp, None, 8080, &web, 80),
            range(Protocol::Udp, Some("127.0.0.1"), 9000..=9999, &web, 9000..=9999),
        ];
        publish(TABLE, "web", &ports).unwrap();
        let Some(text) = program("nft", &["list", "table", "inet", TABLE]) else { return };
        let host = Host { filters_bridged_ipv6: text.contains("br_netfilter") };
        let plan = network::firewall::plan(TABLE, &[bridge()], host);
        for chain in &plan.chains {
            for rule in &chain.rules {
                let steps: Vec<String> = rule.steps.iter().map(ToString::to_string).collect();
                assert!(text.contains(&steps.join(" ")), "{:?} is not in\n{text}", steps.join(" "));
            }
        }
        assert!(text.contains("tcp . 8080 comment \"web\" : 10.7.0.2 . 80"), "{text}");
        assert!(text.contains("127.0.0.1 . udp . 9000-9999 comment \"web\""), "{text}");
        let json = program("nft", &["-j", "list", "ruleset"]).unwrap();
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        let count = |kind: &str| {
            json["nftables"].as_array().unwrap().iter().filter(|object| !object[kind].is_null()).count()
        };
        assert_eq!(count("chain"), plan.chains.len());
        assert_eq!(count("rule"), plan.chains.iter().map(|chain| chain.rules.len()).sum::<usize>());
        assert_eq!(count("set") + count("map"), plan.sets.len());
    });
}

#[test]
fn root_two_tables_do_not_meet() {
    on_host(|| {
        set_up();
        let web = container(1);
        web.serve_tcp(80, "web");
        assert_eq!(ensure_firewall("brig-other", &[]).unwrap(), FirewallState::Rebuilt);
        publish("brig-other", "web", &[port(Protocol::Tcp, None, 8081, &web, 80)]).unwrap();
        network::teardown_firewall("brig-other").unwrap();
        assert_eq!(ensure_firewall(TABLE, &[bridge()]).unwrap(), FirewallState::InPlace);
    });
}

#[test]
fn root_a_foreign_drop_policy_is_told_until_its_remedy_was_run() {
    on_host(|| {
        set_up();
        let (web, outside) = (container(1), neighbour(1));
        web.serve_tcp(80, "web");
        publish(TABLE, "web", &[port(Protocol::Tcp, None, 8080, &web, 80)]).unwrap();
        assert_eq!(firewall_warnings(TABLE, &["brig0"]).unwrap(), Vec::<String>::new());
        let firewalld = "table inet firewalld { chain filter_FORWARD { type filter hook forward priority 10; \
            ct state established,related accept; iifname lo accept; jump more; reject with icmpx admin-prohibited; }; \
            chain more { meta l4proto icmp accept; }; }";
        let mut told = 0;
        for (program_name, arguments, chain) in [
            ("iptables", &["-P", "FORWARD", "DROP"][..], "\"ip filter FORWARD\""),
            ("iptables-legacy", &["-P", "FORWARD", "DROP"], "\"ip filter FORWARD\""),
            ("nft", &[firewalld], "\"inet firewalld filter_FORWARD\""),
            (
                "nft",
                &["table inet fw { chain through { type filter hook forward priority 5; policy drop; }; }"],
                "\"inet fw through\"",
            ),
        ] {
            if program(program_name, arguments).is_none() {
                continue;
            }
            assert!(outside.inside(|| tcp("192.0.2.1:8080")).is_err());
            let warnings = firewall_warnings(TABLE, &["brig0"]).unwrap();
            assert!(warnings.len() == 1 && warnings[0].contains(chain), "{warnings:?}");
            let (_, remedy) = warnings[0].split_once("run: ").unwrap();
            program("sh", &["-ec", remedy]).unwrap();
            assert_eq!(firewall_warnings(TABLE, &["brig0"]).unwrap(), Vec::<String>::new());
            assert_eq!(outside.inside(|| tcp("192.0.2.1:8080")).unwrap(), "web 192.0.2.2");
            told += 1;
        }
        eprintln!("{told} kinds of foreign firewalls tried");
    });
}

#[test]
fn root_rules_in_dockers_chain_for_users_come_and_go() {
    on_host(|| {
        set_up();
        let docker = "iptables -P FORWARD DROP; iptables -N DOCKER-USER; iptables -A DOCKER-USER -j RETURN; \
            iptables -A FORWARD -j DOCKER-USER; ip6tables -P FORWARD DROP; ip6tables -N DOCKER-USER; \
            ip6tables -A FORWARD -j DOCKER-USER";
        if program("iptables", &["-V"]).is_none_or(|version| !version.contains("nf_tables")) {
            eprintln!("SKIP no iptables of nftables");
            return;
        }
        program("sh", &["-ec", docker]).unwrap();
        let (web, outside) = (container(1), neighbour(1));
        web.serve_tcp(80, "web");
        outside.serve_tcp(80, "world");
        publish(TABLE, "web", &[port(Protocol::Tcp, None, 8080, &web, 80)]).unwrap();
        assert!(outside.inside(|| tcp("192.0.2.1:8080")).is_err());
        assert_eq!(firewall_warnings(TABLE, &["brig0"]).unwrap().len(), 2);
        for _ in 0..2 {
            ensure_firewall(TABLE, &[bridge()]).unwrap();
            assert_eq!(outside.inside(|| tcp("192.0.2.1:8080")).unwrap(), "web 192.0.2.2");
            assert_eq!(outside.inside(|| tcp("[fd99::1]:8080")).unwrap(), "web fd99::2");
            assert_eq!(web.inside(|| tcp("192.0.2.2:80")).unwrap(), "world 192.0.2.1");
            // What Docker lets pass does not come past our own table.
            assert!(outside.inside(|| tcp("10.7.0.2:80")).is_err());
        }
        assert_eq!(firewall_warnings(TABLE, &["brig0"]).unwrap(), Vec::<String>::new());
        // iptables still understands its chain, and a flush is repaired.
        let listed = program("iptables", &["-S", "DOCKER-USER"]).unwrap();
        assert_eq!(listed.matches("-i brig0 -o br-+").count(), 1, "{listed}");
        assert_eq!(listed.matches(&format!("--comment \"{TABLE} ")).count(), 4, "{listed}");
        assert!(listed.trim_end().ends_with("-A DOCKER-USER -j RETURN"), "{listed}");
        program("iptables", &["-F", "DOCKER-USER"]).unwrap();
        ensure_firewall(TABLE, &[bridge()]).unwrap();
        assert_eq!(outside.inside(|| tcp("192.0.2.1:8080")).unwrap(), "web 192.0.2.2");
        network::teardown_firewall(TABLE).unwrap();
        assert!(!program("iptables", &["-S", "DOCKER-USER"]).unwrap().contains("brig0"));
    });
}
