//! Loading, saving and importing: what is written is read again, foreign archives too.

use std::io::Write as _;

use oci::config::ContainerDefaults;
use oci::{Digest, ImageRef, Platform};
use serde_json::json;

use super::*;
use crate::fetch::NoProgress;
use crate::import::ImportOptions;
use crate::save::{SaveFormat, SaveItem};
use crate::tar::Kind;
use crate::testing::{MemoryImage, TarBuilder, TestStore, gzip, is_root};

fn layer(text: &str) -> Vec<u8> {
    TarBuilder::new().folder("./", 0o755).file("file", text).finish()
}

fn load(store: &TestStore, archive: &[u8]) -> Result<Vec<LoadedImage>> {
    let platforms = Platform::new("linux", "amd64", "").candidates(false);
    let fetch = FetchOptions::default();
    let options = LoadOptions { platforms: &platforms, fetch: &fetch };
    store.load(&store.lease()?, &mut &archive[..], &options, &NoProgress)
}

#[test]
fn root_what_is_saved_is_loaded_again() {
    if !is_root("root_what_is_saved_is_loaded_again") {
        return;
    }
    let store = TestStore::new();
    let lease = store.lease().unwrap();
    let fetch = |layers: &[Vec<u8>]| {
        store.fetch(&lease, &MemoryImage::new(layers, gzip), &FetchOptions::default(), &NoProgress).unwrap()
    };
    let refs = |names: &[&str]| names.iter().map(|n| n.parse::<ImageRef>().unwrap()).collect::<Vec<_>>();
    let one =
        SaveItem { image: fetch(&[layer("1"), layer("2")]), refs: refs(&["app", "reg.test:5000/app:v1"]) };
    let two = SaveItem { image: fetch(&[layer("1"), layer("3")]), refs: refs(&["other:x"]) };
    let items = [one, two];
    for format in [SaveFormat::Docker, SaveFormat::Oci] {
        let mut archive = Vec::new();
        store.save(&items, format, &mut archive).unwrap();
        let mut again = Vec::new();
        store.save(&items, format, &mut again).unwrap();
        assert!(archive == again, "the same images give the same bytes");
        for packed in [archive.clone(), gzip(&archive), zstd::encode_all(&archive[..], 1).unwrap()] {
            let fresh = TestStore::new();
            let loaded = load(&fresh, &packed).unwrap();
            assert_eq!(loaded.len(), 2);
            assert_eq!(loaded[0].image, items[0].image);
            assert_eq!(loaded[1].image, items[1].image);
            let full =
                |refs: &[String]| refs.iter().map(|r| r.parse::<ImageRef>().unwrap()).collect::<Vec<_>>();
            assert_eq!(full(&loaded[0].refs), items[0].refs, "{format:?}");
        }
    }
    let folder = store.dir.join("layout");
    store.save_layout(&items, &folder).unwrap();
    let fresh = TestStore::new();
    let platforms = Platform::new("linux", "amd64", "").candidates(false);
    let fetch = FetchOptions::default();
    let options = LoadOptions { platforms: &platforms, fetch: &fetch };
    let loaded = fresh.load_layout(&fresh.lease().unwrap(), &folder, &options, &NoProgress).unwrap();
    assert_eq!(loaded[1].image, items[1].image);
}

#[test]
fn root_a_layer_that_came_otherwise_compressed_is_saved() {
    if !is_root("root_a_layer_that_came_otherwise_compressed_is_saved") {
        return;
    }
    let store = TestStore::new();
    let lease = store.lease().unwrap();
    let fetch = |pack: fn(&[u8]) -> Vec<u8>, layers: &[Vec<u8>]| {
        store.fetch(&lease, &MemoryImage::new(layers, pack), &FetchOptions::default(), &NoProgress).unwrap()
    };
    fetch(<[u8]>::to_vec, &[layer("1")]);
    let image = fetch(gzip, &[layer("1"), layer("2")]);
    drop(lease);
    let live = crate::Live {
        layers: image.diff_ids().into_iter().collect(),
        blobs: image.blobs().into_iter().collect(),
        ..crate::Live::default()
    };
    store.begin_sweep().unwrap().run(&live).unwrap();
    let mut archive = Vec::new();
    store
        .save(&[SaveItem { image: image.clone(), refs: Vec::new() }], SaveFormat::Docker, &mut archive)
        .unwrap();
    let loaded = load(&TestStore::new(), &archive).unwrap();
    assert_eq!((&loaded[0].image.id, loaded[0].image.diff_ids()), (&image.id, image.diff_ids()));
}

