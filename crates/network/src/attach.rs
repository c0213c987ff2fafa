//! A container's namespace and its way onto a network.
//!
//! The pair is made with its far end already in the container's namespace; addresses and routes are given by a socket
//! that was opened in there. Nothing undoes it on the hot path: the pair dies with the namespace.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::io::Errno;

use crate::bridge::{check_name, remove_link, write_sysctl};
use crate::error::{Attempt, Error, Result};
use crate::netlink::Socket;
use crate::netlink::link::{self, Index, SharedLink, VethPair};
use crate::netlink::wire::Batch;

/// One container's place on one network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// What it is connected to on the host.
    pub upper: Upper,
    /// The name inside, usually `eth0`.
    pub guest_ifname: String,
    /// The hardware address inside, see [`crate::ipam::mac_for`].
    pub mac: [u8; 6],
    /// The IPv4 address inside and the prefix length of its network.
    pub address4: Option<(Ipv4Addr, u8)>,
    /// The IPv6 address inside and the prefix length of its network. Without one IPv6 is off on the link.
    pub address6: Option<(Ipv6Addr, u8)>,
    /// Further addresses inside, of the link alone.
    pub link_local: Vec<IpAddr>,
    /// The IPv4 default gateway; an unspecified one makes the link itself the way out.
    pub gateway4: Option<Ipv4Addr>,
    /// The IPv6 default gateway; the same.
    pub gateway6: Option<Ipv6Addr>,
    /// The largest packet; `None` leaves the kernel's 1500.
    pub mtu: Option<u32>,
    /// Settings of the container's namespace that are written once the link is there: `net.ipv4.…` and value.
    pub sysctls: Vec<(String, String)>,
}

/// What the link of a container is connected to on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Upper {
    /// A bridge, by a pair of links.
    Bridge {
        /// The name of the bridge.
        bridge: String,
        /// The name of the host's end, see [`host_ifname`].
        host_ifname: String,
        /// Whether the link reaches the bridge but no other link with this mark (a network without `icc`).
        isolated: bool,
    },
    /// A link of the host, with a hardware address of the container's own.
    Macvlan {
        /// The link of the host.
        parent: String,
        /// Who hears whom.
        mode: MacvlanMode,
    },
    /// A link of the host, whose hardware address is shared.
    Ipvlan {
        /// The link of the host.
        parent: String,
        /// Who decides the way of a packet.
        mode: IpvlanMode,
        /// Who hears whom.
        flag: IpvlanFlag,
    },
}

/// Which links on one parent hear each other (`MACVLAN_MODE_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MacvlanMode {
    /// None.
    Private = 1,
    /// All, by the switch outside.
    Vepa = 2,
    /// All.
    Bridge = 4,
    /// There is only one, which takes the parent over.
    Passthru = 8,
}

/// Who decides the way of a packet (`IPVLAN_MODE_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IpvlanMode {
    /// The container.
    L2 = 0,
    /// The host.
    L3 = 1,
    /// The host, with its firewall.
    L3s = 2,
}

/// Which links on one parent hear each other (`IPVLAN_F_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IpvlanFlag {
    /// All.
    Bridge = 0,
    /// None.
    Private = 1,
    /// All, by the switch outside.
    Vepa = 2,
}

impl Attachment {
    fn addresses(&self) -> impl Iterator<Item = (IpAddr, u8)> {
        let four = self.address4.map(|(ip, prefix)| (IpAddr::V4(ip), prefix));
        let six = self.address6.map(|(ip, prefix)| (IpAddr::V6(ip), prefix));
        let more = self.link_local.iter().map(|ip| (*ip, if ip.is_ipv4() { 16 } else { 64 }));
        four.into_iter().chain(six).chain(more)
    }

    /// Names what it is connected to.
    fn upper_name(&self) -> &str {
        match &self.upper {
            Upper::Bridge { bridge, .. } => bridge,
            Upper::Macvlan { parent, .. } | Upper::Ipvlan { parent, .. } => parent,
        }
    }

    fn gateways(&self) -> impl Iterator<Item = IpAddr> {
        self.gateway4.map(IpAddr::V4).into_iter().chain(self.gateway6.map(IpAddr::V6))
    }
}

/// Returns the name of the host's end for a container: `bv` and the first twelve digits of its id.
pub fn host_ifname(container: &str) -> String {
    format!("bv{}", container.get(..12).unwrap_or(container))
}

