//! Brig's own table of nftables: translation of published ports, masquerading, isolation. Planned as a value
//! ([`plan()`]), applied in one transaction, checked by one question.

mod element;
mod encode;
mod foreign;
mod gate;
pub mod plan;
mod redirect;

use std::io;
use std::net::Ipv6Addr;

use rustix::io::Errno;

pub use element::PortElement;
pub use plan::{Host, Ruleset, plan};
pub use redirect::redirect_names;

use crate::bridge::{BridgeConfig, all_but, check_name, read_sysctl, remove_bridge};
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

/// What [`Firewall::ensure`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FirewallState {
    /// All was in place.
    InPlace,
    /// Rules were missing or others; the published ports are still there.
    Updated,
    /// The table was missing, so no port is published any more: publish those of all running containers again.
    Rebuilt,
}

/// One table of Brig's and the socket by which it is changed.
///
/// When elements were removed (by [`Firewall::withdraw`], [`Firewall::teardown`]), the kernel makes the closing of any
/// nftables socket wait until nobody can see them any more, some 15 ms. A caller with several containers to clean up
/// keeps one `Firewall` for all of them and so waits once.
#[derive(Debug)]
pub struct Firewall {
    socket: Socket,
    table: String,
}

impl Firewall {
    /// Opens a socket for the table `table`, which need not exist.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for a name that `nft` could not show.
    pub fn open(table: &str) -> Result<Self> {
        check_table(table)?;
        let socket = Socket::netfilter().attempt(|| format!("open the firewall table {table:?}"))?;
        Ok(Self { socket, table: table.to_owned() })
    }

    /// Tells whether the table holds what exactly these bridges need; then [`Firewall::ensure`] has nothing to do for them.
    /// One question.
    pub fn is_ready(&self, bridges: &[BridgeConfig]) -> Result<bool> {
        let what = || format!("look at the firewall table {:?}", self.table);
        if !is_in_place(&self.socket, &plan(&self.table, bridges, host())).attempt(what)? {
            return Ok(false);
        }
        self.pass_docker(bridges)?;
        Ok(true)
    }

    /// Makes sure that the table holds what these bridges need, and that Docker's chain for rules of others lets their
    /// packets pass where there is one.
    ///
    /// One question when all is in place. Published ports survive unless the table itself was gone.
    pub fn ensure(&self, bridges: &[BridgeConfig]) -> Result<FirewallState> {
        for bridge in bridges {
            check_name("bridge name", &bridge.name)?;
        }
        let what = || format!("set up the firewall table {:?}", self.table);
        let ruleset = plan(&self.table, bridges, host());
        let state = if is_in_place(&self.socket, &ruleset).attempt(what)? {
            FirewallState::InPlace
        } else {
            self.bring_to(&ruleset).attempt(what)?
        };
        self.pass_docker(bridges)?;
        Ok(state)
    }

    /// Lets the packets of these bridges pass Docker's chain for rules of others where there is one.
    fn pass_docker(&self, bridges: &[BridgeConfig]) -> Result<()> {
        let names: Vec<&str> = bridges.iter().map(|bridge| bridge.name.as_str()).collect();
        let what = || "let packets of containers pass Docker's chain DOCKER-USER".to_owned();
        foreign::ensure_user_rules(&self.socket, &self.table, &names).attempt(what)
    }

    fn bring_to(&self, ruleset: &Ruleset) -> io::Result<FirewallState> {
        let existed = holds_claims(&self.socket, &self.table)?;
        match apply(&self.socket, ruleset) {
            Ok(()) if existed => Ok(FirewallState::Updated),
            Ok(()) => Ok(FirewallState::Rebuilt),
            // A set or chain of that name has another shape, as an older or newer Brig made it.
            Err(error)
                if matches!(errno(&error), Some(Errno::EXIST | Errno::OPNOTSUPP | Errno::INVAL))
                    && existed =>
            {
                replace(&self.socket, ruleset)?;
                Ok(FirewallState::Rebuilt)
            }
            Err(error) => Err(error),
        }
    }

    /// Makes sure that connections to published ports can be put before the host's own input rules, as [`Firewall::publish`]
    /// wants it for those that are not [`PublishedPort::open`]; `false` when the kernel lacks what it needs (`nft_dup_ipv4`,
    /// `nft_dup_ipv6`): then only open ports can be reached from outside.
    ///
    /// Two questions when all is in place.
    pub fn ensure_gate(&self) -> Result<bool> {
        gate::ensure(&self.socket, &self.table)
    }

