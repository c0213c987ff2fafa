//! Writable snapshots: an overlay of an image's layers and a folder of their own.

use std::os::fd::OwnedFd;
use std::path::PathBuf;

use oci::Digest;

use crate::error::{Error, Result};
use crate::store::Store;

/// A writable snapshot on top of layers.
#[derive(Debug, Clone)]
pub struct Snapshot {
    key: String,
    path: PathBuf,
    /// Folders of the layers below, top first.
    lowers: Vec<PathBuf>,
}

/// How a snapshot is mounted.
#[derive(Debug, Default)]
pub struct MountOptions {
    /// Leave out all syncing; right for what is removed at its end. After a machine's fall the snapshot is lost.
    pub volatile: bool,
    /// Without the writable folder.
    pub readonly: bool,
    /// Shift owners: a user namespace whose mapping the layers are seen through.
    pub idmap: Option<IdMap>,
}

/// A user namespace whose mapping is applied to the layers (kernel 5.19 or newer).
#[derive(Debug)]
pub struct IdMap {
    /// Descriptor of the user namespace.
    pub user_namespace: OwnedFd,
}

/// What happened to a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ChangeKind {
    /// Contents, attributes, or something in the folder.
    Modified,
    /// New.
    Added,
    /// Gone.
    Deleted,
}

/// One change of a snapshot against its layers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change {
    /// Absolute path inside the container.
    pub path: PathBuf,
    /// What happened.
    pub kind: ChangeKind,
}

impl Store {
    /// Makes a writable snapshot named `key` on top of the layers `diff_ids`, bottom first.
    pub fn prepare_snapshot(&self, key: &str, diff_ids: &[Digest]) -> Result<Snapshot> {
        let _ = diff_ids;
        Err(Error::SnapshotNotFound { key: key.to_owned() })
    }

    /// Opens the snapshot `key`.
    pub fn snapshot(&self, key: &str) -> Result<Snapshot> {
        Err(Error::SnapshotNotFound { key: key.to_owned() })
    }

    /// Removes the snapshot `key` with everything in it; that it is not there is fine.
    pub fn remove_snapshot(&self, key: &str) -> Result<()> {
        let _ = key;
        Ok(())
    }
}

impl Snapshot {
    /// Returns the key.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Returns the writable folder.
    pub fn upper(&self) -> PathBuf {
        self.path.join("upper")
    }

    /// Mounts it, attached nowhere: the caller gives the descriptor to `move_mount`. The mount dies with its last descriptor.
    pub fn mount(&self, options: &MountOptions) -> Result<OwnedFd> {
        let _ = (options, &self.lowers);
        Err(Error::Unsupported { what: "mounting".to_owned() })
    }

    /// Lists what differs from the layers, sorted by path.
    pub fn changes(&self) -> Result<Vec<Change>> {
        Ok(Vec::new())
    }

    /// Returns what the writable folder takes on disk, in bytes.
    pub fn size(&self) -> Result<u64> {
        Ok(0)
    }
}
