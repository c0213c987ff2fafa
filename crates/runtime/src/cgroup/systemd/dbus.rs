//! A D-Bus client that can do what the systemd driver needs and no more: connect, call a method, wait for a signal.
//!
//! The crates for it bring an async executor and some fifty crates into a program that starts in a millisecond; the wire format of
//! the dozen types used here fits on a page.
//!
//! Source: D-Bus Specification 0.43, "Message Protocol", "Authentication Protocol".

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// How long an answer may take. systemd starts a scope in milliseconds; a hung one must not hang us.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The largest message that is read; the protocol's own limit is 128 MiB, answers here are a few hundred bytes.
const LARGEST: usize = 1 << 20;
/// The longest line of the authentication.
const LONGEST_LINE: usize = 4096;

const CALL: u8 = 1;
const RETURN: u8 = 2;
const ERROR: u8 = 3;
const SIGNAL: u8 = 4;

/// A value of a property.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Text(String),
    Bool(bool),
    U64(u64),
    /// `au`
    Numbers(Vec<u32>),
    /// `ay`
    Bytes(Vec<u8>),
    /// `a(ss)`
    Pairs(Vec<(String, String)>),
}

impl Value {
    fn signature(&self) -> &'static str {
        match self {
            Self::Text(_) => "s",
            Self::Bool(_) => "b",
            Self::U64(_) => "t",
            Self::Numbers(_) => "au",
            Self::Bytes(_) => "ay",
            Self::Pairs(_) => "a(ss)",
        }
    }
}

/// What the bus or the called service answered instead of a result.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// The connection failed.
    #[error("cannot talk on the D-Bus socket")]
    Io(#[from] io::Error),
    /// The other side does not speak the protocol, or refuses us.
    #[error("D-Bus: {0}")]
    Protocol(String),
    /// The method failed.
    #[error("{name}: {text}")]
    Refused {
        /// The error's name, `org.freedesktop.systemd1.UnitExists`.
        name: String,
        /// What it says.
        text: String,
    },
}

/// Writes values as the wire wants them: little-endian, each aligned to its size.
#[derive(Debug, Default)]
pub(super) struct Encoder {
    bytes: Vec<u8>,
}

impl Encoder {
    fn align(&mut self, to: usize) {
        self.bytes.resize(self.bytes.len().next_multiple_of(to), 0);
    }

    pub(super) fn u32(&mut self, value: u32) {
        self.align(4);
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    fn u64(&mut self, value: u64) {
        self.align(8);
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    pub(super) fn bool(&mut self, value: bool) {
        self.u32(u32::from(value));
    }

    pub(super) fn text(&mut self, text: &str) {
        self.u32(u32::try_from(text.len()).unwrap_or(u32::MAX));
        self.bytes.extend_from_slice(text.as_bytes());
        self.bytes.push(0);
    }

    fn signature(&mut self, signature: &str) {
        self.bytes.push(u8::try_from(signature.len()).unwrap_or(u8::MAX));
        self.bytes.extend_from_slice(signature.as_bytes());
        self.bytes.push(0);
    }

    /// Writes an array: its length in bytes, the padding to its elements, which do not count, and the elements.
    pub(super) fn array(&mut self, alignment: usize, elements: impl FnOnce(&mut Self)) {
        self.u32(0);
        let length_at = self.bytes.len() - 4;
        self.align(alignment);
        let start = self.bytes.len();
        elements(self);
        let length = u32::try_from(self.bytes.len() - start).unwrap_or(u32::MAX);
        self.bytes[length_at..length_at + 4].copy_from_slice(&length.to_le_bytes());
    }

    /// Writes a variant: the type, then the value.
    pub(super) fn variant(&mut self, value: &Value) {
        self.signature(value.signature());
        match value {
            Value::Text(text) => self.text(text),
            Value::Bool(value) => self.bool(*value),
            Value::U64(value) => self.u64(*value),
            Value::Numbers(numbers) => self.array(4, |e| numbers.iter().for_each(|number| e.u32(*number))),
            Value::Bytes(bytes) => self.array(1, |e| e.bytes.extend_from_slice(bytes)),
            Value::Pairs(pairs) => self.array(8, |e| {
                for (first, second) in pairs {
                    e.align(8);
                    e.text(first);
                    e.text(second);
                }
            }),
        }
    }

    /// Writes `a(sv)`, systemd's list of properties.
    pub(super) fn properties(&mut self, properties: &[(&str, Value)]) {
        self.array(8, |e| {
            for (name, value) in properties {
                e.align(8);
                e.text(name);
                e.variant(value);
            }
        });
    }
}

/// Reads values; each answer is `None` when the bytes do not hold what is asked for.
#[derive(Debug)]
pub(super) struct Decoder<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Decoder<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    fn align(&mut self, to: usize) {
        self.at = self.at.next_multiple_of(to);
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.at..self.at.checked_add(count)?)?;
        self.at += count;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        Some(self.take(1)?[0])
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.align(4);
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    pub(super) fn text(&mut self) -> Option<String> {
        let length = usize::try_from(self.u32()?).ok()?;
        let text = std::str::from_utf8(self.take(length)?).ok()?;
        self.take(1)?;
        Some(text.to_owned())
    }

    pub(super) fn signature(&mut self) -> Option<String> {
        let length = usize::from(self.byte()?);
        let text = std::str::from_utf8(self.take(length)?).ok()?;
        self.take(1)?;
        Some(text.to_owned())
    }

    /// Reads a variant that holds a text.
    pub(super) fn text_variant(&mut self) -> Option<String> {
        matches!(self.signature()?.as_str(), "s" | "o").then(|| self.text())?
    }
}

/// What is called.
#[derive(Debug, Clone, Copy)]
pub(super) struct Method<'a> {
    pub(super) destination: &'a str,
    pub(super) path: &'a str,
    pub(super) interface: &'a str,
    pub(super) member: &'a str,
    /// The types of the arguments.
    pub(super) signature: &'a str,
}

