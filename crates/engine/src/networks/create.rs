//! `network create`: from a request to a network that is there.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use base::ContainerId;
use jiff::Timestamp;
use network::{Route, ipam};
use oci::Digest;

use super::BRIDGE;
use super::addresses::contains;
use super::default::POOLS;
use super::net::{Link, Net, subnet, v4};
use super::usernet;
use crate::Engine;
use crate::containers::random_bytes;
use crate::db::NetworkRow;
use crate::error::{Doing, Error, Result};
use crate::model::{NetworkConfig, Subnet};

/// Bits of the prefix of a chosen subnet: 253 containers, and room for thousands of networks.
const CHOSEN_LENGTH: u8 = 24;
/// The names that every engine has.
const BUILTIN: [&str; 4] = [BRIDGE, "host", "none", "default"];

/// What a network is to be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NetworkRequest {
    /// Its name.
    pub name: String,
    /// `bridge`, `macvlan` or `ipvlan`; empty means `bridge`.
    pub driver: String,
    /// Its addresses; free ones are chosen for a family that is wanted and has none.
    pub subnets: Vec<SubnetRequest>,
    /// Options of the driver.
    pub options: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Whether it has IPv4; none means yes.
    pub ipv4: Option<bool>,
    /// Whether it has IPv6; none means when it has such a subnet.
    pub ipv6: Option<bool>,
    /// Whether it has no way out.
    pub internal: bool,
    /// Of swarms; kept and shown.
    pub attachable: bool,
}

/// One subnet of a request, as text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SubnetRequest {
    /// `172.30.0.0/24`.
    pub subnet: String,
    /// The part that addresses are chosen from, `172.30.0.128/25`; empty means all of it.
    pub range: String,
    /// Empty means the first address.
    pub gateway: String,
    /// Addresses that others have, by name.
    pub reserved: BTreeMap<String, String>,
}

impl Engine {
    /// Makes a network; returns its identity. Nothing of it is left when this fails.
    pub fn create_network(&self, request: &NetworkRequest) -> Result<String> {
        check_name(&request.name)?;
        let id = ContainerId::from_random(random_bytes()?).to_string();
        let wanted = read(request)?;
        let reached = network::host_networks().doing(|| "cannot read the host's routes".to_owned())?;
        let default = Net::default(self.bridge()?);
        let lock = self.lock_networks()?;
        self.finish_removals(&lock)?;
        let row = self.db()?.put_network(|others| {
            if let Some(other) = others.iter().find(|other| other.name == request.name) {
                let text = format!("network with name {} already exists", other.name);
                return Err(Error::Conflict(text));
            }
            let row = NetworkRow {
                id: id.clone(),
                name: request.name.clone(),
                created: Timestamp::now(),
                driver: driver(request).to_owned(),
                removing: false,
                config: wanted.clone(),
            };
            self.place(row, others, &default, &reached)
        })??;
        let net = Net::of(&row)?;
        // A plain user's bridge is made with the first container on it.
        let made = match usernet::is_elsewhere() {
            true => usernet::check(std::slice::from_ref(&net)),
            false => net.ensure(),
        };
        if let Err(error) = made.and_then(|()| self.rebuild_firewall(&lock)) {
            // The first error is the one to tell; what stays is found through the row.
            let _ = self.db()?.begin_network_removal(&row.id).and_then(|_| self.finish_removals(&lock));
            return Err(error);
        }
        self.record(&[self.network_event("create", &row.name)]);
        Ok(row.id)
    }

