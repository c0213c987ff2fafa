//! The networks of containers: today the default bridge, the host's own and none. Addresses and ports are given out by
//! the database, links and rules are made by the `network` crate.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::OwnedFd;
use std::path::Path;

use base::ContainerId;
use docker_types::ContainerSpec;
use docker_types::port::PortRange;
use network::{Attachment, BridgeConfig, FirewallState, Protocol, PublishedPort, ipam};
use oci::Digest;

use crate::Engine;
use crate::containers::random_bytes;
use crate::db::ContainerRow;
use crate::error::{Doing, Error, IoContext, Result};
use crate::model::{Endpoint, Network, Port};
use crate::rootless::{self, usermode};

/// Where the default bridge's subnet is looked for: private ranges that few others use come first.
const POOLS: [(Ipv4Addr, u8); 3] = [
    (Ipv4Addr::new(172, 26, 0, 0), 15),
    (Ipv4Addr::new(10, 64, 0, 0), 10),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
];
/// 4,094 containers on one bridge.
const SUBNET_LENGTH: u8 = 20;
/// Where the chosen subnet is kept.
const SUBNET_SETTING: &str = "bridge.subnet";
/// Name of the default network.
pub const BRIDGE: &str = "bridge";

/// What a container's network mode asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Mode {
    /// A place on the default bridge.
    Bridge,
    /// What stands for it when a plain user calls: a user-mode network of the container's own.
    Pasta,
    /// The host's own network.
    Host,
    /// A namespace with loopback only.
    None,
    /// That of another container.
    Container(String),
}

impl Mode {
    /// Reads `--network`.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        match text {
            "" | "default" | BRIDGE if rootless::is_rootless() => Ok(Self::Pasta),
            "" | "default" | BRIDGE => Ok(Self::Bridge),
            "host" => Ok(Self::Host),
            "none" => Ok(Self::None),
            other => match other.strip_prefix("container:") {
                Some(name) if !name.is_empty() => Ok(Self::Container(name.to_owned())),
                _ => Err(Error::NotFound {
                    what: "network",
                    name: format!("{other} (this version knows bridge, host, none and container:NAME)"),
                }),
            },
        }
    }
}

/// The network of one start: what has to be configured while the container is being made.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// The namespace, for bridge and none.
    pub(crate) netns: Option<OwnedFd>,
    pub(crate) endpoint: Option<Endpoint>,
    pub(crate) ports: Vec<Port>,
    attachment: Option<Attachment>,
    user_mode: bool,
}

impl Engine {
    /// Names on the machine that belong to this pair of roots: the bridge and the firewall table.
    pub(crate) fn network_names(&self) -> (String, String) {
        if self.roots().is_default() {
            return ("brig0".to_owned(), "brig".to_owned());
        }
        let hash = Digest::of(self.roots().data.as_os_str().as_encoded_bytes());
        (format!("brig-{}", &hash.hex()[..8]), format!("brig-{}", &hash.hex()[..8]))
    }

    /// The default bridge: its subnet is chosen once and kept.
    pub(crate) fn bridge(&self) -> Result<BridgeConfig> {
        let settings = &self.config().network;
        let (name, _) = self.network_names();
        let text = match &settings.subnet {
            Some(text) => text.clone(),
            None => self.bridge_subnet(&name)?,
        };
        let subnet4 = parse_subnet(&text)?;
        let subnet6 =
            (settings.ipv6 && network::ipv6_available()).then(|| ipam::ula_subnet(&format!("{text} {name}")));
        Ok(BridgeConfig {
            name,
            subnet4: Some(subnet4),
            gateway4: ipam::first_address4(subnet4),
            subnet6,
            gateway6: subnet6.map(ipam::first_address6),
            mtu: settings.mtu,
            masquerade: true,
            icc: true,
        })
    }

