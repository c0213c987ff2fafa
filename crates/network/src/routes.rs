//! Which networks the host reaches already: a new default subnet must not hide one of them.

use std::net::IpAddr;

use crate::error::{Attempt, Result};
use crate::netlink::{Socket, link};

/// A network that the host has a route to. Default routes are none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Route {
    /// The network.
    pub network: IpAddr,
    /// Its prefix length.
    pub prefix: u8,
}

/// Returns the networks of the host's main routing tables.
pub fn host_routes() -> Result<Vec<Route>> {
    let what = || "read the host's routes".to_owned();
    let socket = Socket::route().attempt(what)?;
    let found = link::route_destinations(&socket).attempt(what)?;
    Ok(found.into_iter().map(|(network, prefix)| Route { network, prefix }).collect())
}
