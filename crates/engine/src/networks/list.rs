//! What networks there are.

use std::collections::BTreeMap;

use base::ContainerId;
use oci::Digest;

use super::BRIDGE;
use super::net::Net;
use crate::Engine;
use crate::db::NetworkRow;
use crate::error::{Error, IoContext, Result};
use crate::model::{Endpoint, Network, NetworkConfig};
use crate::rootless;

impl Engine {
    /// The id of a network that every engine has.
    pub(crate) fn network_id(&self, name: &str) -> String {
        Digest::of(format!("{} {name}", self.roots().data.display()).as_bytes()).hex().to_owned()
    }

    /// Returns all networks with who is on them: those that every engine has, and those that people made.
    pub fn networks(&self) -> Result<Vec<Network>> {
        // The command that needs it says why it cannot be done.
        let _ = self.finish_pending();
        let mut list = self.networks_alone()?;
        let names: BTreeMap<ContainerId, String> =
            self.db()?.containers()?.into_iter().map(|row| (row.id, row.name)).collect();
        let mut attached: BTreeMap<String, Vec<(ContainerId, String, Endpoint)>> = BTreeMap::new();
        for (id, endpoint) in self.db()?.all_endpoints()? {
            let Some(name) = names.get(&id) else { continue };
            attached.entry(endpoint.network.clone()).or_default().push((id, name.clone(), endpoint));
        }
        for network in &mut list {
            network.containers = attached.remove(&network.name).unwrap_or_default();
        }
        Ok(list)
    }

    /// Returns the network that `name` means: a name, an id or its beginning.
    pub fn network(&self, name: &str) -> Result<Network> {
        let id = self.network_meant(name)?.id;
        let found = self.networks()?.into_iter().find(|network| network.id == id);
        found.ok_or_else(|| Error::NotFound { what: "network", name: name.to_owned() })
    }

    /// The endpoints of a container as they are shown: the default bridge has an identity, too.
    pub(crate) fn shown_endpoints(&self, id: &ContainerId) -> Result<Vec<Endpoint>> {
        let mut list = self.db()?.endpoints(id)?;
        for endpoint in list.iter_mut().filter(|endpoint| endpoint.network == BRIDGE) {
            endpoint.network_id = self.network_id(BRIDGE);
        }
        Ok(list)
    }

    /// The same without the containers.
    pub(super) fn network_meant(&self, name: &str) -> Result<Network> {
        let missing = || Error::NotFound { what: "network", name: name.to_owned() };
        if name.is_empty() {
            return Err(missing());
        }
        let list = self.networks_alone()?;
        let exact =
            list.iter().find(|net| net.name == name).or_else(|| list.iter().find(|net| net.id == name));
        if let Some(network) = exact {
            return Ok(network.clone());
        }
        let mut found = list.into_iter().filter(|network| network.id.starts_with(name));
        match (found.next(), found.next()) {
            (Some(network), None) => Ok(network),
            (Some(_), Some(_)) => Err(Error::Ambiguous { what: "network", prefix: name.to_owned() }),
            (None, _) => Err(missing()),
        }
    }

    fn networks_alone(&self) -> Result<Vec<Network>> {
        let mut list = self.builtin_networks()?;
        let mut rows = self.db()?.networks()?;
        self.finish_begun_removals(&rows)?;
        rows.retain(|row| !row.removing);
        list.extend(rows.into_iter().map(made));
        Ok(list)
    }

    fn builtin_networks(&self) -> Result<Vec<Network>> {
        let made = std::fs::metadata(self.roots().data.join("version")).at("look at", &self.roots().data)?;
        let created =
            made.modified().ok().and_then(|time| jiff::Timestamp::try_from(time).ok()).unwrap_or_default();
        let plain = |name: &str, driver: &str| Network {
            id: self.network_id(name),
            name: name.to_owned(),
            driver: driver.to_owned(),
            created,
            builtin: true,
            config: NetworkConfig { ipv4: true, ..NetworkConfig::default() },
            containers: Vec::new(),
        };
        if rootless::is_rootless() {
            return Ok(vec![plain(BRIDGE, "pasta"), plain("host", "host"), plain("none", "null")]);
        }
        let bridge = self.bridge()?;
        let option =
            |name: &str, value: &str| (format!("com.docker.network.bridge.{name}"), value.to_owned());
        let options = BTreeMap::from([
            option("default_bridge", "true"),
            option("enable_icc", "true"),
            option("enable_ip_masquerade", "true"),
            option("name", &bridge.name),
        ]);
        let ipv6 = bridge.subnet6.is_some();
        let config = NetworkConfig {
            subnets: Net::default(bridge).subnets,
            options,
            ipv4: true,
            ipv6,
            ..NetworkConfig::default()
        };
        let bridge = Network { config, ..plain(BRIDGE, "bridge") };
        Ok(vec![bridge, plain("host", "host"), plain("none", "null")])
    }
}

fn made(row: NetworkRow) -> Network {
    Network {
        id: row.id,
        name: row.name,
        driver: row.driver,
        created: row.created,
        builtin: false,
        config: row.config,
        containers: Vec::new(),
    }
}
