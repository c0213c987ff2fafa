//! Joins a session with the terminal of the caller: input and output, window size, detach keys, signals.
//!
//! One thread and one `poll`. Nothing of it waits on one side while the other has something to say: a command that pipes a
//! file through `cat` in a container would else stop for ever. The terminal's mode is restored on every way out.

mod keys;
mod raw;

use std::os::fd::{AsFd, BorrowedFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::{Errno, ReadWriteFlags};
use rustix::net::{SendFlags, send};
use sys::signalfd::SignalFd;

pub use keys::{DEFAULT_DETACH_KEYS, parse_detach_keys};

use crate::client::{Event, Session};
use crate::error::{Doing, Error, Result};
use crate::record::ExitRecord;
use crate::wire::{self, Kind, MAX_DATA};
use keys::Matcher;

/// What a blocking pipe or terminal that is ready takes without waiting.
const SMALL_WRITE: usize = 4096;

const SIGHUP: i32 = 1;
const SIGINT: i32 = 2;
const SIGQUIT: i32 = 3;
const SIGTERM: i32 = 15;
const SIGWINCH: i32 = 28;

/// Signals that end this program unless they are handed on.
const DEADLY: [i32; 4] = [SIGHUP, SIGINT, SIGQUIT, SIGTERM];

/// Further signals that are handed on: USR1, USR2, ALRM, CONT, TSTP, VTALRM, PROF, IO, PWR.
const PROXIED: [i32; 9] = [10, 12, 14, 18, 20, 26, 27, 29, 30];

/// How to join.
pub struct InteractOptions<'a> {
    /// Send the caller's standard input.
    pub stdin: bool,
    /// The process has a terminal: raw mode, window size.
    pub tty: bool,
    /// Bytes that detach, with a terminal only; empty for none.
    pub detach_keys: Vec<u8>,
    /// Hand signals on through `signal` instead of dying of them.
    pub sig_proxy: bool,
    /// Sends a signal to the container.
    pub signal: &'a dyn Fn(i32),
}

impl std::fmt::Debug for InteractOptions<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InteractOptions")
            .field("stdin", &self.stdin)
            .field("tty", &self.tty)
            .finish_non_exhaustive()
    }
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
///
/// Must be called from the program's only thread when signals are to be handed on. Without `sig_proxy` a deadly signal ends the
/// program, with the terminal restored.
pub fn interact(session: &mut Session, options: &InteractOptions<'_>) -> Result<Outcome> {
    let mut wanted = DEADLY.to_vec();
    wanted.push(SIGWINCH);
    if options.sig_proxy {
        wanted.extend_from_slice(&PROXIED);
    }
    let signals = SignalFd::new(&wanted).doing(|| "receive signals".to_owned())?;
    let stdin = std::io::stdin();
    let raw = (options.tty && options.stdin).then(|| raw::RawMode::enter(stdin.as_fd())).flatten();
    let mut join = Join {
        session,
        options,
        raw,
        // Between pipes any bytes may come, and none of them was typed.
        keys: Matcher::new(if options.tty { options.detach_keys.clone() } else { Vec::new() }),
        input_open: options.stdin,
        to_monitor: Vec::new(),
        output: Vec::new(),
        written: 0,
        to_stderr: false,
        read_buffer: vec![0; MAX_DATA],
    };
    join.tell_size();
    join.run(&signals)
}

struct Join<'a, 'o> {
    session: &'a mut Session,
    options: &'a InteractOptions<'o>,
    raw: Option<raw::RawMode>,
    keys: Matcher,
    input_open: bool,
    /// Frames that the monitor has not taken yet.
    to_monitor: Vec<u8>,
    /// Output that the caller's stream has not taken yet.
    output: Vec<u8>,
    written: usize,
    to_stderr: bool,
    read_buffer: Vec<u8>,
}

impl Join<'_, '_> {
    fn run(&mut self, signals: &SignalFd) -> Result<Outcome> {
        loop {
            if self.output.len() == self.written
                && let Some(outcome) = self.take_event()?
            {
                return Ok(outcome);
            }
            let ready = self.wait(signals)?;
            while ready.signal
                && let Some(signal) = signals.read().doing(|| "read a signal".to_owned())?
            {
                self.on_signal(signal);
            }
            if ready.output {
                self.write_output()?;
            }
            if ready.to_monitor {
                self.flush_to_monitor()?;
            }
            if ready.input && self.read_input()? {
                return Ok(Outcome::Detached);
            }
        }
    }

    /// Takes the next event that is there: output to be written, or the end.
    fn take_event(&mut self) -> Result<Option<Outcome>> {
        self.output.clear();
        self.written = 0;
        // Several frames of one stream are written at once.
        while self.output.len() < 2 * MAX_DATA {
            match self.session.try_event()? {
                None => break,
                Some(Event::Stdout(data)) => {
                    self.to_stderr = false;
                    self.output.extend_from_slice(data);
                    // Frames that are buffered already cost no further call; a change of the stream ends the batch.
                    if !self.session.next_is(Kind::Stdout) {
                        break;
                    }
                }
                Some(Event::Stderr(data)) => {
                    self.to_stderr = true;
                    self.output.extend_from_slice(data);
                    if !self.session.next_is(Kind::Stderr) {
                        break;
                    }
                }
                Some(Event::Exited(record)) => return Ok(Some(Outcome::Exited(record))),
                Some(Event::ExecExited(code)) => return Ok(Some(Outcome::ExecExited(code))),
            }
        }
        Ok(None)
    }

