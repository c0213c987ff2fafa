//! A container's files as the container sees them, volumes and binds included, for `cp` and its like.
//!
//! ```text
//! running    /proc/PID/root of its init: the container's own mount namespace, entered by descriptor only
//! stopped    its snapshot, mounted in a namespace of a helper thread's own, its volumes and binds on top
//! ```
//! Nothing of the container runs for it, and nothing shows in the host's mount table. A path is resolved beneath
//! [`View::root`], where the container's absolute links and its mounts lead to what they lead to inside.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{
    MountPropagationFlags, MoveMountFlags, OpenTreeFlags, mount_change, move_mount, open_tree,
};
use sys::beneath::Root;
use sys::mount::{SetAttr, attr, mount_setattr};

use super::ContainerLock;
use super::truth::Truth;
use crate::Engine;
use crate::db::ContainerRow;
use crate::error::{Error, Result};
use crate::model::{MountKind, MountPoint, Status};
use crate::volumes::options;

/// Mode of folders and files that become mount points.
const FOLDER_MODE: Mode = Mode::from_raw_mode(0o755);
const FILE_MODE: Mode = Mode::from_raw_mode(0o644);

/// The files of a container, as long as it is held.
#[derive(Debug)]
pub(crate) struct View {
    root: OwnedFd,
    /// The numbers outside of the container's root, where they are others than inside.
    shift: Option<(u32, u32)>,
    /// Keeps the mounts of a stopped container.
    _namespace: Option<OwnedFd>,
    /// Keeps a stopped one from being started meanwhile: two mounts of one snapshot would not see each other.
    _lock: Option<ContainerLock>,
}

/// One mount of the view of a stopped container.
struct Part {
    source: Source,
    target: String,
    writable: bool,
}

/// What is mounted.
enum Source {
    /// A file or folder of the host.
    Path(PathBuf),
    /// A file system that is mounted nowhere yet.
    Tree(OwnedFd),
}

impl View {
    /// The root of the container's files; a descriptor that only names it.
    pub(crate) fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// What is to be added to the container's numbers of users and groups for those outside.
    pub(crate) fn shift(&self) -> (i64, i64) {
        self.shift.map_or((0, 0), |(uid, gid)| (i64::from(uid), i64::from(gid)))
    }

    /// Lets this thread make files that belong to the container's root: through its shifted mounts nobody else can.
    pub(crate) fn act_as_root(&self) -> Acting {
        if let Some((uid, gid)) = self.shift {
            set_fs_ids(uid, gid);
        }
        Acting(self.shift.is_some())
    }
}

/// Somebody else makes this thread's files, until it is dropped.
#[derive(Debug)]
pub(crate) struct Acting(bool);

impl Drop for Acting {
    fn drop(&mut self) {
        if self.0 {
            set_fs_ids(0, 0);
        }
    }
}

/// Changes who makes this thread's files, and keeps what root may do.
fn set_fs_ids(uid: u32, gid: u32) {
    sys::thread::set_fs_ids(uid, gid);
    // A thread may always raise what it is permitted; without it the next file says so.
    if let Ok(mut sets) = rustix::thread::capabilities(None) {
        sets.effective = sets.permitted;
        let _ = rustix::thread::set_capabilities(None, sets);
    }
}

/// The numbers outside of the root of a process's user namespace, where it is not ours.
fn shift_of(pid: i32) -> Option<(u32, u32)> {
    let namespace = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/user")).ok();
    if namespace(&pid.to_string()) == namespace("self") {
        return None;
    }
    let first = |file: &str| -> Option<u32> {
        let text = std::fs::read_to_string(format!("/proc/{pid}/{file}")).ok()?;
        let mut fields = text.split_whitespace();
        (fields.next()? == "0").then(|| fields.next()?.parse().ok()).flatten()
    };
    Some((first("uid_map")?, first("gid_map")?)).filter(|shift| *shift != (0, 0))
}

impl Engine {
    /// Opens the files of the container that `name` means.
    pub(crate) fn view_files(&self, name: &str) -> Result<(ContainerRow, View)> {
        let row = self.row(name)?;
        self.tend(&row)?;
        let row = self.row(row.id.as_str())?;
        if let Some(view) = self.running_view(&row)? {
            return Ok((row, view));
        }
        if row.status == Status::Created {
            self.make_folder(&row.id)?;
        }
        let lock = self.lock(&row.id)?;
        let row = self.row(row.id.as_str())?;
        if let Some(view) = self.running_view(&row)? {
            return Ok((row, view));
        }
        if row.status == Status::Removing {
            return Err(Error::Conflict(format!("container {} is being removed", row.name)));
        }
        let view = self.stopped_view(&row, lock)?;
        Ok((row, view))
    }