/// Makes a network namespace with its loopback up, mounted nowhere: it lives as long as a descriptor or a process
/// holds it. The calling thread is back in its own namespace when this returns.
///
/// Links that are added to it later ignore router advertisements and use IPv6 addresses at once.
pub fn create_netns() -> Result<OwnedFd> {
    let what = || "create a network namespace".to_owned();
    let (netns, inner) = sys::netns::create(prepare_netns).attempt(what)?;
    inner?;
    Ok(netns)
}

/// The same for root of a user namespace, who may not come back to the machine's own network: a thread is sent.
pub fn create_netns_apart() -> Result<OwnedFd> {
    let what = || "create a network namespace".to_owned();
    let (netns, inner) = sys::netns::create_apart(prepare_netns).attempt(what)?;
    inner?;
    Ok(netns)
}

/// Makes a namespace ready that somebody else made, as [`create_netns`] does with its own.
pub fn prepare_foreign_netns(netns: BorrowedFd<'_>) -> Result<()> {
    let what = || "prepare a network namespace".to_owned();
    sys::netns::inside_apart(netns, prepare_netns).attempt(what)?
}

/// Runs inside the new namespace.
fn prepare_netns() -> Result<()> {
    let what = || "prepare a network namespace".to_owned();
    let socket = Socket::route().attempt(what)?;
    let mut batch = Batch::new();
    // The loopback is always the first link of a namespace.
    link::set_up(&mut batch, Index(1));
    socket.request(&batch).attempt(what)?;
    if std::path::Path::new("/proc/sys/net/ipv6/conf/default").exists() {
        write_sysctl("net/ipv6/conf/default/accept_ra", "0")?;
        write_sysctl("net/ipv6/conf/default/accept_dad", "0")?;
    }
    Ok(())
}

/// Puts the namespace `netns` onto a network: makes the link, addresses, routes. All or nothing.
///
/// # Errors
///
/// [`Error::Kernel`] with `ENODEV` when the bridge or the parent is missing, `EEXIST` when a name is taken.
pub fn attach(netns: BorrowedFd<'_>, attachment: &Attachment) -> Result<()> {
    check_name("interface", &attachment.guest_ifname)?;
    if let Upper::Bridge { host_ifname, .. } = &attachment.upper {
        check_name("host interface", host_ifname)?;
    }
    let name = attachment.upper_name();
    let what = || format!("connect {:?} to {name:?}", attachment.guest_ifname);
    let host = Socket::route().attempt(what)?;
    let upper = link::get(&host, name).attempt(what)?.ok_or(Errno::NODEV).attempt(what)?;
    make_link(&host, netns, attachment, upper.index).attempt(what)?;
    let port = match &attachment.upper {
        Upper::Bridge { host_ifname, isolated, .. } => configure_port(&host, host_ifname, *isolated),
        _ => Ok(()),
    };
    let configured = port.attempt(what).and_then(|()| configure_guest(netns, attachment));
    if configured.is_err() {
        // The first error is the one to tell; the link must not stay half made.
        let _ = match &attachment.upper {
            Upper::Bridge { host_ifname, .. } => detach(host_ifname),
            _ => detach_inside(netns, &attachment.guest_ifname),
        };
    }
    configured
}

fn make_link(
    host: &Socket,
    netns: BorrowedFd<'_>,
    attachment: &Attachment,
    upper: Index,
) -> std::io::Result<()> {
    let mut batch = Batch::new();
    let (name, mtu) = (attachment.guest_ifname.as_str(), attachment.mtu);
    let shared = SharedLink { parent: upper, netns, name, mtu };
    match &attachment.upper {
        Upper::Bridge { host_ifname, .. } => link::new_veth(
            &mut batch,
            &VethPair {
                host_name: host_ifname,
                bridge: upper,
                guest_netns: netns,
                guest_name: name,
                guest_mac: attachment.mac,
                mtu,
            },
        ),
        Upper::Macvlan { mode, .. } => link::new_macvlan(&mut batch, &shared, attachment.mac, *mode as u32),
        Upper::Ipvlan { mode, flag, .. } => link::new_ipvlan(&mut batch, &shared, *mode as u16, *flag as u16),
    }
    host.request(&batch).map(drop)
}

