//! Answering a question from the files: the same for datagrams and for TCP.

use std::fs::File;
use std::io::Read as _;
use std::net::IpAddr;
use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags};

use super::FILE;
use super::conf::Conf;
use super::message::{self, Bad, Code, KIND_A, KIND_AAAA, KIND_ANY, KIND_PTR, Query};
use super::table::Member;

/// The longest file of a container, which has a line for each network.
const MAX_CONF: u64 = 64 << 10;
/// The longest table that is read: some ten thousand members.
const MAX_TABLE: u64 = 1 << 20;
/// The most addresses in one answer.
const MAX_ANSWERS: usize = 256;

/// What becomes of a question.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// This is the answer.
    Answered(Vec<u8>),
    /// Another must know.
    Forward,
    /// Nobody is told anything.
    Ignored,
}

/// Reads the container's file in its run folder `dir`.
pub(crate) fn read_conf(dir: &OwnedFd) -> Option<String> {
    let fd = rustix::fs::openat(dir, FILE, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let mut text = String::new();
    File::from(fd).take(MAX_CONF).read_to_string(&mut text).ok()?;
    Some(text)
}

/// Decides about one message. `room` is the longest answer, where TCP does not lift the limit; `turn` says which of several
/// addresses comes first.
pub(crate) fn resolve(conf: Conf<'_>, bytes: &[u8], tcp: bool, turn: usize) -> Verdict {
    let query = match Query::parse(bytes) {
        Ok(query) => query,
        Err(Bad::Ignored) => return Verdict::Ignored,
        Err(Bad::Refused(code)) => return Verdict::Answered(message::refuse(bytes, code)),
    };
    let room = if tcp { usize::from(u16::MAX) } else { query.room() };
    match answer(conf, &query, turn) {
        Some(answer) => Verdict::Answered(answer.finish(room)),
        None if conf.forwards() => Verdict::Forward,
        None => Verdict::Answered(query.refuse(Code::Failed)),
    }
}

/// Answers a question about a member of the container's networks.
fn answer(conf: Conf<'_>, query: &Query<'_>, turn: usize) -> Option<message::Answer> {
    if !query.is_internet() || query.name.is_empty() {
        return None;
    }
    let mut answer = query.answer();
    if query.kind == KIND_PTR {
        let address = query.reverse()?;
        let mut found = false;
        each_member(conf, |member, network| {
            if member.has(address) && !found {
                found = true;
                answer.name(&[member.own_name(), b".", network.as_bytes()].concat());
            }
        });
        return found.then_some(answer);
    }
    let name = conf.linked(&query.name);
    let (mut known, mut addresses) = (false, Vec::new());
    each_member(conf, |member, network| {
        if member.is_called(name, network.as_bytes()) {
            known = true;
            if addresses.len() < MAX_ANSWERS {
                let four = member.ip4.filter(|_| matches!(query.kind, KIND_A | KIND_ANY)).map(IpAddr::V4);
                let six = member.ip6.filter(|_| matches!(query.kind, KIND_AAAA | KIND_ANY)).map(IpAddr::V6);
                addresses.extend(four.into_iter().chain(six));
            }
        }
    });
    if !addresses.is_empty() {
        let first = turn % addresses.len();
        addresses.rotate_left(first);
    }
    addresses.into_iter().for_each(|address| answer.address(address));
    known.then_some(answer)
}

/// Shows all members of all networks.
fn each_member(conf: Conf<'_>, mut visit: impl FnMut(&Member<'_>, &str)) {
    let mut table = Vec::new();
    for (network, path) in conf.networks() {
        table.clear();
        // A network that is being left may have no table any more.
        let Ok(file) = File::open(path) else { continue };
        if file.take(MAX_TABLE).read_to_end(&mut table).is_err() {
            continue;
        }
        table
            .split(|byte| *byte == b'\n')
            .filter_map(Member::parse)
            .for_each(|member| visit(&member, network));
    }
}
