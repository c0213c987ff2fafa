//! What is written is read again, what is copied is the same.

use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;

use sys::beneath::Root;

use super::{CopyOptions, ExtractOptions, PackOptions, Packer, TreeError, copy, extract, plain};
use crate::testing::TarBuilder;

fn tree(base: &Path) {
    std::fs::create_dir_all(base.join("tree/sub/deep")).unwrap();
    std::fs::create_dir(base.join("target")).unwrap();
    std::fs::write(base.join("tree/file"), "text").unwrap();
    std::fs::write(base.join("tree/sub/deep/big"), vec![7; 700_000]).unwrap();
    std::fs::hard_link(base.join("tree/file"), base.join("tree/sub/hard")).unwrap();
    symlink("../file", base.join("tree/sub/link")).unwrap();
    let file = std::fs::File::create(base.join("tree/holes")).unwrap();
    file.set_len(64 << 20).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"end", (64 << 20) - 3).unwrap();
    std::fs::set_permissions(base.join("tree/sub"), std::fs::Permissions::from_mode(0o750)).unwrap();
    let old = rustix::fs::Timespec { tv_sec: 1_000_000_000, tv_nsec: 5 };
    let times = rustix::fs::Timestamps { last_access: old, last_modification: old };
    let dir = std::fs::File::open(base.join("tree/sub")).unwrap();
    rustix::fs::futimens(&dir, &times).unwrap();
}

fn check(made: &Path) {
    assert_eq!(std::fs::read_to_string(made.join("file")).unwrap(), "text");
    assert_eq!(std::fs::metadata(made.join("sub/deep/big")).unwrap().len(), 700_000);
    let (first, second) = (made.join("file").metadata().unwrap(), made.join("sub/hard").metadata().unwrap());
    assert_eq!(first.ino(), second.ino());
    assert_eq!(std::fs::read_link(made.join("sub/link")).unwrap(), Path::new("../file"));
    let sub = made.join("sub").metadata().unwrap();
    assert_eq!((sub.mode() & 0o7777, sub.mtime(), sub.mtime_nsec()), (0o750, 1_000_000_000, 5));
    let holes = std::fs::read(made.join("holes")).unwrap();
    assert_eq!((holes.len(), &holes[holes.len() - 3..]), (64 << 20, &b"end"[..]));
}

#[test]
fn a_copy_is_the_same_and_keeps_its_holes() {
    let base = crate::testing::temporary_folder();
    tree(&base);
    let (from, into) = (Root::open(&base).unwrap(), Root::open(&base.join("target")).unwrap());
    for _ in 0..2 {
        copy(from.as_fd(), b"tree", into.as_fd(), b"copy", &CopyOptions::default()).unwrap();
        check(&base.join("target/copy"));
    }
    assert!(base.join("target/copy/holes").metadata().unwrap().blocks() < 1000);
    crate::files::remove_tree(&base).unwrap();
}

#[test]
fn an_archive_gives_the_same_tree() {
    let base = crate::testing::temporary_folder();
    tree(&base);
    let from = Root::open(&base).unwrap();
    for bare in [false, true] {
        let mut packer = Packer::new(Vec::new(), PackOptions { bare, ..PackOptions::default() });
        let tree = Root::open(&base.join("tree")).unwrap();
        packer.add(tree.as_fd(), b".", b".").unwrap();
        let (archive, size, bytes) = packer.finish().unwrap();
        assert_eq!((size, bytes), ((64 << 20) + 700_004, archive.len() as u64));
        let made = base.join(format!("made-{bare}"));
        std::fs::create_dir(&made).unwrap();
        let into = Root::open(&made).unwrap();
        let packed = zstd::encode_all(&archive[..], 1).unwrap();
        let stream = plain(&packed[..]).unwrap();
        extract(stream, from.as_fd(), into.as_fd(), b"made", &ExtractOptions::default()).unwrap();
        check(&made);
    }
    crate::files::remove_tree(&base).unwrap();
}

#[test]
fn folders_and_files_do_not_replace_each_other() {
    let base = crate::testing::temporary_folder();
    tree(&base);
    let root = Root::open(&base.join("tree")).unwrap();
    let strict = ExtractOptions { strict: true, ..ExtractOptions::default() };
    let try_to = |archive: Vec<u8>, options| {
        extract(&archive[..], root.as_fd(), root.as_fd(), b"/", options).map(|_| ())
    };
    let over_folder = || TarBuilder::new().file("sub", "x").finish();
    assert!(matches!(try_to(over_folder(), &strict), Err(TreeError::OverFolder(_))));
    let over_file = TarBuilder::new().folder("file/", 0o755).finish();
    assert!(matches!(try_to(over_file, &strict), Err(TreeError::OverFile(_))));
    try_to(over_folder(), &ExtractOptions::default()).unwrap();
    assert!(base.join("tree/sub").is_file());
    crate::files::remove_tree(&base).unwrap();
}
