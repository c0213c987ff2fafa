//! Files of containers, in and out: what `cp` and the API's archive do.
//!
//! Which of Docker's cases a copy is, is decided by [`place`] from what source and target are; every path inside is
//! resolved once, beneath the container's root (see [`crate::containers`]' view), and nothing of the container is executed:
//! archives are read, written and decompressed in this process.

use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use base::Kinded as _;
use image::tree::{self, CopyOptions, ExtractOptions, Located, Owner, PackOptions, Packer, TreeError};
use jiff::Timestamp;
use rustix::fs::FileType;
use rustix::io::Errno;
use sys::beneath::Root;

use crate::Engine;
use crate::containers::View;
use crate::db::ContainerRow;
use crate::error::{Doing, Error, Result};

/// What a path inside a container is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathStat {
    /// Its last name; `/` for the root.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// Type and permissions, as `stat` has them.
    pub mode: u32,
    /// Time of the last change.
    pub mtime: Timestamp,
    /// Where it leads, if it is a link.
    pub link_target: String,
}

/// How `cp` copies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CpOptions {
    /// Keep owners, set-id bits and devices.
    pub archive: bool,
    /// Follow a link that the source's path ends in.
    pub follow: bool,
}

/// What `cp` did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CpReport {
    /// What was copied, as it would be in an archive, in bytes.
    pub bytes: u64,
    /// What was left out, in whole sentences.
    pub warnings: Vec<String>,
}

/// Something in a container that is about to be written as an archive.
#[derive(Debug)]
pub struct Archive {
    /// What it is.
    pub stat: PathStat,
    located: Located,
    /// The container as it was asked for, and the path.
    what: String,
    view: View,
}

impl Archive {
    /// Writes it as tar; returns the bytes of the archive.
    pub fn write(self, out: &mut dyn Write) -> Result<u64> {
        let doing = || format!("cannot copy {}", self.what);
        // A link at the end of the path is written as a link, and what lies in `/` or `/.` without a name of its own.
        let path = if self.located.base.is_empty() { b"." } else { self.located.base.as_slice() };
        let (users, groups) = self.view.shift();
        let options = PackOptions { shift: (-users, -groups), ..PackOptions::default() };
        let mut packer = Packer::new(out, options);
        packer.add(self.located.folder.as_fd(), &self.located.name, path).doing(doing)?;
        let (_, _, bytes) = packer.finish().doing(doing)?;
        Ok(bytes)
    }
}

impl Engine {
    /// Tells what `path` in a container is. A link at its end is the link itself.
    pub fn archive_stat(&self, container: &str, path: &str) -> Result<PathStat> {
        let (_, view) = self.view_files(container)?;
        let located = find(&view, container, path, false)?;
        Ok(stat_of(&located))
    }

    /// Opens `path` in a container, to be written as an archive by [`Archive::write`].
    pub fn archive_get(&self, container: &str, path: &str, follow: bool) -> Result<Archive> {
        let (_, view) = self.view_files(container)?;
        let mut located = find(&view, container, path, follow)?;
        if content_only(path) {
            located.base.clear();
        }
        let what = format!("{container}:{path}");
        Ok(Archive { stat: stat_of(&located), located, what, view })
    }

    /// Takes an archive (plain, gzip, zstd) out into the folder `path` of a container; returns its bytes, plain.
    ///
    /// With `strict` a folder and something else in the archive do not take each other's place; `owner` replaces the
    /// archive's owners.
    pub fn archive_put(
        &self,
        container: &str,
        path: &str,
        archive: &mut (dyn Read + Send),
        strict: bool,
        owner: Owner,
    ) -> Result<u64> {
        let (row, view) = self.view_files(container)?;
        let located = find(&view, container, path, true)?;
        if !located.is_folder() {
            return Err(Error::Invalid("extraction point is not a directory".to_owned()));
        }
        refuse_kernel(&located, container, path)?;
        let doing = || format!("cannot copy to {container}:{path}");
        let plain = tree::plain(archive).map_err(|source| Error::System {
            action: format!("read the archive for {container}:{path}"),
            source,
        })?;
        let options = ExtractOptions { owner: outside(owner, &view), strict };
        let _acting = view.act_as_root();
        let folder = located.folder.as_fd();
        let done = tree::extract(plain, view.root(), folder, path.as_bytes(), &options)
            .map_err(explain(&row, path, doing))?;
        Ok(done.bytes)
    }

