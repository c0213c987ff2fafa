//! Choosing addresses, subnets and hardware addresses. Pure: what is taken comes in, the choice goes out.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::routes::Route;

/// Chooses the next free IPv4 address of `subnet` after `last`, going round at the end.
///
/// Never the network's own address, its broadcast address, the gateway or one of `taken`. `None` when it is full.
/// An address that was just given back is chosen last, so that neighbours do not mistake a new container for the old.
pub fn choose4(
    subnet: (Ipv4Addr, u8),
    gateway: Ipv4Addr,
    taken: &BTreeSet<Ipv4Addr>,
    last: Option<Ipv4Addr>,
) -> Option<Ipv4Addr> {
    let (first, end) = usable4(subnet)?;
    choose4_between((first, end), gateway, taken, last)
}

/// As [`choose4`], of the part `range` of `subnet` only.
pub fn choose4_of(
    subnet: (Ipv4Addr, u8),
    range: (Ipv4Addr, u8),
    gateway: Ipv4Addr,
    taken: &BTreeSet<Ipv4Addr>,
    last: Option<Ipv4Addr>,
) -> Option<Ipv4Addr> {
    let (first, end) = usable4(subnet)?;
    let base = range.0.to_bits() & mask4(range.1);
    let between = (first.max(base), end.min(base | !mask4(range.1)));
    if between.0 > between.1 { None } else { choose4_between(between, gateway, taken, last) }
}

fn choose4_between(
    (first, end): (u32, u32),
    gateway: Ipv4Addr,
    taken: &BTreeSet<Ipv4Addr>,
    last: Option<Ipv4Addr>,
) -> Option<Ipv4Addr> {
    let gateway = gateway.to_bits();
    let taken: BTreeSet<u32> = taken.iter().map(|ip| ip.to_bits()).collect();
    let start =
        last.map(Ipv4Addr::to_bits).filter(|last| (first..end).contains(last)).map_or(first, |last| last + 1);
    let free = |ip: &u32| *ip != gateway && !taken.contains(ip);
    (start..=end).chain(first..start).find(free).map(Ipv4Addr::from_bits)
}

/// Returns the first and the last address that a machine may have.
fn usable4((network, prefix): (Ipv4Addr, u8)) -> Option<(u32, u32)> {
    if prefix > 30 {
        return None;
    }
    let mask = mask4(prefix);
    let network = network.to_bits() & mask;
    Some((network + 1, (network | !mask) - 1))
}

/// Chooses the next free IPv6 address of `subnet` after `last`; as [`choose4`], with no broadcast address to avoid.
pub fn choose6(
    subnet: (Ipv6Addr, u8),
    gateway: Ipv6Addr,
    taken: &BTreeSet<Ipv6Addr>,
    last: Option<Ipv6Addr>,
) -> Option<Ipv6Addr> {
    choose6_of(subnet, subnet, gateway, taken, last)
}

/// As [`choose6`], of the part `range` of `subnet` only.
pub fn choose6_of(
    (network, prefix): (Ipv6Addr, u8),
    range: (Ipv6Addr, u8),
    gateway: Ipv6Addr,
    taken: &BTreeSet<Ipv6Addr>,
    last: Option<Ipv6Addr>,
) -> Option<Ipv6Addr> {
    if prefix > 126 {
        return None;
    }
    let (mask, part) = (mask6(prefix), mask6(range.1));
    let base = range.0.to_bits() & part;
    let first = ((network.to_bits() & mask) + 1).max(base);
    let end = (network.to_bits() | !mask).min(base | !part);
    let start =
        last.map(Ipv6Addr::to_bits).filter(|last| (first..end).contains(last)).map_or(first, |last| last + 1);
    let free = |ip: &Ipv6Addr| *ip != gateway && !taken.contains(ip);
    (start..=end).chain(first..start).map(Ipv6Addr::from_bits).find(free)
}

/// Chooses the first network of `length` bits within one of `pools` that overlaps neither a route nor `taken`.
pub fn choose_subnet(
    pools: &[(Ipv4Addr, u8)],
    length: u8,
    routes: &[Route],
    taken: &[(Ipv4Addr, u8)],
) -> Option<(Ipv4Addr, u8)> {
    let in_use: Vec<(Ipv4Addr, u8)> = routes.iter().filter_map(route4).chain(taken.iter().copied()).collect();
    pools.iter().find_map(|pool| {
        let mut candidates = subnets_of(*pool, length);
        candidates.find(|candidate| !in_use.iter().any(|other| overlaps(*candidate, *other)))
    })
}

fn route4(route: &Route) -> Option<(Ipv4Addr, u8)> {
    match route.network {
        IpAddr::V4(ip) => Some((ip, route.prefix)),
        IpAddr::V6(_) => None,
    }
}

