//! Snapshots, mounted and compared.

use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use super::*;
use crate::fetch::{FetchOptions, NoProgress};
use crate::testing::{MemoryImage, TarBuilder, TestStore, gzip, is_root};

fn store_with(layers: &[Vec<u8>]) -> (TestStore, Vec<Digest>) {
    let store = TestStore::new();
    let image = MemoryImage::new(layers, gzip);
    let lease = store.lease().unwrap();
    let stored = store.fetch(&lease, &image, &FetchOptions::default(), &NoProgress).unwrap();
    (store, stored.diff_ids())
}

fn base() -> Vec<u8> {
    let tar =
        TarBuilder::new().folder("./", 0o755).folder("etc", 0o755).file("etc/a", "1").file("etc/b", "2");
    tar.folder("var", 0o755).folder("var/lib", 0o755).file("var/lib/x", "3").file("var/lib/y", "3").finish()
}

fn write(root: &OwnedFd, path: &str, data: &[u8]) {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC;
    let fd = rustix::fs::openat(root, path, flags, Mode::from_raw_mode(0o644)).unwrap();
    rustix::io::write(&fd, data).unwrap();
}

#[test]
fn root_changes_are_those_of_docker_diff() {
    if !is_root("root_changes_are_those_of_docker_diff") {
        return;
    }
    let (store, diff_ids) = store_with(&[base()]);
    let snapshot = store.prepare_snapshot("c", &diff_ids).unwrap();
    {
        let root = snapshot.mount(&MountOptions::default()).unwrap();
        write(&root, "etc/a", b"changed");
        rustix::fs::unlinkat(&root, "etc/b", AtFlags::empty()).unwrap();
        write(&root, "new", b"n");
        rustix::fs::unlinkat(&root, "var/lib/x", AtFlags::empty()).unwrap();
        rustix::fs::unlinkat(&root, "var/lib/y", AtFlags::empty()).unwrap();
        rustix::fs::unlinkat(&root, "var/lib", AtFlags::REMOVEDIR).unwrap();
        rustix::fs::mkdirat(&root, "var/lib", Mode::from_raw_mode(0o755)).unwrap();
        write(&root, "var/lib/y", b"other");
    }
    let changes: Vec<String> = snapshot
        .changes(&[])
        .unwrap()
        .iter()
        .map(|change| {
            let letter = match change.kind {
                ChangeKind::Modified => 'C',
                ChangeKind::Added => 'A',
                ChangeKind::Deleted => 'D',
            };
            format!("{letter} {}", change.path.display())
        })
        .collect();
    assert_eq!(
        changes,
        ["C /etc", "C /etc/a", "D /etc/b", "A /new", "C /var", "C /var/lib", "D /var/lib/x", "C /var/lib/y"]
    );
    assert!(snapshot.size().unwrap() > 0);
}

#[test]
fn root_a_snapshot_is_there_once_and_then_gone() {
    if !is_root("root_a_snapshot_is_there_once_and_then_gone") {
        return;
    }
    let (store, diff_ids) = store_with(&[base()]);
    store.prepare_snapshot("one", &diff_ids).unwrap();
    assert!(matches!(store.prepare_snapshot("one", &diff_ids), Err(Error::SnapshotExists { .. })));
    let snapshot = store.snapshot("one").unwrap();
    assert_eq!(snapshot.diff_ids(), diff_ids);
    let root = snapshot.mount(&MountOptions::default()).unwrap();
    write(&root, "kept", b"1");
    drop(root);
    let root = snapshot.mount(&MountOptions { readonly: true, ..MountOptions::default() }).unwrap();
    let error = rustix::fs::openat(&root, "x", OFlags::CREATE | OFlags::WRONLY, Mode::empty()).unwrap_err();
    assert_eq!(error, Errno::ROFS);
    drop(root);
    store.remove_snapshot("one").unwrap();
    store.remove_snapshot("one").unwrap();
    assert!(matches!(store.snapshot("one"), Err(Error::SnapshotNotFound { .. })));
    for folder in ["snapshots/.tmp", "snapshots/.trash"] {
        assert_eq!(std::fs::read_dir(store.path(folder)).unwrap().count(), 0);
    }
}

