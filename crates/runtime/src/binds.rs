//! Opens what the container gets of the host: each source becomes a detached mount tree with its options applied, which the
//! init later only attaches. A privileged caller opens them before the container's process exists, so that neither a path the
//! container's user may not search nor a mount that only the host's root may map stands in the way.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, OpenTreeFlags};
use rustix::thread::LinkNameSpaceType;
use sys::beneath::Root;
use sys::mount::{Propagation, SetAttr, attr, mount_setattr};

use crate::error::{Doing, Error, Result};
use crate::idmap;
use crate::plan::BindSource;
use crate::plan::options::MountOptions;

/// An opened source.
#[derive(Debug)]
pub(crate) struct Bind {
    /// The root of the detached tree.
    pub(crate) tree: OwnedFd,
    /// It is a folder.
    pub(crate) is_dir: bool,
    /// The kernel (before 5.12) can only apply the options once it is attached.
    pub(crate) pending: bool,
}

/// Opens `source` and applies its options.
pub(crate) fn open(source: &BindSource) -> Result<Bind> {
    let what = || format!("bind {:?} for the {}", source.path, source.what);
    let recursive = source.options.bind == Some(true);
    let tree = match clone_tree(rustix::fs::CWD, &source.path, recursive) {
        // What another container has mounted can only be cloned in its own mount namespace.
        Err(Errno::INVAL) => match (in_other_root(&source.path), descriptor_of(&source.path)) {
            (Some((pid, path)), _) => clone_elsewhere(pid, &path, recursive).doing(what)?,
            (None, Some(pid)) => clone_descriptor(pid, &source.path, recursive).doing(what)?,
            (None, None) => return Err(Errno::INVAL).doing(what),
        },
        other => other.doing(what)?,
    };
    let stat = rustix::fs::fstat(&tree).doing(what)?;
    let is_dir = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
    if let Some((users, groups)) = &source.idmap {
        let userns = idmap::user_namespace(users, groups)?;
        let below = source.options.idmap.unwrap_or(true) && recursive;
        let change = SetAttr { set: attr::IDMAP, userns: Some(userns.as_fd()), ..SetAttr::default() };
        mount_setattr(tree.as_fd(), below, change)
            .doing(|| format!("map the ids of the mount of {:?}", source.path))?;
    }
    let pending = match apply(tree.as_fd(), &source.options) {
        Ok(()) => false,
        Err(Errno::NOSYS) => true,
        Err(error) => return Err(error).doing(|| format!("set the options of the {}", source.what)),
    };
    Ok(Bind { tree, is_dir, pending })
}

/// Splits `/proc/PID/root/PATH`.
fn in_other_root(path: &Path) -> Option<(u32, PathBuf)> {
    let (pid, rest) = path.to_str()?.strip_prefix("/proc/")?.split_once("/root/")?;
    Some((pid.parse().ok()?, Path::new("/").join(rest)))
}

/// The process whose descriptor `/proc/PID/fd/N` is.
fn descriptor_of(path: &Path) -> Option<u32> {
    let (pid, number) = path.to_str()?.strip_prefix("/proc/")?.split_once("/fd/")?;
    number.parse::<u32>().ok()?;
    pid.parse().ok()
}

/// Clones what is mounted at `path` in the mount namespace of the process `pid`. No link on the way is followed: they are
/// the work of whoever lives there.
fn clone_elsewhere(pid: u32, path: &Path, recursive: bool) -> rustix::io::Result<OwnedFd> {
    inside(pid, || {
        let root = Root::from_fd(open_host("/", OFlags::PATH)?);
        clone_tree(root.open_no_links(path, OFlags::PATH, Mode::empty())?, Path::new(""), recursive)
    })
}

/// Clones what the descriptor at `path`, of the process `pid`, leads to: the caller's way of naming a folder that nobody can
/// exchange any more.
fn clone_descriptor(pid: u32, path: &Path, recursive: bool) -> rustix::io::Result<OwnedFd> {
    let there = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    inside(pid, || clone_tree(there, Path::new(""), recursive))
}

fn open_host(path: &str, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    rustix::fs::open(path, flags | OFlags::CLOEXEC, Mode::empty())
}

/// Does something in the mount namespace of the process `pid`, and comes back. The caller must have one thread.
fn inside<T>(pid: u32, act: impl FnOnce() -> rustix::io::Result<T>) -> rustix::io::Result<T> {
    let namespace = open_host(&format!("/proc/{pid}/ns/mnt"), OFlags::RDONLY)?;
    let home = open_host("/proc/self/ns/mnt", OFlags::RDONLY)?;
    let (root, folder) = (open_host("/", OFlags::PATH)?, open_host(".", OFlags::PATH)?);
    let enter = |namespace: &OwnedFd| {
        rustix::thread::move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Mount))
    };
    enter(&namespace)?;
    let done = act();
    // Entering a mount namespace changes the root and the working folder, too.
    enter(&home)?;
    rustix::process::fchdir(&root)?;
    rustix::process::chroot(".")?;
    rustix::process::fchdir(&folder)?;
    done
}

