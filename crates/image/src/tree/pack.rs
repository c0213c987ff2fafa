//! A living tree as tar.

use std::collections::HashMap;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Dir, FileType, Stat};
use rustix::io::Errno;

use super::error::{On as _, show};
use super::{DEPTH_MAX, Node, TreeError};
use crate::layers::stack::{is_opaque, is_whiteout};
use crate::tar::{BLOCK, Kind, Member, Timestamp, Writer};
use crate::unpack::{Form, list_xattrs};

/// How much of a file is read at once, in bytes.
const PIECE: usize = 256 << 10;
/// So many files with several names are remembered; the others are written once for each name.
const LINKS_MAX: usize = 1 << 20;

/// How a tree is written.
#[derive(Debug, Clone, Default)]
pub struct PackOptions {
    /// What is mounted in the tree is left out: its mount point is an empty folder or file.
    pub stay: bool,
    /// Files of `.` are named without a leading `./`, and the folder itself has no member.
    pub bare: bool,
    /// Added to the numbers of owners: a container's own ones are not those outside.
    pub shift: (i64, i64),
    /// Write a snapshot's folder as a layer: overlayfs's marks become whiteouts, these empty files and folders are left out.
    pub layer: Option<Vec<Vec<u8>>>,
}

/// Writes trees into one archive.
#[derive(Debug)]
pub struct Packer<W> {
    writer: Writer<Counter<W>>,
    options: PackOptions,
    form: Form,
    /// First names of files that have several, by device and number.
    links: HashMap<(u64, u64), Vec<u8>>,
    buffer: Vec<u8>,
    /// Bytes of all files.
    size: u64,
}

/// Counts what goes through.
#[derive(Debug)]
struct Counter<W> {
    out: W,
    bytes: u64,
}

impl<W: Write> Write for Counter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl<W: Write> Packer<W> {
    /// Writes to `out`.
    pub fn new(out: W, options: PackOptions) -> Self {
        Self {
            writer: Writer::new(Counter { out, bytes: 0 }),
            options,
            form: Form::of_process(),
            links: HashMap::new(),
            buffer: Vec::new(),
            size: 0,
        }
    }

    /// Writes `name` of `folder`, with everything in it, as `path`.
    pub fn add(&mut self, folder: BorrowedFd<'_>, name: &[u8], path: &[u8]) -> Result<(), TreeError> {
        let node = Node::find(folder, name).on("look at", path)?;
        self.node(&node, path, 0)
    }

    /// Ends the archive; returns the stream, the bytes of all files and the bytes of the archive.
    pub fn finish(self) -> Result<(W, u64, u64), TreeError> {
        let counter = self.writer.finish().map_err(TreeError::Write)?;
        Ok((counter.out, self.size, counter.bytes))
    }

    fn node(&mut self, node: &Node, path: &[u8], depth: usize) -> Result<(), TreeError> {
        let stat = node.stat;
        let hollow = node.mounted && depth > 0 && (self.options.stay || node.is_of_kernel());
        match node.kind() {
            FileType::Directory if hollow => self.member(&stat, path, Kind::Folder, b"", &[]),
            FileType::Directory => {
                let opened = match node.open() {
                    // It vanished while we looked.
                    Err(Errno::NOENT) if depth > 0 => return Ok(()),
                    opened => opened.on("open", path)?,
                };
                self.folder(opened, &stat, path, depth)
            }
            FileType::RegularFile if hollow => {
                let mut empty = stat;
                empty.st_size = 0;
                self.member(&empty, path, Kind::File, b"", &[])
            }
            FileType::RegularFile => self.file(node, &stat, path),
            FileType::Symlink => {
                let target = node.link().on("read the link", path)?;
                self.member(&stat, path, Kind::Symlink, &target, &[])
            }
            FileType::CharacterDevice => self.named(&stat, path, Kind::CharDevice),
            FileType::BlockDevice => self.named(&stat, path, Kind::BlockDevice),
            FileType::Fifo => self.named(&stat, path, Kind::Fifo),
            // A socket is nothing without its owner.
            _ => Ok(()),
        }
    }

