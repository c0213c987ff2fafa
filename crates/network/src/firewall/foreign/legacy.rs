//! The older iptables: netlink does not show its tables, socket options do.

use std::io;

use rustix::io::Errno;
use sys::xtables::{Info, Tables};

use super::{Dropping, Foreign};
use crate::netlink::wire::{text, u16_at, u32_at};

/// How often a table that changed while it was read is read again.
const RETRIES: usize = 8;
/// Verdicts are kept as their negative less one.
const DROP: i32 = -1;
const ACCEPT: i32 = -2;
/// Where the target keeps its name, after its size, and the verdict of the standard target, whose name is empty.
const TARGET_NAME: usize = 2;
const TARGET_VERDICT: usize = 32;

/// Where the fields of an entry lie (`struct ipt_entry`, `struct ip6t_entry`).
struct Layout {
    in_name: usize,
    /// Protocol, flags and inversions, up to the end of what is compared.
    protocol: std::ops::Range<usize>,
    target_offset: usize,
    /// Where the matches begin, or without any the target.
    length: usize,
}

const IPV4: Layout = Layout { in_name: 16, protocol: 80..84, target_offset: 88, length: 112 };
const IPV6: Layout = Layout { in_name: 64, protocol: 128..133, target_offset: 140, length: 168 };

/// Returns the chains of a hook, by number (`NF_INET_*`) and name, that drop by policy, each with all rules of its table.
pub(super) fn dropping(hook: usize, name: &str) -> io::Result<Vec<(Dropping, Vec<Foreign>)>> {
    let mut found = Vec::new();
    for (family, ipv6, layout, list) in
        [(2, false, IPV4, "ip_tables_names"), (10, true, IPV6, "ip6_tables_names")]
    {
        // To ask for a table makes it, so only one that is there is asked for. The file exists only where the older
        // iptables is in the kernel.
        let tables = std::fs::read_to_string(format!("/proc/thread-self/net/{list}")).unwrap_or_default();
        if !tables.lines().any(|table| table == "filter") {
            continue;
        }
        let (info, entries) = read(&Tables::open(ipv6)?)?;
        if verdict(&entries, info.underflow[hook] as usize, &layout) == Some(DROP) {
            let chain = Dropping { family, table: "filter".into(), chain: name.into(), legacy: true };
            found.push((chain, rules(&entries, &layout)));
        }
    }
    Ok(found)
}

fn read(tables: &Tables) -> io::Result<(Info, Vec<u8>)> {
    for _ in 0..RETRIES {
        let info = tables.info("filter")?;
        match tables.entries("filter", &info) {
            Ok(entries) => return Ok((info, entries)),
            Err(Errno::AGAIN) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Errno::AGAIN.into())
}

/// Returns the verdict of the entry at `at` when its target is the standard one.
fn verdict(entries: &[u8], at: usize, layout: &Layout) -> Option<i32> {
    let target = entries.get(at + usize::from(u16_at(entries, at + layout.target_offset)?)..)?;
    let standard = *target.get(TARGET_NAME)? == 0;
    if standard { Some(u32_at(target, TARGET_VERDICT)? as i32) } else { None }
}

fn rules(mut entries: &[u8], layout: &Layout) -> Vec<Foreign> {
    let mut rules = Vec::new();
    while let Some(length) =
        u16_at(entries, layout.target_offset + 2).map(usize::from).filter(|length| *length > 0)
    {
        let Some((entry, rest)) = entries.split_at_checked(length) else { break };
        let name = |at: usize| {
            entry.get(at..at + 16).map(|name| text(name).to_owned()).filter(|name| !name.is_empty())
        };
        rules.push(Foreign {
            from: name(layout.in_name),
            to: name(layout.in_name + 16),
            conditional: is_conditional(entry, layout),
            accepts: verdict(entry, 0, layout) == Some(ACCEPT),
            ..Foreign::default()
        });
        entries = rest;
    }
    rules
}

/// Tells whether an entry asks for more than links: addresses, which come first, a protocol, matches.
fn is_conditional(entry: &[u8], layout: &Layout) -> bool {
    let asks = |range| entry.get(range).is_none_or(|bytes: &[u8]| bytes.iter().any(|byte| *byte != 0));
    let matches = u16_at(entry, layout.target_offset).map(usize::from) != Some(layout.length);
    matches || asks(0..layout.in_name) || asks(layout.protocol.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_read_and_a_cut_one_is_not() {
        let mut entry = vec![0; 152];
        entry[16..21].copy_from_slice(b"brig0");
        entry[88] = 112;
        entry[90] = 152;
        entry[112 + 32..112 + 36].copy_from_slice(&ACCEPT.to_ne_bytes());
        let expected = Foreign { from: Some("brig0".into()), to: None, accepts: true, ..Foreign::default() };
        assert_eq!(rules(&entry, &IPV4), [expected]);
        let mut tcp_only = entry.clone();
        tcp_only[80] = 6;
        assert!(rules(&tcp_only, &IPV4)[0].conditional);
        for end in 0..entry.len() {
            assert!(!rules(&entry[..end], &IPV4).iter().any(|rule| rule.accepts), "{end}");
        }
    }
}
