//! Published ports: given out by the database, led to containers by the firewall.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use base::ContainerId;
use docker_types::ContainerSpec;
use docker_types::port::PortRange;
use network::{BridgeConfig, FirewallState, Protocol, PublishedPort};

use super::Prepared;
use crate::Engine;
use crate::containers::random_bytes;
use crate::db::ContainerRow;
use crate::error::{Doing, Error, Result};
use crate::model::{Endpoint, Port};
use crate::rootless::{self, usermode};

impl Engine {
    pub(super) fn publish(&self, id: &ContainerId, prepared: &Prepared) -> Result<()> {
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
    pub(super) fn ensure_firewall(&self, bridge: &BridgeConfig) -> Result<()> {
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

    /// What another program's firewall does to our traffic, in whole sentences with what to run.
    pub(crate) fn firewall_warnings(&self) -> Vec<String> {
        let (bridge, _) = self.network_names();
        // Who may not read the rules is not told about them; the commands that need them fail with the reason.
        self.firewall().ok().and_then(|firewall| firewall.warnings(&[&bridge]).ok()).unwrap_or_default()
    }
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

pub(super) fn published(ports: &[Port], endpoint: &Endpoint) -> Vec<PublishedPort> {
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
}
