//! Making one member after the other.

use std::collections::{BTreeMap, BTreeSet};
use std::io::BufRead;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Timespec, Timestamps, Uid};
use rustix::io::Errno;

use super::folders::{Blocked, Folders, open_folder};
use super::path::{self, Target};
use super::xattr::{self, Form};
use super::{LowerLink, UnpackError, UnpackOptions, Unpacked, guard, remove};
use crate::tar::{Entry, Kind, Reader, Timestamp, shorten};

/// Permission bits that survive a change of owner and writing; set-id bits are set again afterwards.
const PLAIN_BITS: u32 = 0o1777;
/// What a file takes on disk is counted in these.
const PAGE: u64 = 4096;

/// The state of unpacking one layer.
#[derive(Debug)]
pub(super) struct Unpacker<'a> {
    folders: Folders,
    form: Form,
    options: &'a UnpackOptions,
    done: Unpacked,
    implicit: BTreeSet<Vec<u8>>,
    /// Links to lower layers by name: their turn, and the target.
    links: BTreeMap<Vec<u8>, (u64, Vec<u8>)>,
    /// Bytes of `implicit` and `links` ever, for the limit.
    deferred: usize,
    /// The path of the member at hand, clean.
    path: Vec<u8>,
    /// Likewise the target of a hard link.
    target: Vec<u8>,
    /// Whom new files belong to by themselves.
    own: (u32, u32),
    /// Nobody else exists in this user namespace.
    alone: bool,
    /// New files get exactly the mode that they are made with.
    exact_modes: bool,
}

type Done = Result<(), UnpackError>;

impl<'a> Unpacker<'a> {
    pub(super) fn new(root: OwnedFd, form: Form, options: &'a UnpackOptions) -> Result<Self, UnpackError> {
        // Without a mask of this thread's own (an old sandbox may forbid it) every mode is set once more.
        let exact_modes = sys::thread::unshare_fs().is_ok();
        if exact_modes {
            rustix::process::umask(Mode::empty());
        }
        let folders = Folders::new(root, form, options.depth).map_err(|e| io("open", b"/", e))?;
        let own = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        Ok(Self {
            folders,
            form,
            options,
            done: Unpacked::default(),
            implicit: BTreeSet::new(),
            links: BTreeMap::new(),
            deferred: 0,
            path: Vec::with_capacity(4096),
            target: Vec::new(),
            own,
            alone: maps_one_only("/proc/self/uid_map") || maps_one_only("/proc/self/gid_map"),
            exact_modes,
        })
    }

    /// Makes the member that `entry` describes; its data comes from `reader`.
    pub(super) fn apply<R: BufRead>(&mut self, entry: &Entry, reader: &mut Reader<R>) -> Done {
        self.done.entries += 1;
        let mut path = std::mem::take(&mut self.path);
        let result = path::clean(&entry.path, &mut path)
            .and_then(|()| path::interpret(&path))
            .map_err(|reason| refused(&entry.path, reason))
            .and_then(|target| self.apply_at(target, entry, reader));
        self.path = path;
        result
    }

    /// Sets what is left to set, and returns what came out.
    pub(super) fn finish(self) -> Result<Unpacked, UnpackError> {
        self.folders.finish().map_err(|e| io("set the time of", b"/", e))?;
        let mut done = self.done;
        done.implicit = self.implicit.into_iter().collect();
        let mut links: Vec<_> = self.links.into_iter().collect();
        links.sort_by_key(|(_, (turn, _))| *turn);
        done.links = links.into_iter().map(|(name, (_, target))| LowerLink { name, target }).collect();
        Ok(done)
    }

    fn apply_at<R: BufRead>(&mut self, target: Target<'_>, entry: &Entry, reader: &mut Reader<R>) -> Done {
        match target {
            Target::Root => self.root(entry),
            Target::Ignored => Ok(()),
            Target::Opaque(folder) => {
                self.enter(folder)?;
                xattr::set_opaque(&self.folders.fd(), self.form).map_err(|e| io("make opaque", folder, e))
            }
            Target::Whiteout(folder, name) => {
                self.enter(folder)?;
                self.whiteout(name).map_err(|e| io("hide", name, e))
            }
            Target::Member(folder, name) => {
                self.enter(folder)?;
                if !self.links.is_empty() {
                    // A later member of the same name takes the place of a link to a lower layer.
                    self.links.remove(&self.full(name));
                }
                match entry.kind {
                    Kind::File => self.file(name, entry, reader),
                    Kind::Folder => self.folder(name, entry),
                    Kind::Symlink => self.symlink(name, entry),
                    Kind::HardLink => self.hard_link(name, entry),
                    Kind::CharDevice | Kind::BlockDevice | Kind::Fifo => self.node(name, entry),
                }
            }
        }
    }

