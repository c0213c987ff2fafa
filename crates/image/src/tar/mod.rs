//! Tar, read and written as streams: ustar, pax (POSIX.1-2001), GNU's long names and sparse files, star's numbers.
//!
//! Own code, not a crate's, for three reasons: file data is handed on straight from the decompressor's buffers; no
//! memory is allocated per member; and every length that an archive names has a limit that is checked before it is used.
//! What a field means follows Go's `archive/tar`, because Docker, containerd and podman see layers through it.

mod header;
mod pax;
mod reader;
mod sparse;
mod writer;

pub use reader::{Entry, Limits, Reader};
pub use sparse::Segment;
pub use writer::{Member, Writer};

/// Size of a header, and what data is padded to, in bytes.
pub const BLOCK: usize = 512;

/// What a member is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Kind {
    /// A regular file.
    #[default]
    File,
    /// Another name of an earlier member.
    HardLink,
    /// A symbolic link.
    Symlink,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
    /// A folder.
    Folder,
    /// A FIFO.
    Fifo,
}

/// A moment, in seconds and nanoseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Timestamp {
    /// Seconds, negative before 1970.
    pub seconds: i64,
    /// Nanoseconds, below 1,000,000,000.
    pub nanoseconds: u32,
}

/// Why an archive cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum TarError {
    /// The stream below failed.
    #[error("cannot read the archive at byte {offset}")]
    Read {
        /// Where.
        offset: u64,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It ends in the middle of something.
    #[error("the archive ends early, at byte {offset}, in {what}")]
    Truncated {
        /// Where.
        offset: u64,
        /// In what.
        what: &'static str,
    },
    /// A header's sum is wrong: this is no tar, or a damaged one.
    #[error("no tar header at byte {offset} (its checksum is wrong)")]
    Checksum {
        /// Where the header begins.
        offset: u64,
    },
    /// A field cannot be read.
    #[error("malformed {field} in the tar header before byte {offset}: {value:?}")]
    Field {
        /// Which.
        field: &'static str,
        /// What it holds, shortened.
        value: String,
        /// Where.
        offset: u64,
    },
    /// A member is of a kind that means nothing here.
    #[error("{path:?} is of the unknown kind {kind:?}")]
    Kind {
        /// The member.
        path: String,
        /// Its type flag.
        kind: char,
    },
    /// Something is larger than is allowed.
    #[error("{what} is {value}, more than the limit of {limit}")]
    Limit {
        /// What is limited, with its unit.
        what: &'static str,
        /// What was found.
        value: u64,
        /// What is allowed.
        limit: u64,
    },
}

/// Renders foreign bytes for a message, shortened.
pub(crate) fn shorten(bytes: &[u8]) -> String {
    let mut text = String::from_utf8_lossy(&bytes[..bytes.len().min(64)]).into_owned();
    if bytes.len() > 64 {
        text.push('…');
    }
    text
}
