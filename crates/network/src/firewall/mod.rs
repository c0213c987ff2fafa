//! Brig's own table of nftables: translation of published ports, masquerading, isolation. Planned as a value
//! ([`plan`]), applied in one transaction, checked by one question.

mod element;
mod encode;
mod foreign;
pub mod plan;

use std::io;

use rustix::io::Errno;

pub use element::PortElement;
pub use foreign::firewall_warnings;
pub use plan::{Ruleset, plan};

use crate::bridge::{BridgeConfig, all_but, check_name, remove_bridge};
use crate::conntrack;
use crate::error::{Attempt, Error, Result};
use crate::netlink::wire::{Batch, attribute, be32_at};
use crate::netlink::{Socket, errno};
use crate::ports::PublishedPort;
use element::Element;
use encode::Transaction;
use plan::Family;

/// How often a transaction that met another one is tried again.
const RETRIES: usize = 64;

/// What [`ensure_firewall`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FirewallState {
    /// All was in place.
    InPlace,
    /// Rules were missing or others; the published ports are still there.
    Updated,
    /// The table was missing, so no port is published any more: publish those of all running containers again.
    Rebuilt,
}

/// Makes sure that the table `table` holds what these bridges need.
///
/// One question when all is in place. Published ports survive unless the table itself was gone.
pub fn ensure_firewall(table: &str, bridges: &[BridgeConfig]) -> Result<FirewallState> {
    check_table(table)?;
    for bridge in bridges {
        check_name("bridge name", &bridge.name)?;
    }
    let what = || format!("set up the firewall table {table:?}");
    let socket = Socket::netfilter().attempt(what)?;
    let ruleset = plan(table, bridges);
    if is_in_place(&socket, &ruleset).attempt(what)? {
        return Ok(FirewallState::InPlace);
    }
    let existed = table_exists(&socket, table).attempt(what)?;
    match apply(&socket, &ruleset) {
        Ok(()) => Ok(if existed { FirewallState::Updated } else { FirewallState::Rebuilt }),
        // A set or chain of that name has another shape, as an older or newer Brig made it.
        Err(error)
            if existed && matches!(errno(&error), Some(Errno::EXIST | Errno::OPNOTSUPP | Errno::INVAL)) =>
        {
            replace(&socket, &ruleset).attempt(what)?;
            Ok(FirewallState::Rebuilt)
        }
        Err(error) => Err(error).attempt(what),
    }
}

fn apply(socket: &Socket, ruleset: &Ruleset) -> io::Result<()> {
    commit(socket, |transaction| put_ruleset(transaction, ruleset))
}

fn replace(socket: &Socket, ruleset: &Ruleset) -> io::Result<()> {
    commit(socket, |transaction| {
        encode::delete_table(transaction, &ruleset.table);
        put_ruleset(transaction, ruleset);
    })
}

fn put_ruleset(transaction: &mut Transaction, ruleset: &Ruleset) {
    encode::apply(transaction, ruleset);
    element::mark(transaction, &ruleset.table, ruleset.fingerprint());
}

/// Sends one transaction, again when it met another one.
fn commit(socket: &Socket, body: impl Fn(&mut Transaction)) -> io::Result<()> {
    let mut transaction = Transaction::new();
    body(&mut transaction);
    let batch = transaction.finish();
    let mut result = Ok(());
    for _ in 0..RETRIES {
        result = socket.request(&batch).map(drop);
        // ERESTART: the ruleset changed between the kernel's two looks at it.
        match result.as_ref().err().and_then(errno) {
            Some(Errno::AGAIN | Errno::INTR | Errno::BUSY | Errno::RESTART) => std::thread::yield_now(),
            _ => return result,
        }
    }
    result
}

