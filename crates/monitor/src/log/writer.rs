//! Writes the log: whole reads of a stream in, few large writes out.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::PathBuf;

use rustix::process::{WaitId, WaitIdOptions, waitid};
use sys::pages::Pages;

use super::encode::{Cursor, max_encoded, record};
use super::forward::Forwarder;
use super::{Stream, compress, files};
use crate::clock::{Renderer, UnixNanos};
use crate::launch::LogSpec;

/// The longest text of one record, as Docker's.
const MAX_TEXT: usize = 16 << 10;

/// Encoded lines are gathered up to this size. Must hold the longest record twice.
const BUFFER: usize = 256 << 10;

/// Writes one log. An error does not stop the container: a full disk costs lines, not the service.
#[derive(Debug)]
pub(crate) struct LogWriter {
    path: PathBuf,
    max_size: Option<u64>,
    max_files: u32,
    file: File,
    size: u64,
    buffer: Pages,
    used: usize,
    renderer: Renderer,
    partial: [Vec<u8>; 2],
    compress: bool,
    /// The process that compresses the file rotated last.
    compressor: Option<OwnedFd>,
    /// Written into each record.
    attrs: String,
    forwarder: Option<Forwarder>,
}

impl LogWriter {
    /// Opens the log, at the end of what is there.
    pub(crate) fn open(path: PathBuf, max_size: Option<u64>, max_files: u32) -> io::Result<Self> {
        let (file, size) = files::open_for_append(&path)?;
        Ok(Self {
            path,
            max_size,
            max_files: max_files.max(1),
            file,
            size,
            buffer: Pages::new(BUFFER)?,
            used: 0,
            renderer: Renderer::default(),
            partial: [Vec::new(), Vec::new()],
            compress: false,
            compressor: None,
            attrs: String::new(),
            forwarder: None,
        })
    }

    /// Opens what a launch record asks for: the files, and the way to another log.
    pub(crate) fn of(spec: &LogSpec) -> io::Result<Option<Self>> {
        let LogSpec::JsonFile { path, max_size, max_files, compress, attrs, forward } = spec else {
            return Ok(None);
        };
        let mut writer = Self::open(path.clone(), *max_size, *max_files)?;
        writer.compress = *compress && *max_files > 1;
        if writer.compress {
            // What a killed compressor left; that there is none is as it should be.
            let _ = std::fs::remove_file(compress::part(path));
        }
        writer.attrs.clone_from(attrs);
        writer.forwarder = forward.as_ref().map(Forwarder::open).transpose()?;
        Ok(Some(writer))
    }

    /// Logs what was read from `stream` at `now`. An unfinished line is kept for the next call.
    pub(crate) fn write(&mut self, stream: Stream, mut data: &[u8], now: UnixNanos) {
        while let Some(at) = find_newline(data) {
            self.line(stream, &data[..at], now);
            data = &data[at + 1..];
        }
        self.keep(stream, data, now);
        self.flush();
    }

    /// Logs what is kept of an unfinished line: the output has ended.
    pub(crate) fn finish(&mut self, now: UnixNanos) {
        for stream in [Stream::Stdout, Stream::Stderr] {
            let partial = std::mem::take(&mut self.partial[stream as usize]);
            if !partial.is_empty() {
                self.record(stream, &partial, false, now);
            }
        }
        self.flush();
    }

    /// Gives idle memory back.
    pub(crate) fn release(&mut self) {
        self.buffer.release();
        for partial in &mut self.partial {
            partial.shrink_to_fit();
        }
        if let Some(forwarder) = &mut self.forwarder {
            forwarder.flush();
        }
    }

    /// Logs a whole line, after what is kept of it.
    fn line(&mut self, stream: Stream, line: &[u8], now: UnixNanos) {
        if self.partial[stream as usize].is_empty() && line.len() <= MAX_TEXT {
            return self.record(stream, line, true, now);
        }
        self.keep(stream, line, now);
        let partial = std::mem::take(&mut self.partial[stream as usize]);
        self.record(stream, &partial, true, now);
        // Its memory serves the next long line; `release` gives it back.
        self.partial[stream as usize] = partial;
        self.partial[stream as usize].clear();
    }

