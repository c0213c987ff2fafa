//! Archives that try to get out. Beside the layer's folder lies a host folder with a canary; whatever an archive says, the
//! host folder is the same afterwards. The last tests switch guards off and show that the canary then dies.

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use super::guard::{Guard, switch_off};
use super::*;
use crate::files;
use crate::tar::{Kind, Member};
use crate::testing::{TarBuilder, is_machine_root, is_root, temporary_folder};

/// A layer's folder with a host beside it.
struct World {
    dir: PathBuf,
}

impl World {
    fn new() -> Self {
        let dir = temporary_folder();
        std::fs::create_dir(dir.join("root")).unwrap();
        std::fs::create_dir(dir.join("host")).unwrap();
        std::fs::write(dir.join("host/canary"), "alive").unwrap();
        std::fs::set_permissions(dir.join("host"), std::fs::Permissions::from_mode(0o710)).unwrap();
        Self { dir }
    }

    fn unpack(&self, archive: &[u8]) -> Result<Unpacked, UnpackError> {
        let root = files::open_dir(&self.dir.join("root")).unwrap();
        unpack(archive, root.into(), Form::of_process(), &UnpackOptions::default())
            .map(|(unpacked, _)| unpacked)
    }

    /// Everything of the host that could be changed.
    fn host(&self) -> BTreeMap<PathBuf, (u32, i64, i64, u64, Vec<u8>)> {
        let host = self.dir.join("host");
        let mut seen = BTreeMap::new();
        let names = std::fs::read_dir(&host).unwrap().map(|entry| entry.unwrap().path());
        for path in names.chain([host.clone()]) {
            let meta = std::fs::symlink_metadata(&path).unwrap();
            let data = if meta.is_file() { std::fs::read(&path).unwrap() } else { Vec::new() };
            seen.insert(path, (meta.mode(), meta.mtime(), meta.mtime_nsec(), meta.nlink(), data));
        }
        seen
    }

    fn root(&self, path: &str) -> PathBuf {
        self.dir.join("root").join(path)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        switch_off(None);
        let _ = files::remove_tree(&self.dir);
    }
}

