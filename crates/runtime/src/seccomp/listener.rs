//! Hands the notification descriptor of a container to the agent that answers for it.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use oci::runtime::State;
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags,
    SocketType,
};
use serde::Serialize;

use super::Error;

/// The name under which runtime-spec announces the one descriptor that is sent.
const DESCRIPTOR_NAME: &str = "seccompFd";

/// runtime-spec's `ContainerProcessState`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ContainerProcessState<'a> {
    oci_version: &'a str,
    fds: [&'static str; 1],
    pid: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<&'a str>,
    state: &'a State,
}

/// Sends the notification descriptor of a container to its agent, as runtime-spec's `listenerPath` wants it: one
/// `ContainerProcessState` document with the descriptor beside it (`SCM_RIGHTS`).
///
/// `pid` is the process that carries the filter (an `exec` differs from the init in `state`), `metadata` the profile's
/// `listenerMetadata`. Blocks until the agent's socket takes the message.
pub fn send_listener(
    path: &Path,
    listener: BorrowedFd<'_>,
    pid: i32,
    metadata: Option<&str>,
    state: &State,
) -> Result<(), Error> {
    let document =
        ContainerProcessState { oci_version: state.version(), fds: [DESCRIPTOR_NAME], pid, metadata, state };
    let text = serde_json::to_vec(&document).map_err(Error::Json)?;
    send(path, listener, &text).map_err(|source| Error::Listener { path: path.to_owned(), source })
}

fn send(path: &Path, listener: BorrowedFd<'_>, text: &[u8]) -> io::Result<()> {
    let socket =
        rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
    let descriptors = [listener];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
    let mut rest = text;
    while !rest.is_empty() {
        let sent =
            rustix::net::sendmsg(socket.as_fd(), &[IoSlice::new(rest)], &mut ancillary, SendFlags::NOSIGNAL)?;
        rest = &rest[sent..];
        // The descriptor went with the first bytes.
        ancillary.clear();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::net::UnixListener;

    use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};

    use super::*;

    #[test]
    fn the_agent_gets_document_and_descriptor() {
        let dir = tempfile::tempdir().expect("temp dir");
        let path = dir.path().join("agent.sock");
        let agent = UnixListener::bind(&path).expect("bind");
        let mut file = tempfile::tempfile().expect("file");
        io::Write::write_all(&mut file, b"the listener").expect("write");
        let mut state = State::default();
        state.set_version("1.2.0".into());
        state.set_id("web".into());
        send_listener(&path, file.as_fd(), 42, Some("who"), &state).expect("send");

        let (connection, _) = agent.accept().expect("accept");
        let mut bytes = [0; 4096];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut iov = [io::IoSliceMut::new(&mut bytes)];
        let received =
            rustix::net::recvmsg(&connection, &mut iov, &mut ancillary, RecvFlags::empty()).expect("receive");
        let document: serde_json::Value = serde_json::from_slice(&bytes[..received.bytes]).expect("JSON");
        assert_eq!(document["ociVersion"], "1.2.0");
        assert_eq!(document["fds"], serde_json::json!(["seccompFd"]));
        assert_eq!(document["pid"], 42);
        assert_eq!(document["metadata"], "who");
        assert_eq!(document["state"]["id"], "web");
        let fds: Vec<_> = ancillary
            .drain()
            .filter_map(|message| match message {
                RecvAncillaryMessage::ScmRights(fds) => Some(fds),
                _ => None,
            })
            .flatten()
            .collect();
        assert_eq!(fds.len(), 1);
        let mut text = String::new();
        let mut copy = std::fs::File::from(fds.into_iter().next().expect("one"));
        io::Seek::rewind(&mut copy).expect("rewind");
        copy.read_to_string(&mut text).expect("read");
        assert_eq!(text, "the listener");
    }

    #[test]
    fn a_missing_agent_is_named() {
        let file = tempfile::tempfile().expect("file");
        let error = send_listener(Path::new("/nonexistent/agent"), file.as_fd(), 1, None, &State::default());
        assert!(error.expect_err("no agent").to_string().contains("/nonexistent/agent"));
    }
}
