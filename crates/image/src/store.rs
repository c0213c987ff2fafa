//! The store as a whole: its folders, and the images in it.

use std::path::{Path, PathBuf};

use oci::{BlobDescriptor, Digest, ImageConfiguration, RawManifest};
use rustix::fs::Mode;

use crate::error::{Error, Result};
use crate::files;

/// A store of images below one folder. Cheap to open; several processes and threads may use it at once.
#[derive(Debug, Clone)]
pub struct Store {
    pub(crate) root: PathBuf,
}

/// An image whose manifest, configuration, blobs and unpacked layers are in the store.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredImage {
    /// Digest of the configuration: the image's id.
    pub id: Digest,
    /// The manifest, as it came.
    pub manifest: RawManifest,
    /// The configuration, as it came.
    pub config_raw: Vec<u8>,
    /// The configuration, read.
    pub config: ImageConfiguration,
    /// The layers, bottom first.
    pub layers: Vec<LayerInfo>,
}

/// One layer of a stored image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerInfo {
    /// The blob as it travels.
    pub blob: BlobDescriptor,
    /// Digest of the plain tar.
    pub diff_id: Digest,
    /// Bytes of the regular files in it.
    pub size_unpacked: u64,
}

impl StoredImage {
    /// Returns the DiffIDs, bottom first, as [`Store::prepare_snapshot`] wants them.
    pub fn diff_ids(&self) -> Vec<Digest> {
        self.layers.iter().map(|layer| layer.diff_id.clone()).collect()
    }

    /// Returns what the files of all layers add up to, in bytes: the size that people see.
    pub fn size(&self) -> u64 {
        self.layers.iter().map(|layer| layer.size_unpacked).sum()
    }

    /// Lists the blobs that belong to the image: manifest, configuration, layers.
    pub fn blobs(&self) -> Vec<Digest> {
        let fixed = [self.manifest.digest.clone(), self.id.clone()];
        fixed.into_iter().chain(self.layers.iter().map(|layer| layer.blob.digest.clone())).collect()
    }
}

impl Store {
    /// Opens the store below `root`; missing folders are made, for their owner only.
    pub fn open(root: &Path) -> Result<Self> {
        let store = Self { root: root.to_owned() };
        let folders = [
            "content",
            "content/blobs",
            "content/blobs/sha256",
            "content/ingest",
            "content/leases",
            "layers",
            "layers/.tmp",
            "layers/.trash",
            "snapshots",
            "snapshots/.tmp",
            "snapshots/.trash",
        ];
        if !store.path("snapshots/.trash").is_dir() {
            std::fs::create_dir_all(root).map_err(|source| Error::Io {
                action: "create",
                path: root.to_owned(),
                source,
            })?;
            for folder in folders {
                files::ensure_dir(&store.path(folder), Mode::RWXU)?;
            }
        }
        Ok(store)
    }

    /// Returns a path inside the store.
    pub(crate) fn path(&self, inside: &str) -> PathBuf {
        self.root.join(inside)
    }
}
