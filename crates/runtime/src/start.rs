//! Starting a created container: a message to the init that waits on the socket in its state folder.

use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect as connect_to, listen, socket_with,
};
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use base::ErrorKind;

use crate::channel::{Channel, FromInit, ToInit};
use crate::error::{Doing, Error, Result, part};
use crate::hooks::{self, HookState};
use crate::seccomp;
use crate::state::{Record, START_SOCKET, StateDir, Status};

/// Makes the socket on which the init will wait.
pub(crate) fn make_socket(dir: &StateDir) -> Result<OwnedFd> {
    let what = || format!("make {:?}", dir.start_socket());
    let socket =
        socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).doing(what)?;
    let (address, _folder) = address(dir)?;
    bind(&socket, &address).doing(what)?;
    listen(&socket, 16).doing(what)?;
    Ok(socket)
}

/// Connects to the waiting init; refused when it runs the program already.
pub(crate) fn connect(dir: &StateDir) -> Result<Channel> {
    let what = || format!("reach the init of container {:?}", dir.id);
    let socket =
        socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).doing(what)?;
    let (address, _folder) = address(dir)?;
    connect_to(&socket, &address).doing(what)?;
    Ok(Channel::from_fd(socket))
}

/// The socket's address. A path may be longer than an address holds (108 bytes); then it goes through a descriptor of the folder.
fn address(dir: &StateDir) -> Result<(SocketAddrUnix, Option<OwnedFd>)> {
    let what = || format!("name {:?}", dir.start_socket());
    if let Ok(address) = SocketAddrUnix::new(dir.start_socket()) {
        return Ok((address, None));
    }
    let folder = crate::binds::open_path(&dir.path).doing(what)?;
    let path =
        PathBuf::from(crate::binds::fd_path(&folder).to_string_lossy().into_owned()).join(START_SOCKET);
    Ok((SocketAddrUnix::new(path).doing(what)?, Some(folder)))
}

/// Lets the init run the program and waits until it does.
pub(crate) fn start(dir: &StateDir) -> Result<()> {
    let record = dir.load()?.ok_or_else(|| Error::NotFound { id: dir.id.clone() })?;
    if record.pid == 0 {
        return Err(wrong_status(dir, &record));
    }
    let Ok(init) = connect(dir) else { return Err(wrong_status(dir, &record)) };
    init.tell(ToInit::Start).doing(|| format!("start container {:?}", dir.id))?;
    loop {
        match init.listen() {
            Ok(Some(FromInit::Failed(kind, text))) => return Err(Error::Inside { kind, text }),
            Ok(Some(FromInit::Listener(listener))) => send_listener(dir, &record, listener)?,
            Ok(Some(_)) => {}
            Ok(None) => break,
            Err(error) => return Err(error).doing(|| format!("start container {:?}", dir.id)),
        }
    }
    // Two may have connected; the one that was not heard sees the end of the socket like the other.
    match std::fs::remove_file(dir.start_socket()) {
        Ok(()) => {}
        Err(_) => return Err(wrong_status(dir, &record)),
    }
    if !record.poststart.is_empty() {
        let state = hook_state(&record, "running");
        hooks::run_all(record.poststart.iter(), &state, "poststart")?;
    }
    Ok(())
}

fn wrong_status(dir: &StateDir, record: &Record) -> Error {
    let status = dir.status(record);
    let status = if status == Status::Created { Status::Running } else { status };
    Error::Status { id: dir.id.clone(), action: "start", status: status.to_string() }
}

/// Makes what hooks read from a record.
pub(crate) fn hook_state(record: &Record, status: &'static str) -> HookState {
    HookState {
        oci_version: record.oci_version.clone(),
        id: record.id.clone(),
        status,
        pid: record.pid,
        bundle: record.bundle.clone(),
        annotations: record.annotations.clone(),
    }
}

fn send_listener(dir: &StateDir, record: &Record, listener: OwnedFd) -> Result<()> {
    let spec = dir.load_spec()?;
    let profile = spec.linux().as_ref().and_then(|linux| linux.seccomp().as_ref());
    let profile = profile.ok_or_else(|| Error::Inside {
        kind: ErrorKind::Internal,
        text: "a seccomp listener came without a profile".into(),
    })?;
    deliver_listener(profile, record, record.pid, listener)
}

/// Hands the notification descriptor of process `pid` to the agent that the profile names.
pub(crate) fn deliver_listener(
    profile: &oci::runtime::LinuxSeccomp,
    record: &Record,
    pid: i32,
    listener: OwnedFd,
) -> Result<()> {
    use std::os::fd::AsFd;
    let path = profile.listener_path().as_ref().ok_or_else(|| {
        Error::invalid("linux.seccomp.listenerPath", "", "a socket is needed by SCMP_ACT_NOTIFY")
    })?;
    let json = serde_json::json!({
        "ociVersion": record.oci_version, "id": record.id, "status": "creating", "pid": record.pid,
        "bundle": record.bundle, "annotations": record.annotations,
    });
    let state: oci::runtime::State =
        serde_json::from_value(json).map_err(|source| Error::Json { path: record.bundle.clone(), source })?;
    seccomp::send_listener(path, listener.as_fd(), pid, profile.listener_metadata().as_deref(), &state)
        .map_err(|error| part("hand the seccomp listener to its agent", error))
}
