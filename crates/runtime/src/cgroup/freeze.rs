//! Stops and continues all processes of a group.
//!
//! v1: `freezer.state` is written FROZEN and reads FREEZING until all processes stand; a process that forks meanwhile can keep it
//! there, so the word is written again. v2: `cgroup.freeze` is written 1, `cgroup.events` says when all stand.
//!
//! Source: cgroup-v1/freezer-subsystem.rst; cgroup-v2.rst "cgroup.freeze".

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;

use super::folder::{Folder, read_all};
use super::{Error, Manager};

/// A process in uninterruptible sleep (a dead network file system) can keep a group from freezing for ever.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two looks at a v1 group.
const PAUSE: Duration = Duration::from_micros(50);
/// After so many looks the word is taken back and given again, which helps processes that hang in the middle (kernels before 5.2).
const LOOKS_A_TRY: u32 = 200;

impl Manager {
    /// Stops every process of the group and of nested ones; returns when all stand.
    ///
    /// Fails with [`Error::Busy`] when they do not stand after ten seconds; the group is thawed again then.
    pub fn freeze(&self) -> Result<(), Error> {
        let (folder, version2) = self.freezer()?;
        let result = if version2 { freeze_v2(folder) } else { freeze_v1(folder) };
        if result.is_err() {
            // Half frozen is worse than running.
            let _ = self.thaw();
        }
        result
    }

    /// Lets every process go on.
    pub fn thaw(&self) -> Result<(), Error> {
        let (folder, version2) = self.freezer()?;
        let (file, word) = if version2 { ("cgroup.freeze", "0") } else { ("freezer.state", "THAWED") };
        folder.write(file, word).map_err(|errno| folder.error("thaw", file, errno))
    }

    /// Returns whether the group is frozen, or on the way to it.
    pub fn is_frozen(&self) -> Result<bool, Error> {
        let (folder, version2) = match self.freezer() {
            Ok(freezer) => freezer,
            // Nothing to freeze with is nothing frozen.
            Err(Error::Missing { .. }) => return Ok(false),
            Err(error) => return Err(error),
        };
        let file = if version2 { "cgroup.freeze" } else { "freezer.state" };
        match folder.read(file) {
            Ok(text) => Ok(!matches!(text.trim(), "0" | "THAWED")),
            Err(Errno::NOENT | Errno::NODEV) => Ok(false),
            Err(errno) => Err(folder.error("read", file, errno)),
        }
    }

    /// Returns the folder to freeze by, and whether it is of v2.
    fn freezer(&self) -> Result<(&Folder, bool), Error> {
        match (self.v1("freezer"), &self.unified) {
            (Some(folder), _) => Ok((folder, false)),
            (None, Some(folder)) => Ok((folder, true)),
            (None, None) => Err(Error::Missing {
                limit: "freezer".into(),
                value: "FROZEN".into(),
                reason: "the container has no cgroup to be frozen by".into(),
            }),
        }
    }
}

fn freeze_v1(folder: &Folder) -> Result<(), Error> {
    const FILE: &str = "freezer.state";
    let fail = |errno| folder.error("freeze", FILE, errno);
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        folder.write(FILE, "FROZEN").map_err(fail)?;
        for _ in 0..LOOKS_A_TRY {
            // The kernel goes on freezing when it is asked for the state.
            match folder.read(FILE).map_err(fail)?.trim() {
                "FROZEN" => return Ok(()),
                "FREEZING" => std::thread::sleep(PAUSE),
                _ => break,
            }
        }
        folder.write(FILE, "THAWED").map_err(fail)?;
    }
    Err(busy(folder, start))
}

fn freeze_v2(folder: &Folder) -> Result<(), Error> {
    let fail = |errno| folder.error("freeze", "cgroup.events", errno);
    let events = folder.open_to_read("cgroup.events").map_err(fail)?;
    folder.write("cgroup.freeze", "1").map_err(|errno| folder.error("freeze", "cgroup.freeze", errno))?;
    let start = Instant::now();
    loop {
        rustix::fs::seek(&events, rustix::fs::SeekFrom::Start(0)).map_err(fail)?;
        if read_all(events.as_fd()).map_err(fail)?.lines().any(|line| line == "frozen 1") {
            return Ok(());
        }
        let Some(left) = PATIENCE.checked_sub(start.elapsed()) else { return Err(busy(folder, start)) };
        let left = Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(1),
            tv_nsec: left.subsec_nanos().into(),
        };
        match rustix::event::poll(&mut [PollFd::new(&events, PollFlags::PRI)], Some(&left)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(fail(errno)),
        }
    }
}

fn busy(folder: &Folder, start: Instant) -> Error {
    let waited_ms = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
    Error::Busy { path: folder.path().to_owned(), waited_ms }
}
