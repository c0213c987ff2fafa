//! As much of the kernel's file system protocol as a folder of read-only files needs: requests in, answers out, no I/O.
//!
//! Source: `linux/fuse.h`, protocol 7.31.

/// The smallest buffer that the kernel accepts for a read.
pub(super) const BUFFER: usize = 8192;

const MAJOR: u32 = 7;
const MINOR: u32 = 31;
const IN_HEADER: usize = 40;
const ROOT: u64 = 1;
/// Bytes of a write, which is never allowed; the kernel wants a number.
const MAX_WRITE: u32 = 4096;
/// `FOPEN_DIRECT_IO`: each read is asked for. The size in the attributes counts for `sendfile` and its kin alone.
const DIRECT_IO: u32 = 1;
/// How long names may be kept, in seconds: they never change. Attributes are asked for at each open, for the size.
const VALID: u64 = 3600;

/// What the kernel wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Request<'a> {
    /// Agree on a version.
    Init { minor: u32 },
    /// Find a name in the folder.
    Lookup { name: &'a [u8] },
    /// Read the attributes.
    Attributes { node: u64 },
    /// Open a file.
    Open { node: u64, write: bool },
    /// Read from a file.
    Read { node: u64, handle: u64, offset: u64, size: u32 },
    /// A file is closed.
    Release { handle: u64 },
    /// A close of one of several copies, or a check of rights that the kernel makes itself.
    Nothing,
    /// Wants no answer.
    Silent,
    /// The file system is gone.
    Destroy,
    /// Anything else.
    Unknown,
}

/// Reads one request; its number comes with it. `None` for what is none.
pub(super) fn parse(bytes: &[u8]) -> Option<(u64, Request<'_>)> {
    let u32_at = |at: usize| Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    let u64_at = |at: usize| Some(u64::from_ne_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
    let (opcode, unique, node) = (u32_at(4)?, u64_at(8)?, u64_at(16)?);
    let body = IN_HEADER;
    let request = match opcode {
        1 => Request::Lookup { name: bytes.get(body..)?.split(|byte| *byte == 0).next()? },
        2 | 36 | 42 => Request::Silent,
        3 => Request::Attributes { node },
        14 => Request::Open { node, write: u32_at(body)? & 3 != 0 },
        15 => {
            Request::Read { node, handle: u64_at(body)?, offset: u64_at(body + 8)?, size: u32_at(body + 16)? }
        }
        18 => Request::Release { handle: u64_at(body)? },
        25 | 34 => Request::Nothing,
        26 => Request::Init { minor: u32_at(body + 4)? },
        38 => Request::Destroy,
        _ => Request::Unknown,
    };
    Some((unique, request))
}

/// An answer without its header.
#[derive(Debug, Default)]
pub(super) struct Answer(Vec<u8>);

impl Answer {
    /// Agrees on a version.
    pub(super) fn init(minor: u32) -> Self {
        let mut answer = Self::default();
        answer.u32s(&[MAJOR, MINOR.min(minor), 0, 0, 0, MAX_WRITE, 1]);
        answer.0.resize(64, 0);
        answer
    }

    /// Names a file that was found.
    pub(super) fn entry(node: u64) -> Self {
        let mut answer = Self::default();
        answer.u64s(&[node, 0, VALID, 0]);
        answer.u32s(&[0, 0]);
        answer.attributes_of(node, 0);
        answer
    }

    /// The attributes of the folder or a file of `size` bytes.
    pub(super) fn attributes(node: u64, size: usize) -> Self {
        let mut answer = Self::default();
        answer.u64s(&[0]);
        answer.u32s(&[0, 0]);
        answer.attributes_of(node, size as u64);
        answer
    }

    /// A file was opened.
    pub(super) fn opened(handle: u64) -> Self {
        let mut answer = Self::default();
        answer.u64s(&[handle]);
        answer.u32s(&[DIRECT_IO, 0]);
        answer
    }

    /// What was read.
    pub(super) fn bytes(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }

    /// Returns the whole message for the request `unique`.
    pub(super) fn message(&self, unique: u64) -> Vec<u8> {
        message(unique, 0, &self.0)
    }

    fn attributes_of(&mut self, node: u64, size: u64) {
        let (mode, links) = if node == ROOT { (0o040_555, 2) } else { (0o100_444, 1) };
        // Inode, size, blocks, three times; their fractions, mode, links, owner, group, device, block size, flags.
        self.u64s(&[node, size, 0, 0, 0, 0]);
        self.u32s(&[0, 0, 0, mode, links, 0, 0, 0, 4096, 0]);
    }

    fn u32s(&mut self, values: &[u32]) {
        self.0.extend(values.iter().flat_map(|value| value.to_ne_bytes()));
    }

    fn u64s(&mut self, values: &[u64]) {
        self.0.extend(values.iter().flat_map(|value| value.to_ne_bytes()));
    }
}

/// Returns the message that refuses the request `unique`.
pub(super) fn refusal(unique: u64, error: rustix::io::Errno) -> Vec<u8> {
    message(unique, -error.raw_os_error(), &[])
}

fn message(unique: u64, error: i32, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(16 + body.len()).unwrap_or(u32::MAX);
    let mut message = Vec::with_capacity(16 + body.len());
    message.extend(length.to_ne_bytes());
    message.extend(error.to_ne_bytes());
    message.extend(unique.to_ne_bytes());
    message.extend(body);
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(opcode: u32, node: u64, body: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; IN_HEADER];
        bytes[4..8].copy_from_slice(&opcode.to_ne_bytes());
        bytes[8..16].copy_from_slice(&77_u64.to_ne_bytes());
        bytes[16..24].copy_from_slice(&node.to_ne_bytes());
        bytes.extend(body);
        bytes
    }

    #[test]
    fn requests_are_read_and_short_ones_are_none() {
        assert_eq!(parse(&request(1, 1, b"meminfo\0")), Some((77, Request::Lookup { name: b"meminfo" })));
        assert_eq!(parse(&request(14, 3, &[1, 0, 0, 0])), Some((77, Request::Open { node: 3, write: true })));
        assert_eq!(parse(&request(99, 1, b"")), Some((77, Request::Unknown)));
        assert_eq!(parse(&request(15, 1, &[0; 8])), None);
        assert_eq!(parse(&[0; 10]), None);
    }

    #[test]
    fn answers_have_the_kernels_sizes() {
        for (answer, size) in [
            (Answer::init(40), 64),
            (Answer::entry(2), 128),
            (Answer::attributes(1, 9), 104),
            (Answer::opened(1), 16),
        ] {
            assert_eq!(answer.message(1).len(), 16 + size);
        }
        assert_eq!(&refusal(5, rustix::io::Errno::NOENT)[4..8], (-2_i32).to_ne_bytes());
    }
}