    /// The subnet that was chosen for the bridge `name`; another one when the bridge is not there yet and somebody else
    /// (a VPN, another engine) took that network meanwhile.
    fn bridge_subnet(&self, name: &str) -> Result<String> {
        let kept = self.db()?.setting(SUBNET_SETTING)?;
        if let (Some(text), true) = (&kept, link_exists(name)) {
            return Ok(text.clone());
        }
        let routes = network::host_routes().doing(|| "cannot read the host's routes".to_owned())?;
        let mut pools = POOLS.to_vec();
        if !self.roots().is_default() {
            // Engines on other roots look at another place first, so that two that begin at once do not meet.
            let digest = Digest::of(name.as_bytes());
            let place =
                u32::from_str_radix(&digest.hex()[..3], 16).unwrap_or(0) % (1 << (SUBNET_LENGTH - 10));
            let own = Ipv4Addr::from_bits(POOLS[1].0.to_bits() | (place << (32 - SUBNET_LENGTH)));
            pools.insert(0, (own, SUBNET_LENGTH));
        }
        if let Some(text) = &kept {
            pools.insert(0, parse_subnet(text)?);
        }
        let (ip, length) = ipam::choose_subnet(&pools, SUBNET_LENGTH, &routes, &[]).ok_or_else(|| {
            Error::Unavailable(
                "every private network is in use on this host; set [network] subnet in brig.toml".to_owned(),
            )
        })?;
        let text = format!("{ip}/{length}");
        match kept {
            Some(old) if old == text => Ok(text),
            Some(old) => self.db()?.change_setting(SUBNET_SETTING, &old, &text),
            None => self.db()?.setting_once(SUBNET_SETTING, &text),
        }
    }

    /// Gives a container its namespace, its address and its ports; nothing is on the wire yet.
    pub(crate) fn prepare_network(&self, row: &ContainerRow, mode: &Mode) -> Result<Prepared> {
        let none =
            Prepared { netns: None, endpoint: None, ports: Vec::new(), attachment: None, user_mode: false };
        let make = || {
            let made =
                if rootless::is_rootless() { network::create_netns_apart() } else { network::create_netns() };
            made.doing(|| "cannot make a network namespace".to_owned())
        };
        match mode {
            Mode::Host | Mode::Container(_) => return Ok(none),
            Mode::None => return Ok(Prepared { netns: Some(make()?), ..none }),
            Mode::Pasta => {
                usermode::check()?;
                let ports = self.acquire_host_ports(row)?;
                return Ok(Prepared { netns: Some(make()?), ports, user_mode: true, ..none });
            }
            Mode::Bridge => {}
        }
        let bridge = self.bridge()?;
        let endpoint = self.acquire_address(row, &bridge)?;
        let ports = self.acquire_host_ports(row)?;
        let attachment = Attachment {
            bridge: bridge.name.clone(),
            host_ifname: network::host_ifname(row.id.as_str()),
            guest_ifname: "eth0".to_owned(),
            mac: parse_mac(&endpoint.mac)?,
            address4: endpoint.ip4.map(|ip| (ip, endpoint.prefix4)),
            address6: endpoint.ip6.map(|ip| (ip, endpoint.prefix6)),
            gateway4: endpoint.gateway4,
            gateway6: endpoint.gateway6,
            mtu: bridge.mtu,
            isolated: false,
            sysctls: Vec::new(),
        };
        Ok(Prepared {
            netns: Some(make()?),
            endpoint: Some(endpoint),
            ports,
            attachment: Some(attachment),
            user_mode: false,
        })
    }

    /// Puts a prepared network on the wire: bridge, rules, link, published ports. Undone by [`Engine::teardown_network`].
    pub(crate) fn setup_network(&self, id: &ContainerId, prepared: &Prepared, netns: &OwnedFd) -> Result<()> {
        use std::os::fd::AsFd;
        if prepared.user_mode {
            usermode::start(netns, &self.roots().container_run(id.as_str()), &prepared.ports)?;
            crate::timings::mark("pasta");
            return Ok(());
        }
        let Some(attachment) = &prepared.attachment else { return Ok(()) };
        let bridge = self.bridge()?;
        network::ensure_bridge(&bridge).doing(|| format!("cannot set up the bridge {}", bridge.name))?;
        self.ensure_firewall(&bridge)?;
        crate::timings::mark("bridge, firewall");
        match network::attach(netns.as_fd(), attachment) {
            Err(_) if network::detach(&attachment.host_ifname).is_ok() => {
                // A link of that name was left by a start that was killed; once more without it.
                network::attach(netns.as_fd(), attachment)
            }
            other => other,
        }
        .doing(|| format!("cannot join the container to the bridge {}", bridge.name))?;
        crate::timings::mark("link");
        self.publish(id, prepared)
    }

