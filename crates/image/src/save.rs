//! `save`: images into one archive that docker and OCI tools read, or into an OCI layout folder.

use std::io::Write;
use std::path::PathBuf;

use oci::ImageRef;

use crate::error::{Error, Result};
use crate::store::{Store, StoredImage};

/// What [`Store::save`] writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SaveFormat {
    /// A docker archive that is an OCI layout too, as Docker writes it since version 25.
    Docker,
    /// A tar of an OCI layout.
    Oci,
}

/// An image to save, with its names.
#[derive(Debug, Clone)]
pub struct SaveItem {
    /// The image.
    pub image: StoredImage,
    /// The names that the archive gives it.
    pub refs: Vec<ImageRef>,
}

impl Store {
    /// Writes images as one archive.
    pub fn save(&self, items: &[SaveItem], format: &SaveFormat, out: &mut dyn Write) -> Result<()> {
        let _ = (items, format, out);
        Err(Error::Unsupported { what: "saving".to_owned() })
    }

    /// Writes images as an OCI layout folder.
    pub fn save_layout(&self, items: &[SaveItem], folder: &std::path::Path) -> Result<()> {
        let _ = (items, PathBuf::from(folder));
        Err(Error::Unsupported { what: "saving".to_owned() })
    }
}
