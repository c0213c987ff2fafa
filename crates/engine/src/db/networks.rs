//! Addresses and published ports: given out in one transaction each, so that two starts never get the same.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use base::ContainerId;
use docker_types::ContainerSpec;
use jiff::Timestamp;
use rusqlite::{OptionalExtension as _, Row, Transaction};

use super::{Database, SqlContext, json, nanos, parse, stamp, text};
use crate::error::Result;
use crate::model::{Endpoint, NetworkConfig, Port};

/// Networks that people made; a `removing` one takes no more containers and is finished by the next command. `pending`
/// marks an attachment that is being made or taken away while its container runs.
pub(super) const SCHEMA: &str = "
CREATE TABLE networks (
    id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, created INTEGER NOT NULL, driver TEXT NOT NULL,
    removing INTEGER NOT NULL DEFAULT 0, config TEXT NOT NULL) STRICT, WITHOUT ROWID;
ALTER TABLE endpoints ADD COLUMN pending INTEGER NOT NULL DEFAULT 0;
";

/// A network as it is recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NetworkRow {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) created: Timestamp,
    pub(crate) driver: String,
    /// Whether its removal was begun.
    pub(crate) removing: bool,
    pub(crate) config: NetworkConfig,
}

impl NetworkRow {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.get("id")?,
            name: row.get("name")?,
            created: stamp(row.get("created")?),
            driver: row.get("driver")?,
            removing: row.get("removing")?,
            config: json(row, "config")?,
        })
    }
}

/// A container that runs on a network, with what others may know of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) container: ContainerId,
    /// The container's name.
    pub(crate) name: String,
    /// The host name that was given to it; empty means its short id.
    pub(crate) hostname: String,
    pub(crate) endpoint: Endpoint,
}

/// Addresses of one network that are given out.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    pub(crate) ip4: BTreeSet<Ipv4Addr>,
    pub(crate) ip6: BTreeSet<Ipv6Addr>,
}