    fn enter(&mut self, folder: &[u8]) -> Done {
        let (implicit, deferred) = (&mut self.implicit, &mut self.deferred);
        let entered = self.folders.enter(folder, &mut |made: &[u8]| {
            *deferred += made.len() + 64;
            implicit.insert(made.to_vec());
        });
        entered.map_err(|blocked| blocked_by(folder, &blocked, self.options.depth))?;
        self.check_deferred()
    }

    fn check_deferred(&self) -> Done {
        let (value, limit) = (self.deferred as u64, self.options.deferred as u64);
        if value <= limit {
            return Ok(());
        }
        Err(UnpackError::Limit { what: "the length in bytes of what depends on lower layers", value, limit })
    }

    /// Returns the whole path of `name` in the folder that is worked in.
    fn full(&self, name: &[u8]) -> Vec<u8> {
        match self.folders.path() {
            b"" => name.to_vec(),
            folder => [folder, b"/", name].concat(),
        }
    }

    fn root(&mut self, entry: &Entry) -> Done {
        if entry.kind != Kind::Folder {
            return Err(refused(b"/", "the root of a layer is a folder"));
        }
        self.enter(b"")?;
        self.done.has_root = true;
        let fd = self.folders.fd();
        self.finish_open(fd, b"/", entry, true)?;
        self.folders.set_attributes(timespec(entry.mtime), entry.mode);
        Ok(())
    }

    fn folder(&mut self, name: &[u8], entry: &Entry) -> Done {
        let mode = Mode::from_raw_mode(entry.mode & PLAIN_BITS);
        let mut existed = false;
        match rustix::fs::mkdirat(self.folders.fd(), name, mode) {
            Ok(()) => {}
            Err(Errno::EXIST) => {
                existed = self.make_folder_over(name, mode).map_err(|e| io("create", name, e))?
            }
            Err(errno) => return Err(io("create", name, errno)),
        }
        self.folders.touch();
        let again = existed || self.folders.is_setgid();
        let fd = open_folder(self.folders.fd(), name).map_err(|e| io("open", name, e))?;
        self.finish_open(fd.as_fd(), name, entry, again)?;
        self.folders.push(fd, name).map_err(|blocked| blocked_by(name, &blocked, self.options.depth))?;
        self.folders.set_attributes(timespec(entry.mtime), entry.mode);
        if !self.implicit.is_empty() {
            self.implicit.remove(self.folders.path());
        }
        Ok(())
    }

    /// Makes a folder where something is; returns whether that was a folder, which then stays.
    fn make_folder_over(&mut self, name: &[u8], mode: Mode) -> rustix::io::Result<bool> {
        let found = rustix::fs::statat(self.folders.fd(), name, AtFlags::SYMLINK_NOFOLLOW)?;
        if FileType::from_raw_mode(found.st_mode) == FileType::Directory {
            return Ok(true);
        }
        rustix::fs::unlinkat(self.folders.fd(), name, AtFlags::empty())?;
        rustix::fs::mkdirat(self.folders.fd(), name, mode)?;
        if is_whiteout(&found) {
            xattr::set_opaque(&open_folder(self.folders.fd(), name)?, self.form)?;
        }
        Ok(false)
    }

