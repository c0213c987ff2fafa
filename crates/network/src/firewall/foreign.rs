//! What others' rules do to our packets: a chain on the way through that drops what nobody accepted cuts containers
//! off, whatever our own table says.

use crate::error::{Attempt, Result};
use crate::netlink::Socket;
use crate::netlink::wire::{Batch, attribute, be32_at, text};

use super::element::ask_chains;

const CHAIN_TABLE: u16 = 1;
const CHAIN_NAME: u16 = 3;
const CHAIN_HOOK: u16 = 4;
const CHAIN_POLICY: u16 = 5;
const HOOK_NUMBER: u16 = 1;
const HOOK_FORWARD: u32 = 2;
const POLICY_DROP: u32 = 0;

/// A chain of another that drops forwarded packets by policy.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Dropping {
    family: &'static str,
    table: String,
    chain: String,
}

/// Returns what keeps packets from or to containers although Brig's own table lets them pass; empty when nothing does.
pub fn firewall_warnings(table: &str, bridges: &[&str]) -> Result<Vec<String>> {
    let what = || "read the host's firewall".to_owned();
    let socket = Socket::netfilter().attempt(what)?;
    let mut batch = Batch::new();
    ask_chains(&mut batch);
    let answers = socket.request(&batch).attempt(what)?;
    let dropping = answers
        .objects()
        .filter_map(|message| read_dropping(message.body))
        .filter(|chain| chain.table != table);
    Ok(dropping.map(|chain| render(&chain, bridges)).collect())
}

fn read_dropping(body: &[u8]) -> Option<Dropping> {
    let family = match body.first()? {
        1 => "inet",
        2 => "ip",
        10 => "ip6",
        _ => return None,
    };
    let attributes = body.get(4..)?;
    let hook = be32_at(attribute(attribute(attributes, CHAIN_HOOK)?, HOOK_NUMBER)?, 0)?;
    let policy = be32_at(attribute(attributes, CHAIN_POLICY)?, 0)?;
    let name = |kind| attribute(attributes, kind).map(|name| text(name).to_owned());
    let dropping = hook == HOOK_FORWARD && policy == POLICY_DROP;
    if dropping {
        Some(Dropping { family, table: name(CHAIN_TABLE)?, chain: name(CHAIN_NAME)? })
    } else {
        None
    }
}

fn render(chain: &Dropping, bridges: &[&str]) -> String {
    let Dropping { family, table, chain } = chain;
    format!(
        "the firewall chain {family} {table} {chain} drops forwarded packets by policy; containers on {} may be cut off",
        bridges.join(", ")
    )
}
