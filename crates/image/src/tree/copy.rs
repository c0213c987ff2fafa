//! One living tree into another, without an archive between.

use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, FileType, Mode, Stat, XattrFlags};
use rustix::io::Errno;

use super::error::{On as _, show};
use super::pack::tar_bytes;
use super::place::{make_file, make_folder, make_hard_link, make_link, make_node};
use super::{DEPTH_MAX, Node, Owner, TreeError, chown, chown_at, copy_data, open_folder, path_of, times};
use crate::unpack::{Form, list_xattrs};

/// So many files with several names are remembered; the others become files of their own.
const LINKS_MAX: usize = 1 << 20;

/// How a tree is copied.
#[derive(Debug, Clone, Copy, Default)]
pub struct CopyOptions {
    /// Whom the copies belong to.
    pub owner: Owner,
    /// Set-id bits are never handed on.
    pub no_set_id: bool,
    /// A folder and something else do not take each other's place.
    pub strict: bool,
    /// Devices are copied too, not left out.
    pub devices: bool,
    /// When the contents of a folder are put into another, that gets the attributes of the first.
    pub root_attributes: bool,
}

/// What was copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Copied {
    /// What it would take in an archive, in bytes.
    pub bytes: u64,
    /// Devices that were left out.
    pub devices_left_out: u64,
}

/// Copies `name` of the folder `from`, with everything in it, to `as_name` in the folder `into`. With `.` for both names the
/// contents are put into the folder `into` itself.
pub fn copy(
    from: BorrowedFd<'_>,
    name: &[u8],
    into: BorrowedFd<'_>,
    as_name: &[u8],
    options: &CopyOptions,
) -> Result<Copied, TreeError> {
    let target = rustix::fs::fstat(into).on("look at", as_name)?;
    let mut copier = Copier {
        options: *options,
        form: Form::of_process(),
        top: into,
        links: HashMap::new(),
        target: (target.st_dev, target.st_ino),
        done: Copied { bytes: 1024, devices_left_out: 0 },
    };
    let node = Node::find(from, name).on("look at", name)?;
    if as_name != b"." {
        copier.node(&node, into, as_name, as_name, 0)?;
        return Ok(copier.done);
    }
    let source = node.open().on("open", name)?;
    let target = open_folder(into, b".").on("open", as_name)?;
    copier.contents(&source, &target, b"", 0)?;
    if options.root_attributes {
        copier.attributes(&source, &target, &node.stat, as_name)?;
    }
    Ok(copier.done)
}

struct Copier<'a> {
    options: CopyOptions,
    form: Form,
    /// Where paths of what was made begin.
    top: BorrowedFd<'a>,
    /// Where files with several names went, by device and number.
    links: HashMap<(u64, u64), Vec<u8>>,
    /// The folder that is copied into, which is not copied into itself.
    target: (u64, u64),
    done: Copied,
}