/// What an archive must come to.
enum Wanted {
    Refused(&'static str),
    Inside,
}
use Wanted::{Inside, Refused};

fn corpus(host: &Path) -> Vec<(&'static str, TarBuilder, Wanted)> {
    let host = host.to_str().unwrap();
    let canary = &format!("{host}/canary");
    let new = TarBuilder::new;
    let device = |path: &'static str| Member {
        kind: Kind::CharDevice,
        major: 1,
        minor: 3,
        ..Member::file(path.as_bytes(), 0)
    };
    let redirect = [(b"trusted.overlay.redirect".to_vec(), b"/host".to_vec())];
    let pax_path = [b"../host/".to_vec(), b"x/../".repeat(30), b"canary".to_vec()].concat();
    vec![
        ("..", new().file("../host/canary", "dead"), Refused("\"..\"")),
        (".. in the middle", new().file("a/../../host/canary", "dead"), Refused("\"..\"")),
        (".. in a long name", new().member(Member::file(&pax_path, 0), b""), Refused("\"..\"")),
        ("only ..", new().folder("..", 0o777), Refused("\"..\"")),
        ("absolute", new().file(canary, "dead"), Inside),
        ("relative link", new().link(Kind::Symlink, "x", "../host").file("x/canary", "dead"), Inside),
        ("absolute link", new().link(Kind::Symlink, "x", host).file("x/canary", "dead"), Inside),
        (
            "chain of links",
            new()
                .link(Kind::Symlink, "a", "b")
                .link(Kind::Symlink, "b", "c/..")
                .link(Kind::Symlink, "c", host)
                .file("a/canary", "dead"),
            Inside,
        ),
        ("file over link", new().link(Kind::Symlink, "x", canary).file("x", "dead"), Inside),
        (
            "folder over link",
            new().link(Kind::Symlink, "x", host).folder("x", 0o777).file("x/canary", "dead"),
            Inside,
        ),
        (
            "hard link to a link",
            new()
                .link(Kind::Symlink, "s", canary)
                .link(Kind::HardLink, "h", "s")
                .file("h", "dead")
                .file("s", "dead"),
            Inside,
        ),
        (
            "hard link with ..",
            new().link(Kind::HardLink, "h", "../host/canary").file("h", "dead"),
            Refused("\"..\""),
        ),
        ("absolute hard link", new().link(Kind::HardLink, "h", canary).file("h", "dead"), Inside),
        (
            "hard link through a link",
            new().link(Kind::Symlink, "d", "../host").link(Kind::HardLink, "h", "d/canary").file("h", "dead"),
            Inside,
        ),
        (
            "hard link to a folder",
            new().folder("d", 0o755).link(Kind::HardLink, "h", "d"),
            Refused("to a folder"),
        ),
        ("hard link to the root", new().link(Kind::HardLink, "h", "/"), Refused("to a folder")),
        ("hard link to itself", new().file("h", "x").link(Kind::HardLink, "h", "./h"), Inside),
        ("device through a link", new().link(Kind::Symlink, "d", host).member(device("d/null"), b""), Inside),
        ("file over a device", new().member(device("null"), b"").file("null", "data"), Inside),
        (
            "file over a fifo",
            new().member(Member { kind: Kind::Fifo, ..Member::file(b"f", 0) }, b"").file("f", "data"),
            Inside,
        ),
        ("mode through a link", new().link(Kind::Symlink, "x", host).folder("x/", 0o777), Inside),
        ("whiteout of ..", new().file(".wh...", ""), Refused("whiteout of nothing")),
        (
            "whiteout of .. below",
            new().folder("d", 0o755).file("d/.wh...", ""),
            Refused("whiteout of nothing"),
        ),
        ("whiteout of .", new().file(".wh..", ""), Refused("whiteout of nothing")),
        ("whiteout of nothing", new().file("d/.wh.", ""), Refused("whiteout of nothing")),
        ("whiteout through a link", new().link(Kind::Symlink, "d", host).file("d/.wh.canary", ""), Inside),
        ("opaque through a link", new().link(Kind::Symlink, "d", host).file("d/.wh..wh..opq", ""), Inside),
        (
            "implicit folders through a link",
            new().link(Kind::Symlink, "d", "../host/new").file("d/e/f", "x"),
            Inside,
        ),
        (
            "folder becomes a link",
            new()
                .folder("d", 0o755)
                .file("d/x", "1")
                .link(Kind::Symlink, "d", host)
                .file("d/canary", "dead")
                .file("y", "2"),
            Inside,
        ),
        (
            "folder becomes a link while another is worked in",
            new().folder("d/e", 0o755).file("d/e/x", "1").link(Kind::Symlink, "d", host).folder("d/e", 0o777),
            Inside,
        ),
        (
            "loop of links",
            new().link(Kind::Symlink, "a", "b").link(Kind::Symlink, "b", "a").file("a/x", "1"),
            Refused("too many links"),
        ),
        ("link to itself", new().link(Kind::Symlink, "a", "a").file("a/x", "1"), Refused("too many links")),
        ("file in the way", new().file("a", "1").file("a/x", "1"), Refused("no folder")),
        ("root as a file", new().file("./", "1"), Refused("root of a layer")),
        ("long part", new().file(&"n".repeat(256), "1"), Refused("255")),
        ("deep", new().file(&format!("{}x", "d/".repeat(300)), "1"), Refused("limit of 255")),
        ("long path", new().file(&"dir/".repeat(1100), "1"), Refused("limit of 4096")),
        ("link to nothing", new().link(Kind::Symlink, "x", ""), Refused("link to nothing")),
        ("redirect", new().member(Member { xattrs: &redirect, ..Member::folder(b"d") }, b""), Inside),
        (
            "owner",
            new().member(Member { uid: u32::MAX, ..Member::file(b"x", 0) }, b""),
            Refused("limit of 4294967294"),
        ),
    ]
}

#[test]
fn root_nothing_gets_out() {
    if !is_machine_root("root_nothing_gets_out") {
        return;
    }
    let names = corpus(Path::new("/host")).len();
    for index in 0..names {
        let world = World::new();
        let (name, archive, wanted) = corpus(&world.dir.join("host")).swap_remove(index);
        let before = world.host();
        let result = world.unpack(&archive.finish());
        assert_eq!(world.host(), before, "{name}");
        match (wanted, result) {
            (Refused(reason), Err(error)) => {
                let text = base::error::render_chain(&error);
                assert!(text.contains(reason), "{name}: {text}");
            }
            (Inside, Ok(_)) => {}
            (Refused(_), Ok(_)) => panic!("{name}: was not refused"),
            (Inside, Err(error)) => panic!("{name}: {}", base::error::render_chain(&error)),
        }
    }
}

