//! Fetching whole images.

use std::sync::atomic::Ordering;
use std::time::Duration;

use oci::Digest;

use super::*;
use crate::snapshot::MountOptions;
use crate::tar::Kind;
use crate::testing::{MemoryImage, TarBuilder, TestStore, gzip, is_root};

fn options() -> FetchOptions<'static> {
    FetchOptions { retry: Retry { attempts: 3, pause: Duration::from_millis(1) }, ..FetchOptions::default() }
}

fn layers() -> Vec<Vec<u8>> {
    let base = TarBuilder::new()
        .folder("./", 0o755)
        .folder("etc/", 0o750)
        .file("etc/name", "base")
        .folder("tmp/", 0o1777)
        .file("gone", "x")
        .folder("full/", 0o755)
        .file("full/a", "a")
        .file("big", &"data ".repeat(300_000));
    let upper = TarBuilder::new()
        .file("etc/name", "upper")
        .file("tmp/new", "t")
        .file(".wh.gone", "")
        .file("full/.wh..wh..opq", "")
        .file("full/b", "b")
        .link(Kind::HardLink, "etc/linked", "big");
    vec![base.finish(), upper.finish()]
}

#[test]
fn root_an_image_is_fetched_and_mounted() {
    if !is_root("root_an_image_is_fetched_and_mounted") {
        return;
    }
    let store = TestStore::new();
    let image = MemoryImage::new(&layers(), gzip);
    let lease = store.lease().unwrap();
    let stored = store.fetch(&lease, &image, &options(), &NoProgress).unwrap();
    assert_eq!(stored.layers.len(), 2);
    assert_eq!(store.open_image(&stored.manifest.digest).unwrap(), stored);
    let snapshot = store.prepare_snapshot("one", &stored.diff_ids()).unwrap();
    let mount = snapshot.mount(&MountOptions { volatile: true, ..MountOptions::default() }).unwrap();
    let read = |path: &str| {
        let fd = rustix::fs::openat(&mount, path, rustix::fs::OFlags::RDONLY, rustix::fs::Mode::empty())?;
        Ok::<_, rustix::io::Errno>(crate::testing::read_all(std::fs::File::from(fd)))
    };
    assert_eq!(read("etc/name").unwrap(), b"upper");
    assert_eq!(read("etc/linked").unwrap().len(), 1_500_000);
    assert_eq!(read("gone").unwrap_err(), rustix::io::Errno::NOENT);
    assert_eq!(read("full/a").unwrap_err(), rustix::io::Errno::NOENT);
    assert_eq!(read("full/b").unwrap(), b"b");
    let mode =
        |path| rustix::fs::statat(&mount, path, rustix::fs::AtFlags::empty()).unwrap().st_mode & 0o7777;
    assert_eq!((mode("etc"), mode("tmp"), mode(".")), (0o750, 0o1777, 0o755));
}

#[test]
fn root_a_present_layer_is_not_opened() {
    if !is_root("root_a_present_layer_is_not_opened") {
        return;
    }
    let store = TestStore::new();
    let image = MemoryImage::new(&layers(), gzip);
    let lease = store.lease().unwrap();
    store.fetch(&lease, &image, &options(), &NoProgress).unwrap();
    let opened = image.opened.load(Ordering::Relaxed);
    assert_eq!(opened, 3);
    store.fetch(&lease, &image, &options(), &NoProgress).unwrap();
    assert_eq!(image.opened.load(Ordering::Relaxed), opened);
}

#[test]
fn root_a_broken_stream_goes_on_where_it_broke() {
    if !is_root("root_a_broken_stream_goes_on_where_it_broke") {
        return;
    }
    let store = TestStore::new();
    let mut image = MemoryImage::new(&layers(), <[u8]>::to_vec);
    image.break_after = Some(600_000);
    let lease = store.lease().unwrap();
    store.fetch(&lease, &image, &options(), &NoProgress).unwrap();
    image.break_after = Some(0);
    let store = TestStore::new();
    let lease = store.lease().unwrap();
    let error = store.fetch(&lease, &image, &options(), &NoProgress).unwrap_err();
    assert!(matches!(error, Error::Source { temporary: true, .. }), "{error}");
}