    /// Leads ports of the host to a container, all or none.
    ///
    /// `owner` is the container's id. Ports that `owner` holds already are published anew, so a repetition does no harm.
    /// It is not looked whether a process of the host holds a port, see [`crate::port_is_free`].
    ///
    /// The ports answer on the host's addresses from everywhere, on 127.0.0.0/8 from the host itself, and on `[::1]` from
    /// the host itself unless br_netfilter filters bridged IPv6 packets (see [`Host::filters_bridged_ipv6`]).
    ///
    /// # Errors
    ///
    /// [`Error::PortTaken`] with the id of the container that holds one of them; [`Error::Unsupported`] for `[::1]`
    /// where it cannot work; [`Error::Kernel`] with `ENOENT` when the table is missing.
    pub fn publish(&self, owner: &str, ports: &[PublishedPort]) -> Result<()> {
        for port in ports {
            port.check()?;
            check_loopback6(port)?;
        }
        if ports.is_empty() {
            return Ok(());
        }
        let what = || format!("publish the ports of {owner:?}");
        let elements: Vec<Element> = ports.iter().flat_map(element::elements_of).collect();
        match commit(&self.socket, |transaction| element::add(transaction, &self.table, owner, &elements)) {
            Ok(()) => {}
            Err(error) if matches!(errno(&error), Some(Errno::EXIST | Errno::NOTEMPTY)) => {
                self.publish_again(owner, ports, &elements)?;
            }
            Err(error) => return Err(error).attempt(what),
        }
        conntrack::forget_udp(&self.socket, ports).attempt(|| "forget old UDP flows".into())
    }

    /// Goes on after an overlap: with another's ports it is an error, own ones are replaced.
    fn publish_again(&self, owner: &str, ports: &[PublishedPort], elements: &[Element]) -> Result<()> {
        let what = || format!("publish the ports of {owner:?}");
        let wanted: Vec<PortElement> =
            ports.iter().flat_map(|port| element::claims_of(owner, port)).collect();
        let held = claims(&self.socket, &self.table).attempt(what)?;
        if let Some(error) = conflict(owner, &wanted, &held) {
            return Err(error);
        }
        let what = || format!("publish the ports of {owner:?} anew");
        self.remove_own(owner, ports).attempt(what)?;
        commit(&self.socket, |transaction| element::add(transaction, &self.table, owner, elements))
            .attempt(what)
    }

    /// Ends what [`Firewall::publish`] began. Ports that are gone, or that another container holds by now, are left alone.
    pub fn withdraw(&self, owner: &str, ports: &[PublishedPort]) -> Result<()> {
        if ports.is_empty() {
            return Ok(());
        }
        self.remove_own(owner, ports).attempt(|| format!("withdraw the ports of {owner:?}"))?;
        conntrack::forget_udp(&self.socket, ports).attempt(|| "forget old UDP flows".into())
    }

    fn remove_own(&self, owner: &str, ports: &[PublishedPort]) -> io::Result<()> {
        let elements: Vec<Element> = ports.iter().flat_map(element::elements_of).collect();
        let own = owned(&self.socket, &self.table, owner, &elements)?;
        self.remove(&own)
    }

