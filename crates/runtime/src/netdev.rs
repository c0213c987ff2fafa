//! Links: the loopback of a new network namespace is brought up, and `linux.netDevices` of the host are moved into it.
//!
//! Source: rtnetlink(7); runtime-spec config-linux.md, "Network Devices".

use std::os::fd::{AsFd, OwnedFd};

use oci::runtime::Spec;
use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, sendto, socket_with};

use crate::error::{Doing, Result};
use crate::procfs::Procfs;
use crate::validate;

const RTM_NEWLINK: u16 = 16;
const RTM_GETLINK: u16 = 18;
const RTM_NEWADDR: u16 = 20;
const RTM_GETADDR: u16 = 22;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLM_F_DUMP: u16 = 0x300;
const NLM_F_CREATE: u16 = 0x400;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const IFLA_IFNAME: u16 = 3;
const IFLA_NET_NS_FD: u16 = 28;
const IFF_UP: u32 = 1;
const IFA_FLAGS: u16 = 8;
const IFA_F_PERMANENT: u32 = 0x80;
/// The index of the loopback link of every network namespace.
const LOOPBACK: i32 = 1;

/// An address of a link, as the kernel told it: header and attributes, to be given back as they are.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Address {
    family: u8,
    prefix: u8,
    flags: u8,
    attributes: Vec<u8>,
}

/// Brings the loopback of the caller's network namespace up.
pub(crate) fn loopback_up() -> Result<()> {
    let what = || "bring the loopback up".to_owned();
    let route = open().doing(what)?;
    set_link(&route, LOOPBACK, IFF_UP, &[]).doing(what)
}

/// Moves every link that the spec names into the network namespace of process `pid`, with its name, its addresses of the whole
/// network, and up.
pub(crate) fn move_links(spec: &Spec, pid: i32) -> Result<()> {
    let devices = spec.linux().as_ref().and_then(|linux| linux.net_devices().as_ref());
    let Some(devices) = devices.filter(|devices| !devices.is_empty()) else { return Ok(()) };
    let proc = Procfs::host().doing(|| "open /proc".into())?;
    let netns =
        proc.namespace(&format!("{pid}/ns/net")).doing(|| "open the container's network namespace".into())?;
    for (name, device) in devices {
        let inside = device.name().as_deref().filter(|name| !name.is_empty()).unwrap_or(name);
        validate::link_name("linux.netDevices.name", inside)?;
        move_link(name, inside, &netns)
            .doing(|| format!("move the link {name:?} into the container as {inside:?}"))?;
    }
    Ok(())
}

fn move_link(name: &str, inside: &str, netns: &OwnedFd) -> rustix::io::Result<()> {
    use std::os::fd::AsRawFd;
    let route = open()?;
    let index = index_of(&route, name)?;
    let addresses = addresses(&route, index)?;
    let target = attribute(IFLA_NET_NS_FD, &netns.as_raw_fd().to_ne_bytes());
    let name = attribute(IFLA_IFNAME, &terminated(inside));
    // Down while it moves, as the kernel would do anyway.
    set_link(&route, index, 0, &[target, name].concat())?;
    sys::netns::inside(netns.as_fd(), || {
        let route = open()?;
        let index = index_of(&route, inside)?;
        for address in &addresses {
            add_address(&route, index, address)?;
        }
        set_link(&route, index, IFF_UP, &[])
    })?
}

/// Opens a socket of the protocol 0, which is that of links and addresses.
fn open() -> rustix::io::Result<OwnedFd> {
    socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)
}

/// `struct ifinfomsg`.
fn link_header(index: i32, flags: u32, change: u32) -> Vec<u8> {
    let mut header = vec![0, 0, 0, 0];
    header.extend(index.to_ne_bytes());
    header.extend(flags.to_ne_bytes());
    header.extend(change.to_ne_bytes());
    header
}

fn terminated(text: &str) -> Vec<u8> {
    text.bytes().chain([0]).collect()
}

/// One attribute, padded to four bytes.
fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
    let mut bytes: Vec<u8> = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn set_link(route: &OwnedFd, index: i32, flags: u32, attributes: &[u8]) -> rustix::io::Result<()> {
    let body = [link_header(index, flags, IFF_UP), attributes.to_vec()].concat();
    ask(route, RTM_NEWLINK, NLM_F_ACK, &body).map(drop)
}

fn index_of(route: &OwnedFd, name: &str) -> rustix::io::Result<i32> {
    let body = [link_header(0, 0, 0), attribute(IFLA_IFNAME, &terminated(name))].concat();
    let replies = ask(route, RTM_GETLINK, 0, &body)?;
    let reply = replies.first().ok_or(Errno::NODEV)?;
    let index = reply.get(4..8).and_then(|bytes| bytes.try_into().ok()).ok_or(Errno::BADMSG)?;
    Ok(i32::from_ne_bytes(index))
}

