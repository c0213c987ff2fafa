//! The plan as messages of nftables. The only file, beside `element`, that knows its numbers.
//!
//! Source of the numbers: the kernel's `linux/netfilter/nf_tables.h`, `nf_nat.h`, `nf_conntrack_common.h`.
//!
//! The messages are written by hand rather than through a generated binding, because the one that was looked at encodes
//! `lookup` wrongly and lacks `masq`, the two expressions that this table is made of.

use std::net::IpAddr;

use super::plan::{self, Base, Chain, Family, Not, Rule, Ruleset, Set, Shape, Step};
use crate::netlink::link::octets;
use crate::netlink::wire::{Attributes, Batch, flags};

/// `NFNL_SUBSYS_NFTABLES`, the upper byte of the type of each message.
const SUBSYSTEM: u16 = 10;
const BATCH_BEGIN: u16 = 16;
const BATCH_END: u16 = 17;
/// The family of our table, `NFPROTO_INET`: IPv4 and IPv6.
const INET: u8 = 1;

/// The messages of nftables (`NFT_MSG_*`).
pub(crate) mod kind {
    pub(crate) const NEW_TABLE: u16 = 0;
    pub(crate) const DELETE_TABLE: u16 = 2;
    pub(crate) const NEW_CHAIN: u16 = 3;
    pub(crate) const GET_CHAIN: u16 = 4;
    pub(crate) const NEW_RULE: u16 = 6;
    pub(crate) const GET_RULE: u16 = 7;
    pub(crate) const DELETE_RULE: u16 = 8;
    pub(crate) const NEW_SET: u16 = 9;
    pub(crate) const NEW_ELEMENT: u16 = 12;
    pub(crate) const GET_ELEMENT: u16 = 13;
    pub(crate) const DELETE_ELEMENT: u16 = 14;
}

const LIST_ELEMENT: u16 = 1;
const TABLE_NAME: u16 = 1;
const CHAIN_TABLE: u16 = 1;
const CHAIN_NAME: u16 = 3;
const CHAIN_HOOK: u16 = 4;
const CHAIN_POLICY: u16 = 5;
/// `NFTA_CHAIN_USE`.
pub(crate) const CHAIN_USE: u16 = 6;
const CHAIN_TYPE: u16 = 7;
const HOOK_NUMBER: u16 = 1;
const HOOK_PRIORITY: u16 = 2;
const RULE_TABLE: u16 = 1;
const RULE_CHAIN: u16 = 2;
const RULE_EXPRESSIONS: u16 = 4;
const RULE_USERDATA: u16 = 7;
const EXPRESSION_NAME: u16 = 1;
const EXPRESSION_DATA: u16 = 2;
const SET_TABLE: u16 = 1;
const SET_NAME: u16 = 2;
const SET_FLAGS: u16 = 3;
const SET_KEY_TYPE: u16 = 4;
const SET_KEY_LENGTH: u16 = 5;
const SET_DATA_TYPE: u16 = 6;
const SET_DATA_LENGTH: u16 = 7;
const SET_DESCRIPTION: u16 = 9;
const SET_ID: u16 = 10;
const DESCRIPTION_CONCAT: u16 = 2;
const FIELD_LENGTH: u16 = 1;
const SET_INTERVAL: u32 = 4;
const SET_MAP: u32 = 8;
const SET_CONCAT: u32 = 128;
const DATA_VALUE: u16 = 1;
const DATA_VERDICT: u16 = 2;
const VERDICT_CODE: u16 = 1;
const VERDICT_CHAIN: u16 = 2;

const NF_DROP: u32 = 0;
const NF_ACCEPT: u32 = 1;
/// `NFT_JUMP`.
const JUMP: u32 = (-3_i32) as u32;

/// `NFT_REG_VERDICT`.
const VERDICT: u32 = 0;
/// `NFT_REG32_00`, the first register of four bytes; the others follow.
const REG: u32 = 8;
/// `NFT_REG_1`: the same place, as the 16-byte register by which `nft` names the start of a key.
const REG_1: u32 = 1;

