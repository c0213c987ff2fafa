//! Typed paths, resolved beneath a root: where something is, and where something is to go.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{FileType, Mode, OFlags, Stat};
use rustix::io::{Errno, Result};

use super::{Node, guard, path_of};

/// How many links may lie on one way, as in Linux.
const LINKS_MAX: usize = 40;

/// Something that a path names.
#[derive(Debug)]
pub struct Located {
    /// The folder it is in; the folder itself when `name` is `.`.
    pub folder: OwnedFd,
    /// Its name there; `.` for the root and for a path that ends in `/` or `/.`.
    pub name: Vec<u8>,
    /// The last name of the path, for an archive's members; empty for the root.
    pub base: Vec<u8>,
    /// Its attributes; a link's own.
    pub stat: Stat,
    /// Where it leads, if it is a link.
    pub link: Option<Vec<u8>>,
}

impl Located {
    /// Says what it is.
    pub fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.stat.st_mode)
    }

    /// Says whether it is a folder.
    pub fn is_folder(&self) -> bool {
        self.kind() == FileType::Directory
    }

    /// Says whether it lies on procfs, sysfs and their like.
    pub fn is_of_kernel(&self) -> bool {
        Node::find(self.folder.as_fd(), &self.name).is_ok_and(|node| node.is_of_kernel())
    }
}

/// Finds what `path` names beneath `root`. Links on the way are followed, absolute ones within the root; one at the end is only
/// followed when the path goes on after it (`/`, `/.`) or `follow` says so.
pub fn locate(root: BorrowedFd<'_>, path: &[u8], follow: bool) -> Result<Located> {
    let (folder, name) = split(path);
    let base = if name == b"." || name == b".." { Vec::new() } else { name.to_vec() };
    if follow && !base.is_empty() {
        let folder = open(root, path, OFlags::PATH)?;
        let stat = rustix::fs::fstat(&folder)?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            return Ok(Located { folder, name: b".".to_vec(), base, stat, link: None });
        }
        let (folder, name, _) = destination(root, path)?;
        let node = Node::find(folder.as_fd(), &name)?;
        return Ok(Located { folder, name, base, stat: node.stat, link: None });
    }
    if base.is_empty() || path.ends_with(b"/") {
        let folder = open(root, path, OFlags::PATH | OFlags::DIRECTORY)?;
        let stat = rustix::fs::fstat(&folder)?;
        return Ok(Located { folder, name: b".".to_vec(), base, stat, link: None });
    }
    let folder = open(root, folder, OFlags::PATH | OFlags::DIRECTORY)?;
    let node = Node::find(folder.as_fd(), name)?;
    let link = if node.kind() == FileType::Symlink { Some(node.link()?) } else { None };
    Ok(Located { folder, name: name.to_vec(), base, stat: node.stat, link })
}

/// Finds where something called `path` is to go: the folder, which must be there, the name in it, and what has the name now.
/// A link at the end is followed, also one that leads to nothing.
pub fn destination(root: BorrowedFd<'_>, path: &[u8]) -> Result<(OwnedFd, Vec<u8>, Option<Stat>)> {
    let mut path = path.to_vec();
    for _ in 0..LINKS_MAX {
        let (folder, name) = split(&path);
        if name == b"." || name == b".." {
            let folder = open(root, &path, OFlags::PATH | OFlags::DIRECTORY)?;
            let stat = rustix::fs::fstat(&folder)?;
            return Ok((folder, b".".to_vec(), Some(stat)));
        }
        let opened = open(root, folder, OFlags::PATH | OFlags::DIRECTORY)?;
        let node = match Node::find(opened.as_fd(), name) {
            Err(Errno::NOENT) => return Ok((opened, name.to_vec(), None)),
            found => found?,
        };
        if node.kind() != FileType::Symlink {
            return Ok((opened, name.to_vec(), Some(node.stat)));
        }
        let target = node.link()?;
        path = if target.starts_with(b"/") { target } else { [folder, b"/", &target].concat() };
    }
    Err(Errno::LOOP)
}

/// Opens `path` beneath `root`.
pub(super) fn open(root: BorrowedFd<'_>, path: &[u8], flags: OFlags) -> Result<OwnedFd> {
    let path = if path.is_empty() { b"/".as_slice() } else { path };
    sys::beneath::openat2(root, path_of(path), flags | OFlags::CLOEXEC, Mode::empty(), guard::in_root())
}

/// Splits a path into the folder and the last name, slashes at the end left out; `.` for the root.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    let end = path.iter().rposition(|b| *b != b'/').map_or(0, |last| last + 1);
    let path = &path[..end];
    match path.iter().rposition(|b| *b == b'/') {
        None if path.is_empty() => (b"/", b"."),
        None => (b"/", path),
        Some(0) => (b"/", &path[1..]),
        Some(slash) => (&path[..slash], &path[slash + 1..]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_split_at_the_last_name() {
        for (path, folder, name) in [
            ("/", "/", "."),
            ("", "/", "."),
            ("a", "/", "a"),
            ("/a", "/", "a"),
            ("/a/b", "/a", "b"),
            ("/a/b//", "/a", "b"),
            ("/a/.", "/a", "."),
            ("a/..", "a", ".."),
        ] {
            assert_eq!(split(path.as_bytes()), (folder.as_bytes(), name.as_bytes()), "{path:?}");
        }
    }
}