    fn file<R: BufRead>(&mut self, name: &[u8], entry: &Entry, reader: &mut Reader<R>) -> Done {
        let flags = OFlags::WRONLY | OFlags::CREATE | guard::anew() | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(entry.mode & PLAIN_BITS);
        let fd = self
            .replacing(name, |folder| rustix::fs::openat(folder, name, flags, mode))
            .map_err(|e| io("create", name, e))?;
        write_data(&fd, name, entry, reader)?;
        self.done.size = self.done.size.saturating_add(entry.size);
        self.done.disk = self.done.disk.saturating_add(entry.size.div_ceil(PAGE).saturating_mul(PAGE));
        self.finish_open(fd.as_fd(), name, entry, self.folders.is_setgid())?;
        let mtime = timespec(entry.mtime);
        rustix::fs::futimens(&fd, &Timestamps { last_access: mtime, last_modification: mtime })
            .map_err(|e| io("set the time of", name, e))
    }

    fn symlink(&mut self, name: &[u8], entry: &Entry) -> Done {
        let link = entry.link.as_slice();
        if link.is_empty() {
            return Err(refused(&entry.path, "it is a link to nothing"));
        }
        self.replacing(name, |folder| rustix::fs::symlinkat(link, folder, name))
            .map_err(|e| io("create", name, e))?;
        self.finish_named(name, entry, false)
    }

    fn node(&mut self, name: &[u8], entry: &Entry) -> Done {
        let kind = match entry.kind {
            Kind::CharDevice => FileType::CharacterDevice,
            Kind::BlockDevice => FileType::BlockDevice,
            _ => FileType::Fifo,
        };
        let mode = Mode::from_raw_mode(entry.mode & 0o7777);
        let device = if kind == FileType::Fifo { 0 } else { rustix::fs::makedev(entry.major, entry.minor) };
        match self.replacing(name, |folder| rustix::fs::mknodat(folder, name, kind, mode, device)) {
            Err(Errno::PERM) if self.form == Form::User => {
                self.done.skipped_devices += 1;
                return Ok(());
            }
            result => result.map_err(|e| io("create", name, e))?,
        }
        self.finish_named(name, entry, true)
    }

    fn hard_link(&mut self, name: &[u8], entry: &Entry) -> Done {
        let mut target = std::mem::take(&mut self.target);
        let result = path::clean(&entry.link, &mut target)
            .map_err(|_| refused(&entry.path, "it is a hard link whose target has \"..\" or a NUL in it"))
            .and_then(|()| self.hard_link_to(name, &target, entry));
        self.target = target;
        result
    }

    fn hard_link_to(&mut self, name: &[u8], target: &[u8], entry: &Entry) -> Done {
        if target.is_empty() {
            return Err(refused(&entry.path, "it is a hard link to a folder"));
        }
        let full = self.full(name);
        if full == target {
            return Ok(());
        }
        let (folder, file) = path::split(target);
        let folder = if folder.is_empty() { b"." } else { folder };
        let linked = open_inside(self.folders.root(), folder).and_then(|from| {
            rustix::fs::statat(&from, file, AtFlags::SYMLINK_NOFOLLOW)?;
            self.replacing(name, |to| rustix::fs::linkat(&from, file, to, name, AtFlags::empty()))
        });
        match linked {
            Ok(()) => {
                self.folders.touch();
                Ok(())
            }
            Err(Errno::NOENT | Errno::NOTDIR) => self.link_to_lower(full, target),
            Err(Errno::PERM | Errno::ISDIR) => Err(refused(&entry.path, "it is a hard link to a folder")),
            Err(errno) => Err(io("create the hard link", name, errno)),
        }
    }

    fn link_to_lower(&mut self, name: Vec<u8>, target: &[u8]) -> Done {
        self.deferred += name.len() + target.len() + 64;
        self.check_deferred()?;
        self.links.insert(name, (self.done.entries, target.to_owned()));
        Ok(())
    }

    fn whiteout(&mut self, name: &[u8]) -> rustix::io::Result<()> {
        let folder = self.folders.fd();
        match rustix::fs::mknodat(folder, name, FileType::CharacterDevice, Mode::empty(), 0) {
            Ok(()) => {
                self.folders.touch();
                Ok(())
            }
            // Whiteouts concern lower layers only: what this layer brings stays.
            Err(Errno::EXIST) => match open_folder(folder, name) {
                Ok(own) => xattr::set_opaque(&own, self.form),
                Err(Errno::NOTDIR | Errno::LOOP) => Ok(()),
                Err(errno) => Err(errno),
            },
            Err(errno) => Err(errno),
        }
    }

