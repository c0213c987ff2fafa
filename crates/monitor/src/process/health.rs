//! Health: probes of the container, one at a time, and what follows from them.
//!
//! ```text
//!            interval passed              ended, or killed when its time was up
//!   waiting ─────────────────▶ probing ─────────────────────────────────────────▶ waiting
//!                                 └─ the container is paused: does not count ─────▶
//!
//!   Starting ──success──▶ Healthy ⇄ Unhealthy       `retries` failures in a row make it unhealthy,
//!       └──── failures after the start period ──▶   one success makes it healthy
//! ```
//!
//! Time is the monotonic clock's, so that nobody's setting of the clock makes a probe early or late. Source of the rules:
//! Docker's `HEALTHCHECK` (Dockerfile reference) and the fields of `Health` in its Engine API.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::time::{ClockId, clock_gettime};

use super::failed;
use super::fork::{self, Message};
use super::life::wait_child;
use super::monitor::{Monitor, Phase, Process, Status, now_ms};
use super::poller::{READ, Target, Token};
use crate::clock::{self, UnixNanos};
use crate::creator::ExecJob;
use crate::error::{Doing, Result};
use crate::health::{Header, HealthFile, HealthStatus, Verdict};
use crate::launch::HealthCheck;
use crate::record::process_stat;

/// The exit code of a probe that could not be run or was killed.
const NOT_RUN: i32 = -1;

const SIGKILL: i32 = 9;

/// Reads at most so many times in a row what a probe has written, which may write without end.
const MAX_READS: usize = 16;

/// How far the start of a process may be from where it was recorded and still be that process's, in milliseconds.
const SAME_START_MS: u64 = 2_000;

/// The health of one container.
#[derive(Debug)]
pub(super) struct Health {
    file: HealthFile,
    /// The next probe is due, or the running one's time is up, at this moment of the monotonic clock.
    due: u64,
    pub(super) probe: Option<Probe>,
}

/// A probe that runs.
#[derive(Debug)]
pub(super) struct Probe {
    pub(super) process: Process,
    output: Option<OwnedFd>,
    start: UnixNanos,
    /// The same moment of the monotonic clock, in milliseconds.
    start_ms: u64,
    /// It was killed because its time was up.
    timed_out: bool,
}

