//! Messages of the domain name system: as much of them as is needed to read a question and to write an answer. Pure.
//!
//! Every byte comes from a container or from the network: reading never fails but by saying so, and its work is bounded
//! by the length of the message.
//!
//! Source of the numbers: RFC 1035 (messages), RFC 3596 (AAAA), RFC 6891 (EDNS).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Bytes before the question.
pub(crate) const HEADER: usize = 12;
/// The longest message without EDNS.
const PLAIN: usize = 512;
/// The longest datagram that is answered, whatever EDNS asks for: it passes every link in one piece.
const LONGEST: usize = 1232;
/// The longest name as it travels.
const MAX_NAME: usize = 255;
/// Seconds that an answer of ours may be kept: containers come and go.
const TTL: u32 = 10;

const RESPONSE: u16 = 0x8000;
const OPCODE: u16 = 0x7800;
const TRUNCATED: u16 = 0x0200;
const RECURSION_DESIRED: u16 = 0x0100;
const RECURSION_AVAILABLE: u16 = 0x0080;

pub(crate) const KIND_A: u16 = 1;
pub(crate) const KIND_PTR: u16 = 12;
pub(crate) const KIND_AAAA: u16 = 28;
pub(crate) const KIND_ANY: u16 = 255;
const KIND_OPT: u16 = 41;
const CLASS_IN: u16 = 1;
/// A pointer to the name of the question.
const NAME_OF_QUESTION: [u8; 2] = [0xc0, HEADER as u8];

/// Codes of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Code {
    /// It worked, or the name has nothing of that kind.
    Fine = 0,
    /// The question is malformed.
    Malformed = 1,
    /// Nobody could be asked.
    Failed = 2,
    /// That is not done here.
    NotDone = 4,
}

/// A question.
#[derive(Debug)]
pub(crate) struct Query<'a> {
    /// The whole message.
    pub(crate) bytes: &'a [u8],
    /// Where the question ends.
    end: usize,
    /// The name in lower case, without the last dot.
    pub(crate) name: Vec<u8>,
    pub(crate) kind: u16,
    class: u16,
    /// How long an answer may be, when the asker said.
    edns: Option<u16>,
}

/// Why a message is no question that is worked on.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Bad {
    /// Nothing is answered.
    Ignored,
    /// An answer with a code.
    Refused(Code),
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

impl<'a> Query<'a> {
    /// Reads a question.
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, Bad> {
        let flags = u16_at(bytes, 2).filter(|flags| bytes.len() >= HEADER && flags & RESPONSE == 0);
        let flags = flags.ok_or(Bad::Ignored)?;
        if flags & OPCODE != 0 {
            return Err(Bad::Refused(Code::NotDone));
        }
        Self::parse_question(bytes).ok_or(Bad::Refused(Code::Malformed))
    }

    fn parse_question(bytes: &'a [u8]) -> Option<Self> {
        if u16_at(bytes, 4)? != 1 {
            return None;
        }
        let (name, after) = read_name(bytes, HEADER)?;
        let (kind, class, end) = (u16_at(bytes, after)?, u16_at(bytes, after + 2)?, after + 4);
        Some(Self { bytes, end, name, kind, class, edns: edns(bytes, end) })
    }

    /// Says whether the question is about the internet.
    pub(crate) fn is_internet(&self) -> bool {
        matches!(self.class, CLASS_IN | KIND_ANY)
    }

