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
    Ok(found.into_iter().map(|(network, prefix, _)| Route { network, prefix }).collect())
}

/// Returns the networks of the host's main routing tables and those that its links have an address of, each with the
/// name of the link; it is empty where the way is not one link's. Loopback is left out.
pub fn host_networks() -> Result<Vec<(Route, String)>> {
    let what = || "read the host's routes and addresses".to_owned();
    let socket = Socket::route().attempt(what)?;
    let links = link::list(&socket).attempt(what)?;
    let routes = link::route_destinations(&socket).attempt(what)?;
    let addresses = link::all_addresses(&socket).attempt(what)?;
    let name = |index| links.iter().find(|(_, found)| *found == index).map(|(name, _)| name.clone());
    let all = routes.into_iter().chain(addresses);
    let known = all.filter(|(ip, ..)| !ip.is_loopback() && !is_of_link(*ip));
    let named =
        known.map(|(network, prefix, index)| (Route { network, prefix }, name(index).unwrap_or_default()));
    let mut list: Vec<_> = named.collect();
    list.sort();
    list.dedup();
    Ok(list)
}

/// Tells whether an address means something on one link only: every link has `fe80::/64`.
fn is_of_link(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(_) => false,
        IpAddr::V6(ip) => ip.is_unicast_link_local() || ip.is_multicast(),
    }
}
