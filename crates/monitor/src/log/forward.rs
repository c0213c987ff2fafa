//! The way of each line to another log: systemd's journal, or a syslog.
//!
//! All that can be decided at the start is (addresses are resolved, fields are rendered): the monitor only puts messages
//! together and sends them. It must go on when the other side does not take them: a datagram waits a moment for its place and is
//! then lost; a stream has a bounded buffer, and is connected again when it breaks. What is lost here is in the local
//! files still.
//!
//! Source: systemd's "Native Journal Protocol"; RFC 3164, RFC 5424; the forms are those of Docker's drivers.

use std::io::{self, Write as _};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{SendFlags, send};
use serde::{Deserialize, Serialize};

use super::Stream;
use crate::clock::{self, UnixNanos};

/// How long a message waits for its place before it is lost, unless the container is not to wait at all.
const PATIENCE: Duration = Duration::from_millis(500);
/// What a stream keeps for a receiver that is slow, when nobody says: Docker's default.
const BUFFER: usize = 1 << 20;
/// How long to wait for a connection, and before another try.
const CONNECT: Duration = Duration::from_secs(3);
const RETRY: Duration = Duration::from_secs(1);

/// Severities of syslog(3): what comes from standard output and from standard error.
const INFO: u8 = 6;
const ERR: u8 = 3;

/// Where lines go besides the files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Forward {
    /// To systemd's journal.
    Journal {
        /// Its socket.
        socket: PathBuf,
        /// Fields of each entry.
        fields: Vec<(String, String)>,
    },
    /// To a syslog.
    Syslog {
        /// Where it listens.
        target: SyslogTarget,
        /// The number of the facility, 0 to 23.
        facility: u8,
        /// How a message is written.
        format: SyslogFormat,
        /// What the messages are tagged with.
        tag: String,
        /// The host's name.
        hostname: String,
        /// Seconds of local time ahead of UTC.
        offset: i32,
        /// Bytes that are kept for a slow receiver without letting the container wait; `None` lets it wait.
        buffer: Option<usize>,
    },
}

/// Where a syslog listens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SyslogTarget {
    /// A socket of this machine, for datagrams or as a stream.
    Unix(PathBuf),
    /// Datagrams over the network.
    Udp(SocketAddr),
    /// A connection over the network.
    Tcp(SocketAddr),
}

/// How a syslog message is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SyslogFormat {
    /// `<30>Nov 23 00:10:24 tag[1]: text`, as local programs write it.
    Local,
    /// With the host's name.
    Rfc3164,
    /// RFC 5424.
    Rfc5424,
    /// RFC 5424 with microseconds.
    Rfc5424Micro,
}

/// The open way to another log.
#[derive(Debug)]
pub(super) struct Forwarder {
    forward: Forward,
    socket: Option<Socket>,
    /// What a stream has not taken yet.
    pending: Vec<u8>,
    message: Vec<u8>,
    last_try: Instant,
}

#[derive(Debug)]
enum Socket {
    Datagram(OwnedFd),
    Stream(OwnedFd),
}

impl Forwarder {
    /// Connects. Fails when nobody listens: a container whose log was asked to go elsewhere does not start without it.
    pub(super) fn open(forward: &Forward) -> io::Result<Self> {
        let socket = connect(forward)?;
        Ok(Self {
            forward: forward.clone(),
            socket: Some(socket),
            pending: Vec::new(),
            message: Vec::new(),
            last_try: Instant::now(),
        })
    }

    /// Sends one line.
    pub(super) fn send(&mut self, stream: Stream, text: &[u8], ends_line: bool, now: UnixNanos) {
        self.message.clear();
        match &self.forward {
            Forward::Journal { fields, .. } => {
                journal(&mut self.message, fields, stream, text, ends_line, now)
            }
            Forward::Syslog { .. } => syslog(&mut self.message, &self.forward, stream, text, now),
        }
        if self.socket.is_none() && self.last_try.elapsed() >= RETRY {
            self.last_try = Instant::now();
            self.socket = connect(&self.forward).ok();
        }
        let buffer = match &self.forward {
            Forward::Syslog { buffer, .. } => *buffer,
            Forward::Journal { .. } => None,
        };
        match &self.socket {
            None => {}
            // Nobody listens any more.
            Some(Socket::Datagram(fd)) if !send_datagram(fd.as_fd(), &self.message, buffer.is_none()) => {
                self.socket = None;
            }
            Some(Socket::Datagram(_)) => {}
            Some(Socket::Stream(_)) => {
                self.message.push(b'\n');
                if self.pending.len() + self.message.len() <= buffer.unwrap_or(BUFFER) {
                    self.pending.append(&mut self.message);
                }
                self.flush();
                if buffer.is_none() && self.pending.len() > BUFFER / 2 {
                    self.wait();
                    self.flush();
                }
            }
        }
    }

