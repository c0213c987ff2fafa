//! Addresses and published ports: given out in one transaction each, so that two starts never get the same.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use base::ContainerId;
use rusqlite::{Row, Transaction};

use super::{Database, SqlContext, json, parse, text};
use crate::error::Result;
use crate::model::{Endpoint, Port};

/// Addresses of one network that are given out.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    pub(crate) ip4: BTreeSet<Ipv4Addr>,
    pub(crate) ip6: BTreeSet<Ipv6Addr>,
}

fn read_port(row: &Row<'_>) -> rusqlite::Result<Port> {
    let host_ip: String = row.get("host_ip")?;
    Ok(Port {
        proto: row.get("proto")?,
        host_ip: host_ip.parse::<IpAddr>().ok(),
        host_first: row.get("host_first")?,
        guest_first: row.get("guest_first")?,
        count: row.get("count")?,
        open: row.get("open")?,
    })
}

fn overlaps(a: &Port, b: &Port) -> bool {
    let ends = |p: &Port| (u32::from(p.host_first), u32::from(p.host_first) + u32::from(p.count));
    let ((a0, a1), (b0, b1)) = (ends(a), ends(b));
    let address = a.host_ip.is_none() || b.host_ip.is_none() || a.host_ip == b.host_ip;
    a.proto == b.proto && address && a0 < b1 && b0 < a1
}

/// Who has a port already.
#[derive(Debug)]
pub(crate) struct PortOwner {
    pub(crate) wanted: Port,
    pub(crate) container: String,
}

impl Database {
    /// Gives the container an attachment: `choose` is shown the taken addresses of `network` and answers what it takes.
    pub(crate) fn acquire_endpoint(
        &self,
        container: &ContainerId,
        network: &str,
        choose: impl FnOnce(&Taken) -> Option<Endpoint>,
    ) -> Result<Option<Endpoint>> {
        self.write("give out an address", |tx| {
            let mut taken = Taken::default();
            let mut query =
                tx.prepare_cached("SELECT ip4, ip6 FROM endpoints WHERE network = ?1 AND container <> ?2")?;
            let mut rows = query.query((network, container.as_str()))?;
            while let Some(row) = rows.next()? {
                let (ip4, ip6): (Option<String>, Option<String>) = (row.get(0)?, row.get(1)?);
                taken.ip4.extend(ip4.and_then(|ip| ip.parse::<Ipv4Addr>().ok()));
                taken.ip6.extend(ip6.and_then(|ip| ip.parse::<Ipv6Addr>().ok()));
            }
            let Some(endpoint) = choose(&taken) else { return Ok(None) };
            tx.execute(
                "INSERT OR REPLACE INTO endpoints VALUES (?1, ?2, ?3, ?4, ?5)",
                (
                    container.as_str(),
                    network,
                    endpoint.ip4.map(|ip| ip.to_string()),
                    endpoint.ip6.map(|ip| ip.to_string()),
                    text(&endpoint)?,
                ),
            )?;
            Ok(Some(endpoint))
        })
    }

    /// Gives the container its host ports, all or none; the answer names the first that another container has.
    pub(crate) fn acquire_ports(
        &self,
        container: &ContainerId,
        ports: &[Port],
    ) -> Result<std::result::Result<(), PortOwner>> {
        self.write("give out ports", |tx| {
            tx.execute("DELETE FROM ports WHERE container = ?1", [container.as_str()])?;
            let mut query = tx.prepare_cached(
                "SELECT ports.*, containers.name FROM ports LEFT JOIN containers ON containers.id = ports.container",
            )?;
            let given: Vec<(Port, Option<String>)> =
                query.query_map([], |row| Ok((read_port(row)?, row.get("name")?)))?.collect::<rusqlite::Result<_>>()?;
            for wanted in ports {
                if let Some((_, owner)) = given.iter().find(|(port, _)| overlaps(port, wanted)) {
                    let container = owner.clone().unwrap_or_else(|| "another container".to_owned());
                    return Ok(Err(PortOwner { wanted: wanted.clone(), container }));
                }
                insert_port(tx, container, wanted)?;
            }
            Ok(Ok(()))
        })
    }

    /// Takes addresses and ports back.
    pub(crate) fn release_network(&self, container: &ContainerId) -> Result<()> {
        self.write("take addresses back", |tx| {
            tx.execute("DELETE FROM endpoints WHERE container = ?1", [container.as_str()])?;
            tx.execute("DELETE FROM ports WHERE container = ?1", [container.as_str()])?;
            Ok(())
        })
    }

    pub(crate) fn endpoints(&self, container: &ContainerId) -> Result<Vec<Endpoint>> {
        self.connection
            .prepare_cached("SELECT data FROM endpoints WHERE container = ?1")
            .and_then(|mut query| query.query_map([container.as_str()], |row| json(row, "data"))?.collect())
            .sql("read addresses")
    }

    pub(crate) fn ports(&self, container: &ContainerId) -> Result<Vec<Port>> {
        self.connection
            .prepare_cached("SELECT * FROM ports WHERE container = ?1")
            .and_then(|mut query| query.query_map([container.as_str()], read_port)?.collect())
            .sql("read ports")
    }

    /// All attachments, with the container of each.
    pub(crate) fn all_endpoints(&self) -> Result<Vec<(ContainerId, Endpoint)>> {
        self.connection
            .prepare_cached("SELECT container, data FROM endpoints")
            .and_then(|mut query| {
                query.query_map([], |row| Ok((parse(row, "container")?, json(row, "data")?)))?.collect()
            })
            .sql("read addresses")
    }

    /// All published ports, with the container of each.
    pub(crate) fn all_ports(&self) -> Result<Vec<(ContainerId, Port)>> {
        self.connection
            .prepare_cached("SELECT * FROM ports")
            .and_then(|mut query| {
                query.query_map([], |row| Ok((parse(row, "container")?, read_port(row)?)))?.collect()
            })
            .sql("read ports")
    }
}

fn insert_port(tx: &Transaction<'_>, container: &ContainerId, port: &Port) -> rusqlite::Result<()> {
    tx.execute(
        "INSERT INTO ports VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        (
            container.as_str(),
            &port.proto,
            port.host_ip.map(|ip| ip.to_string()).unwrap_or_default(),
            port.host_first,
            port.guest_first,
            port.count,
            port.open,
        ),
    )?;
    Ok(())
}