/// How the giving out of addresses ended.
pub(crate) enum Endpoints {
    /// One for each network that was asked for.
    Given(Vec<Endpoint>),
    /// That network has none to give.
    None(usize),
    /// That network is gone, or going.
    Gone(usize),
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
    /// Gives the container an attachment to each of `networks` (name, and identity when people made it), all or none:
    /// `choose` is shown the taken addresses of the network of that number and answers what it takes.
    pub(crate) fn acquire_endpoints(
        &self,
        container: &ContainerId,
        networks: &[(&str, &str)],
        pending: bool,
        mut choose: impl FnMut(usize, &Taken) -> Option<Endpoint>,
    ) -> Result<Endpoints> {
        self.write("give out an address", |tx| {
            let mut given = Vec::with_capacity(networks.len());
            for (number, (name, id)) in networks.iter().enumerate() {
                if !id.is_empty() && !is_there(tx, id)? {
                    return Ok(Endpoints::Gone(number));
                }
                match choose(number, &taken(tx, name, container)?) {
                    Some(endpoint) => given.push(endpoint),
                    None => return Ok(Endpoints::None(number)),
                }
            }
            for endpoint in &given {
                insert_endpoint(tx, container, endpoint, pending)?;
            }
            Ok(Endpoints::Given(given))
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

    /// Takes the host ports of a container back.
    pub(crate) fn release_ports(&self, container: &ContainerId) -> Result<()> {
        self.write("take ports back", |tx| {
            tx.execute("DELETE FROM ports WHERE container = ?1", [container.as_str()]).map(drop)
        })
    }

    /// Whether the container has an address or a port.
    pub(crate) fn has_network(&self, container: &ContainerId) -> Result<bool> {
        self.connection
            .prepare_cached(
                "SELECT EXISTS (SELECT 1 FROM endpoints WHERE container = ?1)
                 OR EXISTS (SELECT 1 FROM ports WHERE container = ?1)",
            )
            .and_then(|mut query| query.query_row([container.as_str()], |row| row.get(0)))
            .sql("look for addresses")
    }

    pub(crate) fn endpoints(&self, container: &ContainerId) -> Result<Vec<Endpoint>> {
        self.connection
            .prepare_cached("SELECT data, pending FROM endpoints WHERE container = ?1")
            .and_then(|mut query| query.query_map([container.as_str()], read_endpoint)?.collect())
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
            .prepare_cached("SELECT container, data, pending FROM endpoints")
            .and_then(|mut query| {
                query.query_map([], |row| Ok((parse(row, "container")?, read_endpoint(row)?)))?.collect()
            })
            .sql("read addresses")
    }

    /// The containers that are on `network` now, by their names.
    pub(crate) fn members(&self, network: &str) -> Result<Vec<Member>> {
        self.connection
            .prepare_cached(
                "SELECT endpoints.container, endpoints.data, endpoints.pending, containers.name,
                 COALESCE(documents.spec ->> '$.Config.Hostname', '') AS hostname
                 FROM endpoints JOIN containers ON containers.id = endpoints.container
                 JOIN documents ON documents.container = endpoints.container
                 WHERE endpoints.network = ?1 ORDER BY containers.name",
            )
            .and_then(|mut query| {
                let read = |row: &Row<'_>| {
                    Ok(Member {
                        container: parse(row, "container")?,
                        name: row.get("name")?,
                        hostname: row.get("hostname")?,
                        endpoint: read_endpoint(row)?,
                    })
                };
                query.query_map([network], read)?.collect()
            })
            .sql("read the members of a network")
    }

    /// The attachments that somebody began to make or to take away, with the container of each.
    pub(crate) fn pending_endpoints(&self) -> Result<Vec<(ContainerId, Endpoint)>> {
        self.connection
            .prepare_cached("SELECT container, data, pending FROM endpoints WHERE pending")
            .and_then(|mut query| {
                query.query_map([], |row| Ok((parse(row, "container")?, read_endpoint(row)?)))?.collect()
            })
            .sql("read addresses")
    }

    /// Marks an attachment as made (`pending` false) or as going, and records what the container is asked to be from
    /// now on.
    pub(crate) fn change_endpoint(
        &self,
        container: &ContainerId,
        network: &str,
        pending: bool,
        spec: &ContainerSpec,
    ) -> Result<()> {
        self.write("change an attachment", |tx| {
            tx.execute(
                "UPDATE endpoints SET pending = ?3 WHERE container = ?1 AND network = ?2",
                (container.as_str(), network, pending),
            )?;
            tx.execute(
                "UPDATE documents SET spec = ?2 WHERE container = ?1",
                (container.as_str(), text(spec)?),
            )?;
            Ok(())
        })
    }

    /// Takes the addresses of one attachment back.
    pub(crate) fn release_endpoint(&self, container: &ContainerId, network: &str) -> Result<()> {
        self.write("take an address back", |tx| {
            tx.execute(
                "DELETE FROM endpoints WHERE container = ?1 AND network = ?2",
                (container.as_str(), network),
            )?;
            Ok(())
        })
    }

    /// The name of the container that has `ip` on `network`.
    pub(crate) fn address_owner(&self, network: &str, ip: IpAddr) -> Result<Option<String>> {
        self.connection
            .prepare_cached(
                "SELECT COALESCE(containers.name, endpoints.container) FROM endpoints
                 LEFT JOIN containers ON containers.id = endpoints.container
                 WHERE endpoints.network = ?1 AND (endpoints.ip4 = ?2 OR endpoints.ip6 = ?2)",
            )
            .and_then(|mut query| query.query_row((network, ip.to_string()), |row| row.get(0)).optional())
            .sql("find the holder of an address")
    }

    /// Records a network: `make` is shown all others and answers the row, or why not.
    pub(crate) fn put_network<E>(
        &self,
        make: impl FnOnce(&[NetworkRow]) -> std::result::Result<NetworkRow, E>,
    ) -> Result<std::result::Result<NetworkRow, E>> {
        self.write("record a network", |tx| {
            let others = list(tx)?;
            let row = match make(&others) {
                Ok(row) => row,
                Err(why) => return Ok(Err(why)),
            };
            tx.execute(
                "INSERT INTO networks (id, name, created, driver, config) VALUES (?1, ?2, ?3, ?4, ?5)",
                (&row.id, &row.name, nanos(row.created), &row.driver, text(&row.config)?),
            )?;
            Ok(Ok(row))
        })
    }

    /// The networks that people made, oldest first.
    pub(crate) fn networks(&self) -> Result<Vec<NetworkRow>> {
        list(&self.connection).sql("list networks")
    }

    /// Begins the removal of a network, unless containers are on it: then returns their names with their ids.
    pub(crate) fn begin_network_removal(&self, id: &str) -> Result<Vec<(String, ContainerId)>> {
        self.write("begin to remove a network", |tx| {
            let mut query = tx.prepare_cached(
                "SELECT COALESCE(containers.name, '') AS name, endpoints.container FROM endpoints
                 JOIN networks ON networks.name = endpoints.network AND networks.id = ?1
                 LEFT JOIN containers ON containers.id = endpoints.container ORDER BY containers.name",
            )?;
            let members = query
                .query_map([id], |row| Ok((row.get("name")?, parse(row, "container")?)))?
                .collect::<rusqlite::Result<Vec<_>>>()?;
            if members.is_empty() {
                tx.execute("UPDATE networks SET removing = 1 WHERE id = ?1", [id])?;
            }
            Ok(members)
        })
    }

    /// Forgets a network.
    pub(crate) fn remove_network(&self, id: &str) -> Result<()> {
        self.write("remove a network", |tx| tx.execute("DELETE FROM networks WHERE id = ?1", [id]).map(drop))
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

fn list(connection: &rusqlite::Connection) -> rusqlite::Result<Vec<NetworkRow>> {
    let mut query = connection.prepare_cached("SELECT * FROM networks ORDER BY created, id")?;
    query.query_map([], NetworkRow::read)?.collect()
}

fn is_there(tx: &Transaction<'_>, id: &str) -> rusqlite::Result<bool> {
    let mut query = tx.prepare_cached("SELECT 1 FROM networks WHERE id = ?1 AND NOT removing")?;
    query.exists([id])
}

/// What other containers than `container` have of a network.
fn taken(tx: &Transaction<'_>, network: &str, container: &ContainerId) -> rusqlite::Result<Taken> {
    let mut taken = Taken::default();
    let mut query =
        tx.prepare_cached("SELECT ip4, ip6 FROM endpoints WHERE network = ?1 AND container <> ?2")?;
    let mut rows = query.query((network, container.as_str()))?;
    while let Some(row) = rows.next()? {
        let (ip4, ip6): (Option<String>, Option<String>) = (row.get(0)?, row.get(1)?);
        taken.ip4.extend(ip4.and_then(|ip| ip.parse::<Ipv4Addr>().ok()));
        taken.ip6.extend(ip6.and_then(|ip| ip.parse::<Ipv6Addr>().ok()));
    }
    Ok(taken)
}

fn read_endpoint(row: &Row<'_>) -> rusqlite::Result<Endpoint> {
    Ok(Endpoint { pending: row.get("pending")?, ..json(row, "data")? })
}

fn insert_endpoint(
    tx: &Transaction<'_>,
    container: &ContainerId,
    endpoint: &Endpoint,
    pending: bool,
) -> rusqlite::Result<()> {
    tx.execute(
        "INSERT OR REPLACE INTO endpoints (container, network, ip4, ip6, data, pending)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        (
            container.as_str(),
            &endpoint.network,
            endpoint.ip4.map(|ip| ip.to_string()),
            endpoint.ip6.map(|ip| ip.to_string()),
            text(endpoint)?,
            pending,
        ),
    )?;
    Ok(())
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
