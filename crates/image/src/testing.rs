//! What the tests here share: a store that goes away, archives made by hand, a source in memory.

use std::io::Read;
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::store::Store;

/// A store in a folder of its own, removed at the end.
pub(crate) struct TestStore {
    pub(crate) store: Store,
    pub(crate) dir: PathBuf,
}

/// Returns a fresh folder.
pub(crate) fn temporary_folder() -> PathBuf {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let dir = std::env::temp_dir().join(format!("image-test-{}-{number}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    dir
}

impl TestStore {
    pub(crate) fn new() -> Self {
        let dir = temporary_folder();
        Self { store: Store::open(&dir.join("store")).unwrap(), dir }
    }
}

impl Deref for TestStore {
    type Target = Store;

    fn deref(&self) -> &Store {
        &self.store
    }
}

impl Drop for TestStore {
    fn drop(&mut self) {
        let _ = crate::files::remove_tree(&self.dir);
    }
}

/// Says whether the tests run as root; otherwise says so loudly.
pub(crate) fn is_root(test: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("SKIP {test}: needs root");
    }
    root
}

/// Says whether the tests run as root of the machine, who may make devices; otherwise says so loudly.
pub(crate) fn is_machine_root(test: &str) -> bool {
    let root = is_root(test) && crate::unpack::Form::of_process() == crate::unpack::Form::Trusted;
    if !root {
        eprintln!("SKIP {test}: needs root of the machine, not of a user namespace");
    }
    root
}

/// Reads all of a stream.
pub(crate) fn read_all(mut from: impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    from.read_to_end(&mut bytes).unwrap();
    bytes
}

/// An image in memory.
pub(crate) struct MemoryImage {
    pub(crate) manifest: oci::RawManifest,
    pub(crate) blobs: std::collections::BTreeMap<oci::Digest, Vec<u8>>,
    /// How many times a blob was opened.
    pub(crate) opened: AtomicUsize,
    /// A blob's stream breaks off after so many bytes, once for each open.
    pub(crate) break_after: Option<usize>,
}

/// Packs bytes.
pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

impl MemoryImage {
    /// Makes an image of plain layers, each stored through `pack`.
    pub(crate) fn new(layers: &[Vec<u8>], pack: impl Fn(&[u8]) -> Vec<u8>) -> Self {
        use oci::Digest;
        let diff_ids: Vec<String> = layers.iter().map(|layer| Digest::of(layer).to_string()).collect();
        let config = serde_json::json!({"architecture": "amd64", "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": diff_ids}});
        let config = config.to_string().into_bytes();
        let packed: Vec<Vec<u8>> = layers.iter().map(|layer| pack(layer)).collect();
        let descriptor = |media_type: &str, bytes: &[u8]| serde_json::json!({"mediaType": media_type, "digest": Digest::of(bytes).as_str(), "size": bytes.len()});
        let manifest = serde_json::json!({"schemaVersion": 2, "mediaType": oci::manifest::OCI_MANIFEST,
            "config": descriptor(oci::manifest::OCI_CONFIG, &config),
            "layers": packed.iter().map(|l| descriptor(oci::manifest::OCI_LAYER_GZIP, l)).collect::<Vec<_>>()});
        let bytes = manifest.to_string().into_bytes();
        let blobs = packed.into_iter().chain([config]).map(|blob| (Digest::of(&blob), blob)).collect();
        let media_type = oci::manifest::OCI_MANIFEST.to_owned();
        let manifest = oci::RawManifest { media_type, digest: Digest::of(&bytes), bytes };
        Self { manifest, blobs, opened: AtomicUsize::new(0), break_after: None }
    }
}

impl oci::ImageSource for MemoryImage {
    fn manifest(&self) -> &oci::RawManifest {
        &self.manifest
    }

    fn open_blob(
        &self,
        blob: &oci::BlobDescriptor,
        offset: u64,
    ) -> Result<Box<dyn Read + Send>, oci::SourceError> {
        self.opened.fetch_add(1, Ordering::Relaxed);
        let bytes = self.blobs.get(&blob.digest).ok_or("no such blob")?;
        let rest = bytes[usize::try_from(offset).unwrap().min(bytes.len())..].to_vec();
        match self.break_after {
            Some(after) if rest.len() > after => {
                let broken = std::io::Cursor::new(rest[..after].to_vec()).chain(Broken);
                Ok(Box::new(broken))
            }
            _ => Ok(Box::new(std::io::Cursor::new(rest))),
        }
    }

    fn is_temporary(&self, error: &(dyn std::error::Error + 'static)) -> bool {
        error.to_string().contains("reset")
    }
}

struct Broken;

impl Read for Broken {
    fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
        Err(std::io::Error::new(std::io::ErrorKind::ConnectionReset, "connection reset"))
    }
}

/// Archives made by hand.
pub(crate) struct TarBuilder(crate::tar::Writer<Vec<u8>>);

impl TarBuilder {
    pub(crate) fn new() -> Self {
        Self(crate::tar::Writer::new(Vec::new()))
    }

    pub(crate) fn member(mut self, member: crate::tar::Member<'_>, data: &[u8]) -> Self {
        self.0.append(&member, &mut &data[..]).unwrap();
        self
    }

    pub(crate) fn file(self, path: &str, data: &str) -> Self {
        self.member(crate::tar::Member::file(path.as_bytes(), data.len() as u64), data.as_bytes())
    }

    pub(crate) fn folder(self, path: &str, mode: u32) -> Self {
        self.member(crate::tar::Member { mode, ..crate::tar::Member::folder(path.as_bytes()) }, b"")
    }

    pub(crate) fn link(self, kind: crate::tar::Kind, path: &str, target: &str) -> Self {
        let file = crate::tar::Member::file(path.as_bytes(), 0);
        self.member(crate::tar::Member { kind, link: target.as_bytes(), ..file }, b"")
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.0.finish().unwrap()
    }
}
