//! Reads a log back: from its end, within a span of time, across rotated files, and on as it grows.

use std::io::{self, Read, Seek, SeekFrom};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify;

use super::files::{self, LogFile};
use super::{UnixNanos, decode, parse_time};
use crate::error::{Doing, Error, Result};

/// Read at once. The longest record is shorter, so a whole line always fits.
const BLOCK: usize = 256 << 10;

/// A line longer than any that a writer makes: it is skipped, not gathered.
const MAX_LINE: usize = 4 << 20;

/// What to read.
#[derive(Debug, Clone, Copy)]
pub struct ReadOptions<'a> {
    /// Include standard output.
    pub stdout: bool,
    /// Include standard error.
    pub stderr: bool,
    /// Only the last that many records, counted before any other choice, as Docker counts.
    pub tail: Option<u64>,
    /// Only lines not before this moment.
    pub since: Option<UnixNanos>,
    /// Only lines not after this moment.
    pub until: Option<UnixNanos>,
    /// Wait for more.
    pub follow: Option<FollowUntil<'a>>,
}

/// When to stop following.
#[derive(Debug, Clone, Copy)]
pub enum FollowUntil<'a> {
    /// When this descriptor is readable (or hung up): what is there is still read. Meant for a watching
    /// [`crate::Client`], which becomes readable after the last line was logged.
    Readable(BorrowedFd<'a>),
    /// When nothing came for so long.
    Idle(Duration),
}

/// One line, or a part of a long one.
#[derive(Debug)]
pub struct Line<'a> {
    /// Whether it came from standard error.
    pub stderr: bool,
    /// When it was read from the container, RFC 3339 as in the file.
    pub time: &'a str,
    /// The text, with its newline where it has one.
    pub text: &'a [u8],
    /// What else was asked to be logged with it, a JSON object; empty for nothing.
    pub attrs: &'a str,
}

