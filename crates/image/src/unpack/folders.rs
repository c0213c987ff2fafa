//! The folder that is worked in: open descriptors from the layer's root down to it, kept from member to member, because
//! archives come folder by folder.
//!
//! No folder is ever opened through a link: a link on the way is read and its target walked the same way, starting again at the
//! layer's root when it is absolute, stopping there on `..`. So the path kept here has no links in it.
//!
//! What is made in a folder changes its time. The time that it should have is noted when it is entered and set when it
//! is left; nothing about folders that were left needs to be remembered.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Timespec, Timestamps};
use rustix::io::{Errno, Result};

use super::guard;
use super::xattr::{Form, set_opaque};

/// How many links may lie on one way, as in Linux.
const LINKS_MAX: u32 = 40;
/// Mode of folders that the archive leaves out.
const IMPLICIT_MODE: Mode = Mode::from_raw_mode(0o755);

/// The open folders.
#[derive(Debug)]
pub(super) struct Folders {
    root: Frame,
    /// Below the root; the last is the one that is worked in.
    frames: Vec<Frame>,
    /// Path of the last frame.
    path: Vec<u8>,
    form: Form,
    depth_max: usize,
}

#[derive(Debug)]
struct Frame {
    fd: OwnedFd,
    /// How much of the path names it.
    path_len: usize,
    /// Time to set when it is left.
    mtime: Timespec,
    touched: bool,
    setgid: bool,
}

/// Why a folder cannot be entered.
#[derive(Debug)]
pub(super) enum Blocked {
    /// Something that is no folder is in the way.
    NotAFolder,
    /// Too many links.
    Loop,
    /// Too deep.
    Depth,
    Errno(Errno),
}

impl From<Errno> for Blocked {
    fn from(errno: Errno) -> Self {
        Self::Errno(errno)
    }
}

impl Folders {
    pub(super) fn new(root: OwnedFd, form: Form, depth_max: usize) -> Result<Self> {
        let root = Frame::new(root, 0)?;
        Ok(Self { root, frames: Vec::with_capacity(32), path: Vec::with_capacity(4096), form, depth_max })
    }