    fn folder(&mut self, folder: OwnedFd, stat: &Stat, path: &[u8], depth: usize) -> Result<(), TreeError> {
        if depth > DEPTH_MAX {
            return Err(TreeError::Depth { path: show(path), limit: DEPTH_MAX });
        }
        let bare = self.options.bare && path == b".";
        if !bare {
            let xattrs = list_xattrs(&folder, self.form).on("read the attributes of", path)?;
            self.member(stat, path, Kind::Folder, b"", &xattrs)?;
        }
        if self.options.layer.is_some() && depth > 0 && is_opaque(&folder, self.form) {
            self.mark(path, b".wh..opq")?;
        }
        let mut names = Vec::new();
        let mut entries = Dir::new(folder).on("list", path)?;
        while let Some(entry) = entries.read() {
            let entry = entry.on("list", path)?;
            if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
                names.push(entry.file_name().to_bytes().to_vec());
            }
        }
        // In an order of its own, so that one tree gives one archive.
        names.sort_unstable();
        for name in names {
            let below = if bare { name.clone() } else { [path, b"/", &name].concat() };
            match Node::find(entries.fd().on("list", path)?, &name) {
                Err(Errno::NOENT) => {}
                found => self.entry(
                    &found.on("look at", &below)?,
                    (entries.fd().on("list", path)?, path),
                    &name,
                    &below,
                    depth,
                )?,
            }
        }
        Ok(())
    }

    fn entry(
        &mut self,
        node: &Node,
        (above, folder): (BorrowedFd<'_>, &[u8]),
        name: &[u8],
        path: &[u8],
        depth: usize,
    ) -> Result<(), TreeError> {
        if let Some(hidden) = &self.options.layer {
            if is_whiteout(&node.stat) {
                return self.mark(folder, name);
            }
            if is_hollow(above, name, path, hidden) {
                return Ok(());
            }
        }
        self.node(node, path, depth + 1)
    }

    /// Writes the mark that `name` of `folder` is gone.
    fn mark(&mut self, folder: &[u8], name: &[u8]) -> Result<(), TreeError> {
        let name: Vec<u8> = [b".wh.", name].concat();
        let path = if folder == b"." { name } else { [folder, b"/", &name].concat() };
        self.writer.header(&Member { mode: 0, ..Member::file(&path, 0) }).map_err(TreeError::Write)
    }

    fn named(&mut self, stat: &Stat, path: &[u8], kind: Kind) -> Result<(), TreeError> {
        match self.earlier_name(stat, path) {
            Some(first) => self.member(stat, path, Kind::HardLink, &first, &[]),
            None => self.member(stat, path, kind, b"", &[]),
        }
    }

    fn file(&mut self, node: &Node, stat: &Stat, path: &[u8]) -> Result<(), TreeError> {
        if let Some(first) = self.earlier_name(stat, path) {
            return self.member(stat, path, Kind::HardLink, &first, &[]);
        }
        let file = match node.open() {
            Err(Errno::NOENT) => return Ok(()),
            opened => opened.on("open", path)?,
        };
        let stat = rustix::fs::fstat(&file).on("look at", path)?;
        let xattrs = list_xattrs(&file, self.form).on("read the attributes of", path)?;
        self.member(&stat, path, Kind::File, b"", &xattrs)?;
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        self.size += size;
        self.data(&file, size, path)?;
        self.writer.pad(size).map_err(TreeError::Write)
    }

    /// Writes `size` bytes; those that are cut off meanwhile are zeros, as the archive has told the size already.
    fn data(&mut self, file: &OwnedFd, size: u64, path: &[u8]) -> Result<(), TreeError> {
        self.buffer.resize(PIECE, 0);
        let mut left = size;
        while left > 0 {
            let wanted = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
            let piece = &mut self.buffer[..wanted];
            let read = rustix::io::retry_on_intr(|| rustix::io::read(file, &mut *piece)).on("read", path)?;
            let length = if read == 0 {
                piece.fill(0);
                wanted
            } else {
                read
            };
            self.writer.data(&self.buffer[..length]).map_err(TreeError::Write)?;
            left -= length as u64;
        }
        Ok(())
    }

    /// Returns the name under which the same file was written before, and remembers this one otherwise.
    fn earlier_name(&mut self, stat: &Stat, path: &[u8]) -> Option<Vec<u8>> {
        if stat.st_nlink < 2 {
            return None;
        }
        let key = (stat.st_dev, stat.st_ino);
        if let Some(first) = self.links.get(&key) {
            return Some(first.clone());
        }
        if self.links.len() < LINKS_MAX {
            self.links.insert(key, path.to_vec());
        }
        None
    }

    fn member(
        &mut self,
        stat: &Stat,
        path: &[u8],
        kind: Kind,
        link: &[u8],
        xattrs: &[(Vec<u8>, Vec<u8>)],
    ) -> Result<(), TreeError> {
        let is_device = matches!(kind, Kind::CharDevice | Kind::BlockDevice);
        let slashed: Vec<u8>;
        let path = match kind {
            Kind::Folder if !path.ends_with(b"/") => {
                slashed = [path, b"/"].concat();
                slashed.as_slice()
            }
            _ => path,
        };
        let mtime =
            Timestamp { seconds: stat.st_mtime, nanoseconds: u32::try_from(stat.st_mtime_nsec).unwrap_or(0) };
        let member = Member {
            path,
            link,
            kind,
            mode: stat.st_mode & 0o7777,
            uid: super::shifted(stat.st_uid, self.options.shift.0),
            gid: super::shifted(stat.st_gid, self.options.shift.1),
            size: if kind == Kind::File { u64::try_from(stat.st_size).unwrap_or(0) } else { 0 },
            mtime,
            major: if is_device { rustix::fs::major(stat.st_rdev) } else { 0 },
            minor: if is_device { rustix::fs::minor(stat.st_rdev) } else { 0 },
            xattrs,
        };
        self.writer.header(&member).map_err(TreeError::Write)
    }
}

/// Whether `name` of `folder` is one of the paths `hidden` and an empty file, or a folder that holds nothing else.
pub(crate) fn is_hollow(folder: BorrowedFd<'_>, name: &[u8], path: &[u8], hidden: &[Vec<u8>]) -> bool {
    if !hidden.iter().any(|hidden| hidden == path) {
        return false;
    }
    let Ok(node) = Node::find(folder, name) else { return false };
    match node.kind() {
        FileType::RegularFile => node.stat.st_size == 0,
        FileType::Directory => {
            let names = |folder: OwnedFd| -> rustix::io::Result<Vec<Vec<u8>>> {
                let entries = Dir::new(folder)?;
                entries.map(|entry| Ok(entry?.file_name().to_bytes().to_vec())).collect()
            };
            let Ok(below) = node.open() else { return false };
            let Ok(opened) = node.open() else { return false };
            names(opened).is_ok_and(|names| {
                let mut real = names.iter().filter(|name| !matches!(name.as_slice(), b"." | b".."));
                real.all(|name| is_hollow(below.as_fd(), name, &[path, b"/", name].concat(), hidden))
            })
        }
        _ => false,
    }
}

/// Bytes that a file of `size` takes in an archive.
pub(super) fn tar_bytes(size: u64) -> u64 {
    size.next_multiple_of(BLOCK as u64) + BLOCK as u64
}