/// A message that came in.
#[derive(Debug, Default, PartialEq, Eq)]
struct Message {
    kind: u8,
    reply_to: u32,
    member: String,
    error: String,
    body: Vec<u8>,
}

/// A connection to a message bus.
#[derive(Debug)]
pub(super) struct Connection {
    stream: UnixStream,
    serial: u32,
    /// Bodies of signals that came while an answer was waited for.
    signals: Vec<(String, Vec<u8>)>,
}

impl Connection {
    /// Connects to the bus at the socket `path` and greets it.
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let mut connection = Self { stream: UnixStream::connect(path)?, serial: 0, signals: Vec::new() };
        connection.stream.set_read_timeout(Some(TIMEOUT))?;
        connection.stream.set_write_timeout(Some(TIMEOUT))?;
        connection.authenticate()?;
        let hello = Method {
            destination: "org.freedesktop.DBus",
            path: "/org/freedesktop/DBus",
            interface: "org.freedesktop.DBus",
            member: "Hello",
            signature: "",
        };
        connection.call(hello, |_| {})?;
        Ok(connection)
    }

    /// Proves who we are: by the credentials of the socket, without naming a user, whose number may be another one outside of our
    /// user namespace.
    fn authenticate(&mut self) -> Result<(), Error> {
        self.stream.write_all(b"\0AUTH EXTERNAL\r\n")?;
        self.expect_line("DATA")?;
        self.stream.write_all(b"DATA\r\n")?;
        self.expect_line("OK")?;
        self.stream.write_all(b"BEGIN\r\n")?;
        Ok(())
    }

    fn expect_line(&mut self, word: &str) -> Result<(), Error> {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") && line.len() < LONGEST_LINE {
            let mut byte = [0];
            self.stream.read_exact(&mut byte)?;
            line.push(byte[0]);
        }
        let text = String::from_utf8_lossy(&line);
        match text.split_whitespace().next() {
            Some(first) if first == word => Ok(()),
            _ => Err(Error::Protocol(format!("authentication was answered by {:?}", text.trim()))),
        }
    }

    /// Calls `method` with the arguments that `arguments` writes; returns the body of the answer.
    pub(super) fn call(
        &mut self,
        method: Method<'_>,
        arguments: impl FnOnce(&mut Encoder),
    ) -> Result<Vec<u8>, Error> {
        self.serial += 1;
        self.stream.write_all(&encode_call(method, self.serial, arguments))?;
        loop {
            let message = self.receive()?;
            match message.kind {
                RETURN if message.reply_to == self.serial => return Ok(message.body),
                ERROR if message.reply_to == self.serial => {
                    let text = Decoder::new(&message.body).text().unwrap_or_default();
                    return Err(Error::Refused { name: message.error, text });
                }
                SIGNAL => self.signals.push((message.member, message.body)),
                _ => {}
            }
        }
    }

    /// Waits for a signal `member` in which `find` finds what it looks for.
    pub(super) fn wait_signal<T>(
        &mut self,
        member: &str,
        mut find: impl FnMut(&[u8]) -> Option<T>,
    ) -> Result<T, Error> {
        let mut early = self.signals.iter().filter(|(name, _)| name == member);
        if let Some(found) = early.find_map(|(_, body)| find(body)) {
            return Ok(found);
        }
        loop {
            let message = self.receive()?;
            if message.kind == SIGNAL
                && message.member == member
                && let Some(found) = find(&message.body)
            {
                return Ok(found);
            }
        }
    }

    fn receive(&mut self) -> Result<Message, Error> {
        let malformed = || Error::Protocol("malformed message".into());
        let mut bytes = vec![0; 16];
        self.stream.read_exact(&mut bytes)?;
        if bytes[0] != b'l' || bytes[3] != 1 {
            return Err(Error::Protocol("the other side is big-endian or of another version".into()));
        }
        let number = |at: usize| {
            usize::try_from(u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]))
        };
        let (Ok(body), Ok(fields)) = (number(4), number(12)) else { return Err(malformed()) };
        let header = 16_usize.checked_add(fields).map(|end| end.next_multiple_of(8)).ok_or_else(malformed)?;
        let all = header.checked_add(body).filter(|all| *all <= LARGEST).ok_or_else(malformed)?;
        bytes.resize(all, 0);
        self.stream.read_exact(&mut bytes[16..])?;
        decode(&bytes, 16 + fields, header).ok_or_else(malformed)
    }
}

