//! `tmpcopyup`: fills a new tmpfs with what the image holds in the folder that it will cover.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, openat, readlinkat, statat, symlinkat};
use rustix::io::Errno;
use rustix::process::{Gid, Uid};
use sys::beneath::Root;

use crate::error::{Doing, Result};

/// A folder deeper than this is a trap, not an image.
const DEPTH: usize = 128;

/// Copies the contents, modes and owners of the folder `path` into `tree`. Devices and sockets are left out.
pub(super) fn fill(root: &Root, path: &Path, tree: BorrowedFd<'_>) -> Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let source = match root.open_in(path, flags, Mode::empty()) {
        Ok(source) => source,
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
        Err(error) => return Err(error).doing(|| format!("open {path:?} to copy it")),
    };
    // A tree made by fsmount is a path only; its root is opened to make files in it.
    let target =
        openat(tree, c".", flags | OFlags::CLOEXEC, Mode::empty()).doing(|| "open the new tmpfs".into())?;
    copy_folder(source.as_fd(), target.as_fd(), DEPTH).doing(|| format!("copy {path:?} into its tmpfs"))?;
    let stat = rustix::fs::fstat(&source).doing(|| format!("look at {path:?}"))?;
    rustix::fs::fchown(&target, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))
        .and_then(|()| rustix::fs::fchmod(&target, Mode::from_raw_mode(stat.st_mode & 0o7777)))
        .doing(|| format!("give the tmpfs the owner and mode of {path:?}"))
}

fn copy_folder(source: BorrowedFd<'_>, target: BorrowedFd<'_>, depth: usize) -> rustix::io::Result<()> {
    if depth == 0 {
        return Err(Errno::LOOP);
    }
    for entry in Dir::read_from(source)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let stat = statat(source, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let mode = Mode::from_raw_mode(stat.st_mode & 0o7777);
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                rustix::fs::mkdirat(target, name, Mode::RWXU)?;
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let from = openat(source, name, flags, Mode::empty())?;
                let to = openat(target, name, flags, Mode::empty())?;
                copy_folder(from.as_fd(), to.as_fd(), depth - 1)?;
                own(&to, stat.st_uid, stat.st_gid, mode)?;
            }
            FileType::RegularFile => {
                let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
                let from = openat(source, name, flags | OFlags::RDONLY, Mode::empty())?;
                let to =
                    openat(target, name, flags | OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL, Mode::RWXU)?;
                let mut to = std::fs::File::from(to);
                std::io::copy(&mut std::fs::File::from(from), &mut to)
                    .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
                own(&to, stat.st_uid, stat.st_gid, mode)?;
            }
            FileType::Symlink => {
                symlinkat(readlinkat(source, name, Vec::new())?, target, name)?;
                let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
                rustix::fs::chownat(target, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
            }
            _ => {}
        }
    }
    Ok(())
}

fn own(file: impl AsFd, uid: u32, gid: u32, mode: Mode) -> rustix::io::Result<()> {
    rustix::fs::fchown(&file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
    rustix::fs::fchmod(&file, mode)
}
