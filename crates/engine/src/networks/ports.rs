//! Published ports: given out by the database, led to containers by the firewall.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs::File;
use std::net::IpAddr;
use std::ops::RangeInclusive;

use base::ContainerId;
use docker_types::ContainerSpec;
use docker_types::port::{PortRange, Ports};
use network::{Firewall, FirewallState, Protocol, PublishedPort};
use rustix::fs::{FlockOperation, flock};

use super::Prepared;
use super::net::Net;
use super::places::published_on;
use super::usernet;
use crate::Engine;
use crate::config::PublishSetting;
use crate::containers::random_bytes;
use crate::db::ContainerRow;
use crate::error::{Doing, Error, IoContext, Result};
use crate::model::{Endpoint, Port};
use crate::rootless::{self, usermode};

impl Engine {
    pub(super) fn publish(&self, id: &ContainerId, prepared: &Prepared) -> Result<()> {
        self.publish_ports(id, &prepared.ports, &prepared.endpoints)
    }

    /// Leads `ports` to a container that has `endpoints`.
    pub(super) fn publish_ports(
        &self,
        id: &ContainerId,
        ports: &[Port],
        endpoints: &[Endpoint],
    ) -> Result<()> {
        let Some(endpoint) = published_on(endpoints).filter(|_| !ports.is_empty()) else { return Ok(()) };
        let firewall = self.firewall()?;
        let ports = published(&gated(firewall, ports)?, endpoint);
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

    /// Makes sure that the rules are there that these networks need, and all others.
    pub(super) fn ensure_firewall(&self, nets: &[Net]) -> Result<()> {
        let default = nets.iter().find(|net| net.id.is_empty()).and_then(Net::bridge).cloned();
        let bridges = match default {
            Some(bridge) => self.bridges_beside(bridge)?,
            None => self.bridges()?,
        };
        let ready = self.firewall()?.is_ready(&bridges).doing(|| self.doing_firewall())?;
        if ready { Ok(()) } else { self.rebuild_firewall(&self.lock_networks()?) }
    }

    /// Brings the rules to what the networks in the database need; when somebody flushed them, publishes the ports of all
    /// running containers again. The lock keeps those apart who know different networks: who comes later knows more.
    pub(super) fn rebuild_firewall(&self, _lock: &NetworksLock) -> Result<()> {
        match usernet::is_elsewhere() {
            true => self.in_user_network_if_there(Self::rebuild_firewall_here),
            false => self.rebuild_firewall_here(),
        }
    }

    fn rebuild_firewall_here(&self) -> Result<()> {
        let firewall = self.firewall()?;
        let state = firewall.ensure(&self.bridges()?).doing(|| self.doing_firewall())?;
        if state != FirewallState::Rebuilt {
            return Ok(());
        }
        let mut endpoints: BTreeMap<ContainerId, Vec<Endpoint>> = BTreeMap::new();
        for (id, endpoint) in self.db()?.all_endpoints()? {
            endpoints.entry(id).or_default().push(endpoint);
        }
        let mut ports: BTreeMap<ContainerId, Vec<Port>> = BTreeMap::new();
        for (id, port) in self.db()?.all_ports()? {
            ports.entry(id).or_default().push(port);
        }
        // A plain user's ports are pasta's.
        ports.retain(|_, _| !rootless::is_rootless());
        for (id, ports) in ports {
            let Some(endpoint) = endpoints.get(&id).and_then(|list| published_on(list)) else { continue };
            firewall
                .publish(id.as_str(), &published(&gated(firewall, &ports)?, endpoint))
                .doing(|| format!("cannot publish the ports of container {} again", id.short()))?;
        }
        Ok(())
    }

    /// Puts back what somebody took away of the rules and of the published ports. What is in place is left alone.
    pub fn repair_firewall(&self) -> Result<()> {
        if rootless::is_rootless() {
            return Ok(());
        }
        let lock = self.lock_networks()?;
        self.rebuild_firewall(&lock)?;
        let firewall = self.firewall()?;
        let held = firewall.list_published().doing(|| self.doing_firewall())?;
        let mut wanted: BTreeMap<ContainerId, Vec<Port>> = BTreeMap::new();
        for (id, port) in self.db()?.all_ports()? {
            wanted.entry(id).or_default().push(port);
        }
        if wanted.values().flatten().any(|port| !port.open) {
            firewall.ensure_gate().doing(|| self.doing_firewall())?;
        }
        let holds = |id: &ContainerId, port: &Port| {
            held.iter().any(|held| held.owner == id.as_str() && *held.host_ports.start() == port.host_first)
        };
        wanted.retain(|id, ports| !ports.iter().all(|port| holds(id, port)));
        for (id, ports) in wanted {
            self.publish_ports(&id, &ports, &self.db()?.endpoints(&id)?)?;
        }
        Ok(())
    }

    /// What monitors do when somebody changed the firewall.
    pub(crate) fn firewall_guard(&self) -> monitor::GuardSpec {
        monitor::GuardSpec {
            stamp: self.roots().run.join("firewall.seen"),
            command: self.own_command(["network", "repair"].map(OsString::from)),
        }
    }

    fn doing_firewall(&self) -> String {
        format!("cannot set up the firewall table {}", self.network_names().1)
    }

    /// Takes the lock under which networks come and go, and with them the rules.
    pub(super) fn lock_networks(&self) -> Result<NetworksLock> {
        let path = self.roots().run.join("networks.lock");
        let file = File::options().create(true).truncate(false).write(true).open(&path).at("open", &path)?;
        flock(&file, FlockOperation::LockExclusive).at("lock", &path)?;
        Ok(NetworksLock { _file: file })
    }

    pub(super) fn acquire_host_ports(&self, row: &ContainerRow) -> Result<Vec<Port>> {
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
        if host.port_bindings.is_empty() && !host.publish_all_ports {
            return Ok(Vec::new());
        }
        let open = host.publish_open.unwrap_or(self.config().network.publish == PublishSetting::Open);
        let mut wanted = Wanted {
            taken: self.db()?.all_ports()?.into_iter().map(|(_, port)| port).collect(),
            list: Vec::new(),
            open,
        };
        let mut bound = Vec::new();
        for (guest, bindings) in &host.port_bindings {
            let ports = parse_ports(guest)?;
            bound.push(ports);
            for binding in bindings.iter().flatten() {
                wanted.add(ports, &binding.host_ip, &binding.host_port)?;
            }
        }
        if host.publish_all_ports {
            for guest in spec.config.exposed_ports.keys() {
                let ports = parse_ports(guest)?;
                if !bound.iter().any(|bound| bound.holds(ports)) {
                    wanted.add(ports, "", "")?;
                }
            }
        }
        Ok(join_ranges(wanted.list))
    }

    /// What other programs' rules do to our traffic and to the published ports, in whole sentences with what to run.
    pub(crate) fn firewall_warnings(&self, ports: &[Port]) -> Vec<String> {
        if rootless::is_rootless() {
            return Vec::new();
        }
        let (bridge, _) = self.network_names();
        // Who may not read the rules is not told about them; the commands that need them fail with the reason.
        let Ok(firewall) = self.firewall() else { return Vec::new() };
        let mut warnings = firewall.warnings(&[&bridge]).unwrap_or_default();
        warnings.extend(reach(firewall, ports));
        warnings
    }
}

/// Says who reaches `ports`, where that is not simply everybody.
fn reach(firewall: &Firewall, ports: &[Port]) -> Option<String> {
    let ports: Vec<&Port> = ports.iter().filter(|port| !port.open && !is_loopback(port)).collect();
    if ports.is_empty() {
        return None;
    }
    let named: Vec<String> = ports.iter().map(|port| describe(port)).collect();
    let named = named.join(", ");
    if !firewall.ensure_gate().ok()? {
        return Some(format!(
            "everybody who reaches this host reaches {named}: the kernel lacks nft_dup_ipv4 and nft_dup_ipv6, so the host's input rules cannot be asked"
        ));
    }
    let judges = firewall.judges_of_input().ok()?;
    (!judges.is_empty()).then(|| {
        format!(
            "{named} can be reached from this host, and by others as far as the host's input rules allow it ({}); to open published ports past these, set [network] publish = \"open\" in brig.toml",
            judges.join(", ")
        )
    })
}

fn is_loopback(port: &Port) -> bool {
    port.host_ip.is_some_and(|ip| ip.is_loopback())
}

/// Names a published port: `0.0.0.0:8080-8090/tcp`.
fn describe(port: &Port) -> String {
    let range = PortRange { first: port.host_first, last: last_of(port.host_first, port.count) };
    let address = port.host_ip.map_or_else(|| "0.0.0.0".to_owned(), |ip| ip.to_string());
    format!("{}/{}", docker_types::port::join_host_port(&address, &range.to_string()), port.proto)
}

fn last_of(first: u16, count: u16) -> u16 {
    first.saturating_add(count.saturating_sub(1))
}

/// Makes the gate where a port needs it; where the kernel has none, all ports are open, which [`reach`] tells.
fn gated(firewall: &Firewall, ports: &[Port]) -> Result<Vec<Port>> {
    let mut ports = ports.to_vec();
    if ports.iter().any(|port| !port.open) {
        let gate = firewall
            .ensure_gate()
            .doing(|| "cannot put the host's input rules before published ports".to_owned())?;
        ports.iter_mut().for_each(|port| port.open |= !gate);
    }
    Ok(ports)
}

/// The ports that a request publishes, while they are gathered.
struct Wanted {
    /// What others have, and what is wanted already.
    taken: Vec<Port>,
    list: Vec<Port>,
    open: bool,
}

impl Wanted {
    fn add(&mut self, guest: Ports, ip: &str, wanted: &str) -> Result<()> {
        let host_ip = match ip {
            "" => None,
            text => Some(text.parse().map_err(|_| Error::Invalid(format!("invalid host address {text:?}")))?),
        };
        let proto = guest.protocol.as_str();
        // Without a number, or with 0, a free one is chosen.
        match PortRange::parse(wanted).filter(|range| range.first > 0) {
            Some(range) if range.count() == guest.range.count() => {
                self.push(proto, host_ip, range.first, guest.range)?;
            }
            Some(range) if guest.range.count() > 1 => {
                return Err(Error::Invalid(format!(
                    "cannot publish {guest} on {range}: the ranges differ in length"
                )));
            }
            other => {
                let range = other.map_or_else(network::ephemeral_range, |range| range.first..=range.last);
                for port in guest.each() {
                    let host_port = self.choose(port, host_ip, range.clone())?;
                    self.push(
                        proto,
                        host_ip,
                        host_port,
                        PortRange { first: port.number, last: port.number },
                    )?;
                }
            }
        }
        Ok(())
    }

