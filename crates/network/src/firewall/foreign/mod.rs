//! What others' rules do to our packets: a chain on the way through that drops what nobody accepted cuts containers
//! off, whatever our own table says.
//!
//! Docker is the usual one. It drops by policy and offers a chain for rules of others, `DOCKER-USER`; there Brig puts
//! its own, tagged with the name of its table, and takes them out again. In no other chain of others it writes: for
//! those it says what to run.

mod legacy;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io;

use rustix::io::Errno;

use super::commit;
use super::encode::{self, Transaction, comment, expression, kind, put_verdict, read_comment};
use crate::netlink::wire::{Attributes, Batch, attribute, attributes, be32_at, flags, text};
use crate::netlink::{Answers, Socket};

const CHAIN_TABLE: u16 = 1;
const CHAIN_NAME: u16 = 3;
const CHAIN_HOOK: u16 = 4;
const CHAIN_POLICY: u16 = 5;
const HOOK_NUMBER: u16 = 1;
const HOOK_INPUT: u32 = 1;
const HOOK_FORWARD: u32 = 2;
const POLICY_DROP: u32 = 0;
const RULE_TABLE: u16 = 1;
const RULE_CHAIN: u16 = 2;
const RULE_HANDLE: u16 = 3;
const RULE_EXPRESSIONS: u16 = 4;
const RULE_USERDATA: u16 = 7;
const EXPRESSION_NAME: u16 = 1;
const EXPRESSION_DATA: u16 = 2;
const META_IN_NAME: u32 = 6;
const META_OUT_NAME: u32 = 7;
const DROP: u32 = 0;
const ACCEPT: u32 = 1;
/// `NFT_RETURN`.
const RETURN: u32 = (-5_i32) as u32;

const USER_TABLE: &str = "filter";
const USER_CHAIN: &str = "DOCKER-USER";
/// `NFPROTO_IPV4` and `NFPROTO_IPV6`.
const USER_FAMILIES: [u8; 2] = [2, 10];

/// One of our rules in a chain for users.
#[derive(Debug, Clone, PartialEq, Eq)]
struct UserRule {
    /// The link by which the packet comes.
    from: Option<Pattern>,
    /// The link by which it leaves.
    to: Option<Pattern>,
    verdict: u32,
}

/// A link by its name, or all that begin with it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Pattern {
    Name(String),
    Prefix(&'static str),
}

/// Decides what the chain for users holds for these bridges. What goes to a network of Docker's, Docker judges as if we
/// had said nothing; what goes to ours, our own table judges besides.
fn user_rules(bridges: &[&str]) -> Vec<UserRule> {
    let of = |bridge: &&str| {
        let name = || Some(Pattern::Name((*bridge).to_owned()));
        let docker0 = Some(Pattern::Name("docker0".into()));
        [
            UserRule { from: None, to: name(), verdict: ACCEPT },
            UserRule { from: name(), to: docker0, verdict: RETURN },
            UserRule { from: name(), to: Some(Pattern::Prefix("br-")), verdict: RETURN },
            UserRule { from: name(), to: None, verdict: ACCEPT },
        ]
    };
    bridges.iter().flat_map(of).collect()
}

/// Returns the comment of our rules: the table that they belong to, and a fingerprint.
fn tag(table: &str, bridges: &[&str]) -> String {
    format!("{table} {:08x}", crate::ipam::fnv1a(format!("{:?}", user_rules(bridges)).as_bytes()) as u32)
}

/// Makes sure that the chains for users, where there are any, let the packets of these bridges pass.
pub(super) fn ensure_user_rules(socket: &Socket, table: &str, bridges: &[&str]) -> io::Result<()> {
    let tag = tag(table, bridges);
    let wanted = user_rules(bridges);
    for family in present(socket)? {
        let ours = tagged(socket, family, table)?;
        if ours.len() == wanted.len() && ours.iter().all(|(_, found)| *found == tag) {
            continue;
        }
        commit(socket, |transaction| {
            delete_rules(transaction, family, &ours);
            // Each goes to the top, so the last one first.
            for rule in wanted.iter().rev() {
                put_rule(transaction, family, rule, &tag);
            }
        })?;
    }
    Ok(())
}

/// Takes our rules out of the chains for users.
pub(super) fn remove_user_rules(socket: &Socket, table: &str) -> io::Result<()> {
    for family in present(socket)? {
        let ours = tagged(socket, family, table)?;
        if !ours.is_empty() {
            commit(socket, |transaction| delete_rules(transaction, family, &ours))?;
        }
    }
    Ok(())
}

