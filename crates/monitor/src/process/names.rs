//! Answering names for the container: its sockets, and the questions that others must answer.
//!
//! ```text
//! question ─▶ known? answered ─▶ else a flight: own socket, own number ─▶ server 1 ─▶ server 2 … ─▶ answer, or "failed"
//! ```
//! The sockets of the container are in its namespace; those by which servers are asked are in the monitor's, which is the host's:
//! so the host's own resolver at 127.0.0.53 can be asked too. Each flight has a port and a number that nobody can
//! guess, and its socket hears its server only.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, TcpListener, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};

use super::monitor::{Monitor, now_ms};
use super::poller::{READ, Token};
use super::table::Table;
use crate::error::{Doing, Error, Result};
use crate::names::ADDRESS;
use crate::names::conf::Conf;
use crate::names::message::{self, Code, Query};
use crate::names::resolve::{self, Verdict};

/// Questions that are worked off before others have their turn.
const BATCH: usize = 16;
/// The longest question; one that is longer is dropped, as it would be by most servers.
const MAX_QUESTION: usize = 4096;
/// Questions that may be on their way at once; beyond, the answer is that it failed.
const MAX_FLIGHTS: usize = 128;
/// Connections that may be served at once.
pub(super) const MAX_CONNECTIONS: usize = 16;
/// How long one of several servers has time, and a single one. Source: the C library waits for 5 seconds before it asks again.
const PATIENCE_MS: u64 = 2_000;
const PATIENCE_ALONE_MS: u64 = 4_500;

/// What a monitor keeps that answers names.
#[derive(Debug)]
pub(super) struct Names {
    socket: UdpSocket,
    pub(super) listener: TcpListener,
    flights: Table<Flight>,
    /// The processes that serve connections.
    pub(super) connections: Table<OwnedFd>,
    /// Which of several addresses comes first the next time.
    pub(super) turn: usize,
}

/// A question on its way.
#[derive(Debug)]
struct Flight {
    asker: SocketAddr,
    question: Vec<u8>,
    /// The number it travels with.
    id: u16,
    socket: UdpSocket,
    servers: Vec<SocketAddr>,
    /// When the next server is asked.
    until: u64,
}

