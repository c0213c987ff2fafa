//! Blobs as streams: ranges, and a reader that neither ends early in silence nor runs on.
//!
//! The digest is the store's to verify; the number of bytes is checked here, so that an endless body ends.

use std::collections::HashSet;
use std::io::{self, Read};
use std::sync::{Arc, Mutex};

use oci::{BlobDescriptor, Digest};
use ureq::BodyReader;

use crate::error::{Error, Lie, Result, TransportError};
use crate::guard::{Guard, stands};
use crate::transport::{Answer, Asked, from_io, lock};

/// Which places broke off which blobs; they are asked last the next time.
pub(crate) type Broken = Arc<Mutex<HashSet<(usize, Digest)>>>;

/// Reads one blob from `offset` on.
pub(crate) struct BlobReader {
    body: BodyReader<'static>,
    blob: BlobDescriptor,
    /// Position in the blob of the next byte.
    position: u64,
    /// Whether the end of the body follows the blob's last byte without waiting (its length was announced).
    announced: bool,
    state: State,
    asked: Asked,
    /// This place, for `broken`.
    place: usize,
    broken: Broken,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Reading,
    Ended,
    Failed,
}

/// Checks the head of the answer to a request for `blob` from `offset`, and makes its reader.
pub(crate) fn read_blob(
    answer: Answer,
    blob: &BlobDescriptor,
    offset: u64,
    asked: Asked,
    (place, broken): (usize, Broken),
) -> Result<BlobReader> {
    let refused = |lie| Error::Refused { what: asked.what.clone(), registry: asked.registry.clone(), lie };
    let begins = match answer.status {
        206 => {
            let range = answer.header("content-range").unwrap_or_default();
            if !is_range(range, offset, blob.size) && stands(Guard::BlobLength) {
                return Err(refused(Lie::Range { asked: offset, answered: crate::error::clean(range) }));
            }
            offset
        }
        // A server may ignore the range (RFC 9110, 14.2): what we have is skipped.
        _ => 0,
    };
    let length = answer.content_length();
    if let Some(length) = length
        && length != blob.size - begins
        && stands(Guard::BlobLength)
    {
        return Err(refused(Lie::Size { expected: blob.size - begins, actual: length }));
    }
    let mut reader = BlobReader {
        body: answer.into_reader(),
        blob: blob.clone(),
        position: begins,
        announced: length.is_some(),
        state: State::Reading,
        asked,
        place,
        broken,
    };
    reader.skip_to(offset)?;
    Ok(reader)
}

/// Says whether `header` is the answer to `bytes=offset-` for a blob of `size` bytes.
fn is_range(header: &str, offset: u64, size: u64) -> bool {
    let Some((range, total)) = header.strip_prefix("bytes ").and_then(|rest| rest.split_once('/')) else {
        return false;
    };
    let Some((first, last)) = range.split_once('-') else { return false };
    let total_ok = total == "*" || total.parse() == Ok(size);
    total_ok
        && first.parse() == Ok(offset)
        && last.parse::<u64>().is_ok_and(|last| last.checked_add(1) == Some(size))
}

impl BlobReader {
    fn skip_to(&mut self, offset: u64) -> Result<()> {
        let mut buffer = [0; 16 << 10];
        while self.position < offset {
            let wanted = usize::try_from(offset - self.position).unwrap_or(usize::MAX).min(buffer.len());
            if self.advance(&mut buffer[..wanted])? == 0 {
                break;
            }
        }
        Ok(())
    }

    fn advance(&mut self, buffer: &mut [u8]) -> Result<usize> {
        if self.state != State::Reading || buffer.is_empty() {
            return Ok(0);
        }
        let left = self.blob.size - self.position;
        if left == 0 {
            return self.expect_end().map(|()| 0);
        }
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let got = self.body.read(&mut buffer[..most]).map_err(|error| self.transport_error(error))?;
        if got == 0 {
            let short = TransportError::Truncated { got: self.position, expected: self.blob.size };
            return Err(self.fail(|asked| Error::Transport {
                what: asked.what.clone(),
                registry: asked.registry.clone(),
                hint: String::new(),
                source: short,
            }));
        }
        self.position += got as u64;
        if self.position == self.blob.size && self.announced {
            // Frees the connection for the next blob even if nobody reads on.
            self.expect_end()?;
        }
        Ok(got)
    }

    /// Refuses a byte after the last one.
    fn expect_end(&mut self) -> Result<()> {
        let more = self.body.read(&mut [0]).map_err(|error| self.transport_error(error))?;
        if more == 0 || !stands(Guard::BlobLength) {
            self.state = State::Ended;
            return Ok(());
        }
        let limit = self.blob.size;
        Err(self.fail(|asked| Error::Refused {
            what: asked.what.clone(),
            registry: asked.registry.clone(),
            lie: Lie::TooLong { limit },
        }))
    }

    fn transport_error(&mut self, error: io::Error) -> Error {
        let source = match from_io(error) {
            TransportError::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                TransportError::Truncated { got: self.position, expected: self.blob.size }
            }
            other => other,
        };
        self.fail(|asked| Error::Transport {
            what: asked.what.clone(),
            registry: asked.registry.clone(),
            hint: String::new(),
            source,
        })
    }

    fn fail(&mut self, error: impl FnOnce(&Asked) -> Error) -> Error {
        self.state = State::Failed;
        lock(&self.broken).insert((self.place, self.blob.digest.clone()));
        error(&self.asked)
    }
}

impl Read for BlobReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.state == State::Failed {
            return Err(io::Error::other("the blob was read on after an error"));
        }
        self.advance(buffer).map_err(io_error)
    }
}

fn io_error(error: Error) -> io::Error {
    let kind = match &error {
        Error::Transport { source: TransportError::Timeout(_), .. } => io::ErrorKind::TimedOut,
        Error::Transport { source: TransportError::Truncated { .. }, .. } => io::ErrorKind::UnexpectedEof,
        Error::Transport { source: TransportError::Io(source), .. } => source.kind(),
        _ => io::ErrorKind::InvalidData,
    };
    io::Error::new(kind, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_range_that_was_asked_is_taken() {
        for (header, taken) in [
            ("bytes 5-9/10", true),
            ("bytes 5-9/*", true),
            ("bytes 4-9/10", false),
            ("bytes 5-8/10", false),
            ("bytes 5-9/11", false),
            ("bytes 5-18446744073709551615/*", false),
            ("bytes */10", false),
            ("items 5-9/10", false),
            ("", false),
        ] {
            assert_eq!(is_range(header, 5, 10), taken, "{header}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_range_makes_us_panic(header in "(bytes )?[0-9*]{0,21}-?[0-9]{0,21}/?[0-9*]{0,21}", offset: u64, size: u64) {
            let _ = is_range(&header, offset, size);
        }
    }
}