/// Clones what is mounted at `path` into a detached tree.
pub(crate) fn clone_tree(dir: impl AsFd, path: &Path, recursive: bool) -> rustix::io::Result<OwnedFd> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    if path.as_os_str().is_empty() {
        flags |= OpenTreeFlags::AT_EMPTY_PATH;
    }
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    rustix::mount::open_tree(dir, path, flags)
}

/// Applies the options to a mount. Without a word on propagation it becomes private, with everything below.
pub(crate) fn apply(tree: impl AsFd, options: &MountOptions) -> rustix::io::Result<()> {
    let tree = tree.as_fd();
    let (propagation, below) = match options.propagation {
        Some((word, below)) => (Propagation::from(word), below),
        None => (Propagation::Private, true),
    };
    mount_setattr(tree, below, SetAttr { propagation: Some(propagation), ..SetAttr::default() })?;
    if options.set | options.clear != 0 {
        mount_setattr(tree, false, SetAttr { set: options.set, clear: options.clear, ..SetAttr::default() })?;
    }
    if options.set_recursive | options.clear_recursive != 0 {
        let change =
            SetAttr { set: options.set_recursive, clear: options.clear_recursive, ..SetAttr::default() };
        mount_setattr(tree, true, change)?;
    }
    Ok(())
}

/// Does what [`apply`] does to an attached mount by mount(2), for kernels before 5.12. Recursive attributes cannot be had there.
pub(crate) fn apply_old(tree: impl AsFd, options: &MountOptions) -> Result<()> {
    if options.set_recursive | options.clear_recursive != 0 {
        return Err(Error::unsupported("a recursive mount attribute", "it needs Linux 5.12"));
    }
    let path = fd_path(tree.as_fd());
    let (word, below) = match options.propagation {
        Some((word, below)) => (word, below),
        None => (crate::plan::options::PropagationWord::Private, true),
    };
    change_propagation_old(&path, word.into(), below).doing(|| "change the propagation of a mount".into())?;
    if options.set | options.clear == 0 {
        return Ok(());
    }
    let kept = rustix::fs::fstatvfs(&tree).doing(|| "read the flags of a mount".into())?.f_flag.bits();
    // The ST_* bits of statvfs for ro, nosuid, nodev, noexec have the values of MS_* and of MOUNT_ATTR_*.
    let bits = (kept & 0xf & !options.clear) | (options.set & 0xf);
    let mut flags = MountFlags::from_bits_retain(bits as u32) | MountFlags::BIND;
    if options.set & attr::NOATIME != 0 {
        flags |= MountFlags::NOATIME;
    }
    if options.set & attr::STRICTATIME != 0 {
        flags |= MountFlags::STRICTATIME;
    }
    if options.set & attr::NODIRATIME != 0 {
        flags |= MountFlags::NODIRATIME;
    }
    rustix::mount::mount_remount(&path, flags, c"").doing(|| "change the flags of a mount".into())
}

/// Changes the propagation of an attached mount by mount(2).
pub(crate) fn change_propagation_old(
    path: &CString,
    word: Propagation,
    below: bool,
) -> rustix::io::Result<()> {
    use rustix::mount::MountPropagationFlags as Flags;
    let mut flags = match word {
        Propagation::Shared => Flags::SHARED,
        Propagation::Slave => Flags::DOWNSTREAM,
        Propagation::Private => Flags::PRIVATE,
        Propagation::Unbindable => Flags::UNBINDABLE,
    };
    if below {
        flags |= Flags::REC;
    }
    rustix::mount::mount_change(path, flags)
}

/// Returns the path by which mount(2) finds an open descriptor: only while the host's `/proc` is there.
pub(crate) fn fd_path(fd: impl AsFd) -> CString {
    use std::os::fd::AsRawFd;
    CString::new(format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd())).unwrap_or_default()
}

/// Opens a path of the host without following what procfs links.
pub(crate) fn open_path(path: &Path) -> rustix::io::Result<OwnedFd> {
    rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
}

/// Returns the type of an open file and, of a device, its number.
pub(crate) fn kind_of(fd: impl AsFd) -> rustix::io::Result<(FileType, u64)> {
    let stat = rustix::fs::fstat(fd)?;
    Ok((FileType::from_raw_mode(stat.st_mode), stat.st_rdev))
}

/// Whether two descriptors name the same file (of the same mounted file system).
pub(crate) fn same_file(one: impl AsFd, other: impl AsFd) -> bool {
    let id = |fd: std::os::fd::BorrowedFd<'_>| {
        rustix::fs::statat(fd, c"", AtFlags::EMPTY_PATH).map(|s| (s.st_dev, s.st_ino))
    };
    matches!((id(one.as_fd()), id(other.as_fd())), (Ok(a), Ok(b)) if a == b)
}