    /// Sends what a stream takes now.
    pub(super) fn flush(&mut self) {
        let Some(Socket::Stream(fd)) = &self.socket else { return };
        while !self.pending.is_empty() {
            match send(fd, &self.pending, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
                Ok(sent) => drop(self.pending.drain(..sent)),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                Err(_) => {
                    self.socket = None;
                    self.pending.clear();
                    return;
                }
            }
        }
        self.pending.shrink_to(4096);
    }

    fn wait(&self) {
        if let Some(Socket::Stream(fd)) = &self.socket {
            wait_writable(fd.as_fd());
        }
    }
}

fn connect(forward: &Forward) -> io::Result<Socket> {
    match forward {
        Forward::Journal { socket, .. } => unix_datagram(socket),
        Forward::Syslog { target: SyslogTarget::Unix(path), .. } => unix_datagram(path).or_else(|error| {
            if error.raw_os_error() == Some(Errno::PROTOTYPE.raw_os_error()) {
                return UnixStream::connect(path).map(|socket| Socket::Stream(socket.into()));
            }
            Err(error)
        }),
        Forward::Syslog { target: SyslogTarget::Udp(address), .. } => {
            let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
            let socket = UdpSocket::bind(any)?;
            socket.connect(address)?;
            Ok(Socket::Datagram(socket.into()))
        }
        Forward::Syslog { target: SyslogTarget::Tcp(address), .. } => {
            TcpStream::connect_timeout(address, CONNECT).map(|socket| Socket::Stream(socket.into()))
        }
    }
    .map_err(|error| io::Error::new(error.kind(), format!("dial {}: {error}", address(forward))))
}

fn unix_datagram(path: &PathBuf) -> io::Result<Socket> {
    let socket = UnixDatagram::unbound()?;
    socket.connect(path)?;
    Ok(Socket::Datagram(socket.into()))
}

/// Renders where a log listens, for errors.
fn address(forward: &Forward) -> String {
    match forward {
        Forward::Journal { socket: path, .. } | Forward::Syslog { target: SyslogTarget::Unix(path), .. } => {
            format!("unix {}", path.display())
        }
        Forward::Syslog { target: SyslogTarget::Udp(address), .. } => format!("udp {address}"),
        Forward::Syslog { target: SyslogTarget::Tcp(address), .. } => format!("tcp {address}"),
    }
}

/// Sends a message, `patiently` waiting a moment for its place. `false` when nobody listens any more.
fn send_datagram(fd: BorrowedFd<'_>, message: &[u8], patiently: bool) -> bool {
    for may_wait in [patiently, false] {
        match send(fd, message, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
            Err(Errno::AGAIN) if may_wait => wait_writable(fd),
            Err(Errno::NOTCONN | Errno::NOENT | Errno::CONNRESET | Errno::PIPE | Errno::DESTADDRREQ) => {
                return false;
            }
            // Of a datagram over the network this is told of the one before; the next may arrive.
            Err(Errno::CONNREFUSED) => return rustix::net::getpeername(fd).is_ok(),
            _ => return true,
        }
    }
    true
}

fn wait_writable(fd: BorrowedFd<'_>) {
    let limit = Timespec { tv_sec: 0, tv_nsec: PATIENCE.subsec_nanos().into() };
    // However it ends, what follows tries.
    let _ = poll(&mut [PollFd::from_borrowed_fd(fd, PollFlags::OUT)], Some(&limit));
}

/// Puts an entry of the journal together.
fn journal(
    out: &mut Vec<u8>,
    fields: &[(String, String)],
    stream: Stream,
    text: &[u8],
    ends_line: bool,
    now: UnixNanos,
) {
    let priority = severity(stream).to_string();
    let when = clock::render(now);
    let own = [("PRIORITY", priority.as_bytes()), ("SYSLOG_TIMESTAMP", when.as_bytes()), ("MESSAGE", text)];
    let partial = (!ends_line).then_some(("CONTAINER_PARTIAL_MESSAGE", &b"true"[..]));
    let given = fields.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
    for (name, value) in given.chain(own).chain(partial) {
        out.extend_from_slice(name.as_bytes());
        if value.contains(&b'\n') {
            // Such a value comes with its length in front.
            out.push(b'\n');
            out.extend_from_slice(&(value.len() as u64).to_le_bytes());
        } else {
            out.push(b'=');
        }
        out.extend_from_slice(value);
        out.push(b'\n');
    }
}

