//! The elements of the sets: the fingerprint of the plan, and what each published port puts into which set.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use super::encode::{Transaction, comment, kind, put, read_comment};
use super::plan::{Family, MARKER, claims, open, to_address, to_port, to_shift};
use crate::netlink::link::{address, octets};
use crate::netlink::wire::{Attributes, Batch, attribute, attributes, flags};
use crate::ports::{Protocol, PublishedPort};

const LIST_TABLE: u16 = 1;
const LIST_SET: u16 = 2;
const LIST_ELEMENTS: u16 = 3;
const LIST_ELEMENT: u16 = 1;
const KEY: u16 = 1;
const DATA: u16 = 2;
const USERDATA: u16 = 6;
const KEY_END: u16 = 10;
const VALUE: u16 = 1;

/// A claim on ports of the host, as it stands in the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortElement {
    /// Who holds it: the container id that was given to `publish`.
    pub owner: String,
    /// The protocol.
    pub protocol: Protocol,
    /// The address of the host; unspecified stands for all of its family.
    pub host_ip: IpAddr,
    /// The ports of the host.
    pub host_ports: RangeInclusive<u16>,
}

impl PortElement {
    /// Tells whether a packet exists that both mean.
    pub fn overlaps(&self, other: &Self) -> bool {
        let same_family = self.host_ip.is_ipv4() == other.host_ip.is_ipv4();
        let address = same_family
            && (self.host_ip == other.host_ip
                || self.host_ip.is_unspecified()
                || other.host_ip.is_unspecified());
        let ports = self.host_ports.start() <= other.host_ports.end()
            && other.host_ports.start() <= self.host_ports.end();
        address && ports && self.protocol == other.protocol
    }
}

/// One element that a published port puts into a set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Element {
    /// The set.
    pub(crate) set: &'static str,
    key: Vec<u8>,
    key_end: Vec<u8>,
    data: Option<Vec<u8>>,
}

/// Returns what `port` claims.
pub(crate) fn claims_of(owner: &str, port: &PublishedPort) -> Vec<PortElement> {
    let claim = |(host_ip, _): (IpAddr, IpAddr)| PortElement {
        owner: owner.to_owned(),
        protocol: port.protocol,
        host_ip,
        host_ports: port.host_ports.clone(),
    };
    port.destinations().into_iter().map(claim).collect()
}

/// Returns the elements that `port` puts into the sets, each claim before what it leads to.
pub(crate) fn elements_of(port: &PublishedPort) -> Vec<Element> {
    port.destinations().into_iter().flat_map(|(host, guest)| elements_to(port, host, guest)).collect()
}

fn elements_to(port: &PublishedPort, host: IpAddr, guest: IpAddr) -> Vec<Element> {
    let family = Family::of(host);
    let element = |set, ports: &RangeInclusive<u16>, data| Element {
        set,
        key: key(host, port.protocol, *ports.start()),
        key_end: key(last(host), port.protocol, *ports.end()),
        data,
    };
    let mut elements = vec![element(claims(family), &port.host_ports, None)];
    if port.open {
        elements.push(element(open(family), &port.host_ports, None));
    }
    let guest_first = *port.guest_ports.start();
    if port.host_ports == port.guest_ports {
        elements.push(element(to_address(family), &port.host_ports, Some(octets(guest))));
    } else if port.host_ports.len() == 1 {
        let data = [octets(guest), padded(guest_first)].concat();
        elements.push(element(to_port(family), &port.host_ports, Some(data)));
    } else {
        elements.extend(shifts(&port.host_ports, guest_first).into_iter().map(|(ports, first, last)| {
            let data = [octets(guest), padded(first), padded(last)].concat();
            element(to_shift(family), &ports, Some(data))
        }));
    }
    elements
}

/// Returns a port as a register holds it.
fn padded(port: u16) -> Vec<u8> {
    let [high, low] = port.to_be_bytes();
    vec![high, low, 0, 0]
}

/// Cuts a range that leads to one beginning at `to` into pieces, each with the ports `first..=last` such that the kernel's
/// count, `first + port % (last - first + 1)`, gives each port its own.
///
/// Towards higher ports one piece does. Towards lower ones the piece from `a` needs a modulus above the distance
/// and up to `a` and ends before twice the modulus: a handful of pieces that double, 16 at the most.
fn shifts(ports: &RangeInclusive<u16>, to: u16) -> Vec<(RangeInclusive<u16>, u16, u16)> {
    let (start, end) = (*ports.start(), *ports.end());
    if let Some(up) = to.checked_sub(start) {
        return vec![(ports.clone(), up, u16::MAX)];
    }
    let down = start - to;
    let mut pieces = Vec::new();
    let mut from = u32::from(start);
    while from <= u32::from(end) {
        // The whole rest where one modulus does, else as far as the largest one reaches.
        let modulus = (u32::from(end) / 2 + 1).max(u32::from(down) + 1).min(from);
        let until = u32::from(end).min(2 * modulus - 1);
        let first = modulus - u32::from(down);
        let last = first + modulus - 1;
        pieces.push((from as u16..=until as u16, first as u16, last as u16));
        from = until + 1;
    }
    pieces
}

