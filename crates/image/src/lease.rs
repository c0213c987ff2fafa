//! Leases: what an operation uses before the engine has recorded it.

use std::fs::File;
use std::path::PathBuf;

use crate::error::{Error, Result};
use crate::store::Store;

/// Keeps the blobs and layers that operations under it touch from being swept, until it is dropped.
///
/// Take it before [`Store::fetch`], record the image in the database, then drop it: in between nothing is unowned. It ends with
/// its process in any case.
#[derive(Debug)]
pub struct Lease {
    path: PathBuf,
    file: File,
}

impl Store {
    /// Takes a lease.
    pub fn lease(&self) -> Result<Lease> {
        Err(Error::Unsupported { what: "a lease".to_owned() })
    }
}
