//! The client of OCI registries (distribution-spec 1.1): resolve a reference, fetch manifests and blobs, log in.
//!
//! Blocking, streaming, over HTTPS by default. A [`Resolved`] image is an [`oci::ImageSource`]: the store drives it,
//! resumes broken blobs and verifies every byte; this crate verifies manifests, sees to credentials, mirrors,
//! redirects and proxies, and says in its errors who was asked for what and what to do next.
//!
//! ```text
//! Client::resolve ── endpoint::plan: the mirrors in order, then the registry
//!   └─ exchange: one question to one place, its retries          Resolved::open_blob ── blob: ranges, exact length
//!        ├─ auth: challenge → stored credential → token, one fetch for all threads
//!        └─ transport: one request, its redirects; agents per TLS settings and proxy, made when needed
//! ```
//!
//! What is not here: the content store, unpacking, and retries of blobs (the store resumes them); push.

mod answer;
pub mod auth;
mod blob;
mod client;
pub mod config;
mod download;
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
pub use download::Download;
pub use error::{Error, Lie, Result, TransportError};
pub use login::Login;
pub use proxy::Proxies;
