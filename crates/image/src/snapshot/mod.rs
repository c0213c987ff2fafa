//! Writable snapshots: an overlay of an image's layers and a folder of their own.

mod changes;
mod commit;
mod mount;
#[cfg(test)]
mod tests;

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use oci::Digest;
use rustix::fs::{FlockOperation, Gid, Mode, Uid, XattrFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::error::{At as _, Error, Result};
use crate::files::{self, random_name};
use crate::layers::{Stack, fix};
use crate::store::Store;
use crate::unpack::{Form, list_xattrs};

pub use changes::{Change, ChangeKind};
pub use commit::CommitOptions;
pub use mount::{IdMap, MountOptions};

/// A writable snapshot on top of layers.
#[derive(Debug, Clone)]
pub struct Snapshot {
    store: Store,
    key: String,
    path: PathBuf,
    /// Folders of the layers below, bottom first.
    lowers: Vec<PathBuf>,
    meta: SnapshotMeta,
}

/// `meta.json` of a snapshot.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct SnapshotMeta {
    version: u32,
    form: Form,
    /// Layers, bottom first.
    pub(crate) diff_ids: Vec<Digest>,
    /// Folders below `layers/`, bottom first, fix layers among them.
    pub(crate) folders: Vec<String>,
}

impl Store {
    /// Makes a writable snapshot named `key` on top of the layers `diff_ids`, bottom first; none gives an empty root.
    ///
    /// One that exists, but whose record a power cut has taken, is taken over as it is. Waits while a sweep decides; so it must not be called between [`Store::begin_sweep`] and its end.
    pub fn prepare_snapshot(&self, key: &str, diff_ids: &[Digest]) -> Result<Snapshot> {
        check_key(key)?;
        // Until the snapshot is there, a sweep would not know that its layers are used.
        let (gate, gate_path) = self.gate()?;
        files::lock(&gate, FlockOperation::LockShared, &gate_path)?;
        let composed = self.compose(diff_ids)?;
        let temporary = self.path("snapshots/.tmp").join(format!("{key}-{}", random_name()));
        let meta = SnapshotMeta {
            version: 1,
            form: Form::of_process(),
            diff_ids: diff_ids.to_vec(),
            folders: composed.folders,
        };
        let path = self.path("snapshots").join(key);
        let made = make(&temporary, &composed.stack, &meta).and_then(|()| {
            match rustix::fs::renameat_with(
                rustix::fs::CWD,
                &temporary,
                rustix::fs::CWD,
                &path,
                rustix::fs::RenameFlags::NOREPLACE,
            ) {
                Err(Errno::EXIST) => Err(Error::SnapshotExists { key: key.to_owned() }),
                renamed => renamed.at("publish", &path),
            }
        });
        if let Err(error) = made {
            let _ = files::remove_tree(&temporary);
            let damaged = matches!(self.snapshot_meta(key), Ok(None) | Err(Error::Damaged { .. }));
            return match error {
                Error::SnapshotExists { .. } if damaged => self.repair_snapshot(key, diff_ids),
                error => Err(error),
            };
        }
        Ok(self.snapshot_of(key, path, meta))
    }

    /// Opens the snapshot `key`.
    pub fn snapshot(&self, key: &str) -> Result<Snapshot> {
        check_key(key)?;
        let path = self.path("snapshots").join(key);
        let meta = self.snapshot_meta(key)?.ok_or_else(|| Error::SnapshotNotFound { key: key.to_owned() })?;
        Ok(self.snapshot_of(key, path, meta))
    }

    /// Writes anew what is known of the snapshot `key`; its writable folder stays as it is.
    fn repair_snapshot(&self, key: &str, diff_ids: &[Digest]) -> Result<Snapshot> {
        check_key(key)?;
        let path = self.path("snapshots").join(key);
        if !path.join("upper").is_dir() {
            return Err(Error::SnapshotNotFound { key: key.to_owned() });
        }
        let folders = self.compose(diff_ids)?.folders;
        let meta =
            SnapshotMeta { version: 1, form: Form::of_process(), diff_ids: diff_ids.to_vec(), folders };
        files::write_atomic(&path.join("meta.json"), &encode(&meta, &path)?)?;
        Ok(self.snapshot_of(key, path, meta))
    }

