//! Applies the plan beneath the root, operation by operation. Every target is opened by descriptor beneath the root and
//! attached by descriptor: no path is resolved twice, and what an image put in the way cannot lead outside.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};
use sys::beneath::Root;
use sys::mount::{SetAttr, mount_setattr};

use super::cover::Cover;
use super::terminal::Terminal;
use super::{Setup, cgroups, copy_up, nodes, rootfs, terminal};
use crate::binds::{self, Bind};
use crate::channel::{Channel, FromInit};
use crate::error::{Doing, Error, Result};
use crate::plan::options::MountOptions;
use crate::plan::{MountKind, MountOp, PROC_ALLOWED, SetupOp};
use crate::procfs::is_procfs;

const DIR_MODE: Mode = Mode::from_raw_mode(0o755);
const FILE_MODE: Mode = Mode::from_raw_mode(0o644);

/// Applies all operations; returns the terminal when one was opened.
pub(super) fn apply(setup: &mut Setup<'_>, root: &Root, channel: &Channel) -> Result<Option<Terminal>> {
    // Modes are meant as they are written.
    let umask = rustix::process::umask(Mode::empty());
    let mut cover = Cover::default();
    let mut opened = None;
    let plan = std::mem::take(&mut setup.plan);
    // One by one, when its turn comes: the mount table then lists the mounts in the order of the spec.
    let take = |index: usize| match setup.asked_binds.get(index) {
        Some(true) => ask_for_bind(channel, index),
        _ => binds::open(&plan.binds[index]),
    };
    for op in &plan.ops {
        match op {
            SetupOp::Mount(op) => match op.kind {
                MountKind::Bind(index) => attach_bind(root, op, take(index)?)?,
                MountKind::Cgroup => cgroups::mount(root, op, setup)?,
                MountKind::Remount => remount(root, op)?,
                MountKind::Filesystem { ref fstype, ref source } => {
                    mount_filesystem(root, op, fstype, source)?
                }
            },
            SetupOp::MakeNode(node) => nodes::make(root, node)?,
            SetupOp::BindNode { path, bind } => {
                let bind = take(*bind)?;
                nodes::bind(root, path, bind.tree.as_fd())?;
            }
            SetupOp::Link { path, target } => nodes::link(root, path, target)?,
            // A folder that cannot be made is an error only if it is missing when it is entered.
            SetupOp::EnsureFolder(path) => drop(root.ensure_dir(path, DIR_MODE)),
            SetupOp::Console => opened = Some(terminal::open(root, setup.window, setup.program.uid)?),
            SetupOp::Mask(path) => cover.mask(root, path)?,
            SetupOp::ReadonlyPath(path) => cover.make_readonly(root, path)?,
            // The last step, after the hooks.
            SetupOp::ReadonlyRoot => {}
        }
    }
    setup.plan.root_propagation = plan.root_propagation;
    rustix::process::umask(umask);
    Ok(opened)
}

/// Has the runtime open what the init may not, or could only open without its ties to the host's mounts.
fn ask_for_bind(channel: &Channel, index: usize) -> Result<Bind> {
    let what = || "have the runtime open a bind mount".to_owned();
    channel.report(&FromInit::WantBind(index)).doing(what)?;
    channel.take_bind().doing(what)?.ok_or_else(super::gone)
}

/// Opens the place of a mount beneath the root and makes it where it is missing.
pub(super) fn target(root: &Root, path: &Path, is_dir: bool) -> rustix::io::Result<OwnedFd> {
    #[cfg(feature = "unguarded")]
    if crate::unguard::off("beneath") {
        return crate::unguard::careless::target(root, path, is_dir);
    }
    if is_dir { root.ensure_dir(path, DIR_MODE) } else { root.ensure_file(path, FILE_MODE, DIR_MODE) }
}

/// The same for what must be at its very place: `/proc` and `/sys` that an image replaced by links are refused, or what is
/// written there later would go elsewhere.
pub(super) fn target_without_links(root: &Root, path: &Path) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY;
    match root.open_no_links(path, flags, Mode::empty()) {
        Err(Errno::NOENT) => {
            root.ensure_dir(path, DIR_MODE)?;
            root.open_no_links(path, flags, Mode::empty())
        }
        result => result,
    }
}