    /// Copies `path` of a container to `target` on the host.
    pub fn copy_out(
        &self,
        container: &str,
        path: &str,
        target: &Path,
        options: CpOptions,
    ) -> Result<CpReport> {
        let host = host_root()?;
        let target = absolute(target);
        check_output(&target)?;
        let (_, view) = self.view_files(container)?;
        let located = find(&view, container, path, options.follow)?;
        refuse_kernel(&located, container, path)?;
        let missing = || Error::Invalid(format!("no such directory: {}", target.display()));
        let (folder, name) =
            place(&located, content_only(path), host.as_fd(), target.as_os_str().as_bytes(), missing)?;
        let me = Owner::Fixed(rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        let (users, groups) = view.shift();
        let copy = copy_options(options, me, Owner::Shifted(-users, -groups), true);
        let doing = || format!("cannot copy {container}:{path} to {}", target.display());
        run(&located, folder.as_fd(), &name, &copy).doing(doing)
    }

    /// Copies `source` of the host to `path` in a container.
    pub fn copy_in(
        &self,
        source: &Path,
        container: &str,
        path: &str,
        options: CpOptions,
    ) -> Result<CpReport> {
        let host = host_root()?;
        let whole = absolute(source);
        let bytes = whole.as_os_str().as_bytes();
        let located = tree::locate(host.as_fd(), bytes, options.follow).map_err(|errno| Error::System {
            action: format!("copy {}", source.display()),
            source: errno.into(),
        })?;
        let (row, view) = self.view_files(container)?;
        let folder = parent_text(path);
        let missing = || Error::NoFile { path: folder.clone(), container: container.to_owned() };
        let content = content_only(&source.to_string_lossy());
        let (into, name) = place(&located, content, view.root(), path.as_bytes(), missing)?;
        if is_kernels(&into) {
            return Err(of_kernel(container, path));
        }
        let (own, kept) = (outside(Owner::Fixed(0, 0), &view), outside(Owner::Source, &view));
        let copy = copy_options(options, own, kept, false);
        let doing = || format!("cannot copy {} to {container}:{path}", source.display());
        let _acting = view.act_as_root();
        run(&located, into.as_fd(), &name, &copy).map_err(explain(&row, path, doing))
    }
}

/// Whom files in a container belong to, by the numbers outside.
fn outside(owner: Owner, view: &View) -> Owner {
    match (owner, view.shift()) {
        (owner, (0, 0)) => owner,
        (Owner::Fixed(uid, gid), (users, groups)) => {
            let shift = |id: u32, by: i64| u32::try_from(i64::from(id) + by).unwrap_or(id);
            Owner::Fixed(shift(uid, users), shift(gid, groups))
        }
        (_, (users, groups)) => Owner::Shifted(users, groups),
    }
}

fn copy_options(options: CpOptions, owner: Owner, kept: Owner, outward: bool) -> CopyOptions {
    CopyOptions {
        owner: if options.archive { kept } else { owner },
        // A program of a container's root is not to become one of the host's.
        no_set_id: outward && !options.archive,
        strict: true,
        devices: options.archive,
        root_attributes: false,
    }
}

fn run(
    source: &Located,
    into: BorrowedFd<'_>,
    name: &[u8],
    options: &CopyOptions,
) -> std::result::Result<CpReport, TreeError> {
    let copied = tree::copy(source.folder.as_fd(), &source.name, into, name, options)?;
    let warnings = match copied.devices_left_out {
        0 => Vec::new(),
        count => vec![format!("{count} device files were left out: -a as root copies them")],
    };
    Ok(CpReport { bytes: copied.bytes, warnings })
}

/// Decides where a copy goes: the folder that is open, and the name in it, `.` for its contents to be put into the folder itself.
///
/// Source: `docker cp --help` and its reference, "Corner cases"; the errors are the reference's.
fn place(
    source: &Located,
    content: bool,
    root: BorrowedFd<'_>,
    path: &[u8],
    missing: impl Fn() -> Error,
) -> Result<(OwnedFd, Vec<u8>)> {
    let wants_folder = path.ends_with(b"/") || path.ends_with(b"/.");
    let trimmed = path.strip_suffix(b"/.").filter(|rest| !rest.is_empty()).unwrap_or(path);
    let (folder, name, found) = match tree::destination(root, trimmed) {
        Err(Errno::NOENT | Errno::NOTDIR) => return Err(missing()),
        found => found.map_err(|errno| Error::System {
            action: format!("find {}", String::from_utf8_lossy(path)),
            source: errno.into(),
        })?,
    };
    let kind = found.map(|stat| FileType::from_raw_mode(stat.st_mode));
    match kind {
        Some(FileType::Directory) => {
            let folder = match name.as_slice() {
                b"." => folder,
                name => open_folder(folder.as_fd(), name, path)?,
            };
            let name = if content || source.base.is_empty() { b".".to_vec() } else { source.base.clone() };
            // The contents of something that is no folder are the thing itself.
            let name = if name == b"." && !source.is_folder() { source.name.clone() } else { name };
            Ok((folder, name))
        }
        Some(_) if source.is_folder() => Err(Error::Invalid("cannot copy directory".to_owned())),
        Some(_) if wants_folder => Err(Error::Invalid("not a directory".to_owned())),
        Some(FileType::RegularFile) => Ok((folder, name)),
        Some(_) => Err(Error::Invalid(format!(
            "destination {:?} must be a directory or a regular file",
            String::from_utf8_lossy(path)
        ))),
        None if wants_folder && !source.is_folder() => Err(Error::Invalid("no such directory".to_owned())),
        None => Ok((folder, name)),
    }
}

fn open_folder(folder: BorrowedFd<'_>, name: &[u8], path: &[u8]) -> Result<OwnedFd> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(folder, name, flags, Mode::empty()).map_err(|errno| Error::System {
        action: format!("open {}", String::from_utf8_lossy(path)),
        source: errno.into(),
    })
}