    /// Removes the snapshot `key` with everything in it; that it is not there is fine.
    pub fn remove_snapshot(&self, key: &str) -> Result<()> {
        check_key(key)?;
        let (path, trash) = (self.path("snapshots").join(key), self.path("snapshots/.trash").join(key));
        // The name in the trash is the snapshot's own, so that this finds what a removal left that was killed.
        files::remove_tree(&trash)?;
        // And what a preparation left that was killed.
        let unfinished = self.path("snapshots/.tmp");
        for entry in std::fs::read_dir(&unfinished).at("list", &unfinished)? {
            let name = entry.at("list", &unfinished)?.file_name();
            if name.to_string_lossy().strip_prefix(key).is_some_and(|rest| rest.starts_with('-')) {
                files::remove_tree(&unfinished.join(name))?;
            }
        }
        match rustix::fs::rename(&path, &trash) {
            Err(rustix::io::Errno::NOENT) => Ok(()),
            renamed => {
                renamed.at("remove", &path)?;
                files::remove_tree(&trash)
            }
        }
    }

    pub(crate) fn snapshot_meta(&self, key: &str) -> Result<Option<SnapshotMeta>> {
        let path = self.path("snapshots").join(key).join("meta.json");
        match std::fs::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            read => serde_json::from_slice(&read.at("read", &path)?)
                .map(Some)
                .map_err(|error| Error::Damaged { path, reason: error.to_string() }),
        }
    }

    fn snapshot_of(&self, key: &str, path: PathBuf, meta: SnapshotMeta) -> Snapshot {
        let lowers = fix::folder_paths(self, &meta.folders);
        Snapshot { store: self.clone(), key: key.to_owned(), path, lowers, meta }
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

    /// Returns the DiffIDs of the layers below, bottom first.
    pub fn diff_ids(&self) -> &[Digest] {
        &self.meta.diff_ids
    }

    /// Returns what the writable folder takes on disk, in bytes.
    pub fn size(&self) -> Result<u64> {
        let upper = self.upper();
        files::disk_usage(&upper).at("measure", &upper)
    }

    /// Opens the layers below as one tree.
    fn stack(&self) -> Result<Stack> {
        let mut stack = Stack::new(self.meta.form);
        for lower in &self.lowers {
            stack.push(OwnedFd::from(files::open_dir(lower).at("open", lower)?));
        }
        Ok(stack)
    }
}

fn check_key(key: &str) -> Result<()> {
    let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if (1..=128).contains(&key.len()) && !key.starts_with('.') && key.bytes().all(good) {
        return Ok(());
    }
    Err(Error::InvalidKey { key: key.to_owned() })
}

fn make(path: &Path, stack: &Stack, meta: &SnapshotMeta) -> Result<()> {
    for folder in [path.to_owned(), path.join("upper"), path.join("work")] {
        files::ensure_dir(&folder, Mode::RWXU)?;
    }
    let upper = path.join("upper");
    copy_root(stack, &upper, meta.form).at("set the attributes of", &upper)?;
    let file = path.join("meta.json");
    std::fs::write(&file, encode(meta, path)?).at("write", &file)
}

fn encode(meta: &SnapshotMeta, path: &Path) -> Result<Vec<u8>> {
    serde_json::to_vec(meta)
        .map_err(|error| Error::Damaged { path: path.to_owned(), reason: error.to_string() })
}

/// Overlayfs shows the writable folder's attributes as those of the root: they must be the image's.
fn copy_root(stack: &Stack, upper: &Path, form: Form) -> rustix::io::Result<()> {
    let upper = files::open_dir(upper)?;
    let Some(root) = stack.top() else {
        return rustix::fs::fchmod(&upper, Mode::from_raw_mode(0o755));
    };
    let stat = rustix::fs::fstat(root)?;
    if (stat.st_uid, stat.st_gid) != (0, 0) && rustix::process::geteuid().is_root() {
        rustix::fs::fchown(&upper, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))?;
    }
    rustix::fs::fchmod(&upper, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
    for (name, value) in list_xattrs(&root, form)? {
        rustix::fs::fsetxattr(&upper, name.as_slice(), &value, XattrFlags::empty())?;
    }
    Ok(())
}
