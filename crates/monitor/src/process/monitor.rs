//! The monitor's state and its loop.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::process::Child;

use base::ErrorKind;
use rustix::event::epoll::EventFlags;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use rustix::time::{ClockId, clock_gettime};
use sys::pages::Pages;

use super::endpoint::Endpoint;
use super::execs::Exec;
use super::fork::Link;
use super::guard::Guard;
use super::health::Health;
use super::names::Names;
use super::peer::Peer;
use super::poller::{Poller, READ, Ready, Target, Token};
use super::table::Table;
use crate::creator::Creator;
use crate::error::{Doing, Error, Result};
use crate::launch::{Launch, LaunchFds};
use crate::log::LogWriter;
use crate::record::{ExecRecord, ExitRecord};
use crate::transport;

/// Read at once from a stream: all that a pipe holds.
const SCRATCH: usize = crate::wire::MAX_DATA;

/// Buffers are given back after so long without anything to do.
const IDLE_MS: u64 = 1_000;

/// A client that does not read gets so long to take the last bytes, unless the output was to wait for it.
pub(super) const LINGER_MS: u64 = 10_000;

/// Where the container is in its life; the transitions are drawn in the parent module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// A creator works.
    Creating,
    /// The init waits.
    Created,
    /// The init was told to run.
    Starting,
    /// The init runs.
    Running,
    /// The init has ended; a client cleans up.
    Claimed,
    /// The clean-up command runs; with `true` it starts the container again.
    Cleaning(bool),
    /// It starts again at this moment of the monotonic clock, in milliseconds.
    Waiting(u64),
    /// All is done; gives slow clients until this moment.
    Done(u64),
}

/// A process that the monitor looks after.
#[derive(Debug, Default)]
pub(super) struct Process {
    pub(super) endpoint: Endpoint,
    pub(super) creator: Option<Link>,
    pub(super) pid: i32,
    pub(super) pidfd: Option<OwnedFd>,
    /// How it ended, as `waitpid` encodes it.
    pub(super) status: Option<Status>,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    /// With this exit code.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// Nobody can tell.
    Unknown,
}

impl Status {
    /// The code that Docker shows: 128 + signal.
    pub(super) fn exit_code(self) -> i32 {
        match self {
            Self::Code(code) => code,
            Self::Signal(signal) => 128 + signal,
            Self::Unknown => 255,
        }
    }
}

/// Why a creation is undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Undo {
    /// The starter asked for it and cleans up by itself.
    Aborted,
    /// The starter has gone: the clean-up command is run.
    Orphaned,
}

/// The monitor of one container.
pub(super) struct Monitor<'c> {
    pub(super) creator: &'c dyn Creator,
    pub(super) launch: Launch,
    pub(super) dir: OwnedFd,
    /// Held while the init lives, so that there is one monitor.
    pub(super) lock: Option<OwnedFd>,
    pub(super) takeover: bool,
    pub(super) poller: Poller,
    pub(super) listener: Option<OwnedFd>,
    pub(super) peers: Table<Peer>,
    pub(super) stdin_owner: Option<u32>,
    pub(super) init: Process,
    /// Whoever gives up an overlay last waits until the disk below it is written. That is to be this process and not
    /// the init, whose end people wait for.
    pub(super) rootfs: Option<OwnedFd>,
    pub(super) execs: Table<Exec>,
    pub(super) ended_execs: VecDeque<ExecRecord>,
    pub(super) health: Option<Health>,
    pub(super) log: Option<LogWriter>,
    pub(super) scratch: Pages,
    dirty: bool,
    pub(super) phase: Phase,
    pub(super) undo: Option<Undo>,
    pub(super) started_at: String,
    pub(super) exit: Option<ExitRecord>,
    pub(super) cleanup: Option<Child>,
    pub(super) cleanup_fd: Option<OwnedFd>,
    pub(super) cleanup_text: Vec<u8>,
    pub(super) names: Option<Names>,
    pub(super) guard: Option<Guard>,
}

