//! Reads the record of events, and waits for more.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify;

use super::{Event, make_folder, newest, oldest};

/// How many files are looked at: the newest, and two before it into which a slow writer may still write.
const MAX_TAILS: usize = 3;

/// A reader of one record, at its beginning when it is opened.
#[derive(Debug)]
pub struct Reader {
    folder: PathBuf,
    changes: OwnedFd,
    /// The oldest first.
    tails: Vec<Tail>,
}

/// A file that is being read.
#[derive(Debug)]
struct Tail {
    file: File,
    inode: u64,
    /// The beginning of a line whose end has not been written yet.
    rest: Vec<u8>,
}

impl Reader {
    /// Opens the record in `folder`, which is made where it is missing.
    pub fn open(folder: &Path) -> io::Result<Self> {
        make_folder(folder)?;
        // Before the first read, so that nothing that comes after it is missed.
        let changes = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
        let wanted =
            inotify::WatchFlags::MODIFY | inotify::WatchFlags::CREATE | inotify::WatchFlags::MOVED_TO;
        inotify::add_watch(&changes, folder, wanted)?;
        let mut reader = Self { folder: folder.to_owned(), changes, tails: Vec::new() };
        reader.meet(&oldest(folder))?;
        reader.meet(&newest(folder))?;
        Ok(reader)
    }

    /// Passes over all that is recorded so far.
    pub fn skip(&mut self) -> io::Result<()> {
        self.tails.iter_mut().try_for_each(|tail| tail.file.seek(SeekFrom::End(0)).map(drop))
    }

    /// Hands every event that was not read yet to `each`; `Ok(false)` from it ends the reading, which is then answered.
    pub fn read(&mut self, each: &mut dyn FnMut(Event) -> io::Result<bool>) -> io::Result<bool> {
        loop {
            for tail in &mut self.tails {
                if !tail.drain(each)? {
                    return Ok(false);
                }
            }
            if !self.meet(&newest(&self.folder))? {
                return Ok(true);
            }
        }
    }

    /// Waits for a change, at most so long.
    pub fn wait(&self, timeout: Option<Duration>) -> io::Result<()> {
        let timeout = timeout.map(|time| Timespec {
            tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(time.subsec_nanos()),
        });
        let mut fds = [PollFd::new(&self.changes, PollFlags::IN)];
        rustix::io::retry_on_intr(|| poll(&mut fds, timeout.as_ref()))?;
        let mut buffer = [MaybeUninit::uninit(); 4096];
        while let Ok((read, _)) = rustix::io::read(self.changes.as_fd(), &mut buffer[..]) {
            if read.is_empty() {
                break;
            }
        }
        Ok(())
    }

    /// Takes up the file at `path` unless it is known. Returns whether it was taken up.
    fn meet(&mut self, path: &Path) -> io::Result<bool> {
        let inode = match fs::metadata(path) {
            Ok(meta) => meta.ino(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        if self.tails.iter().any(|tail| tail.inode == inode) {
            return Ok(false);
        }
        let mut list = Vec::new();
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        // While this one was read, more than one may have been filled: what was put aside comes before what is written.
        if let Some(aside) = fs::metadata(oldest(&self.folder))
            .ok()
            .filter(|meta| !self.tails.is_empty() && self.tails.iter().all(|tail| tail.inode != meta.ino()))
        {
            list.push((File::open(oldest(&self.folder))?, aside.ino()));
        }
        let inode = file.metadata()?.ino();
        list.push((file, inode));
        for (file, inode) in list {
            if self.tails.iter().all(|tail| tail.inode != inode) {
                self.tails.push(Tail { file, inode, rest: Vec::new() });
            }
        }
        let surplus = self.tails.len().saturating_sub(MAX_TAILS);
        self.tails.drain(..surplus);
        Ok(true)
    }
}

impl Tail {
    /// Hands over the whole lines up to the end of the file.
    fn drain(&mut self, each: &mut dyn FnMut(Event) -> io::Result<bool>) -> io::Result<bool> {
        let mut block = vec![0; 64 << 10];
        loop {
            let got = self.file.read(&mut block)?;
            if got == 0 {
                return Ok(true);
            }
            self.rest.extend_from_slice(&block[..got]);
            let mut start = 0;
            while let Some(at) = self.rest[start..].iter().position(|byte| *byte == b'\n') {
                let event = parse(&self.rest[start..start + at]);
                start += at + 1;
                if let Some(event) = event
                    && !each(event)?
                {
                    self.rest.drain(..start);
                    return Ok(false);
                }
            }
            self.rest.drain(..start);
        }
    }
}

/// Reads one line. A write that a full disk cut short leaves a beginning without an end in front of the next event: no string
/// holds the beginning of an event, as its quotes are escaped there.
fn parse(line: &[u8]) -> Option<Event> {
    const BEGINNING: &[u8] = b"{\"t\":";
    let start = line.windows(BEGINNING.len()).rposition(|window| window == BEGINNING)?;
    serde_json::from_slice(&line[start..]).ok()
}