    /// Returns the question as it travels.
    pub(crate) fn question(&self) -> &'a [u8] {
        &self.bytes[HEADER..self.end]
    }

    /// Returns the address whose name is asked for: `4.3.2.1.in-addr.arpa`, or the like for IPv6.
    pub(crate) fn reverse(&self) -> Option<IpAddr> {
        let text = std::str::from_utf8(&self.name).ok()?;
        if let Some(digits) = text.strip_suffix(".in-addr.arpa") {
            let mut parts = digits.split('.').map(|part| part.parse::<u8>().ok());
            let [d, c, b, a] = [parts.next()??, parts.next()??, parts.next()??, parts.next()??];
            return parts.next().is_none().then_some(IpAddr::V4(Ipv4Addr::new(a, b, c, d)));
        }
        let digits = text.strip_suffix(".ip6.arpa")?;
        let (mut bits, mut count) = (0_u128, 0);
        for part in digits.rsplit('.') {
            let digit = u8::from_str_radix(part, 16).ok().filter(|_| part.len() == 1)?;
            bits = bits << 4 | u128::from(digit);
            count += 1;
        }
        (count == 32).then_some(IpAddr::V6(Ipv6Addr::from_bits(bits)))
    }

    /// How long an answer by datagram may be.
    pub(crate) fn room(&self) -> usize {
        self.edns.map_or(PLAIN, |size| usize::from(size).clamp(PLAIN, LONGEST))
    }

    /// Begins an answer.
    pub(crate) fn answer(&self) -> Answer {
        let mut bytes = Vec::with_capacity(PLAIN);
        put_header(&mut bytes, self.bytes, Code::Fine);
        bytes.extend_from_slice(self.question());
        Answer { bytes, count: 0, edns: self.edns.is_some() }
    }

    /// Answers without records.
    pub(crate) fn refuse(&self, code: Code) -> Vec<u8> {
        let mut answer = self.answer();
        answer.bytes[3] |= code as u8;
        answer.finish(usize::MAX)
    }
}

/// Answers a message that could not be read.
pub(crate) fn refuse(bytes: &[u8], code: Code) -> Vec<u8> {
    let mut answer = Vec::with_capacity(HEADER);
    put_header(&mut answer, bytes, code);
    answer[4..6].copy_from_slice(&[0, 0]);
    answer
}

fn put_header(answer: &mut Vec<u8>, question: &[u8], code: Code) {
    let flags = u16_at(question, 2).unwrap_or(0) & (OPCODE | RECURSION_DESIRED);
    let flags = flags | RESPONSE | RECURSION_AVAILABLE | code as u16;
    answer.extend_from_slice(question.get(..2).unwrap_or(&[0, 0]));
    answer.extend_from_slice(&flags.to_be_bytes());
    answer.extend_from_slice(&[0, 1, 0, 0, 0, 0, 0, 0]);
}

/// An answer in the making.
#[derive(Debug)]
pub(crate) struct Answer {
    bytes: Vec<u8>,
    count: u16,
    edns: bool,
}

impl Answer {
    /// Adds an address of the asked name.
    pub(crate) fn address(&mut self, address: IpAddr) {
        match address {
            IpAddr::V4(ip) => self.record(KIND_A, &ip.octets()),
            IpAddr::V6(ip) => self.record(KIND_AAAA, &ip.octets()),
        }
    }

    /// Adds a name of the asked address; one that is none is left out.
    pub(crate) fn name(&mut self, name: &[u8]) {
        let mut data = Vec::with_capacity(name.len() + 2);
        for label in name.split(|byte| *byte == b'.') {
            let Ok(length @ 1..=63) = u8::try_from(label.len()) else { return };
            data.push(length);
            data.extend_from_slice(label);
        }
        data.push(0);
        if data.len() <= MAX_NAME {
            self.record(KIND_PTR, &data);
        }
    }

    fn record(&mut self, kind: u16, data: &[u8]) {
        self.bytes.extend_from_slice(&NAME_OF_QUESTION);
        self.bytes.extend_from_slice(&kind.to_be_bytes());
        self.bytes.extend_from_slice(&CLASS_IN.to_be_bytes());
        self.bytes.extend_from_slice(&TTL.to_be_bytes());
        self.bytes.extend_from_slice(&(data.len() as u16).to_be_bytes());
        self.bytes.extend_from_slice(data);
        self.count += 1;
    }