    /// Gives a network that is about to be recorded its subnets, or says with what they overlap.
    fn place(
        &self,
        mut row: NetworkRow,
        others: &[NetworkRow],
        default: &Net,
        reached: &[(Route, String)],
    ) -> Result<NetworkRow> {
        let mut taken: Vec<(IpAddr, u8, String)> = Vec::new();
        let held = |name: &str, subnets: &[Subnet]| {
            subnets
                .iter()
                .map(|net| (net.address, net.length, format!("network {name} ({net})")))
                .collect::<Vec<_>>()
        };
        taken.extend(held(BRIDGE, &default.subnets));
        taken.extend(others.iter().flat_map(|other| held(&other.name, &other.config.subnets)));
        let net = Net::of(&row)?;
        if let Link::Bridge(bridge) = &net.link {
            self.check_link(bridge.name.as_str(), &row, others)?;
            // A link that lives on a link of the host has that one's network, and its routes.
            let foreign = reached.iter().filter(|(_, link)| *link != bridge.name);
            taken.extend(foreign.map(|(route, link)| {
                let by = if link.is_empty() { String::new() } else { format!(" by {link}") };
                let text = format!("the host's route {}/{}{by}", route.network, route.prefix);
                (route.network, route.prefix, text)
            }));
        }
        for wanted in &row.config.subnets {
            let one = (wanted.address, wanted.length);
            if let Some((.., other)) = taken.iter().find(|(ip, n, _)| ipam::networks_overlap(one, (*ip, *n)))
            {
                return Err(Error::Conflict(format!(
                    "invalid pool request: Pool overlaps with other one on this address space: {wanted} overlaps {other}"
                )));
            }
        }
        let has = |four: bool| row.config.subnets.iter().any(|net| net.address.is_ipv4() == four);
        let (needs4, needs6) = (row.config.ipv4 && !has(true), row.config.ipv6 && !has(false));
        let taken: Vec<(IpAddr, u8)> = taken.into_iter().map(|(ip, length, _)| (ip, length)).collect();
        if needs4 {
            let chosen = self.choose_subnet(reached, &taken)?;
            row.config.subnets.insert(0, chosen);
        }
        if needs6 {
            row.config.subnets.push(choose_subnet6(&row.id, &taken));
        }
        Ok(row)
    }

    fn choose_subnet(&self, reached: &[(Route, String)], taken: &[(IpAddr, u8)]) -> Result<Subnet> {
        let mut pools = POOLS.to_vec();
        if !self.roots().is_default() {
            // Engines on other roots look at another place first, so that two that begin at once do not meet.
            let digest = Digest::of(self.network_names().0.as_bytes());
            let place = u32::from_str_radix(&digest.hex()[3..6], 16).unwrap_or(0);
            pools.insert(0, (Ipv4Addr::from_bits(Ipv4Addr::new(10, 64, 0, 0).to_bits() | place << 10), 20));
        }
        let routes: Vec<Route> = reached.iter().map(|(route, _)| *route).collect();
        let taken: Vec<_> = taken.iter().filter_map(|(ip, length)| Some((v4(*ip)?, *length))).collect();
        let chosen = ipam::choose_subnet(&pools, CHOSEN_LENGTH, &routes, &taken);
        let (address, length) = chosen.ok_or_else(|| {
            Error::Unavailable(
                "could not find an available, non-overlapping IPv4 address pool among the defaults to assign to the network; choose one with --subnet".to_owned(),
            )
        })?;
        Ok(subnet(address.into(), length, ipam::first_address4((address, length)).map(IpAddr::V4)))
    }

    /// Checks that no other network has that link.
    fn check_link(&self, name: &str, row: &NetworkRow, others: &[NetworkRow]) -> Result<()> {
        let mut holder = (name == self.network_names().0).then(|| BRIDGE.to_owned());
        for other in others.iter().filter(|other| other.id != row.id && other.driver == "bridge") {
            if Net::of(other)?.bridge().is_some_and(|bridge| bridge.name == name) {
                holder = Some(other.name.clone());
            }
        }
        match holder {
            Some(holder) => Err(Error::Conflict(format!(
                "cannot create network {}: the bridge {name} belongs to network {holder}",
                row.name
            ))),
            None => Ok(()),
        }
    }
}

/// Tells whether `ip` is in the network that `subnet` writes, such as `10.1.0.0/16`.
pub fn is_inside(ip: IpAddr, subnet: &str) -> bool {
    cidr(subnet).is_some_and(|(address, length)| contains(&self::subnet(address, length, None), ip))
}

fn driver(request: &NetworkRequest) -> &str {
    if request.driver.is_empty() { "bridge" } else { &request.driver }
}

fn check_name(name: &str) -> Result<()> {
    if BUILTIN.contains(&name) {
        return Err(Error::Denied(format!("operation is not permitted on predefined {name} network")));
    }
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let starts = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    if starts && name.bytes().all(fine) && name.len() <= 255 {
        return Ok(());
    }
    Err(Error::Invalid(format!("invalid network name {name:?}: only [a-zA-Z0-9][a-zA-Z0-9_.-]* is allowed")))
}