    fn running_view(&self, row: &ContainerRow) -> Result<Option<View>> {
        if row.status != Status::Running {
            return Ok(None);
        }
        let Truth::Alive(state) = self.truth(&row.id) else { return Ok(None) };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = rustix::fs::open(format!("/proc/{}", state.pid), flags, Mode::empty());
        // The number may have been given to another before the folder was opened; afterwards it cannot be.
        if !state.is_alive() {
            return Ok(None);
        }
        let root = opened.and_then(|process| rustix::fs::openat(process, "root", flags, Mode::empty()));
        let root = root.map_err(|error| Error::System {
            action: format!("open the root of container {}", row.name),
            source: error.into(),
        })?;
        Ok(Some(View { root, shift: shift_of(state.pid), _namespace: None, _lock: None }))
    }

    fn stopped_view(&self, row: &ContainerRow, lock: ContainerLock) -> Result<View> {
        // Owners are seen as the container numbers them, whatever it is shifted by while it runs.
        let rootfs = self.mount_rootfs(row, None)?;
        row.volumes().try_for_each(|name| self.make_volume_folders(name))?;
        let mut points: Vec<MountPoint> =
            row.mounts.iter().cloned().map(|point| self.with_source(point)).collect();
        let _held = self.open_subpaths(&mut points)?;
        let folder = self.container_path(&row.id);
        let own =
            [("resolv.conf", "/etc/resolv.conf"), ("hostname", "/etc/hostname"), ("hosts", "/etc/hosts")];
        let covered = |target: &str| points.iter().any(|point| point.target == target);
        let mut parts = Vec::new();
        for (name, target) in own.into_iter().filter(|(_, target)| !covered(target)) {
            let source = Source::Path(folder.join(name));
            parts.push(Part { source, target: target.to_owned(), writable: true });
        }
        for point in &points {
            let source = match (point.kind, &point.filesystem) {
                (MountKind::Tmpfs, _) => continue,
                (_, Some(filesystem)) if filesystem.kind == "tmpfs" => continue,
                (_, Some(filesystem)) if !filesystem.is_bind() => {
                    Source::Tree(options::resolve(filesystem)?.mount()?)
                }
                (_, Some(bind)) => Source::Path(PathBuf::from(&bind.device)),
                (_, None) => Source::Path(PathBuf::from(&point.source)),
            };
            parts.push(Part { source, target: point.target.clone(), writable: point.writable });
        }
        let readonly = row.spec.host_config.readonly_rootfs;
        let (root, namespace) = assemble(&rootfs, &folder, parts, readonly).map_err(|source| {
            Error::System { action: format!("put the files of container {} together", row.name), source }
        })?;
        Ok(View { root, shift: None, _namespace: Some(namespace), _lock: Some(lock) })
    }
}

/// Mounts everything in a namespace of a thread's own; returns the root and the namespace, which the mounts live as long as.
fn assemble(
    rootfs: &OwnedFd,
    point: &Path,
    parts: Vec<Part>,
    readonly: bool,
) -> io::Result<(OwnedFd, OwnedFd)> {
    std::thread::scope(|scope| {
        let work = move || assemble_here(rootfs, point, parts, readonly);
        let thread = std::thread::Builder::new().name("view".to_owned()).spawn_scoped(scope, work)?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn assemble_here(
    rootfs: &OwnedFd,
    point: &Path,
    parts: Vec<Part>,
    readonly: bool,
) -> io::Result<(OwnedFd, OwnedFd)> {
    sys::thread::unshare_mounts()?;
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    move_mount(rootfs, "", CWD, point, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = Root::from_fd(rustix::fs::open(point, flags, Mode::empty())?);
    for part in parts {
        match attach(&root, &part) {
            // What was bound is gone: the next start says so.
            Err(error) if error == Errno::NOENT => {}
            attached => attached?,
        }
    }
    if readonly {
        mount_setattr(rootfs.as_fd(), false, SetAttr { set: attr::RDONLY, ..SetAttr::default() })?;
    }
    let namespace =
        rustix::fs::open("/proc/thread-self/ns/mnt", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let root = root.resolve(Path::new("/"))?;
    Ok((root, namespace))
}

fn attach(root: &Root, part: &Part) -> rustix::io::Result<()> {
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    let opened;
    let tree = match &part.source {
        Source::Tree(tree) => tree,
        Source::Path(path) => {
            opened = open_tree(CWD, path, flags)?;
            &opened
        }
    };
    if !part.writable {
        mount_setattr(tree.as_fd(), true, SetAttr { set: attr::RDONLY, ..SetAttr::default() })?;
    }
    let stat = rustix::fs::fstat(tree)?;
    let target = Path::new(&part.target);
    let target = match FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
        true => root.ensure_dir(target, FOLDER_MODE)?,
        false => root.ensure_file(target, FILE_MODE, FOLDER_MODE)?,
    };
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(tree, "", target, "", flags)
}
