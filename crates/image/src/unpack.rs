//! Unpacking a layer.

use base::{ErrorKind, Kinded};

pub(crate) mod remove;

/// Limits and habits of unpacking.
#[derive(Debug, Clone, Default)]
pub struct UnpackOptions {}

/// Why a layer cannot be unpacked.
#[derive(Debug, thiserror::Error)]
#[error("not supported")]
pub struct UnpackError {}

impl Kinded for UnpackError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Unsupported
    }
}
