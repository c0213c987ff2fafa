//! Trees and archives of somebody hostile: nothing outside the tree is read or written. Each guard is also switched off, to show
//! that its test fails without it.

use std::os::fd::AsFd;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{CWD, RenameFlags};
use sys::beneath::Root;

use super::guard::{Guard, switch_off};
use super::{CopyOptions, ExtractOptions, copy, extract, locate};
use crate::tar::Kind;
use crate::testing::TarBuilder;

const CANARY: &str = "what lies outside";

/// A tree, a folder outside it with a canary, and a folder to copy to.
struct Place {
    base: PathBuf,
}

impl Place {
    fn new() -> Self {
        let base = crate::testing::temporary_folder();
        for folder in ["tree/dir", "outside", "target"] {
            std::fs::create_dir_all(base.join(folder)).unwrap();
        }
        std::fs::write(base.join("outside/file"), CANARY).unwrap();
        std::fs::write(base.join("tree/dir/file"), "inside").unwrap();
        Self { base }
    }

    fn path(&self, inside: &str) -> PathBuf {
        self.base.join(inside)
    }

    fn root(&self) -> Root {
        Root::open(&self.path("tree")).unwrap()
    }

    fn is_whole(&self) -> bool {
        std::fs::read_to_string(self.path("outside/file")).is_ok_and(|text| text == CANARY)
            && std::fs::read_dir(self.path("outside")).unwrap().count() == 1
    }

    /// Copies `path` of the tree out; says whether the canary came along.
    fn copy_out(&self, path: &str) -> bool {
        let target = self.path("target");
        let _ = crate::files::remove_tree(&target.join("copy"));
        let into = Root::open(&target).unwrap();
        let root = self.root();
        let Ok(found) = locate(root.as_fd(), path.as_bytes(), false) else { return false };
        let _ = copy(found.folder.as_fd(), &found.name, into.as_fd(), b"copy", &CopyOptions::default());
        contains(&target.join("copy"))
    }

    /// Copies a file to `path` of the tree.
    fn copy_in(&self, path: &str) {
        std::fs::write(self.path("target/new"), "new").unwrap();
        let from = Root::open(&self.path("target")).unwrap();
        let root = self.root();
        let Ok(found) = super::destination(root.as_fd(), path.as_bytes()) else { return };
        let _ = copy(from.as_fd(), b"new", found.0.as_fd(), &found.1, &CopyOptions::default());
    }

    fn extract(&self, at: &str, archive: &[u8]) {
        let root = self.root();
        let Ok(found) = locate(root.as_fd(), at.as_bytes(), true) else { return };
        let options = ExtractOptions::default();
        let _ = extract(archive, root.as_fd(), found.folder.as_fd(), at.as_bytes(), &options);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        switch_off(&[]);
        crate::files::remove_tree(&self.base).unwrap();
    }
}

/// Whether the canary is in a copied file or tree.
fn contains(path: &Path) -> bool {
    match std::fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => {
            std::fs::read_dir(path).unwrap().any(|entry| contains(&entry.unwrap().path()))
        }
        Ok(meta) if meta.is_file() => std::fs::read_to_string(path).is_ok_and(|text| text == CANARY),
        _ => false,
    }
}

/// Calls `work` while another thread exchanges the folder `tree/dir` and the link `tree/link`, which leads outside.
fn while_swapped(place: &Place, work: impl Fn()) {
    symlink(place.path("outside"), place.path("tree/link")).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (dir, link) = (place.path("tree/dir"), place.path("tree/link"));
            while !done.load(Ordering::Relaxed) {
                rustix::fs::renameat_with(CWD, &dir, CWD, &link, RenameFlags::EXCHANGE).unwrap();
            }
        });
        (0..400).for_each(|_| work());
        done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn nothing_outside_is_read_while_folders_and_links_are_exchanged() {
    let place = Place::new();
    while_swapped(&place, || {
        for path in ["dir/file", "dir", "/", "/link/file"] {
            assert!(!place.copy_out(path), "{path}");
        }
    });
}