    /// Removes elements; those that are gone already are as good.
    fn remove(&self, elements: &[&Element]) -> io::Result<()> {
        let remove = |some: &[&Element]| match some {
            [] => Ok(()),
            some => commit(&self.socket, |transaction| element::remove(transaction, &self.table, some)),
        };
        match remove(elements) {
            Err(error) if errno(&error) == Some(Errno::NOENT) => {}
            result => return result,
        }
        // One of them went meanwhile and took the whole transaction with it: one by one.
        for element in elements {
            match remove(&[element]) {
                Err(error) if errno(&error) != Some(Errno::NOENT) => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Withdraws every port whose owner `keep` does not want, and returns how many elements that were: what a store that
    /// is no more, or a command that was killed, has left behind.
    pub fn withdraw_unless(&self, keep: impl Fn(&str) -> bool) -> Result<usize> {
        let what = || format!("withdraw abandoned ports of the table {:?}", self.table);
        let mut abandoned = Vec::new();
        for set in [Family::V4, Family::V6].into_iter().flat_map(plan::sets_of) {
            let mut batch = Batch::new();
            element::ask_all(&mut batch, &self.table, set);
            let answers = all_but(self.socket.exchange(&batch), &[Errno::NOENT]).attempt(what)?;
            let elements = answers.objects().flat_map(|message| element::read_elements(set, message.body));
            abandoned.extend(elements.filter(|(_, owner)| !keep(owner)).map(|(element, _)| element));
        }
        let elements: Vec<&Element> = abandoned.iter().collect();
        self.remove(&elements).attempt(what)?;
        Ok(elements.len())
    }

    /// Returns all published ports; none when the table is missing.
    pub fn list_published(&self) -> Result<Vec<PortElement>> {
        claims(&self.socket, &self.table)
            .attempt(|| format!("list the published ports of the table {:?}", self.table))
    }

    /// Returns what keeps packets from or to the containers of `bridges` although this table lets them pass, one
    /// sentence each, with what to run against it; empty when nothing does.
    ///
    /// It looks at the chains of nftables (those of iptables-nft included) that drop by policy or by a
    /// rule for all, and at those of the older iptables that drop by policy.
    pub fn warnings(&self, bridges: &[&str]) -> Result<Vec<String>> {
        foreign::warnings(&self.socket, &self.table, bridges).attempt(|| "read the host's firewall".into())
    }

    /// Names the chains of others that refuse some of what is meant for the host: they decide who reaches published ports that
    /// are not open.
    pub fn judges_of_input(&self) -> Result<Vec<String>> {
        foreign::judges_of_input(&self.socket, &self.table).attempt(|| "read the host's firewall".into())
    }

    /// Removes the table and what Brig put into Docker's chain for it; what is missing is fine.
    pub fn teardown(&self) -> Result<()> {
        let what = || format!("remove the firewall table {:?}", self.table);
        foreign::remove_user_rules(&self.socket, &self.table).attempt(what)?;
        gate::remove(&self.socket, &self.table)?;
        match commit(&self.socket, |transaction| encode::delete_table(transaction, &self.table)) {
            Err(error) if errno(&error) == Some(Errno::NOENT) => Ok(()),
            result => result.attempt(what),
        }
    }
}

/// [`Firewall::ensure`] for a caller that does nothing else with the table.
pub fn ensure_firewall(table: &str, bridges: &[BridgeConfig]) -> Result<FirewallState> {
    Firewall::open(table)?.ensure(bridges)
}

/// [`Firewall::publish`] for a caller that does nothing else with the table.
pub fn publish(table: &str, owner: &str, ports: &[PublishedPort]) -> Result<()> {
    if ports.is_empty() { Ok(()) } else { Firewall::open(table)?.publish(owner, ports) }
}

/// [`Firewall::withdraw`] for a caller that does nothing else with the table; it waits, see [`Firewall`].
pub fn unpublish(table: &str, owner: &str, ports: &[PublishedPort]) -> Result<()> {
    if ports.is_empty() { Ok(()) } else { Firewall::open(table)?.withdraw(owner, ports) }
}

/// [`Firewall::list_published`] for a caller that does nothing else with the table.
pub fn list_published(table: &str) -> Result<Vec<PortElement>> {
    Firewall::open(table)?.list_published()
}

/// [`Firewall::warnings`] for a caller that does nothing else with the table.
pub fn firewall_warnings(table: &str, bridges: &[&str]) -> Result<Vec<String>> {
    Firewall::open(table)?.warnings(bridges)
}

/// [`Firewall::teardown`] for a caller that does nothing else with the table.
pub fn teardown_firewall(table: &str) -> Result<()> {
    Firewall::open(table)?.teardown()
}

/// Removes the table and the bridges; goes on after an error and returns all of them.
pub fn teardown_all(table: &str, bridges: &[&str]) -> Vec<Error> {
    let firewall = teardown_firewall(table).err();
    firewall.into_iter().chain(bridges.iter().filter_map(|bridge| remove_bridge(bridge).err())).collect()
}

/// Asks the host what the plan must know.
fn host() -> Host {
    // Without br_netfilter there is no such setting.
    Host {
        filters_bridged_ipv6: read_sysctl("net/bridge/bridge-nf-call-ip6tables")
            .is_ok_and(|value| value != "0"),
    }
}

/// Refuses `[::1]` where its answers would be lost.
fn check_loopback6(port: &PublishedPort) -> Result<()> {
    if port.host_ip != Some(Ipv6Addr::LOCALHOST.into()) || !host().filters_bridged_ipv6 {
        return Ok(());
    }
    Err(Error::Unsupported {
        attempt: format!("publish port [::1]:{}/{}", port.host_ports.start(), port.protocol),
        why: "br_netfilter makes answers to ::1 impossible; publish on 127.0.0.1, or set net.bridge.bridge-nf-call-ip6tables to 0",
    })
}

/// Finds the port that cannot be had: another holds it, or it was asked for twice.
fn conflict(owner: &str, wanted: &[PortElement], held: &[PortElement]) -> Option<Error> {
    for (index, claim) in wanted.iter().enumerate() {
        let other = held.iter().find(|holder| holder.owner != owner && holder.overlaps(claim));
        if let Some(holder) = other {
            return Some(taken(claim, format!("container {}", holder.owner)));
        }
        if wanted[..index].iter().any(|before| before.overlaps(claim)) {
            return Some(taken(claim, "the same container".into()));
        }
    }
    None
}

fn taken(claim: &PortElement, by: String) -> Error {
    let ip = Some(claim.host_ip).filter(|ip| !ip.is_unspecified());
    Error::PortTaken { protocol: claim.protocol, ip, port: *claim.host_ports.start(), by: Some(by) }
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

/// Tells whether the table has the set of claims, and with it what was published.
fn holds_claims(socket: &Socket, table: &str) -> io::Result<bool> {
    let mut batch = Batch::new();
    element::ask_all(&mut batch, table, plan::claims(Family::V4));
    let answers = socket.exchange(&batch)?;
    match answers.refusals.first() {
        None => Ok(true),
        Some(refusal) if refusal.errno == Errno::NOENT => Ok(false),
        Some(refusal) => Err(refusal.clone().into()),
    }
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

fn claims(socket: &Socket, table: &str) -> io::Result<Vec<PortElement>> {
    let mut found = Vec::new();
    for family in [Family::V4, Family::V6] {
        let mut batch = Batch::new();
        element::ask_all(&mut batch, table, plan::claims(family));
        let answers = all_but(socket.exchange(&batch), &[Errno::NOENT])?;
        found.extend(answers.objects().flat_map(|message| element::read_claims(message.body)));
    }
    Ok(found)
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
