//! Netlink sockets: one request or many in one system call, all answers of it.
//!
//! The kernel works on a request inside of `send`, so all answers (of a dump: the first part) are there when it
//! returns; nothing ever waits.

pub(crate) mod link;
pub(crate) mod wire;

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::netlink as protocols;
use rustix::net::{AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType};

use wire::{Batch, Message};

/// How often a dump that a concurrent change cut through is asked for again.
const DUMP_RETRIES: usize = 16;
/// The kernel's largest part of a dump.
const RECEIVE_BYTES: usize = 32 * 1024;
/// `NLMSG_ERROR`: a refusal, or an acknowledgement with the number 0.
const ERROR: u16 = 2;
/// `NLMSG_DONE`: the end of a dump.
const DONE: u16 = 3;
/// `NLM_F_DUMP_INTR`: the dump is not consistent.
const DUMP_INTERRUPTED: u16 = 0x10;
/// `NLM_F_ACK_TLVS`: the error answer carries attributes.
const ACK_HAS_ATTRIBUTES: u16 = 0x200;
/// `NLM_F_CAPPED`: the error answer holds only the header of the request.
const ACK_CAPPED: u16 = 0x100;

/// A netlink socket. It stays in the network namespace in which it was opened.
#[derive(Debug)]
pub(crate) struct Socket {
    fd: OwnedFd,
}

/// The kernel's refusal of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The index of the request in its batch.
    pub(crate) sequence: u32,
    /// The error number.
    pub(crate) errno: Errno,
    /// The kernel's own words (`NLMSGERR_ATTR_MSG`).
    pub(crate) text: Option<String>,
}

/// Everything that came back for one batch.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    bytes: Vec<Vec<u8>>,
    /// The refusals, in the order of the requests.
    pub(crate) refusals: Vec<Refusal>,
}

impl Socket {
    /// Opens a socket for links, addresses and routes in the thread's network namespace.
    pub(crate) fn route() -> io::Result<Self> {
        Self::open(None)
    }

    /// Opens a socket for nftables and connection tracking in the thread's network namespace.
    pub(crate) fn netfilter() -> io::Result<Self> {
        Self::open(Some(protocols::NETFILTER))
    }

    fn open(protocol: Option<Protocol>) -> io::Result<Self> {
        let fd = rustix::net::socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            protocol,
        )?;
        // Kernels without these options answer more tersely, nothing else changes.
        for option in [sys::netlink::CAP_ACK, sys::netlink::EXT_ACK, sys::netlink::GET_STRICT_CHK] {
            let _ = sys::netlink::enable(&fd, option);
        }
        Ok(Self { fd })
    }

    /// Sends `batch` and returns all answers. A batch with a dump holds nothing else.
    pub(crate) fn exchange(&self, batch: &Batch) -> io::Result<Answers> {
        for _ in 0..DUMP_RETRIES {
            self.send(batch.bytes())?;
            let (answers, consistent) = self.receive(batch.is_dump())?;
            if consistent {
                return Ok(answers);
            }
        }
        Err(Errno::INTR.into())
    }

    /// Sends `batch`; the first refusal is the error.
    pub(crate) fn request(&self, batch: &Batch) -> io::Result<Answers> {
        let answers = self.exchange(batch)?;
        match answers.refusals.first() {
            Some(refusal) => Err(refusal.clone().into()),
            None => Ok(answers),
        }
    }

    fn send(&self, bytes: &[u8]) -> io::Result<()> {
        let sent = rustix::io::retry_on_intr(|| rustix::net::send(&self.fd, bytes, SendFlags::empty()))?;
        if sent == bytes.len() { Ok(()) } else { Err(Errno::MSGSIZE.into()) }
    }

    /// Reads what there is, of a dump until its end. The second value tells whether the dump was consistent.
    fn receive(&self, dump: bool) -> io::Result<(Answers, bool)> {
        let mut answers = Answers::default();
        let mut consistent = true;
        loop {
            let mut bytes = vec![0; RECEIVE_BYTES];
            let read = || rustix::net::recv(&self.fd, &mut *bytes, RecvFlags::DONTWAIT);
            let length = match rustix::io::retry_on_intr(read) {
                Ok((length, _)) => length,
                Err(Errno::AGAIN) => return Ok((answers, consistent)),
                Err(error) => return Err(error.into()),
            };
            bytes.truncate(length);
            let mut done = false;
            for message in wire::messages(&bytes) {
                consistent &= message.flags & DUMP_INTERRUPTED == 0;
                done |= message.kind == DONE || (dump && message.kind == ERROR);
                answers.refusals.extend(refusal(&message));
            }
            answers.bytes.push(bytes);
            if done {
                return Ok((answers, consistent));
            }
        }
    }
}

impl Answers {
    /// Returns the messages that carry objects: neither errors nor the end of a dump.
    pub(crate) fn objects(&self) -> impl Iterator<Item = Message<'_>> {
        self.bytes
            .iter()
            .flat_map(|bytes| wire::messages(bytes))
            .filter(|message| message.kind != ERROR && message.kind != DONE)
    }
}

/// Reads an error answer; an acknowledgement is none.
fn refusal(message: &Message<'_>) -> Option<Refusal> {
    if message.kind != ERROR && message.kind != DONE {
        return None;
    }
    let number = i32::from_ne_bytes(message.body.get(..4)?.try_into().ok()?);
    if number >= 0 {
        return None;
    }
    let text = (message.flags & ACK_HAS_ATTRIBUTES != 0).then(|| error_text(message)).flatten();
    Some(Refusal { sequence: message.sequence, errno: Errno::from_raw_os_error(-number), text })
}

/// Finds the kernel's words (`NLMSGERR_ATTR_MSG`) behind the copy of the request.
fn error_text(message: &Message<'_>) -> Option<String> {
    let request = wire::u32_at(message.body, 4)? as usize;
    let skip = if message.flags & ACK_CAPPED != 0 { 16 } else { request.next_multiple_of(4) };
    let attributes = message.body.get(4 + skip..)?;
    Some(wire::text(wire::attribute(attributes, 1)?).to_owned())
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cause = io::Error::from(self.errno);
        match &self.text {
            Some(text) => write!(f, "{text}: {cause}"),
            None => write!(f, "{cause}"),
        }
    }
}

impl std::error::Error for Refusal {}

impl From<Refusal> for io::Error {
    fn from(refusal: Refusal) -> Self {
        let plain = io::Error::from(refusal.errno);
        if refusal.text.is_some() { io::Error::new(plain.kind(), refusal) } else { plain }
    }
}

/// Returns the error number of an error that came from this module.
pub(crate) fn errno(error: &io::Error) -> Option<Errno> {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Refusal>());
    inner.map(|refusal| refusal.errno).or_else(|| Errno::from_io_error(error))
}
