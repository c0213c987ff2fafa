//! The frames on a monitor's socket, both directions, and how they are cut out of a stream of bytes.
//!
//! A frame is a little-endian `u32` length of its body, one byte of kind, and the body. The first frame each way is
//! [`Kind::Hello`] with one byte of version; both sides go on with the smaller one. Bodies that have fields are JSON where
//! they are rare and raw bytes where they are many.
//!
//! A frame that is too long for its kind, of unknown kind or malformed ends the connection it came on, and nothing else.

use crate::error::{Error, Result};

/// The version of the protocol that this program speaks.
pub(crate) const VERSION: u8 = 1;

/// Bytes before a body.
pub(crate) const HEADER: usize = 5;

/// The longest body of stream data. As large as one read of a full pipe.
pub(crate) const MAX_DATA: usize = 64 << 10;

/// The longest body of a request: the arguments and the environment of an exec have to fit.
pub(crate) const MAX_REQUEST: usize = 2 << 20;

/// Body of [`Kind::Watch`]: only tell me of the end.
pub(crate) const WATCH: u8 = 0;
/// Body of [`Kind::Watch`]: and I clean up.
pub(crate) const WATCH_AND_CLEAN: u8 = 1;
/// Body of [`Kind::Watch`]: and I clean up and remove.
pub(crate) const WATCH_AND_REMOVE: u8 = 2;

/// What a frame is. The numbers are the protocol and never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// Both: the version.
    Hello = 1,

    /// Client: [`Attach`] as JSON.
    Attach = 16,
    /// Client: input, raw.
    Stdin = 17,
    /// Client: the input ends.
    CloseStdin = 18,
    /// Client: columns and rows, `u16` each, then the exec session's id or nothing for the container.
    Resize = 19,
    /// Client: `i32`, a signal for the init.
    Signal = 20,
    /// Client, its starter only: let the init run.
    Start = 21,
    /// Client, its starter only: undo the creation and end.
    Abort = 22,
    /// Client: one byte, [`WATCH`] or what is claimed besides; answered by `Done`, later by `Exit`.
    Watch = 23,
    /// Client: the claimed clean-up is done.
    Cleaned = 24,
    /// Client: end the wait for a restart.
    CancelRestart = 25,
    /// Client: [`Exec`] as JSON.
    Exec = 26,
    /// Client: an id; answered by `ExecRecords`. Nothing: all.
    ExecInspect = 27,
    /// Client: the container has names from now on, see the file in its run folder.
    ServeNames = 48,

    /// Monitor: it worked.
    Done = 64,
    /// Monitor: [`Failure`] as JSON.
    Failed = 65,
    /// Monitor: standard output, raw.
    Stdout = 66,
    /// Monitor: standard error, raw.
    Stderr = 67,
    /// Monitor: [`Created`] as JSON.
    Created = 68,
    /// Monitor: the start record as JSON.
    Started = 69,
    /// Monitor: the exit record as JSON.
    Exit = 70,
    /// Monitor: `i32`, the exit code of this connection's exec session.
    ExecExit = 71,
    /// Monitor: a list of exec records as JSON.
    ExecRecords = 72,
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Self> {
        use Kind::*;
        [
            Hello,
            Attach,
            Stdin,
            CloseStdin,
            Resize,
            Signal,
            Start,
            Abort,
            Watch,
            Cleaned,
            CancelRestart,
            Exec,
            ExecInspect,
            ServeNames,
            Done,
            Failed,
            Stdout,
            Stderr,
            Created,
            Started,
            Exit,
            ExecExit,
            ExecRecords,
        ]
        .into_iter()
        .find(|kind| *kind as u8 == byte)
    }

    /// The longest body that the kind may have.
    fn max_body(self) -> usize {
        match self {
            Self::Stdin | Self::Stdout | Self::Stderr => MAX_DATA,
            Self::Exec | Self::ExecRecords => MAX_REQUEST,
            Self::Failed => 64 << 10,
            _ => 4 << 10,
        }
    }
}

