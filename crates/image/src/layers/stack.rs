//! Layers seen as one tree, the way overlayfs shows them, without mounting anything.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::{Errno, Result};

use crate::unpack::Form;

/// How many links may lie on one way, as in Linux.
const LINKS_MAX: u32 = 40;

/// Folders of layers, one above the other.
#[derive(Debug)]
pub(crate) struct Stack {
    /// Bottom first.
    layers: Vec<OwnedFd>,
    form: Form,
}

/// A file or folder of the tree.
#[derive(Debug)]
pub(crate) struct Found {
    /// The folder it is in, of the topmost layer that has it.
    pub(crate) folder: OwnedFd,
    /// Its attributes.
    pub(crate) stat: Stat,
}

/// What one layer says of a path.
enum Answer {
    Here(OwnedFd, Stat),
    Hidden,
    AskBelow,
}

impl Found {
    pub(crate) fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.stat.st_mode)
    }
}

impl Stack {
    pub(crate) fn new(form: Form) -> Self {
        Self { layers: Vec::new(), form }
    }

    /// Puts a layer's folder on top.
    pub(crate) fn push(&mut self, folder: OwnedFd) {
        self.layers.push(folder);
    }

    /// Returns the topmost layer's folder.
    pub(crate) fn top(&self) -> Option<BorrowedFd<'_>> {
        self.layers.last().map(AsFd::as_fd)
    }

    /// Finds `path`, clean and relative; links are not followed, neither on the way nor at the end.
    pub(crate) fn lookup(&self, path: &[u8]) -> Result<Option<Found>> {
        for root in self.layers.iter().rev() {
            match ask(root.as_fd(), path, self.form)? {
                Answer::Here(folder, stat) => return Ok(Some(Found { folder, stat })),
                Answer::Hidden => return Ok(None),
                Answer::AskBelow => {}
            }
        }
        Ok(None)
    }

    /// Lists the names in the folder `path`, of all layers.
    pub(crate) fn list(&self, path: &[u8]) -> Result<Vec<Vec<u8>>> {
        let mut names = std::collections::BTreeSet::new();
        for layer in &self.layers {
            let Answer::Here(folder, stat) = ask(layer.as_fd(), path, self.form)? else { continue };
            if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
                continue;
            }
            let last = path.rsplit(|b| *b == b'/').next().filter(|last| !last.is_empty()).unwrap_or(b".");
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let folder = rustix::fs::openat(&folder, last, flags, Mode::empty())?;
            for entry in rustix::fs::Dir::read_from(&folder)? {
                names.insert(entry?.file_name().to_bytes().to_vec());
            }
        }
        let mut shown = Vec::new();
        for name in names {
            if !matches!(name.as_slice(), b"." | b"..") && self.lookup(&join(path, &name))?.is_some() {
                shown.push(name);
            }
        }
        Ok(shown)
    }

    /// Returns the path that `path` means when links on the way (not the last part) are followed within the tree.
    pub(crate) fn resolve_parents(&self, path: &[u8]) -> Result<Vec<u8>> {
        let mut done: Vec<u8> = Vec::new();
        let mut todo: Vec<Vec<u8>> = parts(path);
        let mut links = 0;
        while let Some(part) = todo.pop() {
            if part == b".." {
                let end = done.iter().rposition(|b| *b == b'/').unwrap_or(0);
                done.truncate(end);
                continue;
            }
            let next = join(&done, &part);
            let found = if todo.is_empty() { None } else { self.lookup(&next)? };
            match found {
                Some(found) if found.kind() == FileType::Symlink => {
                    links += 1;
                    if links > LINKS_MAX {
                        return Err(Errno::LOOP);
                    }
                    let target =
                        rustix::fs::readlinkat(&found.folder, part.as_slice(), Vec::new())?.into_bytes();
                    if target.starts_with(b"/") {
                        done.clear();
                    }
                    todo.extend(parts(&target));
                }
                _ => done = next,
            }
        }
        Ok(done)
    }
}

/// Splits a path, last part first.
fn parts(path: &[u8]) -> Vec<Vec<u8>> {
    let parts = path.split(|b| *b == b'/').filter(|part| !matches!(*part, b"" | b"."));
    parts.rev().map(<[u8]>::to_vec).collect()
}

pub(crate) fn join(folder: &[u8], name: &[u8]) -> Vec<u8> {
    if folder.is_empty() { name.to_vec() } else { [folder, b"/", name].concat() }
}

fn ask(root: BorrowedFd<'_>, path: &[u8], form: Form) -> Result<Answer> {
    let mut folder = reopen(root)?;
    if path.is_empty() {
        let stat = rustix::fs::fstat(&folder)?;
        return Ok(Answer::Here(folder, stat));
    }
    let mut hides = is_opaque(&folder, form);
    let mut rest = path;
    loop {
        let (name, more) = match rest.iter().position(|b| *b == b'/') {
            Some(slash) => (&rest[..slash], Some(&rest[slash + 1..])),
            None => (rest, None),
        };
        let stat = match rustix::fs::statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) if hides => return Ok(Answer::Hidden),
            Err(Errno::NOENT) => return Ok(Answer::AskBelow),
            found => found?,
        };
        if is_whiteout(&stat) {
            return Ok(Answer::Hidden);
        }
        let Some(more) = more else { return Ok(Answer::Here(folder, stat)) };
        if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
            return Ok(Answer::Hidden);
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        folder = rustix::fs::openat(&folder, name, flags, Mode::empty())?;
        hides |= is_opaque(&folder, form);
        rest = more;
    }
}

fn reopen(folder: BorrowedFd<'_>) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(folder, ".", flags, Mode::empty())
}

/// Says whether a folder hides what lower layers have in it.
pub(crate) fn is_opaque(folder: &impl AsFd, form: Form) -> bool {
    let mut value = [0_u8; 4];
    rustix::fs::fgetxattr(folder, form.opaque(), value.as_mut_slice()).is_ok_and(|n| &value[..n] == b"y")
}

/// Says whether a file is overlayfs's mark for one that is gone.
pub(crate) fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}
