//! Addresses: what is wished, what is free.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use docker_types::container::EndpointConfig;
use network::ipam;

use super::net::{Net, v4, v6};
use super::{FIRST_LINK, IFNAME, SYSCTLS};
use crate::Engine;
use crate::db::{ContainerRow, Endpoints, Taken};
use crate::error::{Error, Result};
use crate::model::{Endpoint, Subnet};

/// What is wished of one attachment, read.
struct Wish {
    ip4: Option<Ipv4Addr>,
    ip6: Option<Ipv6Addr>,
    /// What the endpoint is before it has addresses.
    endpoint: Endpoint,
}

impl Engine {
    /// Gives a container an address on each of `nets`, all or none, as `wishes` say it; `links` are the names of its
    /// links inside that are in use.
    pub(super) fn acquire_addresses(
        &self,
        row: &ContainerRow,
        nets: &[Net],
        wishes: &[&EndpointConfig],
        links: &[&str],
        pending: bool,
    ) -> Result<Vec<Endpoint>> {
        let mut used: Vec<String> = links.iter().map(|link| (*link).to_owned()).collect();
        let mut read = Vec::with_capacity(nets.len());
        for (net, wish) in nets.iter().zip(wishes) {
            let wish = Wish::read(net, wish, &used)?;
            used.push(wish.endpoint.link_name().to_owned());
            read.push(wish);
        }
        let names: Vec<(&str, &str)> = nets.iter().map(|net| (net.name.as_str(), net.id.as_str())).collect();
        let acquire = || {
            self.db()?.acquire_endpoints(&row.id, &names, pending, |number, taken| {
                read[number].choose(&nets[number], taken)
            })
        };
        let mut outcome = acquire()?;
        if matches!(outcome, Endpoints::None(_)) {
            // Who has it may have ended while nobody watched.
            self.repair()?;
            outcome = acquire()?;
        }
        match outcome {
            Endpoints::Given(list) => Ok(list),
            Endpoints::Gone(number) => {
                Err(Error::NotFound { what: "network", name: nets[number].name.clone() })
            }
            Endpoints::None(number) => Err(self.no_address(&nets[number], &read[number])?),
        }
    }

    /// Why a network has no address for a wish.
    fn no_address(&self, net: &Net, wish: &Wish) -> Result<Error> {
        let asked = wish.ip4.map(IpAddr::V4).into_iter().chain(wish.ip6.map(IpAddr::V6));
        for ip in asked {
            if let Some(owner) = self.db()?.address_owner(&net.name, ip)? {
                return Ok(Error::Conflict(format!(
                    "Address already in use: {ip} on network {} is in use by container {owner}; choose another or stop that container",
                    net.name
                )));
            }
        }
        let subnets: Vec<String> = net.subnets.iter().map(Subnet::to_string).collect();
        let hint = match net.id.is_empty() {
            true => "set a larger [network] subnet in brig.toml",
            false => "make a network with a larger --subnet",
        };
        let subnets = subnets.join(" and ");
        Ok(Error::Unavailable(format!(
            "no available IPv4 or IPv6 addresses on network {} ({subnets}); stop a container, or {hint}",
            net.name
        )))
    }
}

/// Checks what is wished on a network but for whether it is free.
pub(super) fn check(net: &Net, wish: &EndpointConfig) -> Result<()> {
    Wish::read(net, wish, &[]).map(drop)
}