fn subnets_of((pool, prefix): (Ipv4Addr, u8), length: u8) -> impl Iterator<Item = (Ipv4Addr, u8)> {
    let count = if (prefix..=30).contains(&length) { 1_u64 << (length - prefix) } else { 0 };
    let base = u64::from(pool.to_bits() & mask4(prefix));
    (0..count).map(move |index| {
        let network = base + (index << (32 - length));
        (Ipv4Addr::from_bits(network as u32), length)
    })
}

/// Tells whether two networks have an address in common.
pub fn overlaps(a: (Ipv4Addr, u8), b: (Ipv4Addr, u8)) -> bool {
    let mask = mask4(a.1.min(b.1));
    a.0.to_bits() & mask == b.0.to_bits() & mask
}

/// Tells whether two networks, each an address and a prefix length, have an address in common.
pub fn networks_overlap(a: (IpAddr, u8), b: (IpAddr, u8)) -> bool {
    match (a.0, b.0) {
        (IpAddr::V4(one), IpAddr::V4(other)) => overlaps((one, a.1), (other, b.1)),
        (IpAddr::V6(one), IpAddr::V6(other)) => {
            let mask = mask6(a.1.min(b.1));
            one.to_bits() & mask == other.to_bits() & mask
        }
        _ => false,
    }
}

/// Returns the first address of a network.
pub fn network_address(ip: IpAddr, prefix: u8) -> IpAddr {
    match ip {
        IpAddr::V4(ip) => Ipv4Addr::from_bits(ip.to_bits() & mask4(prefix)).into(),
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & mask6(prefix)).into(),
    }
}

/// Tells whether a machine may have `ip` in this network: not the network's own address, not the broadcast address.
pub fn is_usable(ip: IpAddr, (network, prefix): (IpAddr, u8)) -> bool {
    if !networks_overlap((ip, 128), (network, prefix)) {
        return false;
    }
    match ip {
        IpAddr::V4(ip) if prefix < 31 => {
            let host = ip.to_bits() & !mask4(prefix);
            host != 0 && host != !mask4(prefix)
        }
        IpAddr::V4(_) => true,
        IpAddr::V6(ip) => prefix > 126 || ip.to_bits() & !mask6(prefix) != 0,
    }
}

/// Returns the first address of a network that a machine may have, the usual gateway.
pub fn first_address4((network, prefix): (Ipv4Addr, u8)) -> Option<Ipv4Addr> {
    usable4((network, prefix)).map(|(first, _)| Ipv4Addr::from_bits(first))
}

/// Returns the first address of an IPv6 network that a machine may have, the usual gateway.
pub fn first_address6((network, prefix): (Ipv6Addr, u8)) -> Ipv6Addr {
    Ipv6Addr::from_bits((network.to_bits() & mask6(prefix)) | 1)
}

/// Returns a private IPv6 network of 64 bits (RFC 4193) that depends on `seed` alone, such as the machine's id and the
/// name of the network.
pub fn ula_subnet(seed: &str) -> (Ipv6Addr, u8) {
    let hash = fnv1a(seed.as_bytes()).to_be_bytes();
    let mut octets = [0; 16];
    octets[0] = 0xfd;
    octets[1..8].copy_from_slice(&hash[1..]);
    (octets.into(), 64)
}

/// Returns the hardware address of the container that has `ip`: the same for the same address, so that neighbours that
/// remember it are right even when another container has got the address since.
pub fn mac_for(ip: IpAddr) -> [u8; 6] {
    let tail = match ip {
        IpAddr::V4(ip) => ip.octets(),
        IpAddr::V6(ip) => (fnv1a(&ip.octets()) as u32).to_be_bytes(),
    };
    [0x02, 0x42, tail[0], tail[1], tail[2], tail[3]]
}

fn mask4(prefix: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix.min(32))).unwrap_or(0)
}

fn mask6(prefix: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(prefix.min(128))).unwrap_or(0)
}