/// Writes a method call.
fn encode_call(method: Method<'_>, serial: u32, arguments: impl FnOnce(&mut Encoder)) -> Vec<u8> {
    let mut body = Encoder::default();
    arguments(&mut body);
    let mut message = Encoder { bytes: vec![b'l', CALL, 0, 1] };
    message.u32(u32::try_from(body.bytes.len()).unwrap_or(u32::MAX));
    message.u32(serial);
    message.array(8, |e| {
        let fields = [
            (1, "o", method.path),
            (2, "s", method.interface),
            (3, "s", method.member),
            (6, "s", method.destination),
        ];
        for (code, kind, text) in fields {
            e.align(8);
            e.bytes.push(code);
            e.signature(kind);
            e.text(text);
        }
        if !method.signature.is_empty() {
            e.align(8);
            e.bytes.push(8);
            e.signature("g");
            e.signature(method.signature);
        }
    });
    message.align(8);
    message.bytes.extend_from_slice(&body.bytes);
    message.bytes
}

/// Reads a message whose header's fields end at `fields_end` and whose body begins at `body`.
fn decode(bytes: &[u8], fields_end: usize, body: usize) -> Option<Message> {
    let mut message = Message { kind: bytes[1], body: bytes.get(body..)?.to_vec(), ..Message::default() };
    let mut decoder = Decoder { bytes: bytes.get(..fields_end)?, at: 16 };
    while decoder.at < fields_end {
        decoder.align(8);
        let code = decoder.byte()?;
        match (code, decoder.signature()?.as_str()) {
            (5, "u") => message.reply_to = decoder.u32()?,
            (3, "s") => message.member = decoder.text()?,
            (4, "s") => message.error = decoder.text()?,
            (_, "s" | "o") => drop(decoder.text()?),
            (_, "g") => drop(decoder.signature()?),
            (_, "u") => drop(decoder.u32()?),
            _ => return None,
        }
    }
    Some(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_written_and_read() {
        let method =
            Method { destination: "a.b", path: "/p", interface: "i.f", member: "Do", signature: "sa(sv)" };
        let properties = [
            ("Delegate", Value::Bool(true)),
            ("PIDs", Value::Numbers(vec![7])),
            ("Bits", Value::Bytes(vec![3])),
        ];
        let bytes = encode_call(method, 9, |e| {
            e.text("unit");
            e.properties(&properties);
        });
        assert_eq!(&bytes[..4], b"l\x01\x00\x01");
        let fields = u32::from_le_bytes(bytes[12..16].try_into().expect("four")) as usize;
        let body = (16 + fields).next_multiple_of(8);
        assert_eq!(u32::from_le_bytes(bytes[4..8].try_into().expect("four")) as usize, bytes.len() - body);
        let message = decode(&bytes, 16 + fields, body).expect("a message");
        assert_eq!((message.kind, message.member.as_str()), (CALL, "Do"));
        let mut decoder = Decoder::new(&message.body);
        assert_eq!(decoder.text().as_deref(), Some("unit"));
        let end = decoder.u32().expect("length") as usize;
        decoder.align(8);
        let start = decoder.at;
        assert_eq!(decoder.text().as_deref(), Some("Delegate"));
        assert_eq!((decoder.signature().as_deref(), decoder.u32()), (Some("b"), Some(1)));
        decoder.align(8);
        assert_eq!(decoder.text().as_deref(), Some("PIDs"));
        assert_eq!(decoder.signature().as_deref(), Some("au"));
        assert_eq!((decoder.u32(), decoder.u32()), (Some(4), Some(7)));
        decoder.align(8);
        assert_eq!(decoder.text().as_deref(), Some("Bits"));
        assert_eq!(decoder.signature().as_deref(), Some("ay"));
        assert_eq!((decoder.u32(), decoder.byte()), (Some(1), Some(3)));
        assert_eq!(decoder.at - start, end);
        assert_eq!(decoder.byte(), None);
    }

    #[test]
    fn cut_messages_are_refused() {
        let method = Method { destination: "a.b", path: "/p", interface: "i.f", member: "Do", signature: "" };
        let bytes = encode_call(method, 1, |_| {});
        let fields = u32::from_le_bytes(bytes[12..16].try_into().expect("four")) as usize;
        for end in 17..16 + fields {
            // Whatever comes out, nothing panics.
            let _ = decode(&bytes[..end], end, end);
        }
    }
}
