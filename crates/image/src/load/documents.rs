//! The tables of contents of archives and layouts: `index.json` (OCI), `manifest.json` (docker).

use std::collections::BTreeMap;

use oci::manifest::{
    Document, Index, IndexEntry, OCI_CONFIG, check_size, parse, parse_manifest, select_platform,
};
use oci::{BlobDescriptor, Digest, Platform, RawManifest};
use serde::Deserialize;

use super::{TABLE_MAX, synthesize};
use crate::error::{Error, Result};

/// How many indexes may lie in one another.
const NESTING_MAX: usize = 4;

/// Whatever has files by name: an archive, a layout folder.
pub(super) trait Contents {
    /// Says whether it has a file.
    fn has(&self, name: &str) -> bool;
    /// Reads a file of at most `limit` bytes.
    fn read(&self, name: &str, limit: u64) -> Result<Vec<u8>>;
    /// Describes a file as a layer.
    fn describe(&self, name: &str) -> Result<BlobDescriptor>;
}

/// An image in an archive, not yet unpacked.
#[derive(Debug)]
pub(super) struct ArchivedImage {
    pub(super) manifest: RawManifest,
    pub(super) refs: Vec<String>,
}

/// An entry of docker's `manifest.json`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerEntry {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

/// Lists the images of an archive or layout.
pub(super) fn images(contents: &dyn Contents, platforms: &[Platform]) -> Result<Vec<ArchivedImage>> {
    let docker = match contents.has("manifest.json") {
        true => docker_entries(contents)?,
        false => Vec::new(),
    };
    let images = if contents.has("index.json") {
        oci_images(contents, platforms, &docker)?
    } else if !docker.is_empty() {
        docker.iter().map(|entry| docker_image(contents, entry)).collect::<Result<_>>()?
    } else if contents.has("repositories") {
        let what =
            "an archive of a Docker older than 1.10 (it has \"repositories\" but no \"manifest.json\")";
        return Err(Error::Unsupported { what: what.to_owned() });
    } else {
        let reason = "it has neither \"index.json\" nor \"manifest.json\": this is no archive of images \
            (a root file system is brought in by import)";
        return Err(Error::Archive { reason: reason.to_owned() });
    };
    Ok(images)
}

fn docker_entries(contents: &dyn Contents) -> Result<Vec<DockerEntry>> {
    let bytes = contents.read("manifest.json", TABLE_MAX)?;
    check_size(&bytes)?;
    serde_json::from_slice(&bytes)
        .map_err(|error| Error::Archive { reason: format!("\"manifest.json\" is malformed: {error}") })
}

fn docker_image(contents: &dyn Contents, entry: &DockerEntry) -> Result<ArchivedImage> {
    let mut config = contents.describe(&entry.config)?;
    OCI_CONFIG.clone_into(&mut config.media_type);
    let layers = entry.layers.iter().map(|layer| contents.describe(layer)).collect::<Result<Vec<_>>>()?;
    let refs = entry.repo_tags.clone().unwrap_or_default();
    Ok(ArchivedImage { manifest: synthesize(&config, &layers), refs })
}

/// The images of `index.json`, each once, with all its names. Docker's own archives name images in `manifest.json` too.
fn oci_images(
    contents: &dyn Contents,
    platforms: &[Platform],
    docker: &[DockerEntry],
) -> Result<Vec<ArchivedImage>> {
    let bytes = contents.read("index.json", TABLE_MAX)?;
    let Document::Index(index) = parse(&bytes, None)? else {
        return Err(Error::Archive { reason: "\"index.json\" is no index".to_owned() });
    };
    let mut order: Vec<Digest> = Vec::new();
    let mut images: BTreeMap<Digest, ArchivedImage> = BTreeMap::new();
    for entry in &index.entries {
        let Some(manifest) = resolve(contents, entry, platforms, 0)? else { continue };
        let image = images.entry(manifest.digest.clone()).or_insert_with(|| {
            order.push(manifest.digest.clone());
            ArchivedImage { manifest, refs: Vec::new() }
        });
        image.refs.extend(name_of(entry));
    }
    for image in images.values_mut() {
        let config = parse_manifest(&image.manifest.bytes, None)?.config.digest;
        let same = docker.iter().filter(|entry| entry.config.contains(config.hex()));
        let tags = same.flat_map(|entry| entry.repo_tags.iter().flatten().cloned());
        // Docker's own names are whole ones; an index may have nothing but a tag.
        let tags: Vec<String> = tags.collect();
        if !tags.is_empty() {
            image.refs = tags;
        }
        image.refs.sort();
        image.refs.dedup();
    }
    if images.is_empty() {
        let reason = "its \"index.json\" has no image for this platform".to_owned();
        return Err(Error::Archive { reason });
    }
    Ok(order.iter().filter_map(|digest| images.remove(digest)).collect())
}

/// Reads the manifest that an entry means; `None` for what is for other platforms or no container image.
fn resolve(
    contents: &dyn Contents,
    entry: &IndexEntry,
    platforms: &[Platform],
    depth: usize,
) -> Result<Option<RawManifest>> {
    if depth > NESTING_MAX {
        return Err(Error::Archive { reason: "its indexes are nested too deeply".to_owned() });
    }
    let blob = &entry.descriptor;
    let name = format!("blobs/sha256/{}", blob.digest.hex());
    if entry.platform.as_ref().is_some_and(|p| p.os == "unknown") || (depth > 0 && !contents.has(&name)) {
        return Ok(None);
    }
    let bytes = contents.read(&name, TABLE_MAX)?;
    let actual = Digest::of(&bytes);
    if actual != blob.digest {
        return Err(Error::DigestMismatch { what: "a manifest", expected: blob.digest.clone(), actual });
    }
    match parse(&bytes, Some(&blob.media_type))? {
        Document::Manifest(manifest) if manifest.require_image().is_err() => Ok(None),
        Document::Manifest(manifest) => {
            Ok(Some(RawManifest { media_type: manifest.media_type, digest: actual, bytes }))
        }
        // An archive of several platforms' index may hold only some of them.
        Document::Index(index) => {
            let present = Index {
                entries: index
                    .entries
                    .into_iter()
                    .filter(|e| contents.has(&format!("blobs/sha256/{}", e.descriptor.digest.hex())))
                    .collect(),
                ..index
            };
            match select_platform(&present, platforms) {
                Some(chosen) => resolve(contents, chosen, platforms, depth + 1),
                None => Ok(None),
            }
        }
    }
}

/// The name that an index gives an image: containerd's annotation has the whole name, OCI's perhaps only a tag.
fn name_of(entry: &IndexEntry) -> Option<String> {
    let annotation = |key: &str| entry.annotations.get(key).cloned();
    annotation("io.containerd.image.name").or_else(|| annotation("org.opencontainers.image.ref.name"))
}
