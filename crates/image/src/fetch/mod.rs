//! The one copy function: from any source into the store, unpacking while the bytes arrive.

mod decompress;

mod layer;
pub(crate) mod pipe;
#[cfg(test)]
mod tests;

use std::io::Read as _;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use oci::manifest::{LayerDescriptor, MAX_JSON, Manifest, OCI_LAYER, parse_manifest};
use oci::{BlobDescriptor, Digest, ImageConfiguration, ImageSource, RawManifest};

use crate::error::{Error, Result};
use crate::layers::{LayerMeta, Origin};
use crate::lease::{Lease, Leased};
use crate::load::{StoreSource, synthesize};
use crate::store::{LayerInfo, Store, StoredImage};
use crate::unpack::UnpackOptions;

use layer::Job;

pub(crate) use decompress::{Decompressor, Format, ZSTD_WINDOW_LOG_MAX};

/// How [`Store::fetch`] works.
#[derive(Debug, Clone)]
pub struct FetchOptions<'a> {
    /// Layers at a time.
    pub parallel: usize,
    /// Keep the compressed blobs of layers, for `save` and push.
    pub keep_blobs: bool,
    /// Sync the file system before the image counts as complete. Without it, layers are made again from their blobs after
    /// the machine went down, unless [`Store::sync`] was called before.
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

/// Tells the threads of a fetch to stop: the caller's wish, or another layer's error.
pub(crate) struct Stop<'a> {
    asked: Option<&'a AtomicBool>,
    failed: AtomicBool,
}

impl<'a> Stop<'a> {
    pub(crate) fn new(asked: Option<&'a AtomicBool>) -> Self {
        Self { asked, failed: AtomicBool::new(false) }
    }

    pub(crate) fn is_set(&self) -> bool {
        self.failed.load(Ordering::Relaxed) || self.asked.is_some_and(|asked| asked.load(Ordering::Relaxed))
    }

    pub(crate) fn check(&self) -> Result<()> {
        if self.is_set() { Err(Error::Cancelled) } else { Ok(()) }
    }

    /// Sleeps, in short naps, so that a wish to stop is seen.
    pub(crate) fn sleep(&self, mut pause: Duration) -> Result<()> {
        while !pause.is_zero() {
            self.check()?;
            let nap = pause.min(Duration::from_millis(50));
            std::thread::sleep(nap);
            pause -= nap;
        }
        self.check()
    }
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
        let raw = source.manifest();
        let actual = Digest::of(&raw.bytes);
        if actual != raw.digest {
            return Err(Error::DigestMismatch { what: "the manifest", expected: raw.digest.clone(), actual });
        }
        let manifest = parse_manifest(&raw.bytes, Some(&raw.media_type))?;
        manifest.require_image()?;
        let blobs = manifest.layers.iter().map(|layer| &layer.blob.digest);
        let blobs = blobs.chain([&raw.digest, &manifest.config.digest]);
        lease.protect(blobs.map(Leased::Blob))?;
        let stop = Stop::new(options.cancel);
        let config_raw = self.fetch_config(source, &manifest, options, &stop)?;
        let config = ImageConfiguration::parse(&config_raw)?;
        let diff_ids = &config.rootfs.diff_ids;
        if diff_ids.len() != manifest.layers.len() {
            return Err(Error::LayerCount { manifest: manifest.layers.len(), config: diff_ids.len() });
        }
        lease.protect(diff_ids.iter().map(Leased::Layer))?;
        self.put_blob(&config_raw)?;
        let job = Job { store: self, source, options, progress, stop: &stop };
        let metas = fetch_layers(&job, &manifest, diff_ids)?;
        // Errors between layers show now, not when the first container starts.
        self.compose(diff_ids)?;
        self.put_blob(&raw.bytes)?;
        if options.durable {
            self.sync()?;
        }
        let id = manifest.config.digest.clone();
        let layers = layer_infos(&manifest, diff_ids, &metas);
        Ok(StoredImage { id, manifest: raw.clone(), config_raw, config, layers })
    }

    /// Opens an image that is in the store, by the digest of its manifest.
    ///
    /// What a power cut may have spoilt is made again from blobs; without them it fails with [`Error::BlobNotFound`] or
    /// [`Error::LayerNotFound`].
    pub fn open_image(&self, manifest: &Digest) -> Result<StoredImage> {
        let bytes = self.read_blob(manifest, MAX_JSON)?;
        let parsed = parse_manifest(&bytes, None)?;
        let config_raw = self.read_blob(&parsed.config.digest, MAX_JSON)?;
        let config = ImageConfiguration::parse(&config_raw)?;
        let diff_ids = &config.rootfs.diff_ids;
        let metas = diff_ids.iter().map(|id| self.intact_layer(id)).collect::<Result<Vec<_>>>()?;
        let layers = layer_infos(&parsed, diff_ids, &metas);
        let manifest = RawManifest { media_type: parsed.media_type, digest: manifest.clone(), bytes };
        Ok(StoredImage { id: parsed.config.digest, manifest, config_raw, config, layers })
    }

    /// Makes a layer again from the blob that it came from.
    pub(crate) fn unpack_again(&self, diff_id: &Digest, origin: Origin) -> Result<LayerMeta> {
        let media_type = OCI_LAYER.to_owned();
        let blob = BlobDescriptor { media_type, digest: origin.digest, size: origin.size };
        let source = StoreSource { store: self, manifest: synthesize(&blob, &[]) };
        let (options, stop) = (FetchOptions::default(), Stop::new(None));
        let job = Job { store: self, source: &source, options: &options, progress: &NoProgress, stop: &stop };
        job.run(&LayerDescriptor { blob, foreign: false }, diff_id)
    }

    fn fetch_config(
        &self,
        source: &dyn ImageSource,
        manifest: &Manifest,
        options: &FetchOptions<'_>,
        stop: &Stop<'_>,
    ) -> Result<Vec<u8>> {
        let blob = &manifest.config;
        if blob.size > MAX_JSON {
            return Err(Error::Limit {
                what: "the size of the configuration in bytes",
                value: blob.size,
                limit: MAX_JSON,
            });
        }
        if let Ok(bytes) = self.read_blob(&blob.digest, blob.size) {
            return Ok(bytes);
        }
        let mut pause = options.retry.pause;
        let mut attempt = 1;
        loop {
            match read_small(source, blob) {
                Err(Error::Source { temporary: true, .. }) if attempt < options.retry.attempts => {
                    attempt += 1;
                    stop.sleep(pause)?;
                    pause = pause.saturating_mul(2);
                }
                result => return result,
            }
        }
    }
}