impl Wish {
    fn read(net: &Net, wish: &EndpointConfig, used: &[String]) -> Result<Self> {
        let invalid = |text: String| Error::Invalid(format!("invalid endpoint settings: {text}"));
        let given = wish.ipam_config.clone().unwrap_or_default();
        let ip4 = Some(&given.ipv4_address).filter(|ip| !ip.is_empty());
        let ip4 = ip4.map(|ip| ip.parse().map_err(|_| invalid(format!("invalid IPv4 address: {ip}"))));
        let ip6 = Some(&given.ipv6_address).filter(|ip| !ip.is_empty());
        let ip6 = ip6.map(|ip| ip.parse().map_err(|_| invalid(format!("invalid IPv6 address: {ip}"))));
        let (ip4, ip6) = (ip4.transpose()?, ip6.transpose()?);
        for ip in ip4.map(IpAddr::V4).into_iter().chain(ip6.map(IpAddr::V6)) {
            check_wished(net, ip).map_err(invalid)?;
        }
        let link_local = given.link_local_ips.iter().flatten();
        let link_local = link_local.map(|text| {
            let ip = text.parse::<IpAddr>().ok().filter(is_link_local);
            ip.ok_or_else(|| invalid(format!("invalid link-local IP address: {text}")))
        });
        let options = wish.driver_opts.clone().unwrap_or_default();
        check_options(&options).map_err(invalid)?;
        let link = match options.get(IFNAME) {
            Some(name) if used.contains(name) => {
                return Err(invalid(format!("link name {name:?} is in use inside the container")));
            }
            Some(name) => name.clone(),
            None => free_link(used),
        };
        Ok(Self {
            ip4,
            ip6,
            endpoint: Endpoint {
                network: net.name.clone(),
                network_id: net.id.clone(),
                driver: net.driver().to_owned(),
                mac: if wish.mac_address.is_empty() || !net.has_mac() {
                    String::new()
                } else {
                    render_mac(parse_mac(&wish.mac_address)?)
                },
                link: if link == FIRST_LINK { String::new() } else { link },
                aliases: wish.aliases.clone().unwrap_or_default(),
                links: wish.links.clone().unwrap_or_default(),
                link_local: link_local.collect::<Result<_>>()?,
                options,
                priority: wish.gw_priority,
                internal: net.internal,
                ..Endpoint::default()
            },
        })
    }

    /// Takes the wished addresses, or free ones; `None` when there is none.
    fn choose(&self, net: &Net, taken: &Taken) -> Option<Endpoint> {
        let mut endpoint = self.endpoint.clone();
        if net.subnets.iter().any(|subnet| subnet.address.is_ipv4()) {
            let (ip, subnet) = choose4(net, self.ip4, &taken.ip4)?;
            endpoint.ip4 = Some(ip);
            endpoint.prefix4 = subnet.length;
            endpoint.gateway4 = net.gateway(subnet).and_then(v4);
        }
        if net.subnets.iter().any(|subnet| subnet.address.is_ipv6()) {
            let (ip, subnet) = choose6(net, self.ip6, &taken.ip6)?;
            endpoint.ip6 = Some(ip);
            endpoint.prefix6 = subnet.length;
            endpoint.gateway6 = net.gateway(subnet).and_then(v6);
        }
        let ip = endpoint.ip4.map(IpAddr::V4).or(endpoint.ip6.map(IpAddr::V6));
        if endpoint.mac.is_empty() && net.has_mac() {
            endpoint.mac = ip.map(|ip| render_mac(ipam::mac_for(ip))).unwrap_or_default();
        }
        Some(endpoint)
    }
}

fn choose4<'a>(
    net: &'a Net,
    wish: Option<Ipv4Addr>,
    taken: &BTreeSet<Ipv4Addr>,
) -> Option<(Ipv4Addr, &'a Subnet)> {
    if let Some(ip) = wish {
        let subnet = net.subnets.iter().find(|subnet| contains(subnet, ip.into()))?;
        return (!taken.contains(&ip)).then_some((ip, subnet));
    }
    net.subnets.iter().find_map(|subnet| {
        let network = (v4(subnet.address)?, subnet.length);
        let range = subnet.range.and_then(|(ip, length)| Some((v4(ip)?, length))).unwrap_or(network);
        let mut held = taken.clone();
        held.extend(subnet.reserved.values().copied().filter_map(v4));
        let last = taken.iter().copied().rfind(|ip| contains(subnet, (*ip).into()));
        // Without a gateway the network's own address stands for it: nobody gets that one.
        let gateway = subnet.gateway.and_then(v4).unwrap_or(network.0);
        Some((ipam::choose4_of(network, range, gateway, &held, last)?, subnet))
    })
}