/// Checks a request but for what else there is.
fn read(request: &NetworkRequest) -> Result<NetworkConfig> {
    let subnets = request.subnets.iter().map(read_subnet).collect::<Result<Vec<_>>>()?;
    let six = subnets.iter().any(|net| net.address.is_ipv6());
    let config = NetworkConfig {
        options: request.options.clone(),
        labels: request.labels.clone(),
        ipv4: request.ipv4.unwrap_or(true),
        ipv6: request.ipv6.unwrap_or(six),
        internal: request.internal,
        attachable: request.attachable,
        subnets,
    };
    super::options::Driver::of(driver(request), &config)?;
    let of = |four: bool| config.subnets.iter().filter(move |net| net.address.is_ipv4() == four).count();
    if !config.ipv4 && !config.ipv6 {
        return Err(Error::Invalid("IPv4 or IPv6 must be enabled".to_owned()));
    }
    if !config.ipv4 && of(true) > 0 {
        return Err(Error::Invalid("conflicting options: an IPv4 subnet and --ipv4=false".to_owned()));
    }
    if !config.ipv6 && of(false) > 0 {
        return Err(Error::Invalid("conflicting options: an IPv6 subnet and --ipv6=false".to_owned()));
    }
    if driver(request) == "bridge" && (of(true) > 1 || of(false) > 1) {
        return Err(Error::Invalid("bridge driver doesn't support multiple subnets".to_owned()));
    }
    for (number, one) in config.subnets.iter().enumerate() {
        let overlaps = |other: &&Subnet| {
            ipam::networks_overlap((one.address, one.length), (other.address, other.length))
        };
        if let Some(other) = config.subnets[..number].iter().find(overlaps) {
            return Err(Error::Conflict(format!(
                "multiple overlapping subnet configuration is not supported: {one} overlaps {other}"
            )));
        }
    }
    Ok(config)
}

fn read_subnet(request: &SubnetRequest) -> Result<Subnet> {
    let text = request.subnet.as_str();
    let bad = || Error::Invalid(format!("invalid CIDR address: {text}"));
    let (address, length) = cidr(text).ok_or_else(bad)?;
    let first = ipam::network_address(address, length);
    if first != address {
        return Err(Error::Invalid(format!("invalid subnet {text}: it should be {first}/{length}")));
    }
    let smallest = if address.is_ipv4() { 30 } else { 126 };
    if length == 0 || length > smallest {
        return Err(Error::Invalid(format!(
            "invalid subnet {text}: a prefix of 1 to {smallest} bits is wanted"
        )));
    }
    let mut made = subnet(address, length, None);
    let inside = |made: &Subnet, what: &str, text: &str| -> Result<IpAddr> {
        let ip: IpAddr =
            text.parse().map_err(|_| Error::Invalid(format!("invalid {what} address: {text}")))?;
        match contains(made, ip) && ip.is_ipv4() == made.address.is_ipv4() {
            true => Ok(ip),
            false => {
                Err(Error::Invalid(format!("no matching subnet for {what} {text}: it is not in {made}")))
            }
        }
    };
    if !request.range.is_empty() {
        let bad = || Error::Invalid(format!("invalid CIDR address: {}", request.range));
        let (ip, bits) = cidr(&request.range).ok_or_else(bad)?;
        if bits < length || !contains(&made, ip) {
            return Err(Error::Invalid(format!(
                "no matching subnet for range {}: it is not in {made}",
                request.range
            )));
        }
        made.range = Some((ipam::network_address(ip, bits), bits));
    }
    made.gateway = match request.gateway.as_str() {
        "" => Some(first_address(address, length)),
        text => Some(inside(&made, "gateway", text)?),
    };
    if let Some(ip) = made.gateway.filter(|ip| !ipam::is_usable(*ip, (address, length))) {
        return Err(Error::Invalid(format!(
            "invalid gateway address {ip}: it is that of the network {made} itself, or its broadcast address"
        )));
    }
    for (name, text) in &request.reserved {
        made.reserved.insert(name.clone(), inside(&made, "aux-address", text)?);
    }
    Ok(made)
}

fn first_address(address: IpAddr, length: u8) -> IpAddr {
    match address {
        IpAddr::V4(ip) => ipam::first_address4((ip, length)).unwrap_or(ip).into(),
        IpAddr::V6(ip) => ipam::first_address6((ip, length)).into(),
    }
}

fn cidr(text: &str) -> Option<(IpAddr, u8)> {
    let (ip, length) = text.split_once('/')?;
    let (ip, length): (IpAddr, u8) = (ip.parse().ok()?, length.parse().ok()?);
    (length <= if ip.is_ipv4() { 32 } else { 128 }).then_some((ip, length))
}

