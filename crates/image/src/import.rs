//! `import`: an image from the tar of a root file system.

use std::io::Read;

use oci::Platform;
use oci::config::ContainerDefaults;

use crate::error::{Error, Result};
use crate::fetch::FetchOptions;
use crate::lease::Lease;
use crate::store::{Store, StoredImage};

/// What an imported image says of itself.
#[derive(Debug, Clone)]
pub struct ImportOptions {
    /// Its configuration; see [`parse_changes`].
    pub config: ContainerDefaults,
    /// Remark in the history.
    pub message: String,
    /// What it runs on.
    pub platform: Platform,
    /// When, RFC 3339.
    pub created: String,
}

/// A `--change` is malformed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{instruction:?}: {reason}")]
pub struct InvalidChange {
    /// What was given.
    pub instruction: String,
    /// What is wrong.
    pub reason: String,
}

impl Store {
    /// Makes an image of one layer from the tar of a root file system (plain, gzip or zstd).
    pub fn import(
        &self,
        lease: &Lease,
        rootfs_tar: &mut (dyn Read + Send),
        options: &ImportOptions,
        fetch: &FetchOptions<'_>,
    ) -> Result<StoredImage> {
        let _ = (lease, rootfs_tar, options, fetch);
        Err(Error::Unsupported { what: "importing".to_owned() })
    }
}

/// Applies Docker's `--change` instructions to `config`: `CMD ENTRYPOINT ENV EXPOSE HEALTHCHECK LABEL ONBUILD
/// STOPSIGNAL USER VOLUME WORKDIR`.
pub fn parse_changes(
    config: &mut ContainerDefaults,
    changes: &[String],
) -> std::result::Result<(), InvalidChange> {
    let _ = config;
    match changes.first() {
        None => Ok(()),
        Some(first) => Err(InvalidChange { instruction: first.clone(), reason: "not supported".to_owned() }),
    }
}
