//! `load`: images from a docker archive, an OCI archive or an OCI layout folder.

use std::io::Read;
use std::path::Path;

use crate::error::{Error, Result};
use crate::fetch::{FetchOptions, Progress};
use crate::lease::Lease;
use crate::store::{Store, StoredImage};

/// An image of an archive, now in the store.
#[derive(Debug, Clone, PartialEq)]
pub struct LoadedImage {
    /// The image.
    pub image: StoredImage,
    /// The names that the archive gives it, as written there; the caller decides what becomes of them.
    pub refs: Vec<String>,
}

impl Store {
    /// Loads every image of an archive: docker's or OCI's, plain, gzip or zstd, from a file or a pipe.
    ///
    /// Of an index the image for the first of `platforms` is taken.
    pub fn load(
        &self,
        lease: &Lease,
        archive: &mut (dyn Read + Send),
        platforms: &[oci::Platform],
        options: &FetchOptions<'_>,
        progress: &dyn Progress,
    ) -> Result<Vec<LoadedImage>> {
        let _ = (lease, archive, platforms, options, progress);
        Err(Error::Unsupported { what: "loading".to_owned() })
    }
}

/// Loads every image of the OCI layout folder `layout` into `store`.
pub fn open_layout(store: &Store, layout: &Path) -> Result<Vec<LoadedImage>> {
    let _ = (store, layout);
    Err(Error::Unsupported { what: "loading a layout".to_owned() })
}