    /// Keeps a piece of an unfinished line, and logs parts of 16 KiB as they fill up.
    fn keep(&mut self, stream: Stream, mut piece: &[u8], now: UnixNanos) {
        while !piece.is_empty() {
            let partial = &mut self.partial[stream as usize];
            let room = MAX_TEXT - partial.len();
            let (taken, rest) = piece.split_at(room.min(piece.len()));
            partial.extend_from_slice(taken);
            piece = rest;
            if partial.len() == MAX_TEXT && !rest.is_empty() {
                let mut partial = std::mem::take(partial);
                let cut = whole_characters(&partial);
                self.record(stream, &partial[..cut], false, now);
                partial.drain(..cut);
                self.partial[stream as usize] = partial;
            }
        }
    }

    fn record(&mut self, stream: Stream, text: &[u8], ends_line: bool, now: UnixNanos) {
        if let Some(forwarder) = &mut self.forwarder {
            forwarder.send(stream, text, ends_line, now);
        }
        if BUFFER - self.used < max_encoded(text.len()) + self.attrs.len() {
            self.flush();
        }
        let start = self.used;
        let mut out = Cursor::new(&mut self.buffer, start);
        record(&mut out, stream, &self.attrs, self.renderer.render(now), text, ends_line);
        let end = out.used();
        let after = self.size + end as u64;
        if self.max_size.is_some_and(|max| after > max && self.size + start as u64 > 0) {
            self.flush();
            self.rotate();
            self.buffer.copy_within(start..end, 0);
            self.used = end - start;
        } else {
            self.used = end;
        }
    }

    fn flush(&mut self) {
        if self.used == 0 {
            return;
        }
        match self.file.write_all(&self.buffer[..self.used]) {
            Ok(()) => self.size += self.used as u64,
            Err(_) => {
                // Some of it may have been written: end that line, if even that goes.
                self.size = self.file.metadata().map_or(self.size, |meta| meta.len());
                if self.file.write_all(b"\n").is_ok() {
                    self.size += 1;
                }
            }
        }
        self.used = 0;
    }

    /// Begins a new file; when that fails the old one grows on.
    fn rotate(&mut self) {
        let renewed =
            files::rotate(&self.path, self.max_files).and_then(|()| files::open_for_append(&self.path));
        if let Ok((file, size)) = renewed {
            self.file = file;
            self.size = size;
            self.compress_rotated();
        }
    }

