//! One connected client: what came from it and is no whole frame yet, and what it has not taken yet.
//!
//! Two kinds of clients get output. A *lossless* one (the foreground of `run` or `exec`) stops the container's output while
//! it is more than 256 KiB behind, as a pipe to it would. Any other is dropped with a message when it is 1 MiB
//! behind, so that no onlooker can hold up the container or its log.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::os::fd::OwnedFd;

use base::ErrorKind;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown, recv, send, sendmsg, shutdown};

use super::poller::Target;
use crate::error::Result;
use crate::wire::{self, Attach, Decoded, Failure, HEADER, Kind};

/// How far behind a lossless client may be before the output waits for it, and how far when it goes on.
const PAUSE_AT: usize = 256 << 10;
const RESUME_AT: usize = 64 << 10;

/// How far behind any other client may be.
const DROP_AT: usize = 1 << 20;

/// Bytes that an answer may add to a queue that is full of output.
const HEADROOM: usize = 256 << 10;

/// A connected client.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) socket: OwnedFd,
    incoming: Vec<u8>,
    outgoing: VecDeque<Box<[u8]>>,
    /// Bytes of the first outgoing frame that are sent already.
    sent: usize,
    queued: usize,
    pub(super) greeted: bool,
    /// It is the one that started this monitor.
    pub(super) starter: bool,
    /// It takes part in the streams of a process.
    pub(super) session: Option<(Target, Attach)>,
    /// It wants to hear of the end.
    pub(super) watches: bool,
    /// It does the clean-up.
    pub(super) claims: bool,
    /// It removes the container afterwards.
    pub(super) removes: bool,
    /// Nothing more is read from it; it goes once its queue is empty.
    pub(super) leaving: bool,
    /// Its frames wait until the process takes more input.
    pub(super) held: bool,
    /// The output waits for it.
    pub(super) behind: bool,
}

/// What reading brought.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Incoming {
    /// Perhaps there is more.
    Some,
    /// Nothing more for now.
    Empty,
    /// The client has gone.
    Gone,
}

impl Peer {
    pub(super) fn new(socket: OwnedFd, starter: bool) -> Self {
        let mut peer = Self {
            socket,
            incoming: Vec::new(),
            outgoing: VecDeque::new(),
            sent: 0,
            queued: 0,
            greeted: false,
            starter,
            session: None,
            watches: false,
            claims: false,
            removes: false,
            leaving: false,
            held: false,
            behind: false,
        };
        peer.send(Kind::Hello, &[wire::VERSION]);
        peer
    }

    /// Reads once, through `scratch`.
    pub(super) fn receive(&mut self, scratch: &mut [u8]) -> Incoming {
        match recv(&self.socket, &mut *scratch, RecvFlags::DONTWAIT) {
            Ok((0, _)) => Incoming::Gone,
            Ok((got, _)) => {
                self.incoming.extend_from_slice(&scratch[..got]);
                Incoming::Some
            }
            Err(Errno::AGAIN | Errno::INTR) => Incoming::Empty,
            Err(_) => Incoming::Gone,
        }
    }

    /// Takes the first whole frame that came.
    pub(super) fn next_frame(&mut self) -> Result<Option<(Kind, Vec<u8>)>> {
        match wire::decode(&self.incoming)? {
            Decoded::Frame(kind, body, taken) => {
                let body = body.to_vec();
                self.incoming.drain(..taken);
                if self.incoming.is_empty() {
                    self.incoming = Vec::new();
                }
                Ok(Some((kind, body)))
            }
            Decoded::Wants(_) => Ok(None),
        }
    }

    /// Sends a frame, or queues what the socket does not take.
    pub(super) fn send(&mut self, kind: Kind, body: &[u8]) {
        if self.leaving {
            return;
        }
        let header = wire::header(kind, body.len());
        let mut done = 0;
        if self.outgoing.is_empty() {
            let parts = [IoSlice::new(&header), IoSlice::new(body)];
            let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
            match sendmsg(&self.socket, &parts, &mut SendAncillaryBuffer::default(), flags) {
                Ok(sent) => done = sent,
                Err(Errno::AGAIN | Errno::INTR | Errno::NOBUFS | Errno::NOMEM) => {}
                // Most likely it has gone. It must not wait for ever for what was not sent, and reading from it then says
                // that it has gone, which removes it.
                Err(_) => {
                    let _ = shutdown(&self.socket, Shutdown::Both);
                    return;
                }
            }
        }
        if done < HEADER + body.len() {
            self.queue(&header, body, done);
        }
    }

    /// Sends a frame with a JSON body.
    pub(super) fn send_json<T: serde::Serialize>(&mut self, kind: Kind, body: &T) {
        let mut frame = Vec::new();
        wire::encode_json(kind, body, &mut frame);
        self.send(kind, &frame[HEADER..]);
    }

    /// Answers that something failed.
    pub(super) fn refuse(&mut self, kind: ErrorKind, text: impl Into<String>) {
        self.send_json(Kind::Failed, &Failure::new(kind, text));
    }

    /// Answers that something failed and ends the connection once the answer is sent.
    pub(super) fn dismiss(&mut self, kind: ErrorKind, text: impl Into<String>) {
        self.refuse(kind, text);
        self.leaving = true;
    }

    /// Sends what the queue holds; `false` when the client has gone.
    pub(super) fn flush(&mut self) -> bool {
        while let Some(frame) = self.outgoing.front() {
            match send(&self.socket, &frame[self.sent..], SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
                Ok(sent) => {
                    self.queued -= sent;
                    self.sent += sent;
                    if self.sent == frame.len() {
                        self.outgoing.pop_front();
                        self.sent = 0;
                    }
                }
                Err(Errno::AGAIN | Errno::INTR | Errno::NOBUFS | Errno::NOMEM) => break,
                Err(_) => return false,
            }
        }
        if self.outgoing.is_empty() {
            self.outgoing = VecDeque::new();
        }
        if self.queued <= RESUME_AT {
            self.behind = false;
        }
        true
    }

    /// Says whether something waits to be sent.
    pub(super) fn has_queue(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// Says whether any of its input is still to be looked at.
    pub(super) fn has_incoming(&self) -> bool {
        !self.incoming.is_empty()
    }

    fn queue(&mut self, header: &[u8], body: &[u8], done: usize) {
        let mut frame = Vec::with_capacity(HEADER + body.len());
        frame.extend_from_slice(header);
        frame.extend_from_slice(body);
        if self.outgoing.is_empty() {
            self.sent = done;
        }
        self.queued += frame.len() - done;
        self.outgoing.push_back(frame.into_boxed_slice());
        let lossless = self.session.as_ref().is_some_and(|(_, attach)| attach.lossless);
        if lossless {
            self.behind |= self.queued > PAUSE_AT;
        }
        // A lossless one is held back by `behind`; only one that asks without reading answers gets this far.
        if self.queued > DROP_AT + if lossless { HEADROOM } else { 0 } {
            self.drop_slow();
        }
    }

    /// Gives up a client that does not keep up: what is half sent is ended, then the reason.
    fn drop_slow(&mut self) {
        self.outgoing.truncate(1);
        self.queued = self.outgoing.front().map_or(0, |frame| frame.len() - self.sent);
        let text = "dropped: more than 1 MiB of output waited to be read";
        let mut frame = Vec::new();
        wire::encode_json(Kind::Failed, &Failure::new(ErrorKind::Unavailable, text), &mut frame);
        self.queued += frame.len();
        self.outgoing.push_back(frame.into_boxed_slice());
        self.leaving = true;
    }
}
