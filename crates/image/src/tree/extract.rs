//! Tar into a living tree.

use std::io::{self, BufRead, BufReader, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Timespec, Timestamps, XattrFlags};
use rustix::io::Errno;

use super::error::{On as _, show};
use super::guard::{self, Guard};
use super::place::{make_file, make_folder, make_hard_link, make_link, make_node};
use super::{DEPTH_MAX, Owner, TreeError, chown, chown_at, locate, open_folder, path_of};
use crate::fetch::{Format, ZSTD_WINDOW_LOG_MAX};
use crate::tar::{Entry, Kind, Limits, Reader};
use crate::unpack::{Form, is_allowed, split_path, write_data};

/// How much of a stream is read at once, in bytes.
const PIECE: usize = 256 << 10;
/// Mode of folders that the archive leaves out.
const IMPLICIT_MODE: Mode = Mode::from_raw_mode(0o755);

/// How an archive is taken out.
#[derive(Debug, Clone, Copy, Default)]
pub struct ExtractOptions {
    /// Whom the files belong to.
    pub owner: Owner,
    /// A folder and something else do not take each other's place.
    pub strict: bool,
}

/// What came out of an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Extracted {
    /// Members.
    pub entries: u64,
    /// Bytes of the archive, plain.
    pub bytes: u64,
    /// Devices that this process may not make.
    pub skipped_devices: u64,
}

/// Returns the plain stream of one that may be compressed with gzip or zstd. Nothing else is executed or asked for it.
pub fn plain<'a>(stream: impl Read + 'a) -> io::Result<Box<dyn BufRead + 'a>> {
    let mut stream = BufReader::with_capacity(PIECE, stream);
    Ok(match Format::of(stream.fill_buf()?) {
        Format::Plain => Box::new(stream),
        Format::Gzip => {
            Box::new(BufReader::with_capacity(PIECE, flate2::bufread::MultiGzDecoder::new(stream)))
        }
        Format::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(stream)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
            Box::new(BufReader::with_capacity(PIECE, decoder))
        }
        Format::Unsupported(name) => {
            let text = format!("{name} compression is not supported, only gzip and zstd are");
            return Err(io::Error::new(io::ErrorKind::Unsupported, text));
        }
    })
}

/// Takes the archive `input` out into `folder`, which is `at` in the tree `root`: links on the way to a member are followed
/// within that tree.
pub fn extract<R: BufRead>(
    input: R,
    root: BorrowedFd<'_>,
    folder: BorrowedFd<'_>,
    at: &[u8],
    options: &ExtractOptions,
) -> Result<Extracted, TreeError> {
    let mut reader = Reader::new(input, Limits::default());
    let mut extractor = Extractor {
        root,
        top: folder,
        at,
        options: *options,
        form: Form::of_process(),
        levels: Vec::new(),
        path: Vec::new(),
        done: Extracted::default(),
    };
    let mut entry = Entry::default();
    while reader.next(&mut entry)? {
        extractor.done.entries += 1;
        extractor.member(&entry, &mut reader)?;
    }
    extractor.leave_to(0)?;
    extractor.done.bytes = reader.offset();
    reader.finish()?;
    Ok(extractor.done)
}

struct Extractor<'a> {
    root: BorrowedFd<'a>,
    top: BorrowedFd<'a>,
    at: &'a [u8],
    options: ExtractOptions,
    form: Form,
    /// Open folders below `top`, each in the one before or reached through links.
    levels: Vec<Level>,
    /// Path of the last one.
    path: Vec<u8>,
    done: Extracted,
}

struct Level {
    fd: OwnedFd,
    path_len: usize,
    /// The time that it is to have when it is left.
    mtime: Option<Timespec>,
}

