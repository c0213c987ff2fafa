//! Living trees: what a container, a volume or a folder of the host holds, as tar, from tar, and from one to the other.
//!
//! Somebody may be changing the tree at any moment, and may be hostile. So nothing is opened but by descriptor from a folder
//! that is open already, links are never followed on the way down, a file is looked at before it is opened (a device or FIFO
//! never is), and what has a name already is replaced, never written through. A path that somebody typed is resolved once,
//! beneath the tree's root ([`locate`]), where absolute links and `..` stay inside.
//!
//! Unlike [`crate::unpack`], which makes layers, nothing here knows whiteouts but [`pack`], when it is asked to write a
//! snapshot's folder as a layer.

mod copy;
mod data;
mod error;
mod extract;
pub(crate) mod guard;
#[cfg(test)]
mod hostile_tests;
mod locate;
mod pack;
mod place;
#[cfg(test)]
mod tests;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Stat, Uid};
use rustix::io::Errno;

pub use copy::{Copied, CopyOptions, copy};
pub use data::copy_data;
pub use error::TreeError;
pub use extract::{ExtractOptions, Extracted, extract, plain};
pub use locate::{Located, destination, locate};
pub(crate) use pack::is_hollow;
pub use pack::{PackOptions, Packer};

/// How deep folders are followed: a descriptor is open for each on the way.
pub const DEPTH_MAX: usize = 400;

/// Whom made files belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Owner {
    /// Whom they belong to at the source.
    #[default]
    Source,
    /// This user and group.
    Fixed(u32, u32),
    /// Whom they belong to at the source, plus so much: a container's numbers seen from outside, or the other way round.
    Shifted(i64, i64),
}

impl Owner {
    /// Returns the owner of a file whose owner at the source is `uid`, `gid`.
    pub(crate) fn of(self, uid: u32, gid: u32) -> (u32, u32) {
        match self {
            Self::Source => (uid, gid),
            Self::Fixed(uid, gid) => (uid, gid),
            Self::Shifted(users, groups) => (shifted(uid, users), shifted(gid, groups)),
        }
    }

    /// Returns the mode for a new owner: set-id bits were given by the old one and are not handed on.
    pub(crate) fn mode(self, mode: u32, uid: u32, gid: u32) -> u32 {
        let same = matches!(self, Self::Shifted(..)) || self.of(uid, gid) == (uid, gid);
        if same { mode & 0o7777 } else { mode & 0o1777 }
    }
}

/// A number and a shift; one that leaves the range stays as it is.
pub(crate) fn shifted(id: u32, by: i64) -> u32 {
    u32::try_from(i64::from(id) + by).unwrap_or(id)
}

/// Something in a folder, held by a descriptor that names it and opens nothing.
#[derive(Debug)]
pub(crate) struct Node {
    fd: OwnedFd,
    pub(crate) stat: Stat,
    /// Something else is mounted on its name.
    pub(crate) mounted: bool,
}

impl Node {
    /// Finds `name` in `folder`; a link is the link itself.
    pub(crate) fn find(folder: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<Self> {
        let flags = OFlags::PATH | guard::no_links() | OFlags::CLOEXEC;
        let path = path_of(name);
        let (fd, mounted) =
            match sys::beneath::openat2(folder, path, flags, Mode::empty(), ResolveFlags::NO_XDEV) {
                Err(Errno::XDEV) => (rustix::fs::openat(folder, path, flags, Mode::empty())?, true),
                opened => (opened?, false),
            };
        let stat = rustix::fs::fstat(&fd)?;
        Ok(Self { fd, stat, mounted })
    }

    pub(crate) fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.stat.st_mode)
    }

    /// Opens it for reading, if it is a folder or a regular file.
    pub(crate) fn open(&self) -> rustix::io::Result<OwnedFd> {
        let flags = match self.kind() {
            FileType::Directory => OFlags::RDONLY | OFlags::DIRECTORY,
            FileType::RegularFile => OFlags::RDONLY | OFlags::NOATIME,
            _ => return Err(Errno::INVAL),
        };
        match self.reopen(flags) {
            // Only the owner may ask for that.
            Err(Errno::PERM) => self.reopen(flags - OFlags::NOATIME),
            opened => opened,
        }
    }

    /// Opens the very file that the descriptor names, whatever has its name by now.
    pub(crate) fn reopen(&self, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        use std::os::fd::AsRawFd as _;
        let path = format!("/proc/self/fd/{}", self.fd.as_raw_fd());
        rustix::fs::open(path, flags | OFlags::CLOEXEC | OFlags::NONBLOCK, Mode::empty())
    }

    /// Reads where a link leads.
    pub(crate) fn link(&self) -> rustix::io::Result<Vec<u8>> {
        Ok(rustix::fs::readlinkat(&self.fd, "", Vec::new())?.into_bytes())
    }

    /// Says whether it lies on a file system whose files are the kernel's own.
    pub(crate) fn is_of_kernel(&self) -> bool {
        is_of_kernel(self.fd.as_fd())
    }
}

/// Says whether a descriptor lies on procfs, sysfs and their like: there is nothing to copy, and nothing may be written.
pub fn is_of_kernel(fd: BorrowedFd<'_>) -> bool {
    /// procfs, sysfs, cgroup, cgroup2, devpts, debugfs, tracefs, securityfs, mqueue, bpf, configfs, binfmt_misc, nsfs
    /// (`linux/magic.h`).
    const MAGIC: [u64; 13] = [
        0x9fa0,
        0x6265_6572,
        0x0027_e0eb,
        0x6367_7270,
        0x1cd1,
        0x6462_6720,
        0x7472_6163,
        0x7363_6673,
        0x1980_0202,
        0xcafe_4a11,
        0x6265_6570,
        0x4249_4e4d,
        0x6e73_6673,
    ];
    rustix::fs::fstatfs(fd).is_ok_and(|stat| MAGIC.contains(&(stat.f_type as u64 & 0xffff_ffff)))
}

/// Opens a folder in a folder; a link is refused.
pub(crate) fn open_folder(folder: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | guard::no_links() | OFlags::CLOEXEC;
    rustix::fs::openat(folder, path_of(name), flags, Mode::empty())
}

/// Changes the owner of what has the name, a link itself and not what it leads to.
pub(crate) fn chown_at(folder: BorrowedFd<'_>, name: &[u8], owner: (u32, u32)) -> rustix::io::Result<()> {
    if !may_chown() {
        return Ok(());
    }
    let (uid, gid) = (Some(Uid::from_raw(owner.0)), Some(Gid::from_raw(owner.1)));
    rustix::fs::chownat(folder, path_of(name), uid, gid, AtFlags::SYMLINK_NOFOLLOW)
}

/// Changes the owner of an open file.
pub(crate) fn chown(file: BorrowedFd<'_>, owner: (u32, u32)) -> rustix::io::Result<()> {
    if !may_chown() {
        return Ok(());
    }
    rustix::fs::fchown(file, Some(Uid::from_raw(owner.0)), Some(Gid::from_raw(owner.1)))
}

/// Somebody who is not root owns whatever he makes.
fn may_chown() -> bool {
    rustix::process::geteuid().is_root()
}

pub(crate) fn path_of(bytes: &[u8]) -> &Path {
    Path::new(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(bytes))
}

/// The time of the last change, to be set on a copy.
pub(crate) fn times(stat: &Stat) -> rustix::fs::Timestamps {
    let time = rustix::fs::Timespec { tv_sec: stat.st_mtime as _, tv_nsec: stat.st_mtime_nsec as _ };
    rustix::fs::Timestamps { last_access: time, last_modification: time }
}
