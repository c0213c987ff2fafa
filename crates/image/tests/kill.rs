//! A fetch that is killed at any point leaves nothing unowned, and the next one goes on.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::BTreeMap;
use std::io::{Cursor, Read};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use image::tar::{Member, Writer};
use image::{FetchOptions, Live, NoProgress, Store};
use oci::{BlobDescriptor, Digest, ImageSource, RawManifest, SourceError};

/// Names the store for the process that is to be killed.
const CHILD: &str = "IMAGE_KILL_TEST_STORE";

/// An image of three layers, read slowly.
struct Slow {
    manifest: RawManifest,
    blobs: BTreeMap<Digest, Vec<u8>>,
    pause: Duration,
    read: AtomicU64,
}

struct SlowReader {
    bytes: Cursor<Vec<u8>>,
    pause: Duration,
}

impl Read for SlowReader {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        std::thread::sleep(self.pause);
        let length = into.len().min(20_000);
        self.bytes.read(&mut into[..length])
    }
}

impl Slow {
    fn new(pause: Duration) -> Self {
        let layers: Vec<Vec<u8>> = (0..3).map(layer).collect();
        let diff_ids: Vec<String> = layers.iter().map(|l| Digest::of(l).to_string()).collect();
        let config = serde_json::json!({"architecture": "amd64", "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": diff_ids}});
        let config = config.to_string().into_bytes();
        let describe = |kind: &str, bytes: &[u8]| {
            serde_json::json!({"mediaType": kind,
            "digest": Digest::of(bytes).as_str(), "size": bytes.len()})
        };
        let manifest = serde_json::json!({"schemaVersion": 2, "mediaType": oci::manifest::OCI_MANIFEST,
            "config": describe(oci::manifest::OCI_CONFIG, &config),
            "layers": layers.iter().map(|l| describe(oci::manifest::OCI_LAYER, l)).collect::<Vec<_>>()});
        let bytes = manifest.to_string().into_bytes();
        let blobs = layers.into_iter().chain([config]).map(|b| (Digest::of(&b), b)).collect();
        let media_type = oci::manifest::OCI_MANIFEST.to_owned();
        let manifest = RawManifest { media_type, digest: Digest::of(&bytes), bytes };
        Self { manifest, blobs, pause, read: AtomicU64::new(0) }
    }
}

fn layer(number: u32) -> Vec<u8> {
    let mut tar = Writer::new(Vec::new());
    for file in 0..100 {
        let path = format!("layer{number}/folder{}/file{file}", file % 7);
        let data = format!("{number} {file} ").repeat(500);
        tar.append(&Member::file(path.as_bytes(), data.len() as u64), &mut data.as_bytes()).unwrap();
    }
    tar.finish().unwrap()
}

impl ImageSource for Slow {
    fn manifest(&self) -> &RawManifest {
        &self.manifest
    }

    fn open_blob(&self, blob: &BlobDescriptor, offset: u64) -> Result<Box<dyn Read + Send>, SourceError> {
        let bytes = self.blobs.get(&blob.digest).ok_or("no such blob")?;
        let rest = bytes[usize::try_from(offset)?..].to_vec();
        self.read.fetch_add(rest.len() as u64, Ordering::Relaxed);
        Ok(Box::new(SlowReader { bytes: Cursor::new(rest), pause: self.pause }))
    }

    fn is_temporary(&self, _: &(dyn std::error::Error + 'static)) -> bool {
        false
    }
}

/// What is below a folder, apart from empty book-keeping folders.
fn files(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut waiting = vec![folder.to_owned()];
    while let Some(folder) = waiting.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.symlink_metadata().unwrap().is_dir() {
                true => waiting.push(path),
                false => found.push(path.display().to_string()),
            }
        }
    }
    found.retain(|path| !path.ends_with("/gc.lock"));
    found
}

/// Runs only as the process that is killed.
#[test]
fn child_fetches_slowly() {
    let Some(store) = std::env::var_os(CHILD) else { return };
    let store = Store::open(Path::new(&store)).unwrap();
    let lease = store.lease().unwrap();
    store.fetch(&lease, &Slow::new(Duration::from_millis(4)), &FetchOptions::default(), &NoProgress).unwrap();
}

#[test]
fn root_a_killed_fetch_leaves_nothing_unowned() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIP root_a_killed_fetch_leaves_nothing_unowned: needs root");
        return;
    }
    let dir = std::env::temp_dir().join(format!("image-kill-{}", std::process::id()));
    for round in 0..12_u64 {
        let root = dir.join(round.to_string());
        std::fs::create_dir_all(&root).unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_fetches_slowly"])
            .env(CHILD, &root)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(15 + round * 15));
        child.kill().unwrap();
        child.wait().unwrap();
        let store = Store::open(&root).unwrap();
        if round % 2 == 0 {
            // The next fetch goes on with what is there.
            let source = Slow::new(Duration::ZERO);
            let image =
                store.fetch(&store.lease().unwrap(), &source, &FetchOptions::default(), &NoProgress).unwrap();
            assert_eq!(image.layers.len(), 3);
            let snapshot = store.prepare_snapshot("s", &image.diff_ids()).unwrap();
            assert_eq!(snapshot.changes(&[]).unwrap(), []);
            for number in 0..3 {
                let diff = root.join("layers").join(image.layers[number].diff_id.hex()).join("diff");
                assert_eq!(files(&diff).len(), 100);
                let folder = std::fs::metadata(diff.join(format!("layer{number}"))).unwrap();
                assert_eq!(folder.mode() & 0o7777, 0o755);
            }
        }
        store.begin_sweep().unwrap().run(&Live::default()).unwrap();
        assert_eq!(files(&root), Vec::<String>::new(), "round {round}");
    }
    std::fs::remove_dir_all(&dir).unwrap();
}
