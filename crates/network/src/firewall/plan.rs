//! The firewall as a value: what Brig's table holds for given bridges. It can be printed (in the language of `nft`),
//! compared and tested; `encode` turns it into messages.
//!
//! ```text
//!   packet from outside or a container          packet from the host itself
//!        guard (-300): 127/8 only from lo              output (-100) ─┐
//!        prerouting (-100) ── open, or by the gate? ─▶ ports ◀─ to the host?┘
//!        input (10000): the host accepts it ─▶ once more, by the gate (see `gate`)
//!        internal (0): from an internal network the host hears replies only
//!        forward (0): internal networks; replies, published, own bridge; else dropped
//!        postrouting (100): loopback source, hairpin, masquerade
//! ```
//!
//! The published ports are elements of sets, so that one more costs one element and no rule:
//! `claimed*` says who holds which ports (and refuses overlaps), `open*` which of them pass by the host's own rules,
//! `ports*` gives address and port, `ranges*` gives only the address where the ports stay the same, one element for a
//! whole range, and `shifts*` the address and the way to count where they do not.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::bridge::{BridgeConfig, GatewayMode};

/// A table of the family `inet` with all that is in it but the elements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ruleset {
    /// The name of the table.
    pub table: String,
    /// The sets and maps.
    pub sets: Vec<Set>,
    /// The chains, those that others jump to first.
    pub chains: Vec<Chain>,
}

/// A set or map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Set {
    /// The name.
    pub name: &'static str,
    /// What its elements are.
    pub shape: Shape,
}

/// What the elements of a set are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// The fingerprint of the plan that was applied.
    Marker,
    /// Intervals of (address of the host, protocol, port).
    Claims(Family),
    /// The same to (address, port) of a container.
    ToPort(Family),
    /// The same to the address of a container.
    ToAddress(Family),
    /// The same to the address of a container and the first and last port to count in, see [`Step::Shift`].
    ToShift(Family),
}

/// An address family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Returns the family of an address.
    pub fn of(ip: IpAddr) -> Self {
        if ip.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    /// Returns the length of an address in bytes.
    pub(crate) fn length(self) -> usize {
        match self {
            Self::V4 => 4,
            Self::V6 => 16,
        }
    }

    /// Returns the word of nft: `ip` or `ip6`.
    fn word(self) -> &'static str {
        match self {
            Self::V4 => "ip",
            Self::V6 => "ip6",
        }
    }
}

/// A chain with its rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    /// The name.
    pub name: &'static str,
    /// Where the kernel calls it; `None` for a chain that others jump to.
    pub base: Option<Base>,
    /// The rules in their order.
    pub rules: Vec<Rule>,
}

/// Where and when the kernel calls a chain. The policy is always to accept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Base {
    /// `filter` or `nat`.
    pub kind: &'static str,
    /// The hook.
    pub hook: Hook,
    /// The place among the chains of a hook, smaller is earlier.
    pub priority: i32,
}

/// A hook of netfilter (`NF_INET_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hook {
    /// Before the route is chosen.
    Prerouting = 0,
    /// To the host itself.
    Input = 1,
    /// On the way through.
    Forward = 2,
    /// From the host itself.
    Output = 3,
    /// Before it leaves.
    Postrouting = 4,
}

/// One rule: what must be true, then what happens; and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Matches and, last, the statement.
    pub steps: Vec<Step>,
    /// The comment that `nft list ruleset` shows.
    pub comment: &'static str,
}

