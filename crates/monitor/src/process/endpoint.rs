//! The monitor's side of the streams of one process: FIFOs, pipes or the master end of a terminal.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::error::{Doing, Result};
use crate::launch::StdinMode;
use crate::log::Stream;

/// Input that a process has not taken yet may grow to this; then the client waits.
const MAX_PENDING: usize = 64 << 10;

/// Names of the FIFOs in the run folder.
pub(super) const FIFOS: [&str; 3] = ["stdin", "stdout", "stderr"];

/// The streams of one process.
#[derive(Debug, Default)]
pub(super) struct Endpoint {
    pub(super) input: Option<Input>,
    pub(super) outputs: [Option<OwnedFd>; 2],
    /// The master end of a terminal, and one slave end, so that the terminal is never hung up while a process closes
    /// and opens it.
    pub(super) terminal: Option<(OwnedFd, Option<OwnedFd>)>,
    /// Output is not read now, because a lossless client is behind.
    pub(super) paused: bool,
}

/// Where input goes.
#[derive(Debug)]
pub(super) struct Input {
    pub(super) fd: OwnedFd,
    pending: Vec<u8>,
    /// Ends once everything pending is written.
    ends: bool,
}

/// What writing input came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// All of it.
    All,
    /// Some is pending.
    Pending,
    /// The input has ended, or nobody reads it.
    Ended,
}

impl Input {
    pub(super) fn new(fd: OwnedFd) -> Self {
        Self { fd, pending: Vec::new(), ends: false }
    }

    /// Writes `data` after what is pending.
    pub(super) fn write(&mut self, data: &[u8]) -> Written {
        if self.ends {
            return Written::Pending;
        }
        if self.pending.is_empty() {
            match write_some(&self.fd, data) {
                Ok(done) => self.pending.extend_from_slice(&data[done..]),
                Err(_) => return Written::Ended,
            }
        } else {
            self.pending.extend_from_slice(data);
        }
        self.state()
    }

    /// Writes what is pending.
    pub(super) fn flush(&mut self) -> Written {
        match write_some(&self.fd, &self.pending) {
            Ok(done) => {
                self.pending.drain(..done);
            }
            Err(_) => return Written::Ended,
        }
        if self.pending.is_empty() {
            self.pending = Vec::new();
        }
        self.state()
    }

    /// Ends the input after what is pending.
    pub(super) fn end(&mut self) -> Written {
        self.ends = true;
        self.state()
    }

    /// Says whether a client has to wait before it sends more.
    pub(super) fn is_full(&self) -> bool {
        self.pending.len() >= MAX_PENDING
    }

    fn state(&self) -> Written {
        match (self.pending.is_empty(), self.ends) {
            (true, true) => Written::Ended,
            (true, false) => Written::All,
            (false, _) => Written::Pending,
        }
    }
}