/// Returns the key: each field filled up to four bytes.
fn key(ip: IpAddr, protocol: Protocol, port: u16) -> Vec<u8> {
    let mut key = octets(ip);
    key.extend_from_slice(&[protocol.number(), 0, 0, 0]);
    key.extend_from_slice(&port.to_be_bytes());
    key.extend_from_slice(&[0; 2]);
    key
}

/// Returns the end of the interval of addresses: all of them for the unspecified one.
fn last(host: IpAddr) -> IpAddr {
    match host {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::from([0xff; 4]),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::from([0xff; 16]),
        _ => host,
    }
}

/// Adds: these elements come into their sets, with their owner as comment; an overlap with another refuses all.
pub(crate) fn add(transaction: &mut Transaction, table: &str, owner: &str, elements: &[Element]) {
    for element in elements {
        transaction.message(kind::NEW_ELEMENT, flags::CREATE | flags::EXCL, |m| {
            put_list(m, table, element.set, |m| {
                put_interval(m, element);
                if let Some(data) = &element.data {
                    m.nest(DATA, |m| {
                        m.bytes(VALUE, data);
                    });
                }
                m.bytes(USERDATA, &comment(owner));
            });
        });
    }
}

/// Adds: these elements leave their sets.
pub(crate) fn remove(transaction: &mut Transaction, table: &str, elements: &[&Element]) {
    for element in elements {
        transaction.message(kind::DELETE_ELEMENT, 0, |m| {
            put_list(m, table, element.set, |m| put_interval(m, element))
        });
    }
}

fn put_interval(m: &mut Attributes<'_>, element: &Element) {
    m.nest(KEY, |m| {
        m.bytes(VALUE, &element.key);
    });
    m.nest(KEY_END, |m| {
        m.bytes(VALUE, &element.key_end);
    });
}

fn put_list(m: &mut Attributes<'_>, table: &str, set: &str, body: impl FnOnce(&mut Attributes<'_>)) {
    m.text(LIST_TABLE, table).text(LIST_SET, set);
    m.nest(LIST_ELEMENTS, |m| {
        m.nest(LIST_ELEMENT, body);
    });
}

/// Adds: the fingerprint of the applied plan replaces any other.
pub(crate) fn mark(transaction: &mut Transaction, table: &str, fingerprint: u32) {
    transaction.message(kind::DELETE_ELEMENT, 0, |m| {
        m.text(LIST_TABLE, table).text(LIST_SET, MARKER);
    });
    transaction.message(kind::NEW_ELEMENT, flags::CREATE, |m| put_marker(m, table, fingerprint));
}

/// Adds the question whether the fingerprint is there; it is refused when not. Returns its number.
pub(crate) fn ask_mark(batch: &mut Batch, table: &str, fingerprint: u32) -> u32 {
    put(batch, kind::GET_ELEMENT, 0, |m| put_marker(m, table, fingerprint))
}

fn put_marker(m: &mut Attributes<'_>, table: &str, fingerprint: u32) {
    put_list(m, table, MARKER, |m| {
        m.nest(KEY, |m| {
            m.bytes(VALUE, &fingerprint.to_ne_bytes());
        });
    });
}

/// Adds the question for all elements of a set.
pub(crate) fn ask_all(batch: &mut Batch, table: &str, set: &str) {
    put(batch, kind::GET_ELEMENT, flags::DUMP, |m| {
        m.text(LIST_TABLE, table).text(LIST_SET, set);
    });
}

/// Adds the question who holds the key of `element`; returns its number.
pub(crate) fn ask_holder(batch: &mut Batch, table: &str, element: &Element) -> u32 {
    put(batch, kind::GET_ELEMENT, 0, |m| put_list(m, table, element.set, |m| put_interval(m, element)))
}

/// Reads the claims of one answer; `body` is what follows the netlink header.
pub(crate) fn read_claims(body: &[u8]) -> Vec<PortElement> {
    let list = body.get(4..).and_then(|body| attribute(body, LIST_ELEMENTS)).unwrap_or_default();
    attributes(list).filter_map(|(_, element)| read_claim(element)).collect()
}

/// Reads the elements of one answer about `set`, each with its owner.
pub(crate) fn read_elements(set: &'static str, body: &[u8]) -> Vec<(Element, String)> {
    let list = body.get(4..).and_then(|body| attribute(body, LIST_ELEMENTS)).unwrap_or_default();
    attributes(list).filter_map(|(_, element)| read_element(set, element)).collect()
}

