//! Device nodes, bound device files and links of `/dev`.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use oci::runtime::LinuxDeviceType;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, makedev, mknodat, statat, symlinkat, unlinkat};
use rustix::io::Errno;
use rustix::process::{Gid, Uid};
use sys::beneath::Root;

use super::mounts;
use crate::binds::clone_tree;
use crate::error::{Doing, Error, Result};
use crate::plan::Node;

const DIR_MODE: Mode = Mode::from_raw_mode(0o755);

/// Makes a device node; something else in its place is replaced, unless it is a folder.
pub(super) fn make(root: &Root, node: &Node) -> Result<()> {
    let path = &node.path;
    let what = || format!("make the device {path:?}");
    let (parent, name) = split(path)?;
    let dir = root.ensure_dir(parent, DIR_MODE).doing(what)?;
    mounts::guard_proc(root, dir.as_fd(), parent)?;
    let (kind, device) = match node.typ {
        LinuxDeviceType::P => (FileType::Fifo, 0),
        LinuxDeviceType::B => (FileType::BlockDevice, makedev(node.major, node.minor)),
        _ => (FileType::CharacterDevice, makedev(node.major, node.minor)),
    };
    let mode = Mode::from_raw_mode(node.mode);
    match mknodat(&dir, name, kind, mode, device) {
        Err(Errno::EXIST) => {
            let stat = statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW).doing(what)?;
            let same = FileType::from_raw_mode(stat.st_mode) == kind && stat.st_rdev == device;
            if same || crate::unguard::off("nodes") {
                return Ok(());
            }
            unlinkat(&dir, name, AtFlags::empty()).doing(|| format!("replace {path:?} by a device"))?;
            mknodat(&dir, name, kind, mode, device).doing(what)?;
        }
        result => result.doing(what)?,
    }
    if (node.uid, node.gid) != (0, 0) {
        let (uid, gid) = (Uid::from_raw(node.uid), Gid::from_raw(node.gid));
        rustix::fs::chownat(&dir, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
            .doing(|| format!("give {path:?} to {}:{}", node.uid, node.gid))?;
    }
    Ok(())
}

/// Binds a device file of the host. It must be a device, whatever the name says.
pub(super) fn bind(root: &Root, path: &Path, tree: BorrowedFd<'_>) -> Result<()> {
    let (kind, _) = crate::binds::kind_of(tree).doing(|| format!("look at the host's {path:?}"))?;
    if !matches!(kind, FileType::CharacterDevice | FileType::BlockDevice | FileType::Fifo) {
        return Err(Error::invalid("linux.devices.path", path.to_string_lossy(), "a device of the host"));
    }
    mounts::attach(root, path, tree, false)
}

/// Makes a symbolic link; what is there already stays.
pub(super) fn link(root: &Root, path: &Path, target: &Path) -> Result<()> {
    let what = || format!("link {path:?} to {target:?}");
    let (parent, name) = split(path)?;
    let dir = root.ensure_dir(parent, DIR_MODE).doing(what)?;
    match symlinkat(target, &dir, name) {
        // A device node of the image's own for the terminals would be the host's.
        Err(Errno::EXIST) if name == "ptmx" => {
            let stat = statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW).doing(what)?;
            if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink {
                return Ok(());
            }
            unlinkat(&dir, name, AtFlags::empty()).doing(what)?;
            symlinkat(target, &dir, name).doing(what)
        }
        Err(Errno::EXIST) => Ok(()),
        result => result.doing(what),
    }
}

fn split(path: &Path) -> Result<(&Path, &std::ffi::OsStr)> {
    path.parent()
        .zip(path.file_name())
        .ok_or_else(|| Error::invalid("path", path.to_string_lossy(), "a file below the root"))
}

/// Returns a detached mount of the host's null device, proved to be that.
pub(super) fn null_tree() -> Result<std::os::fd::OwnedFd> {
    let what = || "open the host's /dev/null".to_owned();
    let tree = clone_tree(rustix::fs::CWD, Path::new("/dev/null"), false).doing(what)?;
    let (kind, device) = crate::binds::kind_of(&tree).doing(what)?;
    if kind != FileType::CharacterDevice || device != makedev(1, 3) {
        return Err(Error::unsupported("masking files", "/dev/null of the host is not the null device"));
    }
    Ok(tree)
}

/// Opens a file beneath the root for what is only looked at.
pub(super) fn look(root: &Root, path: &Path) -> rustix::io::Result<std::os::fd::OwnedFd> {
    root.open_in(path, OFlags::PATH, Mode::empty())
}