/// Returns the families that have a chain for users.
fn present(socket: &Socket) -> io::Result<Vec<u8>> {
    let mut batch = Batch::new();
    let ask = |m: &mut Attributes<'_>| encode::put_chain_name(m, USER_TABLE, USER_CHAIN);
    let asked =
        USER_FAMILIES.map(|family| (encode::put_of(&mut batch, family, kind::GET_CHAIN, 0, ask), family));
    let answers = crate::bridge::all_but(socket.exchange(&batch), &[Errno::NOENT])?;
    let found = |sequence| answers.objects().any(|message| message.sequence == sequence);
    Ok(asked.into_iter().filter(|(sequence, _)| found(*sequence)).map(|(_, family)| family).collect())
}

/// Returns our rules in a chain for users: handle and comment.
fn tagged(socket: &Socket, family: u8, table: &str) -> io::Result<Vec<(Vec<u8>, String)>> {
    let answers = rules_of(socket, family, USER_TABLE, USER_CHAIN)?;
    let read = |body: &[u8]| {
        let attributes = body.get(4..)?;
        let comment = attribute(attributes, RULE_USERDATA).and_then(read_comment)?;
        let ours = comment.split_once(' ').is_some_and(|(owner, _)| owner == table);
        ours.then(|| Some((attribute(attributes, RULE_HANDLE)?.to_vec(), comment.to_owned())))?
    };
    Ok(answers.objects().filter_map(|message| read(message.body)).collect())
}

fn rules_of(socket: &Socket, family: u8, table: &str, chain: &str) -> io::Result<Answers> {
    let mut batch = Batch::new();
    encode::put_of(&mut batch, family, kind::GET_RULE, flags::DUMP, |m| {
        m.text(RULE_TABLE, table).text(RULE_CHAIN, chain);
    });
    crate::bridge::all_but(socket.exchange(&batch), &[Errno::NOENT])
}

fn delete_rules(transaction: &mut Transaction, family: u8, rules: &[(Vec<u8>, String)]) {
    for (handle, _) in rules {
        transaction.message_of(family, kind::DELETE_RULE, 0, |m| {
            m.text(RULE_TABLE, USER_TABLE).text(RULE_CHAIN, USER_CHAIN).bytes(RULE_HANDLE, handle);
        });
    }
}

/// Inserts a rule in just the form that iptables writes, so that it can read the chain.
fn put_rule(transaction: &mut Transaction, family: u8, rule: &UserRule, tag: &str) {
    transaction.message_of(family, kind::NEW_RULE, flags::CREATE, |m| {
        m.text(RULE_TABLE, USER_TABLE).text(RULE_CHAIN, USER_CHAIN);
        m.nest(RULE_EXPRESSIONS, |m| {
            for (key, pattern) in [(META_IN_NAME, &rule.from), (META_OUT_NAME, &rule.to)] {
                match pattern {
                    Some(Pattern::Name(name)) => {
                        encode::put_link_name(m, key, &[name.as_bytes(), &[0]].concat())
                    }
                    Some(Pattern::Prefix(prefix)) => encode::put_link_name(m, key, prefix.as_bytes()),
                    None => {}
                }
            }
            expression(m, "counter", |m| {
                m.bytes(1, &[0; 8]).bytes(2, &[0; 8]);
            });
            put_verdict(m, rule.verdict, None);
        });
        m.bytes(RULE_USERDATA, &comment(tag));
    });
}

/// A chain of another that drops or rejects forwarded packets that none of its rules accepts.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Dropping {
    family: u8,
    table: String,
    chain: String,
    /// Whether the older iptables holds it.
    legacy: bool,
}

/// What a rule of another does, as far as it concerns us.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Foreign {
    from: Option<String>,
    to: Option<String>,
    /// Whether more is asked than the two links.
    conditional: bool,
    accepts: bool,
    /// Whether it drops or rejects.
    refuses: bool,
    goes_to: Option<String>,
}

