//! Image manifests and indexes: image-spec 1.1 and Docker's schema 2, read strictly.
//!
//! A document is what its media type and its fields agree on. One that could be read as both a manifest and an
//! index is refused (CVE-2021-41190), and so is Docker's schema 1.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::digest::Digest;
use crate::guard::{Guard, stands};
use crate::platform::Platform;
use crate::source::BlobDescriptor;

/// The largest manifest, index or configuration that is read, in bytes (registries allow as much).
pub const MAX_JSON: u64 = 4 << 20;
/// The most layers of one image; overlayfs stacks 500 at most, and the writable one is among them.
pub const MAX_LAYERS: usize = 499;
/// The most entries of one index.
pub const MAX_ENTRIES: usize = 4096;

/// The most elements of one document: what a parser makes of each is larger than its text, so the size alone is no limit
/// for memory.
pub const MAX_ELEMENTS: usize = 100_000;

/// image-spec manifest.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// image-spec index.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// Docker's manifest, schema 2.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Docker's manifest list, schema 2.
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// image-spec configuration.
pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// Docker's image configuration.
pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
/// image-spec layer, not compressed.
pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
/// image-spec layer, gzip.
pub const OCI_LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// image-spec layer, zstd.
pub const OCI_LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
/// Docker's layer, gzip.
pub const DOCKER_LAYER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";

/// What may stand in an `Accept` header for a manifest.
pub const ACCEPTED: [&str; 4] = [OCI_MANIFEST, DOCKER_MANIFEST, OCI_INDEX, DOCKER_LIST];

/// A manifest or an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Document {
    /// One platform's image.
    Manifest(Manifest),
    /// A choice of manifests.
    Index(Index),
}

/// The parsed manifest of one image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// Media type of the document.
    pub media_type: String,
    /// The configuration.
    pub config: BlobDescriptor,
    /// The layers, bottom first.
    pub layers: Vec<LayerDescriptor>,
    /// `artifactType`, for what is no container image.
    pub artifact_type: Option<String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
}

/// What a manifest says of one layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerDescriptor {
    /// The blob.
    pub blob: BlobDescriptor,
    /// The manifest names other hosts for it (`urls`), or its type says that it is not to be distributed. Such
    /// a layer is never fetched: it is used only where it is present already (CVE-2020-15157).
    pub foreign: bool,
}

/// A parsed index (manifest list).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    /// Media type of the document.
    pub media_type: String,
    /// The choices, in their order.
    pub entries: Vec<IndexEntry>,
}

/// One choice of an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexEntry {
    /// The manifest, or another index.
    pub descriptor: BlobDescriptor,
    /// What it is for, if it says so.
    pub platform: Option<Platform>,
    /// Annotations, such as `org.opencontainers.image.ref.name`.
    pub annotations: BTreeMap<String, String>,
}

/// Why a document is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidManifest {
    /// It is larger than [`MAX_JSON`].
    #[error("the document has {size} bytes, more than the limit of {MAX_JSON}")]
    TooLarge {
        /// Its size, in bytes.
        size: u64,
    },
    /// It is no JSON, or a field has the wrong type.
    #[error("the document is malformed: {reason}")]
    Json {
        /// What the parser says, with line and column.
        reason: String,
    },
    /// Docker's schema 1, or an unknown version.
    #[error(
        "schemaVersion {version} is not supported, only 2 is (images of the old schema 1 must be pushed again)"
    )]
    Schema {
        /// The version found; 0 when there is none.
        version: u64,
    },
    /// It has the fields of a manifest and of an index.
    #[error("the document is both a manifest and an index (it has both {field:?} and \"manifests\")")]
    Ambiguous {
        /// The field of a manifest.
        field: &'static str,
    },
    /// It has neither's fields.
    #[error("the document is neither a manifest nor an index (field {field:?} is missing)")]
    Missing {
        /// The field.
        field: &'static str,
    },
    /// The type that it was sent with, the type that it names, and its fields do not agree.
    #[error("the media type {found:?} does not fit: {expected:?} is expected")]
    MediaType {
        /// What it says.
        found: String,
        /// What was announced or what its fields mean.
        expected: String,
    },
    /// It is none of the four known types.
    #[error("the media type {found:?} is not supported")]
    UnknownType {
        /// What it says.
        found: String,
    },
    /// A list is too long.
    #[error("the document has {count} {what}, more than the limit of {limit}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many.
        count: usize,
        /// How many may be.
        limit: usize,
    },
    /// The manifest is of something that is no container image.
    #[error("this is not a container image, but {found:?}")]
    Artifact {
        /// The media type of its configuration, or its artifact type.
        found: String,
    },
}

