//! The socket in the run folder. It is reached through a descriptor of the folder, so that no path is too long for it, and it
//! answers only to its own user and to root.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, connect, listen, socket_with,
    sockopt,
};

use crate::error::{Doing, Error, Result};

/// Name of the socket in the run folder.
pub(crate) const SOCKET: &str = "socket";

/// How many connections may wait to be accepted: many commands may come at once.
const BACKLOG: i32 = 128;

/// Opens a run folder.
pub(crate) fn open_dir(run_dir: &Path) -> Result<OwnedFd> {
    rustix::fs::open(run_dir, OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .doing(|| format!("open {run_dir:?}"))
}

/// Listens in the folder `dir`; what a killed monitor left is replaced.
pub(crate) fn listen_in(dir: &OwnedFd) -> Result<OwnedFd> {
    let doing = || "listen on the monitor's socket".to_owned();
    match rustix::fs::unlinkat(dir, SOCKET, rustix::fs::AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(error) => return Err(error).doing(doing),
    }
    let socket = stream(SocketFlags::CLOEXEC | SocketFlags::NONBLOCK).doing(doing)?;
    // The mode of a socket file is that of the descriptor at the time of `bind`, less the umask.
    rustix::fs::fchmod(&socket, Mode::RUSR | Mode::WUSR).doing(doing)?;
    bind(&socket, &address(dir).doing(doing)?).doing(doing)?;
    listen(&socket, BACKLOG).doing(doing)?;
    Ok(socket)
}

/// Connects to the monitor of a run folder.
pub(crate) fn connect_to(run_dir: &Path) -> Result<OwnedFd> {
    let missing = |source: Errno| Error::NoMonitor { run_dir: run_dir.to_owned(), source: source.into() };
    let dir = rustix::fs::open(run_dir, OFlags::DIRECTORY | OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
        .map_err(missing)?;
    let socket = stream(SocketFlags::CLOEXEC).map_err(missing)?;
    connect(&socket, &address(&dir).map_err(missing)?).map_err(missing)?;
    Ok(socket)
}

/// Accepts one connection; `None` when none waits or when its user is a stranger, who is sent away.
pub(crate) fn accept(listener: &OwnedFd) -> Option<OwnedFd> {
    // A connection that was given up before it is accepted is nobody's error.
    let socket = accept_with(listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK).ok()?;
    let peer = sockopt::socket_peercred(&socket).ok()?.uid;
    #[cfg(test)]
    if tests::EVERYBODY_IS_HEARD.get() {
        return Some(socket);
    }
    (peer.is_root() || peer == rustix::process::geteuid()).then_some(socket)
}

/// The address of the socket beneath an open folder, short whatever the folder's path.
fn address(dir: &OwnedFd) -> Result<SocketAddrUnix, Errno> {
    SocketAddrUnix::new(format!("/proc/self/fd/{}/{SOCKET}", dir.as_fd().as_raw_fd()))
}

fn stream(flags: SocketFlags) -> Result<OwnedFd, Errno> {
    socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    thread_local! {
        /// Takes the guard away, to show that its test fails without it.
        pub(super) static EVERYBODY_IS_HEARD: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
    }

    /// CVE-2020-15257: whoever reaches the socket is asked who he is, whatever the modes of the files say.
    #[test]
    fn root_strangers_are_sent_away() {
        if !rustix::process::geteuid().is_root() {
            let _ = std::io::Write::write_all(&mut std::io::stderr(), b"SKIP needs root\n");
            return;
        }
        let root = std::env::temp_dir().join(format!("brig-strangers-{}", std::process::id()));
        std::fs::create_dir_all(&root).unwrap();
        let listener = listen_in(&open_dir(&root).unwrap()).unwrap();
        let everybody =
            |path: &Path| std::fs::set_permissions(path, PermissionsExt::from_mode(0o777)).unwrap();
        everybody(&root);
        everybody(&root.join(SOCKET));
        let heard = || {
            let path = root.join(SOCKET);
            let stranger = std::thread::spawn(move || {
                let nobody = rustix::process::Uid::from_raw(65534);
                rustix::thread::set_thread_res_uid(nobody, nobody, nobody).unwrap();
                std::os::unix::net::UnixStream::connect(path)
            });
            let _stream = stranger.join().unwrap().unwrap();
            accept(&listener).is_some()
        };
        assert!(!heard());
        EVERYBODY_IS_HEARD.set(true);
        let without = heard();
        EVERYBODY_IS_HEARD.set(false);
        assert!(without, "the test proves nothing");
        std::fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn a_path_longer_than_an_address_is_no_obstacle() {
        let root = std::env::temp_dir().join(format!("brig-transport-{}", std::process::id()));
        let run_dir = root.join("x".repeat(200));
        std::fs::create_dir_all(&run_dir).unwrap();
        assert!(matches!(connect_to(&run_dir), Err(Error::NoMonitor { .. })));
        let listener = listen_in(&open_dir(&run_dir).unwrap()).unwrap();
        let _client = connect_to(&run_dir).unwrap();
        assert!(accept(&listener).is_some());
        assert!(accept(&listener).is_none());
        let mode =
            std::os::unix::fs::PermissionsExt::mode(&run_dir.join(SOCKET).metadata().unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
        // A second monitor replaces the socket.
        listen_in(&open_dir(&run_dir).unwrap()).unwrap();
        std::fs::remove_dir_all(root).unwrap();
    }
}
