//! Garbage collection: whatever is neither live nor leased goes.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;

use oci::Digest;

use crate::error::{Error, Result};
use crate::store::Store;

/// What the engine knows to be in use.
#[derive(Debug, Clone, Default)]
pub struct Live {
    /// Layers, by DiffID: of all images, and of the images of all containers.
    pub layers: HashSet<Digest>,
    /// Blobs: see [`crate::StoredImage::blobs`].
    pub blobs: HashSet<Digest>,
    /// Keys of snapshots.
    pub snapshots: HashSet<String>,
}

/// A sweep that has begun: no operation starts to use anything until it ends. Read the database now, then
/// [`Sweep::run`].
#[derive(Debug)]
pub struct Sweep<'a> {
    store: &'a Store,
    lock: File,
}

/// What a sweep removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reclaimed {
    /// Bytes on disk.
    pub bytes: u64,
    /// Layers.
    pub layers: Vec<Digest>,
    /// Blobs.
    pub blobs: Vec<Digest>,
    /// Keys of snapshots.
    pub snapshots: Vec<String>,
}

/// What the store takes on disk.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of each unpacked layer, as recorded when it was unpacked.
    pub layers: BTreeMap<Digest, u64>,
    /// Bytes of each blob.
    pub blobs: BTreeMap<Digest, u64>,
    /// Bytes of each snapshot's writable folder.
    pub snapshots: BTreeMap<String, u64>,
}

impl Store {
    /// Begins a sweep.
    pub fn begin_sweep(&self) -> Result<Sweep<'_>> {
        Err(Error::Unsupported { what: "sweeping".to_owned() })
    }

    /// Returns what the store takes on disk.
    pub fn usage(&self) -> Result<Usage> {
        Ok(Usage::default())
    }
}

impl Sweep<'_> {
    /// Removes everything that is neither in `live` nor leased nor being made by a running process.
    pub fn run(self, live: &Live) -> Result<Reclaimed> {
        let _ = (live, self.store, self.lock);
        Ok(Reclaimed::default())
    }
}
