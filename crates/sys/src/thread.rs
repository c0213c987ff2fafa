//! What a thread shares with the others of its process.
#![allow(unsafe_code)]

use rustix::io::Result;
use rustix::thread::UnshareFlags;

/// Gives the calling thread a working directory and file creation mask of its own.
pub fn unshare_fs() -> Result<()> {
    // SAFETY: CLONE_FS leaves memory and descriptors shared; what changes is only which working directory, root and umask this
    // thread's calls use. No safe code relies on threads having those in common.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::FS) }
}

/// Gives the calling thread a mount namespace of its own, a copy of the present one (and with it a working directory of its own).
///
/// Needs `CAP_SYS_ADMIN`.
pub fn unshare_mounts() -> Result<()> {
    // SAFETY: as in `unshare_fs`; a mount namespace changes how paths resolve in this thread, and no memory.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS | UnshareFlags::FS) }
}

/// Sets the user and group as which the calling thread makes and opens files. Capabilities that this takes away are the
/// caller's to raise again.
pub fn set_fs_ids(uid: u32, gid: u32) {
    // SAFETY: two integers; the calls touch no memory, and what they return is the ids of before.
    unsafe {
        libc::setfsgid(gid);
        libc::setfsuid(uid);
    }
}