impl Monitor<'_> {
    /// Begins to answer names in the network namespace `netns`, when the container's file asks for it and nobody does yet.
    pub(super) fn serve_names(&mut self, netns: BorrowedFd<'_>) -> Result<()> {
        let Some(text) = resolve::read_conf(&self.dir).filter(|_| self.names.is_none()) else {
            return Ok(());
        };
        let doing = || format!("listen at {ADDRESS} in the container's network");
        let Some(port) = Conf::new(&text).port() else {
            return Err(std::io::Error::other("the file has no port")).doing(doing);
        };
        let address = SocketAddrV4::new(ADDRESS, port);
        let open = || Ok::<_, std::io::Error>((UdpSocket::bind(address)?, TcpListener::bind(address)?));
        let (socket, listener) = sys::netns::inside_apart(netns, open).doing(doing)?.doing(doing)?;
        socket.set_nonblocking(true).and_then(|()| listener.set_nonblocking(true)).doing(doing)?;
        self.poller.add(&socket, Token::Names, READ).doing(doing)?;
        self.poller.add(&listener, Token::NamesListener, READ).doing(doing)?;
        let connections = Table::default();
        self.names = Some(Names { socket, listener, flights: Table::default(), connections, turn: 0 });
        Ok(())
    }

    /// Begins to answer names for the init that runs.
    pub(super) fn serve_names_of_init(&mut self) -> Result<()> {
        let path = format!("/proc/{}/ns/net", self.init.pid);
        let open = || rustix::fs::open(path.as_str(), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
        if self.init.pidfd.is_none() {
            return Err(Error::NotRunning { run_dir: self.launch.run_dir.clone() });
        }
        let netns = open().doing(|| format!("open {path}"))?;
        self.serve_names(netns.as_fd())
    }

    /// Nobody asks any more.
    pub(super) fn stop_names(&mut self) {
        let Some(names) = self.names.take() else { return };
        self.poller.remove(&names.socket);
        self.poller.remove(&names.listener);
        names.flights.iter().for_each(|(_, flight)| self.poller.remove(&flight.socket));
        names.connections.iter().for_each(|(_, pidfd)| self.poller.remove(pidfd));
    }

    /// Something was asked.
    pub(super) fn on_names(&mut self) {
        let Some(text) = resolve::read_conf(&self.dir) else { return self.drop_questions() };
        let conf = Conf::new(&text);
        for _ in 0..BATCH {
            let Some(names) = &mut self.names else { return };
            let mut bytes = [0; MAX_QUESTION];
            let Ok((length, asker)) = names.socket.recv_from(&mut bytes) else { return };
            names.turn = names.turn.wrapping_add(1);
            match resolve::resolve(conf, &bytes[..length], false, names.turn) {
                Verdict::Answered(answer) => names.tell(&answer, asker),
                Verdict::Forward => self.forward(conf, &bytes[..length], asker),
                Verdict::Ignored => {}
            }
        }
    }

    /// Without its file nothing is known, not even whether to ask outside.
    fn drop_questions(&mut self) {
        let Some(names) = &mut self.names else { return };
        let mut bytes = [0; MAX_QUESTION];
        for _ in 0..BATCH {
            if names.socket.recv_from(&mut bytes).is_err() {
                return;
            }
        }
    }

    /// Asks a server.
    fn forward(&mut self, conf: Conf<'_>, question: &[u8], asker: SocketAddr) {
        let Some(names) = &mut self.names else { return };
        let mut servers = conf.servers(host_servers);
        servers.reverse();
        let room = names.flights.numbers().len() < MAX_FLIGHTS;
        let flight = room.then(|| Flight::begin(question, asker, servers)).flatten();
        let Some(flight) = flight else { return names.fail(question, asker) };
        let number = names.flights.next_number();
        match self.poller.add(&flight.socket, Token::Flight(number), READ) {
            Ok(()) => {
                names.flights.insert(flight);
            }
            Err(_) => names.fail(question, asker),
        }
    }

    /// A server has answered, or cannot be reached.
    pub(super) fn on_flight(&mut self, number: u32) {
        let Some(names) = &mut self.names else { return };
        let Some(flight) = names.flights.get_mut(number) else { return };
        let buffer = &mut self.scratch[..];
        match flight.socket.recv(buffer) {
            Ok(length) if message::answers(&buffer[..length], &flight.question, flight.id) => {
                let last = flight.servers.is_empty();
                if message::is_failure(&buffer[..length]) && !last {
                    return self.next_server(number);
                }
                let answer = &mut buffer[..length];
                answer[..2].copy_from_slice(&flight.question[..2]);
                let asker = flight.asker;
                names.tell(answer, asker);
                self.end_flight(number);
            }
            // A stranger's words: the right ones may come still.
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => self.next_server(number),
        }
    }

    fn next_server(&mut self, number: u32) {
        let Some(names) = &mut self.names else { return };
        let Some(old) = names.flights.remove(number) else { return };
        self.poller.remove(&old.socket);
        let (question, asker) = (old.question, old.asker);
        match Flight::begin(&question, asker, old.servers) {
            Some(flight) => {
                let next = names.flights.next_number();
                match self.poller.add(&flight.socket, Token::Flight(next), READ) {
                    Ok(()) => {
                        names.flights.insert(flight);
                    }
                    Err(_) => names.fail(&question, asker),
                }
            }
            None => names.fail(&question, asker),
        }
    }

    fn end_flight(&mut self, number: u32) {
        let flight = self.names.as_mut().and_then(|names| names.flights.remove(number));
        if let Some(flight) = flight {
            self.poller.remove(&flight.socket);
        }
    }

    /// When the next flight has waited long enough.
    pub(super) fn names_deadline(&self) -> Option<u64> {
        self.names.as_ref()?.flights.iter().map(|(_, flight)| flight.until).min()
    }

    /// Asks the next server where one has not answered.
    pub(super) fn names_time(&mut self) {
        let Some(names) = &self.names else { return };
        let now = now_ms();
        let late: Vec<u32> = names
            .flights
            .iter()
            .filter(|(_, flight)| flight.until <= now)
            .map(|(number, _)| number)
            .collect();
        late.into_iter().for_each(|number| self.next_server(number));
    }
}

impl Names {
    /// Sends an answer; an asker that does not take it asks again.
    fn tell(&self, answer: &[u8], asker: SocketAddr) {
        let _ = self.socket.send_to(answer, asker);
    }

    fn fail(&self, question: &[u8], asker: SocketAddr) {
        if let Ok(query) = Query::parse(question) {
            self.tell(&query.refuse(Code::Failed), asker);
        }
    }
}

impl Flight {
    /// Sends the question to the last of `servers` that can be sent to at all.
    fn begin(question: &[u8], asker: SocketAddr, mut servers: Vec<SocketAddr>) -> Option<Self> {
        let alone = servers.len() <= 1;
        while let Some(server) = servers.pop() {
            let Some((socket, id)) = ask(question, server) else { continue };
            let patience = if alone { PATIENCE_ALONE_MS } else { PATIENCE_MS };
            let question = question.to_vec();
            return Some(Self { asker, question, id, socket, servers, until: now_ms() + patience });
        }
        None
    }
}

/// Sends a question to a server under a number of its own.
fn ask(question: &[u8], server: SocketAddr) -> Option<(UdpSocket, u16)> {
    let any: SocketAddr = match server {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).ok()?;
    socket.connect(server).ok()?;
    socket.set_nonblocking(true).ok()?;
    let id = random_id()?;
    let mut bytes = question.to_vec();
    bytes.get_mut(..2)?.copy_from_slice(&id.to_be_bytes());
    socket.send(&bytes).ok()?;
    Some((socket, id))
}

fn random_id() -> Option<u16> {
    let mut bytes = [0; 2];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()).ok()?;
    Some(u16::from_ne_bytes(bytes))
}

/// The host's `resolv.conf` as it is now; without one there is nobody to ask.
pub(super) fn host_servers() -> String {
    std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default()
}