    /// Makes something under a name; what has the name already goes first. It is never written through.
    fn replacing<T>(
        &mut self,
        name: &[u8],
        make: impl Fn(BorrowedFd<'_>) -> rustix::io::Result<T>,
    ) -> rustix::io::Result<T> {
        let made = match make(self.folders.fd()) {
            Err(Errno::EXIST) => {
                let found = rustix::fs::statat(self.folders.fd(), name, AtFlags::SYMLINK_NOFOLLOW)?;
                remove::remove_at(&self.folders.fd(), name)?;
                if FileType::from_raw_mode(found.st_mode) == FileType::Directory {
                    self.forget_below(name);
                }
                make(self.folders.fd())?
            }
            made => made?,
        };
        self.folders.touch();
        Ok(made)
    }

    /// Forgets what was noted of a folder that is replaced.
    fn forget_below(&mut self, name: &[u8]) {
        let folder = self.full(name);
        self.implicit.remove(&folder);
        // All paths below it lie between `folder/` and `folder0`, as 0 follows the slash.
        let (from, to) = ([&folder, &b"/"[..]].concat(), [&folder, &b"0"[..]].concat());
        let below: Vec<_> = self.implicit.range(from.clone()..to.clone()).cloned().collect();
        for path in below {
            self.implicit.remove(&path);
        }
        let below: Vec<_> = self.links.range(from..to).map(|(name, _)| name.clone()).collect();
        for name in below {
            self.links.remove(&name);
        }
    }

    /// Sets owner, mode and attributes of an open file; `again` when it did not get the given mode and our owner.
    fn finish_open(&self, fd: BorrowedFd<'_>, name: &[u8], entry: &Entry, again: bool) -> Done {
        let (uid, gid) = owner(entry)?;
        let chown = again || (uid, gid) != self.own;
        if chown && !self.keeps_owner() {
            rustix::fs::fchown(fd, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))
                .map_err(|e| owner_refused(name, entry, e))?;
        }
        if again || !self.exact_modes || entry.mode & !PLAIN_BITS != 0 {
            rustix::fs::fchmod(fd, Mode::from_raw_mode(entry.mode))
                .map_err(|e| io("set the mode of", name, e))?;
        }
        for (key, value) in entry.xattrs().filter(|(key, _)| xattr::is_allowed(key, self.form)) {
            xattr::set(&fd, key, value, self.form).map_err(|e| io("set an attribute of", name, e))?;
        }
        Ok(())
    }

    /// The same, and the time, for what cannot be opened: links, devices, FIFOs.
    fn finish_named(&self, name: &[u8], entry: &Entry, has_mode: bool) -> Done {
        let folder = self.folders.fd();
        let (uid, gid) = owner(entry)?;
        let chown = (self.folders.is_setgid() || (uid, gid) != self.own) && !self.keeps_owner();
        if chown {
            let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
            rustix::fs::chownat(folder, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)
                .map_err(|e| owner_refused(name, entry, e))?;
        }
        if has_mode && (!self.exact_modes || (chown && entry.mode & !PLAIN_BITS != 0)) {
            // Just made by us as a device or FIFO in a folder that nobody else writes to: no link is followed.
            rustix::fs::chmodat(folder, name, Mode::from_raw_mode(entry.mode), AtFlags::empty())
                .map_err(|e| io("set the mode of", name, e))?;
        }
        for (key, value) in entry.xattrs().filter(|(key, _)| xattr::is_allowed(key, self.form)) {
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            rustix::fs::openat(folder, name, flags, Mode::empty())
                .and_then(|fd| xattr::set(&fd, key, value, self.form))
                .map_err(|e| io("set an attribute of", name, e))?;
        }
        let mtime = timespec(entry.mtime);
        let times = Timestamps { last_access: mtime, last_modification: mtime };
        rustix::fs::utimensat(folder, name, &times, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|e| io("set the time of", name, e))
    }

    /// Somebody who is not root, not even of a user namespace, owns whatever is unpacked; so does who is alone in one.
    fn keeps_owner(&self) -> bool {
        self.own.0 != 0 || self.alone
    }
}

/// Says whether a mapping has one number only.
fn maps_one_only(path: &str) -> bool {
    std::fs::read_to_string(path).is_ok_and(|map| {
        let mut fields = map.split_whitespace().skip(2);
        fields.next() == Some("1") && fields.next().is_none()
    })
}

