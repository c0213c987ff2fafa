//! What can go wrong between a program and a monitor, by what the caller can do about it.

use std::io;
use std::path::PathBuf;

use base::{ErrorKind, Kinded};

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A system call failed.
    #[error("cannot {doing}")]
    Os {
        /// What was attempted, and on what.
        doing: String,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// A record or a request is malformed.
    #[error("cannot parse {what}")]
    Json {
        /// The file, or the kind of the message.
        what: String,
        /// What the parser says.
        #[source]
        source: serde_json::Error,
    },
    /// No monitor answers on the socket of the run folder.
    #[error("no monitor answers in {run_dir:?}")]
    NoMonitor {
        /// The run folder of the container.
        run_dir: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The monitor is there and says nothing.
    #[error(
        "the monitor, process {pid}, has not answered for {seconds} s: it is stopped (kill -CONT {pid} lets it go on), or the machine is too busy"
    )]
    Silent {
        /// Its number.
        pid: i32,
        /// How long was waited.
        seconds: i64,
    },
    /// The other side broke the protocol or speaks a newer one.
    #[error("the monitor's peer {problem}")]
    Protocol {
        /// What it did.
        problem: String,
    },
    /// The monitor closed the connection: it was killed, or it dropped this client.
    #[error("the monitor closed the connection")]
    Closed,
    /// Nobody reads the caller's output any more (a pipe whose reader ended).
    #[error("nobody reads the output any more")]
    OutputGone,
    /// The monitor answered with an error.
    #[error("{text}")]
    Answer {
        /// What the caller can do about it.
        kind: ErrorKind,
        /// The rendered chain of causes.
        text: String,
    },
    /// A sequence of detach keys cannot be parsed.
    #[error(
        "invalid detach keys {text:?}: {part:?} is neither one character nor ctrl- and one of a-z @ [ \\ ] ^ _"
    )]
    DetachKeys {
        /// The whole sequence.
        text: String,
        /// The part that is wrong.
        part: String,
    },
    /// The container does not run.
    #[error("the container in {run_dir:?} does not run")]
    NotRunning {
        /// The run folder of the container.
        run_dir: PathBuf,
    },
}

/// The result of most functions of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Kinded for Error {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Os { source, .. } => match source.kind() {
                io::ErrorKind::PermissionDenied => ErrorKind::Denied,
                io::ErrorKind::NotFound => ErrorKind::NotFound,
                _ => ErrorKind::Internal,
            },
            Self::Json { .. } | Self::DetachKeys { .. } => ErrorKind::Invalid,
            Self::NoMonitor { .. } | Self::Silent { .. } | Self::Closed | Self::OutputGone => {
                ErrorKind::Unavailable
            }
            Self::Protocol { .. } => ErrorKind::Internal,
            Self::Answer { kind, .. } => *kind,
            Self::NotRunning { .. } => ErrorKind::Conflict,
        }
    }
}

/// Says what was being done when a system call failed.
pub(crate) trait Doing<T> {
    /// Adds what was attempted, without "cannot".
    fn doing(self, doing: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Into<io::Error>> Doing<T> for std::result::Result<T, E> {
    fn doing(self, doing: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|source| Error::Os { doing: doing(), source: source.into() })
    }
}
