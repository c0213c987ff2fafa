//! Network namespaces of the calling thread: making one, visiting one. The thread is always back in its own
//! namespace when a call returns.

#![allow(unsafe_code)]

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Result;
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};

/// Returns a descriptor of the network namespace that the calling thread is in.
pub fn current() -> Result<OwnedFd> {
    rustix::fs::open("/proc/thread-self/ns/net", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
}

/// How often the way back is tried: it was open a moment ago, and the kernel may be short of memory.
const TRIES: u32 = 3;

/// Puts the thread back into the namespace `home` when it is dropped, a panic included.
struct Return<'a> {
    home: BorrowedFd<'a>,
    done: bool,
}

impl Return<'_> {
    fn now(mut self) {
        self.done = true;
        // Whatever this thread did next would happen to a container's network instead of the host's, the undoing of what
        // failed included: there is nothing that it may do any more.
        if (0..TRIES).all(|_| enter(self.home).is_err()) {
            std::process::abort();
        }
    }
}

impl Drop for Return<'_> {
    fn drop(&mut self) {
        // Only reached by a panic, which is under way already and says more than a second error could.
        if !self.done {
            let _ = enter(self.home);
        }
    }
}

fn enter(netns: BorrowedFd<'_>) -> Result<()> {
    move_into_link_name_space(netns, Some(LinkNameSpaceType::Network))
}

/// Calls `visit` with the calling thread in the network namespace `netns`; sockets that it opens stay there.
///
/// # Errors
///
/// Outer: the namespace could not be entered. Inner: whatever `visit` returns. A thread that cannot be put back ends the
/// process.
pub fn inside<T>(netns: BorrowedFd<'_>, visit: impl FnOnce() -> T) -> Result<T> {
    let home = current()?;
    enter(netns)?;
    let back = Return { home: home.as_fd(), done: false };
    let value = visit();
    back.now();
    Ok(value)
}

/// Makes a network namespace that is mounted nowhere, calls `visit` in it and returns its descriptor.
///
/// # Errors
///
/// As [`inside`]. Needs `CAP_SYS_ADMIN`.
pub fn create<T>(visit: impl FnOnce() -> T) -> Result<(OwnedFd, T)> {
    let home = current()?;
    // SAFETY: CLONE_NEWNET replaces the network namespace of this thread only; it unshares neither memory nor the
    // table of descriptors, so no owner of a descriptor in this process loses it.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) }?;
    let back = Return { home: home.as_fd(), done: false };
    let made = current();
    let value = visit();
    back.now();
    Ok((made?, value))
}

/// Does what [`create`] does on a thread that never comes back and ends: for root of a user namespace, who may leave the
/// machine's network and not enter it again.
pub fn create_apart<T: Send>(visit: impl FnOnce() -> T + Send) -> Result<(OwnedFd, T)> {
    let there = || {
        // SAFETY: as in `create`; the thread ends in the new namespace.
        unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) }?;
        Ok((current()?, visit()))
    };
    on_thread(there)
}

/// Does what [`inside`] does on a thread that never comes back and ends.
pub fn inside_apart<T: Send>(netns: BorrowedFd<'_>, visit: impl FnOnce() -> T + Send) -> Result<T> {
    on_thread(|| {
        enter(netns)?;
        Ok(visit())
    })
}

fn on_thread<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("netns".to_owned()).spawn_scoped(scope, work);
        let thread = thread.map_err(|_| rustix::io::Errno::AGAIN)?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
