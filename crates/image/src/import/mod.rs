//! `import`: an image from the tar of a root file system.

mod change;

use std::io::Read;

use oci::config::{ContainerDefaults, History, RootFs};
use oci::manifest::{OCI_CONFIG, OCI_LAYER, OCI_LAYER_GZIP, OCI_LAYER_ZSTD};
use oci::{BlobDescriptor, Digest, ImageConfiguration, Platform};
use sha2::{Digest as _, Sha256};

use crate::error::{Error, Result};
use crate::fetch::{Decompressor, FetchOptions, Format, NoProgress};
use crate::lease::{Lease, Leased};
use crate::load::{StoreSource, synthesize};
use crate::store::{Store, StoredImage};

pub use change::{InvalidChange, parse_changes};

/// Size of a read from the stream.
const PIECE: usize = 128 << 10;

/// What an imported image says of itself.
#[derive(Debug, Clone)]
pub struct ImportOptions {
    /// Its configuration; see [`parse_changes`].
    pub config: ContainerDefaults,
    /// Remark in the history.
    pub message: String,
    /// What it runs on.
    pub platform: Platform,
    /// When, RFC 3339.
    pub created: String,
}

impl Store {
    /// Makes an image of one layer from the tar of a root file system (plain, gzip or zstd).
    pub fn import(
        &self,
        lease: &Lease,
        rootfs_tar: &mut dyn Read,
        options: &ImportOptions,
        fetch: &FetchOptions<'_>,
    ) -> Result<StoredImage> {
        let (layer, diff_id) = self.spool_layer(lease, rootfs_tar)?;
        let config = configuration(options, diff_id);
        let bytes = serde_json::to_vec(&config).map_err(|error| Error::Archive {
            reason: format!("the configuration cannot be written: {error}"),
        })?;
        lease.protect([Leased::Blob(&Digest::of(&bytes))])?;
        let digest = self.put_blob(&bytes)?;
        let config = BlobDescriptor { media_type: OCI_CONFIG.to_owned(), digest, size: bytes.len() as u64 };
        let source = StoreSource { store: self, manifest: synthesize(&config, &[layer]) };
        self.fetch(lease, &source, fetch, &NoProgress)
    }

    /// Keeps the stream as it comes, and finds out its DiffID meanwhile.
    fn spool_layer(&self, lease: &Lease, stream: &mut dyn Read) -> Result<(BlobDescriptor, Digest)> {
        let mut ingest = self.ingest_unnamed()?;
        match copy(stream, &mut ingest) {
            Err(error) => {
                ingest.discard()?;
                Err(error)
            }
            Ok((media_type, diff_id)) => {
                let size = ingest.length;
                let digest = ingest.commit_leased(self, lease)?;
                Ok((BlobDescriptor { media_type: media_type.to_owned(), digest, size }, diff_id))
            }
        }
    }
}

fn copy(stream: &mut dyn Read, ingest: &mut crate::content::Ingest) -> Result<(&'static str, Digest)> {
    let failed = |source| Error::Stream { action: "read the archive", source };
    let mut plain = Decompressor::new(Hasher(Sha256::new()));
    let mut buffer = vec![0; PIECE];
    let mut start = Vec::new();
    loop {
        let length = match stream.read(&mut buffer) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            read => read.map_err(failed)?,
        };
        if length == 0 {
            break;
        }
        let piece = &buffer[..length];
        start.extend_from_slice(&piece[..length.min(8_usize.saturating_sub(start.len()))]);
        ingest.write(piece)?;
        plain.write(piece).map_err(failed)?;
    }
    let hasher = plain.finish().map_err(failed)?;
    let media_type = match Format::of(&start) {
        Format::Gzip => OCI_LAYER_GZIP,
        Format::Zstd => OCI_LAYER_ZSTD,
        Format::Plain | Format::Unsupported(_) => OCI_LAYER,
    };
    Ok((media_type, Digest::from_sha256(hasher.0.finalize().into())))
}

fn configuration(options: &ImportOptions, diff_id: Digest) -> ImageConfiguration {
    let history = History {
        created: Some(options.created.clone()),
        comment: options.message.clone(),
        ..History::default()
    };
    ImageConfiguration {
        created: Some(options.created.clone()),
        architecture: options.platform.architecture.clone(),
        variant: options.platform.variant.clone(),
        os: options.platform.os.clone(),
        config: options.config.clone(),
        rootfs: RootFs { diff_ids: vec![diff_id], ..RootFs::default() },
        history: vec![history],
        comment: options.message.clone(),
        ..ImageConfiguration::default()
    }
}

/// Hashes what is written to it.
struct Hasher(Sha256);

impl std::io::Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