    /// Ends the answer. One that is longer than `room` becomes a word that there is more by TCP.
    pub(crate) fn finish(mut self, room: usize) -> Vec<u8> {
        let question = HEADER + self.question_length();
        if self.edns {
            self.bytes.extend_from_slice(&[0, 0, KIND_OPT as u8]);
            self.bytes.extend_from_slice(&(LONGEST as u16).to_be_bytes());
            self.bytes.extend_from_slice(&[0; 6]);
            self.bytes[11] = 1;
        }
        if self.bytes.len() > room {
            self.bytes.truncate(question);
            self.bytes[2] |= (TRUNCATED >> 8) as u8;
            (self.count, self.bytes[11]) = (0, 0);
        }
        self.bytes[6..8].copy_from_slice(&self.count.to_be_bytes());
        self.bytes
    }

    fn question_length(&self) -> usize {
        read_name(&self.bytes, HEADER).map_or(0, |(_, after)| after + 4 - HEADER)
    }
}

/// Says whether `answer` answers `query` as it was sent, with the number `id`.
pub(crate) fn answers(answer: &[u8], query: &[u8], id: u16) -> bool {
    let response = u16_at(answer, 2).is_some_and(|flags| flags & RESPONSE != 0);
    let Some((_, after)) = read_name(query, HEADER) else { return false };
    let (question, given) = (query.get(HEADER..after + 4), answer.get(HEADER..after + 4));
    // Servers may give the name back in other letters.
    let same = question.zip(given).is_some_and(|(question, given)| question.eq_ignore_ascii_case(given));
    // An error may come without the question.
    response && u16_at(answer, 0) == Some(id) && (same || u16_at(answer, 4) == Some(0))
}

/// Says whether another server may know more: this one failed or does not want to.
pub(crate) fn is_failure(answer: &[u8]) -> bool {
    matches!(answer.get(3).map(|flags| flags & 0xf), Some(2 | 5) | None)
}

/// Reads a name without pointers: in lower case with dots, and where it ends.
fn read_name(bytes: &[u8], start: usize) -> Option<(Vec<u8>, usize)> {
    let mut name = Vec::new();
    let mut at = start;
    loop {
        let length = usize::from(*bytes.get(at)?);
        at += 1;
        if length == 0 {
            return Some((name, at));
        }
        // Anything above is a pointer, or nothing that exists.
        if length > 63 || at + length - start > MAX_NAME {
            return None;
        }
        if !name.is_empty() {
            name.push(b'.');
        }
        name.extend(bytes.get(at..at + length)?.iter().map(u8::to_ascii_lowercase));
        at += length;
    }
}