impl<'c> Monitor<'c> {
    /// Takes the run folder and listens in it. Fails with the kind `Conflict` when another monitor has it.
    pub(super) fn begin(creator: &'c dyn Creator, launch: Launch, takeover: bool) -> Result<Self> {
        let dir = transport::open_dir(&launch.run_dir)?;
        let lock = transport::open_dir(&launch.run_dir)?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::AGAIN) => {
                return Err(Error::Answer {
                    kind: ErrorKind::Conflict,
                    text: format!("container {} has a monitor already", launch.id.short()),
                });
            }
            other => other.doing(|| format!("lock {:?}", launch.run_dir))?,
        }
        let listener = transport::listen_in(&dir)?;
        let doing = || "set up the monitor".to_owned();
        let poller = Poller::new().doing(doing)?;
        poller.add(&listener, Token::Listener, READ).doing(doing)?;
        let log = LogWriter::of(&launch.log).doing(|| "initialize logging driver".to_owned())?;
        Ok(Self {
            creator,
            launch,
            dir,
            lock: Some(lock),
            takeover,
            poller,
            listener: Some(listener),
            peers: Table::default(),
            stdin_owner: None,
            init: Process::default(),
            rootfs: None,
            execs: Table::default(),
            ended_execs: VecDeque::new(),
            health: None,
            log,
            scratch: Pages::new(SCRATCH).doing(doing)?,
            dirty: false,
            phase: Phase::Creating,
            undo: None,
            started_at: String::new(),
            exit: None,
            cleanup: None,
            cleanup_fd: None,
            cleanup_text: Vec::new(),
            names: None,
            guard: None,
        })
    }

    /// Creates the container, or takes it over, and looks after it until all is done.
    pub(super) fn run(mut self, control: OwnedFd, mut fds: LaunchFds) -> Result<()> {
        let _kept = fds.keep.take();
        let begun = if self.takeover { self.take_over() } else { self.create(fds) };
        if let Err(error) = begun {
            super::report(&control, &error);
            // Of a container that is not ours to take over nothing is removed but the socket.
            if !self.takeover {
                self.remove_files();
            }
            return Err(error);
        }
        self.add_peer(control, true);
        if self.takeover {
            self.tell_starter(crate::wire::Kind::Done, &[]);
        }
        let mut ready = Vec::new();
        while !self.is_over() {
            self.poller.wait(self.timeout(), &mut ready).doing(|| "wait for events".to_owned())?;
            if ready.is_empty() {
                self.on_time();
            }
            for one in &ready {
                self.dispatch(*one);
            }
            self.names_time();
            self.tick_guard();
            self.tick_health();
        }
        Ok(())
    }

    fn dispatch(&mut self, ready: Ready) {
        self.dirty = true;
        match ready.token {
            Token::Listener => self.on_listener(),
            Token::Client(number) => self.on_client(number, ready.flags),
            Token::Input(target) => self.on_input(target),
            Token::Output(Target::Probe, _) => self.on_probe_output(),
            Token::Output(target, number) => self.on_output(target, number),
            Token::Creator(target) => self.on_creator(target),
            Token::CreatorEnd(target) => self.on_creator_end(target),
            Token::Process(Target::Init) => self.on_init_end(),
            Token::Process(Target::Exec(number)) => self.on_exec_end(number),
            Token::Process(Target::Probe) => self.on_probe_end(),
            Token::CleanupOutput => self.on_cleanup_output(),
            Token::CleanupEnd => self.on_cleanup_end(),
            Token::Names => self.on_names(),
            Token::NamesListener => self.on_names_listener(),
            Token::Flight(number) => self.on_flight(number),
            Token::NamesConnection(number) => self.on_names_connection(number),
            Token::Guard => self.on_guard(),
        }
    }

    /// Says whether the process may end: all is done, and all clients have what is theirs.
    fn is_over(&self) -> bool {
        let Phase::Done(until) = self.phase else { return false };
        let mut waiting = self.peers.iter().filter(|(_, peer)| peer.has_queue()).peekable();
        let patient = |peer: &Peer| peer.session.is_some_and(|(_, attach)| attach.lossless);
        waiting.peek().is_none() || (now_ms() >= until && !waiting.any(|(_, peer)| patient(peer)))
    }

    fn timeout(&self) -> Option<u64> {
        let idle = self.dirty.then_some(IDLE_MS);
        let deadline = match self.phase {
            Phase::Waiting(until) | Phase::Done(until) if until > now_ms() => Some(until - now_ms()),
            Phase::Waiting(_) => Some(0),
            _ => None,
        };
        let flight = self.names_deadline().map(|until| until.saturating_sub(now_ms()));
        [idle, deadline, self.health_wait(), flight, self.guard_wait()].into_iter().flatten().min()
    }

    /// Nothing happened for a while: memory goes back, and what waited for a moment may have its moment.
    fn on_time(&mut self) {
        if self.dirty {
            self.dirty = false;
            self.reap_strays();
            self.scratch.release();
            if let Some(log) = &mut self.log {
                log.release();
            }
            sys::pages::forget_program();
        }
        if matches!(self.phase, Phase::Waiting(until) if until <= now_ms()) {
            self.restart();
        }
    }

    /// The process of `target`.
    pub(super) fn process(&mut self, target: Target) -> Option<&mut Process> {
        match target {
            Target::Init => Some(&mut self.init),
            Target::Exec(number) => self.execs.get_mut(number).map(|exec| &mut exec.process),
            Target::Probe => self.health.as_mut()?.probe.as_mut().map(|probe| &mut probe.process),
        }
    }
}

/// Milliseconds of the monotonic clock.
pub(super) fn now_ms() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    u64::try_from(now.tv_sec).unwrap_or(0) * 1000 + u64::try_from(now.tv_nsec).unwrap_or(0) / 1_000_000
}

/// Says whether the other side of a descriptor has gone.
pub(super) fn is_gone(flags: EventFlags) -> bool {
    flags.intersects(EventFlags::HUP | EventFlags::ERR)
}
