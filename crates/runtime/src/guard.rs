//! Keeps the runtime's own program out of a container's reach (CVE-2019-5736).
//!
//! A process of ours inside a container shows its program as `/proc/PID/exe`, and an entry point `#!/proc/self/exe` makes the kernel
//! execute it. Two things guard it. Our processes are not dumpable, so that only who may trace everything can follow the
//! link. And the program runs from a *read-only mount of itself that is attached nowhere*: whoever gets hold of the file
//! through it cannot open it for writing, and, because the mount belongs to no namespace any more, cannot make it writable
//! either, whatever rights he has inside. That costs two system calls and one more exec, no copy; where such a mount
//! cannot be had, and the program could be written, a sealed copy in memory takes its place.

use std::ffi::{CString, OsStr};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, MemfdFlags, Mode, OFlags, SealFlags, StatVfsMountFlags};
use sys::mount::{SetAttr, attr, mount_setattr};
use sys::process::{ExecVectors, fexecve};

use crate::binds::{clone_tree, fd_path};
use crate::error::{Doing, Result};

const SELF: &str = "/proc/self/exe";

/// The running program, opened where it cannot be written. Execute [`ProtectedExe::path`] while this value lives; to drop it waits
/// some ten microseconds for the kernel, so drop it when nobody waits for that.
#[derive(Debug)]
pub struct ProtectedExe {
    file: OwnedFd,
    // Its closing takes the mount out of every namespace.
    _mount: Option<OwnedFd>,
}

impl ProtectedExe {
    /// Returns a path that leads to it, for this process and its children.
    pub fn path(&self) -> PathBuf {
        use std::os::fd::AsRawFd;
        format!("/proc/{}/fd/{}", std::process::id(), self.file.as_raw_fd()).into()
    }
}

/// Returns whether the running program cannot be written through `/proc/self/exe`.
pub fn is_protected() -> bool {
    let Ok(exe) = open_self() else { return false };
    is_read_only(&exe) || is_sealed(&exe) || is_foreign(&exe)
}

/// Returns the running program as a process inside a container may run it, in place of `/proc/self/exe`. `None` when the
/// running program is protected already.
///
/// Whoever starts a process that calls [`crate::create`] or [`crate::exec`] starts it from this.
pub fn protected_exe() -> Result<Option<ProtectedExe>> {
    if is_protected() {
        return Ok(None);
    }
    read_only_mount().or_else(|_| sealed_copy()).map(Some)
}

/// Executes the running program again from a protected place, with its arguments and environment; returns when it
/// runs from one already.
pub fn ensure_protected() -> Result<()> {
    if crate::unguard::off("exe") {
        return Ok(());
    }
    let Some(exe) = protected_exe()? else { return Ok(()) };
    let text = |bytes: Vec<u8>| CString::new(bytes).ok();
    let args = std::env::args_os().filter_map(|arg| text(arg.into_vec())).collect();
    let pair = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        text([name.as_bytes(), b"=", value.as_bytes()].concat())
    };
    let vectors = ExecVectors::new(args, std::env::vars_os().filter_map(pair).collect());
    Err(fexecve(exe.file.as_fd(), &vectors)).doing(|| "execute the own program from a protected place".into())
}

fn open_self() -> rustix::io::Result<OwnedFd> {
    rustix::fs::open(SELF, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
}

fn is_read_only(exe: &OwnedFd) -> bool {
    rustix::fs::fstatvfs(exe).is_ok_and(|stat| stat.f_flag.contains(StatVfsMountFlags::RDONLY))
}

fn is_sealed(exe: &OwnedFd) -> bool {
    let readable = rustix::fs::open(fd_path(exe), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
    readable.and_then(rustix::fs::fcntl_get_seals).is_ok_and(|seals| seals.contains(SealFlags::WRITE))
}

/// A caller who neither owns the program nor may write it cannot have it written from a container of his either.
fn is_foreign(exe: &OwnedFd) -> bool {
    let euid = rustix::process::geteuid();
    let owned = rustix::fs::fstat(exe).is_ok_and(|stat| stat.st_uid == euid.as_raw());
    let writable =
        rustix::fs::access(Path::new(OsStr::from_bytes(fd_path(exe).as_bytes())), Access::WRITE_OK).is_ok();
    !owned && !writable
}

/// Mounts the program over nothing, read-only. The mount is dissolved when its first descriptor is closed; the second, an
/// open file in it, keeps it alive without a namespace.
fn read_only_mount() -> Result<ProtectedExe> {
    let what = || "make a read-only mount of the own program".to_owned();
    let tree = clone_tree(rustix::fs::CWD, Path::new(SELF), false).doing(what)?;
    mount_setattr(tree.as_fd(), false, SetAttr { set: attr::RDONLY, ..SetAttr::default() }).doing(what)?;
    let file =
        rustix::fs::open(fd_path(&tree), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).doing(what)?;
    Ok(ProtectedExe { file, _mount: Some(tree) })
}

/// Copies the program into memory that can never be written again.
fn sealed_copy() -> Result<ProtectedExe> {
    let what = || "copy the own program into sealed memory".to_owned();
    // MFD_EXEC is unknown before Linux 6.3, where every memory file may be executed.
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let copy = rustix::fs::memfd_create("brig", flags | MemfdFlags::EXEC)
        .or_else(|_| rustix::fs::memfd_create("brig", flags))
        .doing(what)?;
    let mut source = std::fs::File::open(SELF).doing(what)?;
    let mut target = std::fs::File::from(copy);
    std::io::copy(&mut source, &mut target).doing(what)?;
    rustix::fs::fchmod(&target, Mode::from_raw_mode(0o500)).doing(what)?;
    let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
    rustix::fs::fcntl_add_seals(&target, seals).doing(what)?;
    // A file that is open for writing cannot be executed.
    let target = OwnedFd::from(target);
    let file =
        rustix::fs::open(fd_path(&target), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).doing(what)?;
    Ok(ProtectedExe { file, _mount: None })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn cannot_be_written(exe: &OwnedFd) {
        for flags in [OFlags::WRONLY, OFlags::RDWR, OFlags::WRONLY | OFlags::TRUNC] {
            assert!(rustix::fs::open(fd_path(exe), flags, Mode::empty()).is_err());
        }
    }

    #[test]
    fn root_a_mount_of_the_program_cannot_be_made_writable() {
        if !rustix::process::geteuid().is_root() {
            let _ = writeln!(std::io::stderr(), "SKIP needs root");
            return;
        }
        let ProtectedExe { file: exe, _mount: mount } = read_only_mount().unwrap();
        drop(mount);
        cannot_be_written(&exe);
        assert!(is_read_only(&exe));
        let clear = SetAttr { clear: attr::RDONLY, ..SetAttr::default() };
        assert!(mount_setattr(exe.as_fd(), false, clear).is_err(), "the mount belongs to no namespace");
        let flags = rustix::mount::MountFlags::BIND;
        assert!(rustix::mount::mount_remount(fd_path(&exe), flags, c"").is_err());
    }

    #[test]
    fn a_sealed_copy_cannot_be_written() {
        let exe = sealed_copy().unwrap().file;
        assert!(is_sealed(&exe));
        assert!(rustix::fs::ftruncate(&exe, 0).is_err());
        let writable = rustix::fs::open(fd_path(&exe), OFlags::RDWR, Mode::empty());
        assert!(writable.is_err() || rustix::io::write(writable.unwrap(), b"x").is_err());
    }
}