#[test]
fn root_old_docker_archives_are_loaded() {
    if !is_root("root_old_docker_archives_are_loaded") {
        return;
    }
    let (one, two) = (layer("1"), layer("2"));
    let diff_ids = [Digest::of(&one).to_string(), Digest::of(&two).to_string(), Digest::of(&one).to_string()];
    let config = json!({"architecture": "amd64", "os": "linux", "config": {"Cmd": ["x"]},
        "rootfs": {"type": "layers", "diff_ids": diff_ids}})
    .to_string();
    let name = format!("{}.json", Digest::of(config.as_bytes()).hex());
    let table = json!([{"Config": name, "RepoTags": ["old:1"], "Layers": ["a/layer.tar", "b/layer.tar", "c/layer.tar"]}]);
    let archive = TarBuilder::new()
        .member(crate::tar::Member::file(b"a/layer.tar", one.len() as u64), &one)
        .member(crate::tar::Member::file(b"b/layer.tar", two.len() as u64), &two)
        .link(Kind::Symlink, "c/layer.tar", "../a/layer.tar")
        .file(&name, &config)
        .file("manifest.json", &table.to_string())
        .finish();
    let store = TestStore::new();
    let loaded = load(&store, &archive).unwrap();
    assert_eq!(loaded[0].refs, ["old:1"]);
    assert_eq!(loaded[0].image.id, Digest::of(config.as_bytes()));
    assert_eq!(loaded[0].image.layers.len(), 3);
}

#[test]
fn bad_archives_are_refused_with_a_reason() {
    let store = TestStore::new();
    let mut xz = b"\xfd7zXZ\0".to_vec();
    xz.resize(100, 0);
    let digest = Digest::of(b"other");
    let index = json!({"schemaVersion": 2, "manifests": [{"mediaType": oci::manifest::OCI_MANIFEST,
        "digest": digest.as_str(), "size": 2}]})
    .to_string();
    for (archive, wanted) in [
        (TarBuilder::new().file("etc/passwd", "x").finish(), "neither"),
        (TarBuilder::new().file("repositories", "{}").finish(), "1.10"),
        (TarBuilder::new().file("manifest.json", "{").finish(), "malformed"),
        (
            TarBuilder::new().file("manifest.json", r#"[{"Config":"../x","Layers":[]}]"#).finish(),
            "is missing",
        ),
        (TarBuilder::new().file("../x", "y").finish(), "no name for a member"),
        (TarBuilder::new().file("index.json", r#"{"schemaVersion":2,"manifests":[]}"#).finish(), "no image"),
        (
            TarBuilder::new()
                .file("index.json", &index)
                .file(&format!("blobs/sha256/{}", digest.hex()), "{}")
                .finish(),
            "has the digest",
        ),
        (TarBuilder::new().file("index.json", &" ".repeat(5 << 20)).finish(), "limit"),
        (b"no tar at all".repeat(100), "no tar header"),
        (xz, "xz"),
    ] {
        let error = load(&store, &archive).unwrap_err();
        let text = base::error::render_chain(&error);
        assert!(text.contains(wanted), "{wanted}: {text}");
    }
}

#[test]
fn root_a_root_file_system_is_imported() {
    if !is_root("root_a_root_file_system_is_imported") {
        return;
    }
    let store = TestStore::new();
    let mut config = ContainerDefaults::default();
    crate::parse_changes(&mut config, &["CMD [\"sh\"]".to_owned()]).unwrap();
    let options = ImportOptions {
        config,
        message: "Imported from -".to_owned(),
        platform: Platform::host(),
        created: "2026-01-01T00:00:00Z".to_owned(),
    };
    let plain = layer("rootfs");
    for packed in [plain.clone(), gzip(&plain)] {
        let lease = store.lease().unwrap();
        let image = store.import(&lease, &mut &packed[..], &options, &FetchOptions::default()).unwrap();
        assert_eq!(image.layers[0].diff_id, Digest::of(&plain));
        assert_eq!(image.config.config.cmd.as_deref(), Some(&["sh".to_owned()][..]));
        let mut archive = Vec::new();
        store.save(&[SaveItem { image, refs: Vec::new() }], SaveFormat::Docker, &mut archive).unwrap();
        archive.flush().unwrap();
    }
    let error =
        store.import(&store.lease().unwrap(), &mut &b"garbage"[..], &options, &FetchOptions::default());
    assert!(error.is_err());
}