#[test]
fn root_links_of_the_layer_itself_still_work() {
    if !is_root("root_links_of_the_layer_itself_still_work") {
        return;
    }
    let world = World::new();
    let archive = TarBuilder::new()
        .folder("usr/lib", 0o755)
        .link(Kind::Symlink, "lib", "usr/lib")
        .link(Kind::Symlink, "abs", "/usr/lib")
        .file("lib/a", "1")
        .file("abs/b", "2")
        .link(Kind::HardLink, "c", "lib/a")
        .finish();
    world.unpack(&archive).unwrap();
    assert_eq!(std::fs::read(world.root("usr/lib/a")).unwrap(), b"1");
    assert_eq!(std::fs::read(world.root("usr/lib/b")).unwrap(), b"2");
    assert_eq!(std::fs::metadata(world.root("c")).unwrap().nlink(), 2);
}

#[test]
fn root_marks_of_overlayfs_are_not_taken_over() {
    if !is_machine_root("root_marks_of_overlayfs_are_not_taken_over") {
        return;
    }
    let redirect =
        [(b"trusted.overlay.redirect".to_vec(), b"/host".to_vec()), (b"user.kept".to_vec(), b"1".to_vec())];
    let archive =
        TarBuilder::new().member(Member { xattrs: &redirect, ..Member::folder(b"d") }, b"").finish();
    let has = |world: &World, name: &str| {
        let mut value = [0_u8; 64];
        rustix::fs::getxattr(world.root("d"), name, value.as_mut_slice()).is_ok()
    };
    let world = World::new();
    world.unpack(&archive).unwrap();
    assert!(has(&world, "user.kept") && !has(&world, "trusted.overlay.redirect"));
    switch_off(Some(Guard::Marks));
    let world = World::new();
    switch_off(Some(Guard::Marks));
    world.unpack(&archive).unwrap();
    assert!(has(&world, "trusted.overlay.redirect"), "without the guard the mark is set");
}

#[test]
fn root_without_its_guard_the_canary_dies() {
    if !is_root("root_without_its_guard_the_canary_dies") {
        return;
    }
    for (guard, index) in [(Guard::FolderLinks, "relative link"), (Guard::Replace, "file over link")] {
        let world = World::new();
        let all = corpus(&world.dir.join("host"));
        let (_, archive, _) = all.into_iter().find(|(name, ..)| *name == index).unwrap();
        switch_off(Some(guard));
        world.unpack(&archive.finish()).unwrap();
        let canary = std::fs::read(world.dir.join("host/canary")).unwrap();
        assert!(canary.starts_with(b"dead"), "{guard:?}");
    }
    // Without the refusal, `..` still stops at the layer's root: two walls.
    let world = World::new();
    let before = world.host();
    switch_off(Some(Guard::DotDot));
    world.unpack(&TarBuilder::new().file("../host/canary", "dead").finish()).unwrap();
    assert_eq!(world.host(), before);
    assert_eq!(std::fs::read(world.root("host/canary")).unwrap(), b"dead");
}

#[test]
fn root_damaged_archives_neither_get_out_nor_panic() {
    if !is_root("root_damaged_archives_neither_get_out_nor_panic") {
        return;
    }
    let xattrs = [(b"user.x".to_vec(), b"value".to_vec())];
    let long = "name/".repeat(30);
    let archive = TarBuilder::new()
        .member(Member { xattrs: &xattrs, ..Member::folder(b"d") }, b"")
        .file(&long, "data")
        .link(Kind::Symlink, "l", "../host")
        .file("l/canary", "dead")
        .link(Kind::HardLink, "h", "d")
        .finish();
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        usize::try_from(seed % below as u64).unwrap()
    };
    let world = World::new();
    let before = world.host();
    for round in 0..200 {
        let mut bytes = archive.clone();
        for _ in 0..=random(3) {
            let at = random(bytes.len());
            bytes[at] = u8::try_from(random(256)).unwrap();
        }
        repair_checksums(&mut bytes);
        bytes.truncate(bytes.len() - if round % 3 == 0 { random(bytes.len()) } else { 0 });
        let _ = world.unpack(&bytes);
        assert_eq!(world.host(), before);
        files::remove_tree(&world.root("")).unwrap();
        std::fs::create_dir_all(world.root("")).unwrap();
    }
}

/// Makes every block that was a header one again, so that damage gets past the checksum.
fn repair_checksums(bytes: &mut [u8]) {
    for block in bytes.chunks_exact_mut(512) {
        if &block[257..262] == b"ustar" {
            block[148..156].fill(b' ');
            let sum: u32 = block.iter().map(|b| u32::from(*b)).sum();
            block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
    }
}