#[test]
fn root_a_damaged_snapshot_is_repaired() {
    if !is_root("root_a_damaged_snapshot_is_repaired") {
        return;
    }
    let (store, diff_ids) = store_with(&[base()]);
    let snapshot = store.prepare_snapshot("one", &diff_ids).unwrap();
    std::fs::write(snapshot.upper().join("mine"), "1").unwrap();
    std::fs::write(snapshot.path.join("meta.json"), "").unwrap();
    assert!(matches!(store.snapshot("one"), Err(Error::Damaged { .. })));
    store.prepare_snapshot("one", &diff_ids).unwrap();
    let root = store.snapshot("one").unwrap().mount(&MountOptions::default()).unwrap();
    assert!(rustix::fs::statat(&root, "mine", AtFlags::empty()).is_ok());
    assert!(matches!(store.prepare_snapshot("one", &diff_ids), Err(Error::SnapshotExists { .. })));
}

#[test]
fn keys_are_names_only() {
    let store = TestStore::new();
    for key in ["", ".", "..", "../x", "a/b", ".tmp", "a\0b", &"x".repeat(129)] {
        assert!(matches!(store.snapshot(key), Err(Error::InvalidKey { .. })), "{key:?}");
        assert!(matches!(store.remove_snapshot(key), Err(Error::InvalidKey { .. })), "{key:?}");
    }
}

#[test]
fn root_volatile_is_lost_by_a_fall_and_not_by_a_restart() {
    if !is_root("root_volatile_is_lost_by_a_fall_and_not_by_a_restart") {
        return;
    }
    let (store, diff_ids) = store_with(&[base()]);
    let snapshot = store.prepare_snapshot("v", &diff_ids).unwrap();
    let volatile = MountOptions { volatile: true, ..MountOptions::default() };
    for _ in 0..2 {
        drop(snapshot.mount(&volatile).unwrap());
    }
    drop(snapshot.mount(&MountOptions::default()).unwrap());
    drop(snapshot.mount(&volatile).unwrap());
    std::fs::write(snapshot.path.join("volatile"), "another boot").unwrap();
    assert!(matches!(snapshot.mount(&volatile), Err(Error::SnapshotLost { .. })));
}

#[test]
fn root_many_layers_and_long_paths_are_mounted() {
    if !is_root("root_many_layers_and_long_paths_are_mounted") {
        return;
    }
    let layers: Vec<_> = (0..150).map(|n| TarBuilder::new().file(&format!("f{n}"), "x").finish()).collect();
    let (store, diff_ids) = store_with(&layers);
    let snapshot = store.prepare_snapshot("many", &diff_ids).unwrap();
    let root = snapshot.mount(&MountOptions::default()).unwrap();
    for n in [0, 77, 149] {
        assert!(rustix::fs::statat(&root, format!("f{n}"), AtFlags::empty()).is_ok(), "{n}");
    }
    let long = store.dir.join("long".repeat(60));
    std::fs::create_dir(&long).unwrap();
    let moved = long.join("store");
    std::fs::rename(store.path(""), &moved).unwrap();
    let moved = Store::open(&moved).unwrap();
    drop(moved.snapshot("many").unwrap().mount(&MountOptions::default()).unwrap());
    let empty = moved.prepare_snapshot("empty", &[]).unwrap();
    let root = empty.mount(&MountOptions::default()).unwrap();
    write(&root, "first", b"1");
}

#[test]
fn a_removal_that_was_killed_is_finished_by_the_next() {
    let store = TestStore::new();
    let left = [store.path("snapshots/.trash").join("box"), store.path("snapshots/.tmp").join("box-1f")];
    let other = store.path("snapshots/.tmp").join("boxes-1f");
    for folder in left.iter().chain([&other]) {
        std::fs::create_dir_all(folder.join("upper/folder")).unwrap();
    }
    store.remove_snapshot("box").unwrap();
    assert!(left.iter().all(|folder| !folder.exists()) && other.exists());
}
