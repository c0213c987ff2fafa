//! Removes a group from every hierarchy.

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::folder::Folder;
use super::{Error, Manager, systemd};

/// The first pause after "busy"; it doubles up to [`LONGEST_PAUSE`]. A process that has just ended leaves its groups within
/// microseconds, so a long first pause would be most of a stop.
const FIRST_PAUSE: Duration = Duration::from_micros(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(5);

impl Manager {
    /// Removes the group and nested ones from every hierarchy; what is gone already counts as removed. Tries again for
    /// at most `patience` while the kernel says that a group is busy.
    ///
    /// Goes on after a failure, so that as much as possible is removed, and returns the first error.
    pub fn delete(&self, patience: Duration) -> Result<(), Error> {
        let start = Instant::now();
        let mut first = None;
        if let Some(unit) = &self.paths.unit {
            systemd::stop(unit);
        }
        for folder in self.folders() {
            if let Err(error) = remove(folder.path(), start, patience) {
                first.get_or_insert(error);
            }
        }
        first.map_or(Ok(()), Err)
    }
}

/// Removes one group, with nested ones only when the kernel says that it is not empty.
fn remove(path: &Path, start: Instant, patience: Duration) -> Result<(), Error> {
    let mut pause = FIRST_PAUSE;
    loop {
        match rustix::fs::rmdir(path) {
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            Err(Errno::BUSY | Errno::NOTEMPTY) => {}
            Err(errno) => return Err(Error::from_io("remove", path, errno)),
        }
        if let Some(folder) = Folder::open(path)? {
            remove_children(&folder, start, patience)?;
            if rustix::fs::rmdir(path).is_ok() {
                return Ok(());
            }
        }
        let waited = start.elapsed();
        if waited >= patience {
            let waited_ms = u64::try_from(waited.as_millis()).unwrap_or(u64::MAX);
            return Err(Error::Busy { path: path.to_owned(), waited_ms });
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

fn remove_children(folder: &Folder, start: Instant, patience: Duration) -> Result<(), Error> {
    let names = folder.children().map_err(|errno| folder.error("list", "", errno))?;
    names.iter().try_for_each(|name| remove(&folder.path().join(name), start, patience))
}
