//! Unpacked layers by DiffID, shared by all images that have them.
//!
//! A layer is made in `layers/.tmp/<hex>` under the lock of that folder, and published by one rename. `meta.json` beside its
//! files says what came out, and whether it is known to have reached the disk: a layer that was made before a power
//! cut and never synced counts as absent, and is made again.

pub(crate) mod fix;
pub(crate) mod stack;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use oci::Digest;
use rustix::fs::Mode;
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::content::LOCK_POLL;
use crate::error::{At as _, Error, Result};
use crate::files::{self, random_name};
use crate::store::Store;
use crate::unpack::{Form, Unpacked};

pub(crate) use stack::{Found, Stack};

/// Version of `meta.json`.
const META_VERSION: u32 = 1;

/// `meta.json` of a layer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct LayerMeta {
    version: u32,
    /// The boot in which it was made; empty once it is synced.
    boot: String,
    pub(crate) form: Form,
    /// The blob that it came from, if it was kept.
    pub(crate) blob: Option<Origin>,
    /// Bytes of the archive, plain.
    pub(crate) tar_size: u64,
    pub(crate) unpacked: Unpacked,
}

/// Where a layer came from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Origin {
    pub(crate) digest: Digest,
    pub(crate) size: u64,
}

/// What [`Store::begin_layer`] finds.
#[derive(Debug)]
pub(crate) enum Begun {
    /// The layer is here already.
    Have(LayerMeta),
    /// It may be made.
    New(LayerMaker),
}

/// A layer that is being made; removed when it is dropped unpublished.
#[derive(Debug)]
pub(crate) struct LayerMaker {
    temporary: PathBuf,
    layer: PathBuf,
    /// Holds the lock.
    _folder: File,
    published: bool,
}

impl Store {
    pub(crate) fn layer_path(&self, diff_id: &Digest) -> PathBuf {
        self.path("layers").join(diff_id.hex())
    }

    /// Reads what is known of a layer; `None` when it is not there, or was lost in a power cut.
    pub(crate) fn layer_meta(&self, diff_id: &Digest) -> Result<Option<LayerMeta>> {
        Ok(self.recorded_meta(diff_id)?.filter(|meta| meta.boot.is_empty() || meta.boot == boot()))
    }

    /// Makes sure that a layer can be used. One that may have suffered from a power cut is made again from its blob, which
    /// is verified, when that was kept.
    pub(crate) fn intact_layer(&self, diff_id: &Digest) -> Result<LayerMeta> {
        if let Some(meta) = self.layer_meta(diff_id)? {
            return Ok(meta);
        }
        let missing = || Error::LayerNotFound { diff_id: diff_id.clone() };
        let origin = self.recorded_meta(diff_id)?.and_then(|meta| meta.blob).ok_or_else(missing)?;
        if self.blob_size(&origin.digest) != Some(origin.size) {
            return Err(missing());
        }
        self.unpack_again(diff_id, origin).map_err(|error| match error {
            Error::BlobNotFound { .. } | Error::Source { .. } => missing(),
            other => other,
        })
    }