fn choose6<'a>(
    net: &'a Net,
    wish: Option<Ipv6Addr>,
    taken: &BTreeSet<Ipv6Addr>,
) -> Option<(Ipv6Addr, &'a Subnet)> {
    if let Some(ip) = wish {
        let subnet = net.subnets.iter().find(|subnet| contains(subnet, ip.into()))?;
        return (!taken.contains(&ip)).then_some((ip, subnet));
    }
    net.subnets.iter().find_map(|subnet| {
        let network = (v6(subnet.address)?, subnet.length);
        let range = subnet.range.and_then(|(ip, length)| Some((v6(ip)?, length))).unwrap_or(network);
        let mut held = taken.clone();
        held.extend(subnet.reserved.values().copied().filter_map(v6));
        let last = taken.iter().copied().rfind(|ip| contains(subnet, (*ip).into()));
        let gateway = subnet.gateway.and_then(v6).unwrap_or(network.0);
        Some((ipam::choose6_of(network, range, gateway, &held, last)?, subnet))
    })
}

pub(super) fn contains(subnet: &Subnet, ip: IpAddr) -> bool {
    ipam::networks_overlap((subnet.address, subnet.length), (ip, if ip.is_ipv4() { 32 } else { 128 }))
}

/// Checks a wished address but for whether it is free.
fn check_wished(net: &Net, ip: IpAddr) -> Result<(), String> {
    let family = net.subnets.iter().filter(|subnet| subnet.address.is_ipv4() == ip.is_ipv4());
    let known: Vec<String> = family.map(Subnet::to_string).collect();
    let Some(subnet) = net.subnets.iter().find(|subnet| contains(subnet, ip)) else {
        return Err(format!(
            "no configured subnet contains the IP address {ip}: network {} has {}",
            net.name,
            if known.is_empty() { "none of that family".to_owned() } else { known.join(" and ") }
        ));
    };
    if !ipam::is_usable(ip, (subnet.address, subnet.length)) {
        return Err(format!("{ip} is the address of the network {subnet} itself, or its broadcast address"));
    }
    if subnet.gateway == Some(ip) {
        return Err(format!("{ip} is the gateway of network {}", net.name));
    }
    match subnet.reserved.iter().find(|(_, reserved)| **reserved == ip) {
        Some((name, _)) => Err(format!("{ip} is kept for {name:?} on network {}", net.name)),
        None => Ok(()),
    }
}

/// Checks the options of an attachment; unknown ones are refused.
fn check_options(options: &BTreeMap<String, String>) -> Result<(), String> {
    for (name, value) in options {
        match name.as_str() {
            IFNAME if super::options::is_link_name(value) && value != "lo" => {}
            IFNAME => return Err(format!("invalid interface name {value:?}")),
            SYSCTLS => {
                for pair in value.split(',') {
                    let fine = pair.split_once('=').is_some_and(|(name, _)| {
                        let mut parts = name.trim().split('.');
                        parts.next() == Some("net")
                            && matches!(parts.next(), Some("ipv4" | "ipv6" | "mpls"))
                            && parts.any(|part| part == "IFNAME")
                    });
                    if !fine {
                        return Err(format!(
                            "invalid sysctl {pair:?}: net.ipv4.….IFNAME.…=value is wanted (IFNAME stands for the link)"
                        ));
                    }
                }
            }
            other => return Err(format!("unknown driver option {other:?}")),
        }
    }
    Ok(())
}

