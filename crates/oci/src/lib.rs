//! The words of the OCI specifications: runtime, image and distribution types (taken from `oci-spec`),
//! image references, digests, and the small image/layer interface that `image` and `registry` both speak.
//! No I/O.

pub mod cdi;
pub mod config;
pub mod digest;
mod guard;
pub mod manifest;
pub mod platform;
pub mod reference;
pub mod source;

pub use config::ImageConfiguration;
pub use digest::Digest;
/// image-spec: manifests, indexes, configurations.
pub use oci_spec::image;
/// runtime-spec: `config.json`, state and features.
pub use oci_spec::runtime;
pub use platform::Platform;
pub use reference::ImageRef;
pub use source::{BlobDescriptor, ImageSource, RawManifest, SourceError};
