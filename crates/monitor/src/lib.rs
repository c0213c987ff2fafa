//! The monitor, one small process beside each container, and the library to speak with it.
//!
//! The monitor ([`monitor_main`], the role `brig monitor`) is the parent of the container's init: it owns the
//! streams, writes the log, answers attach and exec on a socket, records the exit and has the clean-up done.
//! The design is written down in `docs/design/first-path.md`.
//!
//! * [`spawn`] starts one, [`Pending`] takes it through create and start.
//! * [`Client`] speaks with the one of a running container, [`ensure_monitor`] makes sure that there is one.
//! * [`interact`] joins a [`Session`] with the terminal of the caller.
//! * [`log`] writes and reads Docker's json-file format.

mod clock;
pub mod error;
pub mod launch;
pub mod log;
pub mod record;
mod transport;
mod wire;

pub use error::{Error, Result};
pub use launch::{CgroupManager, Launch, LaunchFds, LogSpec, StdinMode};
pub use record::{ExecRecord, ExitRecord, StateRecord};

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::ExitCode;

fn later<T>() -> Result<T> {
    Err(Error::Protocol { problem: "is being written".to_owned() })
}

/// The role `brig monitor`: arguments after `monitor`.
pub fn monitor_main(_args: impl Iterator<Item = OsString>) -> ExitCode {
    ExitCode::from(125)
}

/// Starts the monitor of a container, which begins to create it. Returns at once.
pub fn spawn(_launch: &Launch, _fds: LaunchFds) -> Result<Pending> {
    later()
}

/// A container that is being created, or is created and waits for [`Pending::start`]. Dropping it aborts.
#[derive(Debug)]
pub struct Pending {}

/// A container that was created.
#[derive(Debug, Clone)]
pub struct CreatedInfo {
    /// Its init, which waits.
    pub pid: i32,
    /// What was not done and did not need to be (`cannot raise …`).
    pub warnings: Vec<String>,
}

/// A container that was started.
#[derive(Debug, Clone)]
pub struct Started {
    /// Its init.
    pub pid: i32,
    /// When, RFC 3339.
    pub started_at: String,
}

impl Pending {
    /// Waits until the container is created.
    pub fn wait_created(&mut self) -> Result<CreatedInfo> {
        later()
    }

    /// Attaches before the start, so that no byte is lost.
    pub fn attach(&mut self, _options: AttachOptions) -> Result<Session> {
        later()
    }

    /// Lets the init run. Fails with the kind `CommandNotFound` or `CommandNotExecutable`; then nothing of
    /// the container is left but what the caller made.
    pub fn start(self) -> Result<Started> {
        later()
    }

    /// Kills what was created and waits until the monitor has ended. The clean-up command is not run.
    pub fn abort(self) {}
}

/// What a client wants of the streams.
#[derive(Debug, Clone, Copy, Default)]
pub struct AttachOptions {
    /// Send input.
    pub stdin: bool,
    /// Get standard output.
    pub stdout: bool,
    /// Get standard error.
    pub stderr: bool,
    /// No byte may be lost: when this client is slow, the container waits for it (`run` in the foreground).
    /// Without it a client that falls 1 MiB behind is dropped with a message.
    pub lossless: bool,
    /// This client does the clean-up once the container has ended, see [`Session::cleaned`].
    pub claim_cleanup: bool,
    /// Size of the client's terminal.
    pub size: Option<(u16, u16)>,
}

/// A connection that carries the streams of a container or of an exec session.
#[derive(Debug)]
pub struct Session {}

/// What a session receives.
#[derive(Debug)]
pub enum Event<'a> {
    /// Bytes of standard output (of a terminal: all output).
    Stdout(&'a [u8]),
    /// Bytes of standard error.
    Stderr(&'a [u8]),
    /// The container ended; it is the last event.
    Exited(ExitRecord),
    /// The exec session ended; it is the last event.
    ExecExited(i32),
}

impl Session {
    /// Waits for the next event.
    pub fn next_event(&mut self) -> Result<Event<'_>> {
        later()
    }

    /// Sends input.
    pub fn send_stdin(&mut self, _data: &[u8]) -> Result<()> {
        later()
    }

    /// Ends the input.
    pub fn close_stdin(&mut self) -> Result<()> {
        later()
    }

    /// Tells the size of the client's terminal.
    pub fn resize(&mut self, _columns: u16, _rows: u16) -> Result<()> {
        later()
    }

    /// Says that the claimed clean-up is done.
    pub fn cleaned(self) -> Result<()> {
        later()
    }

    /// A second handle of the connection for a thread that only sends input (doors with threads).
    pub fn sender(&self) -> Result<SessionSender> {
        later()
    }
}

/// The sending half of a [`Session`].
#[derive(Debug)]
pub struct SessionSender {}

impl SessionSender {
    /// Sends input.
    pub fn send_stdin(&mut self, _data: &[u8]) -> Result<()> {
        later()
    }