    /// Reads what was recorded of a layer, whether or not it can be trusted.
    pub(crate) fn recorded_meta(&self, diff_id: &Digest) -> Result<Option<LayerMeta>> {
        let path = self.layer_path(diff_id).join("meta.json");
        let bytes = match std::fs::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            read => read.at("read", &path)?,
        };
        let Ok(meta) = serde_json::from_slice::<LayerMeta>(&bytes) else { return Ok(None) };
        if meta.version > META_VERSION {
            let reason = format!("version {} is newer than this program", meta.version);
            return Err(Error::Damaged { path, reason });
        }
        Ok(Some(meta))
    }

    /// Says whether the store has a layer, unpacked and whole.
    pub fn has_layer(&self, diff_id: &Digest) -> bool {
        matches!(self.layer_meta(diff_id), Ok(Some(_)))
    }

    /// Begins to make the layer `diff_id`. While another thread or process does, it waits; `stop` ends that.
    pub(crate) fn begin_layer(&self, diff_id: &Digest, stop: &dyn Fn() -> bool) -> Result<Begun> {
        let layer = self.layer_path(diff_id);
        let temporary = self.path("layers/.tmp").join(diff_id.hex());
        loop {
            if let Some(meta) = self.layer_meta(diff_id)? {
                return Ok(Begun::Have(meta));
            }
            let Some(folder) = lock_folder(&temporary, stop)? else { continue };
            if let Some(meta) = self.layer_meta(diff_id)? {
                files::remove_tree(&temporary)?;
                return Ok(Begun::Have(meta));
            }
            let maker = LayerMaker { temporary, layer, _folder: folder, published: false };
            self.discard(&maker.layer, "layers/.trash")?;
            maker.clear()?;
            return Ok(Begun::New(maker));
        }
    }

    /// Removes a folder of the store: renamed out of the way first, so that it is there or not, never half.
    pub(crate) fn discard(&self, path: &Path, trash: &str) -> Result<()> {
        let to = self.path(trash).join(random_name());
        match rustix::fs::rename(path, &to) {
            Err(Errno::NOENT) => Ok(()),
            renamed => {
                renamed.at("remove", path)?;
                files::remove_tree(&to)
            }
        }
    }

    /// Writes all of the store to disk and notes that the layers made since the last time are safe. Returns how many.
    pub fn sync(&self) -> Result<usize> {
        let mut waiting = Vec::new();
        let layers = self.path("layers");
        for entry in std::fs::read_dir(&layers).at("list", &layers)? {
            let path = entry.at("list", &layers)?.path().join("meta.json");
            let Ok(bytes) = std::fs::read(&path) else { continue };
            if let Ok(meta) = serde_json::from_slice::<LayerMeta>(&bytes)
                && meta.boot == boot()
                && !meta.boot.is_empty()
            {
                waiting.push((path, meta));
            }
        }
        if waiting.is_empty() {
            return Ok(0);
        }
        let folder = files::open_dir(&layers).at("open", &layers)?;
        rustix::fs::syncfs(&folder).at("sync", &layers)?;
        for (path, meta) in &waiting {
            write_meta(path, &LayerMeta { boot: String::new(), ..meta.clone() })?;
        }
        Ok(waiting.len())
    }
}

impl LayerMaker {
    /// Opens the empty folder that the layer's files go to.
    pub(crate) fn root(&self) -> Result<OwnedFd> {
        let diff = self.temporary.join("diff");
        Ok(files::open_dir(&diff).at("open", &diff)?.into())
    }

    /// Publishes the layer.
    pub(crate) fn publish(
        mut self,
        form: Form,
        blob: Option<Origin>,
        tar_size: u64,
        unpacked: Unpacked,
    ) -> Result<LayerMeta> {
        let meta =
            LayerMeta { version: META_VERSION, boot: boot().to_owned(), form, blob, tar_size, unpacked };
        write_meta(&self.temporary.join("meta.json"), &meta)?;
        rustix::fs::rename(&self.temporary, &self.layer).at("publish", &self.layer)?;
        self.published = true;
        Ok(meta)
    }

    fn clear(&self) -> Result<()> {
        for name in ["diff", "meta.json"] {
            files::remove_tree(&self.temporary.join(name))?;
        }
        let diff = self.temporary.join("diff");
        files::ensure_dir(&diff, Mode::from_raw_mode(0o755))?;
        // Whatever the process's mask is.
        rustix::fs::chmod(&diff, Mode::from_raw_mode(0o755)).at("create", &diff)
    }
}

impl Drop for LayerMaker {
    fn drop(&mut self) {
        if !self.published {
            // What cannot be removed now is removed by the next sweep.
            let _ = files::remove_tree(&self.temporary);
        }
    }
}

/// Makes and locks a folder; `None` when it was published or removed meanwhile.
fn lock_folder(path: &Path, stop: &dyn Fn() -> bool) -> Result<Option<File>> {
    files::ensure_dir(path, Mode::RWXU)?;
    let folder = match files::open_dir(path) {
        Err(Errno::NOENT) => return Ok(None),
        opened => opened.at("open", path)?,
    };
    while !files::try_lock(&folder, path)? {
        if stop() {
            return Err(Error::Cancelled);
        }
        std::thread::sleep(LOCK_POLL);
    }
    let ours = folder.metadata().at("stat", path)?;
    Ok(std::fs::metadata(path).is_ok_and(|named| named.ino() == ours.ino()).then_some(folder))
}

fn write_meta(path: &Path, meta: &LayerMeta) -> Result<()> {
    let bytes = serde_json::to_vec(meta)
        .map_err(|error| Error::Damaged { path: path.to_owned(), reason: error.to_string() })?;
    files::write_atomic(path, &bytes)
}

/// The identity of the running boot, read once.
pub(crate) fn boot() -> &'static str {
    static BOOT: OnceLock<String> = OnceLock::new();
    BOOT.get_or_init(files::boot_id)
}
