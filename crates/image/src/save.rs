//! `save`: images into one archive that docker and OCI tools read, or into an OCI layout folder.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use oci::manifest::{OCI_CONFIG, OCI_INDEX};
use oci::{BlobDescriptor, Digest, ImageRef};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::error::{At as _, Error, Result};
use crate::files;
use crate::lease::{Lease, Leased};
use crate::load::{layer_type, synthesize};
use crate::store::{Store, StoredImage};
use crate::tar::{Member, Writer};

/// What [`Store::save`] writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
    /// Writes images as one archive. The same images give the same bytes.
    ///
    /// Fails with [`Error::BlobNotFound`] before anything is written when a layer's blob was not kept.
    pub fn save(&self, items: &[SaveItem], format: SaveFormat, out: &mut dyn Write) -> Result<()> {
        let lease = self.lease()?;
        let items = &self.with_present_blobs(&lease, items)?;
        let blobs = self.blobs_of(items)?;
        let failed = |source| Error::Stream { action: "write the archive", source };
        let mut writer = Writer::new(io::BufWriter::with_capacity(128 << 10, out));
        for folder in ["blobs/", "blobs/sha256/"] {
            writer.header(&Member::folder(folder.as_bytes())).map_err(failed)?;
        }
        for (digest, size) in &blobs {
            let name = format!("blobs/sha256/{}", digest.hex());
            let mut blob = Verified { file: self.blob(digest)?, hasher: Sha256::new() };
            writer.append(&Member::file(name.as_bytes(), *size), &mut blob).map_err(failed)?;
            self.check(digest, blob)?;
        }
        for (name, bytes) in documents(items, format) {
            let member = Member::file(name.as_bytes(), bytes.len() as u64);
            writer.append(&member, &mut bytes.as_slice()).map_err(failed)?;
        }
        writer.finish().map(drop).map_err(failed)
    }

    /// Writes images as an OCI layout folder, which is made; what it has already is kept.
    pub fn save_layout(&self, items: &[SaveItem], folder: &Path) -> Result<()> {
        let lease = self.lease()?;
        let items = &self.with_present_blobs(&lease, items)?;
        let blobs = self.blobs_of(items)?;
        let target = folder.join("blobs/sha256");
        std::fs::create_dir_all(&target).at("create", &target)?;
        for digest in blobs.keys() {
            let path = target.join(digest.hex());
            let mut blob = Verified { file: self.blob(digest)?, hasher: Sha256::new() };
            let mut file = File::create(&path).at("create", &path)?;
            io::copy(&mut blob, &mut file).at("write", &path)?;
            self.check(digest, blob)?;
        }
        for (name, bytes) in documents(items, SaveFormat::Oci) {
            files::write_atomic(&folder.join(name), &bytes)?;
        }
        Ok(())
    }

    /// Puts present blobs in place of missing ones. A layer that was here already, from another image that has it compressed
    /// otherwise, was not fetched again; the image keeps its id, and gets a manifest that names the blob which is here.
    fn with_present_blobs(&self, lease: &Lease, items: &[SaveItem]) -> Result<Vec<SaveItem>> {
        lease.protect(
            items.iter().flat_map(|item| &item.image.layers).map(|layer| Leased::Layer(&layer.diff_id)),
        )?;
        items.iter().map(|item| self.with_present_blob(lease, item)).collect()
    }

    fn with_present_blob(&self, lease: &Lease, item: &SaveItem) -> Result<SaveItem> {
        let mut item = item.clone();
        let mut changed = false;
        for layer in item.image.layers.iter_mut().filter(|layer| !self.has_blob(&layer.blob.digest)) {
            let meta = self.intact_layer(&layer.diff_id)?;
            let origin = meta.blob.filter(|origin| self.has_blob(&origin.digest));
            let origin = origin.ok_or_else(|| Error::BlobNotFound { digest: layer.blob.digest.clone() })?;
            let media_type = layer_type(self, &origin.digest)?.to_owned();
            layer.blob = BlobDescriptor { media_type, digest: origin.digest, size: origin.size };
            changed = true;
        }
        if changed {
            let (digest, size) = (item.image.id.clone(), item.image.config_raw.len() as u64);
            let config = BlobDescriptor { media_type: OCI_CONFIG.to_owned(), digest, size };
            let layers: Vec<_> = item.image.layers.iter().map(|layer| layer.blob.clone()).collect();
            item.image.manifest = synthesize(&config, &layers);
            lease.protect([Leased::Blob(&item.image.manifest.digest)])?;
            self.put_blob(&item.image.manifest.bytes)?;
        }
        Ok(item)
    }

    /// Lists the blobs of images with their sizes, each once; all must be there.
    fn blobs_of(&self, items: &[SaveItem]) -> Result<BTreeMap<Digest, u64>> {
        let all: BTreeSet<Digest> = items.iter().flat_map(|item| item.image.blobs()).collect();
        all.into_iter()
            .map(|digest| match self.blob_size(&digest) {
                Some(size) => Ok((digest, size)),
                None => Err(Error::BlobNotFound { digest }),
            })
            .collect()
    }

    fn check(&self, expected: &Digest, blob: Verified) -> Result<()> {
        let actual = Digest::from_sha256(blob.hasher.finalize().into());
        if actual == *expected {
            return Ok(());
        }
        let reason = format!("its digest is {actual}");
        Err(Error::Damaged { path: self.blob_path(expected), reason })
    }
}

