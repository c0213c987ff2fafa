//! `network rm` and `network prune`.

use network::{remove_bridge, remove_link};

use super::net::{Link, Net};
use super::places;
use super::ports::NetworksLock;
use super::usernet;
use crate::Engine;
use crate::db::NetworkRow;
use crate::error::{Doing, Error, Result};
use crate::model::Network;

impl Engine {
    /// Removes the network that `name` means; returns its name. Refused while containers that run are on it.
    pub fn remove_network(&self, name: &str) -> Result<String> {
        let network = self.network_meant(name)?;
        if network.builtin {
            return Err(Error::Denied(format!(
                "{} is a pre-defined network and cannot be removed",
                network.name
            )));
        }
        let mut members = self.db()?.begin_network_removal(&network.id)?;
        if !members.is_empty() {
            // They may have ended while nobody watched.
            self.repair()?;
            members = self.db()?.begin_network_removal(&network.id)?;
        }
        if !members.is_empty() {
            let named = members.iter().map(|(name, id)| format!("name:{name:?} id:{:?}", id.short()));
            let named = named.collect::<Vec<_>>().join(", ");
            return Err(Error::Conflict(format!(
                "error while removing network: network {} has active endpoints ({named}); disconnect or stop them first",
                network.name
            )));
        }
        self.finish_removals(&self.lock_networks()?)?;
        Ok(network.name)
    }

    /// Removes the networks that no container asks for, running or not, and that `wanted` picks; returns their names.
    pub fn prune_networks(&self, wanted: &dyn Fn(&Network) -> bool) -> Result<Vec<String>> {
        let asked: Vec<String> = self
            .db()?
            .containers()?
            .iter()
            .flat_map(|row| places(&row.spec).into_iter().map(|(name, _)| name))
            .collect();
        let mut removed = Vec::new();
        for network in self.networks()? {
            if network.builtin || asked.contains(&network.name) || !wanted(&network) {
                continue;
            }
            match self.remove_network(&network.id) {
                Ok(name) => removed.push(name),
                // Somebody joined or removed it meanwhile.
                Err(Error::Conflict(_) | Error::NotFound { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(removed)
    }

    /// Finishes the removals that were begun: links, then rules, then rows.
    pub(super) fn finish_removals(&self, lock: &NetworksLock) -> Result<()> {
        let going: Vec<NetworkRow> = self.db()?.networks()?.into_iter().filter(|row| row.removing).collect();
        if going.is_empty() {
            return Ok(());
        }
        for row in &going {
            match usernet::is_elsewhere() {
                true => self.in_user_network_if_there(|_| remove_links(row))?,
                false => remove_links(row)?,
            }
        }
        self.rebuild_firewall(lock)?;
        for row in &going {
            let event = self.network_event("destroy", &row.name);
            self.db()?.remove_network(&row.id)?;
            self.record(&[event]);
        }
        self.members_changed(going.iter().map(|row| row.name.as_str()))
    }

    /// The same for who has not changed anything: nothing is locked when nothing is going.
    pub(super) fn finish_begun_removals(&self, rows: &[NetworkRow]) -> Result<()> {
        match rows.iter().any(|row| row.removing) {
            true => self.finish_removals(&self.lock_networks()?),
            false => Ok(()),
        }
    }
}

fn remove_links(row: &NetworkRow) -> Result<()> {
    let doing = || format!("cannot remove what network {} has on the host", row.name);
    match Net::of(row)?.link {
        Link::Bridge(bridge) => remove_bridge(&bridge.name).doing(doing),
        Link::Macvlan(shared, _) | Link::Ipvlan(shared, ..) if shared.own => {
            remove_link(&shared.parent).doing(doing)
        }
        _ => Ok(()),
    }
}
