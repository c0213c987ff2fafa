//! The log of a container in Docker's json-file format: one line
//! `{"log":"text\n","stream":"stdout","time":"2026-11-23T00:10:24.5Z"}` for each line of output.
//!
//! As Docker does it: `<`, `>` and `&` are escaped, invalid UTF-8 becomes U+FFFD byte by byte, a line longer than 16 KiB is
//! written in parts of which only the last ends with a newline, and so is the rest at the end of the output.
//! What was asked for of labels and variables stands in `"attrs":{…}` before the time.
//! Unlike Docker a part never ends within a character, and there is a budget by default: 5 files of 20 MiB.

mod compress;
mod decode;
mod encode;
mod files;
mod forward;
mod reader;
mod writer;

pub use crate::clock::{UnixNanos, parse as parse_time};
pub use forward::{Forward, SyslogFormat, SyslogTarget};
pub use reader::{FollowUntil, Line, ReadOptions, read};
pub(crate) use writer::LogWriter;

/// Which stream a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    Stdout,
    Stderr,
}