/// Reads a manifest or index.
///
/// `media_type` is what it was announced with (`Content-Type`, the descriptor's type); `None`, or a general type
/// such as `application/json`, means unknown. Where both it and the document's own `mediaType` are there, they must agree.
///
/// Source: image-spec `manifest.md`, `image-index.md`.
pub fn parse(bytes: &[u8], media_type: Option<&str>) -> Result<Document, InvalidManifest> {
    check_size(bytes)?;
    let raw: RawDocument =
        serde_json::from_slice(bytes).map_err(|error| InvalidManifest::Json { reason: error.to_string() })?;
    if raw.schema_version != 2 || raw.fs_layers.is_some() {
        let version = if raw.fs_layers.is_some() { 1 } else { raw.schema_version };
        return Err(InvalidManifest::Schema { version });
    }
    let announced = media_type.map(|t| t.split(';').next().unwrap_or(t).trim()).filter(|t| !is_general(t));
    let media_type = agreed_type(announced, raw.media_type.as_deref())?;
    let one_kind = stands(Guard::OneKind);
    match (raw.manifests.is_some(), raw.layers.is_some(), raw.config.is_some()) {
        (true, true, _) if one_kind => Err(InvalidManifest::Ambiguous { field: "layers" }),
        (true, _, true) if one_kind => Err(InvalidManifest::Ambiguous { field: "config" }),
        // What a registry or a peer without the rule does: believe what the document was announced as.
        (true, true, true) if media_type.as_deref() == Some(OCI_MANIFEST) => {
            manifest_of(raw, media_type).map(Document::Manifest)
        }
        (true, ..) => index_of(raw, media_type).map(Document::Index),
        (false, ..) => manifest_of(raw, media_type).map(Document::Manifest),
    }
}

/// Refuses a JSON document that is too large to parse in little memory.
pub fn check_size(bytes: &[u8]) -> Result<(), InvalidManifest> {
    if bytes.len() as u64 > MAX_JSON {
        return Err(InvalidManifest::TooLarge { size: bytes.len() as u64 });
    }
    // Elements are parted by commas; those in texts count too, which does no harm.
    let count = bytes.iter().filter(|byte| **byte == b',').count();
    check_count("elements", count, MAX_ELEMENTS)
}

/// Reads a manifest; an index is refused.
pub fn parse_manifest(bytes: &[u8], media_type: Option<&str>) -> Result<Manifest, InvalidManifest> {
    match parse(bytes, media_type)? {
        Document::Manifest(manifest) => Ok(manifest),
        Document::Index(index) => {
            Err(InvalidManifest::MediaType { found: index.media_type, expected: OCI_MANIFEST.to_owned() })
        }
    }
}

impl Manifest {
    /// Refuses what is no container image: Helm charts, signatures and other artifacts.
    pub fn require_image(&self) -> Result<(), InvalidManifest> {
        if matches!(self.config.media_type.as_str(), OCI_CONFIG | DOCKER_CONFIG) {
            return Ok(());
        }
        let found = self.artifact_type.clone().unwrap_or_else(|| self.config.media_type.clone());
        Err(InvalidManifest::Artifact { found })
    }
}

/// Chooses the entry of `index` for the first of `candidates` that it has (see [`Platform::candidates`]).
///
/// Attestations (`unknown/unknown`) are never chosen. An entry that names no platform is taken when nothing
/// matches and it is the only one without.
pub fn select_platform<'a>(index: &'a Index, candidates: &[Platform]) -> Option<&'a IndexEntry> {
    let matching = candidates.iter().find_map(|wanted| {
        index.entries.iter().find(|entry| {
            entry.platform.as_ref().is_some_and(|found| {
                let found = found.normalize();
                (found.os, found.architecture, found.variant)
                    == (wanted.os.clone(), wanted.architecture.clone(), wanted.variant.clone())
            })
        })
    });
    let mut silent = index.entries.iter().filter(|entry| entry.platform.is_none());
    matching.or_else(|| match (silent.next(), silent.next()) {
        (Some(only), None) => Some(only),
        _ => None,
    })
}

fn is_general(media_type: &str) -> bool {
    matches!(media_type, "" | "application/json" | "application/octet-stream" | "text/plain")
}

fn agreed_type(announced: Option<&str>, named: Option<&str>) -> Result<Option<String>, InvalidManifest> {
    let named = named.filter(|t| !t.is_empty());
    if let (Some(announced), Some(named)) = (announced, named)
        && announced != named
    {
        return Err(InvalidManifest::MediaType { found: named.to_owned(), expected: announced.to_owned() });
    }
    Ok(announced.or(named).map(str::to_owned))
}

fn check_type(
    media_type: Option<String>,
    known: [&str; 2],
    others: [&str; 2],
) -> Result<String, InvalidManifest> {
    match media_type {
        None => Ok(known[0].to_owned()),
        Some(found) if known.contains(&found.as_str()) => Ok(found),
        Some(found) if others.contains(&found.as_str()) => {
            Err(InvalidManifest::MediaType { found, expected: known[0].to_owned() })
        }
        Some(found) => Err(InvalidManifest::UnknownType { found }),
    }
}

