//! The creator: a forked copy of the monitor that makes one process, says so, and ends.
//!
//! It speaks over a socket pair that keeps messages whole: first [`Message::Made`] with the descriptors of the process and of
//! its terminal, for an init then [`Message::Started`] once the monitor has said to go on; or [`Message::Refused`].

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};

use base::ErrorKind;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recv, recvmsg, send, sendmsg, socketpair,
};
use serde::{Deserialize, Serialize};
use sys::process::{Forked, clone3, exit_now};

use crate::creator::{MadeInit, MadeProcess, Refusal};
use crate::error::{Doing, Result};
use crate::wire::Failure;

/// The longest message; longer texts are cut.
const MAX_MESSAGE: usize = 32 << 10;

/// The running creator of one process, seen from the monitor.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) socket: OwnedFd,
    pub(super) pidfd: OwnedFd,
}

/// What a creator says.
#[derive(Debug)]
pub(super) enum Message {
    Made(MadeProcess),
    Started,
    Refused(Failure),
    /// It has said all that it will say.
    Ended,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Wire {
    Made { pid: i32, warnings: Vec<String> },
    Started,
    Refused(Failure),
}

/// Forks a creator that runs `work` with its end of the link. `keep` are the only other descriptors that stay open in it.
pub(super) fn fork(keep: &[BorrowedFd<'_>], work: impl FnOnce(&OwnedFd)) -> Result<Link> {
    let doing = || "fork a creator".to_owned();
    let (ours, theirs) =
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).doing(doing)?;
    match clone3(0, None).doing(doing)? {
        Forked::Parent { pidfd, .. } => Ok(Link { socket: ours, pidfd }),
        Forked::Child => {
            let code = catch_unwind(AssertUnwindSafe(|| {
                let mut open = keep.to_vec();
                open.push(theirs.as_fd());
                // Clients, the lock and the epoll set must not live on in a container that is being made.
                if sys::detach::close_all_except(&open).is_ok() && sys::sigset::reset().is_ok() {
                    work(&theirs);
                }
            }));
            exit_now(i32::from(code.is_err()))
        }
    }
}

/// The creator's work for an init: make it, say so, wait for the word, start it.
pub(super) fn make_init(link: &OwnedFd, make: impl FnOnce() -> Result<MadeInit, Refusal>) {
    let made = match make() {
        Ok(made) => made,
        Err(refusal) => return say_refused(link, refusal),
    };
    let pidfd = made.process.pidfd.as_fd().try_clone_to_owned();
    let mut word = [0];
    let told = say_made(link, made.process);
    match told.then(|| recv(link, &mut word[..], RecvFlags::empty())) {
        Some(Ok((1, _))) => match (made.start)() {
            Ok(()) => drop(say(link, &Wire::Started, &[])),
            Err(refusal) => say_refused(link, refusal),
        },
        // The monitor was killed or does not know of the init: nobody would ever start it.
        _ => {
            if let Ok(pidfd) = pidfd {
                let _ = sys::process::pidfd_kill(pidfd.as_fd(), SIGKILL);
            }
        }
    }
}

const SIGKILL: i32 = 9;

/// The creator's work for an exec session.
pub(super) fn make_exec(link: &OwnedFd, make: impl FnOnce() -> Result<MadeProcess, Refusal>) {
    match make() {
        // What runs without the monitor's knowledge is killed with the container.
        Ok(made) => drop(say_made(link, made)),
        Err(refusal) => say_refused(link, refusal),
    }
}

/// Returns whether the monitor knows now.
fn say_made(link: &OwnedFd, made: MadeProcess) -> bool {
    let mut fds = vec![made.pidfd.as_fd()];
    fds.extend(made.console.as_ref().map(AsFd::as_fd));
    say(link, &Wire::Made { pid: made.pid, warnings: made.warnings }, &fds)
}

fn say_refused(link: &OwnedFd, refusal: Refusal) {
    let mut text = refusal.text;
    let mut end = text.len().min(MAX_MESSAGE / 8);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    // Without this word the creator has ended without one, which is an error, too.
    say(link, &Wire::Refused(Failure::new(refusal.kind, text)), &[]);
}

fn say(link: &OwnedFd, message: &Wire, fds: &[BorrowedFd<'_>]) -> bool {
    let Ok(text) = serde_json::to_vec(message) else { return false };
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(fds));
    }
    sendmsg(link, &[IoSlice::new(&text)], &mut control, SendFlags::NOSIGNAL).is_ok()
}

impl Link {
    /// Tells the creator to start its init. One that cannot be told is killed, and noticed as one that has ended.
    pub(super) fn go_on(&self) {
        if send(&self.socket, &[1], SendFlags::NOSIGNAL).is_err() {
            let _ = sys::process::pidfd_kill(self.pidfd.as_fd(), SIGKILL);
        }
    }

    /// Takes the next message; `None` when there is none yet.
    pub(super) fn take(&self) -> Option<Message> {
        let mut text = vec![0; MAX_MESSAGE];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
        let got = match recvmsg(&self.socket, &mut [IoSliceMut::new(&mut text)], &mut control, flags) {
            Ok(got) => got.bytes,
            Err(Errno::AGAIN | Errno::INTR) => return None,
            Err(_) => 0,
        };
        if got == 0 {
            return Some(Message::Ended);
        }
        let fds = control.drain().filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(fds) => Some(fds),
            _ => None,
        });
        let mut fds = fds.flatten();
        Some(match serde_json::from_slice(&text[..got]) {
            Ok(Wire::Started) => Message::Started,
            Ok(Wire::Refused(failure)) => Message::Refused(failure),
            Ok(Wire::Made { pid, warnings }) => match fds.next() {
                Some(pidfd) => Message::Made(MadeProcess { pid, pidfd, console: fds.next(), warnings }),
                None => Message::Refused(died()),
            },
            Err(_) => Message::Refused(died()),
        })
    }
}

/// Why there is no process when its creator ended without a word.
pub(super) fn died() -> Failure {
    Failure::new(ErrorKind::Internal, "the process that creates the container ended without a word")
}

/// The refusal of a creator that runs out of descriptors.
pub(super) fn refused(error: std::io::Error) -> Refusal {
    Refusal { kind: ErrorKind::Internal, text: format!("cannot duplicate a descriptor: {error}") }
}

/// Gathers duplicated streams.
pub(super) fn cloned(fds: Option<[std::io::Result<OwnedFd>; 3]>) -> Result<Option<[OwnedFd; 3]>, Refusal> {
    match fds {
        None => Ok(None),
        Some([stdin, stdout, stderr]) => {
            Ok(Some([stdin.map_err(refused)?, stdout.map_err(refused)?, stderr.map_err(refused)?]))
        }
    }
}
