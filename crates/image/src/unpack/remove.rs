//! Removal of a tree by descriptor.

use std::ffi::CString;
use std::fs::File;

use rustix::fd::AsFd;
use rustix::fs::{AtFlags, Dir, Mode, OFlags};
use rustix::io::{Errno, Result};

/// How deep folders may lie in one another before their removal is refused (descriptors are held on the way).
const DEPTH_MAX: usize = 4096;

/// Removes `name` in the folder `parent`, with everything in it. Links are not followed; nothing there is fine.
pub(crate) fn remove_at(parent: &impl AsFd, name: &[u8]) -> Result<()> {
    match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(errno) => return Err(errno),
    }
    empty_dir(parent, name, 0)?;
    match rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno),
    }
}

fn empty_dir(parent: &impl AsFd, name: &[u8], depth: usize) -> Result<()> {
    if depth > DEPTH_MAX {
        return Err(Errno::NAMETOOLONG);
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = match rustix::fs::openat(parent, name, flags, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(()),
        opened => File::from(opened?),
    };
    let mut folders: Vec<CString> = Vec::new();
    for entry in Dir::read_from(&fd)? {
        let entry = entry?;
        let child = entry.file_name();
        if matches!(child.to_bytes(), b"." | b"..") {
            continue;
        }
        match rustix::fs::unlinkat(&fd, child, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(Errno::ISDIR | Errno::PERM) => folders.push(child.to_owned()),
            Err(errno) => return Err(errno),
        }
    }
    for child in folders {
        empty_dir(&fd, child.to_bytes(), depth + 1)?;
        match rustix::fs::unlinkat(&fd, child.as_c_str(), AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}
