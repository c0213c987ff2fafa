//! `load`: images from a docker archive, an OCI archive or an OCI layout folder.
//!
//! An archive may be a pipe and may have its table of contents at the end, so every member becomes a blob of the store as
//! it passes; then the images are put together from blobs by the same [`Store::fetch`] as any other.

mod archive;
mod documents;

use std::io::{Read, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use oci::manifest::{MAX_JSON, OCI_MANIFEST};
use oci::{BlobDescriptor, Digest, ImageSource, Platform, RawManifest, SourceError};
use rustix::fs::{Mode, OFlags};

use crate::error::{At as _, Error, Result};
use crate::fetch::{FetchOptions, Progress};
use crate::lease::Lease;
use crate::store::{Store, StoredImage};

use documents::{ArchivedImage, Contents};

pub(crate) use archive::layer_type;

/// An image of an archive, now in the store.
#[derive(Debug, Clone, PartialEq)]
pub struct LoadedImage {
    /// The image.
    pub image: StoredImage,
    /// The names that the archive gives it, as written there; the caller decides what becomes of them.
    pub refs: Vec<String>,
}

/// What a load is to do, besides fetching.
#[derive(Debug, Clone, Copy)]
pub struct LoadOptions<'a> {
    /// Of an index, the image for the first of these that it has is taken; see [`Platform::candidates`].
    pub platforms: &'a [Platform],
    /// How images are unpacked.
    pub fetch: &'a FetchOptions<'a>,
}

impl Store {
    /// Loads every image of an archive: docker's or OCI's, plain, gzip or zstd, from a file or a pipe.
    pub fn load(
        &self,
        lease: &Lease,
        archive: &mut dyn Read,
        options: &LoadOptions<'_>,
        progress: &dyn Progress,
    ) -> Result<Vec<LoadedImage>> {
        let members = archive::spool(self, lease, archive)?;
        let contents = Spooled { store: self, members };
        let images = documents::images(&contents, options.platforms)?;
        self.load_images(
            lease,
            images,
            &|manifest| Box::new(StoreSource { store: self, manifest }),
            options,
            progress,
        )
    }

    /// Loads every image of the OCI layout folder `layout`.
    pub fn load_layout(
        &self,
        lease: &Lease,
        layout: &Path,
        options: &LoadOptions<'_>,
        progress: &dyn Progress,
    ) -> Result<Vec<LoadedImage>> {
        let root = sys::beneath::Root::open(layout).at("open", layout)?;
        let contents = Layout { root, path: layout.to_owned() };
        let images = documents::images(&contents, options.platforms)?;
        let source =
            |manifest| Box::new(LayoutSource { layout: &contents, manifest }) as Box<dyn ImageSource>;
        self.load_images(lease, images, &source, options, progress)
    }

    fn load_images<'a>(
        &self,
        lease: &Lease,
        images: Vec<ArchivedImage>,
        source: &dyn Fn(RawManifest) -> Box<dyn ImageSource + 'a>,
        options: &LoadOptions<'_>,
        progress: &dyn Progress,
    ) -> Result<Vec<LoadedImage>> {
        let mut loaded = Vec::with_capacity(images.len());
        for image in images {
            let source = source(image.manifest);
            let stored = self.fetch(lease, source.as_ref(), options.fetch, progress)?;
            loaded.push(LoadedImage { image: stored, refs: image.refs });
        }
        Ok(loaded)
    }
}

/// The members of an archive, all of them blobs of the store by now.
struct Spooled<'a> {
    store: &'a Store,
    members: archive::Members,
}

impl Contents for Spooled<'_> {
    fn has(&self, name: &str) -> bool {
        self.members.find(name).is_some()
    }

    fn read(&self, name: &str, limit: u64) -> Result<Vec<u8>> {
        let blob = self.describe(name)?;
        self.store.read_blob(&blob.digest, limit)
    }

    fn describe(&self, name: &str) -> Result<BlobDescriptor> {
        let member = self.members.find(name);
        let member = member.ok_or_else(|| Error::Archive { reason: format!("{name:?} is missing") })?;
        let media_type = layer_type(self.store, &member.digest)?;
        Ok(BlobDescriptor {
            media_type: media_type.to_owned(),
            digest: member.digest.clone(),
            size: member.size,
        })
    }
}