#[test]
fn root_lies_are_refused_and_leave_nothing() {
    if !is_root("root_lies_are_refused_and_leave_nothing") {
        return;
    }
    let check = |spoil: &dyn Fn(&mut Vec<u8>), wanted: &str| {
        let store = TestStore::new();
        let mut image = MemoryImage::new(&layers(), gzip);
        let manifest = parse_manifest(&image.manifest.bytes, None).unwrap();
        let largest = manifest.layers[0].blob.digest.clone();
        spoil(image.blobs.get_mut(&largest).unwrap());
        let lease = store.lease().unwrap();
        let error = store.fetch(&lease, &image, &options(), &NoProgress).unwrap_err();
        let text = base::error::render_chain(&error);
        assert!(text.contains(wanted), "{text}");
        assert!(!store.has_layer(&Digest::of(&layers()[0])));
        assert_eq!(std::fs::read_dir(store.path("layers/.tmp")).unwrap().count(), 0);
    };
    check(&|blob| blob.push(0), "or more, not");
    check(&|blob| blob.truncate(blob.len() - 1), "not");
    check(&|blob| blob[4] ^= 1, "has the digest");
    let store = TestStore::new();
    let mut image = MemoryImage::new(&layers(), gzip);
    image.manifest.digest = Digest::of(b"other");
    let error = store.fetch(&store.lease().unwrap(), &image, &options(), &NoProgress).unwrap_err();
    assert!(matches!(error, Error::DigestMismatch { what: "the manifest", .. }));
}

#[test]
fn root_a_wrong_diff_id_is_refused() {
    if !is_root("root_a_wrong_diff_id_is_refused") {
        return;
    }
    let store = TestStore::new();
    // The blob's digest is right, but it unpacks to something else than the configuration says.
    let other = TarBuilder::new().file("x", "y").finish();
    let image = MemoryImage::new(&layers()[..1], |_| gzip(&other));
    let error = store.fetch(&store.lease().unwrap(), &image, &options(), &NoProgress).unwrap_err();
    assert!(matches!(error, Error::DigestMismatch { what: "an unpacked layer", .. }), "{error}");
    assert!(!store.has_layer(&Digest::of(&layers()[0])));
}

#[test]
fn root_a_bomb_is_refused() {
    if !is_root("root_a_bomb_is_refused") {
        return;
    }
    let store = TestStore::new();
    let bomb = TarBuilder::new().file("zeros", &"\0".repeat(20 << 20)).finish();
    let image = MemoryImage::new(&[bomb], |plain| zstd::encode_all(plain, 1).unwrap());
    let mut options = options();
    options.unpack.ratio_free = 1 << 20;
    let error = store.fetch(&store.lease().unwrap(), &image, &options, &NoProgress).unwrap_err();
    let text = base::error::render_chain(&error);
    assert!(text.contains("more than the limit of"), "{text}");
}

#[test]
fn root_two_fetches_at_once_share_the_work() {
    if !is_root("root_two_fetches_at_once_share_the_work") {
        return;
    }
    let store = TestStore::new();
    let image = MemoryImage::new(&layers(), gzip);
    std::thread::scope(|scope| {
        let fetches: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let lease = store.lease().unwrap();
                    store.fetch(&lease, &image, &options(), &NoProgress).unwrap();
                })
            })
            .collect();
        fetches.into_iter().for_each(|fetch| fetch.join().unwrap());
    });
    // Each layer's blob once; the configuration at most once by each.
    assert!(image.opened.load(Ordering::Relaxed) <= 2 + 4);
}