fn manifest_of(raw: RawDocument, media_type: Option<String>) -> Result<Manifest, InvalidManifest> {
    let media_type = check_type(media_type, [OCI_MANIFEST, DOCKER_MANIFEST], [OCI_INDEX, DOCKER_LIST])?;
    let config = raw.config.ok_or(InvalidManifest::Missing { field: "config" })?;
    let layers = raw.layers.ok_or(InvalidManifest::Missing { field: "layers" })?;
    check_count("layers", layers.len(), MAX_LAYERS)?;
    Ok(Manifest {
        media_type,
        config: config.blob(),
        layers: layers.into_iter().map(RawDescriptor::layer).collect(),
        artifact_type: raw.artifact_type.filter(|t| !t.is_empty()),
        annotations: raw.annotations.unwrap_or_default(),
    })
}

fn index_of(raw: RawDocument, media_type: Option<String>) -> Result<Index, InvalidManifest> {
    let media_type = check_type(media_type, [OCI_INDEX, DOCKER_LIST], [OCI_MANIFEST, DOCKER_MANIFEST])?;
    let manifests = raw.manifests.unwrap_or_default();
    check_count("manifests", manifests.len(), MAX_ENTRIES)?;
    let entries = manifests.into_iter().map(|mut raw| IndexEntry {
        platform: raw.platform.take().filter(|p| !(p.os.is_empty() && p.architecture.is_empty())),
        annotations: raw.annotations.take().unwrap_or_default(),
        descriptor: raw.blob(),
    });
    Ok(Index { media_type, entries: entries.collect() })
}

fn check_count(what: &'static str, count: usize, limit: usize) -> Result<(), InvalidManifest> {
    if count > limit { Err(InvalidManifest::TooMany { what, count, limit }) } else { Ok(()) }
}

/// Any of the documents, as it stands; serde refuses a field that comes twice.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawDocument {
    #[serde(default)]
    schema_version: u64,
    media_type: Option<String>,
    artifact_type: Option<String>,
    config: Option<RawDescriptor>,
    layers: Option<Vec<RawDescriptor>>,
    manifests: Option<Vec<RawDescriptor>>,
    annotations: Option<BTreeMap<String, String>>,
    /// Schema 1's.
    fs_layers: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawDescriptor {
    #[serde(default)]
    media_type: String,
    digest: Digest,
    size: u64,
    urls: Option<Vec<String>>,
    annotations: Option<BTreeMap<String, String>>,
    platform: Option<Platform>,
}

impl RawDescriptor {
    fn blob(self) -> BlobDescriptor {
        BlobDescriptor { media_type: self.media_type, digest: self.digest, size: self.size }
    }

    fn layer(self) -> LayerDescriptor {
        let urls = self.urls.as_ref().is_some_and(|urls| !urls.is_empty());
        let restricted =
            self.media_type.contains(".nondistributable.") || self.media_type.contains(".foreign.");
        LayerDescriptor { foreign: urls || restricted, blob: self.blob() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guard::without;
    use serde_json::json;

    fn descriptor(media_type: &str) -> serde_json::Value {
        json!({"mediaType": media_type, "digest": Digest::of(b"x").as_str(), "size": 1})
    }

    fn manifest() -> serde_json::Value {
        json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": descriptor(OCI_CONFIG),
            "layers": [descriptor(OCI_LAYER_GZIP)]})
    }

    fn check(value: &serde_json::Value, media_type: Option<&str>) -> Result<Document, String> {
        parse(value.to_string().as_bytes(), media_type).map_err(|e| e.to_string())
    }

    #[test]
    fn manifests_of_both_kinds_are_read() {
        let Ok(Document::Manifest(parsed)) = check(&manifest(), Some(OCI_MANIFEST)) else { panic!() };
        assert_eq!((parsed.layers.len(), parsed.layers[0].foreign), (1, false));
        parsed.require_image().unwrap();
        let mut docker = manifest();
        docker["mediaType"] = json!(DOCKER_MANIFEST);
        docker["config"]["mediaType"] = json!(DOCKER_CONFIG);
        assert!(
            check(&docker, Some("application/vnd.docker.distribution.manifest.v2+json; charset=utf-8"))
                .is_ok()
        );
        assert!(check(&docker, Some("application/json")).is_ok());
    }