fn write_some(fd: &OwnedFd, data: &[u8]) -> rustix::io::Result<usize> {
    let mut done = 0;
    while done < data.len() {
        match rustix::io::write(fd, &data[done..]) {
            Ok(got) => done += got,
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => break,
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

impl Endpoint {
    /// Takes the master end of a terminal.
    pub(super) fn of_terminal(master: OwnedFd, size: Option<(u16, u16)>) -> Result<Self> {
        let doing = || "take over the terminal".to_owned();
        rustix::io::ioctl_fionbio(&master, true).doing(doing)?;
        let output = master.try_clone().doing(doing)?;
        let input = master.try_clone().doing(doing)?;
        // Without the slave end only a process that closes all of its terminal loses the output of a later one.
        let slave =
            ioctl_tiocgptpeer(&master, OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).ok();
        let mut endpoint = Self {
            input: Some(Input::new(input)),
            outputs: [Some(output), None],
            terminal: Some((master, slave)),
            paused: false,
        };
        if let Some((columns, rows)) = size {
            endpoint.resize(columns, rows);
        }
        Ok(endpoint)
    }

    /// Sets the size of the terminal; `false` when there is none.
    pub(super) fn resize(&mut self, columns: u16, rows: u16) -> bool {
        let Some((master, _)) = &self.terminal else { return false };
        tcsetwinsize(master, Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }).is_ok()
    }

    /// Which stream the output `number` is.
    pub(super) fn stream(number: u8) -> Stream {
        if number == 0 { Stream::Stdout } else { Stream::Stderr }
    }
}

/// Makes the FIFOs of a container in its run folder and opens both sides.
///
/// The process holds its side of the output read-write, and so does the monitor: neither sees an end or a broken pipe when the other
/// one goes. Input that must end is the exception: there the monitor alone holds the writing side.
pub(super) fn fifos(dir: &OwnedFd, stdin: StdinMode) -> Result<(Endpoint, [OwnedFd; 3])> {
    for name in FIFOS {
        make_fifo(dir, name)?;
    }
    let endpoint = open_fifos(dir, stdin)?;
    let theirs = |name: &str, mode: OFlags| -> Result<OwnedFd> {
        // Opened without waiting for another side, but the process itself shall wait as usual.
        let fd = open_fifo(dir, name, mode)?;
        rustix::io::ioctl_fionbio(&fd, false).doing(|| format!("open the FIFO {name}"))?;
        Ok(fd)
    };
    let input = match stdin {
        StdinMode::Null => rustix::fs::open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .doing(|| "open \"/dev/null\"".to_owned())?,
        StdinMode::Open => theirs("stdin", OFlags::RDWR)?,
        StdinMode::Once => theirs("stdin", OFlags::RDONLY)?,
    };
    let endpoint = match stdin {
        // A side that only writes can be opened once there is a reader.
        StdinMode::Once => {
            Endpoint { input: Some(Input::new(open_fifo(dir, "stdin", OFlags::WRONLY)?)), ..endpoint }
        }
        _ => endpoint,
    };
    Ok((endpoint, [input, theirs("stdout", OFlags::RDWR)?, theirs("stderr", OFlags::RDWR)?]))
}

/// Opens the monitor's side of existing FIFOs. Input that ended with the former monitor stays ended.
pub(super) fn open_fifos(dir: &OwnedFd, stdin: StdinMode) -> Result<Endpoint> {
    let input = match stdin {
        StdinMode::Open => Some(Input::new(open_fifo(dir, "stdin", OFlags::RDWR)?)),
        StdinMode::Null | StdinMode::Once => None,
    };
    let outputs =
        [Some(open_fifo(dir, "stdout", OFlags::RDWR)?), Some(open_fifo(dir, "stderr", OFlags::RDWR)?)];
    Ok(Endpoint { input, outputs, ..Endpoint::default() })
}

fn make_fifo(dir: &OwnedFd, name: &str) -> Result<()> {
    let doing = || format!("make the FIFO {name}");
    match rustix::fs::unlinkat(dir, name, rustix::fs::AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(error) => return Err(error).doing(doing),
    }
    rustix::fs::mknodat(dir, name, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).doing(doing)
}

fn open_fifo(dir: &OwnedFd, name: &str, mode: OFlags) -> Result<OwnedFd> {
    let flags = mode | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    rustix::fs::openat(dir.as_fd(), name, flags, Mode::empty()).doing(|| format!("open the FIFO {name}"))
}

/// Makes pipes for the streams that a client wants; the others are `/dev/null`.
pub(super) fn pipes(stdin: bool, stdout: bool, stderr: bool) -> Result<(Endpoint, [OwnedFd; 3])> {
    let doing = || "make pipes".to_owned();
    let null = || rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).doing(doing);
    let mut endpoint = Endpoint::default();
    let mut theirs = [null()?, null()?, null()?];
    if stdin {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC).doing(doing)?;
        rustix::io::ioctl_fionbio(&write, true).doing(doing)?;
        endpoint.input = Some(Input::new(write));
        theirs[0] = read;
    }
    for (number, wanted) in [(0, stdout), (1, stderr)] {
        if wanted {
            let (read, write) = pipe_with(PipeFlags::CLOEXEC).doing(doing)?;
            rustix::io::ioctl_fionbio(&read, true).doing(doing)?;
            endpoint.outputs[number] = Some(read);
            theirs[number + 1] = write;
        }
    }
    Ok((endpoint, theirs))
}