/// Images whose blobs are in the store.
pub(crate) struct StoreSource<'a> {
    pub(crate) store: &'a Store,
    pub(crate) manifest: RawManifest,
}

impl ImageSource for StoreSource<'_> {
    fn manifest(&self) -> &RawManifest {
        &self.manifest
    }

    fn open_blob(
        &self,
        blob: &BlobDescriptor,
        offset: u64,
    ) -> std::result::Result<Box<dyn Read + Send>, SourceError> {
        let mut file = self.store.blob(&blob.digest)?;
        file.seek(SeekFrom::Start(offset))?;
        Ok(Box::new(file))
    }

    fn is_temporary(&self, _: &(dyn std::error::Error + 'static)) -> bool {
        false
    }
}

/// An OCI layout folder: somebody else's, so everything in it is opened beneath it and through no link.
struct Layout {
    root: sys::beneath::Root,
    path: PathBuf,
}

impl Layout {
    fn open(&self, name: &str) -> rustix::io::Result<std::fs::File> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = std::fs::File::from(self.root.open_no_links(Path::new(name), flags, Mode::empty())?);
        match rustix::fs::FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode) {
            rustix::fs::FileType::RegularFile => Ok(file),
            _ => Err(rustix::io::Errno::INVAL),
        }
    }
}

impl Contents for Layout {
    fn has(&self, name: &str) -> bool {
        self.open(name).is_ok()
    }

    fn read(&self, name: &str, limit: u64) -> Result<Vec<u8>> {
        let path = self.path.join(name);
        let file = self.open(name).at("open", &path)?;
        let mut bytes = Vec::new();
        file.take(limit + 1).read_to_end(&mut bytes).at("read", &path)?;
        if bytes.len() as u64 > limit {
            return Err(Error::Limit {
                what: "the size of a document in bytes",
                value: bytes.len() as u64,
                limit,
            });
        }
        Ok(bytes)
    }

    fn describe(&self, name: &str) -> Result<BlobDescriptor> {
        Err(Error::Unsupported { what: format!("the docker archive file {name:?} in a layout folder") })
    }
}

struct LayoutSource<'a> {
    layout: &'a Layout,
    manifest: RawManifest,
}

impl ImageSource for LayoutSource<'_> {
    fn manifest(&self) -> &RawManifest {
        &self.manifest
    }

    fn open_blob(
        &self,
        blob: &BlobDescriptor,
        offset: u64,
    ) -> std::result::Result<Box<dyn Read + Send>, SourceError> {
        let mut file = self.layout.open(&format!("blobs/sha256/{}", blob.digest.hex()))?;
        file.seek(SeekFrom::Start(offset))?;
        Ok(Box::new(file))
    }

    fn is_temporary(&self, _: &(dyn std::error::Error + 'static)) -> bool {
        false
    }
}

/// Makes the manifest of an image that comes without one.
pub(crate) fn synthesize(config: &BlobDescriptor, layers: &[BlobDescriptor]) -> RawManifest {
    let descriptor = |blob: &BlobDescriptor| serde_json::json!({"mediaType": blob.media_type, "digest": blob.digest.as_str(), "size": blob.size});
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": descriptor(config),
        "layers": layers.iter().map(descriptor).collect::<Vec<_>>(),
    });
    let bytes = manifest.to_string().into_bytes();
    RawManifest { media_type: OCI_MANIFEST.to_owned(), digest: Digest::of(&bytes), bytes }
}

/// The largest table of contents of an archive.
const TABLE_MAX: u64 = MAX_JSON;

#[cfg(test)]
mod tests;
