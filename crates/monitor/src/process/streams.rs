//! Output goes from the processes to the log and to clients, input from clients to the processes.

use rustix::io::Errno;

use super::endpoint::{Endpoint, Written};
use super::monitor::Monitor;
use super::poller::{READ, Target, Token, WRITE};
use crate::clock;
use crate::wire::Kind;

/// The most that is read of each stream after the end of its process: more than any pipe or terminal holds, but an end to what
/// a process that inherited it may go on writing.
const MAX_REST: usize = 4 << 20;

impl Monitor<'_> {
    /// Waits for the outputs of a process.
    pub(super) fn watch_outputs(&mut self, target: Target) {
        let poller = &self.poller;
        let process = match target {
            Target::Init => &self.init,
            Target::Exec(number) => match self.execs.get(number) {
                Some(exec) => &exec.process,
                None => return,
            },
            Target::Probe => return,
        };
        for (number, output) in process.endpoint.outputs.iter().enumerate() {
            if let Some(fd) = output {
                // It can only fail for want of memory; then its output waits in the pipe.
                let _ = poller.add(fd, Token::Output(target, number as u8), READ);
            }
        }
    }

    /// Reads an output once and hands on what it holds.
    pub(super) fn on_output(&mut self, target: Target, number: u8) {
        if self.read_output(target, number).is_none() {
            self.close_output(target, number);
        }
        self.update_pause(target);
    }

    /// Reads what is left of all outputs of a process that has ended.
    pub(super) fn drain(&mut self, target: Target) {
        for number in [0, 1] {
            let mut rest = MAX_REST;
            while rest > 0 {
                match self.read_output(target, number) {
                    Some(got) if got > 0 => rest = rest.saturating_sub(got),
                    _ => break,
                }
            }
            self.close_output(target, number);
        }
    }

    /// Returns how many bytes there were; `None` at the end.
    fn read_output(&mut self, target: Target, number: u8) -> Option<usize> {
        let process = match target {
            Target::Init => &self.init,
            Target::Exec(exec) => &self.execs.get(exec)?.process,
            // It has streams of its own, see `health`.
            Target::Probe => return None,
        };
        let fd = process.endpoint.outputs[usize::from(number)].as_ref()?;
        let got = match rustix::io::read(fd, &mut self.scratch[..]) {
            Ok(0) => return None,
            Ok(got) => got,
            Err(Errno::AGAIN | Errno::INTR) => return Some(0),
            // EIO: a terminal whose last process has closed it.
            Err(_) => return None,
        };
        self.deliver(target, number, got);
        Some(got)
    }

    /// Hands the first `len` bytes of the scratch buffer to the log and to the clients.
    fn deliver(&mut self, target: Target, number: u8, len: usize) {
        let data = &self.scratch[..len];
        let stream = Endpoint::stream(number);
        if target == Target::Init
            && let Some(log) = &mut self.log
        {
            log.write(stream, data, clock::now());
        }
        let mut queued = Vec::new();
        for client in self.peers.numbers() {
            let Some(peer) = self.peers.get_mut(client) else { continue };
            let kind = match (&peer.session, number) {
                (Some((session, attach)), 0) if *session == target && attach.stdout => Kind::Stdout,
                (Some((session, attach)), 1) if *session == target && attach.stderr => Kind::Stderr,
                _ => continue,
            };
            peer.send(kind, data);
            if peer.has_queue() {
                queued.push(client);
            }
        }
        for client in queued {
            self.sync_peer(client);
        }
    }

    fn close_output(&mut self, target: Target, number: u8) {
        let closed =
            self.process(target).and_then(|process| process.endpoint.outputs[usize::from(number)].take());
        if let Some(fd) = closed {
            self.poller.remove(&fd);
        }
    }

    /// Stops reading the output of a process whose lossless client is behind, and goes on when it has caught up.
    pub(super) fn update_pause(&mut self, target: Target) {
        let behind = self.peers.iter().any(|(_, peer)| {
            peer.behind && peer.session.as_ref().is_some_and(|(session, _)| *session == target)
        });
        let Some(process) = self.process(target) else { return };
        if process.endpoint.paused == behind {
            return;
        }
        process.endpoint.paused = behind;
        if behind {
            self.unwatch_outputs(target);
        } else {
            self.watch_outputs(target);
        }
    }

    fn unwatch_outputs(&mut self, target: Target) {
        let process = match target {
            Target::Init => &self.init,
            Target::Exec(number) => match self.execs.get(number) {
                Some(exec) => &exec.process,
                None => return,
            },
            Target::Probe => return,
        };
        for fd in process.endpoint.outputs.iter().flatten() {
            self.poller.remove(fd);
        }
    }

    /// Sends input to a process. `false` when the client has to wait.
    pub(super) fn write_input(&mut self, target: Target, data: &[u8]) -> bool {
        let Some(process) = self.process(target) else { return true };
        let Some(input) = &mut process.endpoint.input else { return true };
        let written = input.write(data);
        let full = input.is_full();
        self.after_input(target, written);
        !full
    }

    /// Ends the input of a process after what is pending. A terminal has no end of input.
    pub(super) fn end_input(&mut self, target: Target) {
        let Some(process) = self.process(target) else { return };
        if process.endpoint.terminal.is_some() {
            return;
        }
        if let Some(input) = &mut process.endpoint.input {
            let written = input.end();
            self.after_input(target, written);
        }
    }

    /// The process takes more input.
    pub(super) fn on_input(&mut self, target: Target) {
        let Some(process) = self.process(target) else { return };
        let Some(input) = &mut process.endpoint.input else { return };
        let written = input.flush();
        let full = input.is_full();
        self.after_input(target, written);
        if !full {
            self.resume_held(target);
        }
    }

    fn after_input(&mut self, target: Target, written: Written) {
        let poller = &self.poller;
        let process = match target {
            Target::Init => &mut self.init,
            Target::Exec(number) => match self.execs.get_mut(number) {
                Some(exec) => &mut exec.process,
                None => return,
            },
            Target::Probe => return,
        };
        let Some(input) = &process.endpoint.input else { return };
        match written {
            Written::Pending => {
                // It is in the set already when more is pending than before.
                let _ = poller.add(&input.fd, Token::Input(target), WRITE);
            }
            Written::All => poller.remove(&input.fd),
            Written::Ended => {
                poller.remove(&input.fd);
                process.endpoint.input = None;
                self.resume_held(target);
            }
        }
    }
}
