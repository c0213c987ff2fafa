//! The client of OCI registries (distribution-spec 1.1): resolve a reference, fetch manifests and blobs, log in.
//!
//! Blocking, streaming, over HTTPS by default. A [`Resolved`] image is an [`oci::ImageSource`]: the store drives it,
//! resumes broken blobs and verifies every byte; this crate verifies manifests, sees to credentials, mirrors,
//! redirects and proxies, and says in its errors who was asked for what and what to do next.

pub mod auth;
mod client;
pub mod config;
pub mod error;
mod proxy;
mod url;

pub use auth::{Anonymous, Credential, CredentialError, CredentialSource, DockerConfig};
pub use client::{Client, Login, Resolved};
pub use config::{ConfigError, HostConfig, Mirror, RegistryConfig};
pub use error::{Error, Lie, Result, TransportError};
pub use proxy::Proxies;
