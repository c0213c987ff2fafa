//! The gate: how published ports obey the host's own input rules, whoever wrote them and in whatever language.
//!
//! A translated packet is forwarded, and so never sees the rules for what is meant for the host. Hence a new connection
//! to a published port is first not translated: it goes to the host itself, past all chains of its input. If it is still there
//! behind the last one, the host has let it in; a copy of it then goes out by one end of a pair of links and comes in by
//! the other, where it is translated, and the first one is dropped. Only the first packet of a connection goes this way:
//! once the connection is known, connection tracking translates the others at once, wherever they come from.
//!
//! ```text
//!   eth0 ─▶ prerouting ─▶ input chains of the host ─▶ input (10000) marks ─▶ gate (10001) copies, drops
//!                             └ drop, reject: closed                            │
//!                     table-i ◀───────────────────── veth ──────────────── table-o
//!                        └─▶ prerouting: translated ─▶ forward ─▶ container
//! ```
//!
//! The copy is made by nftables' `dup`, which exists for the families `ip` and `ip6` only: each has a table for it, of the
//! same name as ours of the family `inet`.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use rustix::io::Errno;

use super::encode::{self, kind, protocol_of};
use super::plan::gate_links;
use super::{commit, errno};
use crate::bridge::{all_but, bridge_mac, ensure_sysctl, remove_link};
use crate::error::{Attempt, Result};
use crate::netlink::Socket;
use crate::netlink::link::{self, Index};
use crate::netlink::wire::{Batch, attribute, be32_at};

/// Where copies are sent to: an address that nobody has, known to be beyond the link. Source: RFC 6890, the special
/// addresses 192.0.0.0/24, of which this one is not given to any purpose; it never leaves the machine.
const NEXT4: Ipv4Addr = Ipv4Addr::new(192, 0, 0, 11);
const NEXT6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0xb);
/// The far end's own, because a link without an address fails the loose test of the way back. Source: RFC 7600, the dummy
/// address.
const OWN4: Ipv4Addr = Ipv4Addr::new(192, 0, 0, 8);
/// Whatever the host has put together from fragments passes in one piece.
const MTU: u32 = 65_535;

/// Makes sure that the gate of `table` is there; `false` when the kernel cannot copy packets.
pub(super) fn ensure(socket: &Socket, table: &str) -> Result<bool> {
    let (near, far) = gate_links(table);
    let what = || format!("make the gate {near:?}");
    let route = Socket::route().attempt(what)?;
    if let Some(link) = link::get(&route, &near).attempt(what)?
        && link.up
        && is_in_place(socket, table, link.index).attempt(what)?
    {
        return Ok(true);
    }
    let mac = bridge_mac(&far);
    let mut batch = Batch::new();
    link::new_pair(&mut batch, &near, &far, mac, MTU);
    all_but(route.exchange(&batch), &[Errno::EXIST]).attempt(what)?;
    let index = |name: &str| -> io::Result<Index> {
        link::get(&route, name)?.map(|link| link.index).ok_or_else(|| Errno::NODEV.into())
    };
    let near_index = index(&near).attempt(what)?;
    let far_index = index(&far).attempt(what)?;
    configure(&route, [near_index, far_index], mac).attempt(what)?;
    // What comes by the far end has the addresses of others: the way back to them need only exist.
    ensure_sysctl(&format!("net/ipv4/conf/{far}/rp_filter"), "2")?;
    make_tables(socket, table, near_index).attempt(|| format!("make the tables {table:?} of the gate"))
}

fn configure(route: &Socket, [near, far]: [Index; 2], mac: [u8; 6]) -> io::Result<()> {
    let mut batch = Batch::new();
    for link in [near, far] {
        link::set_no_link_local(&mut batch, link);
        link::set_up(&mut batch, link);
    }
    link::new_address(&mut batch, far, OWN4.into(), 32);
    for next in nexts() {
        link::new_link_route(&mut batch, near, next);
        link::new_neighbour(&mut batch, near, next, mac);
    }
    // Without IPv6 there is no such setting.
    all_but(route.exchange(&batch), &[Errno::EXIST, Errno::AFNOSUPPORT, Errno::OPNOTSUPP]).map(drop)
}

/// The families that the kernel has.
fn nexts() -> Vec<IpAddr> {
    let six = Path::new("/proc/sys/net/ipv6/conf").exists().then_some(IpAddr::V6(NEXT6));
    [Some(IpAddr::V4(NEXT4)), six].into_iter().flatten().collect()
}

/// The chain's name tells which link it sends to, so that one of a link that is gone is not taken for it.
fn chain(near: Index) -> String {
    format!("gate-{}", near.0)
}

/// Asks whether each family has its chain with its one rule.
fn is_in_place(socket: &Socket, table: &str, near: Index) -> io::Result<bool> {
    let mut batch = Batch::new();
    let nexts = nexts();
    for next in &nexts {
        encode::put_of(&mut batch, protocol_of(*next), kind::GET_CHAIN, 0, |m| {
            encode::put_chain_name(m, table, &chain(near));
        });
    }
    let answers = all_but(socket.exchange(&batch), &[Errno::NOENT])?;
    let uses = |body: &[u8]| be32_at(attribute(body.get(4..)?, encode::CHAIN_USE)?, 0);
    Ok(answers.objects().filter(|message| uses(message.body) == Some(1)).count() == nexts.len())
}

fn make_tables(socket: &Socket, table: &str, near: Index) -> io::Result<bool> {
    let made = commit(socket, |transaction| {
        for next in nexts() {
            encode::gate_table(transaction, table, &chain(near), next, near.0);
        }
    });
    match made {
        Ok(()) => Ok(true),
        // There is no `dup`, and no module of it.
        Err(error) if matches!(errno(&error), Some(Errno::NOENT | Errno::OPNOTSUPP)) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Takes the gate away; what is missing is fine.
pub(super) fn remove(socket: &Socket, table: &str) -> Result<()> {
    let what = || format!("remove the tables {table:?} of the gate");
    for next in nexts() {
        match commit(socket, |transaction| encode::delete_gate_table(transaction, table, next)) {
            Err(error) if errno(&error) == Some(Errno::NOENT) => {}
            result => result.attempt(what)?,
        }
    }
    remove_link(&gate_links(table).0)
}