impl Extractor<'_> {
    fn member<R: BufRead>(&mut self, entry: &Entry, reader: &mut Reader<R>) -> Result<(), TreeError> {
        let path = clean(&entry.path)?;
        if path.is_empty() {
            // The folder itself stays as it is.
            return Ok(());
        }
        let (folder, name) = split_path(&path);
        self.enter(folder)?;
        let strict = self.options.strict;
        match entry.kind {
            Kind::Folder => return self.folder(&path, name, entry),
            Kind::File => {
                let file = make_file(self.folder_fd(), name, &path, strict)?;
                write_data(&file, &path, entry, reader)?;
                return self.finish_open(file.as_fd(), &path, entry, true);
            }
            Kind::Symlink if entry.link.is_empty() => {
                return Err(TreeError::Refused { path: show(&path), reason: "it is a link to nothing" });
            }
            Kind::Symlink => make_link(self.folder_fd(), name, &path, &entry.link, strict)?,
            Kind::HardLink => return self.hard_link(&path, name, entry),
            Kind::CharDevice | Kind::BlockDevice | Kind::Fifo => {
                let kind = match entry.kind {
                    Kind::CharDevice => FileType::CharacterDevice,
                    Kind::BlockDevice => FileType::BlockDevice,
                    _ => FileType::Fifo,
                };
                let device =
                    if kind == FileType::Fifo { 0 } else { rustix::fs::makedev(entry.major, entry.minor) };
                if !make_node(self.folder_fd(), name, &path, (kind, entry.mode, device), strict)? {
                    self.done.skipped_devices += 1;
                    return Ok(());
                }
            }
        }
        chown_at(self.folder_fd(), name, self.owner(entry, &path)?).on("set the owner of", &path)?;
        rustix::fs::utimensat(self.folder_fd(), path_of(name), &times(entry), AtFlags::SYMLINK_NOFOLLOW)
            .on("set the time of", &path)
    }

    fn folder(&mut self, path: &[u8], name: &[u8], entry: &Entry) -> Result<(), TreeError> {
        let (fd, _) = make_folder(self.folder_fd(), name, path, self.options.strict)?;
        self.finish_open(fd.as_fd(), path, entry, false)?;
        self.push(fd, path, Some(times(entry).last_modification))
    }

    fn hard_link(&mut self, path: &[u8], name: &[u8], entry: &Entry) -> Result<(), TreeError> {
        let target = clean(&entry.link)?;
        if target == path {
            return Ok(());
        }
        let (folder, file) = split_path(&target);
        let from = self.walk(folder).on("open the folder of the hard link", &target)?;
        make_hard_link((from.as_fd(), file), self.folder_fd(), name, path, self.options.strict)
    }

    fn folder_fd(&self) -> BorrowedFd<'_> {
        self.levels.last().map_or(self.top, |level| level.fd.as_fd())
    }

    fn push(&mut self, fd: OwnedFd, path: &[u8], mtime: Option<Timespec>) -> Result<(), TreeError> {
        if self.levels.len() >= DEPTH_MAX {
            return Err(TreeError::Depth { path: show(path), limit: DEPTH_MAX });
        }
        self.path.clear();
        self.path.extend_from_slice(path);
        self.levels.push(Level { fd, path_len: path.len(), mtime });
        Ok(())
    }

    /// Goes to the folder `path`; parts that are missing are made.
    fn enter(&mut self, path: &[u8]) -> Result<(), TreeError> {
        let on_the_way = |level: &Level| {
            path.get(..level.path_len) == Some(&self.path[..level.path_len])
                && path.get(level.path_len).is_none_or(|b| *b == b'/')
        };
        let shared = self.levels.iter().rposition(on_the_way).map_or(0, |last| last + 1);
        self.leave_to(shared)?;
        let mut end = self.levels.last().map_or(0, |level| level.path_len);
        while end < path.len() {
            let start = if end == 0 { 0 } else { end + 1 };
            end = path[start..].iter().position(|b| *b == b'/').map_or(path.len(), |slash| start + slash);
            let (name, so_far) = (&path[start..end], &path[..end]);
            let opened = match open_folder(self.folder_fd(), name) {
                Err(Errno::NOENT) => {
                    rustix::fs::mkdirat(self.folder_fd(), path_of(name), IMPLICIT_MODE)
                        .on("create", so_far)?;
                    open_folder(self.folder_fd(), name)
                }
                // A link: what it leads to within the tree.
                Err(Errno::LOOP | Errno::NOTDIR) => self.resolve(so_far),
                opened => opened,
            };
            let opened = opened.on("open", so_far)?;
            self.push(opened, so_far, None)?;
        }
        Ok(())
    }

    /// Opens the folder `path`, links followed within the tree; nothing is made.
    fn walk(&self, path: &[u8]) -> rustix::io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let path = if path.is_empty() { b".".as_slice() } else { path };
        match sys::beneath::openat2(self.top, path_of(path), flags, Mode::empty(), resolve) {
            Err(Errno::LOOP) => self.resolve(path),
            opened => opened,
        }
    }

    fn resolve(&self, path: &[u8]) -> rustix::io::Result<OwnedFd> {
        let whole = [self.at, b"/", path].concat();
        locate::open(self.root, &whole, OFlags::RDONLY | OFlags::DIRECTORY)
    }

    fn leave_to(&mut self, depth: usize) -> Result<(), TreeError> {
        while self.levels.len() > depth {
            let Some(level) = self.levels.pop() else { break };
            if let Some(mtime) = level.mtime {
                let times = Timestamps { last_access: mtime, last_modification: mtime };
                rustix::fs::futimens(&level.fd, &times)
                    .on("set the time of", &self.path[..level.path_len])?;
            }
        }
        self.path.truncate(self.levels.last().map_or(0, |level| level.path_len));
        Ok(())
    }

    fn owner(&self, entry: &Entry, path: &[u8]) -> Result<(u32, u32), TreeError> {
        let number = |value: u64| {
            u32::try_from(value)
                .ok()
                .filter(|value| *value != u32::MAX)
                .ok_or(TreeError::Refused { path: show(path), reason: "its owner's number is too large" })
        };
        Ok(self.options.owner.of(number(entry.uid)?, number(entry.gid)?))
    }

    fn finish_open(
        &self,
        file: BorrowedFd<'_>,
        path: &[u8],
        entry: &Entry,
        time: bool,
    ) -> Result<(), TreeError> {
        let owner = self.owner(entry, path)?;
        chown(file, owner).on("set the owner of", path)?;
        for (name, value) in entry.xattrs().filter(|(name, _)| is_allowed(name, self.form)) {
            match rustix::fs::fsetxattr(file, name, value, XattrFlags::empty()) {
                Ok(()) | Err(Errno::OPNOTSUPP | Errno::PERM) => {}
                Err(errno) => return Err(errno).on("set an attribute of", path),
            }
        }
        rustix::fs::fchmod(file, Mode::from_raw_mode(entry.mode & 0o7777)).on("set the mode of", path)?;
        if time { rustix::fs::futimens(file, &times(entry)).on("set the time of", path) } else { Ok(()) }
    }
}

fn times(entry: &Entry) -> Timestamps {
    let time = Timespec { tv_sec: entry.mtime.seconds, tv_nsec: i64::from(entry.mtime.nanoseconds) };
    Timestamps { last_access: time, last_modification: time }
}

/// Returns a member's path without leading, double and trailing slashes and `.`; refuses what would lead out.
fn clean(path: &[u8]) -> Result<Vec<u8>, TreeError> {
    let refused = |reason| Err(TreeError::Refused { path: show(path), reason });
    let mut clean = Vec::with_capacity(path.len());
    for part in path.split(|b| *b == b'/') {
        match part {
            b"" | b"." => continue,
            b".." if guard::is_on(Guard::DotDot) => return refused("it has \"..\" in its path"),
            part if part.contains(&0) => return refused("it has a NUL in its path"),
            part if part.len() > 255 => return refused("a part of its path is longer than 255 bytes"),
            part => {
                if !clean.is_empty() {
                    clean.push(b'/');
                }
                clean.extend_from_slice(part);
            }
        }
    }
    Ok(clean)
}
