//! Decompression of a layer: what it is shows in its first bytes, whatever its media type says (the DiffID is checked in any case).

use std::io::{self, Write};

use flate2::write::MultiGzDecoder;
use zstd::stream::raw::{self, Operation as _};

/// Largest window of zstd, as a power of two: 32 MiB, what the encoders in use go up to by themselves. It is memory.
pub(crate) const ZSTD_WINDOW_LOG_MAX: u32 = 25;
/// So many bytes tell every format.
const MAGIC: usize = 6;

/// Takes compressed bytes, writes plain ones.
pub(crate) enum Decompressor<W: Write> {
    /// Not enough bytes yet to tell.
    Undecided(Vec<u8>, W),
    Plain(W),
    Gzip(MultiGzDecoder<W>),
    Zstd(Zstd<W>),
    /// Only between two states.
    Gone,
}

impl<W: Write> Decompressor<W> {
    pub(crate) fn new(out: W) -> Self {
        Self::Undecided(Vec::new(), out)
    }

    /// Takes the next bytes.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Undecided(start, _) => {
                start.extend_from_slice(bytes);
                if start.len() >= MAGIC { self.decide() } else { Ok(()) }
            }
            Self::Plain(out) => out.write_all(bytes),
            Self::Gzip(decoder) => decoder.write_all(bytes),
            Self::Zstd(decoder) => decoder.write(bytes),
            Self::Gone => Err(io::Error::other("written to after an error")),
        }
    }

    /// Writes what is left and returns the stream; fails when the compressed data is cut off.
    pub(crate) fn finish(mut self) -> io::Result<W> {
        if matches!(self, Self::Undecided(..)) {
            self.decide()?;
        }
        match self {
            Self::Gzip(decoder) => decoder.finish(),
            Self::Zstd(decoder) => decoder.finish(),
            Self::Plain(out) => Ok(out),
            Self::Undecided(..) | Self::Gone => Err(io::Error::other("finished after an error")),
        }
    }

    /// Returns the stream that plain bytes go to.
    pub(crate) fn out(&mut self) -> Option<&mut W> {
        match self {
            Self::Undecided(_, out) | Self::Plain(out) => Some(out),
            Self::Gzip(decoder) => Some(decoder.get_mut()),
            Self::Zstd(decoder) => Some(&mut decoder.out),
            Self::Gone => None,
        }
    }

    fn decide(&mut self) -> io::Result<()> {
        let Self::Undecided(start, out) = std::mem::replace(self, Self::Gone) else { return Ok(()) };
        *self = match Format::of(&start) {
            Format::Plain => Self::Plain(out),
            Format::Gzip => Self::Gzip(MultiGzDecoder::new(out)),
            Format::Zstd => Self::Zstd(Zstd::new(out)?),
            Format::Unsupported(name) => {
                let text = format!("{name} compression is not supported, only gzip and zstd are");
                return Err(io::Error::new(io::ErrorKind::Unsupported, text));
            }
        };
        self.write(&start)
    }
}

/// Zstd by hand, because the crate's own writer does not notice data that is cut off.
pub(crate) struct Zstd<W: Write> {
    decoder: raw::Decoder<'static>,
    out: W,
    buffer: Vec<u8>,
    in_frame: bool,
}

impl<W: Write> Zstd<W> {
    fn new(out: W) -> io::Result<Self> {
        let mut decoder = raw::Decoder::new()?;
        decoder.set_parameter(raw::DParameter::WindowLogMax(ZSTD_WINDOW_LOG_MAX))?;
        Ok(Self { decoder, out, buffer: vec![0; 128 << 10], in_frame: false })
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut input = raw::InBuffer::around(bytes);
        loop {
            let mut output = raw::OutBuffer::around(self.buffer.as_mut_slice());
            let before = input.pos;
            let hint = self.decoder.run(&mut input, &mut output)?;
            let length = output.pos();
            if input.pos > before || length > 0 {
                self.in_frame = hint != 0;
            }
            self.out.write_all(&self.buffer[..length])?;
            // A full buffer may mean that there is more to come of what was taken in.
            if input.pos == bytes.len() && length < self.buffer.len() {
                return Ok(());
            }
        }
    }

    fn finish(self) -> io::Result<W> {
        match self.in_frame {
            false => Ok(self.out),
            true => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the zstd data is cut off")),
        }
    }
}

/// How bytes are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Plain,
    Gzip,
    Zstd,
    Unsupported(&'static str),
}

impl Format {
    /// Tells the format from the first bytes.
    pub(crate) fn of(start: &[u8]) -> Self {
        match start {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Self::Unsupported("xz"),
            [b'B', b'Z', b'h', ..] => Self::Unsupported("bzip2"),
            _ => Self::Plain,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn decompress(bytes: &[u8], piece: usize) -> io::Result<Vec<u8>> {
        let mut decompressor = Decompressor::new(Vec::new());
        for piece in bytes.chunks(piece) {
            decompressor.write(piece)?;
        }
        decompressor.finish()
    }

    #[test]
    fn every_format_in_pieces_of_every_size() {
        let plain: Vec<u8> = (0..200_000_u32).map(|n| (n % 251) as u8).collect();
        let members = [gzip(&plain[..100_000]), gzip(&plain[100_000..])].concat();
        let frames =
            [zstd::encode_all(&plain[..9], 1).unwrap(), zstd::encode_all(&plain[9..], 3).unwrap()].concat();
        for packed in [&plain, &gzip(&plain), &members, &frames] {
            for piece in [1, 7, 4096, 1 << 20] {
                assert_eq!(decompress(packed, piece).unwrap(), plain, "piece {piece}");
            }
        }
        assert_eq!(decompress(b"abc", 1).unwrap(), b"abc");
    }

    #[test]
    fn damaged_data_is_an_error() {
        let packed = gzip(&[7; 100_000]);
        assert!(decompress(&packed[..packed.len() - 9], 100).is_err());
        let packed = zstd::encode_all(&[7; 100_000][..], 1).unwrap();
        assert!(decompress(&packed[..packed.len() - 3], 100).is_err());
        assert!(decompress(b"\xfd7zXZ\0rest", 100).unwrap_err().to_string().contains("xz"));
    }
}