#[test]
fn root_a_layer_from_before_a_power_cut_is_made_again() {
    if !is_root("root_a_layer_from_before_a_power_cut_is_made_again") {
        return;
    }
    let store = TestStore::new();
    let image = MemoryImage::new(&layers(), gzip);
    let lease = store.lease().unwrap();
    let stored = store.fetch(&lease, &image, &options(), &NoProgress).unwrap();
    let age = |index: usize| {
        let path = store.layer_path(&stored.layers[index].diff_id).join("meta.json");
        let meta = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, meta.replace(crate::layers::boot(), "another boot")).unwrap();
        // What a power cut does: the file has its size, but not its data.
        std::fs::write(path.with_file_name("diff").join("etc/name"), "\0\0\0\0\0").unwrap();
    };
    let snapshot = store.prepare_snapshot("s", &stored.diff_ids()).unwrap();
    age(1);
    let root = snapshot.mount(&MountOptions::default()).unwrap();
    let name =
        rustix::fs::openat(&root, "etc/name", rustix::fs::OFlags::RDONLY, rustix::fs::Mode::empty()).unwrap();
    assert_eq!(crate::testing::read_all(std::fs::File::from(name)), b"upper", "made again from its blob");
    age(0);
    store.remove_blob(&stored.layers[0].blob.digest).unwrap();
    assert!(matches!(store.open_image(&stored.manifest.digest), Err(Error::LayerNotFound { .. })));
    assert!(matches!(snapshot.mount(&MountOptions::default()), Err(Error::LayerNotFound { .. })));
    store.fetch(&lease, &image, &options(), &NoProgress).unwrap();
    assert_eq!(store.sync().unwrap(), 2);
    assert_eq!(store.sync().unwrap(), 0);
    assert!(store.open_image(&stored.manifest.digest).is_ok());
}

#[test]
fn root_damage_in_the_store_is_noticed_and_mended() {
    if !is_root("root_damage_in_the_store_is_noticed_and_mended") {
        return;
    }
    for whole in [true, false] {
        let store = TestStore::new();
        let lease = store.lease().unwrap();
        let image = MemoryImage::new(&layers(), gzip);
        let manifest = parse_manifest(&image.manifest.bytes, None).unwrap();
        for layer in &manifest.layers {
            let zeros = vec![0; usize::try_from(layer.blob.size).unwrap()];
            let mut spoilt = image.blobs[&layer.blob.digest].clone();
            let middle = spoilt.len() / 2;
            spoilt[middle..].copy_from_slice(&zeros[middle..]);
            match whole {
                true => std::fs::write(store.blob_path(&layer.blob.digest), &spoilt).unwrap(),
                false => {
                    let path = store.path("content/ingest").join(layer.blob.digest.hex());
                    std::fs::write(path, &spoilt[..spoilt.len() - 1]).unwrap();
                }
            }
        }
        let stored = store.fetch(&lease, &image, &options(), &NoProgress).unwrap();
        for layer in &stored.layers {
            store.read_blob(&layer.blob.digest, 1 << 30).unwrap();
        }
    }
}

/// Runs tests of this program once more, in a user namespace where 65,536 users exist.
#[test]
fn userns_the_store_works_in_a_user_namespace() {
    use std::io::Write as _;
    use std::process::{Command, Stdio};
    if !crate::testing::is_machine_root("userns_the_store_works_in_a_user_namespace") {
        return;
    }
    let program = std::env::current_exe().unwrap();
    let spawned = Command::new("unshare")
        .args(["-U", "-m", "sh", "-c", "read x && exec \"$@\"", "sh"])
        .arg(program)
        .args(["fetch::tests::root", "layers::tests::root", "snapshot::tests::root", "unpack::"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let Ok(mut child) = spawned else {
        eprintln!("SKIP userns_the_store_works_in_a_user_namespace: needs unshare(1)");
        return;
    };
    let pid = child.id();
    let own = std::fs::read_link("/proc/self/ns/user").ok();
    let entered = (0..500).any(|_| {
        std::thread::sleep(Duration::from_millis(10));
        std::fs::read_link(format!("/proc/{pid}/ns/user")).ok() != own
    });
    assert!(entered, "unshare(1) made no user namespace");
    std::fs::write(format!("/proc/{pid}/uid_map"), "0 0 65536").unwrap();
    std::fs::write(format!("/proc/{pid}/gid_map"), "0 0 65536").unwrap();
    child.stdin.take().unwrap().write_all(b"go\n").unwrap();
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    let passed =
        text.lines().find_map(|l| l.strip_prefix("test result: ok. ")?.split(' ').next()?.parse().ok());
    assert!(passed.is_some_and(|n: u32| n > 20), "{text}");
}