/// Calls `each` for every line, the oldest first; `Ok(false)` from it ends the reading. Lines that are no records (of a
/// writer that was killed) are left out.
///
/// Fails with the kind `NotFound` when there is no log.
pub fn read(
    path: &Path,
    options: &ReadOptions<'_>,
    each: &mut dyn FnMut(Line<'_>) -> io::Result<bool>,
) -> Result<()> {
    let doing = || format!("read the log {path:?}");
    // Before the first read, so that nothing that comes after it is missed.
    let changes = options.follow.map(|_| watch(path)).transpose().doing(doing)?;
    let mut files = files::open_all(path).doing(doing)?;
    if files.is_empty() {
        return Err(Error::Os { doing: doing(), source: io::ErrorKind::NotFound.into() });
    }
    if let Some(tail) = options.tail {
        seek_to_tail(&mut files, tail).doing(doing)?;
    }
    let mut sink = Sink { options, each, text: Vec::new(), time: String::new() };
    let mut lines = Lines::default();
    let mut last = None;
    while let Some(mut file) = files.pop() {
        if !lines.drain(&mut file, &mut sink).doing(doing)? {
            return Ok(());
        }
        last = Some(file);
    }
    match (changes, options.follow, last) {
        (Some(changes), Some(until), Some(file)) => {
            follow(path, file, lines, &mut sink, &changes, until).doing(doing)
        }
        _ => Ok(()),
    }
}

/// Goes on reading as the log grows and is rotated.
fn follow(
    path: &Path,
    mut file: LogFile,
    mut lines: Lines,
    sink: &mut Sink<'_, '_>,
    changes: &OwnedFd,
    until: FollowUntil<'_>,
) -> io::Result<()> {
    loop {
        let more = wait(changes, until)?;
        if !lines.drain(&mut file, sink)? {
            return Ok(());
        }
        while let Some(mut next) = next_file(path, &file)? {
            // The old file may have grown between the last read and its rotation.
            if !lines.drain(&mut file, sink)? {
                return Ok(());
            }
            lines = Lines::default();
            if !lines.drain(&mut next, sink)? {
                return Ok(());
            }
            file = next;
        }
        if !more {
            return Ok(());
        }
    }
}

fn next_file(path: &Path, file: &LogFile) -> io::Result<Option<LogFile>> {
    match std::fs::metadata(path) {
        Ok(meta) if meta.ino() == file.inode => Ok(None),
        Ok(_) => files::next_after(path, file.inode),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn watch(path: &Path) -> io::Result<OwnedFd> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    let fd = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
    let wanted = inotify::WatchFlags::MODIFY | inotify::WatchFlags::CREATE | inotify::WatchFlags::MOVED_TO;
    inotify::add_watch(&fd, folder, wanted)?;
    Ok(fd)
}

/// Waits for a change. `false` when there will be no more.
fn wait(changes: &OwnedFd, until: FollowUntil<'_>) -> io::Result<bool> {
    let mut fds = vec![PollFd::new(changes, PollFlags::IN)];
    let mut timeout = None;
    match &until {
        FollowUntil::Readable(fd) => fds.push(PollFd::from_borrowed_fd(*fd, PollFlags::IN)),
        FollowUntil::Idle(time) => {
            timeout =
                Some(Timespec { tv_sec: time.as_secs() as i64, tv_nsec: i64::from(time.subsec_nanos()) });
        }
    }
    let ready = rustix::io::retry_on_intr(|| poll(&mut fds, timeout.as_ref()))?;
    let ended = ready == 0 || fds.get(1).is_some_and(|fd| !fd.revents().is_empty());
    let mut buffer = [MaybeUninit::uninit(); 4096];
    while let Ok((init, _)) = rustix::io::read(changes.as_fd(), &mut buffer[..]) {
        if init.is_empty() {
            break;
        }
    }
    Ok(!ended)
}

/// Cuts lines out of what is read; keeps the beginning of an unfinished one.
#[derive(Default)]
struct Lines {
    buffer: Vec<u8>,
    filled: usize,
    /// The line that is being read is too long and is thrown away up to its end.
    skipping: bool,
}

impl Lines {
    /// Hands all whole lines up to the end of `file` to `sink`; `false` when it wants no more.
    fn drain(&mut self, file: &mut LogFile, sink: &mut Sink<'_, '_>) -> io::Result<bool> {
        loop {
            if self.buffer.len() - self.filled < BLOCK / 2 {
                if self.filled > MAX_LINE {
                    self.filled = 0;
                    self.skipping = true;
                }
                self.buffer.resize(self.filled + BLOCK, 0);
            }
            let got = file.file.read(&mut self.buffer[self.filled..])?;
            if got == 0 {
                return Ok(true);
            }
            let old = self.filled;
            self.filled += got;
            if !self.hand_over(old, sink)? {
                return Ok(false);
            }
        }
    }

    /// Hands over the whole lines of the buffer; bytes before `scanned` hold no newline.
    fn hand_over(&mut self, scanned: usize, sink: &mut Sink<'_, '_>) -> io::Result<bool> {
        let (mut start, mut from) = (0, scanned);
        while let Some(at) = self.buffer[from..self.filled].iter().position(|byte| *byte == b'\n') {
            let line = &self.buffer[start..from + at];
            start = from + at + 1;
            from = start;
            let skip = std::mem::take(&mut self.skipping);
            if !skip && !sink.take(line)? {
                return Ok(false);
            }
        }
        self.buffer.copy_within(start..self.filled, 0);
        self.filled -= start;
        Ok(true)
    }
}

/// Decodes, chooses and hands on.
struct Sink<'a, 'o> {
    options: &'a ReadOptions<'o>,
    each: &'a mut dyn FnMut(Line<'_>) -> io::Result<bool>,
    text: Vec<u8>,
    time: String,
}

impl Sink<'_, '_> {
    fn take(&mut self, line: &[u8]) -> io::Result<bool> {
        let Some(record) = decode::record(line, &mut self.text, &mut self.time) else { return Ok(true) };
        if self.options.since.is_some() || self.options.until.is_some() {
            // What has no readable moment is inside every span.
            if let Some(moment) = parse_time(record.time) {
                if self.options.until.is_some_and(|until| moment > until) {
                    // The clock may have been set back after it: what was written later may be earlier.
                    return Ok(self.options.follow.is_none());
                }
                if self.options.since.is_some_and(|since| moment < since) {
                    return Ok(true);
                }
            }
        }
        let wanted = if record.stderr { self.options.stderr } else { self.options.stdout };
        if !wanted {
            return Ok(true);
        }
        (self.each)(Line { stderr: record.stderr, time: record.time, text: &self.text, attrs: record.attrs })
    }
}

/// Leaves of `files` (the newest first) those that hold the last `tail` lines, the oldest of them placed at the first.
fn seek_to_tail(files: &mut Vec<LogFile>, tail: u64) -> io::Result<()> {
    let mut left = tail;
    for index in 0..files.len() {
        match tail_offset(&files[index], &mut left)? {
            Some(offset) => {
                files[index].file.seek(SeekFrom::Start(offset))?;
                files.truncate(index + 1);
                return Ok(());
            }
            None => continue,
        }
    }
    Ok(())
}

/// Counts newlines from the end of a file: the offset at which the wanted lines begin, or `None` when the file has fewer
/// than `left` lines; `left` is lowered by those it has.
fn tail_offset(file: &LogFile, left: &mut u64) -> io::Result<Option<u64>> {
    let len = file.file.metadata()?.len();
    if *left == 0 {
        return Ok(Some(len));
    }
    let mut block = vec![0; 64 << 10];
    let mut end = len;
    while end > 0 {
        let size = end.min(block.len() as u64) as usize;
        let start = end - size as u64;
        file.file.read_exact_at(&mut block[..size], start)?;
        for (index, _) in block[..size].iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n') {
            let next_line = start + index as u64 + 1;
            // The newline at the very end begins no line.
            if next_line < len {
                *left -= 1;
                if *left == 0 {
                    return Ok(Some(next_line));
                }
            }
        }
        end = start;
    }
    // The first line of the file begins at no newline.
    *left -= u64::from(len > 0);
    Ok((*left == 0).then_some(0))
}

