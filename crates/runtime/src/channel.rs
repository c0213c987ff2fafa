//! What the runtime and the process that it made say to each other while a container is set up: one enum each way, one
//! datagram each message, over a socket pair that `execve` closes.
//!
//! ```text
//!   parent                                       init
//!     │  clone3                                    │
//!     ├─ Go (maps written, links moved) ──────────▶│ joins its group, builds the root
//!     │◀──────────────────────────── WantBind ─────┤ for what only the runtime may open
//!     ├─ (a tree, its descriptor) ────────────────▶│
//!     │◀────────────────── Console (descriptor) ───┤ if it has a terminal
//!     │◀───────────────────────────── RunHooks ────┤ if there are hooks of the host
//!     ├─ HooksDone ───────────────────────────────▶│ createContainer hooks, pivot_root
//!     │◀──────────────────────── Warning, Ready ───┤
//!     ├─ Recorded ────────────────────────────────▶│ waits on start.sock
//! ```
//! A closed socket at any point means that the other side is gone: the init then ends by itself.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use base::ErrorKind;

use crate::binds::Bind;
use rustix::io::{Errno, Result};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};

/// The longest message; longer texts are cut.
const LIMIT: usize = 8 << 10;

/// From the runtime to the init.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ToInit {
    /// Everything outside is prepared.
    Go,
    /// The hooks that run outside have run.
    HooksDone,
    /// The state is recorded: wait to be started.
    Recorded,
    /// Run the program.
    Start,
}

/// From the init to the runtime.
#[derive(Debug)]
pub(crate) enum FromInit {
    /// The master end of the terminal.
    Console(OwnedFd),
    /// The seccomp notification descriptor.
    Listener(OwnedFd),
    /// Open this entry of the plan's binds; [`Channel::give_bind`] answers.
    WantBind(usize),
    /// The root is built: run the hooks that run outside.
    RunHooks,
    /// A child was made that is the process meant; its number comes with the message's credentials.
    Child(i32, OwnedFd),
    /// Something could not be done that need not be fatal.
    Warning(String),
    /// Waits to be started.
    Ready,
    /// Failed; the process ends.
    Failed(ErrorKind, String),
}

const KINDS: [ErrorKind; 10] = [
    ErrorKind::NotFound,
    ErrorKind::Invalid,
    ErrorKind::AlreadyExists,
    ErrorKind::Conflict,
    ErrorKind::Denied,
    ErrorKind::Unavailable,
    ErrorKind::Unsupported,
    ErrorKind::CommandNotFound,
    ErrorKind::CommandNotExecutable,
    ErrorKind::Internal,
];

impl ToInit {
    fn decode(bytes: &[u8]) -> Option<Self> {
        match bytes {
            b"g" => Some(Self::Go),
            b"h" => Some(Self::HooksDone),
            b"r" => Some(Self::Recorded),
            b"s" => Some(Self::Start),
            _ => None,
        }
    }

    fn encode(self) -> &'static [u8] {
        match self {
            Self::Go => b"g",
            Self::HooksDone => b"h",
            Self::Recorded => b"r",
            Self::Start => b"s",
        }
    }
}

impl FromInit {
    fn encode(&self) -> (Vec<u8>, Option<BorrowedFd<'_>>) {
        let text = |tag: u8, text: &str| {
            let mut bytes = vec![tag];
            bytes.extend(text.bytes().take(LIMIT - 16));
            bytes
        };
        match self {
            Self::Console(fd) => (vec![b'C'], Some(fd.as_fd())),
            Self::Listener(fd) => (vec![b'L'], Some(fd.as_fd())),
            Self::RunHooks => (vec![b'H'], None),
            Self::WantBind(index) => (text(b'B', &index.to_string()), None),
            Self::Child(pid, fd) => (text(b'P', &pid.to_string()), Some(fd.as_fd())),
            Self::Warning(warning) => (text(b'W', warning), None),
            Self::Ready => (vec![b'R'], None),
            Self::Failed(kind, reason) => {
                let index = KINDS.iter().position(|known| known == kind).unwrap_or(KINDS.len() - 1);
                let mut bytes = vec![b'F', b'0' + index as u8];
                bytes.extend(reason.bytes().take(LIMIT - 16));
                (bytes, None)
            }
        }
    }

    fn decode(bytes: &[u8], fd: Option<OwnedFd>) -> Option<Self> {
        let (tag, rest) = bytes.split_first()?;
        let text = || String::from_utf8_lossy(rest).into_owned();
        Some(match tag {
            b'C' => Self::Console(fd?),
            b'L' => Self::Listener(fd?),
            b'H' => Self::RunHooks,
            b'B' => Self::WantBind(text().parse().ok()?),
            b'P' => Self::Child(text().parse().ok()?, fd?),
            b'W' => Self::Warning(text()),
            b'R' => Self::Ready,
            b'F' => {
                let (kind, reason) = rest.split_first()?;
                let kind = KINDS.get(usize::from(kind.wrapping_sub(b'0'))).copied()?;
                Self::Failed(kind, String::from_utf8_lossy(reason).into_owned())
            }
            _ => return None,
        })
    }
}

