//! Addresses: what is wished, what is free.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use network::{BridgeConfig, ipam};

use super::BRIDGE;
use crate::Engine;
use crate::db::ContainerRow;
use crate::error::{Error, Result};
use crate::model::Endpoint;

impl Engine {
    pub(super) fn acquire_address(&self, row: &ContainerRow, bridge: &BridgeConfig) -> Result<Endpoint> {
        // The bridge goes by these names in a request.
        let wishes = &row.spec.networking_config.endpoints_config;
        let wish =
            [BRIDGE, "default", ""].iter().find_map(|name| wishes.get(*name)).cloned().unwrap_or_default();
        let addresses = wish.ipam_config.unwrap_or_default();
        let ip4_wish = Some(&addresses.ipv4_address).filter(|ip| !ip.is_empty());
        let ip4_wish = ip4_wish.map(|text| parse_ip4(text)).transpose()?;
        let ip6_wish = Some(&addresses.ipv6_address).filter(|ip| !ip.is_empty());
        let ip6_wish = ip6_wish.map(|text| wished_ip6(text, bridge)).transpose()?;
        let mac = Some(wish.mac_address).filter(|mac| !mac.is_empty());
        let (Some(subnet4), Some(gateway4)) = (bridge.subnet4, bridge.gateway4) else {
            return Err(Error::Invalid("the bridge has no IPv4 subnet".to_owned()));
        };
        if let Some(ip) = ip4_wish.filter(|ip| !ipam::overlaps(subnet4, (*ip, 32)) || *ip == gateway4) {
            return Err(Error::Invalid(format!(
                "invalid address {ip}: it must be in the bridge's subnet {}/{} and not the gateway {gateway4}",
                subnet4.0, subnet4.1
            )));
        }
        let endpoint = self.db()?.acquire_endpoint(&row.id, BRIDGE, |taken| {
            let last = taken.ip4.last().copied();
            let ip4 = match ip4_wish {
                Some(ip) => (!taken.ip4.contains(&ip)).then_some(ip)?,
                None => ipam::choose4(subnet4, gateway4, &taken.ip4, last)?,
            };
            let ip6 = match ip6_wish {
                Some(ip) => Some((!taken.ip6.contains(&ip)).then_some(ip)?),
                None => bridge.subnet6.zip(bridge.gateway6).and_then(|(subnet, gateway)| {
                    ipam::choose6(subnet, gateway, &taken.ip6, taken.ip6.last().copied())
                }),
            };
            Some(Endpoint {
                network: BRIDGE.to_owned(),
                ip4: Some(ip4),
                prefix4: subnet4.1,
                gateway4: Some(gateway4),
                ip6,
                prefix6: bridge.subnet6.map_or(0, |(_, length)| length),
                gateway6: bridge.gateway6,
                mac: mac.unwrap_or_else(|| render_mac(ipam::mac_for(IpAddr::V4(ip4)))),
            })
        })?;
        let asked = ip4_wish.map(IpAddr::V4).into_iter().chain(ip6_wish.map(IpAddr::V6));
        let asked: Vec<String> = asked.map(|ip| ip.to_string()).collect();
        endpoint.ok_or_else(|| match asked.join(" or ") {
            ip if !ip.is_empty() => Error::Conflict(format!(
                "address {ip} is in use by another container; choose another or stop that container"
            )),
            _ => Error::Unavailable(format!(
                "no address is left in {}/{}; stop a container or set a larger [network] subnet",
                subnet4.0, subnet4.1
            )),
        })
    }
}

pub(super) fn parse_subnet(text: &str) -> Result<(Ipv4Addr, u8)> {
    let bad = || {
        Error::Invalid(format!("invalid subnet {text:?}: an IPv4 network such as 172.26.0.0/20 is wanted"))
    };
    let (ip, length) = text.split_once('/').ok_or_else(bad)?;
    let (ip, length) = (ip.parse::<Ipv4Addr>().map_err(|_| bad())?, length.parse::<u8>().map_err(|_| bad())?);
    if !(8..=29).contains(&length) { Err(bad()) } else { Ok((ip, length)) }
}

fn parse_ip4(text: &str) -> Result<Ipv4Addr> {
    text.parse().map_err(|_| Error::Invalid(format!("invalid IPv4 address: {text}")))
}

/// Reads a chosen IPv6 address, which must be one of the bridge's subnet.
fn wished_ip6(text: &str, bridge: &BridgeConfig) -> Result<Ipv6Addr> {
    let ip: Ipv6Addr = text.parse().map_err(|_| Error::Invalid(format!("invalid IPv6 address: {text}")))?;
    let Some((subnet, length)) = bridge.subnet6 else {
        return Err(Error::Invalid(format!("invalid address {ip}: the bridge has no IPv6 subnet")));
    };
    let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
    let inside = ip.to_bits() & mask == subnet.to_bits() & mask;
    if !inside || ip.to_bits() & !mask == 0 || Some(ip) == bridge.gateway6 {
        return Err(Error::Invalid(format!(
            "invalid address {ip}: it must be in the bridge's subnet {subnet}/{length} and not the gateway"
        )));
    }
    Ok(ip)
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

    #[test]
    fn hardware_addresses_read_back() {
        let mac = [2, 0x42, 0xac, 0x1a, 0, 2];
        assert_eq!(parse_mac(&render_mac(mac)).unwrap(), mac);
        assert!(parse_mac("02:42").is_err() && parse_mac("02:42:00:00:00:00:00").is_err());
    }
}
