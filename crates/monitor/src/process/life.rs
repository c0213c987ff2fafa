//! The transitions of a container's life: create, start, end, clean up, start again.

use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use base::ErrorKind;
use rustix::fs::AtFlags;
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions, WaitOptions, pidfd_open, waitid};

use super::endpoint::{self, Endpoint};
use super::fork::{self, Link, Message};
use super::monitor::{LINGER_MS, Monitor, Phase, Status, Undo, now_ms};
use super::poller::{READ, Target, Token};
use super::{endpoint::FIFOS, failed};
use crate::clock;
use crate::creator::{CreateJob, MadeProcess};
use crate::error::{Doing, Error, Result};
use crate::launch::{LaunchFds, VERSION};
use crate::record::{ExitRecord, StateRecord, process_stat};
use crate::transport::SOCKET;
use crate::wire::{self, Failure, Kind};

/// The most that is kept of what the clean-up command says.
const MAX_CLEANUP_TEXT: usize = 4096;

/// A process that is not our child is reaped by its parent; how long to wait for that: 3 seconds.
const STATUS_TRIES: u32 = 1500;
const STATUS_PAUSE: Duration = Duration::from_millis(2);

const SIGKILL: i32 = 9;

impl Monitor<'_> {
    /// Forks the creator of the container.
    pub(super) fn create(&mut self, fds: LaunchFds) -> Result<()> {
        let stdio = if self.launch.terminal {
            None
        } else {
            let (endpoint, stdio) = endpoint::fifos(&self.dir, self.launch.stdin)?;
            self.init.endpoint = endpoint;
            Some(stdio)
        };
        let streams = stdio.iter().flatten().map(AsFd::as_fd);
        let given = [&fds.rootfs, &fds.netns, &fds.userns].into_iter().flatten().map(AsFd::as_fd);
        let keep: Vec<_> = streams.chain(given).collect();
        if let Some(netns) = &fds.netns {
            self.serve_names(netns.as_fd())?;
        }
        self.begin_guard();
        let (creator, launch) = (self.creator, &self.launch);
        let link = fork::fork(&keep, |link| {
            let stdio = stdio.as_ref().map(|fds| fds.each_ref().map(|fd| fd.try_clone()));
            let clone = |fd: &Option<OwnedFd>| fd.as_ref().map(OwnedFd::try_clone).transpose();
            fork::make_init(link, || {
                let fds = LaunchFds {
                    rootfs: clone(&fds.rootfs).map_err(fork::refused)?,
                    netns: clone(&fds.netns).map_err(fork::refused)?,
                    userns: clone(&fds.userns).map_err(fork::refused)?,
                    keep: None,
                };
                creator.create(CreateJob { launch, fds, stdio: fork::cloned(stdio)? })
            });
        })?;
        self.watch_creator(&link, Target::Init)?;
        self.init.creator = Some(link);
        self.rootfs = fds.rootfs;
        self.watch_outputs(Target::Init);
        Ok(())
    }

    /// Becomes the monitor of an init whose former monitor was killed.
    pub(super) fn take_over(&mut self) -> Result<()> {
        let run_dir = &self.launch.run_dir;
        let not_running = || Error::NotRunning { run_dir: run_dir.clone() };
        let record = StateRecord::load(run_dir)?.ok_or_else(not_running)?;
        let pid = Pid::from_raw(record.pid).ok_or_else(not_running)?;
        // Opened first and compared afterwards: the descriptor cannot change its process any more.
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).map_err(|_| not_running())?;
        if !record.is_alive() {
            return Err(not_running());
        }
        if !self.launch.terminal {
            self.init.endpoint = endpoint::open_fifos(&self.dir, self.launch.stdin)?;
        }
        self.poller.add(&pidfd, Token::Process(Target::Init), READ).doing(|| "watch the init".to_owned())?;
        self.init.pid = record.pid;
        self.init.pidfd = Some(pidfd);
        self.started_at = record.started_at.clone();
        self.phase = Phase::Running;
        StateRecord { monitor: own_pid(), ..record }.save(&self.launch.run_dir)?;
        self.begin_health();
        self.watch_outputs(Target::Init);
        // A container that goes on without names is better off than one without a monitor.
        let _ = self.serve_names_of_init();
        self.begin_guard();
        Ok(())
    }

    pub(super) fn watch_creator(&self, link: &Link, target: Target) -> Result<()> {
        let doing = || "watch a creator".to_owned();
        self.poller.add(&link.socket, Token::Creator(target), READ).doing(doing)?;
        self.poller.add(&link.pidfd, Token::CreatorEnd(target), READ).doing(doing)
    }

    /// A creator has something to say.
    pub(super) fn on_creator(&mut self, target: Target) {
        let Some(process) = self.process(target) else { return };
        let Some(link) = &process.creator else { return };
        match link.take() {
            None => {}
            // Its end is told by its descriptor, too, and looked at there.
            Some(Message::Ended) => self.unwatch_creator(target),
            Some(message) => self.on_message(target, message),
        }
    }

    fn on_message(&mut self, target: Target, message: Message) {
        match (target, message) {
            (Target::Exec(number), message) => self.on_exec_message(number, message),
            (Target::Probe, message) => self.on_probe_message(message),
            (Target::Init, Message::Made(made)) => self.on_made(made),
            (Target::Init, Message::Started) => self.on_started(),
            (Target::Init, Message::Refused(failure)) => self.on_refused(failure),
            (Target::Init, Message::Ended) => {}
        }
    }

    /// A creator has ended: what it said last is looked at before it is forgotten.
    pub(super) fn on_creator_end(&mut self, target: Target) {
        while let Some(link) = self.process(target).and_then(|process| process.creator.as_ref()) {
            match link.take() {
                Some(Message::Ended) | None => return self.forget_creator(target),
                Some(message) => self.on_message(target, message),
            }
        }
    }

    fn forget_creator(&mut self, target: Target) {
        self.unwatch_creator(target);
        let Some(link) = self.process(target).and_then(|process| process.creator.take()) else { return };
        self.poller.remove(&link.pidfd);
        wait_child(&link.pidfd);
        self.reap_strays();
        match target {
            Target::Exec(number) => {
                if self.execs.get(number).is_some_and(|exec| exec.process.pidfd.is_none()) {
                    self.on_exec_message(number, Message::Refused(fork::died()));
                }
            }
            Target::Probe => self.on_probe_creator_gone(),
            Target::Init => {
                if self.is_unfinished() {
                    self.on_refused(fork::died());
                }
            }
        }
    }

    /// Says whether the container does not run yet.
    fn is_unfinished(&self) -> bool {
        matches!(self.phase, Phase::Creating | Phase::Created | Phase::Starting)
    }

    /// Reaps children that nobody asked for: a creator that fails may leave one, since what it makes is our child.
    ///
    /// The status of one that is looked after is kept for its own turn.
    pub(super) fn reap_strays(&mut self) {
        // A creator at work may have made a process that it has not told of: its status would be lost.
        let probe = self.health.as_ref().and_then(|health| health.probe.as_ref());
        if self.init.creator.is_some()
            || self.execs.iter().any(|(_, exec)| exec.process.creator.is_some())
            || probe.is_some_and(|probe| probe.process.creator.is_some())
        {
            return;
        }
        while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
            let pid = pid.as_raw_pid();
            let status = match (status.exit_status(), status.terminating_signal()) {
                (Some(code), _) => Status::Code(code),
                (None, Some(signal)) => Status::Signal(signal),
                (None, None) => continue,
            };
            if self.init.pid == pid && self.init.pidfd.is_some() {
                self.init.status = Some(status);
            }
            for number in self.execs.numbers() {
                if let Some(exec) = self.execs.get_mut(number).filter(|exec| exec.process.pid == pid) {
                    exec.process.status = Some(status);
                }
            }
            if let Some(probe) = self.process(Target::Probe).filter(|probe| probe.pid == pid) {
                probe.status = Some(status);
            }
        }
    }

    fn unwatch_creator(&mut self, target: Target) {
        let process = match target {
            Target::Init => Some(&self.init),
            Target::Exec(number) => self.execs.get(number).map(|exec| &exec.process),
            Target::Probe => {
                self.health.as_ref().and_then(|health| health.probe.as_ref()).map(|probe| &probe.process)
            }
        };
        if let Some(link) = process.and_then(|process| process.creator.as_ref()) {
            self.poller.remove(&link.socket);
        }
    }

    /// The init waits.
    fn on_made(&mut self, made: MadeProcess) {
        self.init.pid = made.pid;
        let added = self.poller.add(&made.pidfd, Token::Process(Target::Init), READ);
        self.init.pidfd = Some(made.pidfd);
        let console = made.console.map(|console| Endpoint::of_terminal(console, self.launch.console_size));
        match (added, console.transpose()) {
            (Ok(()), Ok(Some(endpoint))) => {
                self.init.endpoint = endpoint;
                self.watch_outputs(Target::Init);
            }
            (Ok(()), Ok(None)) => {}
            (Err(error), _) => {
                return self.on_refused(Failure::new(
                    ErrorKind::Internal,
                    format!("cannot watch the init: {error}"),
                ));
            }
            (_, Err(error)) => return self.on_refused(Failure::of(&error)),
        }
        self.phase = Phase::Created;
        if self.undo.is_some() {
            return self.undo();
        }
        let mut frame = Vec::new();
        let created = wire::Created { pid: made.pid, warnings: made.warnings };
        wire::encode_json(Kind::Created, &created, &mut frame);
        self.tell_starter(Kind::Created, &frame[wire::HEADER..]);
    }

    /// The starter says: let it run. The start record is written before.
    pub(super) fn on_start(&mut self) {
        if self.phase != Phase::Created {
            return self
                .refuse_starter(&Failure::new(ErrorKind::Conflict, "the container is not created yet"));
        }
        self.started_at = clock::render(clock::now());
        let saved = self.state_record().save(&self.launch.run_dir);
        self.phase = Phase::Starting;
        if let Err(error) = saved {
            return self.on_refused(Failure::of(&error));
        }
        self.init.creator.as_ref().inspect(|creator| creator.go_on());
    }

    fn state_record(&self) -> StateRecord {
        StateRecord {
            version: VERSION,
            pid: self.init.pid,
            start_time: process_stat(self.init.pid).map_or(0, |stat| stat.start_time),
            monitor: own_pid(),
            started_at: self.started_at.clone(),
        }
    }

    /// The init runs the program.
    fn on_started(&mut self) {
        self.phase = Phase::Running;
        self.record_event("start", &[]);
        let record = StateRecord { start_time: 0, ..self.state_record() };
        let mut frame = Vec::new();
        wire::encode_json(Kind::Started, &record, &mut frame);
        self.tell_starter(Kind::Started, &frame[wire::HEADER..]);
        if self.undo.is_some() {
            // Its starter was killed at the last moment; the container runs, as if it had been killed a moment later.
            self.undo = None;
        }
        self.begin_health();
        if let Some(status) = self.init.status {
            self.end(status);
        }
    }

    /// The container could not be created or started: nothing of it stays.
    fn on_refused(&mut self, failure: Failure) {
        self.discard();
        self.refuse_starter(&failure);
        if self.undo == Some(Undo::Orphaned) { self.clean_up(false) } else { self.finish() }
    }

    pub(super) fn on_abort(&mut self) {
        self.undo_because(Undo::Aborted);
    }

    pub(super) fn on_starter_gone(&mut self) {
        self.undo_because(Undo::Orphaned);
    }

    fn undo_because(&mut self, why: Undo) {
        if !self.is_unfinished() {
            return;
        }
        self.undo.get_or_insert(why);
        // A creator at work is let finish, so that what it made is known; one that starts the init has its verdict soon.
        if self.phase == Phase::Created {
            self.undo();
        }
    }

    /// Undoes a container that was created and not started.
    fn undo(&mut self) {
        self.discard();
        if self.undo == Some(Undo::Orphaned) { self.clean_up(false) } else { self.finish() }
    }

    /// Kills what was made and removes what the runtime and this monitor keep of it.
    fn discard(&mut self) {
        if let Some(pidfd) = self.init.pidfd.take() {
            let _ = sys::process::pidfd_kill(pidfd.as_fd(), SIGKILL);
            self.poller.remove(&pidfd);
            wait_child(&pidfd);
        }
        if let Some(link) = self.init.creator.take() {
            self.poller.remove(&link.socket);
            self.poller.remove(&link.pidfd);
            let _ = sys::process::pidfd_kill(link.pidfd.as_fd(), SIGKILL);
            wait_child(&link.pidfd);
        }
        self.init.endpoint = Endpoint::default();
        self.rootfs = None;
        self.creator.delete(&self.launch);
        self.remove_files();
    }

    /// Removes this monitor's own files, while the lock says that they are its own.
    pub(super) fn remove_files(&mut self) {
        if self.lock.take().is_some() {
            for name in FIFOS.into_iter().chain([
                StateRecord::FILE,
                SOCKET,
                crate::health::FILE,
                crate::names::FILE,
                "launch.json",
            ]) {
                // Most of them need not exist.
                let _ = rustix::fs::unlinkat(&self.dir, name, AtFlags::empty());
            }
        }
        self.stop_listening();
    }

    fn stop_listening(&mut self) {
        if let Some(listener) = self.listener.take() {
            self.poller.remove(&listener);
        }
    }

    /// The init has ended.
    pub(super) fn on_init_end(&mut self) {
        let Some(pidfd) = self.init.pidfd.take() else { return };
        self.poller.remove(&pidfd);
        let status = match self.init.status {
            // Reaped together with strays.
            Some(status) => status,
            None if self.takeover => wait_stranger(self.init.pid, &pidfd),
            None => wait_child(&pidfd),
        };
        self.init.status = Some(status);
        match self.phase {
            Phase::Running => self.end(status),
            Phase::Created => {
                let text = "the init ended before it was started";
                self.on_refused(Failure::new(ErrorKind::Internal, text));
            }
            // The creator has the last word: it may know why.
            _ => {}
        }
    }

    /// Records the end and tells it.
    fn end(&mut self, status: Status) {
        self.end_health();
        self.drain(Target::Init);
        let removed = self.is_to_be_removed();
        if !removed {
            // It may be started again as soon as its end is told: the disk must be written, the overlay gone.
            self.rootfs = None;
        }
        let now = clock::now();
        if let Some(mut log) = self.log.take() {
            log.finish(now);
        }
        let record = self.exit_record(status, clock::render(now));
        let path = self.launch.exit_file.clone();
        // Nobody can be told of a full disk here but the clients, who get the record itself.
        let unsaved = failed(record.save(&path, false));
        self.init.endpoint = Endpoint::default();
        self.stop_names();
        for name in FIFOS.into_iter().chain([StateRecord::FILE]) {
            let _ = rustix::fs::unlinkat(&self.dir, name, AtFlags::empty());
        }
        self.lock = None;
        self.record_end(&record, now);
        self.tell_end(&record);
        self.exit = Some(record);
        if !removed && !unsaved {
            sync_record(&path);
        }
        if self.peers.iter().any(|(_, peer)| peer.claims) {
            self.phase = Phase::Claimed;
        } else {
            self.clean_up(false);
        }
    }

    /// Says whether the container is removed after its end, by its own wish or by a client's.
    fn is_to_be_removed(&self) -> bool {
        !self.launch.durable || self.peers.iter().any(|(_, peer)| peer.removes)
    }

    fn exit_record(&self, status: Status, finished_at: String) -> ExitRecord {
        ExitRecord {
            version: VERSION,
            exit_code: status.exit_code(),
            signal: if let Status::Signal(signal) = status { Some(signal) } else { None },
            oom_killed: self.creator.oom_killed(&self.launch),
            unknown: status == Status::Unknown,
            started_at: self.started_at.clone(),
            finished_at,
        }
    }

    fn tell_end(&mut self, record: &ExitRecord) {
        for number in self.peers.numbers() {
            let Some(peer) = self.peers.get_mut(number) else { continue };
            let attached = peer.session.as_ref().is_some_and(|(target, _)| *target == Target::Init);
            if attached || peer.watches {
                peer.held = false;
                peer.send_json(Kind::Exit, record);
                self.sync_peer(number);
            }
        }
    }

    /// A client that claimed the clean-up says that it is done.
    pub(super) fn on_cleaned(&mut self, number: u32) {
        let claims = self.peers.get(number).is_some_and(|peer| peer.claims);
        if claims && self.phase == Phase::Claimed {
            self.finish();
        }
    }

    /// A client that claimed the clean-up has gone: if it was the last one, the command is run.
    pub(super) fn on_claimer_gone(&mut self) {
        if self.phase == Phase::Claimed && !self.peers.iter().any(|(_, peer)| peer.claims) {
            if self.launch.durable {
                // One that was to remove it has not: what was left out then is done now.
                self.rootfs = None;
                sync_record(&self.launch.exit_file);
            }
            self.clean_up(false);
        }
    }

    /// Runs the clean-up command; with `restart` the one that starts the container again.
    fn clean_up(&mut self, restart: bool) {
        self.phase = Phase::Cleaning(restart);
        if self.launch.cleanup.is_empty() || failed(self.spawn_cleanup(restart)) {
            self.finish();
        }
    }

    fn spawn_cleanup(&mut self, restart: bool) -> Result<()> {
        let doing = || "run the clean-up command".to_owned();
        let program = self.launch.program.as_deref().unwrap_or(Path::new("/proc/self/exe"));
        let mut command = Command::new(program);
        command.arg0("brig").args(&self.launch.cleanup).args(restart.then_some("--restart")).current_dir("/");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().doing(doing)?;
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or(Error::Closed)?;
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).doing(doing)?;
        self.poller.add(&pidfd, Token::CleanupEnd, READ).doing(doing)?;
        if let Some(output) = &child.stdout {
            self.poller.add(output, Token::CleanupOutput, READ).doing(doing)?;
        }
        drop(child.stdin.take());
        self.cleanup_text.clear();
        self.cleanup_fd = Some(pidfd);
        self.cleanup = Some(child);
        Ok(())
    }

    pub(super) fn on_cleanup_output(&mut self) {
        let Some(child) = &mut self.cleanup else { return };
        let Some(output) = &mut child.stdout else { return };
        let mut bytes = [0; 1024];
        match output.read(&mut bytes) {
            Ok(got) if got > 0 => {
                let room = MAX_CLEANUP_TEXT - self.cleanup_text.len();
                self.cleanup_text.extend_from_slice(&bytes[..got.min(room)]);
            }
            _ => {
                self.poller.remove(&*output);
                child.stdout = None;
            }
        }
    }

    pub(super) fn on_cleanup_end(&mut self) {
        let Some(mut child) = self.cleanup.take() else { return };
        if let Some(pidfd) = self.cleanup_fd.take() {
            self.poller.remove(pidfd);
        }
        if let Some(output) = &mut child.stdout {
            self.poller.remove(&*output);
            // It has ended, so this is what is left in the pipe; more than the first kilobytes is not wanted.
            let room = (MAX_CLEANUP_TEXT - self.cleanup_text.len()) as u64;
            if rustix::io::ioctl_fionbio(&*output, true).is_ok() {
                let _ = output.take(room).read_to_end(&mut self.cleanup_text);
            }
        }
        // Reaps it; how it ended changes nothing: what it left undone the next command of the user does.
        let _ = child.wait();
        match (self.phase, restart_delay(&self.cleanup_text)) {
            (Phase::Cleaning(false), Some(ms)) => self.phase = Phase::Waiting(now_ms() + ms),
            _ => self.finish(),
        }
    }

    pub(super) fn on_cancel_restart(&mut self, number: u32) {
        let waiting = matches!(self.phase, Phase::Waiting(_));
        if waiting {
            self.finish();
        }
        let Some(peer) = self.peers.get_mut(number) else { return };
        if waiting {
            peer.send(Kind::Done, &[]);
        } else {
            peer.refuse(ErrorKind::Conflict, "the container does not wait to be started again");
        }
    }

    /// The time for the restart has come. The new monitor has the run folder to itself.
    pub(super) fn restart(&mut self) {
        if self.listener.is_some() {
            let _ = rustix::fs::unlinkat(&self.dir, SOCKET, AtFlags::empty());
        }
        self.stop_listening();
        self.clean_up(true);
    }

    /// Nothing is left to do but to empty the queues.
    fn finish(&mut self) {
        for number in self.execs.numbers() {
            self.finish_exec(number, Status::Signal(SIGKILL));
        }
        self.stop_listening();
        self.phase = Phase::Done(now_ms() + LINGER_MS);
    }
}

