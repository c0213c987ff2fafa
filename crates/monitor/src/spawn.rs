//! Starting a monitor: for a new container, or for one whose monitor was killed.

use std::ffi::{CString, OsStr, OsString};
use std::fs::{DirBuilder, File};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use crate::client::{AttachOptions, Client, Session};
use crate::connection::Connection;
use crate::error::{Doing, Error, Result};
use crate::launch::{Launch, LaunchFds};
use crate::record::StateRecord;
use crate::transport;
use crate::wire::{self, Kind};

/// How often and how long to wait for a monitor that another command is starting: 2 seconds.
const TAKEOVER_TRIES: u32 = 200;
const TAKEOVER_PAUSE: Duration = Duration::from_millis(10);

/// Variables that the monitor, the clean-up and hooks may need. The rest of the caller's environment is its own business.
const KEPT_VARIABLES: [&str; 3] = ["PATH", "HOME", "TMPDIR"];
const KEPT_PREFIXES: [&str; 3] = ["BRIG_", "XDG_", "DBUS_"];

/// A container that is being created, or is created and waits for [`Pending::start`]. Dropping it has the monitor kill what
/// was made and run the clean-up command, as if the caller had been killed.
#[derive(Debug)]
pub struct Pending {
    connection: Connection,
    run_dir: PathBuf,
}

/// A container that was created.
#[derive(Debug, Clone)]
pub struct CreatedInfo {
    /// Its init, which waits.
    pub pid: i32,
    /// What was not done and did not need to be (`cannot raise …`).
    pub warnings: Vec<String>,
}

/// A container that was started.
#[derive(Debug, Clone)]
pub struct Started {
    /// Its init.
    pub pid: i32,
    /// When, RFC 3339.
    pub started_at: String,
}

/// Starts the monitor of a container, which begins to create it. Returns at once.
///
/// The run folder is made where it is missing. What a caller made before and after a failure is the caller's to undo.
pub fn spawn(launch: &Launch, fds: LaunchFds) -> Result<Pending> {
    let run_dir = &launch.run_dir;
    DirBuilder::new().recursive(true).mode(0o700).create(run_dir).doing(|| format!("create {run_dir:?}"))?;
    launch.save()?;
    let mut args: Vec<OsString> = vec!["--run-dir".into(), run_dir.into()];
    let mut given = Vec::new();
    let flags = [
        ("--rootfs", &fds.rootfs),
        ("--netns", &fds.netns),
        ("--userns", &fds.userns),
        ("--keep", &fds.keep),
    ];
    for (flag, fd) in flags {
        if let Some(fd) = fd {
            args.push(flag.into());
            given.push(fd.as_fd());
        }
    }
    let connection = start_monitor(launch, &args, &given)?;
    Ok(Pending { connection, run_dir: run_dir.clone() })
}

impl Pending {
    /// Waits until the container is created. A failure is the runtime's; nothing of it is left then.
    pub fn wait_created(&mut self) -> Result<CreatedInfo> {
        let body = self.connection.expect(Kind::Created)?;
        let created: wire::Created = wire::parse(Kind::Created, body)?;
        Ok(CreatedInfo { pid: created.pid, warnings: created.warnings })
    }

    /// Attaches before the start, so that no byte is lost. Comes after [`Pending::wait_created`].
    pub fn attach(&mut self, options: AttachOptions) -> Result<Session> {
        Client::connect(&self.run_dir)?.attach(options)
    }

    /// Lets the init run. Fails with the kind `CommandNotFound` or `CommandNotExecutable`; then nothing of the container is
    /// left but what the caller made.
    pub fn start(mut self) -> Result<Started> {
        self.connection.send(Kind::Start, &[])?;
        let body = self.connection.expect(Kind::Started)?;
        let record: StateRecord = wire::parse(Kind::Started, body)?;
        Ok(Started { pid: record.pid, started_at: record.started_at })
    }

    /// Kills what was created and waits until the monitor has ended. The clean-up command is not run.
    pub fn abort(mut self) {
        // Whatever it still says before it ends is of no interest, and so is a monitor that has ended already.
        if self.connection.send(Kind::Abort, &[]).is_ok() {
            while self.connection.recv().is_ok() {}
        }
    }
}

