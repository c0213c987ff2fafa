//! What can go wrong in the runtime, by what the caller can do about it.

use std::io;

use base::{ErrorKind, Kinded};

/// An error of the runtime.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A field of `config.json`, of a request or of the command line is malformed.
    #[error("invalid {field} {value:?}: {allowed}")]
    Invalid {
        /// The field, in the words of the specification (`linux.sysctl`).
        field: String,
        /// What it holds.
        value: String,
        /// What may stand there.
        allowed: String,
    },
    /// No container of that name is recorded.
    #[error("container {id:?} does not exist")]
    NotFound {
        /// The container asked for.
        id: String,
    },
    /// A container of that name is recorded already.
    #[error("container {id:?} exists already")]
    Exists {
        /// The container asked for.
        id: String,
    },
    /// The container's status does not allow the action.
    #[error("cannot {action} container {id:?}: it is {status}")]
    Status {
        /// The container.
        id: String,
        /// What was asked for.
        action: &'static str,
        /// What it is.
        status: String,
    },
    /// The kernel, the machine or Brig lacks what the request needs.
    #[error("{what} is not supported: {why}")]
    Unsupported {
        /// What was asked for.
        what: String,
        /// Why it cannot be had.
        why: String,
    },
    /// A call to the kernel failed.
    #[error("cannot {doing}")]
    Os {
        /// What was attempted, and on what.
        doing: String,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// The process inside reported a failure: its own rendered chain of causes.
    #[error("{text}")]
    Inside {
        /// What a caller can do about it.
        kind: ErrorKind,
        /// The rendered chain.
        text: String,
    },
    /// A file of the runtime or a bundle holds malformed JSON.
    #[error("cannot parse {path:?}")]
    Json {
        /// The file.
        path: std::path::PathBuf,
        /// What the parser says.
        #[source]
        source: serde_json::Error,
    },
    /// The control groups could not be made or written.
    #[error("cannot {doing}")]
    Part {
        /// What was attempted.
        doing: String,
        /// What the kernel would say about it.
        kind: ErrorKind,
        /// The error of the module that was asked.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// The result of most functions of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Kinded for Error {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Invalid { .. } | Self::Json { .. } => ErrorKind::Invalid,
            Self::NotFound { .. } => ErrorKind::NotFound,
            Self::Exists { .. } => ErrorKind::AlreadyExists,
            Self::Status { .. } => ErrorKind::Conflict,
            Self::Unsupported { .. } => ErrorKind::Unsupported,
            Self::Os { source, .. } => match source.kind() {
                io::ErrorKind::PermissionDenied => ErrorKind::Denied,
                io::ErrorKind::NotFound => ErrorKind::NotFound,
                _ => ErrorKind::Internal,
            },
            Self::Inside { kind, .. } | Self::Part { kind, .. } => *kind,
        }
    }
}

impl Error {
    /// Makes the error of a value that is not allowed in `field`.
    pub(crate) fn invalid(
        field: impl Into<String>,
        value: impl Into<String>,
        allowed: impl Into<String>,
    ) -> Self {
        Self::Invalid { field: field.into(), value: value.into(), allowed: allowed.into() }
    }

    /// Makes the error of something that is not there.
    pub(crate) fn unsupported(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Unsupported { what: what.into(), why: why.into() }
    }
}

/// Says what was being done when a system call failed.
pub(crate) trait Doing<T> {
    /// Adds what was attempted, without "cannot": `cannot {doing}: {cause}`.
    fn doing(self, doing: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Into<io::Error>> Doing<T> for std::result::Result<T, E> {
    fn doing(self, doing: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|source| Error::Os { doing: doing(), source: source.into() })
    }
}

/// Wraps the error of a part of this crate with what was attempted.
pub(crate) fn part(doing: &str, error: impl Kinded + Send + Sync + 'static) -> Error {
    Error::Part { doing: doing.to_owned(), kind: error.kind(), source: Box::new(error) }
}