/// The body of [`Kind::Attach`]; the fields are those of [`crate::AttachOptions`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Attach {
    pub(crate) stdin: bool,
    pub(crate) stdout: bool,
    pub(crate) stderr: bool,
    pub(crate) lossless: bool,
    pub(crate) claim: bool,
    pub(crate) size: Option<(u16, u16)>,
}

/// The body of [`Kind::Exec`]; the process stays text, since the monitor only hands it on.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(crate) struct Exec {
    pub(crate) id: String,
    pub(crate) terminal: bool,
    pub(crate) stdin: bool,
    pub(crate) stdout: bool,
    pub(crate) stderr: bool,
    pub(crate) detach: bool,
    pub(crate) process: String,
}

/// The body of [`Kind::Failed`].
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Failure {
    pub(crate) kind: String,
    pub(crate) text: String,
}

/// The body of [`Kind::Created`].
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(crate) struct Created {
    pub(crate) pid: i32,
    pub(crate) warnings: Vec<String>,
}

/// Appends a frame to `out`.
pub(crate) fn encode(kind: Kind, body: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&header(kind, body.len()));
    out.extend_from_slice(body);
}

/// Appends a frame with a JSON body to `out`.
pub(crate) fn encode_json<T: serde::Serialize>(kind: Kind, body: &T, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&[0; HEADER]);
    // Our own types: strings, numbers and lists always become JSON.
    serde_json::to_writer(&mut *out, body).expect("a plain type becomes JSON");
    let len = out.len() - start - HEADER;
    out[start..start + HEADER].copy_from_slice(&header(kind, len));
}

/// Returns the bytes before a body of `len` bytes.
pub(crate) fn header(kind: Kind, len: usize) -> [u8; HEADER] {
    let [a, b, c, d] = u32::try_from(len).expect("bodies are bounded far below 4 GiB").to_le_bytes();
    [a, b, c, d, kind as u8]
}

/// What the beginning of a stream of bytes holds.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Decoded<'a> {
    /// A whole frame, and how many bytes it took.
    Frame(Kind, &'a [u8], usize),
    /// Not yet a whole frame: so many bytes are wanted in all.
    Wants(usize),
}

/// Cuts the first frame off `bytes`.
pub(crate) fn decode(bytes: &[u8]) -> Result<Decoded<'_>> {
    let Some((head, rest)) = bytes.split_first_chunk::<HEADER>() else {
        return Ok(Decoded::Wants(HEADER));
    };
    let [a, b, c, d, kind] = *head;
    let len = u32::from_le_bytes([a, b, c, d]) as usize;
    let kind = Kind::from_byte(kind).ok_or_else(|| broken(format!("sent a frame of unknown kind {kind}")))?;
    if len > kind.max_body() {
        return Err(broken(format!(
            "sent a frame {kind:?} of {len} bytes, at most {} are allowed",
            kind.max_body()
        )));
    }
    match rest.get(..len) {
        Some(body) => Ok(Decoded::Frame(kind, body, HEADER + len)),
        None => Ok(Decoded::Wants(HEADER + len)),
    }
}

/// Parses a JSON body.
pub(crate) fn parse<'a, T: serde::Deserialize<'a>>(kind: Kind, body: &'a [u8]) -> Result<T> {
    serde_json::from_slice(body).map_err(|source| Error::Json { what: format!("a frame {kind:?}"), source })
}

/// Reads the little-endian number that a body begins with.
pub(crate) fn number(kind: Kind, body: &[u8]) -> Result<i32> {
    let bytes = body.first_chunk::<4>().ok_or_else(|| broken(format!("sent a short frame {kind:?}")))?;
    Ok(i32::from_le_bytes(*bytes))
}

/// Encodes the body of [`Kind::Resize`].
pub(crate) fn resize_body(columns: u16, rows: u16, exec: &str) -> Vec<u8> {
    let mut body = Vec::with_capacity(4 + exec.len());
    body.extend_from_slice(&columns.to_le_bytes());
    body.extend_from_slice(&rows.to_le_bytes());
    body.extend_from_slice(exec.as_bytes());
    body
}

