//! Names inside a container: what is sent to 127.0.0.11, port 53, reaches whoever listens there at another port, so that
//! port 53 stays free for the container's own programs.
//!
//! The packets are rewritten without connection tracking, which would cost every packet of the container. Questions change behind
//! where a tracker of the container's own would look, answers before it: such a one sees port 53 both ways.

use std::net::Ipv4Addr;
use std::os::fd::BorrowedFd;

use super::commit;
use super::encode::{self, Asked};
use crate::error::{Attempt, Result};
use crate::netlink::Socket;

/// The table inside a container.
const TABLE: &str = "brig-names";
/// Where names are asked.
const PORT: u16 = 53;
/// `NF_IP_PRI_RAW`, before connection tracking, and `NF_IP_PRI_MANGLE`, behind it.
const BEFORE: i32 = -300;
const BEHIND: i32 = -150;

/// Leads port 53 of `server`, an address of the loopback, to `port` in the network namespace `netns`. Calling it again
/// replaces what was.
pub fn redirect_names(netns: BorrowedFd<'_>, server: Ipv4Addr, port: u16) -> Result<()> {
    let what = || "lead questions for names to their port".to_owned();
    let socket = sys::netns::inside_apart(netns, Socket::netfilter).attempt(what)?.attempt(what)?;
    let asked = Asked { destination: true, address: server, from: PORT, to: port };
    let answered = Asked { destination: false, address: server, from: port, to: PORT };
    commit(&socket, |transaction| {
        encode::begin_table(transaction, 2, TABLE);
        encode::rewrite_chain(transaction, TABLE, "questions", BEHIND, &asked);
        encode::rewrite_chain(transaction, TABLE, "answers", BEFORE, &answered);
    })
    .attempt(what)
}
