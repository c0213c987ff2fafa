//! Tells when a group runs out of memory.
//!
//! v1: an eventfd is registered for `memory.oom_control`. v2: `memory.events` is watched by inotify. Either way the descriptor
//! only says "look"; the count of kills is the truth (v1: `oom_kill` in `memory.oom_control`, since 4.13).
//!
//! Source: cgroup-v1/memory.rst "OOM Control"; cgroup-v2.rst "memory.events".

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::event::EventfdFlags;
use rustix::fs::inotify;
use rustix::io::Errno;

use super::folder::Folder;
use super::{Error, Manager};

/// Says when a group may have run out of memory: a descriptor to poll.
#[derive(Debug)]
pub struct OomWatch {
    event: OwnedFd,
    /// v1: the kernel ties the registration to this file.
    _watched: Option<OwnedFd>,
}

impl AsFd for OomWatch {
    /// The descriptor that becomes readable when the group may have run out of memory, and when it is removed.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}

impl OomWatch {
    /// Takes what has been signalled, so that the descriptor is quiet until the next event. Then ask [`Manager::oom_kills`].
    pub fn clear(&self) {
        let mut events = [0_u8; 4096];
        while rustix::io::read(&self.event, &mut events).is_ok_and(|count| count == events.len()) {}
    }
}

impl Manager {
    /// Watches for out-of-memory events.
    pub fn watch_oom(&self) -> Result<OomWatch, Error> {
        match (self.v1("memory"), &self.unified) {
            (Some(folder), _) => watch_v1(folder),
            (None, Some(folder)) => watch_v2(folder),
            (None, None) => Err(no_memory_controller()),
        }
    }

    /// Returns how many processes the kernel has killed in this group, and in nested ones on v2, for want of memory.
    ///
    /// Zero when the group has no memory controller or is gone.
    pub fn oom_kills(&self) -> Result<u64, Error> {
        let (folder, file) = match (self.v1("memory"), &self.unified) {
            (Some(folder), _) => (folder, "memory.oom_control"),
            (None, Some(folder)) => (folder, "memory.events"),
            (None, None) => return Ok(0),
        };
        match folder.read(file) {
            Ok(text) => Ok(count(&text)),
            Err(Errno::NOENT | Errno::NODEV) => Ok(0),
            Err(errno) => Err(folder.error("read", file, errno)),
        }
    }
}

/// Finds `oom_kill N` in the text of either file.
fn count(text: &str) -> u64 {
    let counts = text.lines().filter_map(|line| line.strip_prefix("oom_kill "));
    counts.filter_map(|count| count.trim().parse::<u64>().ok()).sum()
}

fn watch_v1(folder: &Folder) -> Result<OomWatch, Error> {
    const FILE: &str = "memory.oom_control";
    let fail = |errno| folder.error("watch", FILE, errno);
    let event = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map_err(fail)?;
    let watched = folder.open_to_read(FILE).map_err(fail)?;
    let text = format!("{} {}", event.as_raw_fd(), watched.as_raw_fd());
    folder.write("cgroup.event_control", &text).map_err(fail)?;
    Ok(OomWatch { event, _watched: Some(watched) })
}

fn watch_v2(folder: &Folder) -> Result<OomWatch, Error> {
    let fail = |errno| folder.error("watch", "memory.events", errno);
    let event =
        inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK).map_err(fail)?;
    let path = folder.path().join("memory.events");
    inotify::add_watch(&event, path, inotify::WatchFlags::MODIFY).map_err(|errno| match errno {
        Errno::NOENT => no_memory_controller(),
        errno => fail(errno),
    })?;
    Ok(OomWatch { event, _watched: None })
}

fn no_memory_controller() -> Error {
    Error::Missing {
        limit: "memory events".into(),
        value: "out of memory".into(),
        reason: "the container's cgroup has no memory controller".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::count;

    #[test]
    fn kills_are_counted() {
        assert_eq!(count("oom_kill_disable 0\nunder_oom 0\noom_kill 3\n"), 3);
        assert_eq!(count("low 0\nhigh 0\nmax 12\noom 2\noom_kill 2\noom_group_kill 0\n"), 2);
        assert_eq!(count(""), 0);
    }
}
