//! Layers put on one another.

use std::os::unix::fs::MetadataExt as _;

use oci::Digest;
use rustix::fs::{AtFlags, Mode, OFlags, Stat};

use crate::error::Error;
use crate::fetch::{FetchOptions, NoProgress};
use crate::snapshot::MountOptions;
use crate::tar::{Kind, Member};
use crate::testing::{MemoryImage, TarBuilder, TestStore, gzip, is_root, read_all};

/// Layers in a store, mounted.
struct Mounted {
    store: TestStore,
    diff_ids: Vec<Digest>,
    root: std::os::fd::OwnedFd,
}

fn mount(layers: &[Vec<u8>]) -> Result<Mounted, Error> {
    let store = TestStore::new();
    let image = MemoryImage::new(layers, gzip);
    let stored = store.fetch(&store.lease()?, &image, &FetchOptions::default(), &NoProgress)?;
    let snapshot = store.prepare_snapshot("test", &stored.diff_ids())?;
    let root = snapshot.mount(&MountOptions { volatile: true, ..MountOptions::default() })?;
    Ok(Mounted { diff_ids: stored.diff_ids(), store, root })
}

impl Mounted {
    fn stat(&self, path: &str) -> Stat {
        rustix::fs::statat(&self.root, path, AtFlags::SYMLINK_NOFOLLOW)
            .unwrap_or_else(|e| panic!("{path}: {e}"))
    }

    fn owner_and_mode(&self, path: &str) -> (u32, u32, u32) {
        let stat = self.stat(path);
        (stat.st_uid, stat.st_gid, stat.st_mode & 0o7777)
    }

    fn read(&self, path: &str) -> Vec<u8> {
        let root = sys::beneath::Root::from_fd(self.root.try_clone().unwrap());
        let fd = root.open_in(path.as_ref(), OFlags::RDONLY, Mode::empty());
        let fd = fd.unwrap_or_else(|error| panic!("{path}: {error}"));
        read_all(std::fs::File::from(fd))
    }

    fn fixes(&self) -> usize {
        let names = std::fs::read_dir(self.store.path("layers")).unwrap();
        names.filter(|n| n.as_ref().unwrap().path().join("diff").exists()).count() - self.diff_ids.len()
    }
}