/// Returns what keeps packets from or to the containers of `bridges` although the table `table` lets them pass, with
/// what to run against it; empty when nothing does.
pub(super) fn warnings(socket: &Socket, table: &str, bridges: &[&str]) -> io::Result<Vec<String>> {
    let mut batch = Batch::new();
    encode::put_dump(&mut batch, kind::GET_CHAIN, |_| {});
    let answers = socket.request(&batch)?;
    let mut found = legacy::dropping(HOOK_FORWARD as usize, "FORWARD")?;
    for (chain, drops) in answers.objects().filter_map(|message| read_base(HOOK_FORWARD, message.body)) {
        if chain.table == table {
            continue;
        }
        let rules = reachable(socket, &chain)?;
        if drops || rules.own.iter().any(Foreign::refuses_all) {
            found.push((chain, rules.all()));
        }
    }
    let cut = |(chain, rules): &(Dropping, Vec<Foreign>)| {
        let bridges = bridges.iter().filter(|bridge| !lets_pass(rules, bridge));
        bridges.map(|bridge| render(chain, bridge)).collect::<Vec<_>>()
    };
    Ok(found.iter().flat_map(cut).collect())
}

/// Names the chains of others that refuse some of what is meant for the host, such as `inet filter input`.
pub(super) fn judges_of_input(socket: &Socket, table: &str) -> io::Result<Vec<String>> {
    let mut batch = Batch::new();
    encode::put_dump(&mut batch, kind::GET_CHAIN, |_| {});
    let answers = socket.request(&batch)?;
    let mut found: Vec<Dropping> =
        legacy::dropping(HOOK_INPUT as usize, "INPUT")?.into_iter().map(|(chain, _)| chain).collect();
    for (chain, drops) in answers.objects().filter_map(|message| read_base(HOOK_INPUT, message.body)) {
        if chain.table != table && (drops || reachable(socket, &chain)?.all().iter().any(|rule| rule.refuses))
        {
            found.push(chain);
        }
    }
    let name = |chain: Dropping| {
        let word = family_word(chain.family).unwrap_or_default();
        format!("{word} {} {}", chain.table, chain.chain)
    };
    Ok(found.into_iter().map(name).collect())
}

/// Reads a chain of a hook, and whether its policy is to drop.
fn read_base(wanted: u32, body: &[u8]) -> Option<(Dropping, bool)> {
    let attributes = body.get(4..)?;
    let hook = be32_at(attribute(attribute(attributes, CHAIN_HOOK)?, HOOK_NUMBER)?, 0)?;
    let policy = be32_at(attribute(attributes, CHAIN_POLICY)?, 0)?;
    let name = |kind| attribute(attributes, kind).map(|name| text(name).to_owned());
    let family = *body.first()?;
    if family_word(family).is_none() || hook != wanted {
        return None;
    }
    let chain = Dropping { family, table: name(CHAIN_TABLE)?, chain: name(CHAIN_NAME)?, legacy: false };
    Some((chain, policy == POLICY_DROP))
}

fn family_word(family: u8) -> Option<&'static str> {
    match family {
        1 => Some("inet"),
        2 => Some("ip"),
        10 => Some("ip6"),
        _ => None,
    }
}

/// The rules of a chain and of all chains that it leads to.
struct Reachable {
    own: Vec<Foreign>,
    others: Vec<Foreign>,
}

impl Reachable {
    fn all(self) -> Vec<Foreign> {
        self.own.into_iter().chain(self.others).collect()
    }
}

fn reachable(socket: &Socket, chain: &Dropping) -> io::Result<Reachable> {
    let read = |name: &str| -> io::Result<Vec<Foreign>> {
        let answers = rules_of(socket, chain.family, &chain.table, name)?;
        Ok(answers.objects().filter_map(|message| read_foreign(message.body)).collect())
    };
    let own = read(&chain.chain)?;
    let mut others: BTreeMap<String, Vec<Foreign>> = BTreeMap::new();
    let mut open: Vec<String> = own.iter().filter_map(|rule| rule.goes_to.clone()).collect();
    while let Some(name) = open.pop() {
        if let Entry::Vacant(place) = others.entry(name) {
            let rules = read(place.key())?;
            open.extend(rules.iter().filter_map(|rule| rule.goes_to.clone()));
            place.insert(rules);
        }
    }
    Ok(Reachable { own, others: others.into_values().flatten().collect() })
}

/// Tells whether some rule accepts what comes by `bridge` and some rule what leaves by it.
fn lets_pass(rules: &[Foreign], bridge: &str) -> bool {
    let only = |rule: &Foreign, from: Option<&str>, to: Option<&str>| {
        rule.accepts && !rule.conditional && rule.from.as_deref() == from && rule.to.as_deref() == to
    };
    rules.iter().any(|rule| only(rule, Some(bridge), None))
        && rules.iter().any(|rule| only(rule, None, Some(bridge)))
}