fn read_element(set: &'static str, element: &[u8]) -> Option<(Element, String)> {
    let value = |kind| attribute(element, kind).and_then(|data| attribute(data, VALUE)).map(<[u8]>::to_vec);
    let owner = attribute(element, USERDATA).and_then(read_comment).unwrap_or_default().to_owned();
    Some((Element { set, key: value(KEY)?, key_end: value(KEY_END)?, data: None }, owner))
}

fn read_claim(element: &[u8]) -> Option<PortElement> {
    let value = |kind| attribute(element, kind).and_then(|data| attribute(data, VALUE));
    let (key, end) = (value(KEY)?, value(KEY_END)?);
    let port = |key: &[u8]| {
        Some(u16::from_be_bytes(key.get(key.len().checked_sub(4)?..)?.get(..2)?.try_into().ok()?))
    };
    let protocol = key.len().checked_sub(8)?;
    Some(PortElement {
        owner: attribute(element, USERDATA).and_then(read_comment).unwrap_or_default().to_owned(),
        protocol: Protocol::from_number(key[protocol])?,
        host_ip: address(&key[..protocol])?,
        host_ports: port(key)?..=port(end)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(ip: &str, ports: RangeInclusive<u16>) -> PortElement {
        PortElement {
            owner: String::new(),
            protocol: Protocol::Tcp,
            host_ip: ip.parse().unwrap(),
            host_ports: ports,
        }
    }

    fn published(host_ports: RangeInclusive<u16>, guest_ports: RangeInclusive<u16>) -> PublishedPort {
        PublishedPort {
            protocol: Protocol::Udp,
            host_ip: None,
            host_ports,
            guest_ip4: Some([10, 0, 0, 2].into()),
            guest_ip6: None,
            guest_ports,
            open: false,
        }
    }

    #[test]
    fn claims_overlap_by_address_and_port() {
        let all = claim("0.0.0.0", 80..=90);
        for (other, expected) in [
            (claim("127.0.0.1", 90..=95), true),
            (claim("127.0.0.1", 91..=95), false),
            (claim("::", 80..=90), false),
        ] {
            assert_eq!(all.overlaps(&other), expected, "{other:?}");
            assert_eq!(other.overlaps(&all), expected, "{other:?}");
        }
        assert!(!claim("127.0.0.1", 80..=80).overlaps(&claim("127.0.0.2", 80..=80)));
    }

    #[test]
    fn a_range_that_stays_the_same_is_one_element() {
        let same = elements_of(&published(8000..=8999, 8000..=8999));
        assert_eq!(same.iter().map(|element| element.set).collect::<Vec<_>>(), ["claimed4", "ranges4"]);
        let one = elements_of(&published(8001..=8001, 81..=81));
        assert_eq!(one.len(), 2);
        assert_eq!(one[1].key, [0, 0, 0, 0, 17, 0, 0, 0, 0x1f, 0x41, 0, 0]);
        assert_eq!(one[1].key_end, [255, 255, 255, 255, 17, 0, 0, 0, 0x1f, 0x41, 0, 0]);
        assert_eq!(one[1].data.as_deref(), Some(&[10, 0, 0, 2, 0, 81, 0, 0][..]));
        let moved = elements_of(&published(20000..=39999, 30000..=49999));
        assert_eq!(moved.iter().map(|element| element.set).collect::<Vec<_>>(), ["claimed4", "shifts4"]);
        let open = elements_of(&PublishedPort { open: true, ..published(80..=80, 80..=80) });
        assert_eq!(
            open.iter().map(|element| element.set).collect::<Vec<_>>(),
            ["claimed4", "open4", "ranges4"]
        );
    }

    /// What the kernel does with a port that is in a piece.
    fn count(port: u16, first: u16, last: u16) -> u16 {
        let size = u32::from(last) - u32::from(first) + 1;
        (u32::from(first) + u32::from(port) % size) as u16
    }

    proptest::proptest! {
        #[test]
        fn every_port_of_a_moved_range_has_its_own(start in 1_u16.., length in 1_u16.., to in 1_u16..) {
            let length = length.min(u16::MAX - start).min(u16::MAX - to);
            let ports = start..=start + length;
            let pieces = shifts(&ports, to);
            proptest::prop_assert!(pieces.len() <= 17, "{pieces:?}");
            let mut next = u32::from(start);
            for (piece, first, last) in pieces {
                proptest::prop_assert_eq!(u32::from(*piece.start()), next);
                proptest::prop_assert!(first <= last);
                for port in [*piece.start(), piece.start() / 2 + piece.end() / 2, *piece.end()] {
                    if piece.contains(&port) {
                        proptest::prop_assert_eq!(count(port, first, last), port - start + to);
                    }
                }
                next = u32::from(*piece.end()) + 1;
            }
            proptest::prop_assert_eq!(next, u32::from(start + length) + 1);
        }
    }
}
