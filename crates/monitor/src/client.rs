//! Speaking with the monitor of a running container.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::connection::{Connection, send_frame};
use crate::error::{Doing, Error, Result};
use crate::record::{ExecRecord, ExitRecord};
use crate::transport;
use crate::wire::{self, Failure, Kind, MAX_DATA};

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
    /// Size of the client's terminal, columns and rows.
    pub size: Option<(u16, u16)>,
}

/// A process to run inside a container.
#[derive(Debug, Clone)]
pub struct ExecLaunch {
    /// Identity of the session: 1 to 64 of `[0-9A-Za-z_.-]`, chosen by the caller.
    pub id: String,
    /// `process` of `config.json` as JSON; its `consoleSize` counts.
    pub process: String,
    /// It gets a terminal: `process.terminal`.
    pub terminal: bool,
    /// Its input comes from this client.
    pub stdin: bool,
    /// Its standard output goes to this client.
    pub stdout: bool,
    /// Its standard error goes to this client.
    pub stderr: bool,
    /// Run it without any client: streams are `/dev/null` and no [`Session`] comes back.
    pub detach: bool,
}

/// Who cleans up after the end of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// The monitor runs the clean-up command.
    No,
    /// The caller does the clean-up and then calls [`Client::cleaned`].
    Yes,
    /// As [`Claim::Yes`], and the container is removed afterwards: nothing of it needs to reach the disk.
    Removal,
}

/// A connection to the monitor of a container.
#[derive(Debug)]
pub struct Client {
    connection: Connection,
    /// The end, when it was told while another answer was waited for.
    exit: Option<ExitRecord>,
}

impl Client {
    /// Connects to the monitor of a run folder. Fails with [`Error::NoMonitor`] when none answers.
    pub fn connect(run_dir: &Path) -> Result<Self> {
        Ok(Self { connection: Connection::new(transport::connect_to(run_dir)?)?, exit: None })
    }

    /// Attaches to the streams of the container.
    pub fn attach(mut self, options: AttachOptions) -> Result<Session> {
        let body = wire::Attach {
            stdin: options.stdin,
            stdout: options.stdout,
            stderr: options.stderr,
            lossless: options.lossless,
            claim: options.claim_cleanup,
            size: options.size,
        };
        self.connection.send_json(Kind::Attach, &body)?;
        self.connection.expect_done()?;
        Ok(Session { connection: self.connection })
    }

    /// Runs a process inside and waits until its program runs; `None` for a detached one.
    ///
    /// Fails with the kinds `CommandNotFound` and `CommandNotExecutable`, `AlreadyExists` for a known id.
    pub fn exec(mut self, launch: &ExecLaunch) -> Result<Option<Session>> {
        let body = wire::Exec {
            id: launch.id.clone(),
            terminal: launch.terminal,
            stdin: launch.stdin,
            stdout: launch.stdout,
            stderr: launch.stderr,
            detach: launch.detach,
            process: launch.process.clone(),
        };
        self.connection.send_json(Kind::Exec, &body)?;
        self.connection.expect_done()?;
        Ok((!launch.detach).then_some(Session { connection: self.connection }))
    }

    /// Sets the size of the container's terminal.
    pub fn resize(&mut self, columns: u16, rows: u16) -> Result<()> {
        self.exec_resize("", columns, rows)
    }

    /// Sets the size of the terminal of an exec session.
    pub fn exec_resize(&mut self, exec: &str, columns: u16, rows: u16) -> Result<()> {
        self.connection.send(Kind::Resize, &wire::resize_body(columns, rows, exec))?;
        self.connection.expect_done()
    }

    /// Tells what is known of one exec session.
    pub fn exec_inspect(&mut self, exec: &str) -> Result<ExecRecord> {
        let found = self.exec_records(exec)?.pop();
        found.ok_or_else(|| Error::Answer {
            kind: base::ErrorKind::NotFound,
            text: format!("exec session {exec:?} does not exist"),
        })
    }

    /// Tells the exec sessions that are remembered: all running ones and the last 64 that ended.
    pub fn exec_list(&mut self) -> Result<Vec<ExecRecord>> {
        self.exec_records("")
    }

    fn exec_records(&mut self, exec: &str) -> Result<Vec<ExecRecord>> {
        self.connection.send(Kind::ExecInspect, exec.as_bytes())?;
        wire::parse(Kind::ExecRecords, self.connection.expect(Kind::ExecRecords)?)
    }

    /// Sends a signal to the init; never to a process that got its number later. After [`Client::watch`], one that has
    /// ended meanwhile is no error: [`Client::wait`] tells how.
    pub fn signal(&mut self, signal: i32) -> Result<()> {
        self.connection.send(Kind::Signal, &signal.to_le_bytes())?;
        loop {
            match self.connection.recv()? {
                (Kind::Exit, body) => self.exit = Some(wire::parse(Kind::Exit, body)?),
                (Kind::Done, _) => return Ok(()),
                (Kind::Failed, _) if self.exit.is_some() => return Ok(()),
                (Kind::Failed, body) => {
                    return Err(wire::parse::<wire::Failure>(Kind::Failed, body)?.into_error());
                }
                (kind, _) => return Err(wire::broken(format!("answered {kind:?} to a signal"))),
            }
        }
    }

    /// Announces that this client waits for the end (and does the clean-up): call it before the signal that ends it.
    pub fn watch(&mut self, claim: Claim) -> Result<()> {
        let word = match claim {
            Claim::No => wire::WATCH,
            Claim::Yes => wire::WATCH_AND_CLEAN,
            Claim::Removal => wire::WATCH_AND_REMOVE,
        };
        self.connection.send(Kind::Watch, &[word])?;
        self.connection.expect_done()
    }

