//! Removal of a tree by descriptor. Whoever made the tree may have been hostile: links are removed, never followed, and
//! a tree of any depth is removed with few descriptors.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, Mode, OFlags};
use rustix::io::{Errno, Result};

use crate::files::random_name;

/// So many folders are open at once; what lies deeper is moved up first.
const OPEN_MAX: usize = 32;

/// Removes `name` in the folder `parent`, with everything in it. Links are not followed; nothing there is fine.
pub(crate) fn remove_at(parent: &impl AsFd, name: &[u8]) -> Result<()> {
    let parent = parent.as_fd();
    if remove_if_no_folder(parent, name)? {
        return Ok(());
    }
    let mut waiting: Vec<Vec<u8>> = vec![name.to_vec()];
    while let Some(name) = waiting.pop() {
        remove_folder(parent, &name, &Above { top: parent, depth: 0 }, &mut waiting)?;
    }
    Ok(())
}

/// Where a removal stands.
struct Above<'a> {
    /// The folder that deep folders are moved to.
    top: BorrowedFd<'a>,
    depth: usize,
}

/// Returns `false` when it is a folder.
fn remove_if_no_folder(parent: BorrowedFd<'_>, name: &[u8]) -> Result<bool> {
    match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(true),
        Err(Errno::ISDIR | Errno::PERM) => Ok(false),
        Err(errno) => Err(errno),
    }
}

fn remove_folder(
    parent: BorrowedFd<'_>,
    name: &[u8],
    above: &Above<'_>,
    waiting: &mut Vec<Vec<u8>>,
) -> Result<()> {
    let folder = match open_folder(parent, name) {
        Err(Errno::NOENT) => return Ok(()),
        opened => opened?,
    };
    let mut entries = Dir::new(folder)?;
    let mut folders: Vec<CString> = Vec::new();
    while let Some(entry) = entries.read() {
        let entry = entry?;
        let child = entry.file_name();
        if !matches!(child.to_bytes(), b"." | b"..") && !remove_if_no_folder(entries.fd()?, child.to_bytes())?
        {
            folders.push(child.to_owned());
        }
    }
    let folder = entries.fd()?;
    for child in folders {
        if above.depth < OPEN_MAX {
            let below = Above { top: above.top, depth: above.depth + 1 };
            remove_folder(folder, child.to_bytes(), &below, waiting)?;
            continue;
        }
        let moved = format!(".removing-{}", random_name());
        rustix::fs::renameat(folder, child.as_c_str(), above.top, moved.as_str())?;
        waiting.push(moved.into_bytes());
    }
    match rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno),
    }
}

fn open_folder(parent: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::temporary_folder;

    #[test]
    fn any_tree_goes_and_links_are_not_followed() {
        let dir = temporary_folder();
        std::fs::create_dir(dir.join("kept")).unwrap();
        std::fs::write(dir.join("kept/file"), "x").unwrap();
        std::fs::create_dir(dir.join("tree")).unwrap();
        std::os::unix::fs::symlink("../kept", dir.join("tree/link")).unwrap();
        // Deeper than any path, and than there are descriptors.
        let mut at = crate::files::open_dir(&dir.join("tree")).unwrap();
        for _ in 0..2000 {
            rustix::fs::mkdirat(&at, "d", Mode::RWXU).unwrap();
            rustix::fs::mkdirat(&at, "e", Mode::RWXU).unwrap();
            at = open_folder(at.as_fd(), b"d").unwrap().into();
        }
        drop(at);
        let parent = crate::files::open_dir(&dir).unwrap();
        assert!(crate::files::disk_usage(&dir.join("tree")).unwrap() > 0);
        remove_at(&parent, b"tree").unwrap();
        remove_at(&parent, b"tree").unwrap();
        let left: Vec<_> = std::fs::read_dir(&dir).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(left, ["kept"]);
        assert!(dir.join("kept/file").exists());
        crate::files::remove_tree(&dir).unwrap();
    }
}