fn find(view: &View, container: &str, path: &str, follow: bool) -> Result<Located> {
    tree::locate(view.root(), path.as_bytes(), follow).map_err(|errno| match errno {
        Errno::NOENT | Errno::NOTDIR => {
            Error::NoFile { path: path.to_owned(), container: container.to_owned() }
        }
        errno => {
            Error::System { action: format!("find {path} in container {container}"), source: errno.into() }
        }
    })
}

fn stat_of(located: &Located) -> PathStat {
    let stat = &located.stat;
    let nanoseconds = i32::try_from(stat.st_mtime_nsec).unwrap_or(0);
    PathStat {
        name: match located.base.as_slice() {
            b"" => "/".to_owned(),
            name => String::from_utf8_lossy(name).into_owned(),
        },
        size: u64::try_from(stat.st_size).unwrap_or(0),
        mode: stat.st_mode,
        mtime: Timestamp::new(stat.st_mtime, nanoseconds).unwrap_or_default(),
        link_target: located
            .link
            .as_deref()
            .map(|link| String::from_utf8_lossy(link).into_owned())
            .unwrap_or_default(),
    }
}

/// Whether a path asks for what is in the folder, not for the folder.
fn content_only(path: &str) -> bool {
    path == "." || path.ends_with("/.") || path.bytes().all(|b| b == b'/')
}

fn refuse_kernel(located: &Located, container: &str, path: &str) -> Result<()> {
    if located.is_of_kernel() { Err(of_kernel(container, path)) } else { Ok(()) }
}

fn of_kernel(container: &str, path: &str) -> Error {
    Error::Invalid(format!(
        "cannot copy {container}:{path}: /proc, /sys and their like are the kernel's, not the container's; use brig exec to read or write there"
    ))
}

fn is_kernels(folder: &OwnedFd) -> bool {
    tree::is_of_kernel(folder.as_fd())
}

fn host_root() -> Result<Root> {
    Root::open(Path::new("/"))
        .map_err(|errno| Error::System { action: "open /".to_owned(), source: errno.into() })
}

/// Makes a path absolute and keeps what stands at its end: `/` and `/.` mean something.
fn absolute(path: &Path) -> std::path::PathBuf {
    if path.is_absolute() {
        return path.to_owned();
    }
    let mut whole = std::env::current_dir().unwrap_or_else(|_| "/".into()).into_os_string();
    whole.push("/");
    whole.push(path);
    whole.into()
}

/// Refuses an output path whose folder is not there, in the reference's words.
fn check_output(path: &Path) -> Result<()> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    if !path.exists() && !folder.exists() {
        return Err(Error::Invalid(format!("invalid output path: directory {folder:?} does not exist")));
    }
    Ok(())
}

/// The folder of a path inside, for a message.
fn parent_text(path: &str) -> String {
    let path = path.trim_end_matches('/');
    match path.rsplit_once('/') {
        Some(("", _)) | None => "/".to_owned(),
        Some((folder, _)) => folder.to_owned(),
    }
}

/// Makes an error of a failed write; one that met a read-only file system has the reference's words.
fn explain(
    row: &ContainerRow,
    path: &str,
    doing: impl FnOnce() -> String,
) -> impl FnOnce(TreeError) -> Error {
    let volume = row.mounts.iter().any(|point| !point.writable && path.starts_with(&point.target));
    move |error| match error.errno() {
        Some(Errno::ROFS) if volume => Error::Conflict("mounted volume is marked read-only".to_owned()),
        Some(Errno::ROFS) => Error::Conflict("container rootfs is marked read-only".to_owned()),
        _ => Error::Part { doing: doing(), kind: error.kind(), source: Box::new(error) },
    }
}