fn folder(path: &'static str, uid: u32, mode: u32) -> Member<'static> {
    Member { uid, gid: uid, mode, ..Member::folder(path.as_bytes()) }
}

#[test]
fn root_implicit_folders_keep_the_lower_ones_attributes() {
    if !is_root("root_implicit_folders_keep_the_lower_ones_attributes") {
        return;
    }
    let xattrs = [(b"user.x".to_vec(), b"1".to_vec())];
    let base = TarBuilder::new()
        .member(folder("./", 3, 0o711), b"")
        .member(folder("home/", 0, 0o755), b"")
        .member(Member { xattrs: &xattrs, ..folder("home/me", 1000, 0o700) }, b"")
        .member(folder("tmp", 0, 0o1777), b"")
        .file("home/me/old", "1");
    let middle = TarBuilder::new().file("home/me/deep/new", "2").file("tmp/x", "3");
    let top = TarBuilder::new().file("home/me/deep/newer", "4").member(folder("tmp", 9, 0o700), b"");
    let mounted = mount(&[base.finish(), middle.finish(), top.finish()]).unwrap();
    assert_eq!(mounted.owner_and_mode("."), (3, 3, 0o711));
    assert_eq!(mounted.owner_and_mode("home"), (0, 0, 0o755));
    assert_eq!(mounted.owner_and_mode("home/me"), (1000, 1000, 0o700));
    assert_eq!(mounted.owner_and_mode("home/me/deep"), (0, 0, 0o755));
    assert_eq!(mounted.owner_and_mode("tmp"), (9, 9, 0o700));
    assert_eq!((mounted.read("home/me/old"), mounted.read("tmp/x")), (b"1".to_vec(), b"3".to_vec()));
    assert_eq!(mounted.fixes(), 2);
}

#[test]
fn root_usual_layers_need_no_fix() {
    if !is_root("root_usual_layers_need_no_fix") {
        return;
    }
    let base = TarBuilder::new().folder("etc", 0o755).file("etc/x", "1");
    let upper = TarBuilder::new().file("etc/y", "2").file("new/z", "3");
    let mounted = mount(&[base.finish(), upper.finish()]).unwrap();
    assert_eq!((mounted.fixes(), mounted.read("new/z")), (0, b"3".to_vec()));
}

#[test]
fn root_a_hidden_folder_lends_no_attributes() {
    if !is_root("root_a_hidden_folder_lends_no_attributes") {
        return;
    }
    let base = TarBuilder::new().member(folder("a", 5, 0o700), b"").member(folder("b", 5, 0o700), b"");
    let base = base.member(folder("c", 5, 0o700), b"").member(folder("c/d", 5, 0o700), b"");
    let upper = TarBuilder::new()
        .file(".wh.a", "")
        .file("a/x", "1")
        .file("b/.wh..wh..opq", "")
        .file("b/x", "1")
        .folder("c", 0o755)
        .file("c/.wh..wh..opq", "")
        .file("c/d/x", "1");
    let mounted = mount(&[base.finish(), upper.finish()]).unwrap();
    for path in ["a", "b", "c/d"] {
        assert_eq!(mounted.owner_and_mode(path), (0, 0, 0o755), "{path}");
    }
}

#[test]
fn root_hard_links_reach_lower_layers() {
    if !is_root("root_hard_links_reach_lower_layers") {
        return;
    }
    let base = TarBuilder::new()
        .folder("usr/bin", 0o755)
        .member(Member { mode: 0o4755, uid: 7, ..Member::file(b"usr/bin/tool", 4) }, b"tool")
        .link(Kind::Symlink, "bin", "usr/bin")
        .member(folder("opt", 8, 0o750), b"");
    let upper = TarBuilder::new()
        .link(Kind::HardLink, "opt/alias", "usr/bin/tool")
        .link(Kind::HardLink, "second", "opt/alias")
        .link(Kind::HardLink, "third", "bin/tool")
        .link(Kind::HardLink, "replaced", "usr/bin/tool")
        .file("replaced", "own");
    let mounted = mount(&[base.finish(), upper.finish()]).unwrap();
    for path in ["opt/alias", "second", "third"] {
        assert_eq!(mounted.read(path), b"tool", "{path}");
        assert_eq!(mounted.owner_and_mode(path), (7, 0, 0o4755), "{path}");
    }
    assert_eq!((mounted.read("replaced"), mounted.owner_and_mode("opt")), (b"own".to_vec(), (8, 8, 0o750)));
    let lower = mounted.store.layer_path(&mounted.diff_ids[0]).join("diff/usr/bin/tool");
    assert_eq!(std::fs::metadata(lower).unwrap().nlink(), 4, "no data is copied");
}

#[test]
fn root_hard_links_to_nothing_are_refused() {
    if !is_root("root_hard_links_to_nothing_are_refused") {
        return;
    }
    let base = || TarBuilder::new().folder("d", 0o755).link(Kind::Symlink, "out", "/etc");
    for target in ["missing", "d", "out/passwd", "d/x"] {
        let upper = TarBuilder::new().link(Kind::HardLink, "link", target);
        let error = mount(&[base().finish(), upper.finish()]).err().unwrap();
        let text = base::error::render_chain(&error);
        assert!(text.contains("\"link\" is refused"), "{target}: {text}");
    }
    let alone = TarBuilder::new().link(Kind::HardLink, "link", "missing");
    assert!(mount(&[alone.finish()]).is_err());
}

#[test]
fn root_one_layer_serves_two_images() {
    if !is_root("root_one_layer_serves_two_images") {
        return;
    }
    let shared = TarBuilder::new().file("data/new", "x").finish();
    let store = TestStore::new();
    let lease = store.lease().unwrap();
    for (uid, key) in [(11, "one"), (22, "two")] {
        let base = TarBuilder::new().member(folder("data", uid, 0o700), b"").finish();
        let image = MemoryImage::new(&[base, shared.clone()], gzip);
        let stored = store.fetch(&lease, &image, &FetchOptions::default(), &NoProgress).unwrap();
        let snapshot = store.prepare_snapshot(key, &stored.diff_ids()).unwrap();
        let root = snapshot.mount(&MountOptions { readonly: true, ..MountOptions::default() }).unwrap();
        let stat = rustix::fs::statat(&root, "data", AtFlags::empty()).unwrap();
        assert_eq!(stat.st_uid, uid);
    }
    assert_eq!(store.usage().unwrap().layers.len(), 3);
}

#[test]
fn root_files_behind_a_lower_link_go_where_it_leads() {
    if !is_root("root_files_behind_a_lower_link_go_where_it_leads") {
        return;
    }
    let base = TarBuilder::new()
        .folder("usr", 0o755)
        .member(folder("usr/lib", 6, 0o711), b"")
        .folder("usr/lib/old", 0o750)
        .file("usr/lib/a", "1")
        .file("usr/lib/gone", "1")
        .link(Kind::Symlink, "lib", "usr/lib")
        .link(Kind::Symlink, "lib64", "/lib")
        .link(Kind::Symlink, "dangling", "nowhere")
        .link(Kind::Symlink, "replaced", "usr/lib");
    let upper = TarBuilder::new()
        .file("lib/b", "2")
        .file("lib/old/c", "3")
        .folder("lib/new", 0o700)
        .file("lib/new/d", "4")
        .file("lib/.wh.gone", "")
        .file("lib64/e", "5")
        .file("dangling/f", "6")
        .file(".wh.replaced", "")
        .file("replaced/g", "7");
    let mounted = mount(&[base.finish(), upper.finish()]).unwrap();
    for (path, data) in [
        ("usr/lib/a", "1"),
        ("lib/b", "2"),
        ("usr/lib/b", "2"),
        ("usr/lib/old/c", "3"),
        ("lib/new/d", "4"),
        ("usr/lib/e", "5"),
        ("lib64/e", "5"),
        ("dangling/f", "6"),
        ("replaced/g", "7"),
    ] {
        assert_eq!(mounted.read(path), data.as_bytes(), "{path}");
    }
    let kind = |path: &str| rustix::fs::FileType::from_raw_mode(mounted.stat(path).st_mode);
    assert_eq!((kind("lib"), kind("lib64")), (rustix::fs::FileType::Symlink, rustix::fs::FileType::Symlink));
    assert_eq!(
        (kind("dangling"), kind("replaced")),
        (rustix::fs::FileType::Directory, rustix::fs::FileType::Directory)
    );
    assert_eq!(mounted.owner_and_mode("usr/lib"), (6, 6, 0o711));
    assert_eq!(mounted.owner_and_mode("usr/lib/old"), (0, 0, 0o750));
    assert_eq!(mounted.owner_and_mode("usr/lib/new"), (0, 0, 0o700));
    assert!(rustix::fs::statat(&mounted.root, "lib/gone", AtFlags::empty()).is_err());
    assert!(rustix::fs::statat(&mounted.root, "usr/lib/g", AtFlags::empty()).is_err());
}