/// Returns the permanent addresses of the whole network.
fn addresses(route: &OwnedFd, index: i32) -> rustix::io::Result<Vec<Address>> {
    let replies = ask(route, RTM_GETADDR, NLM_F_DUMP, &[0; 8])?;
    Ok(replies.iter().filter_map(|reply| parse_address(reply, index)).collect())
}

/// Reads `struct ifaddrmsg` and what follows.
fn parse_address(reply: &[u8], index: i32) -> Option<Address> {
    let (header, attributes) = reply.split_at_checked(8)?;
    let (family, prefix, flags, scope) = (header[0], header[1], header[2], header[3]);
    let of = i32::from_ne_bytes(header[4..8].try_into().ok()?);
    // The long form of the flags stands in an attribute.
    let long = find(attributes, IFA_FLAGS)
        .and_then(|value| Some(u32::from_ne_bytes(value.get(..4)?.try_into().ok()?)));
    let permanent = long.unwrap_or(u32::from(flags)) & IFA_F_PERMANENT != 0;
    (of == index && scope == 0 && permanent).then(|| Address {
        family,
        prefix,
        flags,
        attributes: attributes.to_vec(),
    })
}

fn find(mut attributes: &[u8], wanted: u16) -> Option<&[u8]> {
    while attributes.len() >= 4 {
        let length = usize::from(u16::from_ne_bytes([attributes[0], attributes[1]]));
        let kind = u16::from_ne_bytes([attributes[2], attributes[3]]);
        let value = attributes.get(4..length)?;
        if kind == wanted {
            return Some(value);
        }
        attributes = attributes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    None
}

fn add_address(route: &OwnedFd, index: i32, address: &Address) -> rustix::io::Result<()> {
    let mut body = vec![address.family, address.prefix, address.flags, 0];
    body.extend(index.to_ne_bytes());
    body.extend(&address.attributes);
    match ask(route, RTM_NEWADDR, NLM_F_ACK | NLM_F_CREATE, &body) {
        Ok(_) | Err(Errno::EXIST) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Sends one request and collects the bodies of the replies.
fn ask(route: &OwnedFd, kind: u16, flags: u16, body: &[u8]) -> rustix::io::Result<Vec<Vec<u8>>> {
    let length = u32::try_from(16 + body.len()).map_err(|_| Errno::MSGSIZE)?;
    let mut request = length.to_ne_bytes().to_vec();
    request.extend(kind.to_ne_bytes());
    request.extend((flags | NLM_F_REQUEST).to_ne_bytes());
    request.extend([1, 0, 0, 0, 0, 0, 0, 0]);
    request.extend(body);
    sendto(route, &request, SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
    let mut replies = Vec::new();
    let mut buffer = vec![0; 32 << 10];
    loop {
        let (received, _) = rustix::io::retry_on_intr(|| recv(route, &mut *buffer, RecvFlags::empty()))?;
        if collect(buffer.get(..received).unwrap_or_default(), &mut replies)?
            || (flags & (NLM_F_DUMP | NLM_F_ACK) == 0)
        {
            return Ok(replies);
        }
    }
}

/// Takes the messages of one datagram; `true` after the last.
fn collect(mut bytes: &[u8], replies: &mut Vec<Vec<u8>>) -> rustix::io::Result<bool> {
    while bytes.len() >= 16 {
        let length = u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize;
        let kind = u16::from_ne_bytes([bytes[4], bytes[5]]);
        let body = bytes.get(16..length).ok_or(Errno::BADMSG)?;
        match kind {
            NLMSG_DONE => return Ok(true),
            NLMSG_ERROR => {
                let code = body.get(..4).and_then(|code| code.try_into().ok()).map(i32::from_ne_bytes);
                return match code.ok_or(Errno::BADMSG)? {
                    0 => Ok(true),
                    code => Err(Errno::from_raw_os_error(code.wrapping_neg())),
                };
            }
            _ => replies.push(body.to_vec()),
        }
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_padded_and_found() {
        let bytes = [attribute(3, b"abc\0x"), attribute(8, &7_u32.to_ne_bytes())].concat();
        assert_eq!(bytes.len(), 12 + 8);
        assert_eq!(find(&bytes, 8), Some(&7_u32.to_ne_bytes()[..]));
        assert_eq!(find(&bytes[..13], 8), None);
    }

    #[test]
    fn malformed_replies_are_errors() {
        let mut replies = Vec::new();
        let mut long = vec![0xff, 0, 0, 0, 16, 0];
        long.resize(16, 0);
        assert_eq!(collect(&long, &mut replies), Err(Errno::BADMSG));
        let mut zero = vec![0; 16];
        zero[4] = 16;
        assert_eq!(collect(&zero, &mut replies), Err(Errno::BADMSG));
        assert!(parse_address(&[0; 7], 1).is_none());
    }
}