impl Copier<'_> {
    fn node(
        &mut self,
        node: &Node,
        into: BorrowedFd<'_>,
        name: &[u8],
        path: &[u8],
        depth: usize,
    ) -> Result<(), TreeError> {
        let (stat, strict) = (&node.stat, self.options.strict);
        match node.kind() {
            FileType::Directory => return self.folder(node, into, name, path, depth),
            FileType::Socket | FileType::Unknown => return Ok(()),
            FileType::CharacterDevice | FileType::BlockDevice if !self.options.devices => {
                self.done.devices_left_out += 1;
                return Ok(());
            }
            _ => {}
        }
        self.done.bytes += tar_bytes(0);
        if self.link_again(stat, into, name, path)? {
            return Ok(());
        }
        match node.kind() {
            FileType::RegularFile => return self.file(node, into, name, path),
            FileType::Symlink => {
                let target = node.link().on("read the link", path)?;
                make_link(into, name, path, &target, strict)?;
            }
            kind => {
                let mode = self.options.owner.mode(stat.st_mode, stat.st_uid, stat.st_gid);
                if !make_node(into, name, path, (kind, mode, stat.st_rdev), strict)? {
                    self.done.devices_left_out += 1;
                    return Ok(());
                }
            }
        }
        chown_at(into, name, self.options.owner.of(stat.st_uid, stat.st_gid)).on("set the owner of", path)?;
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::utimensat(into, path_of(name), &times(stat), flags).on("set the time of", path)
    }

    fn folder(
        &mut self,
        node: &Node,
        into: BorrowedFd<'_>,
        name: &[u8],
        path: &[u8],
        depth: usize,
    ) -> Result<(), TreeError> {
        if depth > DEPTH_MAX {
            return Err(TreeError::Depth { path: show(path), limit: DEPTH_MAX });
        }
        if (node.stat.st_dev, node.stat.st_ino) == self.target {
            return Ok(());
        }
        self.done.bytes += tar_bytes(0);
        let source = match node.open() {
            Err(Errno::NOENT) if depth > 0 => return Ok(()),
            opened => opened.on("open", path)?,
        };
        let (target, _) = make_folder(into, name, path, self.options.strict)?;
        if !(node.mounted && node.is_of_kernel()) {
            self.contents(&source, &target, path, depth)?;
        }
        self.attributes(&source, &target, &node.stat, path)
    }

    fn contents(
        &mut self,
        source: &OwnedFd,
        target: &OwnedFd,
        path: &[u8],
        depth: usize,
    ) -> Result<(), TreeError> {
        let mut entries = Dir::read_from(source).on("list", path)?;
        while let Some(entry) = entries.read() {
            let entry = entry.on("list", path)?;
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") {
                continue;
            }
            let below = if path.is_empty() { name.to_vec() } else { [path, b"/", name].concat() };
            match Node::find(source.as_fd(), name) {
                Err(Errno::NOENT) => {}
                found => self.node(&found.on("look at", &below)?, target.as_fd(), name, &below, depth + 1)?,
            }
        }
        Ok(())
    }

    fn file(&mut self, node: &Node, into: BorrowedFd<'_>, name: &[u8], path: &[u8]) -> Result<(), TreeError> {
        let source = match node.open() {
            Err(Errno::NOENT) => return Ok(()),
            opened => opened.on("open", path)?,
        };
        let target = make_file(into, name, path, self.options.strict)?;
        self.done.bytes += tar_bytes(copy_data(&source, &target).on("copy", path)?) - tar_bytes(0);
        self.attributes(&source, &target, &node.stat, path)
    }

    /// Sets owner, extended attributes, mode (after the owner, which clears set-id bits) and time.
    fn attributes(
        &self,
        source: &OwnedFd,
        target: &OwnedFd,
        stat: &Stat,
        path: &[u8],
    ) -> Result<(), TreeError> {
        chown(target.as_fd(), self.options.owner.of(stat.st_uid, stat.st_gid))
            .on("set the owner of", path)?;
        let mode = self.options.owner.mode(stat.st_mode, stat.st_uid, stat.st_gid);
        let mode = if self.options.no_set_id { mode & 0o1777 } else { mode };
        let xattrs = list_xattrs(source, self.form).on("read the attributes of", path)?;
        // Capabilities of a file are worth as much as its set-id bits.
        let kept = |name: &[u8]| {
            mode & 0o6000 == stat.st_mode & 0o6000 && !self.options.no_set_id
                || name != b"security.capability"
        };
        for (name, value) in xattrs.iter().filter(|(name, _)| kept(name)) {
            match rustix::fs::fsetxattr(target, name.as_slice(), value, XattrFlags::empty()) {
                Ok(()) | Err(Errno::OPNOTSUPP | Errno::PERM) => {}
                Err(errno) => return Err(errno).on("set an attribute of", path),
            }
        }
        rustix::fs::fchmod(target, Mode::from_raw_mode(mode)).on("set the mode of", path)?;
        rustix::fs::futimens(target, &times(stat)).on("set the time of", path)
    }

    /// Makes another name of a file that was copied already; `false` when this is its first.
    fn link_again(
        &mut self,
        stat: &Stat,
        into: BorrowedFd<'_>,
        name: &[u8],
        path: &[u8],
    ) -> Result<bool, TreeError> {
        if stat.st_nlink < 2 {
            return Ok(false);
        }
        let key = (stat.st_dev, stat.st_ino);
        let Some(first) = self.links.get(&key) else {
            if self.links.len() < LINKS_MAX {
                self.links.insert(key, path.to_vec());
            }
            return Ok(false);
        };
        let (folder, file) = crate::unpack::split_path(first);
        let mut above = open_folder(self.top, b".").on("open", first)?;
        for part in folder.split(|b| *b == b'/').filter(|part| !part.is_empty()) {
            above = open_folder(above.as_fd(), part).on("open", first)?;
        }
        match make_hard_link((above.as_fd(), file), into, name, path, self.options.strict) {
            // A file system that knows no such links, or somebody took the first name away: then it is a file of its own.
            Err(TreeError::Io { action: "create the hard link", .. }) => Ok(false),
            made => made.map(|()| true),
        }
    }
}