/// A match or a statement of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The packet came by this link (or, negated, by another).
    CameBy(Not, String),
    /// The packet leaves by this link (or, negated, by another).
    LeavesBy(Not, String),
    /// The source is in this network.
    From(IpAddr, u8),
    /// The destination is in this network.
    To(IpAddr, u8),
    /// The destination is an address of the host.
    ToHost,
    /// The packet belongs to a connection that was let through before.
    Established,
    /// The packet belongs to no connection that is tracked, as those by which IPv6 neighbours find each other.
    Untracked,
    /// The destination was translated: the connection came by a published port.
    Translated,
    /// Send it where the map says, to address and port.
    ToPort(Family, &'static str),
    /// Send it where the map says, to the address; the port stays.
    ToAddress(Family, &'static str),
    /// Send it to the address that the map says; of its ports the kernel takes the one as far behind the first as the
    /// packet's own, modulo their number (`NF_NAT_RANGE_PROTO_OFFSET` with the base 0).
    Shift(Family, &'static str),
    /// It is of the first packets of a connection.
    New,
    /// (Destination, protocol, port) are in the set.
    In(Family, &'static str),
    /// Mark its connection.
    MarkConnection(u32),
    /// Give it the address of the link that it leaves by.
    Masquerade,
    /// Go on in another chain.
    Jump(&'static str),
    /// Let it pass this table.
    Accept,
    /// Drop it.
    Drop,
}

/// Whether a match is meant the other way round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Not {
    /// As it says.
    Is,
    /// The other way round.
    IsNot,
}

/// The set that says who holds a port.
pub(crate) fn claims(family: Family) -> &'static str {
    match family {
        Family::V4 => "claimed4",
        Family::V6 => "claimed6",
    }
}

/// The map to address and port.
pub(crate) fn to_port(family: Family) -> &'static str {
    match family {
        Family::V4 => "ports4",
        Family::V6 => "ports6",
    }
}

/// The map to an address.
pub(crate) fn to_address(family: Family) -> &'static str {
    match family {
        Family::V4 => "ranges4",
        Family::V6 => "ranges6",
    }
}

/// The map to an address and a way to count.
pub(crate) fn to_shift(family: Family) -> &'static str {
    match family {
        Family::V4 => "shifts4",
        Family::V6 => "shifts6",
    }
}

/// The set of ports that pass by the host's own rules.
pub(crate) fn open(family: Family) -> &'static str {
    match family {
        Family::V4 => "open4",
        Family::V6 => "open6",
    }
}

/// All sets that published ports of a family are in.
pub(crate) fn sets_of(family: Family) -> [&'static str; 5] {
    [claims(family), open(family), to_port(family), to_address(family), to_shift(family)]
}

/// What connections to published ports are marked with that the host has accepted: "brig".
pub(crate) const ACCEPTED: u32 = 0x6272_6967;

/// Behind whatever else the host has to say about packets to itself.
pub(crate) const BEHIND_ALL: i32 = 10_000;

/// The two ends of the gate: out of the first, in by the second. At most 15 bytes.
pub(crate) fn gate_links(table: &str) -> (String, String) {
    match table.len() {
        ..=13 => (format!("{table}-o"), format!("{table}-i")),
        _ => {
            let hash = crate::ipam::fnv1a(table.as_bytes()) as u32;
            (format!("brig{hash:08x}-o"), format!("brig{hash:08x}-i"))
        }
    }
}

/// The set with the fingerprint.
pub(crate) const MARKER: &str = "plan";
const PORTS: &str = "ports";

impl Ruleset {
    /// Returns the fingerprint that tells this plan from another.
    pub fn fingerprint(&self) -> u32 {
        let hash = crate::ipam::fnv1a(self.to_string().as_bytes());
        (hash ^ (hash >> 32)) as u32
    }

    /// Returns how many references the kernel counts for each chain: its rules and the jumps to it.
    pub(crate) fn uses(&self, chain: &Chain) -> u32 {
        let jumps = self.chains.iter().flat_map(|chain| &chain.rules).flat_map(|rule| &rule.steps);
        let jumps = jumps.filter(|step| **step == Step::Jump(chain.name)).count();
        (chain.rules.len() + jumps) as u32
    }
}

/// What the plan must know about the host.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Host {
    /// The kernel hands bridged IPv6 packets to the firewall (br_netfilter, `net.bridge.bridge-nf-call-ip6tables`).
    ///
    /// It then translates answers to `[::1]` on the bridge, before IPv6 looks at them and throws away what
    /// claims to be for the loopback: `[::1]` cannot lead to a container.
    pub filters_bridged_ipv6: bool,
}

