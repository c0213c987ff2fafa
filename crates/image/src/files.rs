//! Small file operations that the store is built of: folders, locks, atomic writes, complete removal.

use std::collections::HashSet;
use std::fs::File;
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Dir, FileType, FlockOperation, Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::error::{At as _, Result};

/// Makes the folder `path` unless it is there.
pub(crate) fn ensure_dir(path: &Path, mode: Mode) -> Result<()> {
    match rustix::fs::mkdir(path, mode) {
        Err(Errno::EXIST) => Ok(()),
        result => result.at("create", path),
    }
}

/// Opens a folder.
pub(crate) fn open_dir(path: &Path) -> rustix::io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(File::from(rustix::fs::open(path, flags, Mode::empty())?))
}

/// Writes `bytes` so that `path` has either nothing or all of them.
pub(crate) fn write_atomic(path: &Path, bytes: &[u8]) -> Result<()> {
    let temporary = beside(path, &random_name());
    let written = File::create(&temporary)
        .and_then(|mut file| file.write_all(bytes))
        .and_then(|()| std::fs::rename(&temporary, path));
    if written.is_err() {
        let _ = std::fs::remove_file(&temporary);
    }
    written.at("write", path)
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    name.into()
}

/// Returns 16 random hexadecimal digits.
pub(crate) fn random_name() -> String {
    let mut bytes = [0_u8; 8];
    let flags = rustix::rand::GetRandomFlags::empty();
    let filled = rustix::rand::getrandom(&mut bytes, flags).is_ok_and(|n| n == bytes.len());
    if !filled {
        // Names only have to differ: the place of a local and the clock do where the kernel has no randomness yet.
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        bytes = (now.tv_nsec.cast_unsigned() ^ u64::from(std::process::id()) << 32).to_ne_bytes();
    }
    hex::encode(bytes)
}

/// Takes or gives back the lock of an open file; waits if need be.
pub(crate) fn lock(file: &File, operation: FlockOperation, path: &Path) -> Result<()> {
    rustix::io::retry_on_intr(|| rustix::fs::flock(file, operation)).at("lock", path)
}

/// Tries to take the lock of an open file; `false` when somebody else holds it.
pub(crate) fn try_lock(file: &File, path: &Path) -> Result<bool> {
    match rustix::io::retry_on_intr(|| rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive)) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(errno) => Err(errno).at("lock", path),
    }
}

/// Removes whatever is at `path`, with everything in it; nothing there is fine. Links are removed, never followed,
/// and a folder is entered by descriptor only.
pub(crate) fn remove_tree(path: &Path) -> Result<()> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    let Some(name) = path.file_name() else { return Ok(()) };
    let parent = match open_dir(parent) {
        Err(Errno::NOENT) => return Ok(()),
        opened => opened.at("open", parent)?,
    };
    crate::unpack::remove::remove_at(&parent, std::os::unix::ffi::OsStrExt::as_bytes(name)).at("remove", path)
}

/// Removes a file; that it is not there is fine.
pub(crate) fn remove_file(path: &Path) -> Result<bool> {
    match rustix::fs::unlinkat(CWD, path, AtFlags::empty()) {
        Ok(()) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(errno) => Err(errno).at("remove", path),
    }
}

/// How deep [`disk_usage`] looks: a descriptor is open for each folder on the way. What a container hides deeper is not counted.
const DEPTH_MAX: usize = 512;

/// Adds up what a tree takes on disk, in bytes; a file with several names counts once. It is walked by descriptor, as
/// a running container may be changing it.
pub(crate) fn disk_usage(path: &Path) -> std::io::Result<u64> {
    let mut usage = Usage { seen: HashSet::new(), bytes: 0 };
    let stat = rustix::fs::lstat(path)?;
    usage.count(&stat);
    if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
        usage.folder(open_dir(path)?.into(), 0)?;
    }
    Ok(usage.bytes)
}

struct Usage {
    seen: HashSet<u64>,
    bytes: u64,
}

impl Usage {
    fn count(&mut self, stat: &Stat) {
        let is_folder = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        if is_folder || stat.st_nlink == 1 || self.seen.insert(stat.st_ino) {
            self.bytes += u64::try_from(stat.st_blocks).unwrap_or(0) * 512;
        }
    }

    fn folder(&mut self, folder: OwnedFd, depth: usize) -> rustix::io::Result<()> {
        let mut entries = Dir::new(folder)?;
        while let Some(entry) = entries.read() {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let stat = match rustix::fs::statat(entries.fd()?, name, AtFlags::SYMLINK_NOFOLLOW) {
                Err(Errno::NOENT) => continue,
                found => found?,
            };
            self.count(&stat);
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory && depth < DEPTH_MAX {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                match rustix::fs::openat(entries.fd()?, name, flags, Mode::empty()) {
                    Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                    opened => self.folder(opened?, depth + 1)?,
                }
            }
        }
        Ok(())
    }
}

/// Returns the identity of the running boot; empty where the kernel does not say.
pub(crate) fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map(|id| id.trim().to_owned())
        .unwrap_or_default()
}