#[test]
fn nothing_outside_is_written_while_folders_and_links_are_exchanged() {
    let place = Place::new();
    let archive = TarBuilder::new().file("dir/file", "x").file("dir/sub/new", "x").finish();
    while_swapped(&place, || {
        place.copy_in("dir/file");
        place.copy_in("link/new");
        place.extract("/", &archive);
        place.extract("dir", &archive);
        assert!(place.is_whole());
    });
}

#[test]
fn links_lead_to_what_is_inside() {
    let place = Place::new();
    symlink("/dir", place.path("tree/absolute")).unwrap();
    symlink("../../../dir/file", place.path("tree/dots")).unwrap();
    let root = place.root();
    for (path, follow) in [("absolute/file", false), ("/absolute/../dir/file", false), ("dots", true)] {
        assert!(locate(root.as_fd(), path.as_bytes(), follow).is_ok(), "{path}");
    }
    place.copy_in("/absolute/new");
    assert!(place.path("tree/dir/new").is_file());
    place.extract("/", &TarBuilder::new().file("absolute/unpacked", "x").finish());
    assert!(place.path("tree/dir/unpacked").is_file());
}

#[test]
fn typed_paths_are_resolved_beneath_the_root() {
    for (guards, escapes) in [(&[][..], false), (&[Guard::InRoot], true)] {
        let place = Place::new();
        symlink(place.path("outside"), place.path("tree/link")).unwrap();
        switch_off(guards);
        assert_eq!(place.copy_out("link/file"), escapes);
        place.copy_in("link/new");
        assert_eq!(place.is_whole(), !escapes);
    }
}

#[test]
fn links_below_are_copied_as_links() {
    for (guards, escapes) in [(&[][..], false), (&[Guard::Links], true)] {
        let place = Place::new();
        symlink(place.path("outside/file"), place.path("tree/dir/link")).unwrap();
        switch_off(guards);
        assert_eq!(place.copy_out("dir"), escapes);
    }
}

#[test]
fn members_stay_in_the_tree() {
    let link = |place: &Place| {
        TarBuilder::new().link(Kind::Symlink, "esc", &place.path("outside").to_string_lossy())
    };
    type Case = (&'static [Guard], fn(&Place) -> Vec<u8>);
    let cases: [Case; 3] = [
        (&[Guard::InRoot], |place| {
            symlink(place.path("outside"), place.path("tree/esc")).unwrap();
            TarBuilder::new().file("esc/new", "x").finish()
        }),
        (&[Guard::DotDot, Guard::InRoot], |_| TarBuilder::new().file("../outside/new", "x").finish()),
        (&[Guard::Replace], |place| {
            symlink(place.path("outside/file"), place.path("tree/file")).unwrap();
            TarBuilder::new().file("file", "overwritten").finish()
        }),
    ];
    for (guards, make) in cases {
        for off in [false, true] {
            let place = Place::new();
            let archive = make(&place);
            switch_off(if off { guards } else { &[] });
            place.extract(".", &archive);
            assert_eq!(place.is_whole(), !off, "{guards:?} off: {off}");
        }
    }
    // Chains of links and hard links that the archive brings itself.
    let place = Place::new();
    let chain = link(&place).link(Kind::Symlink, "a", "esc").file("a/new", "x");
    place.extract("/", &chain.finish());
    place.extract("/", &link(&place).link(Kind::HardLink, "own", "esc/file").finish());
    place.extract("/", &TarBuilder::new().link(Kind::HardLink, "own", "../outside/file").finish());
    assert!(place.is_whole() && !contains(&place.path("tree/own")));
}

/// A device or FIFO that stands where a file was looked for is not opened: that could hang, or do something.
#[test]
fn devices_and_fifos_are_not_opened() {
    let place = Place::new();
    let fifo = place.path("tree/dir/fifo");
    rustix::fs::mknodat(CWD, &fifo, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0).unwrap();
    assert!(!place.copy_out("dir"));
    use std::os::unix::fs::FileTypeExt as _;
    assert!(place.path("target/copy/fifo").symlink_metadata().unwrap().file_type().is_fifo());
    place.copy_in("dir/fifo");
    assert!(fifo.is_file());
}
