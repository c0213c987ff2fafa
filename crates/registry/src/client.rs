//! Signatures first; the bodies follow.
#![allow(missing_docs, unused_variables)]

use std::error::Error as StdError;
use std::io::Read;

use oci::{BlobDescriptor, Digest, ImageRef, ImageSource, Platform, RawManifest, SourceError};

use crate::auth::{Credential, CredentialSource};
use crate::config::RegistryConfig;
use crate::error::{Error, Result};

/// Speaks with registries.
#[derive(Debug)]
pub struct Client {}

/// An image that was found at a registry.
#[derive(Debug)]
pub struct Resolved {
    manifest: RawManifest,
    reference: ImageRef,
    index_digest: Option<Digest>,
}

/// The answer to a login.
#[derive(Debug)]
pub struct Login {
    /// What to store.
    pub credential: Credential,
}

fn unsupported() -> Error {
    Error::Token { registry: "any".into(), reason: "the client is not built yet".into() }
}

impl Client {
    pub fn new(config: RegistryConfig, credentials: impl CredentialSource + 'static) -> Result<Self> {
        Err(unsupported())
    }
    pub fn resolve(&self, reference: &ImageRef, platform: &Platform) -> Result<Resolved> {
        Err(unsupported())
    }
    pub fn resolve_any(&self, reference: &ImageRef, candidates: &[Platform]) -> Result<Resolved> {
        Err(unsupported())
    }
    pub fn head(&self, reference: &ImageRef) -> Result<Option<Digest>> {
        Err(unsupported())
    }
    pub fn ping_login(&self, domain: &str, username: &str, password: &str) -> Result<Login> {
        Err(unsupported())
    }
}

impl Resolved {
    pub fn reference(&self) -> &ImageRef {
        &self.reference
    }
    pub fn index_digest(&self) -> Option<&Digest> {
        self.index_digest.as_ref()
    }
    pub fn repo_digest(&self) -> &Digest {
        self.index_digest.as_ref().unwrap_or(&self.manifest.digest)
    }
}

impl ImageSource for Resolved {
    fn manifest(&self) -> &RawManifest {
        &self.manifest
    }
    fn open_blob(&self, blob: &BlobDescriptor, offset: u64) -> Result<Box<dyn Read + Send>, SourceError> {
        Err(unsupported().into())
    }
    fn is_temporary(&self, error: &(dyn StdError + 'static)) -> bool {
        false
    }
}
