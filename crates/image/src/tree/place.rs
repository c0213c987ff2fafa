//! Making something under a name in a folder, whatever has the name.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::error::{On as _, show};
use super::{Node, TreeError, guard, open_folder, path_of};
use crate::unpack::remove::remove_at;

/// Takes away what has the name; `true` when it is a folder and a folder is to be made, which then stays.
///
/// With `strict` a folder and something else do not take each other's place.
pub(super) fn make_way(
    folder: BorrowedFd<'_>,
    name: &[u8],
    path: &[u8],
    is_folder: bool,
    strict: bool,
) -> Result<bool, TreeError> {
    let found = match rustix::fs::statat(folder, path_of(name), AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => return Ok(false),
        found => found.on("look at", path)?,
    };
    match (FileType::from_raw_mode(found.st_mode) == FileType::Directory, is_folder) {
        (true, true) => return Ok(true),
        (true, false) if strict => return Err(TreeError::OverFolder(show(path))),
        (false, true) if strict => return Err(TreeError::OverFile(show(path))),
        _ => remove_at(&folder, name).on("replace", path)?,
    }
    Ok(false)
}

/// Makes a folder of which only root can use anything until its attributes are set, or opens the one that is there.
/// Returns whether it was made.
pub(super) fn make_folder(
    folder: BorrowedFd<'_>,
    name: &[u8],
    path: &[u8],
    strict: bool,
) -> Result<(OwnedFd, bool), TreeError> {
    let mut made = false;
    if !make_way(folder, name, path, true, strict)? {
        match rustix::fs::mkdirat(folder, path_of(name), Mode::RWXU) {
            Ok(()) => made = true,
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno).on("create", path),
        }
    }
    Ok((open_folder(folder, name).on("open", path)?, made))
}

/// Makes an empty file for writing. A file that something is mounted on (`/etc/hosts` in a container) cannot be replaced: it
/// is emptied.
pub(super) fn make_file(
    folder: BorrowedFd<'_>,
    name: &[u8],
    path: &[u8],
    strict: bool,
) -> Result<OwnedFd, TreeError> {
    match if guard::is_on(guard::Guard::Replace) {
        make_way(folder, name, path, false, strict)
    } else {
        Ok(false)
    } {
        Err(TreeError::Io { action: "replace", source, .. })
            if Errno::from_io_error(&source) == Some(Errno::BUSY) =>
        {
            return empty_mounted(folder, name).on("write", path);
        }
        way => drop(way?),
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | guard::anew() | OFlags::CLOEXEC;
    rustix::fs::openat(folder, path_of(name), flags, Mode::RUSR | Mode::WUSR).on("create", path)
}

fn empty_mounted(folder: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<OwnedFd> {
    let node = Node::find(folder, name)?;
    if node.kind() != FileType::RegularFile || !node.mounted || node.is_of_kernel() {
        return Err(Errno::BUSY);
    }
    node.reopen(OFlags::WRONLY | OFlags::TRUNC)
}

/// Makes a link.
pub(super) fn make_link(
    folder: BorrowedFd<'_>,
    name: &[u8],
    path: &[u8],
    target: &[u8],
    strict: bool,
) -> Result<(), TreeError> {
    make_way(folder, name, path, false, strict)?;
    rustix::fs::symlinkat(path_of(target), folder, path_of(name)).on("create", path)
}

/// Makes another name of the file `from`, `name` there.
pub(super) fn make_hard_link(
    from: (BorrowedFd<'_>, &[u8]),
    folder: BorrowedFd<'_>,
    name: &[u8],
    path: &[u8],
    strict: bool,
) -> Result<(), TreeError> {
    make_way(folder, name, path, false, strict)?;
    rustix::fs::linkat(from.0, path_of(from.1), folder, path_of(name), AtFlags::empty())
        .on("create the hard link", path)
}

/// Makes a device or FIFO; `false` where this process may not make devices.
pub(super) fn make_node(
    folder: BorrowedFd<'_>,
    name: &[u8],
    path: &[u8],
    (kind, mode, device): (FileType, u32, u64),
    strict: bool,
) -> Result<bool, TreeError> {
    make_way(folder, name, path, false, strict)?;
    let mode = Mode::from_raw_mode(mode & 0o7777);
    match rustix::fs::mknodat(folder.as_fd(), path_of(name), kind, mode, device) {
        Err(Errno::PERM) if kind != FileType::Fifo => Ok(false),
        made => made.map(|()| true).on("create", path),
    }
}