fn own_pid() -> i32 {
    i32::try_from(std::process::id()).unwrap_or(0)
}

/// Waits for a child that has ended, or is about to.
pub(super) fn wait_child(pidfd: &OwnedFd) -> Status {
    let waited = rustix::io::retry_on_intr(|| waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED));
    match waited {
        Ok(Some(status)) => match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => Status::Code(code),
            (None, Some(signal)) => Status::Signal(signal),
            (None, None) => Status::Unknown,
        },
        _ => Status::Unknown,
    }
}

/// Learns how a process ended that is not our child: while it is a zombie from `/proc`, once it is reaped by its descriptor.
fn wait_stranger(pid: i32, pidfd: &OwnedFd) -> Status {
    for _ in 0..STATUS_TRIES {
        match sys::pidfd_info::exit_status(pidfd.as_fd()) {
            Ok(Some(status)) => return decode_status(status),
            // Not reaped yet, so the number is still its own. To a stranger without rights all have ended with 0.
            Ok(None) | Err(_) => match process_stat(pid) {
                Some(stat)
                    if stat.state == b'Z'
                        && (stat.exit_status != 0 || rustix::process::geteuid().is_root()) =>
                {
                    return decode_status(stat.exit_status);
                }
                _ => std::thread::sleep(STATUS_PAUSE),
            },
        }
    }
    Status::Unknown
}