/// Puts a syslog message together.
fn syslog(out: &mut Vec<u8>, forward: &Forward, stream: Stream, text: &[u8], now: UnixNanos) {
    let Forward::Syslog { facility, format, tag, hostname, offset, .. } = forward else { return };
    let priority = facility * 8 + severity(stream);
    let pid = std::process::id();
    let local = clock::render(now + i128::from(*offset) * 1_000_000_000);
    // Nothing can fail: it is written to memory.
    let _ = match format {
        SyslogFormat::Local => write!(out, "<{priority}>{} {tag}[{pid}]: ", stamp(&local)),
        SyslogFormat::Rfc3164 => write!(out, "<{priority}>{} {hostname} {tag}[{pid}]: ", stamp(&local)),
        SyslogFormat::Rfc5424 | SyslogFormat::Rfc5424Micro => {
            let micros = match format {
                SyslogFormat::Rfc5424Micro => {
                    format!(".{:06}", now.rem_euclid(1_000_000_000) / 1000)
                }
                _ => String::new(),
            };
            let when = local.get(..19).unwrap_or_default();
            let zone = zone(*offset);
            write!(out, "<{priority}>1 {when}{micros}{zone} {hostname} {tag} {pid} {tag} - ")
        }
    };
    out.extend_from_slice(text);
}

fn severity(stream: Stream) -> u8 {
    match stream {
        Stream::Stdout => INFO,
        Stream::Stderr => ERR,
    }
}

/// `Nov  3 00:10:24` of `2026-11-03T00:10:24Z`.
fn stamp(moment: &str) -> String {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let number = |from: usize, to: usize| moment.get(from..to).and_then(|text| text.parse::<usize>().ok());
    let month = number(5, 7).and_then(|month| MONTHS.get(month.wrapping_sub(1))).unwrap_or(&"Jan");
    format!("{month} {:>2} {}", number(8, 10).unwrap_or(1), moment.get(11..19).unwrap_or_default())
}

/// `Z`, `+01:00`.
fn zone(offset: i32) -> String {
    if offset == 0 {
        return "Z".to_owned();
    }
    let (sign, minutes) = (if offset < 0 { '-' } else { '+' }, offset.unsigned_abs() / 60);
    format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(format: SyslogFormat, offset: i32) -> String {
        let forward = Forward::Syslog {
            target: SyslogTarget::Unix("/dev/log".into()),
            facility: 3,
            format,
            tag: "box".into(),
            hostname: "host".into(),
            offset,
            buffer: None,
        };
        let mut out = Vec::new();
        syslog(&mut out, &forward, Stream::Stderr, b"text", 1_793_664_624_123_456_789);
        String::from_utf8(out).unwrap().replace(&format!("{}", std::process::id()), "PID")
    }

    #[test]
    fn syslog_messages_have_their_forms() {
        assert_eq!(message(SyslogFormat::Local, 0), "<27>Nov  3 00:10:24 box[PID]: text");
        assert_eq!(message(SyslogFormat::Rfc3164, -3600), "<27>Nov  2 23:10:24 host box[PID]: text");
        assert_eq!(message(SyslogFormat::Rfc5424, 0), "<27>1 2026-11-03T00:10:24Z host box PID box - text");
        assert_eq!(
            message(SyslogFormat::Rfc5424Micro, 19_800),
            "<27>1 2026-11-03T05:40:24.123456+05:30 host box PID box - text"
        );
    }

    #[test]
    fn journal_entries_have_their_form() {
        let fields = [("CONTAINER_NAME".to_owned(), "box".to_owned()), ("A".to_owned(), "1\n2".to_owned())];
        let mut out = Vec::new();
        journal(&mut out, &fields, Stream::Stdout, b"text", false, 0);
        let wanted = b"CONTAINER_NAME=box\nA\n\x03\0\0\0\0\0\0\x001\n2\nPRIORITY=6\nSYSLOG_TIMESTAMP=1970-01-01T00:00:00Z\nMESSAGE=text\nCONTAINER_PARTIAL_MESSAGE=true\n";
        assert_eq!(out, wanted);
    }

    #[test]
    fn a_receiver_that_goes_and_comes_again_costs_lines_only() {
        let path = std::env::temp_dir().join(format!("brig-syslog-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let forward = Forward::Journal { socket: path.clone(), fields: Vec::new() };
        assert!(Forwarder::open(&forward).is_err());
        let receiver = UnixDatagram::bind(&path).unwrap();
        let mut forwarder = Forwarder::open(&forward).unwrap();
        forwarder.send(Stream::Stdout, b"one", true, 0);
        let mut buffer = [0; 200];
        let got = receiver.recv(&mut buffer).unwrap();
        assert!(buffer[..got].ends_with(b"MESSAGE=one\n"));
        drop(receiver);
        std::fs::remove_file(&path).unwrap();
        forwarder.send(Stream::Stdout, b"lost", true, 0);
        let receiver = UnixDatagram::bind(&path).unwrap();
        forwarder.last_try -= RETRY;
        forwarder.socket = None;
        forwarder.send(Stream::Stdout, b"two", true, 0);
        let got = receiver.recv(&mut buffer).unwrap();
        assert!(buffer[..got].ends_with(b"MESSAGE=two\n"));
        std::fs::remove_file(&path).unwrap();
    }
}