const META_IN_NAME: u32 = 6;
const META_OUT_NAME: u32 = 7;
const META_FAMILY: u32 = 15;
const META_PROTOCOL: u32 = 16;
const CT_STATE: u32 = 0;
const CT_STATUS: u32 = 2;
const CT_MARK: u32 = 3;
/// `IPS_DST_NAT`.
const STATUS_DNAT: u32 = 32;
/// The bits of "established" and "related" in the state of a connection.
const STATE_ESTABLISHED_RELATED: u32 = 2 | 4;
/// The bit of "new".
const STATE_NEW: u32 = 8;
/// `NF_NAT_RANGE_PROTO_OFFSET`.
const PROTO_OFFSET: u32 = 32;
/// `NF_CT_STATE_UNTRACKED_BIT`.
const STATE_UNTRACKED: u32 = 64;
const BASE_NETWORK: u32 = 1;
const BASE_TRANSPORT: u32 = 2;
/// `NFT_PAYLOAD_CSUM_INET`: the checksum at that place follows.
const CHECKSUM_INET: u32 = 1;
const FIB_ADDRESS_TYPE: u32 = 3;
const FIB_OF_DESTINATION: u32 = 2;
/// `RTN_LOCAL`.
const LOCAL: u32 = 2;
const EQUAL: u32 = 0;
const NOT_EQUAL: u32 = 1;

/// Numbers by which `nft` shows the types of keys; a concatenation shifts six bits per field.
const TYPE_IPV4: u32 = 7;
const TYPE_IPV6: u32 = 8;
const TYPE_PROTOCOL: u32 = 12;
const TYPE_PORT: u32 = 13;
const TYPE_MARK: u32 = 19;

/// A transaction of nftables: all or nothing.
pub(crate) struct Transaction {
    batch: Batch,
}

impl Transaction {
    /// Begins one.
    pub(crate) fn new() -> Self {
        let mut batch = Batch::new();
        batch.message(BATCH_BEGIN, 0, &[0, 0, 0, SUBSYSTEM as u8], |_| {});
        Self { batch }
    }

