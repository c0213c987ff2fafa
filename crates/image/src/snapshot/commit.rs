//! A snapshot becomes an image: what it changes is one layer more.

use std::io;
use std::os::fd::AsFd as _;

use oci::config::{ContainerDefaults, History};
use oci::manifest::{OCI_CONFIG, OCI_LAYER};
use oci::{BlobDescriptor, Digest, ImageConfiguration};

use super::Snapshot;
use crate::content::Ingest;
use crate::error::{At as _, Error, Result};
use crate::fetch::{FetchOptions, NoProgress};
use crate::files;
use crate::lease::{Lease, Leased};
use crate::load::{StoreSource, synthesize};
use crate::store::StoredImage;
use crate::tree::{PackOptions, Packer};

/// What the new image says of itself.
#[derive(Debug, Clone)]
pub struct CommitOptions {
    /// How a container of it runs.
    pub config: ContainerDefaults,
    /// Who made it.
    pub author: String,
    /// Remark.
    pub message: String,
    /// By which command.
    pub created_by: String,
    /// When, RFC 3339.
    pub created: String,
}

/// Writes to a blob that is on its way in.
struct Sink(Ingest);

impl io::Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Snapshot {
    /// Makes an image of `base`, which the snapshot stands on, and what the snapshot changes. Empty files and folders of
    /// the paths `hidden` are left out.
    ///
    /// Something may write to the snapshot meanwhile; what it writes is in the image or not.
    pub fn commit(
        &self,
        lease: &Lease,
        base: &StoredImage,
        hidden: &[&str],
        options: &CommitOptions,
    ) -> Result<StoredImage> {
        let (layer, diff_id) = self.pack_layer(lease, hidden)?;
        let config = configuration(base, diff_id, options);
        let bytes = serde_json::to_vec(&config).map_err(|error| Error::Archive {
            reason: format!("the configuration cannot be written: {error}"),
        })?;
        lease.protect([Leased::Blob(&Digest::of(&bytes))])?;
        let digest = self.store.put_blob(&bytes)?;
        let config = BlobDescriptor { media_type: OCI_CONFIG.to_owned(), digest, size: bytes.len() as u64 };
        let mut layers: Vec<BlobDescriptor> = base.layers.iter().map(|layer| layer.blob.clone()).collect();
        layers.push(layer);
        let source = StoreSource { store: &self.store, manifest: synthesize(&config, &layers) };
        self.store.fetch(lease, &source, &FetchOptions::default(), &NoProgress)
    }

    /// Keeps the writable folder as a plain layer.
    fn pack_layer(&self, lease: &Lease, hidden: &[&str]) -> Result<(BlobDescriptor, Digest)> {
        let upper = self.upper();
        let folder = files::open_dir(&upper).at("open", &upper)?;
        let layer = hidden.iter().map(|path| [b"./", path.as_bytes()].concat()).collect();
        let options = PackOptions { layer: Some(layer), ..PackOptions::default() };
        let out = io::BufWriter::with_capacity(256 << 10, Sink(self.store.ingest_unnamed()?));
        let mut packer = Packer::new(out, options);
        let packed = packer.add(folder.as_fd(), b".", b".").and_then(|()| packer.finish());
        let (out, _, size) = packed.map_err(|source| Error::Tree { path: upper.clone(), source })?;
        let sink = out
            .into_inner()
            .map_err(|error| Error::Stream { action: "keep the new layer", source: error.into_error() })?;
        let digest = sink.0.commit_leased(&self.store, lease)?;
        let blob = BlobDescriptor { media_type: OCI_LAYER.to_owned(), digest: digest.clone(), size };
        Ok((blob, digest))
    }
}

fn configuration(base: &StoredImage, diff_id: Digest, options: &CommitOptions) -> ImageConfiguration {
    let mut config = base.config.clone();
    config.created = Some(options.created.clone());
    config.author = Some(options.author.clone()).filter(|author| !author.is_empty());
    config.comment.clone_from(&options.message);
    config.config = options.config.clone();
    // Each step that made a layer stands for one, so layers that nobody told of get a step.
    let told = config.history.iter().filter(|step| !step.empty_layer).count();
    let untold = config.rootfs.diff_ids.len().saturating_sub(told);
    config.history.extend(std::iter::repeat_n(History::default(), untold));
    config.rootfs.diff_ids.push(diff_id);
    config.history.push(History {
        created: Some(options.created.clone()),
        created_by: options.created_by.clone(),
        author: options.author.clone(),
        comment: options.message.clone(),
        empty_layer: false,
    });
    config
}
