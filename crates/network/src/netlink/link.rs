//! The requests for links, addresses and routes (rtnetlink) that this crate needs, and the reading of their answers.
//!
//! Source of the numbers: the kernel's `linux/rtnetlink.h`, `linux/if_link.h`, `linux/if_addr.h`, `linux/if_bridge.h`.

use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;

use super::wire::{Attributes, Batch, attribute, attributes, flags, text, u32_at};
use super::{Socket, errno};

const NEW_LINK: u16 = 16;
const DELETE_LINK: u16 = 17;
const GET_LINK: u16 = 18;
const SET_LINK: u16 = 19;
const NEW_ADDRESS: u16 = 20;
const GET_ADDRESS: u16 = 22;
const NEW_ROUTE: u16 = 24;
const GET_ROUTE: u16 = 26;
const NEW_NEIGHBOUR: u16 = 28;

const AF_UNSPEC: u8 = 0;
const AF_INET: u8 = 2;
const AF_BRIDGE: u8 = 7;
const AF_INET6: u8 = 10;
/// `IFF_UP`.
const UP: u32 = 1;

const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_LINK: u16 = 5;
const IFLA_MASTER: u16 = 10;
const IFLA_PROTINFO: u16 = 12;
const IFLA_LINKINFO: u16 = 18;
const IFLA_AF_SPEC: u16 = 26;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_EXT_MASK: u16 = 29;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const VETH_INFO_PEER: u16 = 1;
const IFLA_MACVLAN_MODE: u16 = 1;
const IFLA_IPVLAN_MODE: u16 = 1;
const IFLA_IPVLAN_FLAGS: u16 = 2;
const IFLA_BR_FORWARD_DELAY: u16 = 1;
const IFLA_BRPORT_MODE: u16 = 4;
const IFLA_BRPORT_ISOLATED: u16 = 33;
const IFLA_INET_CONF: u16 = 1;
const IFLA_INET6_CONF: u16 = 2;
const IFLA_INET6_ADDR_GEN_MODE: u16 = 8;
/// `IN6_ADDR_GEN_MODE_NONE`: no link-local address by itself.
const ADDR_GEN_NONE: u8 = 1;
/// `RTEXT_FILTER_SKIP_STATS`: the counters are not wanted.
const SKIP_STATS: u32 = 8;
/// `IPV4_DEVCONF_ROUTE_LOCALNET`, one more than its index in `IFLA_INET_CONF`.
const DEVCONF4_ROUTE_LOCALNET: usize = 26;
/// `DEVCONF_ACCEPT_RA`, its index in `IFLA_INET6_CONF`.
const DEVCONF6_ACCEPT_RA: usize = 3;

const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_FLAGS: u16 = 8;
/// `IFA_F_NODAD`: the address is usable at once, without asking the neighbours for a second holder.
const NO_DAD: u32 = 2;

const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PRIORITY: u16 = 6;
const RTA_TABLE: u16 = 15;
const RT_TABLE_LOCAL: u8 = 255;
const RT_TABLE_MAIN: u8 = 254;
const RTPROT_BOOT: u8 = 3;
const RT_SCOPE_UNIVERSE: u8 = 0;
const RT_SCOPE_LINK: u8 = 253;
const RTN_UNICAST: u8 = 1;
const RTN_LOCAL: u8 = 2;
const NDA_DST: u16 = 1;
const NDA_LLADDR: u16 = 2;
/// `NUD_PERMANENT`: nobody is asked for it.
const PERMANENT: u16 = 0x80;
/// The least priority of the routes of [`new_loopback_route`]: any but 0, which the kernel's own has.
const LOOPBACK_PRIORITY: u32 = 1024;

/// The number of a link within its namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Index(pub(crate) u32);