fn owner(entry: &Entry) -> Result<(u32, u32), UnpackError> {
    let limit = u64::from(u32::MAX - 1);
    for (what, value) in [("an owner's number", entry.uid), ("a group's number", entry.gid)] {
        if value > limit {
            return Err(UnpackError::Limit { what, value, limit });
        }
    }
    Ok((u32::try_from(entry.uid).unwrap_or(0), u32::try_from(entry.gid).unwrap_or(0)))
}

/// Writes the data of the member `entry`, holes left out, to the empty file `fd`.
pub(crate) fn write_data<R: BufRead>(
    fd: &OwnedFd,
    name: &[u8],
    entry: &Entry,
    reader: &mut Reader<R>,
) -> Done {
    match &entry.segments {
        None => write_all(fd, name, reader),
        Some(segments) => write_sparse(fd, name, entry.size, segments, reader),
    }
}

fn write_all<R: BufRead>(fd: &OwnedFd, name: &[u8], reader: &mut Reader<R>) -> Done {
    loop {
        let piece = reader.data()?;
        if piece.is_empty() {
            return Ok(());
        }
        let written =
            rustix::io::retry_on_intr(|| rustix::io::write(fd, piece)).map_err(|e| io("write", name, e))?;
        reader.consume(written);
    }
}

fn write_sparse<R: BufRead>(
    fd: &OwnedFd,
    name: &[u8],
    size: u64,
    segments: &[crate::tar::Segment],
    reader: &mut Reader<R>,
) -> Done {
    for segment in segments {
        let (mut offset, end) = (segment.offset, segment.offset + segment.length);
        while offset < end {
            let piece = reader.data()?;
            let length = piece.len().min(usize::try_from(end - offset).unwrap_or(usize::MAX));
            if length == 0 {
                return Err(refused(name, "its sparse map is longer than its data"));
            }
            let written = rustix::io::retry_on_intr(|| rustix::io::pwrite(fd, &piece[..length], offset))
                .map_err(|e| io("write", name, e))?;
            reader.consume(written);
            offset += written as u64;
        }
    }
    rustix::fs::ftruncate(fd, size).map_err(|e| io("extend", name, e))
}

/// Opens a folder of the layer for a hard link's target; links within the layer are followed within it.
fn open_inside(root: BorrowedFd<'_>, folder: &[u8]) -> rustix::io::Result<OwnedFd> {
    let path: &Path = Path::new(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(folder));
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    sys::beneath::openat2(root, path, flags, Mode::empty(), resolve)
}

pub(super) fn is_whiteout(stat: &rustix::fs::Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

fn timespec(time: Timestamp) -> Timespec {
    Timespec { tv_sec: time.seconds, tv_nsec: i64::from(time.nanoseconds) }
}

fn io(action: &'static str, path: &[u8], errno: Errno) -> UnpackError {
    UnpackError::Io { action, path: shorten_path(path), source: errno.into() }
}

/// The kernel's word for a number that a user namespace does not have is EINVAL.
fn owner_refused(path: &[u8], entry: &Entry, errno: Errno) -> UnpackError {
    match (errno, owner(entry)) {
        (Errno::INVAL, Ok((uid, gid))) => UnpackError::Owner { path: shorten_path(path), uid, gid },
        _ => io("set the owner of", path, errno),
    }
}

fn refused(path: &[u8], reason: &'static str) -> UnpackError {
    UnpackError::Refused { path: shorten_path(path), reason }
}

fn blocked_by(path: &[u8], blocked: &Blocked, depth: usize) -> UnpackError {
    match blocked {
        Blocked::NotAFolder => refused(path, "something in its path is no folder"),
        Blocked::Loop => refused(path, "there are too many links in its path"),
        Blocked::Depth => UnpackError::Limit {
            what: "the number of folders in one another",
            value: depth as u64 + 1,
            limit: depth as u64,
        },
        Blocked::Errno(errno) => io("open the folder", path, *errno),
    }
}

fn shorten_path(path: &[u8]) -> String {
    if path.len() <= 200 { String::from_utf8_lossy(path).into_owned() } else { shorten(path) }
}