#[cfg(test)]
mod tests {
    use super::super::{LogWriter, Stream};
    use super::*;
    use std::path::PathBuf;

    struct Log(PathBuf);

    impl Log {
        fn new(name: &str) -> Self {
            let folder = std::env::temp_dir().join(format!("brig-read-{name}-{}", std::process::id()));
            std::fs::create_dir_all(&folder).unwrap();
            Self(folder.join("log.json"))
        }

        fn writer(&self, max_size: Option<u64>) -> LogWriter {
            LogWriter::open(self.0.clone(), max_size, 1000).unwrap()
        }
    }

    impl Drop for Log {
        fn drop(&mut self) {
            std::fs::remove_dir_all(self.0.parent().unwrap()).unwrap();
        }
    }

    const ALL: ReadOptions<'_> =
        ReadOptions { stdout: true, stderr: true, tail: None, since: None, until: None, follow: None };

    fn texts(log: &Log, options: &ReadOptions<'_>) -> Vec<String> {
        let mut texts = Vec::new();
        read(&log.0, options, &mut |line| {
            texts.push(String::from_utf8(line.text.to_vec()).unwrap());
            Ok(true)
        })
        .unwrap();
        texts
    }

    fn numbered(from: usize, to: usize) -> Vec<String> {
        (from..to).map(|number| format!("line {number}\n")).collect()
    }

    #[test]
    fn every_tail_is_right_across_rotated_files() {
        for max_size in [None, Some(500)] {
            let log = Log::new(&format!("tail-{}", max_size.unwrap_or(0)));
            let mut writer = log.writer(max_size);
            for line in numbered(0, 100) {
                writer.write(Stream::Stdout, line.as_bytes(), 0);
            }
            assert_eq!(texts(&log, &ALL), numbered(0, 100));
            for tail in [0, 1, 2, 5, 6, 7, 8, 50, 99, 100, 101, 1000] {
                let options = ReadOptions { tail: Some(tail), ..ALL };
                assert_eq!(texts(&log, &options), numbered(100 - (tail as usize).min(100), 100), "{tail}");
            }
        }
    }

    #[test]
    fn streams_and_spans_are_chosen() {
        let log = Log::new("choose");
        let mut writer = log.writer(None);
        for number in 0..10 {
            let stream = if number % 2 == 0 { Stream::Stdout } else { Stream::Stderr };
            writer.write(stream, format!("{number}\n").as_bytes(), number * 1_000_000_000);
        }
        let joined = |options: &ReadOptions<'_>| texts(&log, options).concat().replace('\n', "");
        assert_eq!(joined(&ReadOptions { stderr: false, ..ALL }), "02468");
        assert_eq!(joined(&ReadOptions { stdout: false, ..ALL }), "13579");
        assert_eq!(joined(&ReadOptions { since: Some(3_000_000_000), ..ALL }), "3456789");
        assert_eq!(joined(&ReadOptions { until: Some(3_500_000_000), ..ALL }), "0123");
        assert_eq!(joined(&ReadOptions { tail: Some(4), stdout: false, ..ALL }), "79");
    }

    #[test]
    fn a_missing_log_is_not_found() {
        let log = Log::new("missing");
        let error = read(&log.0, &ALL, &mut |_| Ok(true)).unwrap_err();
        assert_eq!(base::Kinded::kind(&error), base::ErrorKind::NotFound);
    }

    #[test]
    fn following_sees_every_line_across_rotations() {
        let log = Log::new("follow");
        let mut writer = log.writer(Some(3000));
        writer.write(Stream::Stdout, b"line 0\n", 0);
        let (end, end_writer) = std::io::pipe().unwrap();
        let thread = std::thread::spawn(move || {
            for line in numbered(1, 5000) {
                writer.write(Stream::Stdout, line.as_bytes(), 0);
            }
            drop(end_writer);
        });
        let options = ReadOptions { follow: Some(FollowUntil::Readable(end.as_fd())), ..ALL };
        assert_eq!(texts(&log, &options), numbered(0, 5000));
        thread.join().unwrap();
    }

    #[test]
    fn an_endless_line_is_skipped_in_bounded_memory() {
        let log = Log::new("endless");
        let mut bytes = vec![b'x'; MAX_LINE * 2];
        bytes.extend_from_slice(b"\n{\"log\":\"ok\\n\",\"stream\":\"stdout\",\"time\":\"T\"}\n");
        std::fs::write(&log.0, bytes).unwrap();
        assert_eq!(texts(&log, &ALL), ["ok\n"]);
    }
}