/// Decides what the table `table` holds for these bridges.
pub fn plan(table: &str, bridges: &[BridgeConfig], host: Host) -> Ruleset {
    let families = [Family::V4, Family::V6];
    let mut sets = vec![Set { name: MARKER, shape: Shape::Marker }];
    for family in families {
        sets.push(Set { name: claims(family), shape: Shape::Claims(family) });
        sets.push(Set { name: open(family), shape: Shape::Claims(family) });
        sets.push(Set { name: to_port(family), shape: Shape::ToPort(family) });
        sets.push(Set { name: to_address(family), shape: Shape::ToAddress(family) });
        sets.push(Set { name: to_shift(family), shape: Shape::ToShift(family) });
    }
    let (_, gate) = gate_links(table);
    let chains = vec![
        Chain { name: PORTS, base: None, rules: families.into_iter().flat_map(translate).collect() },
        Chain { name: "guard", base: base("filter", Hook::Prerouting, -300), rules: guard() },
        Chain { name: "prerouting", base: base("nat", Hook::Prerouting, -100), rules: from_outside(&gate) },
        Chain { name: "input", base: base("filter", Hook::Input, BEHIND_ALL), rules: accepted(&gate) },
        Chain { name: "output", base: base("nat", Hook::Output, -100), rules: from_host(host) },
        Chain {
            name: "internal",
            base: base("filter", Hook::Input, 0),
            rules: bridges.iter().filter(|bridge| bridge.internal).flat_map(to_host).collect(),
        },
        Chain { name: "forward", base: base("filter", Hook::Forward, 0), rules: between(bridges) },
        Chain {
            name: "postrouting",
            base: base("nat", Hook::Postrouting, 100),
            rules: bridges.iter().flat_map(leave).collect(),
        },
    ];
    Ruleset { table: table.to_owned(), sets, chains }
}

fn base(kind: &'static str, hook: Hook, priority: i32) -> Option<Base> {
    Some(Base { kind, hook, priority })
}

fn rule(comment: &'static str, steps: impl Into<Vec<Step>>) -> Rule {
    Rule { steps: steps.into(), comment }
}

const LOOPBACK: (IpAddr, u8) = (IpAddr::V4(Ipv4Addr::new(127, 0, 0, 0)), 8);

/// `route_localnet` on a bridge makes the kernel take packets to 127.0.0.0/8 from it, and other software may have set it
/// for other links (CVE-2020-8558): nothing but the loopback itself may use these addresses.
fn guard() -> Vec<Rule> {
    let foreign = || Step::CameBy(Not::IsNot, "lo".into());
    vec![
        rule("loopback is not for neighbours", [foreign(), Step::To(LOOPBACK.0, LOOPBACK.1), Step::Drop]),
        rule("nobody else is loopback", [foreign(), Step::From(LOOPBACK.0, LOOPBACK.1), Step::Drop]),
    ]
}

/// From outside only what is open goes to its container at once; the rest the host's own input rules see first.
fn from_outside(gate: &str) -> Vec<Rule> {
    let by_gate = Step::CameBy(Not::Is, gate.to_owned());
    let mut rules = vec![rule("accepted by the host", [by_gate, Step::ToHost, Step::Jump(PORTS)])];
    rules.extend([Family::V4, Family::V6].map(|family| {
        rule("published past the host", [Step::ToHost, Step::In(family, open(family)), Step::Jump(PORTS)])
    }));
    rules
}

/// Behind all other chains: what is still there, the host lets in. It is marked, for the tables of `gate` to send round.
fn accepted(gate: &str) -> Vec<Rule> {
    let from_elsewhere = |link: &str| Step::CameBy(Not::IsNot, link.to_owned());
    let mark = |family| {
        let steps = [
            from_elsewhere("lo"),
            from_elsewhere(gate),
            Step::New,
            Step::ToHost,
            Step::In(family, claims(family)),
            Step::MarkConnection(ACCEPTED),
        ];
        rule("the host lets it in", steps)
    };
    [Family::V4, Family::V6].map(mark).into()
}

fn to_published() -> Rule {
    rule("published ports", [Step::ToHost, Step::Jump(PORTS)])
}

/// Without a way back a connection to `[::1]` is refused at once, so that clients go on with 127.0.0.1.
fn from_host(host: Host) -> Vec<Rule> {
    let no_way_back = host.filters_bridged_ipv6.then(|| {
        rule("answers would be lost: br_netfilter", [Step::To(Ipv6Addr::LOCALHOST.into(), 128), Step::Accept])
    });
    no_way_back.into_iter().chain([to_published()]).collect()
}

fn translate(family: Family) -> Vec<Rule> {
    vec![
        rule("single ports", [Step::ToPort(family, to_port(family))]),
        rule("ports that stay the same", [Step::ToAddress(family, to_address(family))]),
        rule("ports that move together", [Step::Shift(family, to_shift(family))]),
    ]
}

/// What the host hears from an internal network: answers only. A service of the host is a way out.
fn to_host(bridge: &BridgeConfig) -> Vec<Rule> {
    let from = || Step::CameBy(Not::Is, bridge.name.clone());
    vec![
        rule("answers", [from(), Step::Established, Step::Accept]),
        rule("neighbours", [from(), Step::Untracked, Step::Accept]),
        rule("an internal network asks nothing", [from(), Step::Drop]),
    ]
}