    fn publish(&self, id: &ContainerId, prepared: &Prepared) -> Result<()> {
        let Some(endpoint) = prepared.endpoint.as_ref().filter(|_| !prepared.ports.is_empty()) else {
            return Ok(());
        };
        let ports = published(&prepared.ports, endpoint);
        let firewall = self.firewall()?;
        let mut result = firewall.publish(id.as_str(), &ports);
        if let Err(network::Error::PortTaken { .. }) = result {
            // The database gave these ports to this container: whoever the rules name is gone, or is about to be told.
            let known: BTreeSet<ContainerId> =
                self.db()?.all_ports()?.into_iter().map(|(id, _)| id).collect();
            let is_known = |owner: &str| owner.parse().is_ok_and(|id| known.contains(&id));
            firewall
                .withdraw_unless(is_known)
                .doing(|| "cannot take back the ports of containers that are gone".to_owned())?;
            result = firewall.publish(id.as_str(), &ports);
        }
        result.doing(|| "cannot publish the ports".to_owned())?;
        crate::timings::mark("ports");
        Ok(())
    }

    /// Makes sure that the rules are there; when somebody flushed them, publishes the ports of all running containers again.
    fn ensure_firewall(&self, bridge: &BridgeConfig) -> Result<()> {
        let firewall = self.firewall()?;
        let state = firewall
            .ensure(std::slice::from_ref(bridge))
            .doing(|| format!("cannot set up the firewall table {}", self.network_names().1))?;
        if state != FirewallState::Rebuilt {
            return Ok(());
        }
        let endpoints: BTreeMap<ContainerId, Endpoint> = self.db()?.all_endpoints()?.into_iter().collect();
        let mut ports: BTreeMap<ContainerId, Vec<Port>> = BTreeMap::new();
        for (id, port) in self.db()?.all_ports()? {
            ports.entry(id).or_default().push(port);
        }
        for (id, ports) in ports {
            let Some(endpoint) = endpoints.get(&id) else { continue };
            firewall
                .publish(id.as_str(), &published(&ports, endpoint))
                .doing(|| format!("cannot publish the ports of container {} again", id.short()))?;
        }
        Ok(())
    }

    /// Takes what [`Engine::setup_network`] made away. The link pair dies with the container's namespace by itself.
    pub(crate) fn teardown_network(&self, id: &ContainerId) -> Result<()> {
        if rootless::is_rootless() {
            usermode::stop(&self.roots().container_run(id.as_str()))?;
            return self.db()?.release_network(id);
        }
        let ports = self.db()?.ports(id)?;
        let endpoint = self.db()?.endpoints(id)?.into_iter().next();
        if let Some(endpoint) = endpoint.filter(|_| !ports.is_empty()) {
            self.firewall()?
                .withdraw(id.as_str(), &published(&ports, &endpoint))
                .doing(|| "cannot take the published ports back".to_owned())?;
        }
        self.db()?.release_network(id)
    }

