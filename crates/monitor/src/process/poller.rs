//! Epoll, with tokens that say what became ready.

use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{Timespec, epoll};
use rustix::io::{Errno, Result};

/// How many events are taken at once.
const BATCH: usize = 16;

/// What became ready. Indices are those of the monitor's tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token {
    /// A client wants to connect.
    Listener,
    /// A client's connection.
    Client(u32),
    /// The input of a process takes more.
    Input(Target),
    /// An output of a process has something: 0 for standard output or a terminal, 1 for standard error.
    Output(Target, u8),
    /// The creator of a process has something to say.
    Creator(Target),
    /// The creator of a process has ended.
    CreatorEnd(Target),
    /// A process has ended.
    Process(Target),
    /// The clean-up command wrote something.
    CleanupOutput,
    /// The clean-up command has ended.
    CleanupEnd,
    /// A process of the container asks for a name.
    Names,
    /// A process of the container connects to ask.
    NamesListener,
    /// A server may have answered.
    Flight(u32),
    /// A conversation about names has ended.
    NamesConnection(u32),
    /// Somebody changed the firewall.
    Guard,
}

/// Which process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    /// The init of the container.
    Init,
    /// An exec session.
    Exec(u32),
    /// The health check.
    Probe,
}

/// What to wait for.
pub(super) const READ: epoll::EventFlags = epoll::EventFlags::IN;
pub(super) const WRITE: epoll::EventFlags = epoll::EventFlags::OUT;
pub(super) const NOTHING: epoll::EventFlags = epoll::EventFlags::empty();

/// The set of descriptors that are waited for.
#[derive(Debug)]
pub(super) struct Poller {
    epoll: OwnedFd,
}

/// One ready descriptor.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ready {
    pub(super) token: Token,
    pub(super) flags: epoll::EventFlags,
}

impl Poller {
    pub(super) fn new() -> Result<Self> {
        Ok(Self { epoll: epoll::create(epoll::CreateFlags::CLOEXEC)? })
    }

    pub(super) fn add(&self, fd: impl AsFd, token: Token, flags: epoll::EventFlags) -> Result<()> {
        epoll::add(&self.epoll, fd, epoll::EventData::new_u64(token.encode()), flags)
    }

    pub(super) fn modify(&self, fd: impl AsFd, token: Token, flags: epoll::EventFlags) -> Result<()> {
        epoll::modify(&self.epoll, fd, epoll::EventData::new_u64(token.encode()), flags)
    }

    /// Stops waiting for `fd`; needed where a copy of it lives on in another process.
    pub(super) fn remove(&self, fd: impl AsFd) {
        // One that was never added, or is gone already, is not waited for either.
        let _ = epoll::delete(&self.epoll, fd);
    }

    /// Waits, at most `timeout_ms`.
    pub(super) fn wait(&self, timeout_ms: Option<u64>, ready: &mut Vec<Ready>) -> Result<()> {
        let timeout = timeout_ms.map(|ms| Timespec {
            tv_sec: i64::try_from(ms / 1000).unwrap_or(i64::MAX),
            tv_nsec: (ms % 1000) as i64 * 1_000_000,
        });
        let mut events = [const { std::mem::MaybeUninit::<epoll::Event>::uninit() }; BATCH];
        ready.clear();
        match epoll::wait(&self.epoll, &mut events[..], timeout.as_ref()) {
            Ok((events, _)) => {
                ready.extend(events.iter().filter_map(|event| {
                    // A packed field: copied before it is borrowed.
                    let (data, flags) = (event.data, event.flags);
                    Token::decode(data.u64()).map(|token| Ready { token, flags })
                }));
                Ok(())
            }
            Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// Numbers that no exec session has.
const INIT: u32 = u32::MAX;
const PROBE: u32 = u32::MAX - 1;

impl Token {
    fn encode(self) -> u64 {
        let pack = |kind: u64, sub: u8, index: u32| kind << 40 | u64::from(sub) << 32 | u64::from(index);
        match self {
            Self::Listener => pack(0, 0, 0),
            Self::Client(index) => pack(1, 0, index),
            Self::Input(target) => pack(2, 0, target.encode()),
            Self::Output(target, number) => pack(3, number, target.encode()),
            Self::Creator(target) => pack(4, 0, target.encode()),
            Self::CreatorEnd(target) => pack(5, 0, target.encode()),
            Self::Process(target) => pack(6, 0, target.encode()),
            Self::CleanupOutput => pack(7, 0, 0),
            Self::CleanupEnd => pack(8, 0, 0),
            Self::Names => pack(20, 0, 0),
            Self::NamesListener => pack(21, 0, 0),
            Self::Flight(index) => pack(22, 0, index),
            Self::NamesConnection(index) => pack(23, 0, index),
            Self::Guard => pack(24, 0, 0),
        }
    }

    fn decode(data: u64) -> Option<Self> {
        let index = data as u32;
        let target = Target::decode(index);
        Some(match data >> 40 {
            0 => Self::Listener,
            1 => Self::Client(index),
            2 => Self::Input(target),
            3 => Self::Output(target, (data >> 32) as u8),
            4 => Self::Creator(target),
            5 => Self::CreatorEnd(target),
            6 => Self::Process(target),
            7 => Self::CleanupOutput,
            8 => Self::CleanupEnd,
            20 => Self::Names,
            21 => Self::NamesListener,
            22 => Self::Flight(index),
            23 => Self::NamesConnection(index),
            24 => Self::Guard,
            _ => return None,
        })
    }
}

impl Target {
    fn encode(self) -> u32 {
        match self {
            Self::Init => INIT,
            Self::Probe => PROBE,
            Self::Exec(index) => index,
        }
    }

    fn decode(index: u32) -> Self {
        match index {
            INIT => Self::Init,
            PROBE => Self::Probe,
            index => Self::Exec(index),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_read_back() {
        for target in [Target::Init, Target::Exec(0), Target::Exec(70_000), Target::Probe] {
            for token in [
                Token::Listener,
                Token::Client(9),
                Token::Input(target),
                Token::Output(target, 0),
                Token::Output(target, 1),
                Token::Creator(target),
                Token::CreatorEnd(target),
                Token::Process(target),
                Token::CleanupOutput,
                Token::CleanupEnd,
                Token::Names,
                Token::NamesListener,
                Token::Flight(7),
                Token::NamesConnection(7),
                Token::Guard,
            ] {
                assert_eq!(Token::decode(token.encode()), Some(token));
            }
        }
    }
}
