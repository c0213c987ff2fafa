//! What can go wrong with a living tree.

use base::{ErrorKind, Kinded};
use rustix::io::Errno;

use crate::tar::{TarError, shorten};
use crate::unpack::UnpackError;

/// Why a tree cannot be read, written or copied.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// The archive cannot be read.
    #[error("invalid tar")]
    Tar(#[from] TarError),
    /// The archive cannot be written.
    #[error("cannot write the archive")]
    Write(#[source] std::io::Error),
    /// A member of an archive is refused.
    #[error("{path:?} is refused: {reason}")]
    Refused {
        /// The member.
        path: String,
        /// Why.
        reason: &'static str,
    },
    /// Something that is no folder would take the place of a folder.
    #[error("cannot overwrite directory {0:?} with non-directory")]
    OverFolder(String),
    /// A folder would take the place of something else.
    #[error("cannot overwrite non-directory {0:?} with directory")]
    OverFile(String),
    /// A system call failed.
    #[error("cannot {action} {path:?}")]
    Io {
        /// What was attempted.
        action: &'static str,
        /// On what.
        path: String,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// Folders lie too deep in one another.
    #[error("{path:?} lies deeper than {limit} folders")]
    Depth {
        /// The folder.
        path: String,
        /// How deep they may lie.
        limit: usize,
    },
}

impl Kinded for TreeError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Io { source, .. } | Self::Write(source) => crate::error::io_kind(source),
            _ => ErrorKind::Invalid,
        }
    }
}

impl From<UnpackError> for TreeError {
    fn from(error: UnpackError) -> Self {
        match error {
            UnpackError::Tar(error) => Self::Tar(error),
            UnpackError::Refused { path, reason } => Self::Refused { path, reason },
            UnpackError::Io { action, path, source } => Self::Io { action, path, source },
            UnpackError::Owner { path, .. } => {
                Self::Io { action: "set the owner of", path, source: Errno::INVAL.into() }
            }
            UnpackError::Limit { what, value, limit } => Self::Tar(TarError::Limit { what, value, limit }),
        }
    }
}

impl TreeError {
    /// Returns the kernel's answer, if it is one.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Io { source, .. } => Errno::from_io_error(source),
            _ => None,
        }
    }
}

/// Adds what was attempted, and on what.
pub(super) trait On<T> {
    fn on(self, action: &'static str, path: &[u8]) -> Result<T, TreeError>;
}

impl<T> On<T> for rustix::io::Result<T> {
    fn on(self, action: &'static str, path: &[u8]) -> Result<T, TreeError> {
        self.map_err(|errno| TreeError::Io { action, path: show(path), source: errno.into() })
    }
}

/// Renders a path for a message.
pub(super) fn show(path: &[u8]) -> String {
    if path.len() <= 200 { String::from_utf8_lossy(path).into_owned() } else { shorten(path) }
}
