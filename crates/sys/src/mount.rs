//! The calls of the mount interface that rustix does not have: `mount_setattr` with id maps.

#![allow(unsafe_code)]

use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::{Errno, Result};

/// `MOUNT_ATTR_*` bits of `linux/mount.h`.
pub mod attr {
    /// Read-only.
    pub const RDONLY: u64 = 0x1;
    /// Set-id bits have no effect.
    pub const NOSUID: u64 = 0x2;
    /// Device files cannot be opened.
    pub const NODEV: u64 = 0x4;
    /// Programs cannot be executed.
    pub const NOEXEC: u64 = 0x8;
    /// The field of the access time mode; it must be cleared as a whole when a mode is set.
    pub const ATIME: u64 = 0x70;
    /// Access times are not kept.
    pub const NOATIME: u64 = 0x10;
    /// Access times are always kept.
    pub const STRICTATIME: u64 = 0x20;
    /// Access times of folders are not kept.
    pub const NODIRATIME: u64 = 0x80;
    /// Ids are mapped by a user namespace.
    pub const IDMAP: u64 = 0x0010_0000;
    /// Symbolic links are not followed.
    pub const NOSYMFOLLOW: u64 = 0x0020_0000;
}

/// Propagation of a mount, as `MS_*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Propagation {
    /// Events go both ways.
    Shared,
    /// Events come in only.
    Slave,
    /// No events.
    Private,
    /// No events, and it cannot be bound.
    Unbindable,
}

impl Propagation {
    /// Returns the `MS_*` bit.
    pub fn bits(self) -> u64 {
        match self {
            Self::Shared => libc::MS_SHARED,
            Self::Slave => libc::MS_SLAVE,
            Self::Private => libc::MS_PRIVATE,
            Self::Unbindable => libc::MS_UNBINDABLE,
        }
    }
}

/// What [`mount_setattr`] changes.
#[derive(Debug, Clone, Copy, Default)]
pub struct SetAttr<'fd> {
    /// `MOUNT_ATTR_*` bits to set.
    pub set: u64,
    /// `MOUNT_ATTR_*` bits to clear.
    pub clear: u64,
    /// The new propagation.
    pub propagation: Option<Propagation>,
    /// The user namespace that maps ids; together with [`attr::IDMAP`].
    pub userns: Option<BorrowedFd<'fd>>,
}

#[repr(C)]
struct MountAttr {
    attr_set: u64,
    attr_clr: u64,
    propagation: u64,
    userns_fd: u64,
}

/// Changes the mount whose root `mount` is, with `recursive` everything below it too. `ENOSYS` before Linux 5.12.
pub fn mount_setattr(mount: BorrowedFd<'_>, recursive: bool, change: SetAttr<'_>) -> Result<()> {
    const AT_RECURSIVE: libc::c_int = 0x8000;
    let args = MountAttr {
        attr_set: change.set,
        attr_clr: change.clear,
        propagation: change.propagation.map_or(0, Propagation::bits),
        userns_fd: change.userns.map_or(0, |fd| fd.as_raw_fd() as u64),
    };
    let flags = libc::AT_EMPTY_PATH | if recursive { AT_RECURSIVE } else { 0 };
    // SAFETY: an empty path with AT_EMPTY_PATH names the borrowed descriptor; `args` is a mount_attr of the given size,
    // which the kernel only reads.
    let done = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            std::ptr::from_ref(&args),
            size_of::<MountAttr>(),
        )
    };
    if done == 0 {
        return Ok(());
    }
    Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::INVAL))
}
