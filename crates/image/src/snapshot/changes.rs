//! What a snapshot changes: its writable folder against the layers.

use std::ffi::OsStr;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};

use super::Snapshot;
use crate::error::{At as _, Result};
use crate::files;
use crate::layers::stack::{is_opaque, is_whiteout, join};
use crate::layers::{Found, Stack};
use crate::unpack::Form;

/// How deep folders are looked into; a descriptor is open for each on the way.
const DEPTH_MAX: usize = 400;

/// What happened to a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ChangeKind {
    /// Contents, attributes, or something in the folder.
    Modified,
    /// New.
    Added,
    /// Gone.
    Deleted,
}

/// One change of a snapshot against its layers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change {
    /// Absolute path inside the container.
    pub path: PathBuf,
    /// What happened.
    pub kind: ChangeKind,
}

impl Snapshot {
    /// Lists what differs from the layers, sorted by path, as `docker diff` does.
    pub fn changes(&self) -> Result<Vec<Change>> {
        let upper = self.upper();
        let root = files::open_dir(&upper).at("open", &upper)?;
        let mut walk = Walk { stack: self.stack()?, form: self.meta.form, changes: Vec::new() };
        walk.folder(root.into(), b"", true, 0).at("compare", &upper)?;
        walk.changes.sort();
        Ok(walk.changes)
    }
}

struct Walk {
    stack: Stack,
    form: Form,
    changes: Vec<Change>,
}

impl Walk {
    fn add(&mut self, path: &[u8], kind: ChangeKind) {
        let path = Path::new("/").join(OsStr::from_bytes(path));
        self.changes.push(Change { path, kind });
    }

    /// Compares a folder; `shown` says that lower layers show through it.
    fn folder(&mut self, folder: OwnedFd, path: &[u8], shown: bool, depth: usize) -> rustix::io::Result<()> {
        if depth > DEPTH_MAX {
            return Err(rustix::io::Errno::NAMETOOLONG);
        }
        let opaque = is_opaque(&folder, self.form);
        let mut present = Vec::new();
        let mut entries = Dir::new(folder)?;
        while let Some(entry) = entries.read() {
            let entry = entry?;
            let folder = entries.fd()?;
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") {
                continue;
            }
            let below = join(path, name);
            let stat = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
            self.entry(folder, name, &below, &stat, shown, depth)?;
            present.push(name.to_vec());
        }
        if opaque && shown { self.hidden(path, &present) } else { Ok(()) }
    }

    fn entry(
        &mut self,
        folder: BorrowedFd<'_>,
        name: &[u8],
        path: &[u8],
        stat: &Stat,
        shown: bool,
        depth: usize,
    ) -> rustix::io::Result<()> {
        let lower = if shown { self.stack.lookup(path)? } else { None };
        if is_whiteout(stat) {
            if lower.is_some() {
                self.add(path, ChangeKind::Deleted);
            }
            return Ok(());
        }
        let is_folder = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        match &lower {
            None => self.add(path, ChangeKind::Added),
            Some(found) if is_folder && is_same_folder(found, stat) => {}
            Some(_) => self.add(path, ChangeKind::Modified),
        }
        if !is_folder {
            return Ok(());
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = rustix::fs::openat(folder, name, flags, Mode::empty())?;
        let shown = lower.is_some_and(|found| found.kind() == FileType::Directory);
        self.folder(opened, path, shown, depth + 1)
    }

    /// Lists what an opaque folder hides: all that lower layers have in it and it has not itself.
    fn hidden(&mut self, path: &[u8], present: &[Vec<u8>]) -> rustix::io::Result<()> {
        for name in self.stack.list(path)? {
            if !present.contains(&name) {
                self.add(&join(path, &name), ChangeKind::Deleted);
            }
        }
        Ok(())
    }
}

/// A folder is copied up as soon as something in it changes; it counts as changed when its own attributes differ.
fn is_same_folder(lower: &Found, stat: &Stat) -> bool {
    let attributes = |s: &Stat| (s.st_mode, s.st_uid, s.st_gid, s.st_mtime, s.st_mtime_nsec);
    attributes(&lower.stat) == attributes(stat)
}