    /// Ends the input.
    pub fn close_stdin(&mut self) -> Result<()> {
        later()
    }
}

/// A process to run inside a container.
#[derive(Debug, Clone)]
pub struct ExecLaunch {
    /// Identity of the session: 1 to 64 of `[0-9A-Za-z_.-]`, chosen by the caller.
    pub id: String,
    /// The process, as `process` of `config.json`; `terminal` and `consoleSize` of it count.
    pub process_json: Vec<u8>,
    /// Its input comes from this client.
    pub stdin: bool,
    /// Its standard output goes to this client.
    pub stdout: bool,
    /// Its standard error goes to this client.
    pub stderr: bool,
    /// Run it without any client: streams are `/dev/null` and no [`Session`] comes back.
    pub detach: bool,
}

/// Who waits for the end of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// The monitor runs the clean-up command.
    No,
    /// The caller does the clean-up and then calls [`Client::cleaned`].
    Yes,
}

/// A connection to the monitor of a container.
#[derive(Debug)]
pub struct Client {}

impl Client {
    /// Connects to the monitor of a run folder.
    pub fn connect(_run_dir: &Path) -> Result<Self> {
        later()
    }

    /// Attaches to the streams of the container.
    pub fn attach(self, _options: AttachOptions) -> Result<Session> {
        later()
    }

    /// Runs a process inside; `None` for a detached one.
    pub fn exec(self, _launch: &ExecLaunch) -> Result<Option<Session>> {
        later()
    }

    /// Sets the size of the container's terminal.
    pub fn resize(&mut self, _columns: u16, _rows: u16) -> Result<()> {
        later()
    }

    /// Sets the size of the terminal of an exec session.
    pub fn exec_resize(&mut self, _exec: &str, _columns: u16, _rows: u16) -> Result<()> {
        later()
    }

    /// Tells what is known of one exec session.
    pub fn exec_inspect(&mut self, _exec: &str) -> Result<ExecRecord> {
        later()
    }

    /// Tells the exec sessions that are remembered: all running ones and the last 64 that ended.
    pub fn exec_list(&mut self) -> Result<Vec<ExecRecord>> {
        later()
    }

    /// Sends a signal to the init; never to a process that got its number later.
    pub fn signal(&mut self, _signal: i32) -> Result<()> {
        later()
    }

    /// Announces that this client waits for the end (and does the clean-up): call before the signal that ends it.
    pub fn watch(&mut self, _claim: Claim) -> Result<()> {
        later()
    }

    /// Waits for the end of the container, at most until `timeout_ms` (`None` of the result when that passed).
    /// [`Client::watch`] comes first. The descriptor of the connection becomes readable at the end.
    pub fn wait(&mut self, _timeout_ms: Option<u32>) -> Result<Option<ExitRecord>> {
        later()
    }

    /// Says that the claimed clean-up is done.
    pub fn cleaned(self) -> Result<()> {
        later()
    }

    /// Ends a wait for a restart: the monitor ends without starting the container again. `false` when it was not waiting.
    pub fn cancel_restart(&mut self) -> Result<bool> {
        later()
    }

    /// Gives the connection away, as something to poll (`log::FollowUntil`).
    pub fn into_fd(self) -> OwnedFd {
        unreachable!("no client can be connected yet")
    }
}

/// Makes sure that a running container has a monitor: starts one that takes over when the former was killed.
/// Fails with [`Error::NotRunning`] when the init is dead.
pub fn ensure_monitor(_run_dir: &Path) -> Result<()> {
    later()
}

pub mod interact {
    //! Joins a session with the terminal of the caller.
    use super::*;

    /// How to join.
    pub struct InteractOptions<'a> {
        /// Send the caller's standard input.
        pub stdin: bool,
        /// The process has a terminal: raw mode, window size.
        pub tty: bool,
        /// Bytes that detach; empty for none.
        pub detach_keys: Vec<u8>,
        /// Hand signals on through `signal` instead of dying of them.
        pub sig_proxy: bool,
        /// Sends a signal to the container.
        pub signal: &'a dyn Fn(i32),
    }

    /// How it ended.
    #[derive(Debug)]
    pub enum Outcome {
        /// The container ended.
        Exited(ExitRecord),
        /// The exec session ended with this code.
        ExecExited(i32),
        /// The user typed the detach keys.
        Detached,
    }

    /// Moves bytes both ways until the process ends or the user detaches. The session is still there afterwards, for
    /// [`Session::cleaned`].
    pub fn interact(_session: &mut Session, _options: &InteractOptions<'_>) -> Result<Outcome> {
        later()
    }

    /// The default, `ctrl-p ctrl-q`.
    pub const DEFAULT_DETACH_KEYS: &[u8] = &[16, 17];

    /// Parses Docker's syntax: `ctrl-p,ctrl-q`, `a,b`, `DEL`.
    pub fn parse_detach_keys(_text: &str) -> Result<Vec<u8>> {
        later()
    }
}