/// What passes from one link to another. Internal networks come first, because what another network lets in may come
/// from them.
fn between(bridges: &[BridgeConfig]) -> Vec<Rule> {
    let closed = bridges.iter().filter(|bridge| bridge.internal).flat_map(closed);
    closed.chain(bridges.iter().flat_map(|bridge| forward(bridge, bridges))).collect()
}

/// Nothing leaves an internal network, nothing enters it.
fn closed(bridge: &BridgeConfig) -> Vec<Rule> {
    let name = || bridge.name.clone();
    let out = [Step::CameBy(Not::Is, name()), Step::LeavesBy(Not::IsNot, name()), Step::Drop];
    let into = [Step::CameBy(Not::IsNot, name()), Step::LeavesBy(Not::Is, name()), Step::Drop];
    vec![rule("no way out", out), rule("no way in", into)]
}

/// What may reach the containers of a bridge.
fn forward(bridge: &BridgeConfig, all: &[BridgeConfig]) -> Vec<Rule> {
    let to = || Step::LeavesBy(Not::Is, bridge.name.clone());
    let from = Step::CameBy(Not::Is, bridge.name.clone());
    let mut rules = vec![
        rule("answers", [to(), Step::Established, Step::Accept]),
        rule("published ports", [to(), Step::Translated, Step::Accept]),
        rule("containers among themselves", [from, to(), if bridge.icc { Step::Accept } else { Step::Drop }]),
    ];
    let families = [
        (bridge.mode4, IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        (bridge.mode6, IpAddr::V6(Ipv6Addr::UNSPECIFIED)),
    ];
    let open: Vec<_> = families.into_iter().filter(|(mode, _)| *mode == GatewayMode::Unprotected).collect();
    if !open.is_empty() {
        for other in all.iter().filter(|other| other.name != bridge.name) {
            let other = Step::CameBy(Not::Is, other.name.clone());
            rules.push(rule("networks are apart", [other, to(), Step::Drop]));
        }
        rules.extend(
            open.into_iter().map(|(_, any)| rule("unprotected", [to(), Step::To(any, 0), Step::Accept])),
        );
    }
    rules.push(rule("nothing else comes in", [to(), Step::Drop]));
    rules
}

/// Which source addresses change when a packet leaves.
fn leave(bridge: &BridgeConfig) -> Vec<Rule> {
    let to = |not| Step::LeavesBy(not, bridge.name.clone());
    let why = "a container cannot answer to loopback";
    let loopback = [LOOPBACK, (IpAddr::V6(Ipv6Addr::LOCALHOST), 128)];
    let mut rules: Vec<Rule> = loopback
        .map(|(ip, prefix)| rule(why, [Step::From(ip, prefix), to(Not::Is), Step::Masquerade]))
        .into();
    for (network, prefix) in networks(bridge) {
        let mode = if network.is_ipv4() { bridge.mode4 } else { bridge.mode6 };
        let from = || Step::From(network, prefix);
        rules.push(rule(
            "a container to a published port of its own network",
            [from(), to(Not::Is), Step::Translated, Step::Masquerade],
        ));
        if bridge.masquerade && mode.translates() && !bridge.internal {
            rules.push(rule("containers to other networks", [from(), to(Not::IsNot), Step::Masquerade]));
        }
    }
    rules
}

fn networks(bridge: &BridgeConfig) -> impl Iterator<Item = (IpAddr, u8)> {
    let four = bridge.subnet4.map(|(ip, prefix): (Ipv4Addr, u8)| (IpAddr::V4(ip), prefix));
    let six = bridge.subnet6.map(|(ip, prefix): (Ipv6Addr, u8)| (IpAddr::V6(ip), prefix));
    four.into_iter().chain(six)
}

impl fmt::Display for Ruleset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "table inet {} {{", self.table)?;
        for set in &self.sets {
            writeln!(f, "\t{set}")?;
        }
        for chain in &self.chains {
            write!(f, "{chain}")?;
        }
        writeln!(f, "}}")
    }
}

impl fmt::Display for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = |family| match family {
            Family::V4 => "ipv4_addr",
            Family::V6 => "ipv6_addr",
        };
        let key = |family| format!("type {} . inet_proto . inet_service", address(family));
        match self.shape {
            Shape::Marker => write!(f, "set {} {{ type mark; }}", self.name),
            Shape::Claims(family) => write!(f, "set {} {{ {}; flags interval; }}", self.name, key(family)),
            Shape::ToPort(family) => {
                write!(
                    f,
                    "map {} {{ {} : {} . inet_service; flags interval; }}",
                    self.name,
                    key(family),
                    address(family)
                )
            }
            Shape::ToAddress(family) => {
                write!(f, "map {} {{ {} : {}; flags interval; }}", self.name, key(family), address(family))
            }
            Shape::ToShift(family) => {
                let (name, key, address) = (self.name, key(family), address(family));
                write!(f, "map {name} {{ {key} : {address} . inet_service . inet_service; flags interval; }}")
            }
        }
    }
}

impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\tchain {} {{", self.name)?;
        if let Some(base) = self.base {
            let hook = format!("{:?}", base.hook).to_lowercase();
            writeln!(f, "\t\ttype {} hook {hook} priority {}; policy accept;", base.kind, base.priority)?;
        }
        for rule in &self.rules {
            let steps: Vec<String> = rule.steps.iter().map(Step::to_string).collect();
            writeln!(f, "\t\t{} comment {:?}", steps.join(" "), rule.comment)?;
        }
        writeln!(f, "\t}}")
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = |family: &Family| format!("{} daddr . meta l4proto . th dport", family.word());
        let word = |ip: &IpAddr| Family::of(*ip).word();
        match self {
            Self::CameBy(not, link) => write!(f, "iifname {not}{link:?}"),
            Self::LeavesBy(not, link) => write!(f, "oifname {not}{link:?}"),
            Self::From(ip, prefix) => write!(f, "{} saddr {}", word(ip), Network(*ip, *prefix)),
            Self::To(ip, prefix) => write!(f, "{} daddr {}", word(ip), Network(*ip, *prefix)),
            Self::ToHost => f.write_str("fib daddr type local"),
            Self::Established => f.write_str("ct state established,related"),
            Self::Untracked => f.write_str("ct state untracked"),
            Self::Translated => f.write_str("ct status dnat"),
            Self::ToPort(family, map) | Self::ToAddress(family, map) | Self::Shift(family, map) => {
                write!(f, "dnat {} to {} map @{map}", family.word(), key(family))
            }
            Self::New => f.write_str("ct state new"),
            Self::In(family, set) => write!(f, "{} @{set}", key(family)),
            Self::MarkConnection(mark) => write!(f, "ct mark set {mark:#x}"),
            Self::Masquerade => f.write_str("masquerade"),
            Self::Jump(chain) => write!(f, "jump {chain}"),
            Self::Accept => f.write_str("accept"),
            Self::Drop => f.write_str("drop"),
        }
    }
}

/// A network as `nft` writes it: a single address without its length.
struct Network(IpAddr, u8);

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self(IpAddr::V4(ip), 32) => ip.fmt(f),
            Self(IpAddr::V6(ip), 128) => ip.fmt(f),
            Self(ip, prefix) => write!(f, "{ip}/{prefix}"),
        }
    }
}

impl fmt::Display for Not {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Is => "",
            Self::IsNot => "!= ",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bridge(icc: bool, masquerade: bool) -> BridgeConfig {
        BridgeConfig {
            name: "brig0".into(),
            subnet4: Some(("10.1.0.0".parse().unwrap(), 16)),
            gateway4: Some("10.1.0.1".parse().unwrap()),
            subnet6: Some(("fd01::".parse().unwrap(), 64)),
            gateway6: Some("fd01::1".parse().unwrap()),
            mtu: None,
            masquerade,
            icc,
            internal: false,
            mode4: GatewayMode::Nat,
            mode6: GatewayMode::Nat,
        }
    }

    fn lines(ruleset: &Ruleset, chain: &str) -> Vec<String> {
        let chain = ruleset.chains.iter().find(|found| found.name == chain).unwrap();
        let join = |rule: &Rule| rule.steps.iter().map(Step::to_string).collect::<Vec<_>>().join(" ");
        chain.rules.iter().map(join).collect()
    }

    #[test]
    fn a_bridge_lets_in_answers_and_published_ports_only() {
        assert_eq!(
            lines(&plan("brig", &[bridge(true, true)], Host::default()), "forward"),
            [
                "oifname \"brig0\" ct state established,related accept",
                "oifname \"brig0\" ct status dnat accept",
                "iifname \"brig0\" oifname \"brig0\" accept",
                "oifname \"brig0\" drop",
            ]
        );
        assert_eq!(
            lines(&plan("brig", &[bridge(false, true)], Host::default()), "forward")[2],
            "iifname \"brig0\" oifname \"brig0\" drop"
        );
    }