/// Asks for the fingerprint and for the number of rules of each chain, which `nft flush table` would make 0.
fn is_in_place(socket: &Socket, ruleset: &Ruleset) -> io::Result<bool> {
    let mut batch = Batch::new();
    element::ask_mark(&mut batch, &ruleset.table, ruleset.fingerprint());
    let asked: Vec<(u32, u32)> = ruleset
        .chains
        .iter()
        .map(|chain| {
            let ask = |m: &mut crate::netlink::wire::Attributes<'_>| {
                encode::put_chain_name(m, &ruleset.table, chain.name)
            };
            (encode::put(&mut batch, encode::kind::GET_CHAIN, 0, ask), ruleset.uses(chain))
        })
        .collect();
    let answers = socket.exchange(&batch)?;
    if let Some(refusal) = answers.refusals.iter().find(|refusal| refusal.errno != Errno::NOENT) {
        return Err(refusal.clone().into());
    }
    if !answers.refusals.is_empty() {
        return Ok(false);
    }
    let uses = |sequence| {
        let message = answers.objects().find(|message| message.sequence == sequence)?;
        be32_at(attribute(message.body.get(4..)?, encode::CHAIN_USE)?, 0)
    };
    Ok(asked.into_iter().all(|(sequence, expected)| uses(sequence) == Some(expected)))
}

fn table_exists(socket: &Socket, table: &str) -> io::Result<bool> {
    let mut batch = Batch::new();
    element::ask_claims(&mut batch, table, Family::V4);
    let answers = socket.exchange(&batch)?;
    match answers.refusals.first() {
        None => Ok(true),
        Some(refusal) if refusal.errno == Errno::NOENT => Ok(false),
        Some(refusal) => Err(refusal.clone().into()),
    }
}

/// Leads ports of the host to a container, all or none.
///
/// `owner` is the container's id. Ports that `owner` holds already are published anew, so a repetition does no harm.
/// It is not looked whether a process of the host holds a port, see [`crate::port_is_free`].
///
/// # Errors
///
/// [`Error::PortTaken`] with the id of the container that holds one of them; [`Error::Kernel`] with `ENOENT` when the
/// table is missing.
pub fn publish(table: &str, owner: &str, ports: &[PublishedPort]) -> Result<()> {
    check_table(table)?;
    for port in ports {
        port.check()?;
    }
    if ports.is_empty() {
        return Ok(());
    }
    let what = || format!("publish the ports of {owner:?}");
    let socket = Socket::netfilter().attempt(what)?;
    let elements: Vec<Element> = ports.iter().flat_map(element::elements_of).collect();
    match commit(&socket, |transaction| element::add(transaction, table, owner, &elements)) {
        Ok(()) => {}
        Err(error) if matches!(errno(&error), Some(Errno::EXIST | Errno::NOTEMPTY)) => {
            publish_again(&socket, table, owner, ports, &elements)?;
        }
        Err(error) => return Err(error).attempt(what),
    }
    conntrack::forget_udp(&socket, ports).attempt(|| "forget old UDP flows".into())
}

/// Goes on after an overlap: with another's ports it is an error, own ones are replaced.
fn publish_again(
    socket: &Socket,
    table: &str,
    owner: &str,
    ports: &[PublishedPort],
    elements: &[Element],
) -> Result<()> {
    let what = || format!("publish the ports of {owner:?}");
    let wanted: Vec<PortElement> = ports.iter().flat_map(|port| element::claims_of(owner, port)).collect();
    let held = claims(socket, table).attempt(what)?;
    for (claim, holder) in wanted.iter().flat_map(|claim| held.iter().map(move |holder| (claim, holder))) {
        if holder.owner != owner && holder.overlaps(claim) {
            return Err(taken(claim, Some(format!("container {}", holder.owner))));
        }
    }
    for (index, claim) in wanted.iter().enumerate() {
        if wanted[..index].iter().any(|before| before.overlaps(claim)) {
            return Err(taken(claim, Some("the same container".into())));
        }
    }
    withdraw(socket, table, owner, ports).attempt(what)?;
    commit(socket, |transaction| element::add(transaction, table, owner, elements)).attempt(what)
}

fn taken(claim: &PortElement, by: Option<String>) -> Error {
    let ip = Some(claim.host_ip).filter(|ip| !ip.is_unspecified());
    Error::PortTaken { protocol: claim.protocol, ip, port: *claim.host_ports.start(), by }
}

