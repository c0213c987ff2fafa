//! What clients ask for.

use std::os::fd::OwnedFd;

use base::ErrorKind;
use rustix::event::epoll::EventFlags;

use super::monitor::{Monitor, Phase, is_gone};
use super::peer::{Incoming, Peer};
use super::poller::{NOTHING, READ, Target, Token, WRITE};
use crate::error::Result;
use crate::launch::StdinMode;
use crate::transport;
use crate::wire::{self, Attach, Failure, Kind};

/// As many clients as one container needs, and a bound on what a runaway command costs it.
const MAX_PEERS: usize = 256;

impl Monitor<'_> {
    /// Accepts the clients that wait.
    pub(super) fn on_listener(&mut self) {
        // One at a time: the set is level-triggered and tells of the next.
        let Some(socket) = self.listener.as_ref().and_then(transport::accept) else { return };
        if self.peers.numbers().len() >= MAX_PEERS {
            Peer::new(socket, false).refuse(ErrorKind::Unavailable, "the monitor has too many clients");
            return;
        }
        self.add_peer(socket, false);
    }

    /// Begins to listen to a client.
    pub(super) fn add_peer(&mut self, socket: OwnedFd, starter: bool) {
        let number = self.peers.next_number();
        if self.poller.add(&socket, Token::Client(number), READ).is_ok() {
            self.peers.insert(Peer::new(socket, starter));
            self.sync_peer(number);
        }
    }

    /// Waits for what a client's state asks for. One whose frames are held is not waited for at all, since its hanging up
    /// would be told again and again.
    pub(super) fn sync_peer(&mut self, number: u32) {
        let Some(peer) = self.peers.get(number) else { return };
        let mut flags = NOTHING;
        if !peer.held && !peer.leaving {
            flags |= READ;
        }
        if peer.has_queue() {
            flags |= WRITE;
        }
        let token = Token::Client(number);
        if peer.leaving && flags == NOTHING {
            self.remove_peer(number);
        } else if flags == NOTHING {
            self.poller.remove(&peer.socket);
        } else if self.poller.modify(&peer.socket, token, flags).is_err() {
            // It was not in the set.
            let _ = self.poller.add(&peer.socket, token, flags);
        }
    }

    /// Something happened on a client's connection.
    pub(super) fn on_client(&mut self, number: u32, flags: EventFlags) {
        let Some(peer) = self.peers.get_mut(number) else { return };
        if flags.contains(EventFlags::OUT) && !peer.flush() {
            return self.remove_peer(number);
        }
        let session = peer.session.as_ref().map(|(target, _)| *target);
        if peer.leaving {
            if !peer.has_queue() || is_gone(flags) {
                return self.remove_peer(number);
            }
        } else if flags.intersects(READ | EventFlags::HUP | EventFlags::ERR) && !peer.held {
            match peer.receive(&mut self.scratch) {
                Incoming::Gone => return self.remove_peer(number),
                Incoming::Some => self.take_frames(number),
                Incoming::Empty => {}
            }
        } else if is_gone(flags) && peer.has_queue() {
            return self.remove_peer(number);
        }
        self.sync_peer(number);
        if let Some(target) = session {
            self.update_pause(target);
        }
    }

    /// Works off the frames that a client has sent.
    fn take_frames(&mut self, number: u32) {
        while let Some(peer) = self.peers.get_mut(number) {
            if peer.held || peer.leaving {
                return;
            }
            let done = match peer.next_frame() {
                Ok(Some((kind, body))) if !peer.greeted => greet(peer, kind, &body),
                Ok(Some((kind, body))) => self.request(number, kind, body),
                Ok(None) => return,
                Err(error) => Err(error),
            };
            if let Err(error) = done
                && let Some(peer) = self.peers.get_mut(number)
            {
                let Failure { text, .. } = Failure::of(&error);
                peer.dismiss(ErrorKind::Invalid, text);
            }
        }
    }

    /// A process takes input again: clients that waited for it go on.
    pub(super) fn resume_held(&mut self, target: Target) {
        for number in self.peers.numbers() {
            let Some(peer) = self.peers.get_mut(number) else { continue };
            if peer.held && peer.session.as_ref().is_some_and(|(session, _)| *session == target) {
                peer.held = false;
                if peer.has_incoming() {
                    self.take_frames(number);
                }
                self.sync_peer(number);
            }
        }
    }

    fn request(&mut self, number: u32, kind: Kind, body: Vec<u8>) -> Result<()> {
        let Some(peer) = self.peers.get_mut(number) else { return Ok(()) };
        match kind {
            Kind::Stdin => self.on_stdin(number, &body),
            Kind::CloseStdin => self.on_close_stdin(number),
            Kind::Attach => self.on_attach(number, wire::parse(kind, &body)?),
            Kind::Resize => self.on_resize(number, &body)?,
            Kind::Signal => self.on_signal(number, wire::number(kind, &body)?),
            Kind::Watch => self.on_watch(number, body.first().copied().unwrap_or(wire::WATCH)),
            Kind::Cleaned => self.on_cleaned(number),
            Kind::CancelRestart => self.on_cancel_restart(number),
            Kind::Exec => self.on_exec(number, &body)?,
            Kind::ExecInspect => {
                let records = self.exec_records(std::str::from_utf8(&body).unwrap_or("?"));
                if let Some(peer) = self.peers.get_mut(number) {
                    peer.send_json(Kind::ExecRecords, &records);
                }
            }
            Kind::ServeNames => {
                let served = self.serve_names_of_init();
                let Some(peer) = self.peers.get_mut(number) else { return Ok(()) };
                match served {
                    Ok(()) => peer.send(Kind::Done, &[]),
                    Err(error) => peer.send_json(Kind::Failed, &Failure::of(&error)),
                }
            }
            Kind::Start if peer.starter => self.on_start(),
            Kind::Abort if peer.starter => self.on_abort(),
            _ => return Err(wire::broken(format!("sent {kind:?}, which is not for it to send"))),
        }
        Ok(())
    }

    fn on_attach(&mut self, number: u32, attach: Attach) {
        let ended = self.exit.is_some() || matches!(self.phase, Phase::Done(_));
        let Some(peer) = self.peers.get_mut(number) else { return };
        if ended {
            return peer.refuse(ErrorKind::Conflict, "the container does not run");
        }
        if peer.session.is_some() {
            return peer.refuse(ErrorKind::Conflict, "this connection is attached already");
        }
        peer.session = Some((Target::Init, attach));
        peer.claims |= attach.claim;
        peer.send(Kind::Done, &[]);
        if attach.stdin && self.stdin_owner.is_none() {
            self.stdin_owner = Some(number);
        }
        if let Some((columns, rows)) = attach.size {
            self.init.endpoint.resize(columns, rows);
        }
    }

    fn on_stdin(&mut self, number: u32, data: &[u8]) {
        let Some(peer) = self.peers.get_mut(number) else { return };
        let Some((target, attach)) = peer.session else { return };
        if attach.stdin
            && !self.write_input(target, data)
            && let Some(peer) = self.peers.get_mut(number)
        {
            peer.held = true;
        }
    }

    fn on_close_stdin(&mut self, number: u32) {
        let Some(peer) = self.peers.get_mut(number) else { return };
        match peer.session {
            Some((Target::Init, attach)) if attach.stdin => self.leave_input(number),
            Some((target @ Target::Exec(_), attach)) if attach.stdin => self.end_input(target),
            _ => {}
        }
    }

    /// The client `number` sends no more input to the container.
    fn leave_input(&mut self, number: u32) {
        if self.launch.stdin == StdinMode::Once && self.stdin_owner == Some(number) {
            self.end_input(Target::Init);
        }
    }

    fn on_resize(&mut self, number: u32, body: &[u8]) -> Result<()> {
        let (columns, rows, exec) = wire::parse_resize(body)?;
        let session =
            self.peers.get(number).and_then(|peer| peer.session.as_ref().map(|(target, _)| *target));
        let target = match session {
            Some(target) => Some(target),
            None if exec.is_empty() => Some(Target::Init),
            None => self.find_exec(exec).map(Target::Exec),
        };
        let process = target.and_then(|target| self.process(target));
        let resized = process.map(|process| process.endpoint.resize(columns, rows));
        if let (Some(true), Some(Target::Init)) = (resized, target) {
            let (height, width) = (rows.to_string(), columns.to_string());
            self.record_event("resize", &[("height", &height), ("width", &width)]);
        }
        // A session gets events only.
        if session.is_none()
            && let Some(peer) = self.peers.get_mut(number)
        {
            match resized {
                Some(true) => peer.send(Kind::Done, &[]),
                Some(false) => peer.refuse(ErrorKind::Conflict, "the process has no terminal"),
                None => peer.refuse(ErrorKind::NotFound, format!("exec session {exec:?} does not run")),
            }
        }
        Ok(())
    }

    fn on_signal(&mut self, number: u32, signal: i32) {
        let sent = match &self.init.pidfd {
            Some(pidfd) => sys::process::pidfd_kill(std::os::fd::AsFd::as_fd(pidfd), signal),
            None => Err(rustix::io::Errno::SRCH),
        };
        let Some(peer) = self.peers.get_mut(number) else { return };
        match sent {
            Ok(()) => peer.send(Kind::Done, &[]),
            Err(rustix::io::Errno::SRCH) => peer.refuse(ErrorKind::Conflict, "the container does not run"),
            Err(error) => {
                let kind =
                    if error == rustix::io::Errno::INVAL { ErrorKind::Invalid } else { ErrorKind::Internal };
                peer.refuse(kind, format!("cannot send signal {signal}: {error}"));
            }
        }
    }

    fn on_watch(&mut self, number: u32, word: u8) {
        let Some(peer) = self.peers.get_mut(number) else { return };
        peer.watches = true;
        peer.send(Kind::Done, &[]);
        match &self.exit {
            // Too late to claim: who did, or the command, is at it.
            Some(record) => peer.send_json(Kind::Exit, record),
            None => {
                peer.claims |= matches!(word, wire::WATCH_AND_CLEAN | wire::WATCH_AND_REMOVE);
                peer.removes |= word == wire::WATCH_AND_REMOVE;
            }
        }
    }

    /// Answers the one that started this monitor, if it is still there.
    pub(super) fn tell_starter(&mut self, kind: Kind, body: &[u8]) {
        if let Some(number) = self.starter()
            && let Some(peer) = self.peers.get_mut(number)
        {
            peer.send(kind, body);
            self.sync_peer(number);
        }
    }

    /// Answers the one that started this monitor that it failed.
    pub(super) fn refuse_starter(&mut self, failure: &Failure) {
        let mut frame = Vec::new();
        wire::encode_json(Kind::Failed, failure, &mut frame);
        self.tell_starter(Kind::Failed, &frame[wire::HEADER..]);
    }

    pub(super) fn starter(&self) -> Option<u32> {
        self.peers.iter().find(|(_, peer)| peer.starter).map(|(number, _)| number)
    }

    /// A client has gone: what depended on it ends.
    pub(super) fn remove_peer(&mut self, number: u32) {
        let Some(peer) = self.peers.remove(number) else { return };
        self.poller.remove(&peer.socket);
        match peer.session {
            Some((Target::Init, attach)) => {
                if attach.stdin {
                    self.leave_input(number);
                }
                if self.stdin_owner == Some(number) && self.launch.stdin != StdinMode::Once {
                    self.stdin_owner = None;
                }
                self.update_pause(Target::Init);
            }
            Some((target @ Target::Exec(exec), _)) => {
                self.end_input(target);
                self.update_pause(target);
                self.forget_exec_client(exec);
            }
            // Nobody attaches to a probe.
            Some((Target::Probe, _)) | None => {}
        }
        if peer.starter {
            self.on_starter_gone();
        }
        if peer.claims {
            self.on_claimer_gone();
        }
    }
}

/// The first frame must be a greeting of a version that exists; both sides go on with the smaller one, which is 1 so far.
fn greet(peer: &mut Peer, kind: Kind, body: &[u8]) -> Result<()> {
    match (kind, body) {
        (Kind::Hello, [version, ..]) if *version >= 1 => {
            peer.greeted = true;
            Ok(())
        }
        _ => Err(wire::broken("did not greet with a version".to_owned())),
    }
}
