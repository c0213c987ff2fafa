//! Exec sessions: further processes inside the container, each with at most one client.

use std::os::fd::AsFd;

use base::ErrorKind;

use super::endpoint::{self, Endpoint};
use super::fork::{self, Message};
use super::life::wait_child;
use super::monitor::{Monitor, Phase, Process, Status};
use super::poller::{READ, Target, Token};
use crate::creator::ExecJob;
use crate::error::Result;
use crate::record::ExecRecord;
use crate::wire::{self, Attach, Failure, Kind};

/// How many sessions that have ended are remembered.
const REMEMBERED: usize = 64;

/// As many sessions as one container may run at once: each costs a few descriptors of the monitor.
const MAX_EXECS: usize = 200;

/// Exit codes of what could not be run, as a shell gives them.
const NOT_FOUND: i32 = 127;
const NOT_EXECUTABLE: i32 = 126;

/// One session.
#[derive(Debug)]
pub(super) struct Exec {
    pub(super) id: String,
    pub(super) process: Process,
    pub(super) client: Option<u32>,
    detach: bool,
}

impl Monitor<'_> {
    pub(super) fn on_exec(&mut self, number: u32, body: &[u8]) -> Result<()> {
        let request: wire::Exec = wire::parse(Kind::Exec, body)?;
        let refusal = self.exec_refusal(number, &request.id);
        let begun = match refusal {
            Some(failure) => Err(failure),
            None => self.fork_exec(number, &request).map_err(|error| Failure::of(&error)),
        };
        if let (Err(failure), Some(peer)) = (begun, self.peers.get_mut(number)) {
            peer.send_json(Kind::Failed, &failure);
        }
        Ok(())
    }

    fn exec_refusal(&self, number: u32, id: &str) -> Option<Failure> {
        let valid = (1..=64).contains(&id.len())
            && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'));
        if !valid {
            let text = format!("invalid exec session {id:?}: 1 to 64 of [0-9A-Za-z_.-] are wanted");
            return Some(Failure::new(ErrorKind::Invalid, text));
        }
        if self.phase != Phase::Running {
            return Some(Failure::new(ErrorKind::Conflict, "the container does not run"));
        }
        if self.find_exec(id).is_some() || self.ended_execs.iter().any(|record| record.id == id) {
            return Some(Failure::new(
                ErrorKind::AlreadyExists,
                format!("exec session {id:?} exists already"),
            ));
        }
        if self.execs.numbers().len() >= MAX_EXECS {
            return Some(Failure::new(
                ErrorKind::Unavailable,
                "too many exec sessions run in this container",
            ));
        }
        let busy = self.peers.get(number).is_some_and(|peer| peer.session.is_some());
        busy.then(|| Failure::new(ErrorKind::Conflict, "this connection is attached already"))
    }

    fn fork_exec(&mut self, number: u32, request: &wire::Exec) -> Result<()> {
        let attached = !request.detach;
        let (endpoint, stdio) = if request.terminal && attached {
            (Endpoint::default(), None)
        } else {
            let wanted = |stream: bool| stream && attached;
            let (endpoint, stdio) =
                endpoint::pipes(wanted(request.stdin), wanted(request.stdout), wanted(request.stderr))?;
            // A detached session may have a terminal, too; the monitor reads it and throws it away.
            (endpoint, (!request.terminal).then_some(stdio))
        };
        let target = Target::Exec(self.execs.next_number());
        let keep: Vec<_> = stdio.iter().flatten().map(AsFd::as_fd).collect();
        let (creator, launch, process) = (self.creator, &self.launch, &request.process);
        let link = fork::fork(&keep, |link| {
            let stdio = stdio.as_ref().map(|fds| fds.each_ref().map(|fd| fd.try_clone()));
            fork::make_exec(link, || creator.exec(ExecJob { launch, process, stdio: fork::cloned(stdio)? }));
        })?;
        drop(stdio);
        self.watch_creator(&link, target)?;
        let session = Attach {
            stdin: request.stdin,
            stdout: request.stdout,
            stderr: request.stderr,
            lossless: true,
            ..Attach::default()
        };
        let process = Process { endpoint, creator: Some(link), ..Process::default() };
        let exec = Exec { id: request.id.clone(), process, client: Some(number), detach: request.detach };
        self.execs.insert(exec);
        if attached && let Some(peer) = self.peers.get_mut(number) {
            peer.session = Some((target, session));
        }
        Ok(())
    }

    /// The creator of a session has spoken.
    pub(super) fn on_exec_message(&mut self, number: u32, message: Message) {
        let Some(exec) = self.execs.get_mut(number) else { return };
        let target = Target::Exec(number);
        match message {
            Message::Made(made) => {
                exec.process.pid = made.pid;
                if let Some(console) = made.console
                    && let Ok(endpoint) = Endpoint::of_terminal(console, None)
                {
                    exec.process.endpoint = endpoint;
                }
                let (client, detach) = (exec.client, exec.detach);
                // It can only fail for want of memory; then the end of the session is not noticed until the container's.
                let _ = self.poller.add(&made.pidfd, Token::Process(target), READ);
                exec.process.pidfd = Some(made.pidfd);
                if detach {
                    exec.client = None;
                }
                self.watch_outputs(target);
                if let Some(client) = client
                    && let Some(peer) = self.peers.get_mut(client)
                {
                    peer.send(Kind::Done, &[]);
                    self.sync_peer(client);
                }
                self.resume_held(target);
            }
            Message::Refused(failure) => {
                let code = match failure.kind.as_str() {
                    "command-not-found" => NOT_FOUND,
                    _ => NOT_EXECUTABLE,
                };
                if let Some(client) = exec.client
                    && let Some(peer) = self.peers.get_mut(client)
                {
                    peer.session = None;
                    peer.send_json(Kind::Failed, &failure);
                    self.sync_peer(client);
                }
                self.forget_exec(number, code);
            }
            Message::Started | Message::Ended => {}
        }
    }

    /// The process of a session has ended.
    pub(super) fn on_exec_end(&mut self, number: u32) {
        let Some(exec) = self.execs.get_mut(number) else { return };
        let Some(pidfd) = exec.process.pidfd.take() else { return };
        let status = exec.process.status.unwrap_or_else(|| wait_child(&pidfd));
        self.poller.remove(&pidfd);
        self.finish_exec(number, status);
    }

    /// Hands on the last output of a session and its exit code.
    pub(super) fn finish_exec(&mut self, number: u32, status: Status) {
        self.drain(Target::Exec(number));
        let code = status.exit_code();
        if let Some(exec) = self.execs.get(number) {
            self.record_event("exec_die", &[("execID", &exec.id), ("exitCode", &code.to_string())]);
        }
        let client = self.execs.get(number).and_then(|exec| exec.client);
        if let Some(client) = client
            && let Some(peer) = self.peers.get_mut(client)
        {
            peer.send(Kind::ExecExit, &code.to_le_bytes());
            peer.session = None;
            peer.held = false;
            // The connection is done with; who asks for more comes again.
            peer.leaving = peer.has_queue();
            if peer.leaving {
                self.sync_peer(client);
            } else {
                self.remove_peer(client);
            }
        }
        self.forget_exec(number, code);
    }

    fn forget_exec(&mut self, number: u32, exit_code: i32) {
        let Some(exec) = self.execs.remove(number) else { return };
        if let Some(input) = &exec.process.endpoint.input {
            self.poller.remove(&input.fd);
        }
        if let Some(creator) = &exec.process.creator {
            // It has said its last word and is ending.
            self.poller.remove(&creator.socket);
            self.poller.remove(&creator.pidfd);
            wait_child(&creator.pidfd);
            self.reap_strays();
        }
        if self.ended_execs.len() == REMEMBERED {
            self.ended_execs.pop_front();
        }
        let pid = exec.process.pid;
        self.ended_execs.push_back(ExecRecord {
            id: exec.id,
            pid,
            running: false,
            exit_code: Some(exit_code),
        });
    }

    /// The client of a session has gone; the process goes on, and what it writes is thrown away.
    pub(super) fn forget_exec_client(&mut self, number: u32) {
        if let Some(exec) = self.execs.get_mut(number) {
            exec.client = None;
        }
    }

    pub(super) fn find_exec(&self, id: &str) -> Option<u32> {
        self.execs.iter().find(|(_, exec)| exec.id == id).map(|(number, _)| number)
    }

    /// What is known of the session `id`, or of all with an empty `id`.
    pub(super) fn exec_records(&self, id: &str) -> Vec<ExecRecord> {
        let running = self.execs.iter().map(|(_, exec)| ExecRecord {
            id: exec.id.clone(),
            pid: exec.process.pid,
            running: true,
            exit_code: None,
        });
        let ended = self.ended_execs.iter().cloned();
        ended.chain(running).filter(|record| id.is_empty() || record.id == id).collect()
    }
}