/// A blob that is hashed while it is read.
struct Verified {
    file: File,
    hasher: Sha256,
}

impl Read for Verified {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let length = self.file.read(into)?;
        self.hasher.update(&into[..length]);
        Ok(length)
    }
}

/// Makes the tables of contents.
fn documents(items: &[SaveItem], format: SaveFormat) -> Vec<(&'static str, Vec<u8>)> {
    let entries: Vec<Value> = items.iter().flat_map(index_entries).collect();
    let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries});
    let layout = json!({"imageLayoutVersion": "1.0.0"});
    let mut documents = vec![("index.json", index.to_string().into_bytes())];
    if format == SaveFormat::Docker {
        let manifest: Vec<Value> = items.iter().map(docker_entry).collect();
        documents.push(("manifest.json", Value::from(manifest).to_string().into_bytes()));
    }
    documents.push(("oci-layout", layout.to_string().into_bytes()));
    documents
}

/// An image stands in the index once for each of its names.
fn index_entries(item: &SaveItem) -> Vec<Value> {
    let manifest = &item.image.manifest;
    let platform = item.image.config.platform();
    let entry = |annotations: Option<Value>| {
        let mut entry = json!({
            "mediaType": manifest.media_type,
            "digest": manifest.digest.as_str(),
            "size": manifest.bytes.len(),
            "platform": platform,
        });
        if let Some(annotations) = annotations {
            entry["annotations"] = annotations;
        }
        entry
    };
    let named = item.refs.iter().map(|name| {
        let mut annotations = json!({"io.containerd.image.name": name.to_string()});
        if let Some(tag) = &name.tag {
            annotations["org.opencontainers.image.ref.name"] = json!(tag);
        }
        entry(Some(annotations))
    });
    let named: Vec<Value> = named.collect();
    if named.is_empty() { vec![entry(None)] } else { named }
}

/// Source: moby `image/tarexport`, `manifestItem`.
fn docker_entry(item: &SaveItem) -> Value {
    let path = |digest: &Digest| format!("blobs/sha256/{}", digest.hex());
    let tags: Vec<String> =
        item.refs.iter().filter(|name| name.tag.is_some()).map(ImageRef::familiar).collect();
    json!({
        "Config": path(&item.image.id),
        "RepoTags": tags,
        "Layers": item.image.layers.iter().map(|layer| path(&layer.blob.digest)).collect::<Vec<_>>(),
    })
}
