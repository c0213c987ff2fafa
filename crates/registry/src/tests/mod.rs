//! The client against a registry inside the test, honest and hostile, and against Debian's.

mod credentials;
mod honest;
mod hostile;
mod mirrors;
mod peers;
mod proxied;
mod secure;
mod tree;

use std::io::{self, Read as _};
use std::time::Duration;

use oci::{BlobDescriptor, ImageRef, ImageSource as _, Platform};
use testkit::registry::FakeRegistry;

use crate::{Client, Credential, CredentialError, CredentialSource, RegistryConfig, Resolved, Result};

/// Has one credential for every registry: what leaks, leaks in every test.
#[derive(Debug, Clone)]
struct Everywhere(Credential);

impl CredentialSource for Everywhere {
    fn credential(&self, _: &str) -> Result<Credential, CredentialError> {
        Ok(self.0.clone())
    }
}

fn user() -> Everywhere {
    Everywhere(Credential::Basic { username: "user".to_owned(), password: "secret".to_owned() })
}

/// A configuration that does not let a test wait.
fn impatient() -> RegistryConfig {
    RegistryConfig {
        attempts: 2,
        idle_timeout: Duration::from_secs(1),
        connect_timeout: Duration::from_secs(5),
        longest_wait: Duration::from_secs(2),
        ..RegistryConfig::default()
    }
}

fn client() -> Client {
    Client::new(impatient(), crate::Anonymous).unwrap()
}

fn reference(registry: &FakeRegistry, rest: &str) -> ImageRef {
    format!("{}/{rest}", registry.host()).parse().unwrap()
}

fn resolve(client: &Client, registry: &FakeRegistry, rest: &str) -> Result<Resolved> {
    client.resolve(&reference(registry, rest), &Platform::host())
}

fn read(resolved: &Resolved, blob: &BlobDescriptor, offset: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut reader = resolved.open_blob(blob, offset).map_err(io::Error::other)?;
    reader.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Renders an error as the user sees it.
fn shown(error: &(dyn std::error::Error + 'static)) -> String {
    base::error::render_chain(error)
}

/// Asserts that the user reads each of `parts`.
#[track_caller]
fn assert_says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is missing in: {text}");
    }
}
