//! The small interface between whoever has an image (registry, archive, layout) and whoever wants it (the store):
//! a manifest, and blobs by descriptor. One copy function joins any source to any sink.

use std::error::Error;
use std::io::Read;

use crate::digest::Digest;

/// A boxed error of a source, with its kind kept apart by the source's own type.
pub type SourceError = Box<dyn Error + Send + Sync>;

/// What a manifest says of one blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobDescriptor {
    /// Media type, as written in the manifest.
    pub media_type: String,
    /// Digest of the bytes as they travel (compressed).
    pub digest: Digest,
    /// Bytes as they travel.
    pub size: u64,
}

/// A manifest of one platform, its raw bytes verified against its digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawManifest {
    /// Media type.
    pub media_type: String,
    /// Digest of `bytes`.
    pub digest: Digest,
    /// The bytes exactly as they came; they are kept and hashed, never re-encoded.
    pub bytes: Vec<u8>,
}

/// Something that has one image: a registry's repository, an archive, a layout.
pub trait ImageSource: Sync {
    /// Returns the manifest of the wanted platform.
    fn manifest(&self) -> &RawManifest;

    /// Opens the blob at `offset` bytes from its start. The reader may end early or lie: the caller
    /// verifies size and digest, and may open again further on.
    fn open_blob(&self, blob: &BlobDescriptor, offset: u64) -> Result<Box<dyn Read + Send>, SourceError>;

    /// Says whether a failed read or open may be tried again.
    fn is_temporary(&self, error: &(dyn Error + 'static)) -> bool;
}