fn is_link_local(ip: &IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

/// The next name for a link inside.
fn free_link(used: &[String]) -> String {
    let free = (0..=used.len()).map(|number| format!("eth{number}")).find(|name| !used.contains(name));
    free.unwrap_or_else(|| FIRST_LINK.to_owned())
}

pub(super) fn parse_subnet(text: &str) -> Result<(Ipv4Addr, u8)> {
    let bad = || {
        Error::Invalid(format!("invalid subnet {text:?}: an IPv4 network such as 172.26.0.0/20 is wanted"))
    };
    let (ip, length) = text.split_once('/').ok_or_else(bad)?;
    let (ip, length) = (ip.parse::<Ipv4Addr>().map_err(|_| bad())?, length.parse::<u8>().map_err(|_| bad())?);
    if !(8..=29).contains(&length) { Err(bad()) } else { Ok((ip, length)) }
}

pub(super) fn parse_mac(text: &str) -> Result<[u8; 6]> {
    let bad = || Error::Invalid(format!("{text} is not a valid mac address"));
    let mut mac = [0; 6];
    let mut parts = text.split([':', '-']);
    for byte in &mut mac {
        *byte = parts.next().and_then(|part| u8::from_str_radix(part, 16).ok()).ok_or_else(bad)?;
    }
    if parts.next().is_some() { Err(bad()) } else { Ok(mac) }
}

fn render_mac(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(subnets: Vec<Subnet>) -> Net {
        let bridge = network::BridgeConfig {
            name: "lan0".into(),
            subnet4: None,
            gateway4: None,
            subnet6: None,
            gateway6: None,
            mtu: None,
            masquerade: true,
            icc: true,
            internal: false,
            mode4: network::GatewayMode::Nat,
            mode6: network::GatewayMode::Nat,
        };
        Net { subnets, name: "lan".into(), id: "a7".repeat(32), ..Net::default(bridge) }
    }

    fn subnet(text: &str, gateway: &str) -> Subnet {
        let (ip, length) = text.split_once('/').unwrap();
        super::super::net::subnet(ip.parse().unwrap(), length.parse().unwrap(), gateway.parse().ok())
    }

    #[test]
    fn addresses_come_from_the_range_and_leave_out_what_is_kept() {
        let mut lan = subnet("10.9.0.0/24", "10.9.0.4");
        lan.range = Some(("10.9.0.4".parse().unwrap(), 30));
        lan.reserved.insert("router".into(), "10.9.0.5".parse().unwrap());
        let net = net(vec![lan, subnet("10.9.1.0/29", "")]);
        let mut taken = BTreeSet::new();
        while let Some((ip, _)) = choose4(&net, None, &taken) {
            taken.insert(ip);
        }
        let given: Vec<String> = taken.iter().map(Ipv4Addr::to_string).collect();
        let second = (1..=6).map(|last| format!("10.9.1.{last}"));
        assert_eq!(
            given,
            ["10.9.0.6", "10.9.0.7"].map(str::to_owned).into_iter().chain(second).collect::<Vec<_>>()
        );
        assert!(choose4(&net, Some([10, 9, 0, 200].into()), &taken).is_some());
        assert!(choose4(&net, Some([10, 9, 0, 7].into()), &taken).is_none());
    }

    #[test]
    fn wished_addresses_are_checked() {
        let mut lan = subnet("10.9.0.0/24", "10.9.0.1");
        lan.reserved.insert("router".into(), "10.9.0.5".parse().unwrap());
        let net = net(vec![lan]);
        for (ip, word) in [
            ("10.9.0.1", "gateway"),
            ("10.9.0.5", "router"),
            ("10.9.0.0", "network"),
            ("10.9.0.255", "broadcast"),
            ("10.9.1.1", "10.9.0.0/24"),
            ("fd00::1", "none of that family"),
        ] {
            let error = check_wished(&net, ip.parse().unwrap()).unwrap_err();
            assert!(error.contains(word), "{ip}: {error}");
        }
        assert!(check_wished(&net, "10.9.0.9".parse().unwrap()).is_ok());
    }

    #[test]
    fn links_are_counted() {
        let used =
            |names: &[&str]| free_link(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        assert_eq!(used(&[]), "eth0");
        assert_eq!(used(&["eth0", "eth2"]), "eth1");
        assert_eq!(used(&["lan"]), "eth0");
    }

    #[test]
    fn options_of_an_attachment_are_checked() {
        let check =
            |name: &str, value: &str| check_options(&BTreeMap::from([(name.to_owned(), value.to_owned())]));
        assert!(
            check(IFNAME, "lan0").is_ok() && check(IFNAME, "lo").is_err() && check(IFNAME, "a/b").is_err()
        );
        assert!(check(SYSCTLS, "net.ipv4.conf.IFNAME.log_martians=1").is_ok());
        for bad in ["net.ipv4.ip_forward=1", "kernel.IFNAME=1", "net.ipv4.conf.IFNAME.x", "net.core.IFNAME=1"]
        {
            assert!(check(SYSCTLS, bad).is_err(), "{bad}");
        }
        assert!(check("colour", "red").is_err());
    }

    #[test]
    fn hardware_addresses_read_back() {
        let mac = [2, 0x42, 0xac, 0x1a, 0, 2];
        assert_eq!(parse_mac(&render_mac(mac)).unwrap(), mac);
        assert!(parse_mac("02:42").is_err() && parse_mac("02:42:00:00:00:00:00").is_err());
    }
}
