//! What can go wrong with a control group. A caller without rights (rootless) asks [`Error::is_denied`] and may go
//! on without one.

use std::io;
use std::path::PathBuf;

use base::{ErrorKind, Kinded};

/// An error of the control group code.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A value is malformed or out of range; nothing was written.
    #[error("invalid value for {field}: {value}: {allowed}")]
    Invalid {
        /// The field of `linux.resources`, dotted.
        field: String,
        /// What was given.
        value: String,
        /// What is allowed.
        allowed: String,
    },
    /// A limit was asked for whose controller or file the kernel does not offer here.
    #[error("cannot set {limit} to {value}: {reason}")]
    Missing {
        /// The field of `linux.resources`, dotted.
        limit: String,
        /// What was asked for.
        value: String,
        /// What is missing: the controller or the file.
        reason: String,
    },
    /// The caller may not do this: no rights, or a file system that is read-only.
    #[error("not allowed to {action} cgroup {path:?}")]
    Denied {
        /// What was attempted.
        action: &'static str,
        /// On which folder or file.
        path: PathBuf,
        /// The system's word.
        #[source]
        source: io::Error,
    },
    /// The kernel refused a value that looked right.
    #[error("cannot set {limit} to {value} ({path:?})")]
    Refused {
        /// The field of `linux.resources`, dotted.
        limit: String,
        /// What was written.
        value: String,
        /// The file.
        path: PathBuf,
        /// The system's word.
        #[source]
        source: io::Error,
    },
    /// A system call on a cgroup failed.
    #[error("cannot {action} cgroup {path:?}")]
    Io {
        /// What was attempted.
        action: &'static str,
        /// On which folder or file.
        path: PathBuf,
        /// The system's word.
        #[source]
        source: io::Error,
    },
    /// Processes or child groups did not go away in time.
    #[error("cgroup {path:?} is still in use after {waited_ms} ms")]
    Busy {
        /// The folder.
        path: PathBuf,
        /// How long it was tried.
        waited_ms: u64,
    },
    /// A group of that name exists and has processes.
    #[error("cgroup {path:?} exists already and has processes")]
    Occupied {
        /// The folder.
        path: PathBuf,
    },
    /// The layout of the machine's hierarchies cannot be used.
    #[error("cannot use the cgroups of this machine: {0}")]
    Layout(String),
    /// Memory use is above the limit that was asked for (`checkBeforeUpdate`).
    #[error("cannot set memory.limit to {limit}: {usage} bytes are in use")]
    InUse {
        /// The limit that was asked for.
        limit: i64,
        /// What is in use.
        usage: u64,
    },
    /// systemd, asked over D-Bus, failed or refused.
    #[error("systemd cannot {action} unit {unit}")]
    Systemd {
        /// What was attempted.
        action: &'static str,
        /// The unit.
        unit: String,
        /// What systemd or the bus said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl Error {
    /// Returns whether the caller lacks the right to use cgroups here, so that it may go on without.
    pub fn is_denied(&self) -> bool {
        matches!(self, Self::Denied { .. })
    }

    /// Returns whether this says that the field `field` cannot be set.
    pub(super) fn is_about(&self, field: &str) -> bool {
        matches!(self, Self::Missing { limit, .. } if limit == field)
    }

    /// Makes [`Error::Denied`] or [`Error::Io`] from what the system said about `path`.
    pub(crate) fn from_io(
        action: &'static str,
        path: impl Into<PathBuf>,
        source: impl Into<io::Error>,
    ) -> Self {
        let (path, source) = (path.into(), source.into());
        if is_permission(&source) {
            Self::Denied { action, path, source }
        } else {
            Self::Io { action, path, source }
        }
    }
}

/// Returns whether `error` means a lack of rights: `EPERM`, `EACCES` or `EROFS`.
pub(crate) fn is_permission(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(errno, Some(Errno::PERM | Errno::ACCESS | Errno::ROFS))
}

impl Kinded for Error {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Invalid { .. } | Self::Refused { .. } => ErrorKind::Invalid,
            Self::Missing { .. } | Self::Layout(_) => ErrorKind::Unsupported,
            Self::Denied { .. } => ErrorKind::Denied,
            Self::Occupied { .. } => ErrorKind::AlreadyExists,
            Self::Busy { .. } | Self::InUse { .. } => ErrorKind::Conflict,
            Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => ErrorKind::NotFound,
            Self::Io { .. } => ErrorKind::Internal,
            Self::Systemd { .. } => ErrorKind::Unavailable,
        }
    }
}
