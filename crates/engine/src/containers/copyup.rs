//! A fresh volume is filled from the image the first time: contents, owners, modes, times, extended attributes. The
//! image's tree belongs to strangers: everything is opened by descriptor, links are copied as links and never followed.

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid};
use rustix::fs::{FlockOperation, flock};
use sys::beneath::Root;

use crate::Engine;
use crate::error::{Error, IoContext, Result};
use crate::model::{MountKind, MountPoint};

/// Deepest folder that is copied.
const DEPTH_MAX: usize = 512;
/// Longest extended attribute, and longest list of their names (the kernel's limit).
const XATTR_MAX: usize = 64 << 10;

/// Fills the fresh volumes among `mounts` from the root file system.
pub(super) fn fill_volumes(engine: &Engine, mounts: &[MountPoint], root: &Root) -> Result<()> {
    for point in mounts
        .iter()
        .filter(|point| point.kind == MountKind::Volume && point.fill && point.subpath.is_empty())
    {
        let Some(name) = &point.volume else { continue };
        let folder = engine.volume_folder(name);
        let done = folder.join("filled");
        if done.exists() {
            continue;
        }
        let lock_path = folder.join("lock");
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&lock_path)
            .at("open", &lock_path)?;
        flock(&lock, FlockOperation::LockExclusive).at("lock", &lock_path)?;
        let data = folder.join("_data");
        // Whatever a person or another container put there stays alone (CVE-2020-1726).
        if !done.exists() && is_empty(&data)? {
            fill(root, &point.target, &data).map_err(|source| Error::System {
                action: format!("fill volume {name} from {} of the image", point.target),
                source,
            })?;
        }
        File::create(&done).at("make", &done)?;
    }
    Ok(())
}

fn is_empty(path: &Path) -> Result<bool> {
    Ok(std::fs::read_dir(path).at("list", path)?.next().is_none())
}

fn fill(root: &Root, target: &str, data: &Path) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let source = match root.open_in(Path::new(target), flags, Mode::empty()) {
        Ok(fd) => fd,
        // The image has no such folder: the volume stays empty and root's.
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let into = rustix::fs::open(data, flags | OFlags::CLOEXEC, Mode::empty())?;
    copy_folder(&source, &into, 0)
}

fn copy_folder(source: &OwnedFd, into: &OwnedFd, depth: usize) -> io::Result<()> {
    if depth > DEPTH_MAX {
        return Err(io::Error::other(format!("folders deeper than {DEPTH_MAX}")));
    }
    for entry in Dir::read_from(source)? {
        let entry = entry?;
        let name = entry.file_name();
        if !matches!(name.to_bytes(), b"." | b"..") {
            copy_entry(source, into, name, depth)?;
        }
    }
    copy_attributes(source, into)
}

fn copy_entry(source: &OwnedFd, into: &OwnedFd, name: &CStr, depth: usize) -> io::Result<()> {
    let stat = rustix::fs::statat(source, name, AtFlags::SYMLINK_NOFOLLOW)?;
    let nofollow = OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => {
            rustix::fs::mkdirat(into, name, Mode::from_raw_mode(0o700))?;
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | nofollow;
            let from = rustix::fs::openat(source, name, flags, Mode::empty())?;
            let to = rustix::fs::openat(into, name, flags, Mode::empty())?;
            copy_folder(&from, &to, depth + 1)
        }
        FileType::RegularFile => {
            let from = rustix::fs::openat(source, name, OFlags::RDONLY | nofollow, Mode::empty())?;
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | nofollow;
            let to = rustix::fs::openat(into, name, flags, Mode::from_raw_mode(0o600))?;
            let (mut reader, mut writer) = (File::from(from), File::from(to));
            io::copy(&mut reader, &mut writer)?;
            copy_attributes(&OwnedFd::from(reader), &OwnedFd::from(writer))
        }
        FileType::Symlink => {
            let target = rustix::fs::readlinkat(source, name, Vec::new())?;
            rustix::fs::symlinkat(target, into, name)?;
            chown_at(into, name, &stat)
        }
        kind @ (FileType::Fifo | FileType::Socket) => {
            rustix::fs::mknodat(into, name, kind, Mode::from_raw_mode(stat.st_mode & 0o7777), 0)?;
            chown_at(into, name, &stat)
        }
        // A device of the image gets no second life outside the container's device rules.
        _ => Ok(()),
    }
}

fn chown_at(folder: &OwnedFd, name: &CStr, stat: &rustix::fs::Stat) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    Ok(rustix::fs::chownat(folder, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?)
}

/// Owner, extended attributes, mode (after the owner, which clears set-id bits) and times.
fn copy_attributes(from: &OwnedFd, to: &OwnedFd) -> io::Result<()> {
    let stat = rustix::fs::fstat(from)?;
    rustix::fs::fchown(to, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))?;
    copy_xattrs(from, to)?;
    rustix::fs::fchmod(to, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
    let time = |seconds, nanos| Timespec { tv_sec: seconds, tv_nsec: nanos };
    let times = Timestamps {
        last_access: time(stat.st_atime as i64, stat.st_atime_nsec as i64),
        last_modification: time(stat.st_mtime as i64, stat.st_mtime_nsec as i64),
    };
    Ok(rustix::fs::futimens(to.as_fd(), &times)?)
}

fn copy_xattrs(from: &OwnedFd, to: &OwnedFd) -> io::Result<()> {
    use rustix::io::Errno;
    let mut names = vec![0_u8; XATTR_MAX];
    let length = match rustix::fs::flistxattr(from, &mut names[..]) {
        Ok(length) => length,
        Err(Errno::OPNOTSUPP) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let mut value = vec![0_u8; if length == 0 { 0 } else { XATTR_MAX }];
    for name in names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        // overlayfs' own marks are not the file's.
        if name.starts_with(b"trusted.overlay.") || name.starts_with(b"user.overlay.") {
            continue;
        }
        let name = std::ffi::CString::new(name).map_err(io::Error::other)?;
        let size = rustix::fs::fgetxattr(from, &name, &mut value[..])?;
        match rustix::fs::fsetxattr(to, &name, &value[..size], rustix::fs::XattrFlags::empty()) {
            Ok(()) | Err(Errno::OPNOTSUPP) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