    /// Waits for the end of the container; `None` when `timeout_ms` passed before. [`Client::watch`] comes first.
    pub fn wait(&mut self, timeout_ms: Option<u32>) -> Result<Option<ExitRecord>> {
        if let Some(exit) = self.exit.take() {
            return Ok(Some(exit));
        }
        if let Some(timeout) = timeout_ms
            && !self.connection.has_frame()?
            && !is_readable(self.connection.socket(), timeout)?
        {
            return Ok(None);
        }
        wire::parse(Kind::Exit, self.connection.expect(Kind::Exit)?).map(Some)
    }

    /// Says that the claimed clean-up is done.
    pub fn cleaned(mut self) -> Result<()> {
        self.connection.send(Kind::Cleaned, &[])
    }

    /// Has the monitor answer names, from now on, as [`crate::names::FILE`] in the run folder says.
    pub fn serve_names(&mut self) -> Result<()> {
        self.connection.send(Kind::ServeNames, &[])?;
        self.connection.expect_done()
    }

    /// Ends a wait for a restart: the monitor ends without starting the container again. Fails with the kind
    /// `Conflict` when it was not waiting.
    pub fn cancel_restart(&mut self) -> Result<()> {
        self.connection.send(Kind::CancelRestart, &[])?;
        self.connection.expect_done()
    }
}

impl AsFd for Client {
    /// The connection, to poll it: after [`Client::watch`] it becomes readable once the container has ended and its last
    /// line is logged, or when its monitor dies.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.connection.socket()
    }
}

fn is_readable(fd: BorrowedFd<'_>, timeout_ms: u32) -> Result<bool> {
    let timeout =
        Timespec { tv_sec: i64::from(timeout_ms / 1000), tv_nsec: i64::from(timeout_ms % 1000) * 1_000_000 };
    let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::IN)];
    let ready = rustix::io::retry_on_intr(|| poll(&mut fds, Some(&timeout)));
    Ok(ready.doing(|| "wait for the monitor".to_owned())? > 0)
}

/// A connection that carries the streams of a container or of an exec session.
#[derive(Debug)]
pub struct Session {
    connection: Connection,
}

/// What a session receives.
#[derive(Debug)]
pub enum Event<'a> {
    /// Bytes of standard output (of a terminal: all output).
    Stdout(&'a [u8]),
    /// Bytes of standard error.
    Stderr(&'a [u8]),
    /// The container ended; it is the last event.
    Exited(ExitRecord),
    /// The exec session ended with this code; it is the last event.
    ExecExited(i32),
}

impl Session {
    /// Waits for the next event. [`Error::Closed`]: the monitor was killed.
    pub fn next_event(&mut self) -> Result<Event<'_>> {
        let (kind, body) = self.connection.recv()?;
        event(kind, body)
    }

    /// Returns the next event if it is there already.
    pub fn try_event(&mut self) -> Result<Option<Event<'_>>> {
        self.connection.try_recv()?.map(|(kind, body)| event(kind, body)).transpose()
    }

    /// Says whether the next event is of `kind` and needs no further reading.
    pub(crate) fn next_is(&self, kind: Kind) -> bool {
        self.connection.buffered_kind() == Some(kind)
    }

    /// Sends input.
    pub fn send_stdin(&mut self, data: &[u8]) -> Result<()> {
        send_input(self.connection.socket(), data)
    }

    /// Ends the input.
    pub fn close_stdin(&mut self) -> Result<()> {
        self.connection.send(Kind::CloseStdin, &[])
    }

    /// Tells the size of the client's terminal.
    pub fn resize(&mut self, columns: u16, rows: u16) -> Result<()> {
        self.connection.send(Kind::Resize, &wire::resize_body(columns, rows, ""))
    }

    /// Says that the claimed clean-up is done.
    pub fn cleaned(mut self) -> Result<()> {
        self.connection.send(Kind::Cleaned, &[])
    }

    /// A second handle of the connection, for a thread that only sends.
    pub fn sender(&self) -> Result<SessionSender> {
        let socket = self.connection.socket().try_clone_to_owned();
        Ok(SessionSender { socket: socket.doing(|| "duplicate the connection".to_owned())? })
    }
}

impl AsFd for Session {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.connection.socket()
    }
}

/// The sending half of a [`Session`].
#[derive(Debug)]
pub struct SessionSender {
    socket: OwnedFd,
}

impl SessionSender {
    /// Sends input.
    pub fn send_stdin(&mut self, data: &[u8]) -> Result<()> {
        send_input(self.socket.as_fd(), data)
    }

    /// Ends the input.
    pub fn close_stdin(&mut self) -> Result<()> {
        send_frame(self.socket.as_fd(), Kind::CloseStdin, &[])
    }

    /// Tells the size of the client's terminal.
    pub fn resize(&mut self, columns: u16, rows: u16) -> Result<()> {
        send_frame(self.socket.as_fd(), Kind::Resize, &wire::resize_body(columns, rows, ""))
    }
}

fn send_input(socket: BorrowedFd<'_>, data: &[u8]) -> Result<()> {
    data.chunks(MAX_DATA).try_for_each(|chunk| send_frame(socket, Kind::Stdin, chunk))
}

fn event(kind: Kind, body: &[u8]) -> Result<Event<'_>> {
    match kind {
        Kind::Stdout => Ok(Event::Stdout(body)),
        Kind::Stderr => Ok(Event::Stderr(body)),
        Kind::Exit => Ok(Event::Exited(wire::parse(kind, body)?)),
        Kind::ExecExit => Ok(Event::ExecExited(wire::number(kind, body)?)),
        Kind::Failed => Err(wire::parse::<Failure>(kind, body)?.into_error()),
        _ => Err(wire::broken(format!("sent {kind:?} into a session"))),
    }
}