/// What is asked about a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Link {
    /// The number.
    pub(crate) index: Index,
    /// `bridge`, `veth`, …; empty for hardware.
    pub(crate) kind: String,
    /// Whether it is administratively up.
    pub(crate) up: bool,
    /// The largest packet.
    pub(crate) mtu: Option<u32>,
    /// The IPv4 setting `route_localnet`.
    pub(crate) route_localnet: bool,
    /// The IPv6 setting `accept_ra`; `None` without IPv6.
    pub(crate) accept_ra: Option<u32>,
}

fn link_header(family: u8, index: u32, flags: u32, change: u32) -> [u8; 16] {
    let mut header = [0; 16];
    header[0] = family;
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..12].copy_from_slice(&flags.to_ne_bytes());
    header[12..16].copy_from_slice(&change.to_ne_bytes());
    header
}

/// Adds the making of a bridge that is up.
pub(crate) fn new_bridge(batch: &mut Batch, name: &str, mac: [u8; 6], mtu: Option<u32>) {
    let header = link_header(AF_UNSPEC, 0, UP, UP);
    batch.message(NEW_LINK, flags::ACK | flags::CREATE | flags::EXCL, &header, |m| {
        m.text(IFLA_IFNAME, name).bytes(IFLA_ADDRESS, &mac);
        put_mtu(m, mtu);
        m.nest(IFLA_LINKINFO, |m| {
            m.text(IFLA_INFO_KIND, "bridge");
            m.nest(IFLA_INFO_DATA, |m| {
                m.u32(IFLA_BR_FORWARD_DELAY, 0);
            });
        });
    });
}

/// The two ends of a veth pair that is to be made.
#[derive(Debug)]
pub(crate) struct VethPair<'a> {
    /// The name of the end in this namespace.
    pub(crate) host_name: &'a str,
    /// The bridge that it joins.
    pub(crate) bridge: Index,
    /// The namespace of the other end.
    pub(crate) guest_netns: BorrowedFd<'a>,
    /// The name of the other end.
    pub(crate) guest_name: &'a str,
    /// The hardware address of the other end.
    pub(crate) guest_mac: [u8; 6],
    /// The largest packet of both.
    pub(crate) mtu: Option<u32>,
}

/// Adds the making of a veth pair: this end is up and on the bridge, the other one is down in its namespace.
pub(crate) fn new_veth(batch: &mut Batch, pair: &VethPair<'_>) {
    let header = link_header(AF_UNSPEC, 0, UP, UP);
    batch.message(NEW_LINK, flags::ACK | flags::CREATE | flags::EXCL, &header, |m| {
        m.text(IFLA_IFNAME, pair.host_name).u32(IFLA_MASTER, pair.bridge.0);
        put_mtu(m, pair.mtu);
        m.nest(IFLA_LINKINFO, |m| {
            m.text(IFLA_INFO_KIND, "veth");
            m.nest(IFLA_INFO_DATA, |m| {
                m.nest_after(VETH_INFO_PEER, &link_header(AF_UNSPEC, 0, 0, 0), |m| {
                    m.text(IFLA_IFNAME, pair.guest_name).bytes(IFLA_ADDRESS, &pair.guest_mac);
                    put_mtu(m, pair.mtu);
                    m.u32(IFLA_NET_NS_FD, pair.guest_netns.as_raw_fd() as u32);
                });
            });
        });
    });
}

/// Adds the making of a veth pair whose ends are both in this namespace, `far` with a hardware address and still down: the
/// kernel brings no end up whose other end it does not know yet.
pub(crate) fn new_pair(batch: &mut Batch, near: &str, far: &str, far_mac: [u8; 6], mtu: u32) {
    let header = link_header(AF_UNSPEC, 0, UP, UP);
    batch.message(NEW_LINK, flags::ACK | flags::CREATE | flags::EXCL, &header, |m| {
        m.text(IFLA_IFNAME, near).u32(IFLA_MTU, mtu);
        m.nest(IFLA_LINKINFO, |m| {
            m.text(IFLA_INFO_KIND, "veth");
            m.nest(IFLA_INFO_DATA, |m| {
                m.nest_after(VETH_INFO_PEER, &link_header(AF_UNSPEC, 0, 0, 0), |m| {
                    m.text(IFLA_IFNAME, far).bytes(IFLA_ADDRESS, &far_mac).u32(IFLA_MTU, mtu);
                });
            });
        });
    });
}