    #[test]
    fn sources_change_where_answers_would_be_lost() {
        assert_eq!(
            lines(&plan("brig", &[bridge(true, true)], Host::default()), "postrouting"),
            [
                "ip saddr 127.0.0.0/8 oifname \"brig0\" masquerade",
                "ip6 saddr ::1 oifname \"brig0\" masquerade",
                "ip saddr 10.1.0.0/16 oifname \"brig0\" ct status dnat masquerade",
                "ip saddr 10.1.0.0/16 oifname != \"brig0\" masquerade",
                "ip6 saddr fd01::/64 oifname \"brig0\" ct status dnat masquerade",
                "ip6 saddr fd01::/64 oifname != \"brig0\" masquerade",
            ]
        );
        assert_eq!(lines(&plan("brig", &[bridge(true, false)], Host::default()), "postrouting").len(), 4);
    }

    #[test]
    fn an_internal_network_has_no_way_out_whatever_others_let_in() {
        let internal = BridgeConfig { name: "inner".into(), internal: true, ..bridge(true, true) };
        let ruleset = plan("brig", &[bridge(true, true), internal], Host::default());
        assert_eq!(
            lines(&ruleset, "forward")[..2],
            ["iifname \"inner\" oifname != \"inner\" drop", "iifname != \"inner\" oifname \"inner\" drop"]
        );
        assert_eq!(
            lines(&ruleset, "internal"),
            [
                "iifname \"inner\" ct state established,related accept",
                "iifname \"inner\" ct state untracked accept",
                "iifname \"inner\" drop",
            ]
        );
        assert_eq!(
            lines(&ruleset, "postrouting").iter().filter(|line| line.contains("!= \"inner\"")).count(),
            0
        );
    }

    #[test]
    fn an_unprotected_network_is_apart_from_others_all_the_same() {
        let open =
            BridgeConfig { name: "open".into(), mode4: GatewayMode::Unprotected, ..bridge(true, true) };
        let ruleset = plan("brig", &[bridge(true, true), open], Host::default());
        assert_eq!(
            lines(&ruleset, "forward")[7..],
            [
                "iifname \"brig0\" oifname \"open\" drop",
                "oifname \"open\" ip daddr 0.0.0.0/0 accept",
                "oifname \"open\" drop",
            ]
        );
    }

    #[test]
    fn loopback_is_guarded_without_any_bridge() {
        assert_eq!(
            lines(&plan("brig", &[], Host::default()), "guard"),
            ["iifname != \"lo\" ip daddr 127.0.0.0/8 drop", "iifname != \"lo\" ip saddr 127.0.0.0/8 drop"]
        );
    }

    #[test]
    fn ipv6_loopback_is_left_alone_where_it_cannot_work() {
        let host = Host { filters_bridged_ipv6: true };
        assert_eq!(
            lines(&plan("brig", &[], host), "output"),
            ["ip6 daddr ::1 accept", "fib daddr type local jump ports"]
        );
        assert_eq!(lines(&plan("brig", &[], Host::default()), "output"), ["fib daddr type local jump ports"]);
    }

    #[test]
    fn the_host_is_asked_unless_a_port_is_open() {
        let ruleset = plan("brig", &[], Host::default());
        assert_eq!(
            lines(&ruleset, "prerouting"),
            [
                "iifname \"brig-i\" fib daddr type local jump ports",
                "fib daddr type local ip daddr . meta l4proto . th dport @open4 jump ports",
                "fib daddr type local ip6 daddr . meta l4proto . th dport @open6 jump ports",
            ]
        );
        assert_eq!(
            lines(&ruleset, "input")[0],
            "iifname != \"lo\" iifname != \"brig-i\" ct state new fib daddr type local \
             ip daddr . meta l4proto . th dport @claimed4 ct mark set 0x62726967"
        );
    }

    #[test]
    fn the_gate_has_names_that_fit() {
        for table in ["brig", "brig-12345678", "a-much-longer-name-of-a-table"] {
            let (out, into) = gate_links(table);
            assert!(out.len() <= 15 && into.len() <= 15 && out != into, "{out} {into}");
        }
    }

    #[test]
    fn the_fingerprint_follows_the_plan() {
        let one = plan("brig", &[bridge(true, true)], Host::default());
        assert_eq!(one.fingerprint(), plan("brig", &[bridge(true, true)], Host::default()).fingerprint());
        assert_ne!(one.fingerprint(), plan("brig", &[bridge(false, true)], Host::default()).fingerprint());
        assert_eq!(one.uses(&one.chains[0]), 10);
    }
}
