//! Questions by TCP: rare and long, so each connection has a forked process of its own, which may wait and ends with it.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use sys::process::{Forked, clone3, exit_now};

use super::life::wait_child;
use super::monitor::Monitor;
use super::names::{MAX_CONNECTIONS, host_servers};
use super::poller::{READ, Token};
use crate::names::conf::Conf;
use crate::names::message::{Code, Query};
use crate::names::resolve::{self, Verdict};

/// How long either side may be silent.
const PATIENCE: Duration = Duration::from_secs(5);
/// Questions on one connection.
const MAX_QUESTIONS: usize = 100;

impl Monitor<'_> {
    /// Somebody connects to ask.
    pub(super) fn on_names_listener(&mut self) {
        let Some(names) = &mut self.names else { return };
        let Ok((stream, _)) = names.listener.accept() else { return };
        if names.connections.numbers().len() >= MAX_CONNECTIONS {
            return;
        }
        names.turn = names.turn.wrapping_add(1);
        let turn = names.turn;
        match clone3(0, None) {
            Ok(Forked::Parent { pidfd, .. }) => {
                let number = names.connections.next_number();
                if self.poller.add(&pidfd, Token::NamesConnection(number), READ).is_ok() {
                    names.connections.insert(pidfd);
                }
            }
            Ok(Forked::Child) => {
                let done = catch_unwind(AssertUnwindSafe(|| {
                    // Clients, the lock and the epoll set are not its business.
                    if sys::detach::close_all_except(&[stream.as_fd(), self.dir.as_fd()]).is_ok() {
                        // How a conversation ends is nobody's business either.
                        let _ = converse(stream, &self.dir, turn);
                    }
                }));
                exit_now(i32::from(done.is_err()))
            }
            // The asker sees the connection close.
            Err(_) => {}
        }
    }

    /// A conversation has ended.
    pub(super) fn on_names_connection(&mut self, number: u32) {
        let ended = self.names.as_mut().and_then(|names| names.connections.remove(number));
        if let Some(pidfd) = ended {
            self.poller.remove(&pidfd);
            wait_child(&pidfd);
        }
    }
}

fn converse(mut asker: TcpStream, dir: &OwnedFd, turn: usize) -> io::Result<()> {
    asker.set_nonblocking(false)?;
    for nth in 0..MAX_QUESTIONS {
        let question = receive(&mut asker)?;
        let Some(text) = resolve::read_conf(dir) else { return Ok(()) };
        let conf = Conf::new(&text);
        match resolve::resolve(conf, &question, true, turn + nth) {
            Verdict::Answered(answer) => send(&mut asker, &answer)?,
            Verdict::Forward => send(&mut asker, &forward(conf, &question))?,
            Verdict::Ignored => return Ok(()),
        }
    }
    Ok(())
}

/// Asks the servers one after the other.
fn forward(conf: Conf<'_>, question: &[u8]) -> Vec<u8> {
    let ask = |server| {
        let mut stream = TcpStream::connect_timeout(&server, PATIENCE)?;
        send(&mut stream, question)?;
        receive(&mut stream)
    };
    let answers = conf.servers(host_servers).into_iter().filter_map(|server| ask(server).ok());
    let answer = answers.into_iter().find(|answer| answer.len() >= 12);
    answer.or_else(|| Some(Query::parse(question).ok()?.refuse(Code::Failed))).unwrap_or_default()
}

/// Reads a message with its length before it.
fn receive(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut bytes = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// Writes a message with its length before it.
fn send(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<()> {
    stream.set_write_timeout(Some(PATIENCE))?;
    let length = u16::try_from(bytes.len()).map_err(|_| io::ErrorKind::InvalidData)?;
    stream.write_all(&[&length.to_be_bytes()[..], bytes].concat())
}
