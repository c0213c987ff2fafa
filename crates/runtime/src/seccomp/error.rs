//! What can go wrong between a seccomp profile and an installed filter.

use std::io;
use std::path::PathBuf;

use base::{ErrorKind, Kinded};

/// An error of the seccomp compiler, its cache, or the installation.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A field of the profile has a value that is not allowed.
    #[error("invalid seccomp profile: {field} is {value}: {allowed}")]
    Invalid {
        /// The field, as a path in the profile.
        field: String,
        /// What was found.
        value: String,
        /// What is allowed.
        allowed: String,
    },
    /// The profile is not JSON of the wanted form.
    #[error("cannot parse the seccomp profile")]
    Json(#[source] serde_json::Error),
    /// The program would be longer than the kernel takes.
    #[error("seccomp profile needs {instructions} instructions: the kernel takes {limit} at most")]
    TooLong {
        /// The length of the program.
        instructions: usize,
        /// The kernel's limit.
        limit: usize,
    },
    /// This machine's architecture or kernel lacks what the profile asks for.
    #[error("seccomp: {0} is not supported here")]
    Unsupported(String),
    /// The kernel refused the filter.
    #[error("cannot install the seccomp filter")]
    Install(#[source] io::Error),
    /// The cache folder cannot be trusted.
    #[error("seccomp cache folder {path:?} cannot be trusted: {reason}")]
    Cache {
        /// The folder.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The notification descriptor could not be handed over.
    #[error("cannot send the seccomp listener to {path:?}")]
    Listener {
        /// The socket.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl Kinded for Error {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Invalid { .. } | Self::Json(_) | Self::TooLong { .. } => ErrorKind::Invalid,
            Self::Unsupported(_) => ErrorKind::Unsupported,
            Self::Cache { .. } => ErrorKind::Denied,
            Self::Install(_) => ErrorKind::Internal,
            Self::Listener { .. } => ErrorKind::Unavailable,
        }
    }
}