/// A private network that depends on the network's identity, and another one should that be taken.
fn choose_subnet6(id: &str, taken: &[(IpAddr, u8)]) -> Subnet {
    let free = (0_u32..).map(|nth| ipam::ula_subnet(&format!("{id} {nth}"))).find(|(ip, length)| {
        !taken.iter().any(|(other, bits)| ipam::networks_overlap(((*ip).into(), *length), (*other, *bits)))
    });
    let (address, length) = free.unwrap_or_else(|| ipam::ula_subnet(id));
    subnet(address.into(), length, Some(ipam::first_address6((address, length)).into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str, range: &str, gateway: &str, aux: &str) -> SubnetRequest {
        let reserved =
            if aux.is_empty() { BTreeMap::new() } else { BTreeMap::from([("a".into(), aux.into())]) };
        SubnetRequest { subnet: text.into(), range: range.into(), gateway: gateway.into(), reserved }
    }

    #[test]
    fn subnets_are_read() {
        let read = |request: SubnetRequest| read_subnet(&request).unwrap();
        assert_eq!(read(one("10.1.0.0/16", "", "", "")).gateway, "10.1.0.1".parse().ok());
        assert_eq!(read(one("10.1.0.0/16", "", "10.1.2.3", "")).gateway, "10.1.2.3".parse().ok());
        assert_eq!(read(one("fd00:1::/64", "", "", "")).gateway, "fd00:1::1".parse().ok());
        let ranged = read(one("10.1.0.0/16", "10.1.5.0/24", "", "10.1.0.9"));
        assert_eq!(ranged.range, Some(("10.1.5.0".parse().unwrap(), 24)));
        for (bad, word) in [
            (one("10.1.0.0", "", "", ""), "invalid CIDR"),
            (one("10.1.0.0/33", "", "", ""), "invalid CIDR"),
            (one("10.1.0.1/16", "", "", ""), "10.1.0.0/16"),
            (one("10.1.0.0/31", "", "", ""), "1 to 30"),
            (one("0.0.0.0/0", "", "", ""), "1 to 30"),
            (one("10.1.0.0/16", "10.2.0.0/24", "", ""), "no matching subnet"),
            (one("10.1.0.0/16", "10.0.0.0/8", "", ""), "no matching subnet"),
            (one("10.1.0.0/16", "", "10.2.0.1", ""), "no matching subnet"),
            (one("10.1.0.0/16", "", "10.1.0.0", ""), "invalid gateway"),
            (one("10.1.0.0/16", "", "fd00::1", ""), "no matching subnet"),
            (one("10.1.0.0/16", "", "", "10.9.0.1"), "no matching subnet"),
        ] {
            let error = read_subnet(&bad).unwrap_err().to_string();
            assert!(error.contains(word), "{bad:?}: {error}");
        }
    }

    #[test]
    fn requests_are_checked_before_anything_is_made() {
        let bridge = |subnets: &[&str]| NetworkRequest {
            subnets: subnets.iter().map(|text| one(text, "", "", "")).collect(),
            ..NetworkRequest::default()
        };
        assert!(read(&bridge(&["10.1.0.0/16", "fd00:1::/64"])).unwrap().ipv6);
        assert!(read(&bridge(&["10.1.0.0/16", "10.2.0.0/16"])).is_err());
        assert!(read(&NetworkRequest { ipv4: Some(false), ..bridge(&[]) }).is_err());
        assert!(read(&NetworkRequest { ipv4: Some(false), ..bridge(&["10.1.0.0/16"]) }).is_err());
        assert!(read(&NetworkRequest { ipv6: Some(false), ..bridge(&["fd00::/64"]) }).is_err());
        let shared = NetworkRequest { driver: "macvlan".into(), ..bridge(&["10.1.0.0/16", "10.2.0.0/16"]) };
        assert_eq!(read(&shared).unwrap().subnets.len(), 2);
        let twice = NetworkRequest { driver: "macvlan".into(), ..bridge(&["10.1.0.0/16", "10.1.2.0/24"]) };
        assert!(read(&twice).unwrap_err().to_string().contains("overlapping"));
        for name in ["", "-a", "a b", "a/b", "bridge", "host", "none", "default", "ü"] {
            assert!(check_name(name).is_err(), "{name}");
        }
        assert!(check_name("a.b-c_d0").is_ok());
    }
}
