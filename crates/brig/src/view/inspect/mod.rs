//! The answers of `inspect`, made of the engine's objects.

pub(crate) mod container;
pub(crate) mod image;

use docker_types::inspect::network::{Ipam, IpamConfig, NetworkContainer, NetworkInspect};
use docker_types::inspect::volume::VolumeInspect;
use docker_types::time;
use engine::model::{Network, Volume};

/// Returns what `volume inspect` shows.
pub(crate) fn volume(volume: &Volume) -> VolumeInspect {
    VolumeInspect {
        created_at: time::rfc3339(volume.created),
        driver: "local".to_owned(),
        labels: if volume.labels.is_empty() { None } else { Some(volume.labels.clone()) },
        mountpoint: volume.mountpoint.to_string_lossy().into_owned(),
        name: volume.name.clone(),
        options: if volume.options.is_empty() { None } else { Some(volume.options.clone()) },
        scope: "local".to_owned(),
    }
}

/// Returns what `network inspect` shows.
pub(crate) fn network(network: &Network) -> NetworkInspect {
    let config = network.config.subnets.iter().map(|subnet| IpamConfig {
        subnet: subnet.to_string(),
        ip_range: subnet.range.map(|(ip, length)| format!("{ip}/{length}")).unwrap_or_default(),
        gateway: subnet.gateway.map(|ip| ip.to_string()).unwrap_or_default(),
        auxiliary_addresses: subnet
            .reserved
            .iter()
            .map(|(name, ip)| (name.clone(), ip.to_string()))
            .collect(),
    });
    let containers = network.containers.iter().map(|(id, name, endpoint)| {
        let with_prefix =
            |ip: Option<String>, prefix: u8| ip.map_or_else(String::new, |ip| format!("{ip}/{prefix}"));
        let entry = NetworkContainer {
            name: name.clone(),
            endpoint_id: endpoint.id(id),
            mac_address: endpoint.mac.clone(),
            ipv4_address: with_prefix(endpoint.ip4.map(|ip| ip.to_string()), endpoint.prefix4),
            ipv6_address: with_prefix(endpoint.ip6.map(|ip| ip.to_string()), endpoint.prefix6),
        };
        (id.to_string(), entry)
    });
    NetworkInspect {
        name: network.name.clone(),
        id: network.id.clone(),
        created: time::rfc3339(network.created),
        scope: "local".to_owned(),
        driver: network.driver.clone(),
        enable_ipv4: network.config.ipv4,
        enable_ipv6: network.config.ipv6,
        ipam: Ipam { driver: "default".to_owned(), options: None, config: config.collect() },
        internal: network.config.internal,
        attachable: network.config.attachable,
        containers: containers.collect(),
        options: network.config.options.clone(),
        labels: network.config.labels.clone(),
        ..NetworkInspect::default()
    }
}
