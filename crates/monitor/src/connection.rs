//! One end of a connection to a monitor, as a client sees it: frames out, frames in, waiting where it must.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::sockopt::socket_peercred;
use rustix::net::{RecvFlags, SendFlags, recv, send};

use crate::error::{Doing, Error, Result};
use crate::wire::{self, Decoded, HEADER, Kind, MAX_DATA};

/// Read at once: a few full frames of output.
const BLOCK: usize = 4 * (HEADER + MAX_DATA);

/// How long a monitor that runs already may take to greet: it does so at once when it accepts a connection.
const PATIENCE: Timespec = Timespec { tv_sec: 10, tv_nsec: 0 };

/// A blocking connection.
#[derive(Debug)]
pub(crate) struct Connection {
    socket: OwnedFd,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    greeted: bool,
    /// Whether the greeting may take its time, because the monitor is being started.
    patient: bool,
}

impl Connection {
    /// Takes a socket that is connected with a monitor which runs already, and sends the greeting.
    pub(crate) fn new(socket: OwnedFd) -> Result<Self> {
        Self::begin(socket, false)
    }

    /// Takes a socket that is connected with a monitor which is about to start, and sends the greeting.
    pub(crate) fn with_starting(socket: OwnedFd) -> Result<Self> {
        Self::begin(socket, true)
    }

    fn begin(socket: OwnedFd, patient: bool) -> Result<Self> {
        let mut connection = Self { socket, buffer: Vec::new(), start: 0, end: 0, greeted: false, patient };
        connection.send(Kind::Hello, &[wire::VERSION])?;
        Ok(connection)
    }

    /// Sends one frame.
    pub(crate) fn send(&mut self, kind: Kind, body: &[u8]) -> Result<()> {
        send_frame(self.socket.as_fd(), kind, body)
    }

    /// Sends one frame with a JSON body.
    pub(crate) fn send_json<T: serde::Serialize>(&mut self, kind: Kind, body: &T) -> Result<()> {
        let mut frame = Vec::new();
        wire::encode_json(kind, body, &mut frame);
        send_all(self.socket.as_fd(), &frame)
    }

    /// Waits for the next frame.
    pub(crate) fn recv(&mut self) -> Result<(Kind, &[u8])> {
        while !self.has_frame()? {
            self.fill(RecvFlags::empty())?;
        }
        self.take_frame()
    }

    /// Returns the next frame if it is there, without waiting.
    pub(crate) fn try_recv(&mut self) -> Result<Option<(Kind, &[u8])>> {
        while !self.has_frame()? {
            if !self.fill(RecvFlags::DONTWAIT)? {
                return Ok(None);
            }
        }
        self.take_frame().map(Some)
    }

    /// Waits for `Done`, and turns `Failed` into an error.
    pub(crate) fn expect_done(&mut self) -> Result<()> {
        self.expect(Kind::Done).map(|_| ())
    }

    /// Waits for a frame of `kind`, and turns `Failed` into an error.
    pub(crate) fn expect(&mut self, wanted: Kind) -> Result<&[u8]> {
        match self.recv()? {
            (kind, body) if kind == wanted => Ok(body),
            (Kind::Failed, body) => Err(wire::parse::<wire::Failure>(Kind::Failed, body)?.into_error()),
            (kind, _) => Err(wire::broken(format!("answered {kind:?} where {wanted:?} was expected"))),
        }
    }

    /// Returns the socket, to poll it or to send from elsewhere.
    pub(crate) fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Says whether a whole frame is buffered, so that polling the socket would wait in vain.
    pub(crate) fn has_frame(&mut self) -> Result<bool> {
        loop {
            match wire::decode(&self.buffer[self.start..self.end])? {
                Decoded::Frame(Kind::Hello, body, taken) => {
                    let version = body.first().copied().unwrap_or(0);
                    if version < 1 {
                        return Err(wire::broken(format!("speaks version {version} of the protocol")));
                    }
                    self.greeted = true;
                    self.start += taken;
                }
                Decoded::Frame(..) if !self.greeted => {
                    return Err(wire::broken("did not greet".to_owned()));
                }
                Decoded::Frame(..) => return Ok(true),
                Decoded::Wants(_) => return Ok(false),
            }
        }
    }

    /// Returns the kind of the next frame if it is buffered as a whole.
    pub(crate) fn buffered_kind(&self) -> Option<Kind> {
        match wire::decode(&self.buffer[self.start..self.end]) {
            Ok(Decoded::Frame(kind, ..)) => Some(kind),
            _ => None,
        }
    }

    fn take_frame(&mut self) -> Result<(Kind, &[u8])> {
        match wire::decode(&self.buffer[self.start..self.end])? {
            Decoded::Frame(kind, body, taken) => {
                self.start += taken;
                Ok((kind, body))
            }
            Decoded::Wants(_) => Err(Error::Closed),
        }
    }

    /// Waits until something comes, but not for ever: a monitor that is stopped would never greet.
    fn wait_for_greeting(&self) -> Result<()> {
        let mut fds = [PollFd::from_borrowed_fd(self.socket.as_fd(), PollFlags::IN)];
        match poll(&mut fds, Some(&PATIENCE)) {
            Ok(0) => {
                let pid = socket_peercred(&self.socket).map_or(0, |peer| peer.pid.as_raw_nonzero().get());
                Err(Error::Silent { pid, seconds: PATIENCE.tv_sec })
            }
            // A signal: the caller waits anew.
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error).doing(|| "wait for the monitor".to_owned()),
        }
    }

    /// Reads once; `false` when nothing is there and `flags` forbid waiting.
    fn fill(&mut self, flags: RecvFlags) -> Result<bool> {
        let wanted = match wire::decode(&self.buffer[self.start..self.end])? {
            Decoded::Wants(wanted) => wanted,
            Decoded::Frame(..) => return Ok(true),
        };
        self.buffer.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        if self.buffer.len() < wanted.max(BLOCK) {
            self.buffer.resize(wanted.max(BLOCK), 0);
        }
        if !self.greeted && !self.patient && flags.is_empty() {
            self.wait_for_greeting()?;
        }
        loop {
            match recv(&self.socket, &mut self.buffer[self.end..], flags) {
                Ok((0, _)) | Err(Errno::CONNRESET) => return Err(Error::Closed),
                Ok((got, _)) => {
                    self.end += got;
                    return Ok(true);
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(false),
                Err(error) => return Err(error).doing(|| "receive from the monitor".to_owned()),
            }
        }
    }
}

/// Sends one frame, waiting as long as it takes.
pub(crate) fn send_frame(socket: BorrowedFd<'_>, kind: Kind, body: &[u8]) -> Result<()> {
    let mut frame = Vec::with_capacity(HEADER + body.len());
    wire::encode(kind, body, &mut frame);
    send_all(socket, &frame)
}

fn send_all(socket: BorrowedFd<'_>, mut bytes: &[u8]) -> Result<()> {
    while !bytes.is_empty() {
        match send(socket, bytes, SendFlags::NOSIGNAL) {
            Ok(sent) => bytes = &bytes[sent..],
            Err(Errno::INTR) => {}
            Err(Errno::PIPE | Errno::CONNRESET) => return Err(Error::Closed),
            Err(error) => return Err(error).doing(|| "send to the monitor".to_owned()),
        }
    }
    Ok(())
}