    fn acquire_address(&self, row: &ContainerRow, bridge: &BridgeConfig) -> Result<Endpoint> {
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

    fn acquire_host_ports(&self, row: &ContainerRow) -> Result<Vec<Port>> {
        let ports = self.wanted_ports(&row.spec)?;
        if ports.is_empty() {
            return Ok(ports);
        }
        if rootless::is_rootless() {
            usermode::check_ports(&ports)?;
            if check_free(&ports).is_err() {
                // The pasta of a container that ended while nobody watched holds its ports still.
                self.repair()?;
            }
        }
        check_free(&ports)?;
        let mut given = self.db()?.acquire_ports(&row.id, &ports)?;
        if given.is_err() {
            // Its owner may have ended while nobody watched.
            self.repair()?;
            given = self.db()?.acquire_ports(&row.id, &ports)?;
        }
        match given {
            Ok(()) => Ok(ports),
            Err(taken) => Err(Error::PortTaken {
                address: address_of(taken.wanted.host_ip, taken.wanted.host_first),
                proto: taken.wanted.proto,
                why: format!("port is already allocated by container {}", taken.container),
            }),
        }
    }

    /// The ports that a request publishes, with free host ports chosen where it names none; neighbours joined to ranges.
    fn wanted_ports(&self, spec: &ContainerSpec) -> Result<Vec<Port>> {
        let host = &spec.host_config;
        let mut taken: BTreeSet<u16> = self
            .db()?
            .all_ports()?
            .iter()
            .flat_map(|(_, p)| p.host_first..=p.host_first.saturating_add(p.count - 1))
            .collect();
        let mut list = Vec::new();
        let mut add = |guest: &str, ip: &str, wanted: &str| -> Result<()> {
            let (guest_port, proto) = split_port(guest)?;
            let host_ip = match ip {
                "" => None,
                text => {
                    Some(text.parse().map_err(|_| Error::Invalid(format!("invalid host address {text:?}")))?)
                }
            };
            // Without a number, or with 0, a free one is chosen.
            let host_port = match PortRange::parse(wanted).filter(|range| range.first > 0) {
                Some(range) if range.first == range.last => range.first,
                other => {
                    let range = other.map_or_else(network::ephemeral_range, |range| range.first..=range.last);
                    let seed = random_bytes()?;
                    let seed = u32::from_le_bytes([seed[0], seed[1], seed[2], seed[3]]);
                    network::choose_port(protocol(&proto)?, host_ip, range, &taken, seed)
                        .doing(|| format!("cannot find a free host port for {guest}"))?
                }
            };
            taken.insert(host_port);
            list.push(Port { proto, host_ip, host_first: host_port, guest_first: guest_port, count: 1 });
            Ok(())
        };
        for (guest, bindings) in &host.port_bindings {
            for binding in bindings.iter().flatten() {
                add(guest, &binding.host_ip, &binding.host_port)?;
            }
        }
        if host.publish_all_ports {
            for guest in
                spec.config.exposed_ports.keys().filter(|port| !host.port_bindings.contains_key(*port))
            {
                add(guest, "", "")?;
            }
        }
        Ok(join_ranges(list))
    }

    /// Returns the networks that every engine has.
    pub fn networks(&self) -> Result<Vec<Network>> {
        let made = std::fs::metadata(self.roots().data.join("version")).at("look at", &self.roots().data)?;
        let created =
            made.modified().ok().and_then(|time| jiff::Timestamp::try_from(time).ok()).unwrap_or_default();
        let id = |name: &str| {
            Digest::of(format!("{} {name}", self.roots().data.display()).as_bytes()).hex().to_owned()
        };
        let plain = |name: &str, driver: &str| Network {
            id: id(name),
            name: name.to_owned(),
            driver: driver.to_owned(),
            created,
            subnets: Vec::new(),
            options: BTreeMap::new(),
            ipv6: false,
            containers: Vec::new(),
        };
        if rootless::is_rootless() {
            return Ok(vec![plain(BRIDGE, "pasta"), plain("host", "host"), plain("none", "null")]);
        }
        let bridge = self.bridge()?;
        let rows: BTreeMap<ContainerId, String> =
            self.db()?.containers()?.into_iter().map(|row| (row.id, row.name)).collect();
        let attached = self.db()?.all_endpoints()?;
        let containers = attached
            .into_iter()
            .filter_map(|(id, endpoint)| Some((id.clone(), rows.get(&id)?.clone(), endpoint)));
        let mut subnets = Vec::new();
        subnets.extend(
            bridge.subnet4.zip(bridge.gateway4).map(|((ip, n), gw)| (format!("{ip}/{n}"), gw.to_string())),
        );
        subnets.extend(
            bridge.subnet6.zip(bridge.gateway6).map(|((ip, n), gw)| (format!("{ip}/{n}"), gw.to_string())),
        );
        let options = BTreeMap::from([
            ("com.docker.network.bridge.default_bridge".to_owned(), "true".to_owned()),
            ("com.docker.network.bridge.enable_icc".to_owned(), "true".to_owned()),
            ("com.docker.network.bridge.enable_ip_masquerade".to_owned(), "true".to_owned()),
            ("com.docker.network.bridge.name".to_owned(), bridge.name.clone()),
        ]);
        let ipv6 = bridge.subnet6.is_some();
        let bridge =
            Network { subnets, options, ipv6, containers: containers.collect(), ..plain(BRIDGE, "bridge") };
        Ok(vec![bridge, plain("host", "host"), plain("none", "null")])
    }

    /// Returns the network that `name` means: a name, an id or its beginning.
    pub fn network(&self, name: &str) -> Result<Network> {
        let found = self
            .networks()?
            .into_iter()
            .find(|net| net.name == name || name.len() >= 3 && net.id.starts_with(name));
        found.ok_or_else(|| Error::NotFound { what: "network", name: name.to_owned() })
    }

    /// The container's `resolv.conf`, and a warning when no name server is left.
    pub(crate) fn resolv_conf(&self, spec: &ContainerSpec, mode: &Mode) -> Result<(String, Option<String>)> {
        let host = read_or_empty("/etc/resolv.conf")?;
        let upstream = std::fs::read_to_string("/run/systemd/resolve/resolv.conf").ok();
        let servers = |list: &[String]| -> Result<Vec<IpAddr>> {
            list.iter()
                .map(|text| text.parse().map_err(|_| Error::Invalid(format!("{text} is not an ip address"))))
                .collect()
        };
        let mut overrides = network::files::DnsOverrides {
            servers: servers(&spec.host_config.dns)?,
            search: spec.host_config.dns_search.clone(),
            options: spec.host_config.dns_options.clone(),
        };
        if overrides.servers.is_empty() {
            overrides.servers.clone_from(&self.config().network.dns);
        }
        if *mode == Mode::Host && overrides == network::files::DnsOverrides::default() {
            return Ok((host, None));
        }
        let mut made = network::files::resolv_conf(&host, upstream.as_deref(), &overrides);
        if *mode == Mode::Pasta && made.warning.is_some() {
            overrides.servers.push(IpAddr::V4(usermode::DNS));
            made = network::files::resolv_conf(&host, upstream.as_deref(), &overrides);
        }
        Ok((made.text, made.warning))
    }

    /// The container's `hosts`.
    pub(crate) fn hosts(
        &self,
        spec: &ContainerSpec,
        hostname: &str,
        endpoint: Option<&Endpoint>,
    ) -> Result<String> {
        let gateway = || -> Result<IpAddr> {
            if rootless::is_rootless() {
                return Err(Error::Unsupported(
                    "host-gateway is not supported for a plain user's containers: they cannot reach the host's own ports"
                        .to_owned(),
                ));
            }
            let gateway = endpoint.and_then(|endpoint| endpoint.gateway4).map(IpAddr::V4);
            Ok(gateway.or(self.bridge()?.gateway4.map(IpAddr::V4)).unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)))
        };
        let mut extra = Vec::new();
        for text in spec.host_config.extra_hosts.iter().flatten() {
            let (name, ip) = text
                .split_once([':', '='])
                .ok_or_else(|| Error::Invalid(format!("bad format for add-host: {text:?}")))?;
            let ip = match ip {
                docker_types::host::HOST_GATEWAY => gateway()?,
                ip => ip
                    .trim_matches(['[', ']'])
                    .parse()
                    .map_err(|_| Error::Invalid(format!("invalid IP address in add-host: {ip:?}")))?,
            };
            extra.push((name.to_owned(), ip));
        }
        let own: Vec<IpAddr> = endpoint
            .into_iter()
            .flat_map(|e| e.ip4.map(IpAddr::V4).into_iter().chain(e.ip6.map(IpAddr::V6)))
            .collect();
        Ok(network::files::hosts(hostname, Some(&spec.config.domainname), &own, &extra))
    }

    /// What another program's firewall does to our traffic, in whole sentences with what to run.
    pub(crate) fn firewall_warnings(&self) -> Vec<String> {
        let (bridge, _) = self.network_names();
        // Who may not read the rules is not told about them; the commands that need them fail with the reason.
        self.firewall().ok().and_then(|firewall| firewall.warnings(&[&bridge]).ok()).unwrap_or_default()
    }
}