/// Refuses to cover what the runtime, the kernel or the masks rely on in `/proc`, however the path led there.
pub(super) fn guard_proc(root: &Root, target: BorrowedFd<'_>, path: &Path) -> Result<()> {
    if crate::unguard::off("proc") || !is_procfs(target).doing(|| format!("look at {path:?}"))? {
        return Ok(());
    }
    let real = real_path(root, target).doing(|| format!("read where {path:?} leads"))?;
    if PROC_ALLOWED.iter().any(|allowed| real.as_path() == Path::new(allowed)) {
        return Ok(());
    }
    let allowed = format!("it leads to {real:?}, and nothing may be mounted there");
    Err(Error::invalid("mounts.destination", path.to_string_lossy(), allowed))
}

/// Returns where an opened file is, as a path from the container's root.
fn real_path(root: &Root, target: BorrowedFd<'_>) -> rustix::io::Result<std::path::PathBuf> {
    use std::os::unix::ffi::OsStringExt;
    let proc = crate::procfs::Procfs::host()?;
    let pid = proc.own()?;
    let read = |fd: BorrowedFd<'_>| {
        use std::os::fd::AsRawFd;
        let dir = proc.file(&format!("{pid}/fd"), OFlags::PATH | OFlags::DIRECTORY)?;
        let link = rustix::fs::readlinkat(&dir, fd.as_raw_fd().to_string(), Vec::new())?;
        Ok::<_, Errno>(std::path::PathBuf::from(std::ffi::OsString::from_vec(link.into_bytes())))
    };
    let (root, target) = (read(root.as_fd())?, read(target)?);
    Ok(Path::new("/").join(target.strip_prefix(root).unwrap_or(&target)))
}

/// Attaches `tree` on `path`.
pub(super) fn attach(root: &Root, path: &Path, tree: BorrowedFd<'_>, is_dir: bool) -> Result<()> {
    let target = target(root, path, is_dir).doing(|| format!("make or open {path:?} to mount on it"))?;
    guard_proc(root, target.as_fd(), path)?;
    rootfs::move_to(tree, target.as_fd()).doing(|| format!("mount on {path:?}"))
}

fn attach_bind(root: &Root, op: &MountOp, bind: Bind) -> Result<()> {
    let path = &op.destination;
    if path == Path::new("/proc") && !is_procfs(&bind.tree).doing(|| "look at the source for /proc".into())? {
        return Err(Error::invalid(field(op), "/proc", "only a procfs may be mounted there"));
    }
    attach(root, path, bind.tree.as_fd(), bind.is_dir)?;
    if bind.pending { binds::apply_old(&bind.tree, &op.options) } else { Ok(()) }
}

fn field(op: &MountOp) -> String {
    format!("mounts[{}].destination", op.index)
}

fn mount_filesystem(root: &Root, op: &MountOp, fstype: &str, source: &str) -> Result<()> {
    let path = &op.destination;
    let what = || format!("mount {fstype} on {path:?}");
    let strict = matches!(fstype, "proc" | "sysfs") && !crate::unguard::off("links");
    if path == Path::new("/proc") && fstype != "proc" {
        return Err(Error::invalid(field(op), "/proc", "only a procfs may be mounted there"));
    }
    let tree = match new_filesystem(fstype, source, &op.options) {
        Ok(tree) => tree,
        // A user namespace may make these only over namespaces that it owns; the host's own can still be shown.
        Err((Errno::PERM, _)) if strict => {
            let host = if fstype == "proc" { "/proc" } else { "/sys" };
            binds::clone_tree(rustix::fs::CWD, Path::new(host), true).doing(what)?
        }
        Err((error, said)) => {
            let said = if said.is_empty() { String::new() } else { format!(" ({said})") };
            return Err(error).doing(|| format!("{}{said}", what()));
        }
    };
    if op.options.copy_up {
        copy_up::fill(root, path, tree.as_fd())?;
    }
    if strict {
        let target = target_without_links(root, path).doing(|| {
            format!("mount {fstype} on {path:?}: it must be mounted on ordinary directory, no link")
        })?;
        rootfs::move_to(tree.as_fd(), target.as_fd()).doing(what)?;
    } else {
        attach(root, path, tree.as_fd(), true)?;
    }
    let options = MountOptions { set: late_attributes(&op.options), clear: 0, ..op.options.clone() };
    if options.set == 0 && options.set_recursive == 0 && options.propagation.is_none() {
        return Ok(());
    }
    match binds::apply(&tree, &options) {
        Err(Errno::NOSYS) => binds::apply_old(&tree, &options),
        result => result.doing(|| format!("set the options of the mount on {path:?}")),
    }
}

