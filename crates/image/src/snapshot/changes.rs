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
use crate::tree::is_hollow;
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
    /// Lists what differs from the layers, sorted by path, as `docker diff` does. Empty files and folders of the paths
    /// `hidden` (relative, clean) do not count.
    pub fn changes(&self, hidden: &[&str]) -> Result<Vec<Change>> {
        let upper = self.upper();
        let root = files::open_dir(&upper).at("open", &upper)?;
        let hidden = hidden.iter().map(|path| path.as_bytes().to_vec()).collect();
        let mut walk =
            Walk { stack: self.stack()?, form: self.meta.form, hidden, passed: 0, changes: Vec::new() };
        walk.folder(root.into(), b"", true, 0).at("compare", &upper)?;
        walk.changes.sort();
        Ok(walk.changes)
    }
}

struct Walk {
    stack: Stack,
    form: Form,
    hidden: Vec<Vec<u8>>,
    /// How many hidden paths were passed over.
    passed: usize,
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
        if lower.is_none() && is_hollow(folder, name, path, &self.hidden) {
            self.passed += 1;
            return Ok(());
        }
        let (before, passed) = (self.changes.len(), self.passed);
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
        let shown = lower.as_ref().is_some_and(|found| found.kind() == FileType::Directory);
        self.folder(opened, path, shown, depth + 1)?;
        let alone = self.changes.len() == before + 1 && self.passed > passed;
        if alone && lower.is_some_and(|found| differs_in_time_only(&found, stat)) {
            // Only that something hidden was made in it.
            self.changes.truncate(before);
        }
        Ok(())
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

fn differs_in_time_only(lower: &Found, stat: &Stat) -> bool {
    let attributes = |s: &Stat| (s.st_mode, s.st_uid, s.st_gid);
    attributes(&lower.stat) == attributes(stat)
}

/// A folder is copied up as soon as something in it changes; it counts as changed when its own attributes differ.
fn is_same_folder(lower: &Found, stat: &Stat) -> bool {
    let attributes = |s: &Stat| (s.st_mode, s.st_uid, s.st_gid, s.st_mtime, s.st_mtime_nsec);
    attributes(&lower.stat) == attributes(stat)
}