/// Ends what [`publish`] began. Ports that are gone, or that another container holds by now, are left alone.
pub fn unpublish(table: &str, owner: &str, ports: &[PublishedPort]) -> Result<()> {
    check_table(table)?;
    if ports.is_empty() {
        return Ok(());
    }
    let what = || format!("withdraw the ports of {owner:?}");
    let socket = Socket::netfilter().attempt(what)?;
    withdraw(&socket, table, owner, ports).attempt(what)?;
    conntrack::forget_udp(&socket, ports).attempt(|| "forget old UDP flows".into())
}

fn withdraw(socket: &Socket, table: &str, owner: &str, ports: &[PublishedPort]) -> io::Result<()> {
    let elements: Vec<Element> = ports.iter().flat_map(element::elements_of).collect();
    let own = owned(socket, table, owner, &elements)?;
    if own.is_empty() {
        return Ok(());
    }
    match commit(socket, |transaction| element::remove(transaction, table, own.iter().copied())) {
        Err(error) if errno(&error) == Some(Errno::NOENT) => {}
        result => return result,
    }
    // One of them went meanwhile and took the whole transaction with it: one by one.
    for element in own {
        match commit(socket, |transaction| element::remove(transaction, table, [element])) {
            Err(error) if errno(&error) != Some(Errno::NOENT) => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Returns those of `elements` that are there and belong to `owner`.
fn owned<'a>(
    socket: &Socket,
    table: &str,
    owner: &str,
    elements: &'a [Element],
) -> io::Result<Vec<&'a Element>> {
    let mut batch = Batch::new();
    let asked: Vec<(u32, &Element)> =
        elements.iter().map(|element| (element::ask_holder(&mut batch, table, element), element)).collect();
    let answers = all_but(socket.exchange(&batch), &[Errno::NOENT])?;
    let belongs = |sequence: u32| {
        let mut answer = answers.objects().filter(|message| message.sequence == sequence);
        answer.any(|message| element::read_claims(message.body).iter().any(|claim| claim.owner == owner))
    };
    Ok(asked.into_iter().filter(|(sequence, _)| belongs(*sequence)).map(|(_, element)| element).collect())
}

/// Returns all published ports of the table; none when the table is missing.
pub fn list_published(table: &str) -> Result<Vec<PortElement>> {
    check_table(table)?;
    let what = || format!("list the published ports of the table {table:?}");
    let socket = Socket::netfilter().attempt(what)?;
    claims(&socket, table).attempt(what)
}

fn claims(socket: &Socket, table: &str) -> io::Result<Vec<PortElement>> {
    let mut found = Vec::new();
    for family in [Family::V4, Family::V6] {
        let mut batch = Batch::new();
        element::ask_claims(&mut batch, table, family);
        let answers = all_but(socket.exchange(&batch), &[Errno::NOENT])?;
        found.extend(answers.objects().flat_map(|message| element::read_claims(message.body)));
    }
    Ok(found)
}

/// Removes the table `table` and what Brig put into chains of others for these bridges; what is missing is fine.
pub fn teardown_firewall(table: &str) -> Result<()> {
    check_table(table)?;
    let what = || format!("remove the firewall table {table:?}");
    let socket = Socket::netfilter().attempt(what)?;
    match commit(&socket, |transaction| encode::delete_table(transaction, table)) {
        Err(error) if errno(&error) == Some(Errno::NOENT) => Ok(()),
        result => result.attempt(what),
    }
}

/// Removes the table and the bridges; goes on after an error and returns all of them.
pub fn teardown_all(table: &str, bridges: &[&str]) -> Vec<Error> {
    let firewall = teardown_firewall(table).err();
    firewall.into_iter().chain(bridges.iter().filter_map(|bridge| remove_bridge(bridge).err())).collect()
}

/// Checks the name of a table: letters, digits, `-` and `_`, so that `nft` can show it.
fn check_table(table: &str) -> Result<()> {
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let valid = (1..=64).contains(&table.len())
        && table.bytes().all(fine)
        && table.as_bytes()[0].is_ascii_alphabetic();
    let wanted = "1 to 64 letters, digits and any of -_, a letter first";
    if valid {
        Ok(())
    } else {
        Err(Error::Invalid { field: "firewall table", value: table.to_owned(), wanted })
    }
}