/// Attributes that cannot be given while the mount is made: read-only after a copy-up.
fn late_attributes(options: &MountOptions) -> u64 {
    if options.copy_up { options.set & sys::mount::attr::RDONLY } else { 0 }
}

/// Makes a file system instance and a detached mount of it. The error carries what the kernel said in words.
pub(super) fn new_filesystem(
    fstype: &str,
    source: &str,
    options: &MountOptions,
) -> Result<OwnedFd, (Errno, String)> {
    let plain = |error: Errno| (error, String::new());
    let context = rustix::mount::fsopen(fstype, FsOpenFlags::FSOPEN_CLOEXEC).map_err(plain)?;
    let configure = || -> rustix::io::Result<()> {
        rustix::mount::fsconfig_set_string(&context, "source", source)?;
        for flag in &options.superblock {
            rustix::mount::fsconfig_set_flag(&context, *flag)?;
        }
        for item in options.data.iter().flat_map(|item| split_data(item)) {
            match item.split_once('=') {
                Some((key, value)) => rustix::mount::fsconfig_set_string(&context, key, value)?,
                None => rustix::mount::fsconfig_set_flag(&context, item)?,
            }
        }
        rustix::mount::fsconfig_create(&context)
    };
    let said = |error: Errno| {
        let mut log = [0; 256];
        let length = rustix::io::read(&context, &mut log).unwrap_or(0);
        (error, String::from_utf8_lossy(&log[..length]).trim().trim_start_matches("e ").to_owned())
    };
    configure().map_err(said)?;
    let attrs = options.set & !late_attributes(options);
    let attrs = MountAttrFlags::from_bits_retain(attrs as u32);
    rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attrs).map_err(said)
}

/// One option may hold several for the file system, except where a comma belongs to the value (`context=`).
fn split_data(item: &str) -> Vec<&str> {
    if item.contains("context=") {
        vec![item]
    } else {
        item.split(',').filter(|part| !part.is_empty()).collect()
    }
}

fn remount(root: &Root, op: &MountOp) -> Result<()> {
    let path = &op.destination;
    let what = || format!("remount {path:?}");
    let target = root.resolve(path).doing(what)?;
    let is_superblock =
        op.options.bind.is_none() && !(op.options.superblock.is_empty() && op.options.data.is_empty());
    if is_superblock {
        let flags =
            rustix::mount::FsPickFlags::FSPICK_CLOEXEC | rustix::mount::FsPickFlags::FSPICK_EMPTY_PATH;
        let context = rustix::mount::fspick(&target, c"", flags).doing(what)?;
        for item in op.options.superblock.iter().copied().chain(op.options.data.iter().map(String::as_str)) {
            match item.split_once('=') {
                Some((key, value)) => rustix::mount::fsconfig_set_string(&context, key, value),
                None => rustix::mount::fsconfig_set_flag(&context, item),
            }
            .doing(what)?;
        }
        rustix::mount::fsconfig_reconfigure(&context).doing(what)?;
    }
    let change = SetAttr { set: op.options.set, clear: op.options.clear, ..SetAttr::default() };
    match mount_setattr(target.as_fd(), false, change) {
        Err(Errno::NOSYS) => binds::apply_old(&target, &op.options),
        result => result.doing(what),
    }
}