/// Makes sure that a running container has a monitor: starts one that takes over when the former was killed, and gives it
/// `keep` to keep open.
///
/// Fails with [`Error::NotRunning`] when no monitor answers and the init is dead or was never started.
pub fn ensure_monitor(run_dir: &Path, keep: Option<BorrowedFd<'_>>) -> Result<()> {
    for attempt in 0..TAKEOVER_TRIES {
        if transport::connect_to(run_dir).is_ok() {
            return Ok(());
        }
        if !StateRecord::load(run_dir)?.is_some_and(|record| record.is_alive()) {
            return Err(Error::NotRunning { run_dir: run_dir.to_owned() });
        }
        if attempt > 0 {
            std::thread::sleep(TAKEOVER_PAUSE);
        }
        match take_over(run_dir, keep) {
            Ok(()) => return Ok(()),
            // Another command was faster, or its monitor is about to listen: look again.
            Err(Error::Answer { kind: base::ErrorKind::Conflict, .. } | Error::Closed) => {}
            Err(error) => return Err(error),
        }
    }
    Err(Error::NoMonitor { run_dir: run_dir.to_owned(), source: std::io::ErrorKind::TimedOut.into() })
}

fn take_over(run_dir: &Path, keep: Option<BorrowedFd<'_>>) -> Result<()> {
    let launch = Launch::load(run_dir)?;
    let mut args: Vec<OsString> = vec!["--run-dir".into(), run_dir.into(), "--takeover".into()];
    args.extend(keep.map(|_| "--keep".into()));
    start_monitor(&launch, &args, keep.as_slice())?.expect_done()
}

/// Executes the role `monitor` with descriptor 3 as its end of a socket pair and `given` from 4 on.
fn start_monitor(launch: &Launch, args: &[OsString], given: &[BorrowedFd<'_>]) -> Result<Connection> {
    let doing = || "start the monitor".to_owned();
    let (ours, theirs) =
        socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).doing(doing)?;
    // Greeted before there is anybody, so that a monitor that ends at once can still be heard.
    let connection = Connection::with_starting(ours)?;
    let null = File::options().read(true).write(true).open("/dev/null").doing(doing)?;
    let mut fds = vec![null.as_fd(), null.as_fd(), null.as_fd(), theirs.as_fd()];
    fds.extend_from_slice(given);
    // Its creators enter containers: it must run from where nobody inside can write to it. Dropped when it runs already.
    let protected = runtime::guard::protected_exe().map_err(std::io::Error::other).doing(doing)?;
    let own = protected.as_ref().map_or(PathBuf::from("/proc/self/exe"), runtime::guard::ProtectedExe::path);
    let program = launch.program.as_deref().unwrap_or(&own);
    let argv =
        [OsStr::new("brig"), OsStr::new("monitor")].into_iter().chain(args.iter().map(OsString::as_os_str));
    let argv = argv.map(c_string).collect::<Result<Vec<_>>>()?;
    let env = std::env::vars_os().filter(|(name, _)| is_kept(name)).map(|(name, value)| {
        let mut text = name;
        text.push("=");
        text.push(value);
        c_string(&text)
    });
    let env = env.collect::<Result<Vec<_>>>()?;
    sys::detach::spawn_detached(&c_string(program.as_os_str())?, &argv, &env, &fds).doing(doing)?;
    Ok(connection)
}

fn is_kept(name: &OsStr) -> bool {
    let name = name.as_bytes();
    KEPT_VARIABLES.iter().any(|kept| name == kept.as_bytes())
        || KEPT_PREFIXES.iter().any(|prefix| name.starts_with(prefix.as_bytes()))
}

fn c_string(text: &OsStr) -> Result<CString> {
    CString::new(text.to_owned().into_vec()).doing(|| format!("hand {text:?} to the monitor"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_monitor_needs_is_handed_on() {
        for (name, kept) in [("PATH", true), ("BRIG_ROOT", true), ("AWS_SECRET", false), ("XPATH", false)] {
            assert_eq!(is_kept(OsStr::new(name)), kept, "{name}");
        }
    }

    #[test]
    fn a_folder_without_a_container_has_no_monitor() {
        let error = ensure_monitor(Path::new("/nonexistent/run"), None).unwrap_err();
        assert!(matches!(error, Error::NotRunning { .. }));
    }
}