/// Decodes a status as `waitpid` encodes it.
fn decode_status(status: i32) -> Status {
    match status & 0x7f {
        0 => Status::Code((status >> 8) & 0xff),
        signal => Status::Signal(signal),
    }
}

/// Parses the line `restart <milliseconds>`.
fn restart_delay(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text)
        .ok()?
        .lines()
        .find_map(|line| line.strip_prefix("restart ")?.trim().parse().ok())
}

/// Makes a record that was renamed into its place survive a power cut.
fn sync_record(path: &Path) {
    for path in [Some(path), path.parent()].into_iter().flatten() {
        // A disk that does not take it will say so to the next reader.
        let _ = std::fs::File::open(path).and_then(|file| file.sync_all());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_decode() {
        for (status, wanted) in [
            (0, Status::Code(0)),
            (42 << 8, Status::Code(42)),
            (9, Status::Signal(9)),
            (11 | 0x80, Status::Signal(11)),
        ] {
            assert_eq!(decode_status(status), wanted);
        }
        assert_eq!(Status::Signal(9).exit_code(), 137);
    }

    #[test]
    fn only_a_restart_line_restarts() {
        assert_eq!(restart_delay(b"restart 100\n"), Some(100));
        assert_eq!(restart_delay(b"noise\nrestart 7"), Some(7));
        for text in [&b""[..], b"restart", b"restart x", b"restart -1", b"\xff"] {
            assert_eq!(restart_delay(text), None);
        }
    }
}