    /// Returns the descriptor of the folder that is worked in.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.current().fd.as_fd()
    }

    /// Returns the descriptor of the layer's root.
    pub(super) fn root(&self) -> BorrowedFd<'_> {
        self.root.fd.as_fd()
    }

    /// Returns the path of the folder that is worked in, without links, from the layer's root.
    pub(super) fn path(&self) -> &[u8] {
        &self.path
    }

    /// Says whether new files get the folder's group.
    pub(super) fn is_setgid(&self) -> bool {
        self.current().setgid
    }

    /// Notes that something was made or removed in the folder.
    pub(super) fn touch(&mut self) {
        self.current_mut().touched = true;
    }

    /// Notes the time, and the mode, that the folder is to have in the end.
    pub(super) fn set_attributes(&mut self, mtime: Timespec, mode: u32) {
        let frame = self.current_mut();
        frame.mtime = mtime;
        frame.touched = true;
        frame.setgid = mode & 0o2000 != 0;
    }

    /// Enters the folder `wanted`, a clean path from the root. Missing folders are made and reported to `made`.
    pub(super) fn enter(
        &mut self,
        wanted: &[u8],
        made: &mut impl FnMut(&[u8]),
    ) -> std::result::Result<(), Blocked> {
        let shared = self.shared(wanted);
        self.leave_to(shared)?;
        let rest = &wanted[self.path.len().min(wanted.len())..];
        self.descend(rest, made, &mut 0)
    }

    /// Enters the folder `name`, which was just made in the present one.
    pub(super) fn push(&mut self, fd: OwnedFd, name: &[u8]) -> std::result::Result<(), Blocked> {
        if self.frames.len() >= self.depth_max {
            return Err(Blocked::Depth);
        }
        if !self.path.is_empty() {
            self.path.push(b'/');
        }
        self.path.extend_from_slice(name);
        let frame = Frame::new(fd, self.path.len())?;
        self.frames.push(frame);
        Ok(())
    }

    /// Leaves all folders, the root too.
    pub(super) fn finish(mut self) -> Result<()> {
        self.leave_to(0)?;
        self.root.leave()
    }

    fn current(&self) -> &Frame {
        self.frames.last().unwrap_or(&self.root)
    }

    fn current_mut(&mut self) -> &mut Frame {
        self.frames.last_mut().unwrap_or(&mut self.root)
    }

    /// Counts the open folders that lie on the way to `wanted`.
    fn shared(&self, wanted: &[u8]) -> usize {
        let on_the_way = |frame: &Frame| {
            wanted.get(..frame.path_len) == Some(&self.path[..frame.path_len])
                && wanted.get(frame.path_len).is_none_or(|b| *b == b'/')
        };
        self.frames.iter().rposition(on_the_way).map_or(0, |last| last + 1)
    }

    fn leave_to(&mut self, depth: usize) -> Result<()> {
        while self.frames.len() > depth {
            if let Some(frame) = self.frames.pop() {
                frame.leave()?;
            }
        }
        self.path.truncate(self.current().path_len);
        Ok(())
    }

    fn descend(
        &mut self,
        path: &[u8],
        made: &mut impl FnMut(&[u8]),
        links: &mut u32,
    ) -> std::result::Result<(), Blocked> {
        for name in path.split(|b| *b == b'/') {
            match name {
                b"" | b"." => {}
                b".." => self.leave_to(self.frames.len().saturating_sub(1))?,
                name => self.step(name, made, links)?,
            }
        }
        Ok(())
    }

    fn step(
        &mut self,
        name: &[u8],
        made: &mut impl FnMut(&[u8]),
        links: &mut u32,
    ) -> std::result::Result<(), Blocked> {
        match open_folder(self.fd(), name) {
            Ok(fd) => return self.push(fd, name),
            Err(Errno::NOENT) => return self.make(name, made),
            Err(Errno::NOTDIR | Errno::LOOP) => {}
            Err(errno) => return Err(errno.into()),
        }
        let found = rustix::fs::statat(self.fd(), name, AtFlags::SYMLINK_NOFOLLOW)?;
        match FileType::from_raw_mode(found.st_mode) {
            FileType::Symlink => {
                *links += 1;
                if *links > LINKS_MAX {
                    return Err(Blocked::Loop);
                }
                let target = rustix::fs::readlinkat(self.fd(), name, Vec::new())?.into_bytes();
                if target.starts_with(b"/") {
                    self.leave_to(0)?;
                }
                self.descend(&target, made, links)
            }
            FileType::CharacterDevice if found.st_rdev == 0 => {
                rustix::fs::unlinkat(self.fd(), name, AtFlags::empty())?;
                self.make(name, made)?;
                Ok(set_opaque(&self.fd(), self.form)?)
            }
            _ => Err(Blocked::NotAFolder),
        }
    }

    /// Makes a folder that the archive leaves out.
    fn make(&mut self, name: &[u8], made: &mut impl FnMut(&[u8])) -> std::result::Result<(), Blocked> {
        rustix::fs::mkdirat(self.fd(), name, IMPLICIT_MODE)?;
        let inherited = self.is_setgid();
        self.touch();
        let fd = open_folder(self.fd(), name)?;
        if inherited {
            rustix::fs::fchown(&fd, Some(rustix::process::geteuid()), Some(rustix::process::getegid()))?;
            rustix::fs::fchmod(&fd, IMPLICIT_MODE)?;
        }
        self.push(fd, name)?;
        made(&self.path);
        Ok(())
    }
}

impl Frame {
    fn new(fd: OwnedFd, path_len: usize) -> Result<Self> {
        let stat = rustix::fs::fstat(&fd)?;
        let mtime = Timespec { tv_sec: stat.st_mtime as _, tv_nsec: stat.st_mtime_nsec as _ };
        Ok(Self { fd, path_len, mtime, touched: false, setgid: stat.st_mode & 0o2000 != 0 })
    }

    fn leave(&self) -> Result<()> {
        if !self.touched {
            return Ok(());
        }
        rustix::fs::futimens(&self.fd, &Timestamps { last_access: self.mtime, last_modification: self.mtime })
    }
}

/// Opens a folder in a folder; a link is refused.
pub(super) fn open_folder(parent: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | guard::no_links() | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty())
}