impl Foreign {
    /// Tells whether no packet gets past the rule.
    fn refuses_all(&self) -> bool {
        self.refuses && !self.conditional && self.from.is_none() && self.to.is_none()
    }
}

fn read_foreign(body: &[u8]) -> Option<Foreign> {
    let mut rule = Foreign::default();
    let mut key = None;
    for (_, element) in attributes(attribute(body.get(4..)?, RULE_EXPRESSIONS)?) {
        let data = attribute(element, EXPRESSION_DATA).unwrap_or_default();
        match attribute(element, EXPRESSION_NAME).map(text)? {
            "meta" => key = attribute(data, 2).and_then(|value| be32_at(value, 0)),
            "cmp" => read_comparison(&mut rule, key, data),
            "immediate" => read_verdict(&mut rule, data),
            "reject" => rule.refuses = true,
            "counter" | "log" => {}
            "match" if attribute(data, 1).map(text) == Some("comment") => {}
            _ => rule.conditional = true,
        }
    }
    Some(rule)
}

/// Reads which link a rule wants; any other comparison is a condition that we do not weigh.
fn read_comparison(rule: &mut Foreign, key: Option<u32>, data: &[u8]) {
    let equal = attribute(data, 2).and_then(|value| be32_at(value, 0)) == Some(0);
    let value = attribute(data, 3).and_then(|value| attribute(value, 1)).unwrap_or_default();
    // Without its NUL it is the beginning of a name.
    let name = value.contains(&0).then(|| text(value).to_owned());
    match (key, name) {
        (Some(META_IN_NAME), Some(name)) if equal => rule.from = Some(name),
        (Some(META_OUT_NAME), Some(name)) if equal => rule.to = Some(name),
        _ => rule.conditional = true,
    }
}

fn read_verdict(rule: &mut Foreign, data: &[u8]) {
    let verdict = attribute(data, 2).and_then(|value| attribute(value, 2)).unwrap_or_default();
    let code = attribute(verdict, 1).and_then(|value| be32_at(value, 0));
    rule.accepts = code == Some(ACCEPT);
    rule.refuses = code == Some(DROP);
    rule.goes_to = attribute(verdict, 2).map(|name| text(name).to_owned());
}

fn render(chain: &Dropping, bridge: &str) -> String {
    let word = family_word(chain.family).unwrap_or_default();
    let Dropping { table, chain: name, legacy, .. } = chain;
    let program = match (chain.family, legacy) {
        (10, true) => "ip6tables-legacy",
        (10, false) => "ip6tables",
        (_, true) => "iptables-legacy",
        (_, false) => "iptables",
    };
    let remedy = if table == "filter" && name == "FORWARD" && chain.family != 1 {
        format!("{program} -I FORWARD -i {bridge} -j ACCEPT; {program} -I FORWARD -o {bridge} -j ACCEPT")
    } else {
        let insert = format!("nft insert rule {word} {table} {name}");
        format!("{insert} iifname {bridge} accept; {insert} oifname {bridge} accept")
    };
    format!(
        "the firewall chain \"{word} {table} {name}\" of another program drops what containers on {bridge} send and \
         receive; to let it pass, run: {remedy}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_to_dockers_networks_docker_judges() {
        let rules = user_rules(&["brig0"]);
        let brig0 = Some(Pattern::Name("brig0".into()));
        assert_eq!(rules[0], UserRule { from: None, to: brig0.clone(), verdict: ACCEPT });
        assert_eq!(rules[1].verdict, RETURN);
        assert_eq!(
            rules[2],
            UserRule { from: brig0.clone(), to: Some(Pattern::Prefix("br-")), verdict: RETURN }
        );
        assert_eq!(rules[3], UserRule { from: brig0, to: None, verdict: ACCEPT });
        assert_ne!(tag("brig", &["brig0"]), tag("brig", &["brig1"]));
    }

    #[test]
    fn both_directions_must_pass() {
        let rule = |from: Option<&str>, to: Option<&str>| Foreign {
            from: from.map(str::to_owned),
            to: to.map(str::to_owned),
            accepts: true,
            ..Foreign::default()
        };
        let (out, back) = (rule(Some("brig0"), None), rule(None, Some("brig0")));
        assert!(lets_pass(&[out.clone(), back.clone()], "brig0"));
        assert!(!lets_pass(std::slice::from_ref(&out), "brig0"));
        assert!(!lets_pass(&[out.clone(), back], "brig1"));
        assert!(!lets_pass(&[out, rule(Some("lo"), Some("brig0"))], "brig0"));
    }
}