    #[test]
    fn ambiguous_documents_are_refused() {
        let mut both = manifest();
        both["manifests"] = json!([]);
        assert!(check(&both, None).unwrap_err().contains("both a manifest and an index"));
        let index = json!({"schemaVersion": 2, "manifests": [], "config": descriptor(OCI_CONFIG)});
        assert!(check(&index, None).unwrap_err().contains("both a manifest and an index"));
        let index = json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "manifests": []});
        assert!(check(&index, None).unwrap_err().contains("does not fit"));
        assert!(check(&manifest(), Some(OCI_INDEX)).unwrap_err().contains("does not fit"));
        assert!(check(&manifest(), Some(DOCKER_MANIFEST)).unwrap_err().contains("does not fit"));
        let twice =
            format!(r#"{{"schemaVersion":2,"layers":[],"layers":[],"config":{}}}"#, descriptor(OCI_CONFIG));
        assert!(parse(twice.as_bytes(), None).unwrap_err().to_string().contains("duplicate"));
    }

    /// CVE-2021-41190: the same bytes, and so the same digest, are one image to some and another to others.
    #[test]
    fn no_document_has_two_meanings() {
        let mut both =
            json!({"schemaVersion": 2, "config": descriptor(OCI_CONFIG), "layers": [], "manifests": []});
        let meanings = |both: &serde_json::Value| {
            let as_manifest = matches!(check(both, Some(OCI_MANIFEST)), Ok(Document::Manifest(_)));
            (as_manifest, matches!(check(both, Some(OCI_INDEX)), Ok(Document::Index(_))))
        };
        assert_eq!(meanings(&both), (false, false));
        assert_eq!(without(Guard::OneKind, || meanings(&both)), (true, true), "the test proves nothing");
        // With a type of its own it is one kind only, and still refused.
        both["mediaType"] = json!(OCI_MANIFEST);
        assert_eq!(meanings(&both), (false, false));
    }

    #[test]
    fn bad_documents_are_refused_with_a_reason() {
        let schema1 = json!({"schemaVersion": 1, "fsLayers": [], "history": []});
        assert!(check(&schema1, None).unwrap_err().contains("schema 1"));
        assert!(check(&json!({"schemaVersion": 2}), None).unwrap_err().contains("\"config\""));
        assert!(check(&json!([]), None).unwrap_err().contains("malformed"));
        for digest in ["sha256:..", "../../x", "md5:0", ""] {
            let mut bad = manifest();
            bad["layers"][0]["digest"] = json!(digest);
            assert!(check(&bad, None).unwrap_err().contains("invalid digest"), "{digest}");
        }
        let mut negative = manifest();
        negative["config"]["size"] = json!(-1);
        assert!(check(&negative, None).is_err());
        let mut many = manifest();
        many["layers"] = json!(vec![descriptor(OCI_LAYER); 500]);
        assert!(check(&many, None).unwrap_err().contains("limit of 499"));
        assert!(parse(&vec![b' '; (MAX_JSON + 1) as usize], None).unwrap_err().to_string().contains("limit"));
        let many = format!(r#"{{"schemaVersion":2,"history":[{}{{}}]}}"#, "{},".repeat(MAX_ELEMENTS));
        assert!(parse(many.as_bytes(), None).unwrap_err().to_string().contains("limit of 100000"));
        let mut chart = manifest();
        chart["config"]["mediaType"] = json!("application/vnd.cncf.helm.config.v1+json");
        let Ok(Document::Manifest(chart)) = check(&chart, None) else { panic!() };
        assert!(chart.require_image().is_err());
    }

    #[test]
    fn foreign_layers_are_marked() {
        let mut foreign = manifest();
        foreign["layers"][0]["urls"] = json!(["https://elsewhere.test/x"]);
        let Ok(Document::Manifest(parsed)) = check(&foreign, None) else { panic!() };
        assert!(parsed.layers[0].foreign);
    }

    #[test]
    fn platforms_are_chosen_best_first() {
        let entry = |os: &str, arch: &str, variant: &str| {
            let mut value = descriptor(OCI_MANIFEST);
            value["digest"] = json!(Digest::of(format!("{arch}{variant}").as_bytes()).as_str());
            value["platform"] = json!({"os": os, "architecture": arch, "variant": variant});
            value
        };
        let index = json!({"schemaVersion": 2, "manifests": [entry("unknown", "unknown", ""),
            entry("linux", "arm", "v5"), entry("linux", "arm", "v7"), entry("linux", "arm64", "v8"), entry("linux", "386", "")]});
        let Ok(Document::Index(index)) = check(&index, None) else { panic!() };
        let choose = |text: &str, other| {
            let wanted: Platform = text.parse().unwrap();
            select_platform(&index, &wanted.candidates(other))
                .map(|e| e.platform.as_ref().unwrap().to_string())
        };
        assert_eq!(choose("linux/arm64", false).as_deref(), Some("linux/arm64/v8"));
        assert_eq!(choose("linux/arm/v6", false).as_deref(), Some("linux/arm/v5"));
        assert_eq!(choose("linux/amd64", true).as_deref(), Some("linux/386"));
        assert_eq!(choose("linux/amd64", false), None);
    }
}