/// Asks the kernel by a socket: `/sys` may show another network namespace than the one we are in.
fn link_exists(name: &str) -> bool {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, netdevice, socket_with};
    socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None)
        .is_ok_and(|socket| netdevice::name_to_index(&socket, name).is_ok())
}

fn check_free(ports: &[Port]) -> Result<()> {
    for port in ports {
        let protocol = protocol(&port.proto)?;
        for number in port.host_first..=port.host_first.saturating_add(port.count - 1) {
            network::port_is_free(protocol, port.host_ip, number).map_err(|error| Error::PortTaken {
                address: address_of(port.host_ip, number),
                proto: port.proto.clone(),
                why: base::error::render_chain(&error),
            })?;
        }
    }
    Ok(())
}

fn read_or_empty(path: &str) -> Result<String> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(error).at("read", Path::new(path)),
    }
}

fn address_of(ip: Option<IpAddr>, port: u16) -> String {
    match ip {
        Some(IpAddr::V6(ip)) => format!("[{ip}]:{port}"),
        Some(ip) => format!("{ip}:{port}"),
        None => format!("0.0.0.0:{port}"),
    }
}

fn split_port(text: &str) -> Result<(u16, String)> {
    let (number, proto) = text.split_once('/').unwrap_or((text, "tcp"));
    let number = number.parse::<u16>().ok().filter(|number| *number > 0);
    let number = number.ok_or_else(|| Error::Invalid(format!("invalid container port {text:?}")))?;
    protocol(proto)?;
    Ok((number, proto.to_owned()))
}