/// A link of a container that shares a link of the host.
#[derive(Debug)]
pub(crate) struct SharedLink<'a> {
    /// The link of the host.
    pub(crate) parent: Index,
    /// The container's namespace.
    pub(crate) netns: BorrowedFd<'a>,
    /// The name inside.
    pub(crate) name: &'a str,
    /// The largest packet.
    pub(crate) mtu: Option<u32>,
}

impl SharedLink<'_> {
    fn put(
        &self,
        batch: &mut Batch,
        kind: &str,
        mac: Option<[u8; 6]>,
        data: impl FnOnce(&mut Attributes<'_>),
    ) {
        let header = link_header(AF_UNSPEC, 0, 0, 0);
        batch.message(NEW_LINK, flags::ACK | flags::CREATE | flags::EXCL, &header, |m| {
            m.text(IFLA_IFNAME, self.name).u32(IFLA_LINK, self.parent.0);
            if let Some(mac) = mac {
                m.bytes(IFLA_ADDRESS, &mac);
            }
            put_mtu(m, self.mtu);
            m.u32(IFLA_NET_NS_FD, self.netns.as_raw_fd() as u32);
            m.nest(IFLA_LINKINFO, |m| {
                m.text(IFLA_INFO_KIND, kind).nest(IFLA_INFO_DATA, data);
            });
        });
    }
}

/// Adds the making of a link with a hardware address of its own; `mode` is one of `MACVLAN_MODE_*`.
pub(crate) fn new_macvlan(batch: &mut Batch, link: &SharedLink<'_>, mac: [u8; 6], mode: u32) {
    link.put(batch, "macvlan", Some(mac), |m| {
        m.u32(IFLA_MACVLAN_MODE, mode);
    });
}

/// Adds the making of a link that shares its parent's hardware address; `mode` is one of `IPVLAN_MODE_*`, `flag` of
/// `IPVLAN_F_*`.
pub(crate) fn new_ipvlan(batch: &mut Batch, link: &SharedLink<'_>, mode: u16, flag: u16) {
    link.put(batch, "ipvlan", None, |m| {
        m.bytes(IFLA_IPVLAN_MODE, &mode.to_ne_bytes()).bytes(IFLA_IPVLAN_FLAGS, &flag.to_ne_bytes());
    });
}

