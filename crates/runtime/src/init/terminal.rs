//! The terminal: a pair from the container's own devpts, bound on its `/dev/console`.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags};
use rustix::pty::OpenptFlags;
use rustix::termios::Winsize;
use sys::beneath::Root;

use super::{mounts, rootfs};
use crate::binds::{self, clone_tree};
use crate::error::{Doing, Error, Result};

/// `linux/magic.h`.
const DEVPTS_SUPER_MAGIC: i64 = 0x1cd1;

/// Both ends.
#[derive(Debug)]
pub(crate) struct Terminal {
    /// Goes to whoever serves the terminal.
    pub(crate) master: OwnedFd,
    /// Becomes the process's standard streams.
    pub(crate) slave: OwnedFd,
}

/// Opens a pair in the container's devpts and binds it on `/dev/console`.
pub(super) fn open(root: &Root, window: Option<(u16, u16)>, uid: u32) -> Result<Terminal> {
    let what = || "open a terminal in the container's /dev/pts".to_owned();
    let flags = OFlags::RDWR | OFlags::NOCTTY;
    let master = root.open_no_links(Path::new("/dev/pts/ptmx"), flags, Mode::empty()).doing(what)?;
    let terminal = from_master(master, window)?;
    // Only the owner changes: the group is devpts's business.
    let owner = rustix::process::Uid::from_raw(uid);
    rustix::fs::fchown(&terminal.slave, Some(owner), None)
        .doing(|| format!("give the terminal to user {uid}"))?;
    let console = Path::new("/dev/console");
    let target = mounts::target(root, console, false).doing(|| "make /dev/console".into())?;
    let tree = clone_tree(&terminal.slave, Path::new(""), false).doing(|| "bind the terminal".into())?;
    if crate::unguard::off("console") {
        rootfs::move_to(tree.as_fd(), target.as_fd()).doing(|| "bind the terminal".into())?;
        return Ok(terminal);
    }
    let beneath = root
        .open_no_links(console, OFlags::PATH, Mode::empty())
        .doing(|| "open /dev/console (a link is not allowed there)".into())?;
    if !binds::same_file(&target, &beneath) {
        return Err(Error::invalid("/dev/console", "a link", "a file of its own is wanted"));
    }
    mounts::guard_proc(root, beneath.as_fd(), console)?;
    rootfs::move_to(tree.as_fd(), beneath.as_fd()).doing(|| "bind the terminal on /dev/console".into())?;
    Ok(terminal)
}

/// Opens a pair in the devpts of the root that the process has (`exec`, or no mount namespace).
pub(crate) fn open_host(window: Option<(u16, u16)>) -> Result<Terminal> {
    let what = || "open a terminal in /dev/pts".to_owned();
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    from_master(rustix::fs::open("/dev/pts/ptmx", flags, Mode::empty()).doing(what)?, window)
}

fn from_master(master: OwnedFd, window: Option<(u16, u16)>) -> Result<Terminal> {
    let what = || "open the other end of the terminal".to_owned();
    let (kind, device) = binds::kind_of(&master).doing(what)?;
    let magic = rustix::fs::fstatfs(&master).doing(what)?.f_type as i64;
    if kind != FileType::CharacterDevice || device != rustix::fs::makedev(5, 2) || magic != DEVPTS_SUPER_MAGIC
    {
        return Err(Error::invalid("/dev/pts/ptmx", "a file", "the multiplexer of a devpts is wanted"));
    }
    rustix::pty::unlockpt(&master).doing(what)?;
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let slave = rustix::pty::ioctl_tiocgptpeer(&master, flags).doing(what)?;
    if let Some((columns, rows)) = window {
        let size = Winsize { ws_col: columns, ws_row: rows, ws_xpixel: 0, ws_ypixel: 0 };
        rustix::termios::tcsetwinsize(&master, size).doing(|| "set the terminal's size".into())?;
    }
    Ok(Terminal { master, slave })
}
