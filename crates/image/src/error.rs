//! The errors of the image store.

use std::io;
use std::path::{Path, PathBuf};

use base::{ErrorKind, Kinded};
use oci::Digest;
use oci::config::InvalidConfig;
use oci::manifest::InvalidManifest;
use oci::source::SourceError;

use crate::import::InvalidChange;
use crate::unpack::UnpackError;

/// The result of most functions here.
pub type Result<T> = std::result::Result<T, Error>;

/// What can go wrong with images, layers and snapshots.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A system call on a file of the store failed.
    #[error("cannot {action} {path:?}")]
    Io {
        /// What was attempted.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// Reading from or writing to the caller's stream failed.
    #[error("cannot {action}")]
    Stream {
        /// What was attempted.
        action: &'static str,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// The blob is not in the store.
    #[error("blob {digest} is not in the store")]
    BlobNotFound {
        /// Its digest.
        digest: Digest,
    },
    /// The unpacked layer is not in the store; after a power cut it may have been lost.
    #[error("layer {diff_id} is not in the store: pull or load the image again")]
    LayerNotFound {
        /// Digest of its plain tar.
        diff_id: Digest,
    },
    /// No snapshot has that key.
    #[error("no snapshot {key:?}")]
    SnapshotNotFound {
        /// The key.
        key: String,
    },
    /// A snapshot has that key already.
    #[error("snapshot {key:?} exists already")]
    SnapshotExists {
        /// The key.
        key: String,
    },
    /// The snapshot was mounted volatile when the machine went down: its contents cannot be trusted.
    #[error("snapshot {key:?} was written without syncing when the machine went down, its contents are lost")]
    SnapshotLost {
        /// The key.
        key: String,
    },
    /// A snapshot's key is not fit as a file name.
    #[error(
        "invalid snapshot key {key:?}: 1 to 128 letters, digits, '-', '_' or '.' are wanted, no '.' first"
    )]
    InvalidKey {
        /// The key.
        key: String,
    },
    /// Bytes are not what their digest says.
    #[error("{what} has the digest {actual}, not {expected}")]
    DigestMismatch {
        /// Of what.
        what: &'static str,
        /// The digest that was announced.
        expected: Digest,
        /// The digest of what came.
        actual: Digest,
    },
    /// A blob is shorter or longer than announced.
    #[error("blob {digest} has {actual} bytes{}, not {expected}", if *.actual > *.expected { " or more" } else { "" })]
    SizeMismatch {
        /// The blob.
        digest: Digest,
        /// The size that was announced, in bytes.
        expected: u64,
        /// What came, in bytes.
        actual: u64,
    },
    /// Something is larger than is allowed.
    #[error("{what} is {value}, more than the limit of {limit}")]
    Limit {
        /// What is limited, with its unit.
        what: &'static str,
        /// What was found.
        value: u64,
        /// What is allowed.
        limit: u64,
    },
    /// The registry, archive or layout failed.
    #[error("cannot read blob {digest}")]
    Source {
        /// The blob that was wanted.
        digest: Digest,
        /// Whether another attempt may succeed.
        temporary: bool,
        /// Why.
        #[source]
        source: SourceError,
    },
    /// The manifest is refused.
    #[error("invalid image manifest")]
    Manifest(#[from] InvalidManifest),
    /// The configuration is refused.
    #[error("invalid image")]
    Config(#[from] InvalidConfig),
    /// Manifest and configuration do not agree.
    #[error("the manifest has {manifest} layers and the image configuration {config}")]
    LayerCount {
        /// Layers of the manifest.
        manifest: usize,
        /// DiffIDs of the configuration.
        config: usize,
    },
    /// A layer is to be had from elsewhere only, and is not present.
    #[error("layer {digest} is foreign (it is not distributed with the image) and not present")]
    ForeignLayer {
        /// Digest of the blob.
        digest: Digest,
    },
    /// A layer cannot be unpacked.
    #[error("cannot unpack layer {layer}")]
    Unpack {
        /// Digest of the blob, or of the plain tar.
        layer: Digest,
        /// Why.
        #[source]
        source: UnpackError,
    },
    /// A snapshot cannot be written as a layer.
    #[error("cannot make a layer of {path:?}")]
    Tree {
        /// Its writable folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: crate::tree::TreeError,
    },
    /// An archive is malformed.
    #[error("invalid image archive: {reason}")]
    Archive {
        /// What is wrong, with the name of the member.
        reason: String,
    },
    /// A file of the store itself is malformed.
    #[error("the store's file {path:?} is damaged: {reason}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A `--change` of an import is malformed.
    #[error("invalid change")]
    Change(#[from] InvalidChange),
    /// The kernel refused to mount a snapshot.
    #[error("cannot mount snapshot {key:?}: {step} failed")]
    Mount {
        /// The snapshot.
        key: String,
        /// The step that failed, with its argument.
        step: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The kernel or Brig lacks something.
    #[error("{what} is not supported")]
    Unsupported {
        /// What.
        what: String,
    },
    /// The caller asked to stop.
    #[error("cancelled")]
    Cancelled,
}

impl Kinded for Error {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Tree { source, .. } => source.kind(),
            Self::BlobNotFound { .. } | Self::LayerNotFound { .. } | Self::SnapshotNotFound { .. } => {
                ErrorKind::NotFound
            }
            Self::SnapshotExists { .. } => ErrorKind::AlreadyExists,
            Self::SnapshotLost { .. } => ErrorKind::Conflict,
            Self::Source { temporary: true, .. } | Self::Cancelled => ErrorKind::Unavailable,
            Self::Unsupported { .. } => ErrorKind::Unsupported,
            Self::Unpack { source, .. } => source.kind(),
            Self::Io { source, .. } | Self::Stream { source, .. } | Self::Mount { source, .. } => {
                io_kind(source)
            }
            Self::Source { temporary: false, .. } | Self::Damaged { .. } => ErrorKind::Internal,
            Self::InvalidKey { .. }
            | Self::DigestMismatch { .. }
            | Self::SizeMismatch { .. }
            | Self::Limit { .. }
            | Self::Manifest(_)
            | Self::Config(_)
            | Self::LayerCount { .. }
            | Self::ForeignLayer { .. }
            | Self::Archive { .. }
            | Self::Change(_) => ErrorKind::Invalid,
        }
    }
}

/// Returns the kind of an input or output error.
pub(crate) fn io_kind(error: &io::Error) -> ErrorKind {
    match error.kind() {
        io::ErrorKind::PermissionDenied => ErrorKind::Denied,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::Unavailable,
        _ => ErrorKind::Internal,
    }
}

/// Adds what was attempted, and on which file, to an error of the system.
pub(crate) trait At<T> {
    /// Names the attempt: `cannot <action> <path>`.
    fn at(self, action: &'static str, path: &Path) -> Result<T>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, action: &'static str, path: &Path) -> Result<T> {
        self.map_err(|source| Error::Io { action, path: path.to_owned(), source })
    }
}

impl<T> At<T> for rustix::io::Result<T> {
    fn at(self, action: &'static str, path: &Path) -> Result<T> {
        self.map_err(|errno| Error::Io { action, path: path.to_owned(), source: errno.into() })
    }
}
