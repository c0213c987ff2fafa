//! The one copy function: from any source into the store, unpacking while the bytes arrive.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use oci::{Digest, ImageSource};

use crate::error::{Error, Result};
use crate::lease::Lease;
use crate::store::{Store, StoredImage};
use crate::unpack::UnpackOptions;

/// How [`Store::fetch`] works.
#[derive(Debug, Clone)]
pub struct FetchOptions<'a> {
    /// Layers at a time.
    pub parallel: usize,
    /// Keep the compressed blobs of layers, for `save` and push.
    pub keep_blobs: bool,
    /// Sync the file system before the image counts as complete. Without it a power cut may cost the image, which is
    /// then noticed ([`Error::LayerNotFound`]).
    pub durable: bool,
    /// What to do after temporary errors.
    pub retry: Retry,
    /// Limits of unpacking.
    pub unpack: UnpackOptions,
    /// Set by another thread to make it stop.
    pub cancel: Option<&'a AtomicBool>,
}

/// Attempts after temporary errors.
#[derive(Debug, Clone, Copy)]
pub struct Retry {
    /// Attempts in a row that may bring no new byte, for one blob.
    pub attempts: u32,
    /// Pause after the first; doubled after each.
    pub pause: Duration,
}

impl Default for FetchOptions<'_> {
    fn default() -> Self {
        let retry = Retry { attempts: 5, pause: Duration::from_millis(500) };
        Self {
            parallel: 3,
            keep_blobs: true,
            durable: false,
            retry,
            unpack: UnpackOptions::default(),
            cancel: None,
        }
    }
}

/// What happens to one layer.
#[derive(Debug, Clone, Copy)]
pub enum LayerEvent<'a> {
    /// It is wanted; it has so many bytes as it travels.
    Waiting {
        /// Bytes.
        total: u64,
    },
    /// It is here already, nothing is fetched.
    Exists,
    /// So many bytes have come in all.
    Downloaded {
        /// Bytes.
        bytes: u64,
    },
    /// So many bytes, as they travel, have been unpacked in all.
    Unpacked {
        /// Bytes.
        bytes: u64,
    },
    /// A temporary error; it will be tried again.
    Retrying {
        /// Which attempt comes, from 2.
        attempt: u32,
        /// Why.
        error: &'a (dyn std::error::Error + 'static),
    },
    /// It is verified and unpacked.
    Done,
}

/// Whoever wants to know how a fetch goes on. Called from several threads, often: be quick.
pub trait Progress: Sync {
    /// Takes an event of the layer whose blob is `layer`.
    fn layer(&self, layer: &Digest, event: LayerEvent<'_>);
}

/// Nobody wants to know.
#[derive(Debug, Clone, Copy)]
pub struct NoProgress;

impl Progress for NoProgress {
    fn layer(&self, _: &Digest, _: LayerEvent<'_>) {}
}

impl Store {
    /// Copies the image of `source` into the store and unpacks its layers.
    ///
    /// Everything is verified: manifest, configuration, each blob by size and digest, each plain tar by its DiffID. A
    /// layer that is unpacked already is not opened.
    pub fn fetch(
        &self,
        lease: &Lease,
        source: &dyn ImageSource,
        options: &FetchOptions<'_>,
        progress: &dyn Progress,
    ) -> Result<StoredImage> {
        let _ = (lease, source, options, progress);
        Err(Error::Unsupported { what: "fetching".to_owned() })
    }

    /// Opens an image that is in the store, by the digest of its manifest.
    pub fn open_image(&self, manifest: &Digest) -> Result<StoredImage> {
        Err(Error::BlobNotFound { digest: manifest.clone() })
    }
}