/// One end.
#[derive(Debug)]
pub(crate) struct Channel(OwnedFd);

impl Channel {
    /// Makes both ends.
    pub(crate) fn pair() -> Result<(Self, Self)> {
        let (one, other) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        Ok((Self(one), Self(other)))
    }

    /// Takes a connected socket.
    pub(crate) fn from_fd(fd: OwnedFd) -> Self {
        Self(fd)
    }

    /// Returns the socket.
    pub(crate) fn into_fd(self) -> OwnedFd {
        self.0
    }

    /// Sends to the init.
    pub(crate) fn tell(&self, message: ToInit) -> Result<()> {
        send(&self.0, message.encode(), None)
    }

    /// Waits for a message to the init; `None` when the other side is gone.
    pub(crate) fn hear(&self) -> Result<Option<ToInit>> {
        let mut buffer = [0; 8];
        let (length, _) = receive(&self.0, &mut buffer)?;
        if length == 0 {
            return Ok(None);
        }
        ToInit::decode(&buffer[..length]).map(Some).ok_or(Errno::BADMSG)
    }

    /// Answers [`FromInit::WantBind`].
    pub(crate) fn give_bind(&self, bind: &Bind) -> Result<()> {
        send(&self.0, &[b'b', u8::from(bind.is_dir), u8::from(bind.pending)], Some(bind.tree.as_fd()))
    }

    /// Waits for the answer to [`FromInit::WantBind`]; `None` when the other side is gone.
    pub(crate) fn take_bind(&self) -> Result<Option<Bind>> {
        let mut buffer = [0; 8];
        match receive(&self.0, &mut buffer)? {
            (0, _) => Ok(None),
            (3, Some(tree)) if buffer[0] == b'b' => {
                Ok(Some(Bind { tree, is_dir: buffer[1] == 1, pending: buffer[2] == 1 }))
            }
            _ => Err(Errno::BADMSG),
        }
    }

    /// Sends to the runtime.
    pub(crate) fn report(&self, message: &FromInit) -> Result<()> {
        let (bytes, fd) = message.encode();
        send(&self.0, &bytes, fd)
    }

    /// Waits for a message from the init; `None` when it is gone, or runs the program.
    pub(crate) fn listen(&self) -> Result<Option<FromInit>> {
        let mut buffer = [0; LIMIT];
        match receive(&self.0, &mut buffer) {
            Ok((0, _)) | Err(Errno::CONNRESET) => Ok(None),
            Ok((length, fd)) => FromInit::decode(&buffer[..length], fd).map(Some).ok_or(Errno::BADMSG),
            Err(error) => Err(error),
        }
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Sends one datagram with at most one descriptor.
pub(crate) fn send(socket: impl AsFd, bytes: &[u8], fd: Option<BorrowedFd<'_>>) -> Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let fds = fd.map(|fd| [fd]);
    if let Some(fds) = &fds {
        control.push(SendAncillaryMessage::ScmRights(fds));
    }
    rustix::io::retry_on_intr(|| {
        sendmsg(&socket, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL)
    })?;
    Ok(())
}

/// Receives one datagram with at most one descriptor.
pub(crate) fn receive(socket: impl AsFd, buffer: &mut [u8]) -> Result<(usize, Option<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let message = rustix::io::retry_on_intr(|| {
        recvmsg(&socket, &mut [IoSliceMut::new(buffer)], &mut control, RecvFlags::CMSG_CLOEXEC)
    })?;
    let mut received = None;
    for item in control.drain() {
        if let RecvAncillaryMessage::ScmRights(fds) = item {
            received = received.or(fds.into_iter().next());
        }
    }
    Ok((message.bytes, received))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_survive_the_way() {
        let (parent, init) = Channel::pair().unwrap();
        for message in [ToInit::Go, ToInit::HooksDone, ToInit::Recorded, ToInit::Start] {
            parent.tell(message).unwrap();
            assert_eq!(init.hear().unwrap(), Some(message));
        }
        let null = std::fs::File::open("/dev/null").unwrap();
        init.report(&FromInit::Console(null.into())).unwrap();
        assert!(matches!(parent.listen().unwrap(), Some(FromInit::Console(_))));
        init.report(&FromInit::Failed(ErrorKind::CommandNotFound, "no".into())).unwrap();
        assert!(
            matches!(parent.listen().unwrap(), Some(FromInit::Failed(ErrorKind::CommandNotFound, text)) if text == "no")
        );
        drop(init);
        assert!(parent.listen().unwrap().is_none());
    }

    #[test]
    fn hostile_bytes_are_refused() {
        for bytes in [&b""[..], b"C", b"F", b"F~x", b"P12", b"?"] {
            assert!(FromInit::decode(bytes, None).is_none(), "{bytes:?}");
        }
        assert!(ToInit::decode(b"gg").is_none());
        let long = FromInit::Failed(ErrorKind::Internal, "x".repeat(1 << 20)).encode().0;
        assert!(long.len() <= LIMIT);
    }
}