/// Finds the length that EDNS allows, in the first record behind the question.
fn edns(bytes: &[u8], at: usize) -> Option<u16> {
    // An OPT record has the root for its name, and is the only one that a question has.
    let plain = u16_at(bytes, 6)? == 0 && u16_at(bytes, 8)? == 0 && u16_at(bytes, 10)? >= 1;
    let found = plain && *bytes.get(at)? == 0 && u16_at(bytes, at + 1)? == KIND_OPT;
    if found { u16_at(bytes, at + 3) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn question(name: &str, kind: u16, edns: Option<u16>) -> Vec<u8> {
        let mut bytes = vec![0xab, 0xcd, 1, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(edns.is_some())];
        for label in name.split('.').filter(|label| !label.is_empty()) {
            bytes.push(label.len() as u8);
            bytes.extend_from_slice(label.as_bytes());
        }
        bytes.push(0);
        bytes.extend_from_slice(&kind.to_be_bytes());
        bytes.extend_from_slice(&[0, 1]);
        if let Some(size) = edns {
            bytes.extend_from_slice(&[0, 0, 41]);
            bytes.extend_from_slice(&size.to_be_bytes());
            bytes.extend_from_slice(&[0; 6]);
        }
        bytes
    }

    #[test]
    fn a_question_is_read_and_answered() {
        let bytes = question("Web.Example", KIND_A, None);
        let query = Query::parse(&bytes).unwrap();
        assert_eq!((query.name.as_slice(), query.kind, query.room()), (&b"web.example"[..], KIND_A, 512));
        let mut answer = query.answer();
        answer.address([10, 0, 0, 2].into());
        let answer = answer.finish(query.room());
        assert_eq!(answer[..12], [0xab, 0xcd, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]);
        assert_eq!(answer[12..12 + query.question().len()], *query.question());
        assert!(answer.ends_with(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 10, 0, 4, 10, 0, 0, 2]));
        assert!(answers(&answer, &bytes, 0xabcd) && !answers(&answer, &bytes, 1));
        assert!(!answers(&answer, &question("web.other", KIND_A, None), 0xabcd));
    }

    #[test]
    fn an_answer_that_is_too_long_asks_for_tcp() {
        let bytes = question("web", KIND_A, Some(4096));
        let query = Query::parse(&bytes).unwrap();
        assert_eq!(query.room(), 1232);
        let mut answer = query.answer();
        (0..200_u8).for_each(|n| answer.address([10, 0, 0, n].into()));
        let short = answer.finish(query.room());
        assert_eq!(short.len(), 12 + query.question().len());
        assert_eq!((short[2] & 2, short[6..8].to_vec()), (2, vec![0, 0]));
        let mut answer = query.answer();
        answer.address([10, 0, 0, 2].into());
        let with_edns = answer.finish(query.room());
        assert_eq!(
            (with_edns[11], with_edns[with_edns.len() - 11..].to_vec()),
            (1, vec![0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0])
        );
    }

    #[test]
    fn addresses_are_read_backwards() {
        let reverse = |name: &str| Query::parse(&question(name, KIND_PTR, None)).unwrap().reverse();
        assert_eq!(reverse("2.1.168.192.in-addr.arpa"), Some([192, 168, 1, 2].into()));
        let six = format!("2.{}", "0.".repeat(27));
        assert_eq!(reverse(&format!("{six}0.0.d.f.ip6.arpa")), Some("fd00::2".parse().unwrap()));
        for wrong in
            ["1.2.3.in-addr.arpa", "1.2.3.4.5.in-addr.arpa", "a.b.c.d.in-addr.arpa", "1.ip6.arpa", "x"]
        {
            assert_eq!(reverse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_is_no_question_is_refused() {
        let mut bytes = question("web", KIND_A, None);
        bytes[2] = 0x81;
        assert_eq!(Query::parse(&bytes).unwrap_err(), Bad::Ignored, "an answer");
        bytes[2] = 0x28;
        assert_eq!(Query::parse(&bytes).unwrap_err(), Bad::Refused(Code::NotDone), "an update");
        for (at, byte) in [(5, 2), (12, 0xc0), (12, 64), (12, 200)] {
            let mut bytes = question("web", KIND_A, None);
            bytes[at] = byte;
            assert_eq!(Query::parse(&bytes).unwrap_err(), Bad::Refused(Code::Malformed), "{at} {byte}");
        }
        assert_eq!(Query::parse(&bytes[..11]).unwrap_err(), Bad::Ignored);
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_question_or_refused(
            bytes in proptest::collection::vec(any::<u8>(), 0..600),
            fix in any::<bool>(),
        ) {
            let mut bytes = bytes;
            if fix && bytes.len() >= 12 {
                bytes[2..6].copy_from_slice(&[1, 0, 0, 1]);
            }
            match Query::parse(&bytes) {
                Ok(query) => {
                    let _ = query.reverse();
                    let mut answer = query.answer();
                    answer.name(&query.name);
                    prop_assert!(answer.finish(query.room()).len() <= query.room());
                    prop_assert!(Query::parse(&query.refuse(Code::Failed)).is_err());
                }
                Err(Bad::Refused(code)) => prop_assert_eq!(refuse(&bytes, code).len(), 12),
                Err(Bad::Ignored) => {}
            }
            let _ = (answers(&bytes, &bytes, 7), is_failure(&bytes));
        }

        #[test]
        fn names_come_back(name in "[a-z0-9_-]{1,63}(\\.[a-z0-9_-]{1,40}){0,3}") {
            let bytes = question(&name, KIND_PTR, None);
            let query = Query::parse(&bytes).unwrap();
            prop_assert_eq!(&query.name, name.as_bytes());
        }
    }
}
