//! The one way out: data goes to the standard output, everything else to the standard error.
//!
//! When the reader of a pipe went away (`brig ps | head`), the next write ends the command quietly.

use std::cell::RefCell;
use std::io::{self, BufWriter, IsTerminal, Stdout, Write};

use anyhow::Result;

/// How much is said on the standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// Errors only.
    Error,
    /// Warnings too.
    Warn,
    /// What may interest too; the default.
    Info,
    /// What helps to find a fault too.
    Debug,
}

impl std::str::FromStr for Level {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "fatal" | "error" => Ok(Self::Error),
            "warn" | "warning" => Ok(Self::Warn),
            "info" => Ok(Self::Info),
            "debug" | "trace" => Ok(Self::Debug),
            _ => {
                Err(format!("unable to parse logging level: {text}; give debug, info, warn, error or fatal"))
            }
        }
    }
}

/// The reader of the standard output went away.
#[derive(Debug, thiserror::Error)]
#[error("the reader of the standard output went away")]
pub(crate) struct Gone;

/// Where a command prints.
#[derive(Debug)]
pub(crate) struct Ui {
    level: Level,
    out: RefCell<BufWriter<Stdout>>,
}

impl Ui {
    /// Makes the way out; what is below `level` is not said.
    pub(crate) fn new(level: Level) -> Self {
        Self { level, out: RefCell::new(BufWriter::new(io::stdout())) }
    }

    /// Writes `text` to the standard output.
    pub(crate) fn print(&self, text: &str) -> Result<()> {
        self.bytes(text.as_bytes())
    }

    /// Writes a line to the standard output.
    pub(crate) fn line(&self, text: &str) -> Result<()> {
        self.print(text)?;
        self.print("\n")
    }

    /// Writes a line to the standard output and lets the reader have it at once.
    pub(crate) fn line_now(&self, text: &str) -> Result<()> {
        self.line(text)?;
        self.flush()
    }

    /// Writes bytes to the standard output.
    pub(crate) fn bytes(&self, bytes: &[u8]) -> Result<()> {
        checked(self.out.borrow_mut().write_all(bytes))
    }

    /// Hands on what is buffered.
    pub(crate) fn flush(&self) -> Result<()> {
        checked(self.out.borrow_mut().flush())
    }

    /// Writes a warning to the standard error.
    pub(crate) fn warn(&self, text: &str) {
        if self.level >= Level::Warn {
            note(&format!("WARNING: {text}"));
        }
    }

    /// Writes what helps to find a fault to the standard error.
    pub(crate) fn debug(&self, text: &str) {
        if self.level >= Level::Debug {
            note(&format!("DEBUG: {text}"));
        }
    }

    /// Writes an error to the standard error.
    pub(crate) fn error(&self, text: &str) {
        note(text);
    }
}

/// Says whether the standard output is a terminal.
pub(crate) fn stdout_is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Says whether the standard input is a terminal.
pub(crate) fn stdin_is_terminal() -> bool {
    io::stdin().is_terminal()
}

/// Says whether the standard error is a terminal.
pub(crate) fn stderr_is_terminal() -> bool {
    io::stderr().is_terminal()
}

/// Writes a line to the standard error. When nobody reads it there is nobody to tell.
pub(crate) fn note(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

fn checked(result: io::Result<()>) -> Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Gone.into()),
        Err(error) => Err(anyhow::Error::new(error).context("cannot write to the standard output")),
        Ok(()) => Ok(()),
    }
}