/// Decodes the body of [`Kind::Resize`].
pub(crate) fn parse_resize(body: &[u8]) -> Result<(u16, u16, &str)> {
    let (size, exec) =
        body.split_first_chunk::<4>().ok_or_else(|| broken("sent a short frame Resize".to_owned()))?;
    let [a, b, c, d] = *size;
    let exec = std::str::from_utf8(exec).map_err(|_| broken("sent an exec id that is no text".to_owned()))?;
    Ok((u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d]), exec))
}

/// The error of a peer that `problem`.
pub(crate) fn broken(problem: String) -> Error {
    Error::Protocol { problem }
}

/// The wire names of the kinds of errors.
const ERROR_KINDS: [(base::ErrorKind, &str); 10] = {
    use base::ErrorKind::*;
    [
        (NotFound, "not-found"),
        (Invalid, "invalid"),
        (AlreadyExists, "already-exists"),
        (Conflict, "conflict"),
        (Denied, "denied"),
        (Unavailable, "unavailable"),
        (Unsupported, "unsupported"),
        (CommandNotFound, "command-not-found"),
        (CommandNotExecutable, "command-not-executable"),
        (Internal, "internal"),
    ]
};

impl Failure {
    /// Makes the failure of `kind` with the rendered chain `text`.
    pub(crate) fn new(kind: base::ErrorKind, text: impl Into<String>) -> Self {
        let name = ERROR_KINDS.iter().find(|(k, _)| *k == kind).map_or("internal", |(_, name)| name);
        Self { kind: name.to_owned(), text: text.into() }
    }

    /// Renders an error with its causes.
    pub(crate) fn of<E: base::Kinded + 'static>(error: &E) -> Self {
        Self::new(error.kind(), base::error::render_chain(error))
    }

    /// Returns the error that a caller sees.
    pub(crate) fn into_error(self) -> Error {
        let kind = ERROR_KINDS.iter().find(|(_, name)| *name == self.kind).map(|(kind, _)| *kind);
        Error::Answer { kind: kind.unwrap_or(base::ErrorKind::Internal), text: self.text }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_error_kind_survives_the_wire() {
        for (kind, _) in ERROR_KINDS {
            let error = Failure::new(kind, "x").into_error();
            assert_eq!(base::Kinded::kind(&error), kind);
        }
    }

    #[test]
    fn a_frame_that_is_too_long_is_refused_before_its_body_is_there() {
        assert!(decode(&header(Kind::Stdin, MAX_DATA + 1)).is_err());
        assert!(decode(&header(Kind::Start, 5000)).is_err());
        assert_eq!(decode(&header(Kind::Stdin, MAX_DATA)).unwrap(), Decoded::Wants(HEADER + MAX_DATA));
        assert!(decode(&[0, 0, 0, 0, 200]).is_err());
    }

    proptest! {
        #[test]
        fn a_frame_reads_back(body in proptest::collection::vec(any::<u8>(), 0..300), rest in any::<u8>()) {
            let mut bytes = Vec::new();
            encode(Kind::Stdin, &body, &mut bytes);
            let len = bytes.len();
            for cut in 0..len {
                prop_assert!(matches!(decode(&bytes[..cut]), Ok(Decoded::Wants(wanted)) if wanted > cut));
            }
            bytes.push(rest);
            prop_assert_eq!(decode(&bytes).unwrap(), Decoded::Frame(Kind::Stdin, &body[..], len));
        }

        #[test]
        fn any_bytes_are_a_frame_a_wish_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(Decoded::Frame(kind, body, taken)) = decode(&bytes) {
                prop_assert!(taken <= bytes.len());
                let _ = parse::<Attach>(kind, body);
                let _ = parse::<Exec>(kind, body);
                let _ = parse_resize(body);
                let _ = number(kind, body);
            }
        }
    }
}