fn protocol(text: &str) -> Result<Protocol> {
    match text {
        "tcp" => Ok(Protocol::Tcp),
        "udp" => Ok(Protocol::Udp),
        "sctp" => Ok(Protocol::Sctp),
        _ => Err(Error::Invalid(format!("invalid protocol {text:?}: tcp, udp and sctp are known"))),
    }
}

/// Joins single ports that follow one another on both sides.
fn join_ranges(mut list: Vec<Port>) -> Vec<Port> {
    list.sort_by(|a, b| (&a.proto, a.host_ip, a.host_first).cmp(&(&b.proto, b.host_ip, b.host_first)));
    let mut joined: Vec<Port> = Vec::with_capacity(list.len());
    for port in list {
        match joined.last_mut() {
            Some(last)
                if last.proto == port.proto
                    && last.host_ip == port.host_ip
                    && last.host_first.checked_add(last.count) == Some(port.host_first)
                    && last.guest_first.checked_add(last.count) == Some(port.guest_first) =>
            {
                last.count += 1;
            }
            _ => joined.push(port),
        }
    }
    joined
}

fn published(ports: &[Port], endpoint: &Endpoint) -> Vec<PublishedPort> {
    let range = |first: u16, count: u16| first..=first.saturating_add(count - 1);
    ports
        .iter()
        .filter_map(|port| {
            Some(PublishedPort {
                protocol: protocol(&port.proto).ok()?,
                host_ip: port.host_ip,
                host_ports: range(port.host_first, port.count),
                guest_ip4: endpoint.ip4,
                guest_ip6: endpoint.ip6,
                guest_ports: range(port.guest_first, port.count),
            })
        })
        .collect()
}

fn parse_subnet(text: &str) -> Result<(Ipv4Addr, u8)> {
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

fn parse_mac(text: &str) -> Result<[u8; 6]> {
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

    fn port(host: u16, guest: u16) -> Port {
        Port { proto: "tcp".into(), host_ip: None, host_first: host, guest_first: guest, count: 1 }
    }

    #[test]
    fn neighbours_become_one_range() {
        let list: Vec<Port> = (0..1000).map(|n| port(20000 + n, 30000 + n)).chain([port(80, 8080)]).collect();
        let joined = join_ranges(list);
        assert_eq!(
            joined.iter().map(|p| (p.host_first, p.count)).collect::<Vec<_>>(),
            [(80, 1), (20000, 1000)]
        );
        assert_eq!(join_ranges(vec![port(1, 5), port(2, 7)]).len(), 2);
    }

    #[test]
    fn hardware_addresses_read_back() {
        let mac = [2, 0x42, 0xac, 0x1a, 0, 2];
        assert_eq!(parse_mac(&render_mac(mac)).unwrap(), mac);
        assert!(parse_mac("02:42").is_err() && parse_mac("02:42:00:00:00:00:00").is_err());
    }
}
