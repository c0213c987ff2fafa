//! What can go wrong in a use-case, by what the caller can do about it. The words are Docker's where Docker has them.

use std::io;
use std::path::{Path, PathBuf};

use base::{ErrorKind, Kinded};

/// The result of most functions of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of the engine.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such container, image, volume or network.
    #[error("{}", Missing(.what, .name))]
    NotFound {
        /// What kind of object.
        what: &'static str,
        /// The name that was asked for.
        name: String,
    },
    /// There is no such path inside a container.
    #[error("Could not find the file {path} in container {container}")]
    NoFile {
        /// The path.
        path: String,
        /// The container as it was asked for.
        container: String,
    },
    /// Several objects begin with that id.
    #[error("multiple {what}s found with provided prefix: {prefix}")]
    Ambiguous {
        /// What kind of object.
        what: &'static str,
        /// The beginning that was given.
        prefix: String,
    },
    /// The name is taken.
    #[error(
        "Conflict. The container name \"/{name}\" is already in use by container \"{owner}\". You have to remove (or rename) that container to be able to reuse that name."
    )]
    NameTaken {
        /// The name.
        name: String,
        /// Id of the container that has it.
        owner: String,
    },
    /// The object's state does not allow the action.
    #[error("{0}")]
    Conflict(String),
    /// The request is malformed.
    #[error("{0}")]
    Invalid(String),
    /// Who a process in a running container is to be cannot be told.
    #[error("{0}")]
    Account(String),
    /// It is not permitted.
    #[error("{0}")]
    Denied(String),
    /// Brig or the machine lacks what this needs.
    #[error("{0}")]
    Unsupported(String),
    /// It failed now and may succeed later.
    #[error("{0}")]
    Unavailable(String),
    /// A published port is taken.
    #[error("cannot publish {address}/{proto}: {why}")]
    PortTaken {
        /// Host address and port.
        address: String,
        /// `tcp`, `udp` or `sctp`.
        proto: String,
        /// By whom, as far as is known.
        why: String,
    },
    /// The data root was written by a newer program.
    #[error(
        "cannot use the data root: {path:?} says format {found:?} and this program knows up to {known}; use a newer brig"
    )]
    Format {
        /// The file with the number.
        path: PathBuf,
        /// What it says.
        found: String,
        /// What this program knows.
        known: u32,
    },
    /// A root is open to others.
    #[error("cannot use {path:?}: others may list or write it (mode {mode:o}); run chmod go-rw on it")]
    OpenRoot {
        /// The root.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// A file could not be read, written or made.
    #[error("cannot {action} {path:?}")]
    Io {
        /// What was attempted.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// A system call failed.
    #[error("cannot {action}")]
    System {
        /// What was attempted.
        action: String,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// The database failed.
    #[error("cannot {action} in the database")]
    Database {
        /// What was attempted.
        action: &'static str,
        /// SQLite's answer.
        #[source]
        source: rusqlite::Error,
    },
    /// A file of our own holds what it should not.
    #[error("cannot read {path:?}: {why}")]
    Corrupt {
        /// The file or record.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A mechanism failed; its own error is the cause.
    #[error("{doing}")]
    Part {
        /// What was attempted.
        doing: String,
        /// What the caller can do about it.
        kind: ErrorKind,
        /// The mechanism's error.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Docker has other words for a network and for a driver.
struct Missing<'a>(&'a str, &'a str);

impl std::fmt::Display for Missing<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self("network", name) => write!(f, "network {name} not found"),
            Self("plugin", name) => write!(f, "plugin {name:?} not found"),
            Self(what, name) => write!(f, "No such {what}: {name}"),
        }
    }
}

impl Kinded for Error {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NotFound { .. } | Self::NoFile { .. } => ErrorKind::NotFound,
            Self::NameTaken { .. } | Self::Conflict(_) | Self::PortTaken { .. } => ErrorKind::Conflict,
            Self::Ambiguous { .. } | Self::Invalid(_) | Self::Account(_) => ErrorKind::Invalid,
            Self::Unsupported(_) | Self::Format { .. } => ErrorKind::Unsupported,
            Self::Unavailable(_) => ErrorKind::Unavailable,
            Self::OpenRoot { .. } | Self::Denied(_) => ErrorKind::Denied,
            Self::Io { source, .. } | Self::System { source, .. } => io_kind(source),
            Self::Database { .. } | Self::Corrupt { .. } => ErrorKind::Internal,
            Self::Part { kind, .. } => *kind,
        }
    }
}

fn io_kind(error: &io::Error) -> ErrorKind {
    match error.kind() {
        io::ErrorKind::PermissionDenied => ErrorKind::Denied,
        io::ErrorKind::NotFound => ErrorKind::NotFound,
        _ => ErrorKind::Internal,
    }
}

/// Adds the path to an I/O error.
pub(crate) trait IoContext<T> {
    /// Says what was attempted on `path`.
    fn at(self, action: &'static str, path: &Path) -> Result<T>;
}

impl<T, E: Into<io::Error>> IoContext<T> for std::result::Result<T, E> {
    fn at(self, action: &'static str, path: &Path) -> Result<T> {
        self.map_err(|source| Error::Io { action, path: path.to_owned(), source: source.into() })
    }
}

/// Adds what was attempted to an error of a mechanism.
pub(crate) trait Doing<T> {
    /// Says what was attempted: `cannot start the container`.
    fn doing(self, doing: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Kinded + Send + Sync + 'static> Doing<T> for std::result::Result<T, E> {
    fn doing(self, doing: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|source| Error::Part { doing: doing(), kind: source.kind(), source: Box::new(source) })
    }
}