fn configure_port(host: &Socket, host_ifname: &str, isolated: bool) -> std::io::Result<()> {
    let port = link::get(host, host_ifname)?.ok_or(Errno::NODEV)?;
    let mut batch = Batch::new();
    link::set_bridge_port(&mut batch, port.index, true, isolated);
    link::set_no_link_local(&mut batch, port.index);
    host.request(&batch).map(drop)
}

/// Gives the far end its addresses and routes, from inside its namespace.
fn configure_guest(netns: BorrowedFd<'_>, attachment: &Attachment) -> Result<()> {
    let name = &attachment.guest_ifname;
    let what = || format!("configure {name:?} in the container's network namespace");
    let guest = sys::netns::inside(netns, || prepare_guest(attachment)).attempt(what)??;
    let index = link::get(&guest, name).attempt(what)?.ok_or(Errno::NODEV).attempt(what)?.index;
    let mut batch = Batch::new();
    for (ip, prefix) in attachment.addresses() {
        link::new_address(&mut batch, index, ip, prefix);
    }
    link::set_up(&mut batch, index);
    for gateway in attachment.gateways() {
        link::new_default_route(&mut batch, index, gateway);
    }
    guest.request(&batch).attempt(what)?;
    Ok(())
}

/// Runs inside the container's namespace: the socket that stays in there, and the settings.
fn prepare_guest(attachment: &Attachment) -> Result<Socket> {
    let guest = Socket::route().attempt(|| "open a netlink socket".into())?;
    let ipv6 = format!("net/ipv6/conf/{}", attachment.guest_ifname);
    if attachment.address6.is_none() && std::path::Path::new("/proc/sys").join(&ipv6).exists() {
        write_sysctl(&format!("{ipv6}/disable_ipv6"), "1")?;
    }
    for (name, value) in &attachment.sysctls {
        write_sysctl(&sysctl_path(name)?, value)?;
    }
    Ok(guest)
}

/// Turns `net.ipv4.conf.eth0/1.rp_filter` into a path below `/proc/sys`: the two separators swap, as sysctl(8) does it.
fn sysctl_path(name: &str) -> Result<String> {
    let path: String = name
        .chars()
        .map(|c| {
            if c == '.' {
                '/'
            } else if c == '/' {
                '.'
            } else {
                c
            }
        })
        .collect();
    let fine = path
        .strip_prefix("net/")
        .is_some_and(|rest| rest.split('/').all(|part| !matches!(part, "" | "." | "..")));
    let wanted = "a setting of the network such as net.ipv4.ip_forward";
    if fine { Ok(path) } else { Err(Error::Invalid { field: "sysctl", value: name.to_owned(), wanted }) }
}

/// Removes a pair by its host's end; a missing one is fine.
///
/// The kernel needs some 24 ms for it: normally the pair is left to die with its namespace.
pub fn detach(host_ifname: &str) -> Result<()> {
    remove_link(host_ifname)
}

/// Removes a link of the namespace `netns` by its name there; a missing one is fine.
pub fn detach_inside(netns: BorrowedFd<'_>, guest_ifname: &str) -> Result<()> {
    let what = || format!("remove the link {guest_ifname:?} of a container");
    sys::netns::inside(netns, || remove_link(guest_ifname)).attempt(what)?
}

/// Makes the default routes of the namespace `netns` those by these links and gateways, at most one a family. Families
/// without one keep what they have.
pub fn set_default_routes(netns: BorrowedFd<'_>, routes: &[(&str, IpAddr)]) -> Result<()> {
    let what = || "set the default route of a container".to_owned();
    let guest = sys::netns::inside(netns, Socket::route).attempt(what)?.attempt(what)?;
    let mut batch = Batch::new();
    for (name, gateway) in routes {
        let found = link::get(&guest, name).attempt(what)?.ok_or(Errno::NODEV).attempt(what)?;
        link::replace_default_route(&mut batch, found.index, *gateway);
    }
    guest.request(&batch).attempt(what).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_name_fits_a_link() {
        assert_eq!(host_ifname(&"a7".repeat(32)), "bva7a7a7a7a7a7");
        assert_eq!(host_ifname("ab"), "bvab");
    }

    #[test]
    fn sysctls_stay_below_net() {
        assert_eq!(sysctl_path("net.ipv4.conf.eth0/5.rp_filter").unwrap(), "net/ipv4/conf/eth0.5/rp_filter");
        for name in ["kernel.hostname", "net", "net.", "net..x", "net./.", "net.//.//.kernel", "../x"] {
            assert!(sysctl_path(name).is_err(), "{name}");
        }
    }
}