    fn push(
        &mut self,
        proto: &str,
        host_ip: Option<IpAddr>,
        host_first: u16,
        guest: PortRange,
    ) -> Result<()> {
        // One port short of all is the most that a number of 16 bits counts, and 0 is no port.
        let count = u16::try_from(guest.count())
            .map_err(|_| Error::Invalid(format!("invalid ports {guest}: port 0 cannot be published")))?;
        let port = Port {
            proto: proto.to_owned(),
            host_ip,
            host_first,
            guest_first: guest.first,
            count,
            open: self.open,
        };
        self.taken.push(port.clone());
        self.list.push(port);
        Ok(())
    }

    fn choose(
        &self,
        guest: docker_types::port::Port,
        host_ip: Option<IpAddr>,
        range: RangeInclusive<u16>,
    ) -> Result<u16> {
        let seed = random_bytes()?;
        let seed = u32::from_le_bytes([seed[0], seed[1], seed[2], seed[3]]);
        let taken = |number: u16| {
            self.taken
                .iter()
                .any(|port| (port.host_first..=last_of(port.host_first, port.count)).contains(&number))
        };
        network::choose_port(protocol(guest.protocol.as_str())?, host_ip, range, taken, seed)
            .doing(|| format!("cannot find a free host port for {guest}"))
    }
}

/// The lock under which networks come and go.
#[derive(Debug)]
pub(super) struct NetworksLock {
    _file: File,
}

fn check_free(ports: &[Port]) -> Result<()> {
    for port in ports {
        let range = port.host_first..=last_of(port.host_first, port.count);
        network::ports_are_free(protocol(&port.proto)?, port.host_ip, range).map_err(|error| {
            let taken = if let network::Error::PortTaken { port, .. } = &error { Some(*port) } else { None };
            let number = taken.unwrap_or(port.host_first);
            let holder = crate::why::sockets::holder(number, &port.proto);
            let holder = holder.map(|holder| format!(" by {holder}")).unwrap_or_default();
            Error::PortTaken {
                address: address_of(port.host_ip, number),
                proto: port.proto.clone(),
                why: base::error::render_chain(&error) + &holder,
            }
        })?;
    }
    Ok(())
}

fn address_of(ip: Option<IpAddr>, port: u16) -> String {
    match ip {
        Some(IpAddr::V6(ip)) => format!("[{ip}]:{port}"),
        Some(ip) => format!("{ip}:{port}"),
        None => format!("0.0.0.0:{port}"),
    }
}

fn parse_ports(text: &str) -> Result<Ports> {
    let ports = text.parse::<Ports>().ok().filter(|ports| ports.range.first > 0);
    ports.ok_or_else(|| Error::Invalid(format!("invalid container port {text:?}")))
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
                    && last.open == port.open
                    && last.host_first.checked_add(last.count) == Some(port.host_first)
                    && last.guest_first.checked_add(last.count) == Some(port.guest_first) =>
            {
                last.count += port.count;
            }
            _ => joined.push(port),
        }
    }
    joined
}

/// All that [`published`] may have put into the firewall for `ports`, whatever was decided of them then.
pub(super) fn withdrawn(ports: &[Port], endpoint: &Endpoint) -> Vec<PublishedPort> {
    let mut ports = published(ports, endpoint);
    ports.iter_mut().for_each(|port| port.open = true);
    ports
}

pub(super) fn published(ports: &[Port], endpoint: &Endpoint) -> Vec<PublishedPort> {
    let range = |first: u16, count: u16| first..=last_of(first, count);
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
                open: port.open,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(host: u16, guest: u16) -> Port {
        Port {
            proto: "tcp".into(),
            host_ip: None,
            host_first: host,
            guest_first: guest,
            count: 1,
            open: false,
        }
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
}