    /// Adds a message about family `inet`.
    pub(crate) fn message(&mut self, kind: u16, flags: u16, body: impl FnOnce(&mut Attributes<'_>)) {
        put(&mut self.batch, kind, flags, body);
    }

    /// Adds a message about another family (`NFPROTO_*`).
    pub(crate) fn message_of(
        &mut self,
        family: u8,
        kind: u16,
        flags: u16,
        body: impl FnOnce(&mut Attributes<'_>),
    ) {
        put_of(&mut self.batch, family, kind, flags, body);
    }

    /// Ends it.
    pub(crate) fn finish(mut self) -> Batch {
        self.batch.message(BATCH_END, 0, &[0, 0, 0, SUBSYSTEM as u8], |_| {});
        self.batch
    }
}

/// Adds a message about family `inet` outside of a transaction, as questions are asked; returns its number.
pub(crate) fn put(batch: &mut Batch, kind: u16, flags: u16, body: impl FnOnce(&mut Attributes<'_>)) -> u32 {
    put_of(batch, INET, kind, flags, body)
}

/// The same about another family (`NFPROTO_*`).
pub(crate) fn put_of(
    batch: &mut Batch,
    family: u8,
    kind: u16,
    flags: u16,
    body: impl FnOnce(&mut Attributes<'_>),
) -> u32 {
    batch.message(SUBSYSTEM << 8 | kind, flags, &[family, 0, 0, 0], body)
}

/// Adds a question about every family.
pub(crate) fn put_dump(batch: &mut Batch, kind: u16, body: impl FnOnce(&mut Attributes<'_>)) {
    batch.message(SUBSYSTEM << 8 | kind, flags::DUMP, &[0, 0, 0, 0], body);
}

/// Adds the removal of a table.
pub(crate) fn delete_table(transaction: &mut Transaction, table: &str) {
    transaction.message(kind::DELETE_TABLE, 0, |m| {
        m.text(TABLE_NAME, table);
    });
}

/// Adds all that brings a table to `ruleset`, whatever of it is there; elements of its sets stay.
pub(crate) fn apply(transaction: &mut Transaction, ruleset: &Ruleset) {
    let table = &ruleset.table;
    transaction.message(kind::NEW_TABLE, flags::CREATE, |m| {
        m.text(TABLE_NAME, table);
    });
    for (id, set) in ruleset.sets.iter().enumerate() {
        new_set(transaction, table, set, id as u32 + 1);
    }
    for chain in &ruleset.chains {
        new_chain(transaction, table, chain);
    }
    for chain in &ruleset.chains {
        transaction.message(kind::DELETE_RULE, 0, |m| {
            m.text(RULE_TABLE, table).text(RULE_CHAIN, chain.name);
        });
    }
    for chain in &ruleset.chains {
        for rule in &chain.rules {
            new_rule(transaction, table, chain.name, rule);
        }
    }
}

/// Writes the name of a chain that is asked for.
pub(crate) fn put_chain_name(m: &mut Attributes<'_>, table: &str, chain: &str) {
    m.text(CHAIN_TABLE, table).text(CHAIN_NAME, chain);
}

fn new_chain(transaction: &mut Transaction, table: &str, chain: &Chain) {
    transaction.message(kind::NEW_CHAIN, flags::CREATE, |m| {
        put_chain_name(m, table, chain.name);
        if let Some(base) = &chain.base {
            put_base(m, base);
        }
    });
}

fn put_base(m: &mut Attributes<'_>, base: &Base) {
    m.nest(CHAIN_HOOK, |m| {
        m.be32(HOOK_NUMBER, base.hook as u32).be32(HOOK_PRIORITY, base.priority as u32);
    });
    m.be32(CHAIN_POLICY, NF_ACCEPT).text(CHAIN_TYPE, base.kind);
}

fn new_set(transaction: &mut Transaction, table: &str, set: &Set, id: u32) {
    transaction.message(kind::NEW_SET, flags::CREATE, |m| {
        m.text(SET_TABLE, table).text(SET_NAME, set.name).be32(SET_ID, id);
        match set.shape {
            Shape::Marker => {
                m.be32(SET_FLAGS, 0).be32(SET_KEY_TYPE, TYPE_MARK).be32(SET_KEY_LENGTH, 4);
            }
            Shape::Claims(family) => put_key(m, family, 0),
            Shape::ToPort(family) => {
                put_key(m, family, SET_MAP);
                m.be32(SET_DATA_TYPE, type_of(family) << 6 | TYPE_PORT)
                    .be32(SET_DATA_LENGTH, family.length() as u32 + 4);
            }
            Shape::ToShift(family) => {
                put_key(m, family, SET_MAP);
                m.be32(SET_DATA_TYPE, (type_of(family) << 6 | TYPE_PORT) << 6 | TYPE_PORT)
                    .be32(SET_DATA_LENGTH, family.length() as u32 + 8);
            }
            Shape::ToAddress(family) => {
                put_key(m, family, SET_MAP);
                m.be32(SET_DATA_TYPE, type_of(family)).be32(SET_DATA_LENGTH, family.length() as u32);
            }
        }
    });
}

fn type_of(family: Family) -> u32 {
    match family {
        Family::V4 => TYPE_IPV4,
        Family::V6 => TYPE_IPV6,
    }
}

/// Writes the key of a set of intervals of (address, protocol, port); each field fills whole registers of four bytes.
fn put_key(m: &mut Attributes<'_>, family: Family, more_flags: u32) {
    let address = family.length() as u32;
    m.be32(SET_FLAGS, SET_INTERVAL | SET_CONCAT | more_flags);
    m.be32(SET_KEY_TYPE, (type_of(family) << 6 | TYPE_PROTOCOL) << 6 | TYPE_PORT)
        .be32(SET_KEY_LENGTH, address + 8);
    m.nest(SET_DESCRIPTION, |m| {
        m.nest(DESCRIPTION_CONCAT, |m| {
            for length in [address, 1, 2] {
                m.nest(LIST_ELEMENT, |m| {
                    m.be32(FIELD_LENGTH, length);
                });
            }
        });
    });
}

fn new_rule(transaction: &mut Transaction, table: &str, chain: &str, rule: &Rule) {
    transaction.message(kind::NEW_RULE, flags::CREATE | flags::APPEND, |m| {
        m.text(RULE_TABLE, table).text(RULE_CHAIN, chain);
        m.nest(RULE_EXPRESSIONS, |m| {
            for step in &rule.steps {
                put_step(m, step);
            }
        });
        m.bytes(RULE_USERDATA, &comment(rule.comment));
    });
}

/// Returns a comment as `nft` keeps it: type 0, length, text with NUL.
pub(crate) fn comment(text: &str) -> Vec<u8> {
    let text = &text.as_bytes()[..text.len().min(127)];
    let mut bytes = vec![0, text.len() as u8 + 1];
    bytes.extend_from_slice(text);
    bytes.push(0);
    bytes
}

/// Reads a comment.
pub(crate) fn read_comment(bytes: &[u8]) -> Option<&str> {
    let length = usize::from(*bytes.get(1)?);
    (bytes[0] == 0).then(|| crate::netlink::wire::text(bytes.get(2..2 + length).unwrap_or_default()))
}

fn put_step(m: &mut Attributes<'_>, step: &Step) {
    match step {
        Step::CameBy(not, link) => put_link(m, META_IN_NAME, *not, link),
        Step::LeavesBy(not, link) => put_link(m, META_OUT_NAME, *not, link),
        Step::From(ip, prefix) => put_network(m, *ip, *prefix, if ip.is_ipv4() { 12 } else { 8 }),
        Step::To(ip, prefix) => put_network(m, *ip, *prefix, if ip.is_ipv4() { 16 } else { 24 }),
        Step::ToHost => {
            expression(m, "fib", |m| {
                m.be32(1, REG_1).be32(2, FIB_ADDRESS_TYPE).be32(3, FIB_OF_DESTINATION);
            });
            compare(m, EQUAL, &LOCAL.to_ne_bytes());
        }
        Step::Established => put_ct_bits(m, CT_STATE, STATE_ESTABLISHED_RELATED),
        Step::Untracked => put_ct_bits(m, CT_STATE, STATE_UNTRACKED),
        Step::Translated => put_ct_bits(m, CT_STATUS, STATUS_DNAT),
        Step::ToPort(family, map) => put_translation(m, *family, map, Ports::One),
        Step::ToAddress(family, map) => put_translation(m, *family, map, Ports::Same),
        Step::Shift(family, map) => put_translation(m, *family, map, Ports::Counted),
        Step::New => put_ct_bits(m, CT_STATE, STATE_NEW),
        Step::In(family, set) => {
            put_place(m, *family);
            expression(m, "lookup", |m| {
                m.text(1, set).be32(2, REG_1);
            });
        }
        Step::MarkConnection(mark) => {
            put_value(m, REG_1, &mark.to_ne_bytes());
            expression(m, "ct", |m| {
                m.be32(2, CT_MARK).be32(4, REG_1);
            });
        }
        Step::Masquerade => expression(m, "masq", |_| {}),
        Step::Jump(chain) => put_verdict(m, JUMP, Some(chain)),
        Step::Accept => put_verdict(m, NF_ACCEPT, None),
        Step::Drop => put_verdict(m, NF_DROP, None),
    }
}

/// Writes one expression of a rule.
pub(crate) fn expression(m: &mut Attributes<'_>, name: &str, body: impl FnOnce(&mut Attributes<'_>)) {
    m.nest(LIST_ELEMENT, |m| {
        m.text(EXPRESSION_NAME, name).nest(EXPRESSION_DATA, body);
    });
}

fn meta(m: &mut Attributes<'_>, key: u32, register: u32) {
    expression(m, "meta", |m| {
        m.be32(1, register).be32(2, key);
    });
}

fn payload(m: &mut Attributes<'_>, base: u32, offset: u32, length: u32, register: u32) {
    expression(m, "payload", |m| {
        m.be32(1, register).be32(2, base).be32(3, offset).be32(4, length);
    });
}

/// Compares the first register.
fn compare(m: &mut Attributes<'_>, operation: u32, value: &[u8]) {
    expression(m, "cmp", |m| {
        m.be32(1, REG_1).be32(2, operation).nest(3, |m| {
            m.bytes(DATA_VALUE, value);
        });
    });
}

/// Masks the first register.
fn mask(m: &mut Attributes<'_>, mask: &[u8]) {
    expression(m, "bitwise", |m| {
        m.be32(1, REG_1).be32(2, REG_1).be32(3, mask.len() as u32);
        m.nest(4, |m| {
            m.bytes(DATA_VALUE, mask);
        });
        m.nest(5, |m| {
            m.bytes(DATA_VALUE, &vec![0; mask.len()]);
        });
    });
}

/// Compares the name of a link, which the kernel keeps in sixteen bytes.
fn put_link(m: &mut Attributes<'_>, key: u32, not: Not, link: &str) {
    let mut name = [0; 16];
    name[..link.len()].copy_from_slice(link.as_bytes());
    meta(m, key, REG_1);
    compare(m, if not == Not::Is { EQUAL } else { NOT_EQUAL }, &name);
}

/// Compares only the first bytes of the name of a link, as iptables does it: with the NUL for a whole name.
pub(crate) fn put_link_name(m: &mut Attributes<'_>, key: u32, bytes: &[u8]) {
    meta(m, key, REG_1);
    compare(m, EQUAL, bytes);
}

fn put_family(m: &mut Attributes<'_>, family: Family) {
    meta(m, META_FAMILY, REG_1);
    compare(m, EQUAL, &[if family == Family::V4 { 2 } else { 10 }]);
}

/// Compares an address of the packet, `offset` bytes into its header, with a network.
fn put_network(m: &mut Attributes<'_>, ip: IpAddr, prefix: u8, offset: u32) {
    let family = Family::of(ip);
    let bits = prefix_mask(prefix, family.length());
    let network: Vec<u8> = octets(ip).iter().zip(&bits).map(|(byte, bits)| byte & bits).collect();
    put_family(m, family);
    payload(m, BASE_NETWORK, offset, family.length() as u32, REG_1);
    mask(m, &bits);
    compare(m, EQUAL, &network);
}

fn prefix_mask(prefix: u8, length: usize) -> Vec<u8> {
    let byte = |index: usize| {
        let bits = usize::from(prefix).saturating_sub(index * 8).min(8);
        (0xff00_u16 >> bits) as u8
    };
    (0..length).map(byte).collect()
}

fn put_ct_bits(m: &mut Attributes<'_>, key: u32, bits: u32) {
    expression(m, "ct", |m| {
        m.be32(1, REG_1).be32(2, key);
    });
    mask(m, &bits.to_ne_bytes());
    compare(m, NOT_EQUAL, &[0; 4]);
}

/// Loads (destination, protocol, port).
fn put_place(m: &mut Attributes<'_>, family: Family) {
    let words = family.length() as u32 / 4;
    put_family(m, family);
    payload(m, BASE_NETWORK, if family == Family::V4 { 16 } else { 24 }, family.length() as u32, REG_1);
    meta(m, META_PROTOCOL, REG + words);
    payload(m, BASE_TRANSPORT, 2, 2, REG + words + 1);
}

/// What a map says of ports, besides the address.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ports {
    /// Nothing: they stay.
    Same,
    /// The one port.
    One,
    /// The first and the last to count in.
    Counted,
}

/// Looks (destination, protocol, port) up in a map and sends the packet where it says.
fn put_translation(m: &mut Attributes<'_>, family: Family, map: &str, ports: Ports) {
    let words = family.length() as u32 / 4;
    put_place(m, family);
    expression(m, "lookup", |m| {
        m.text(1, map).be32(2, REG_1).be32(3, REG_1);
    });
    expression(m, "nat", |m| {
        m.be32(1, 1).be32(2, if family == Family::V4 { 2 } else { 10 }).be32(3, REG_1);
        if ports != Ports::Same {
            m.be32(5, REG + words);
        }
        if ports == Ports::Counted {
            m.be32(6, REG + words + 1).be32(7, PROTO_OFFSET);
        }
    });
}

/// Writes a constant into a register.
fn put_value(m: &mut Attributes<'_>, register: u32, value: &[u8]) {
    expression(m, "immediate", |m| {
        m.be32(1, register).nest(2, |m| {
            m.bytes(DATA_VALUE, value);
        });
    });
}

/// Adds a table of one family whose one chain, called `chain`, sends a copy of what the host has accepted to `next` by the
/// link `link` and drops what it was copied from. Whatever else the table held goes.
pub(crate) fn gate_table(transaction: &mut Transaction, table: &str, chain: &str, next: IpAddr, link: u32) {
    let family = protocol_of(next);
    begin_table(transaction, family, table);
    let base = Base { kind: "filter", hook: plan::Hook::Input, priority: plan::BEHIND_ALL + 1 };
    transaction.message_of(family, kind::NEW_CHAIN, flags::CREATE, |m| {
        put_chain_name(m, table, chain);
        put_base(m, &base);
    });
    transaction.message_of(family, kind::NEW_RULE, flags::CREATE | flags::APPEND, |m| {
        m.text(RULE_TABLE, table).text(RULE_CHAIN, chain);
        m.nest(RULE_EXPRESSIONS, |m| {
            expression(m, "ct", |m| {
                m.be32(1, REG_1).be32(2, CT_MARK);
            });
            compare(m, EQUAL, &plan::ACCEPTED.to_ne_bytes());
            put_value(m, REG_1, &octets(next));
            // Behind the sixteen bytes that an address may fill.
            put_value(m, REG + 4, &link.to_ne_bytes());
            expression(m, "dup", |m| {
                m.be32(1, REG_1).be32(2, REG + 4);
            });
            put_verdict(m, NF_DROP, None);
        });
        m.bytes(RULE_USERDATA, &comment("once more by the gate, to the container"));
    });
}

/// Adds an empty table of one family in the place of whatever has its name.
pub(crate) fn begin_table(transaction: &mut Transaction, family: u8, table: &str) {
    let name = |m: &mut Attributes<'_>| {
        m.text(TABLE_NAME, table);
    };
    transaction.message_of(family, kind::NEW_TABLE, flags::CREATE, name);
    transaction.message_of(family, kind::DELETE_TABLE, 0, name);
    transaction.message_of(family, kind::NEW_TABLE, flags::CREATE, name);
}

/// Packets of the loopback whose port is rewritten.
pub(crate) struct Asked {
    /// Whether address and port are those of the destination, else of the source.
    pub(crate) destination: bool,
    pub(crate) address: std::net::Ipv4Addr,
    pub(crate) from: u16,
    pub(crate) to: u16,
}

/// Adds a chain of the family `ip` that rewrites a port of what leaves, UDP and TCP.
pub(crate) fn rewrite_chain(
    transaction: &mut Transaction,
    table: &str,
    chain: &str,
    priority: i32,
    asked: &Asked,
) {
    let base = Base { kind: "filter", hook: plan::Hook::Output, priority };
    transaction.message_of(2, kind::NEW_CHAIN, flags::CREATE, |m| {
        put_chain_name(m, table, chain);
        put_base(m, &base);
    });
    let (address, port) = if asked.destination { (16, 2) } else { (12, 0) };
    // Where each protocol has its checksum.
    for (protocol, checksum) in [(17_u8, 6), (6, 16)] {
        transaction.message_of(2, kind::NEW_RULE, flags::CREATE | flags::APPEND, |m| {
            m.text(RULE_TABLE, table).text(RULE_CHAIN, chain);
            m.nest(RULE_EXPRESSIONS, |m| {
                payload(m, BASE_NETWORK, address, 4, REG_1);
                compare(m, EQUAL, &asked.address.octets());
                meta(m, META_PROTOCOL, REG_1);
                compare(m, EQUAL, &[protocol]);
                payload(m, BASE_TRANSPORT, port, 2, REG_1);
                compare(m, EQUAL, &asked.from.to_be_bytes());
                put_value(m, REG_1, &asked.to.to_be_bytes());
                expression(m, "payload", |m| {
                    m.be32(5, REG_1).be32(2, BASE_TRANSPORT).be32(3, port).be32(4, 2);
                    m.be32(6, CHECKSUM_INET).be32(7, checksum);
                });
            });
        });
    }
}

/// Adds the removal of the table of [`gate_table`].
pub(crate) fn delete_gate_table(transaction: &mut Transaction, table: &str, next: IpAddr) {
    transaction.message_of(protocol_of(next), kind::DELETE_TABLE, 0, |m| {
        m.text(TABLE_NAME, table);
    });
}

/// Returns the family of an address as netfilter numbers it.
pub(crate) fn protocol_of(address: IpAddr) -> u8 {
    if address.is_ipv4() { 2 } else { 10 }
}

/// Writes what ends a rule.
pub(crate) fn put_verdict(m: &mut Attributes<'_>, code: u32, chain: Option<&str>) {
    expression(m, "immediate", |m| {
        m.be32(1, VERDICT).nest(2, |m| {
            m.nest(DATA_VERDICT, |m| {
                m.be32(VERDICT_CODE, code);
                if let Some(chain) = chain {
                    m.text(VERDICT_CHAIN, chain);
                }
            });
        });
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_follow_the_prefix() {
        assert_eq!(prefix_mask(20, 4), [0xff, 0xff, 0xf0, 0]);
        assert_eq!(prefix_mask(0, 4), [0; 4]);
        assert_eq!(prefix_mask(32, 4), [0xff; 4]);
        assert_eq!(prefix_mask(64, 16)[7..9], [0xff, 0]);
    }

    #[test]
    fn comments_survive() {
        assert_eq!(read_comment(&comment("a7a7")), Some("a7a7"));
        assert_eq!(read_comment(&[]), None);
        assert_eq!(read_comment(&[0, 9, b'x']), Some(""));
    }
}
