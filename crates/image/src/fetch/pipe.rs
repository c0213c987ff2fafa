//! The pipe between decompressing and unpacking: a few buffers that go round, hashed on the reader's side.

use std::io::{self, BufRead, Read, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use oci::Digest;
use sha2::{Digest as _, Sha256};

/// Size of one buffer, a multiple of tar's blocks. Two of them fit into a processor's second cache.
const BUFFER: usize = 256 << 10;
/// How many buffers go round.
const BUFFERS: usize = 6;

/// Makes a pipe.
pub(crate) fn pipe() -> (PipeWriter, PipeReader) {
    let (full_sender, full) = sync_channel(BUFFERS + 1);
    let (empty_sender, empty) = sync_channel(BUFFERS + 1);
    let writer = PipeWriter {
        full: full_sender,
        empty,
        current: Vec::new(),
        made: 0,
        sent: 0,
        allowed: u64::MAX,
        over: false,
    };
    let reader = PipeReader {
        full,
        empty: empty_sender,
        current: Vec::new(),
        used: 0,
        ended: false,
        hasher: Sha256::new(),
        length: 0,
    };
    (writer, reader)
}

/// The end that plain bytes are written to.
#[derive(Debug)]
pub(crate) struct PipeWriter {
    full: SyncSender<Option<Vec<u8>>>,
    empty: Receiver<Vec<u8>>,
    current: Vec<u8>,
    made: usize,
    /// Bytes so far.
    pub(crate) sent: u64,
    /// Bytes that may be written in all; beyond, writing fails.
    pub(crate) allowed: u64,
    /// Writing failed because of that.
    pub(crate) over: bool,
}

impl PipeWriter {
    /// Sends what is left, and that all went well. A writer that is dropped without it makes the reader fail.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        let last = std::mem::take(&mut self.current);
        self.full.send(Some(last)).map_err(|_| gone())?;
        self.full.send(None).map_err(|_| gone())
    }

    fn next_buffer(&mut self) -> io::Result<Vec<u8>> {
        if self.made < BUFFERS {
            self.made += 1;
            return Ok(Vec::with_capacity(BUFFER));
        }
        let mut buffer = self.empty.recv().map_err(|_| gone())?;
        buffer.clear();
        Ok(buffer)
    }
}

impl Write for PipeWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.current.capacity() == 0 {
            self.current = self.next_buffer()?;
        }
        let length = bytes.len().min(BUFFER - self.current.len());
        self.current.extend_from_slice(&bytes[..length]);
        self.sent += length as u64;
        if self.sent > self.allowed {
            self.over = true;
            return Err(gone());
        }
        if self.current.len() == BUFFER {
            let full = std::mem::take(&mut self.current);
            self.full.send(Some(full)).map_err(|_| gone())?;
        }
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The end that plain bytes are read from.
#[derive(Debug)]
pub(crate) struct PipeReader {
    full: Receiver<Option<Vec<u8>>>,
    empty: SyncSender<Vec<u8>>,
    current: Vec<u8>,
    used: usize,
    ended: bool,
    hasher: Sha256,
    length: u64,
}

impl PipeReader {
    /// Returns digest and number of the bytes that came; all must have been read.
    pub(crate) fn finish(self) -> (Digest, u64) {
        (Digest::from_sha256(self.hasher.finalize().into()), self.length)
    }
}

impl BufRead for PipeReader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.used == self.current.len() && !self.ended {
            let done = std::mem::take(&mut self.current);
            self.used = 0;
            if done.capacity() > 0 {
                // The writer may have ended already and need no more buffers.
                let _ = self.empty.send(done);
            }
            match self.full.recv() {
                Ok(Some(buffer)) => self.current = buffer,
                Ok(None) => self.ended = true,
                Err(_) => return Err(gone()),
            }
            self.hasher.update(&self.current);
            self.length += self.current.len() as u64;
        }
        Ok(&self.current[self.used..])
    }

    fn consume(&mut self, amount: usize) {
        self.used = (self.used + amount).min(self.current.len());
    }
}

impl Read for PipeReader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let length = available.len().min(into.len());
        into[..length].copy_from_slice(&available[..length]);
        self.consume(length);
        Ok(length)
    }
}

/// The other end has gone; its own error says why.
fn gone() -> io::Error {
    io::Error::from(io::ErrorKind::BrokenPipe)
}

/// Says whether an error only means that the other end of a pipe has gone.
pub(crate) fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::BrokenPipe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_go_through_and_are_hashed() {
        let (mut writer, mut reader) = pipe();
        let bytes: Vec<u8> = (0..3_000_001_u32).map(|n| n as u8).collect();
        let wanted = Digest::of(&bytes);
        let thread = std::thread::spawn(move || {
            for piece in bytes.chunks(70_001) {
                writer.write_all(piece).unwrap();
            }
            writer.finish().unwrap();
        });
        assert_eq!(io::copy(&mut reader, &mut io::sink()).unwrap(), 3_000_001);
        thread.join().unwrap();
        assert_eq!(reader.finish(), (wanted, 3_000_001));
    }

    #[test]
    fn a_writer_that_gives_up_makes_the_reader_fail() {
        let (mut writer, mut reader) = pipe();
        writer.write_all(b"x").unwrap();
        drop(writer);
        assert!(is_gone(&reader.read(&mut [0; 10]).unwrap_err()));
        let (mut writer, reader) = pipe();
        drop(reader);
        let wrote = (0..100).find_map(|_| writer.write_all(&[0; BUFFER]).err());
        assert!(is_gone(&wrote.unwrap()));
    }
}