impl Monitor<'_> {
    /// The container runs: its probes begin. What fails is not worth the container: it stays without.
    pub(super) fn begin_health(&mut self) {
        let Some(check) = &self.launch.health else { return };
        let now = now_ms();
        let opened = match self.takeover {
            true => HealthFile::open(&self.dir, now),
            false => HealthFile::create(&self.dir, now),
        };
        let Ok(mut file) = opened else { return };
        if file.header.probe != 0 {
            self.kill_orphan(&file.header);
            file.header.probe = 0;
            let _ = file.save();
        }
        let due = now + interval(check, &file.header, now);
        self.health = Some(Health { file, due, probe: None });
    }

    /// The probe that a killed monitor left: nobody waits for it or would ever end it.
    fn kill_orphan(&self, header: &Header) {
        let ours = |pid: i32| {
            let namespace = |pid: i32| std::fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
            // In hundredths of a second since boot, see proc(5).
            let began = process_stat(pid).map(|stat| stat.start_time * 10);
            began.is_some_and(|began| began.abs_diff(header.probe_began) < SAME_START_MS)
                && namespace(pid) == namespace(self.init.pid)
        };
        let pid = rustix::process::Pid::from_raw(header.probe);
        let opened =
            pid.and_then(|pid| rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).ok());
        // Compared with the descriptor open: it cannot change its process any more.
        if let Some(pidfd) = opened.filter(|_| header.probe != self.init.pid && ours(header.probe)) {
            let _ = sys::process::pidfd_kill(pidfd.as_fd(), SIGKILL);
        }
    }

    /// How long until the next moment that matters.
    pub(super) fn health_wait(&self) -> Option<u64> {
        let health = self.health.as_ref()?;
        // A killed probe is only waited for.
        let killed = health.probe.as_ref().is_some_and(|probe| probe.timed_out);
        (!killed).then(|| health.due.saturating_sub(now_ms()))
    }

    /// Does what is due.
    pub(super) fn tick_health(&mut self) {
        if self.health_wait() != Some(0) {
            return;
        }
        match self.health.as_ref().is_some_and(|health| health.probe.is_some()) {
            true => self.time_is_up(),
            false => self.begin_probe(),
        }
    }

    fn begin_probe(&mut self) {
        if self.phase != Phase::Running {
            self.health = None;
            return;
        }
        if failed(self.fork_probe()) {
            // For want of processes or descriptors: that says nothing of the container.
            self.wait_for_next();
        }
    }

    fn fork_probe(&mut self) -> Result<()> {
        let doing = || "begin a health check".to_owned();
        let Some(check) = &self.launch.health else { return Ok(()) };
        let timeout = check.timeout_ms;
        let null =
            rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).doing(doing)?;
        let (read, write) = pipe_with(PipeFlags::CLOEXEC).doing(doing)?;
        rustix::io::ioctl_fionbio(&read, true).doing(doing)?;
        let (creator, launch, process) = (self.creator, &self.launch, check.process.as_str());
        let link = fork::fork(&[null.as_fd(), write.as_fd()], |link| {
            let stdio = Some([null.try_clone(), write.try_clone(), write.try_clone()]);
            fork::make_exec(link, || creator.exec(ExecJob { launch, process, stdio: fork::cloned(stdio)? }));
        })?;
        drop(write);
        self.watch_creator(&link, Target::Probe)?;
        self.poller.add(&read, Token::Output(Target::Probe, 0), READ).doing(doing)?;
        let Some(health) = &mut self.health else { return Ok(()) };
        let process = Process { creator: Some(link), ..Process::default() };
        health.file.drop_output();
        health.probe = Some(Probe {
            process,
            output: Some(read),
            start: clock::now(),
            start_ms: now_ms(),
            timed_out: false,
        });
        health.due = now_ms() + timeout;
        Ok(())
    }

    /// The creator of a probe has spoken.
    pub(super) fn on_probe_message(&mut self, message: Message) {
        let Some(health) = &mut self.health else { return };
        let Some(probe) = &mut health.probe else { return };
        match message {
            Message::Made(made) => {
                probe.process.pid = made.pid;
                // It can only fail for want of memory; then the time that the probe has ends it.
                let _ = self.poller.add(&made.pidfd, Token::Process(Target::Probe), READ);
                probe.process.pidfd = Some(made.pidfd);
                health.file.header.probe = made.pid;
                health.file.header.probe_began = since_boot_ms();
                let _ = health.file.save();
                if probe.timed_out {
                    self.kill_probe();
                }
            }
            // The container is paused, or has ended: that is no answer.
            Message::Refused(failure) if failure.kind == "conflict" => self.forget_probe(),
            Message::Refused(failure) => {
                health.file.add_output(failure.text.as_bytes());
                self.judge(NOT_RUN);
            }
            Message::Started | Message::Ended => {}
        }
    }

    /// The creator of a probe has ended.
    pub(super) fn on_probe_creator_gone(&mut self) {
        let unmade =
            |health: &Health| health.probe.as_ref().is_some_and(|probe| probe.process.pidfd.is_none());
        if self.health.as_ref().is_some_and(unmade) {
            self.on_probe_message(Message::Refused(fork::died()));
        }
    }

    /// A probe writes: the beginning is kept, the rest thrown away.
    pub(super) fn on_probe_output(&mut self) {
        if !self.read_probe() {
            self.close_probe_output();
        }
    }

    /// Reads once; `false` at the end.
    fn read_probe(&mut self) -> bool {
        let Some(health) = &mut self.health else { return false };
        let Some(output) = health.probe.as_ref().and_then(|probe| probe.output.as_ref()) else {
            return false;
        };
        match rustix::io::read(output, &mut self.scratch[..]) {
            Ok(0) => false,
            Ok(got) => {
                health.file.add_output(&self.scratch[..got]);
                true
            }
            Err(Errno::INTR) => true,
            Err(_) => false,
        }
    }

    fn close_probe_output(&mut self) {
        let probe = self.health.as_mut().and_then(|health| health.probe.as_mut());
        if let Some(output) = probe.and_then(|probe| probe.output.take()) {
            self.poller.remove(&output);
        }
    }

    /// A probe has ended.
    pub(super) fn on_probe_end(&mut self) {
        let Some(probe) = self.health.as_mut().and_then(|health| health.probe.as_mut()) else { return };
        let Some(pidfd) = probe.process.pidfd.take() else { return };
        let status = probe.process.status.unwrap_or_else(|| wait_child(&pidfd));
        self.poller.remove(&pidfd);
        let code = match (probe.timed_out, status) {
            (true, _) | (_, Status::Unknown) => NOT_RUN,
            (false, status) => status.exit_code(),
        };
        for _ in 0..MAX_READS {
            if !self.read_probe() {
                break;
            }
        }
        self.judge(code);
    }

    /// The running probe's time is up. Where the container is paused it gets it anew.
    fn time_is_up(&mut self) {
        let frozen = self.creator.is_paused(&self.launch);
        let timeout = self.launch.health.as_ref().map_or(0, |check| check.timeout_ms);
        let Some(health) = &mut self.health else { return };
        if frozen {
            health.due = now_ms() + timeout;
            return;
        }
        if let Some(probe) = &mut health.probe {
            probe.timed_out = true;
        }
        self.kill_probe();
    }

    /// Kills a probe with the processes of its session, as the leader of which it was made.
    fn kill_probe(&mut self) {
        let Some(probe) = self.health.as_ref().and_then(|health| health.probe.as_ref()) else { return };
        if let Some(pidfd) = &probe.process.pidfd {
            // Not reaped yet, so the number is its own.
            let _ = sys::process::kill(-probe.process.pid, SIGKILL);
            let _ = sys::process::pidfd_kill(pidfd.as_fd(), SIGKILL);
        }
    }

    /// Counts a probe that ended with `exit_code`.
    fn judge(&mut self, exit_code: i32) {
        let now = clock::now();
        let (Some(health), Some(check)) = (&mut self.health, &self.launch.health) else { return };
        let Some(probe) = &health.probe else { return };
        let timed_out_ms = probe.timed_out.then_some(check.timeout_ms);
        let before = health.file.header.status;
        let in_start = probe.start_ms.saturating_sub(health.file.header.began) < check.start_period_ms;
        let (status, streak) =
            next(before, health.file.header.streak, exit_code == 0, in_start, check.retries);
        // What cannot be written because the run folder is full still counts.
        let _ = health.file.finish(Verdict { start: probe.start, end: now, exit_code, timed_out_ms });
        (health.file.header.status, health.file.header.streak) = (status, streak);
        if status != before {
            // Before anybody reads of it.
            self.record_event(&format!("health_status: {}", status.as_str()), &[]);
        }
        self.forget_probe();
        if status != before {
            self.act_upon(status);
        }
    }

    /// Nothing is left of the present probe; the next one has its time.
    fn forget_probe(&mut self) {
        self.close_probe_output();
        let Some(health) = &mut self.health else { return };
        let probe = health.probe.take();
        health.file.header.probe = 0;
        let _ = health.file.save();
        if let Some(creator) = probe.and_then(|probe| probe.process.creator) {
            // It has said its last word and is ending.
            self.poller.remove(&creator.socket);
            self.poller.remove(&creator.pidfd);
            wait_child(&creator.pidfd);
        }
        self.reap_strays();
        self.wait_for_next();
    }

    fn wait_for_next(&mut self) {
        if let (Some(health), Some(check)) = (&mut self.health, &self.launch.health) {
            let now = now_ms();
            health.due = now + interval(check, &health.file.header, now);
        }
    }

    /// The container has ended: no probe counts any more. What one started outside its namespace ends with it.
    pub(super) fn end_health(&mut self) {
        self.kill_probe();
        self.close_probe_output();
        let Some(Health { mut file, probe, .. }) = self.health.take() else { return };
        if file.header.probe != 0 {
            file.header.probe = 0;
            let _ = file.save();
        }
        let Some(process) = probe.map(|probe| probe.process) else { return };
        if let Some(pidfd) = process.pidfd {
            self.poller.remove(&pidfd);
        }
        if let Some(creator) = process.creator {
            self.poller.remove(&creator.socket);
            self.poller.remove(&creator.pidfd);
            let _ = sys::process::pidfd_kill(creator.pidfd.as_fd(), SIGKILL);
        }
    }

    /// Has the change acted upon, by a command whose end nobody waits for.
    fn act_upon(&self, status: HealthStatus) {
        let Some(check) = self.launch.health.as_ref().filter(|check| !check.changed.is_empty()) else {
            return;
        };
        let program = self.launch.program.as_deref().unwrap_or(Path::new("/proc/self/exe"));
        let mut command = Command::new(program);
        command.arg0("brig").args(&check.changed).arg(status.as_str()).current_dir("/");
        // Reaped with the strays after the next probe. A machine without a process to spare has other troubles.
        drop(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn());
    }
}

