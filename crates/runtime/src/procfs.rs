//! A procfs that is proved to be one: every write of the runtime to `/proc` goes through it, so that nothing mounted or
//! linked over a path by an image can take the write.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, StatxFlags};
use rustix::io::{Errno, Result};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};
use sys::beneath::openat2;

/// `linux/magic.h`.
const PROC_SUPER_MAGIC: i64 = 0x9fa0;
/// The inode of the root of every procfs. Source: kernel `fs/proc/root.c`, `PROC_ROOT_INO`.
const PROC_ROOT_INO: u64 = 1;

/// The root of a procfs.
#[derive(Debug)]
pub(crate) struct Procfs(OwnedFd);

impl Procfs {
    /// Mounts a private instance that no path leads to, for the caller's process namespace; where that is not
    /// allowed (no rights, or a masked `/proc` in a user namespace) takes `/proc`, checked.
    pub(crate) fn open() -> Result<Self> {
        Self::private().or_else(|_| Self::host())
    }

    /// Takes `/proc` of the caller's mount namespace, checked.
    pub(crate) fn host() -> Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Self::checked(rustix::fs::open("/proc", flags, Mode::empty())?)
    }

    fn private() -> Result<Self> {
        let context = rustix::mount::fsopen("proc", FsOpenFlags::FSOPEN_CLOEXEC)?;
        rustix::mount::fsconfig_create(&context)?;
        let attrs = MountAttrFlags::MOUNT_ATTR_NODEV
            | MountAttrFlags::MOUNT_ATTR_NOEXEC
            | MountAttrFlags::MOUNT_ATTR_NOSUID;
        Self::checked(rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attrs)?)
    }

    fn checked(root: OwnedFd) -> Result<Self> {
        let stat = rustix::fs::statx(&root, c"", AtFlags::EMPTY_PATH, StatxFlags::INO)?;
        if !is_procfs(&root)? || stat.stx_ino != PROC_ROOT_INO {
            return Err(Errno::XDEV);
        }
        Ok(Self(root))
    }

    /// Returns the caller's process number as this procfs counts: another namespace's counts otherwise.
    pub(crate) fn own(&self) -> Result<String> {
        let link = rustix::fs::readlinkat(&self.0, "self", Vec::new())?;
        link.into_string()
            .ok()
            .filter(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
            .ok_or(Errno::SRCH)
    }

    /// Opens `path` below it. No link is followed, no other mount entered, and the file must be procfs's own.
    pub(crate) fn file(&self, path: &str, flags: OFlags) -> Result<OwnedFd> {
        let resolve = ResolveFlags::BENEATH
            | ResolveFlags::NO_MAGICLINKS
            | ResolveFlags::NO_SYMLINKS
            | ResolveFlags::NO_XDEV;
        let file = openat2(self.0.as_fd(), Path::new(path), flags | OFlags::CLOEXEC, Mode::empty(), resolve)?;
        if is_procfs(&file)? { Ok(file) } else { Err(Errno::XDEV) }
    }

    /// Writes `value` to the file `path` in one call.
    pub(crate) fn write(&self, path: &str, value: &[u8]) -> Result<()> {
        #[cfg(feature = "unguarded")]
        if crate::unguard::off("procfs") {
            return crate::unguard::careless::write_proc(path, value);
        }
        let file = self.file(path, OFlags::WRONLY)?;
        match rustix::io::write(&file, value)? {
            length if length == value.len() => Ok(()),
            _ => Err(Errno::IO),
        }
    }

    /// Opens a namespace of the caller (`ns/pid`): a link of procfs that is meant to be followed.
    pub(crate) fn namespace(&self, path: &str) -> Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::NO_XDEV;
        // The link leads to nsfs, which is another file system: the folder is checked, then the link is followed.
        let (folder, name) = path.rsplit_once('/').ok_or(Errno::INVAL)?;
        let folder = openat2(
            self.0.as_fd(),
            Path::new(folder),
            OFlags::PATH | OFlags::CLOEXEC,
            Mode::empty(),
            resolve,
        )?;
        rustix::fs::openat(&folder, name, flags, Mode::empty())
    }
}

/// Returns whether `file` lies on a procfs.
pub(crate) fn is_procfs(file: impl AsFd) -> Result<bool> {
    Ok(rustix::fs::fstatfs(file)?.f_type as i64 == PROC_SUPER_MAGIC)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_and_other_file_systems_are_refused() {
        let proc = Procfs::host().unwrap();
        assert!(proc.file("version", OFlags::RDONLY).is_ok());
        assert!(proc.file("self/attr", OFlags::RDONLY).is_err(), "self is a link");
        assert!(proc.file("../etc/passwd", OFlags::RDONLY).is_err());
        assert!(Procfs::checked(rustix::fs::open("/tmp", OFlags::PATH, Mode::empty()).unwrap()).is_err());
        let sys = rustix::fs::open("/proc/sys", OFlags::PATH, Mode::empty()).unwrap();
        assert!(Procfs::checked(sys).is_err(), "not the root");
        let pid = proc.own().unwrap();
        assert_eq!(pid, std::process::id().to_string());
        assert!(proc.namespace(&format!("{pid}/ns/pid")).is_ok());
    }
}
