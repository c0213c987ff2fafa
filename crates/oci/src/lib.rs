//! The words of the OCI specifications: runtime, image and distribution types (taken from `oci-spec`),
//! image references, digests, and the small image/layer interface that `image` and `registry` both speak.
//! No I/O.

pub mod digest;
pub mod reference;
pub mod source;

/// runtime-spec: `config.json`, state and features.
pub use oci_spec::runtime;
/// image-spec: manifests, indexes, configurations.
pub use oci_spec::image;
pub use digest::Digest;
pub use reference::ImageRef;
pub use source::{BlobDescriptor, ImageSource, RawManifest, SourceError};