/// Adds: `address` is beyond `link`, at the hardware address `mac`, and nobody need be asked.
pub(crate) fn new_neighbour(batch: &mut Batch, link: Index, address: IpAddr, mac: [u8; 6]) {
    let mut header = [family(address), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    header[4..8].copy_from_slice(&link.0.to_ne_bytes());
    header[8..10].copy_from_slice(&PERMANENT.to_ne_bytes());
    batch.message(NEW_NEIGHBOUR, flags::ACK | flags::CREATE | flags::REPLACE, &header, |m| {
        m.bytes(NDA_DST, &octets(address)).bytes(NDA_LLADDR, &mac);
    });
}

/// Adds: `address` is on `link` itself.
pub(crate) fn new_link_route(batch: &mut Batch, link: Index, address: IpAddr) {
    let prefix = if address.is_ipv4() { 32 } else { 128 };
    let header =
        [family(address), prefix, 0, 0, RT_TABLE_MAIN, RTPROT_BOOT, RT_SCOPE_LINK, RTN_UNICAST, 0, 0, 0, 0];
    batch.message(NEW_ROUTE, flags::ACK | flags::CREATE | flags::EXCL, &header, |m| {
        m.bytes(RTA_DST, &octets(address)).u32(RTA_OIF, link.0);
    });
}

fn put_mtu(m: &mut Attributes<'_>, mtu: Option<u32>) {
    if let Some(mtu) = mtu {
        m.u32(IFLA_MTU, mtu);
    }
}

/// Adds the settings of a bridge port: `hairpin` lets a frame leave where it came in (bridged packets that
/// br_netfilter has redirected need it), `isolated` ports reach the bridge itself but not each other.
pub(crate) fn set_bridge_port(batch: &mut Batch, port: Index, hairpin: bool, isolated: bool) {
    batch.message(SET_LINK, flags::ACK, &link_header(AF_BRIDGE, port.0, 0, 0), |m| {
        m.nest(IFLA_PROTINFO, |m| {
            m.u8(IFLA_BRPORT_MODE, hairpin.into()).u8(IFLA_BRPORT_ISOLATED, isolated.into());
        });
    });
}

/// Adds: the link comes up.
pub(crate) fn set_up(batch: &mut Batch, link: Index) {
    batch.message(SET_LINK, flags::ACK, &link_header(AF_UNSPEC, link.0, UP, UP), |_| {});
}

/// Adds: the largest packet of the link.
pub(crate) fn set_mtu(batch: &mut Batch, link: Index, mtu: u32) {
    batch.message(SET_LINK, flags::ACK, &link_header(AF_UNSPEC, link.0, 0, 0), |m| put_mtu(m, Some(mtu)));
}

/// Adds: the link makes no IPv6 link-local address of its own.
pub(crate) fn set_no_link_local(batch: &mut Batch, link: Index) {
    batch.message(SET_LINK, flags::ACK, &link_header(AF_UNSPEC, link.0, 0, 0), |m| {
        m.nest(IFLA_AF_SPEC, |m| {
            m.nest(AF_INET6.into(), |m| {
                m.u8(IFLA_INET6_ADDR_GEN_MODE, ADDR_GEN_NONE);
            });
        });
    });
}

/// Adds: the link accepts packets from and to 127.0.0.0/8.
pub(crate) fn set_route_localnet(batch: &mut Batch, link: Index) {
    batch.message(SET_LINK, flags::ACK, &link_header(AF_UNSPEC, link.0, 0, 0), |m| {
        m.nest(IFLA_AF_SPEC, |m| {
            m.nest(AF_INET.into(), |m| {
                m.nest(IFLA_INET_CONF, |m| {
                    m.u32(DEVCONF4_ROUTE_LOCALNET as u16, 1);
                });
            });
        });
    });
}

/// Adds an address of a link.
pub(crate) fn new_address(batch: &mut Batch, link: Index, address: IpAddr, prefix: u8) {
    let mut header = [family(address), prefix, 0, 0, 0, 0, 0, 0];
    header[4..8].copy_from_slice(&link.0.to_ne_bytes());
    batch.message(NEW_ADDRESS, flags::ACK | flags::CREATE | flags::EXCL, &header, |m| {
        m.bytes(IFA_LOCAL, &octets(address)).bytes(IFA_ADDRESS, &octets(address));
        if address.is_ipv6() {
            m.u32(IFA_FLAGS, NO_DAD);
        }
    });
}

/// Adds a default route by `gateway`.
pub(crate) fn new_default_route(batch: &mut Batch, link: Index, gateway: IpAddr) {
    put_default_route(batch, flags::EXCL, link, gateway);
}

/// Adds: the default route of its family is this one.
pub(crate) fn replace_default_route(batch: &mut Batch, link: Index, gateway: IpAddr) {
    put_default_route(batch, flags::REPLACE, link, gateway);
}

/// An unspecified gateway stands for the link itself.
fn put_default_route(batch: &mut Batch, more: u16, link: Index, gateway: IpAddr) {
    let scope = if gateway.is_ipv4() && gateway.is_unspecified() { RT_SCOPE_LINK } else { RT_SCOPE_UNIVERSE };
    let header = [family(gateway), 0, 0, 0, RT_TABLE_MAIN, RTPROT_BOOT, scope, RTN_UNICAST, 0, 0, 0, 0];
    batch.message(NEW_ROUTE, flags::ACK | flags::CREATE | more, &header, |m| {
        if !gateway.is_unspecified() {
            m.bytes(RTA_GATEWAY, &octets(gateway));
        }
        m.u32(RTA_OIF, link.0);
    });
}

/// Adds: packets for the IPv6 loopback address are the host's also when they come by `link`, as answers to connections
/// that the firewall has translated do. What says so from the start, IPv6 throws away before it asks for a route.
pub(crate) fn new_loopback_route(batch: &mut Batch, link: Index) {
    let header = [AF_INET6, 128, 0, 0, RT_TABLE_LOCAL, RTPROT_BOOT, RT_SCOPE_UNIVERSE, RTN_LOCAL, 0, 0, 0, 0];
    batch.message(NEW_ROUTE, flags::ACK | flags::CREATE | flags::EXCL, &header, |m| {
        m.bytes(RTA_DST, &octets(Ipv6Addr::LOCALHOST.into())).u32(RTA_OIF, link.0);
        // Behind the kernel's own route, and another one for each link: IPv6 tells routes apart by this.
        m.u32(RTA_PRIORITY, LOOPBACK_PRIORITY + link.0);
    });
}

/// Adds the removal of a link.
pub(crate) fn delete_link(batch: &mut Batch, name: &str) {
    batch.message(DELETE_LINK, flags::ACK, &link_header(AF_UNSPEC, 0, 0, 0), |m| {
        m.text(IFLA_IFNAME, name);
    });
}

/// Returns the link `name`, `None` when there is none.
pub(crate) fn get(socket: &Socket, name: &str) -> io::Result<Option<Link>> {
    let mut batch = Batch::new();
    batch.message(GET_LINK, 0, &link_header(AF_UNSPEC, 0, 0, 0), |m| {
        m.text(IFLA_IFNAME, name).u32(IFLA_EXT_MASK, SKIP_STATS);
    });
    match socket.request(&batch) {
        Ok(answers) => answers
            .objects()
            .find_map(|message| read_link(message.body))
            .map(Some)
            .ok_or(Errno::BADMSG.into()),
        Err(error) if errno(&error) == Some(Errno::NODEV) => Ok(None),
        Err(error) => Err(error),
    }
}

fn read_link(body: &[u8]) -> Option<Link> {
    let attributes = body.get(16..)?;
    let info = attribute(attributes, IFLA_LINKINFO).unwrap_or_default();
    let families = attribute(attributes, IFLA_AF_SPEC).unwrap_or_default();
    let inet4 = attribute(families, AF_INET.into())
        .and_then(|inet| attribute(inet, IFLA_INET_CONF))
        .unwrap_or_default();
    let inet6 = attribute(families, AF_INET6.into())
        .and_then(|inet| attribute(inet, IFLA_INET6_CONF))
        .unwrap_or_default();
    Some(Link {
        index: Index(u32_at(body, 4)?),
        kind: attribute(info, IFLA_INFO_KIND).map(text).unwrap_or_default().to_owned(),
        up: u32_at(body, 8)? & UP != 0,
        mtu: attribute(attributes, IFLA_MTU).and_then(|value| u32_at(value, 0)),
        route_localnet: u32_at(inet4, (DEVCONF4_ROUTE_LOCALNET - 1) * 4).is_some_and(|value| value != 0),
        accept_ra: u32_at(inet6, DEVCONF6_ACCEPT_RA * 4),
    })
}

/// Returns the addresses of a link with their prefix lengths.
pub(crate) fn addresses(socket: &Socket, link: Index) -> io::Result<Vec<(IpAddr, u8)>> {
    let mut header = [0; 8];
    header[4..8].copy_from_slice(&link.0.to_ne_bytes());
    let mut batch = Batch::new();
    batch.message(GET_ADDRESS, flags::DUMP, &header, |_| {});
    let answers = socket.request(&batch)?;
    // Kernels before 4.20 do not filter, hence the second look at the index.
    let of_link = answers.objects().filter(|message| u32_at(message.body, 4) == Some(link.0));
    Ok(of_link.filter_map(|message| read_address(message.body)).collect())
}

fn read_address(body: &[u8]) -> Option<(IpAddr, u8)> {
    let attributes = body.get(8..)?;
    let value = attribute(attributes, IFA_LOCAL).or_else(|| attribute(attributes, IFA_ADDRESS))?;
    Some((address(value)?, *body.get(1)?))
}

/// Returns the addresses of all links with their prefix lengths.
pub(crate) fn all_addresses(socket: &Socket) -> io::Result<Vec<(IpAddr, u8, Index)>> {
    let mut batch = Batch::new();
    batch.message(GET_ADDRESS, flags::DUMP, &[0; 8], |_| {});
    let answers = socket.request(&batch)?;
    let read = |body: &[u8]| {
        let (address, prefix) = read_address(body)?;
        Some((address, prefix, Index(u32_at(body, 4)?)))
    };
    Ok(answers.objects().filter_map(|message| read(message.body)).collect())
}

/// Returns the destinations of all unicast routes of the main table with their prefix lengths and links, default routes
/// left out.
pub(crate) fn route_destinations(socket: &Socket) -> io::Result<Vec<(IpAddr, u8, Index)>> {
    let mut found = Vec::new();
    for family in [AF_INET, AF_INET6] {
        let header = [family, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let mut batch = Batch::new();
        batch.message(GET_ROUTE, flags::DUMP, &header, |_| {});
        let answers = match socket.request(&batch) {
            Err(error) if errno(&error) == Some(Errno::OPNOTSUPP) => continue,
            answers => answers?,
        };
        found.extend(answers.objects().filter_map(|message| read_route(message.body)));
    }
    Ok(found)
}

fn read_route(body: &[u8]) -> Option<(IpAddr, u8, Index)> {
    let (prefix, kind) = (*body.get(1)?, *body.get(7)?);
    let attributes = body.get(12..)?;
    let table =
        attribute(attributes, RTA_TABLE).and_then(|value| u32_at(value, 0)).unwrap_or_else(|| body[4].into());
    if kind != RTN_UNICAST || table != u32::from(RT_TABLE_MAIN) {
        return None;
    }
    // A route by several ways names none.
    let link = attribute(attributes, RTA_OIF).and_then(|value| u32_at(value, 0)).unwrap_or_default();
    Some((address(attribute(attributes, RTA_DST)?)?, prefix, Index(link)))
}

/// Returns the names of all links with their numbers.
pub(crate) fn list(socket: &Socket) -> io::Result<Vec<(String, Index)>> {
    let mut batch = Batch::new();
    batch.message(GET_LINK, flags::DUMP, &link_header(AF_UNSPEC, 0, 0, 0), |m| {
        m.u32(IFLA_EXT_MASK, SKIP_STATS);
    });
    let answers = socket.request(&batch)?;
    let read = |body: &[u8]| {
        let name = attributes(body.get(16..)?).find(|(kind, _)| *kind == IFLA_IFNAME)?.1;
        Some((text(name).to_owned(), Index(u32_at(body, 4)?)))
    };
    Ok(answers.objects().filter_map(|message| read(message.body)).collect())
}

fn family(address: IpAddr) -> u8 {
    if address.is_ipv4() { AF_INET } else { AF_INET6 }
}

/// Returns the bytes of an address.
pub(crate) fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

/// Reads an address of four or sixteen bytes.
pub(crate) fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
        _ => None,
    }
}