/// Reads a small blob whole, and verifies it.
fn read_small(source: &dyn ImageSource, blob: &BlobDescriptor) -> Result<Vec<u8>> {
    let failed = |error: oci::SourceError| {
        let temporary = source.is_temporary(error.as_ref());
        Error::Source { digest: blob.digest.clone(), temporary, source: error }
    };
    let mut bytes = Vec::new();
    let stream = source.open_blob(blob, 0).map_err(failed)?;
    stream.take(blob.size + 1).read_to_end(&mut bytes).map_err(|error| failed(error.into()))?;
    if bytes.len() as u64 != blob.size {
        let actual = bytes.len() as u64;
        return Err(Error::SizeMismatch { digest: blob.digest.clone(), expected: blob.size, actual });
    }
    match Digest::of(&bytes) {
        actual if actual == blob.digest => Ok(bytes),
        actual => Err(Error::DigestMismatch {
            what: "the image configuration",
            expected: blob.digest.clone(),
            actual,
        }),
    }
}

/// Fetches all layers, several at a time, the largest first; returns what is known of each, in the manifest's order.
fn fetch_layers(job: &Job<'_>, manifest: &Manifest, diff_ids: &[Digest]) -> Result<Vec<LayerMeta>> {
    let mut order: Vec<usize> = (0..diff_ids.len()).collect();
    order.sort_by_key(|index| std::cmp::Reverse(manifest.layers[*index].blob.size));
    let next = AtomicUsize::new(0);
    let results: Mutex<Vec<Option<Result<LayerMeta>>>> = Mutex::new(diff_ids.iter().map(|_| None).collect());
    let work = || {
        while let Some(&index) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
            let result = job.stop.check().and_then(|()| job.run(&manifest.layers[index], &diff_ids[index]));
            if result.is_err() {
                job.stop.failed.store(true, Ordering::Relaxed);
            }
            results.lock().unwrap_or_else(PoisonError::into_inner)[index] = Some(result);
        }
    };
    std::thread::scope(|scope| {
        let others = job.options.parallel.clamp(1, 64).min(diff_ids.len()).saturating_sub(1);
        for _ in 0..others {
            // Without another thread the layers come one after the other.
            let _ = std::thread::Builder::new().name("fetch".to_owned()).spawn_scoped(scope, work);
        }
        work();
    });
    let results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    let mut metas = Vec::with_capacity(diff_ids.len());
    let mut cancelled = None;
    for result in results {
        match result.unwrap_or(Err(Error::Cancelled)) {
            Ok(meta) => metas.push(meta),
            Err(Error::Cancelled) => cancelled = Some(Error::Cancelled),
            // The first layer's own error, not that others were stopped by it.
            Err(error) => return Err(error),
        }
    }
    cancelled.map_or(Ok(metas), Err)
}

fn layer_infos(manifest: &Manifest, diff_ids: &[Digest], metas: &[LayerMeta]) -> Vec<LayerInfo> {
    let each = manifest.layers.iter().zip(diff_ids).zip(metas);
    each.map(|((layer, diff_id), meta)| LayerInfo {
        blob: layer.blob.clone(),
        diff_id: diff_id.clone(),
        size_unpacked: meta.unpacked.size,
    })
    .collect()
}