    fn compress_rotated(&mut self) {
        let at_work = |former: &OwnedFd| {
            let ended = waitid(WaitId::PidFd(former.as_fd()), WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
            matches!(ended, Ok(None))
        };
        // Output that comes faster than it is compressed stays as it is.
        if self.compress && !self.compressor.as_ref().is_some_and(at_work) {
            self.compressor = compress::spawn(&self.path, self.max_files);
        }
    }
}

fn find_newline(data: &[u8]) -> Option<usize> {
    data.iter().position(|byte| *byte == b'\n')
}

/// Returns the length of `text` without a character that its end cuts off.
fn whole_characters(text: &[u8]) -> usize {
    for back in 1..=3.min(text.len()) {
        let at = text.len() - back;
        let width = match text[at] {
            0xc2..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf4 => 4,
            0x80..=0xbf => continue,
            _ => 1,
        };
        return if width > back { at } else { text.len() };
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("brig-log-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    fn texts(path: &std::path::Path) -> Vec<String> {
        let text = fs::read_to_string(path).unwrap();
        text.lines()
            .map(|line| {
                serde_json::from_str::<serde_json::Value>(line).unwrap()["log"].as_str().unwrap().to_owned()
            })
            .collect()
    }

    #[test]
    fn lines_are_joined_over_reads_and_parted_at_16_kib() {
        let folder = Folder::new("parts");
        let path = folder.0.join("log");
        let mut log = LogWriter::open(path.clone(), None, 1).unwrap();
        log.write(Stream::Stdout, b"one\ntw", 0);
        log.write(Stream::Stderr, b"err\n", 0);
        log.write(Stream::Stdout, b"o\n\n", 0);
        assert_eq!(texts(&path), ["one\n", "err\n", "two\n", "\n"]);
        let long = "x".repeat(16384 - 1) + "é" + &"y".repeat(20_000);
        log.write(Stream::Stdout, long.as_bytes(), 0);
        log.write(Stream::Stdout, b"z\nend", 0);
        log.finish(0);
        let texts = texts(&path);
        assert_eq!(texts[4].len(), 16383);
        assert_eq!(texts[5].len(), 16384);
        assert!(texts[6].ends_with("yz\n"));
        assert_eq!(texts[7], "end");
        assert_eq!(texts[4..7].concat(), long + "z\n");
    }

    #[test]
    fn an_exact_16_kib_line_is_one_record() {
        let folder = Folder::new("exact");
        let path = folder.0.join("log");
        let mut log = LogWriter::open(path.clone(), None, 1).unwrap();
        log.write(Stream::Stdout, &[b'a'; 16384], 0);
        log.write(Stream::Stdout, b"\n", 0);
        assert_eq!(texts(&path).iter().map(String::len).collect::<Vec<_>>(), [16385]);
    }

    #[test]
    fn rotation_keeps_the_budget_and_loses_only_the_oldest() {
        let folder = Folder::new("rotate");
        let path = folder.0.join("log");
        let mut log = LogWriter::open(path.clone(), Some(2000), 3).unwrap();
        for number in 0..200 {
            log.write(Stream::Stdout, format!("line {number}\n").as_bytes(), 0);
        }
        let mut all = Vec::new();
        for age in [2, 1, 0] {
            let file = files::rotated(&path, age);
            assert!(file.metadata().unwrap().len() <= 2000);
            all.extend(texts(&file));
        }
        assert!(!files::rotated(&path, 3).exists());
        let first: usize = all[0].trim().strip_prefix("line ").unwrap().parse().unwrap();
        let wanted: Vec<_> = (first..200).map(|number| format!("line {number}\n")).collect();
        assert_eq!(all, wanted);
        // One batch may span several files.
        let batch: String = (0..100).map(|number| format!("batch {number}\n")).collect();
        log.write(Stream::Stdout, batch.as_bytes(), 0);
        assert!(files::rotated(&path, 2).metadata().unwrap().len() <= 2000);
        assert_eq!(texts(&path).last().unwrap(), "batch 99\n");
    }

    #[test]
    fn compressed_files_are_rotated_and_read_like_others() {
        let folder = Folder::new("compressed");
        let path = folder.0.join("log");
        let mut log = LogWriter::open(path.clone(), Some(2000), 4).unwrap();
        let mut rotations = 0;
        for number in 0..200 {
            log.write(Stream::Stdout, format!("line {number}\n").as_bytes(), 0);
            let plain = files::rotated(&path, 1);
            if plain.exists() && rotations % 2 == 0 {
                compress::compress(&path, 4).unwrap();
                assert!(!plain.exists() && files::compressed(&plain).exists());
            }
            rotations += usize::from(plain.exists());
        }
        let mut all = Vec::new();
        let options = super::super::ReadOptions {
            stdout: true,
            stderr: true,
            tail: None,
            since: None,
            until: None,
            follow: None,
        };
        super::super::read(&path, &options, &mut |line| {
            all.push(String::from_utf8(line.text.to_vec()).unwrap());
            Ok(true)
        })
        .unwrap();
        let first: usize = all[0].trim().strip_prefix("line ").unwrap().parse().unwrap();
        let wanted: Vec<_> = (first..200).map(|number| format!("line {number}\n")).collect();
        assert_eq!(all, wanted);
        assert!(fs::read_dir(&folder.0).unwrap().count() <= 4);
    }

    #[test]
    fn a_line_that_a_killed_writer_began_does_not_spoil_the_next() {
        let folder = Folder::new("torn");
        let path = folder.0.join("log");
        fs::write(&path, b"{\"log\":\"to").unwrap();
        let mut log = LogWriter::open(path.clone(), None, 1).unwrap();
        log.write(Stream::Stdout, b"whole\n", 0);
        assert!(fs::read_to_string(&path).unwrap().starts_with("{\"log\":\"to\n{\"log\":\"whole"));
    }
}
