//! What networks there are.

use std::collections::BTreeMap;

use base::ContainerId;
use oci::Digest;

use super::BRIDGE;
use crate::Engine;
use crate::error::{Error, IoContext, Result};
use crate::model::Network;
use crate::rootless;

impl Engine {
    /// The id of a network that every engine has.
    pub(crate) fn network_id(&self, name: &str) -> String {
        Digest::of(format!("{} {name}", self.roots().data.display()).as_bytes()).hex().to_owned()
    }

    /// Returns the networks that every engine has.
    pub fn networks(&self) -> Result<Vec<Network>> {
        let made = std::fs::metadata(self.roots().data.join("version")).at("look at", &self.roots().data)?;
        let created =
            made.modified().ok().and_then(|time| jiff::Timestamp::try_from(time).ok()).unwrap_or_default();
        let plain = |name: &str, driver: &str| Network {
            id: self.network_id(name),
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
}
