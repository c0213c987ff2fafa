//! The client of OCI registries (distribution-spec 1.1): resolve a reference, fetch manifests and blobs, log in.
//!
//! Blocking, streaming, over HTTPS by default. A [`Resolved`] image is an [`oci::ImageSource`]: the store drives it,
//! resumes broken blobs and verifies every byte; this crate verifies manifests, sees to credentials, mirrors,
//! redirects and proxies, and says in its errors who was asked for what and what to do next.

mod answer;
pub mod auth;
mod blob;
mod client;
pub mod config;
mod endpoint;
pub mod error;
mod exchange;
mod guard;
mod login;
mod proxy;
#[cfg(test)]
mod tests;
mod transport;
mod url;

pub use auth::{Anonymous, Credential, CredentialError, CredentialSource, DockerConfig, StoredCredentials};
pub use client::{Client, Resolved};
pub use config::{ConfigError, HostConfig, Mirror, RegistryConfig};
pub use error::{Error, Lie, Result, TransportError};
pub use login::Login;
pub use proxy::Proxies;