/// Returns the FNV-1a hash of `bytes`: stable over versions and machines, no secret.
pub(crate) fn fnv1a(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v4(text: &str) -> Ipv4Addr {
        text.parse().unwrap()
    }

    #[test]
    fn the_next_address_is_free_and_goes_round() {
        let subnet = (v4("10.0.0.0"), 29);
        let gateway = v4("10.0.0.1");
        let mut taken = BTreeSet::new();
        let mut last = None;
        let mut given = Vec::new();
        while let Some(ip) = choose4(subnet, gateway, &taken, last) {
            taken.insert(ip);
            given.push(ip.to_string());
            last = Some(ip);
        }
        assert_eq!(given, ["10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6"]);
        taken.remove(&v4("10.0.0.4"));
        assert_eq!(choose4(subnet, gateway, &taken, last), Some(v4("10.0.0.4")));
    }

    #[test]
    fn an_address_just_given_back_waits() {
        let taken = BTreeSet::from([v4("10.0.0.2")]);
        assert_eq!(
            choose4((v4("10.0.0.0"), 24), v4("10.0.0.1"), &taken, Some(v4("10.0.0.3"))),
            Some(v4("10.0.0.4"))
        );
    }

    #[test]
    fn odd_networks_do_no_harm() {
        let none = BTreeSet::new();
        assert_eq!(choose4((v4("10.0.0.0"), 31), v4("10.0.0.0"), &none, None), None);
        assert_eq!(choose4((v4("0.0.0.0"), 0), v4("0.0.0.1"), &none, None), Some(v4("0.0.0.2")));
        assert_eq!(
            choose4((v4("255.255.255.0"), 24), v4("255.255.255.1"), &none, Some(v4("255.255.255.254"))),
            Some(v4("255.255.255.2"))
        );
        assert_eq!(
            choose4((v4("10.0.0.0"), 24), v4("10.0.0.1"), &none, Some(v4("192.168.0.1"))),
            Some(v4("10.0.0.2"))
        );
        assert_eq!(choose6((Ipv6Addr::UNSPECIFIED, 128), Ipv6Addr::LOCALHOST, &BTreeSet::new(), None), None);
    }

    #[test]
    fn ipv6_addresses_follow() {
        let subnet = ula_subnet("machine/brig0");
        let gateway = first_address6(subnet);
        let first = choose6(subnet, gateway, &BTreeSet::new(), None).unwrap();
        assert_eq!(first.to_bits(), gateway.to_bits() + 1);
        let second = choose6(subnet, gateway, &BTreeSet::from([first]), None).unwrap();
        assert_eq!(second.to_bits(), gateway.to_bits() + 2);
        assert_eq!(gateway.octets()[0], 0xfd);
        assert_eq!(subnet, ula_subnet("machine/brig0"));
        assert_ne!(subnet, ula_subnet("other/brig0"));
    }

    #[test]
    fn subnets_avoid_what_is_routed() {
        let pools = [(v4("172.17.0.0"), 16), (v4("172.18.0.0"), 15), (v4("192.168.0.0"), 16)];
        let route = |text: &str, prefix| Route { network: text.parse().unwrap(), prefix };
        assert_eq!(choose_subnet(&pools, 16, &[], &[]), Some((v4("172.17.0.0"), 16)));
        assert_eq!(choose_subnet(&pools, 16, &[route("172.17.3.0", 24)], &[]), Some((v4("172.18.0.0"), 16)));
        let routes = [route("172.16.0.0", 12), route("fd00::", 8)];
        assert_eq!(
            choose_subnet(&pools, 24, &routes, &[(v4("192.168.0.0"), 24)]),
            Some((v4("192.168.1.0"), 24))
        );
        assert_eq!(choose_subnet(&pools, 24, &[route("0.0.0.0", 0)], &[]), None);
        assert_eq!(choose_subnet(&pools, 8, &[], &[]), None);
    }

    #[test]
    fn a_part_of_a_network_is_kept_to() {
        let subnet = (v4("10.0.0.0"), 24);
        let range = (v4("10.0.0.8"), 30);
        let mut taken = BTreeSet::new();
        while let Some(ip) = choose4_of(subnet, range, v4("10.0.0.9"), &taken, None) {
            taken.insert(ip);
        }
        assert_eq!(taken, BTreeSet::from([v4("10.0.0.8"), v4("10.0.0.10"), v4("10.0.0.11")]));
        assert_eq!(choose4_of(subnet, (v4("10.0.0.255"), 32), v4("10.0.0.1"), &taken, None), None);
        let six = ("fd00::".parse().unwrap(), 64);
        let part = ("fd00::a0".parse().unwrap(), 124);
        let none = BTreeSet::new();
        assert_eq!(
            choose6_of(six, part, "fd00::1".parse().unwrap(), &none, None),
            Some("fd00::a0".parse().unwrap())
        );
    }

    #[test]
    fn usable_addresses_are_told_from_others() {
        for (ip, network, expected) in [
            ("10.0.0.1", ("10.0.0.0", 24), true),
            ("10.0.0.0", ("10.0.0.0", 24), false),
            ("10.0.0.255", ("10.0.0.0", 24), false),
            ("10.0.1.1", ("10.0.0.0", 24), false),
            ("10.0.0.0", ("10.0.0.0", 31), true),
            ("fd00::", ("fd00::", 64), false),
            ("fd00::1", ("fd00::", 64), true),
            ("fd01::1", ("fd00::", 64), false),
            ("fd00::1", ("10.0.0.0", 24), false),
        ] {
            let network = (network.0.parse().unwrap(), network.1);
            assert_eq!(is_usable(ip.parse().unwrap(), network), expected, "{ip} {network:?}");
        }
    }

    #[test]
    fn hardware_addresses_follow_addresses() {
        assert_eq!(mac_for(v4("172.17.0.2").into()), [0x02, 0x42, 172, 17, 0, 2]);
    }
}
