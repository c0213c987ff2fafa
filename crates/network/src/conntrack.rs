//! Forgetting connections: UDP has no end that the kernel sees, so a client that keeps sending would stay with the old
//! container (or with none) after its port is published anew.
//!
//! Source of the numbers: the kernel's `linux/netfilter/nfnetlink_conntrack.h`.

use std::io;
use std::ops::RangeInclusive;

use rustix::io::Errno;

use crate::netlink::wire::{Batch, attribute, flags};
use crate::netlink::{Socket, errno};
use crate::ports::{Protocol, PublishedPort};

const GET: u16 = 0x101;
const DELETE: u16 = 0x102;
const CTA_TUPLE_ORIG: u16 = 1;
const CTA_ZONE: u16 = 18;
const CTA_TUPLE_PROTO: u16 = 2;
const CTA_PROTO_NUM: u16 = 1;
const CTA_PROTO_DST_PORT: u16 = 3;
const AF_UNSPEC: u8 = 0;

/// Forgets the tracked UDP flows to the host's ports of `ports`.
pub(crate) fn forget_udp(socket: &Socket, ports: &[PublishedPort]) -> io::Result<()> {
    let udp = ports.iter().filter(|port| port.protocol == Protocol::Udp);
    let ranges: Vec<RangeInclusive<u16>> = udp.map(|port| port.host_ports.clone()).collect();
    if ranges.is_empty() {
        return Ok(());
    }
    let mut dump = Batch::new();
    dump.message(GET, flags::DUMP, &[AF_UNSPEC, 0, 0, 0], |_| {});
    let answers = socket.request(&dump)?;
    for message in answers.objects() {
        let Some(flow) =
            udp_flow(message.body).filter(|flow| ranges.iter().any(|range| range.contains(&flow.port)))
        else {
            continue;
        };
        let mut delete = Batch::new();
        delete.message(DELETE, flags::ACK, &[flow.family, 0, 0, 0], |m| {
            m.nest(CTA_TUPLE_ORIG, |m| m.raw(flow.tuple));
            if let Some(zone) = flow.zone {
                m.bytes(CTA_ZONE, zone);
            }
        });
        match socket.request(&delete) {
            Err(error) if errno(&error) != Some(Errno::NOENT) => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

struct Flow<'a> {
    family: u8,
    /// The attributes of the original direction, given back as they came.
    tuple: &'a [u8],
    zone: Option<&'a [u8]>,
    port: u16,
}

/// Reads a flow when it is UDP.
fn udp_flow(body: &[u8]) -> Option<Flow<'_>> {
    let attributes = body.get(4..)?;
    let tuple = attribute(attributes, CTA_TUPLE_ORIG)?;
    let protocol = attribute(tuple, CTA_TUPLE_PROTO)?;
    if attribute(protocol, CTA_PROTO_NUM)? != [Protocol::Udp.number()] {
        return None;
    }
    let port = u16::from_be_bytes(attribute(protocol, CTA_PROTO_DST_PORT)?.try_into().ok()?);
    Some(Flow { family: *body.first()?, tuple, zone: attribute(attributes, CTA_ZONE), port })
}
