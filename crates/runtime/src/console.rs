//! Handing the master end of a terminal to whoever serves it.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

use crate::channel;
use crate::error::{Doing, Result};

/// Sends `master` to the socket `path`, as runc does: one message that holds the terminal's name, with the
/// descriptor beside it.
pub(crate) fn send(path: &Path, master: &OwnedFd) -> Result<()> {
    let what = || format!("send the terminal to {path:?}");
    let socket =
        socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).doing(what)?;
    connect(&socket, &SocketAddrUnix::new(path).doing(what)?).doing(what)?;
    let name = b"/dev/pts/ptmx";
    channel::send(&socket, name, Some(master.as_fd())).doing(what)
}
