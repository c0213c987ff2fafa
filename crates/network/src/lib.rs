//! The network of containers: a bridge, a veth pair per container, addresses, published ports and the firewall
//! that joins them. Blocking; netlink only, no program is ever forked.
//!
//! The crate keeps nothing: what is allocated to whom is the caller's record, and every call names the bridge or
//! the nftables table that it means, so that two roots of Brig on one machine never meet.
//!
//! Order of a start: [`ensure_bridge`] and [`ensure_firewall`] (both return at once when all is in place),
//! [`create_netns`], [`attach`], [`publish`]. Of an end: [`unpublish`]; the veth pair dies with its namespace.
//! A [`FirewallState::Rebuilt`] answer tells that someone flushed the rules: publish the ports of all running
//! containers again.
//!
//! Callers that enter namespaces ([`create_netns`], [`attach`]) move the calling thread for a moment and must not
//! rely on other threads of theirs being in the same namespace meanwhile; the thread is back when they return.

mod attach;
mod bridge;
mod conntrack;
mod error;
pub mod files;
pub mod firewall;
pub mod ipam;
mod netlink;
mod ports;
mod routes;

pub use attach::{
    Attachment, IpvlanFlag, IpvlanMode, MacvlanMode, Upper, attach, create_netns, create_netns_apart, detach,
    detach_inside, host_ifname, prepare_foreign_netns, set_default_routes,
};
pub use bridge::{
    BridgeConfig, GatewayMode, ensure_bridge, ensure_island, ipv6_available, remove_bridge, remove_link,
};
pub use error::{Error, Result};
pub use firewall::{
    Firewall, FirewallState, PortElement, ensure_firewall, firewall_warnings, list_published, publish,
    redirect_names, teardown_all, teardown_firewall, unpublish,
};
pub use ports::{Protocol, PublishedPort, choose_port, ephemeral_range, port_is_free, ports_are_free};
pub use routes::{Route, host_networks, host_routes};