/// Decides what a result makes of a container's health.
fn next(
    status: HealthStatus,
    streak: u32,
    success: bool,
    in_start: bool,
    retries: u32,
) -> (HealthStatus, u32) {
    if success {
        return (HealthStatus::Healthy, 0);
    }
    if status == HealthStatus::Starting && in_start {
        return (status, streak);
    }
    let streak = streak.saturating_add(1);
    (if streak >= retries { HealthStatus::Unhealthy } else { status }, streak)
}

/// How long to wait before the next probe.
fn interval(check: &HealthCheck, header: &Header, now: u64) -> u64 {
    let in_start = now.saturating_sub(header.began) < check.start_period_ms;
    match in_start && header.status == HealthStatus::Starting {
        true => check.start_interval_ms,
        false => check.interval_ms,
    }
}

fn since_boot_ms() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    u64::try_from(now.tv_sec).unwrap_or(0) * 1000 + u64::try_from(now.tv_nsec).unwrap_or(0) / 1_000_000
}

#[cfg(test)]
mod tests {
    use super::*;
    use HealthStatus::{Healthy, Starting, Unhealthy};

    #[test]
    fn results_change_the_status_as_in_docker() {
        for (status, streak, success, in_start, after) in [
            (Starting, 0, false, true, (Starting, 0)),
            (Starting, 0, true, true, (Healthy, 0)),
            (Starting, 0, false, false, (Starting, 1)),
            (Starting, 2, false, false, (Unhealthy, 3)),
            // The start period protects only one that was never healthy.
            (Healthy, 0, false, true, (Healthy, 1)),
            (Healthy, 2, false, false, (Unhealthy, 3)),
            (Unhealthy, 7, false, false, (Unhealthy, 8)),
            (Unhealthy, 7, true, false, (Healthy, 0)),
        ] {
            assert_eq!(next(status, streak, success, in_start, 3), after, "{status:?} {streak}");
        }
    }

    #[test]
    fn the_start_interval_holds_until_it_is_healthy_or_started() {
        let check = HealthCheck {
            interval_ms: 30,
            start_interval_ms: 5,
            start_period_ms: 100,
            ..HealthCheck::default()
        };
        let header = Header { count: 0, status: Starting, streak: 0, began: 1000, probe: 0, probe_began: 0 };
        assert_eq!(interval(&check, &header, 1050), 5);
        assert_eq!(interval(&check, &header, 1100), 30);
        assert_eq!(interval(&check, &Header { status: Healthy, ..header }, 1050), 30);
    }
}