    fn wait(&self, signals: &SignalFd) -> Result<Ready> {
        let (stdin, stdout, stderr) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
        let pending = self.output.len() > self.written;
        let mut socket = PollFlags::empty();
        socket.set(PollFlags::IN, !pending);
        socket.set(PollFlags::OUT, !self.to_monitor.is_empty());
        let read_input = self.input_open && self.to_monitor.is_empty();
        let out: BorrowedFd<'_> = if self.to_stderr { stderr.as_fd() } else { stdout.as_fd() };
        let mut fds =
            vec![PollFd::new(signals, PollFlags::IN), PollFd::from_borrowed_fd(self.session.as_fd(), socket)];
        if pending {
            fds.push(PollFd::from_borrowed_fd(out, PollFlags::OUT));
        }
        if read_input {
            fds.push(PollFd::from_borrowed_fd(stdin.as_fd(), PollFlags::IN));
        }
        rustix::io::retry_on_intr(|| poll(&mut fds, None))
            .doing(|| "wait for input and output".to_owned())?;
        let is_ready = |index: usize| !fds[index].revents().is_empty();
        let gone = PollFlags::OUT | PollFlags::HUP | PollFlags::ERR;
        Ok(Ready {
            signal: is_ready(0),
            to_monitor: !self.to_monitor.is_empty() && fds[1].revents().intersects(gone),
            output: pending && is_ready(2),
            input: read_input && is_ready(fds.len() - 1),
        })
    }

    fn on_signal(&mut self, signal: i32) {
        match signal {
            SIGWINCH => self.tell_size(),
            signal if self.options.sig_proxy => (self.options.signal)(signal),
            signal => {
                self.raw = None;
                sys::signalfd::die_of(signal);
            }
        }
    }

    fn tell_size(&mut self) {
        if self.options.tty
            && let Some((columns, rows)) = terminal_size()
        {
            wire::encode(Kind::Resize, &wire::resize_body(columns, rows, ""), &mut self.to_monitor);
        }
    }

    fn write_output(&mut self) -> Result<()> {
        let (stdout, stderr) = (std::io::stdout(), std::io::stderr());
        let out: BorrowedFd<'_> = if self.to_stderr { stderr.as_fd() } else { stdout.as_fd() };
        match write_ready(out, &self.output[self.written..]) {
            Ok(done) => self.written += done,
            // Nobody reads any more: the process goes on, as it would with any broken pipe but its own.
            Err(Errno::PIPE) => return Err(Error::OutputGone),
            Err(error) => return Err(error).doing(|| "write the output".to_owned()),
        }
        Ok(())
    }

    fn flush_to_monitor(&mut self) -> Result<()> {
        match send(self.session.as_fd(), &self.to_monitor, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
            Ok(sent) => {
                self.to_monitor.drain(..sent);
                Ok(())
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(()),
            // What it said last is still to be read: the end, most often.
            Err(Errno::PIPE | Errno::CONNRESET) => {
                self.to_monitor.clear();
                self.input_open = false;
                Ok(())
            }
            Err(error) => Err(error).doing(|| "send to the monitor".to_owned()),
        }
    }

    /// Reads input once; `true` when the user detaches.
    fn read_input(&mut self) -> Result<bool> {
        let stdin = std::io::stdin();
        let got = match rustix::io::read(stdin.as_fd(), &mut self.read_buffer[..]) {
            Ok(got) => got,
            Err(Errno::INTR | Errno::AGAIN) => return Ok(false),
            // A terminal that was hung up is an end of input.
            Err(Errno::IO) => 0,
            Err(error) => return Err(error).doing(|| "read the standard input".to_owned()),
        };
        if got == 0 {
            self.input_open = false;
            wire::encode(Kind::CloseStdin, &[], &mut self.to_monitor);
        } else {
            let mut typed = Vec::new();
            let detached = self.keys.feed(&self.read_buffer[..got], &mut typed);
            for chunk in typed.chunks(MAX_DATA) {
                wire::encode(Kind::Stdin, chunk, &mut self.to_monitor);
            }
            if detached {
                return Ok(true);
            }
        }
        self.flush_to_monitor()?;
        Ok(false)
    }
}

struct Ready {
    signal: bool,
    to_monitor: bool,
    output: bool,
    input: bool,
}

/// Writes what a ready stream takes. Where the kernel cannot be asked not to wait, a small piece is written, for which a ready
/// pipe has room.
fn write_ready(out: BorrowedFd<'_>, data: &[u8]) -> rustix::io::Result<usize> {
    let parts = [std::io::IoSlice::new(data)];
    match rustix::io::pwritev2(out, &parts, u64::MAX, ReadWriteFlags::NOWAIT) {
        Ok(done) => Ok(done),
        Err(Errno::AGAIN | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL | Errno::SPIPE) => {
            match rustix::io::write(out, &data[..data.len().min(SMALL_WRITE)]) {
                Err(Errno::AGAIN | Errno::INTR) => Ok(0),
                other => other,
            }
        }
        Err(Errno::INTR) => Ok(0),
        Err(error) => Err(error),
    }
}

/// Returns columns and rows of the caller's terminal.
pub fn terminal_size() -> Option<(u16, u16)> {
    let (stdin, stdout, stderr) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
    [stdout.as_fd(), stdin.as_fd(), stderr.as_fd()].into_iter().find_map(|fd| {
        let size = rustix::termios::tcgetwinsize(fd).ok()?;
        (size.ws_col > 0 && size.ws_row > 0).then_some((size.ws_col, size.ws_row))
    })
}

impl From<Outcome> for Option<ExitRecord> {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Exited(record) => Some(record),
            Outcome::ExecExited(_) | Outcome::Detached => None,
        }
    }
}

/// Says whether an error means that the monitor was killed and the container may live on.
pub fn is_monitor_lost(error: &Error) -> bool {
    matches!(error, Error::Closed | Error::NoMonitor { .. })
}
