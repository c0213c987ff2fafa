//! Hooks: programs of the host that get the container's state on their standard input.

use std::collections::BTreeMap;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use oci::runtime::Hook;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde::Serialize;

use crate::error::{Doing, Error, Result};

/// What a hook reads. Source: runtime-spec runtime.md, "State".
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct HookState {
    pub(crate) oci_version: String,
    pub(crate) id: String,
    pub(crate) status: &'static str,
    pub(crate) pid: i32,
    pub(crate) bundle: PathBuf,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) annotations: BTreeMap<String, String>,
}

/// Runs hooks in order; the first that fails ends it.
pub(crate) fn run_all<'a>(
    hooks: impl Iterator<Item = &'a Hook>,
    state: &HookState,
    kind: &str,
) -> Result<()> {
    run_inside(hooks, state, kind, &[])
}

/// The same for hooks that are programs of the container: one that lists no environment gets `env`, the container's.
pub(crate) fn run_inside<'a>(
    hooks: impl Iterator<Item = &'a Hook>,
    state: &HookState,
    kind: &str,
    env: &[String],
) -> Result<()> {
    for (index, hook) in hooks.enumerate() {
        run(hook, state, &format!("{kind} hook {index} {:?}", hook.path()), env)?;
    }
    Ok(())
}

/// Runs hooks whose failure changes nothing any more; returns what failed.
pub(crate) fn run_each<'a>(
    hooks: impl Iterator<Item = &'a Hook>,
    state: &HookState,
    kind: &str,
) -> Vec<String> {
    let failed = hooks.enumerate().filter_map(|(index, hook)| {
        run(hook, state, &format!("{kind} hook {index} {:?}", hook.path()), &[]).err()
    });
    failed.map(|error| base::error::render_chain(&error)).collect()
}

fn run(hook: &Hook, state: &HookState, name: &str, inherited: &[String]) -> Result<()> {
    if !hook.path().is_absolute() {
        return Err(Error::invalid("hooks.path", hook.path().to_string_lossy(), "an absolute path"));
    }
    let input =
        serde_json::to_vec(state).map_err(|source| Error::Json { path: hook.path().clone(), source })?;
    let mut command = Command::new(hook.path());
    let args = hook.args().as_deref().unwrap_or_default();
    if let Some((own_name, rest)) = args.split_first() {
        command.arg0(own_name).args(rest);
    }
    // Only what the hook's own list says: the container's environment must not reach a program of the host.
    command.env_clear();
    for entry in hook.env().as_deref().unwrap_or(inherited) {
        let (key, value) = entry.split_once('=').unwrap_or((entry, ""));
        command.env(key, value);
    }
    command.current_dir(if state.bundle.is_dir() { state.bundle.clone() } else { "/".into() });
    let words = rustix::fs::memfd_create("hook", rustix::fs::MemfdFlags::CLOEXEC).map(std::fs::File::from);
    let words = words.doing(|| format!("keep the words of the {name}"))?;
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        // A file in memory: a hook that talks too much must not wait for us.
        .stderr(Stdio::from(words.try_clone().doing(|| "keep the hook's words".into())?))
        .spawn()
        .doing(|| format!("start the {name}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A hook that does not read its input may still succeed.
        let _ = stdin.write_all(&input);
    }
    let timeout = hook.timeout().and_then(|seconds| u64::try_from(seconds).ok()).map(Duration::from_secs);
    if let Err(error) = wait_at_most(child.id(), timeout) {
        // It has overstayed; killed and reaped, it cannot disturb what comes next.
        let _ = child.kill();
        let _ = child.wait();
        return Err(error).doing(|| format!("wait for the {name}"));
    }
    let status = child.wait().doing(|| format!("wait for the {name}"))?;
    if status.success() {
        return Ok(());
    }
    let said = read_some(&words);
    Err(std::io::Error::other(format!("{status}{}{said}", if said.is_empty() { "" } else { ": " })))
        .doing(|| format!("run the {name}"))
}

/// Reads the beginning of what a hook said.
fn read_some(words: &std::fs::File) -> String {
    let mut bytes = vec![0; 4096];
    let length = std::os::unix::fs::FileExt::read_at(words, &mut bytes, 0).unwrap_or(0);
    String::from_utf8_lossy(&bytes[..length]).trim().to_owned()
}

fn wait_at_most(pid: u32, timeout: Option<Duration>) -> std::io::Result<()> {
    let Some(timeout) = timeout.filter(|timeout| !timeout.is_zero()) else { return Ok(()) };
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(rustix::io::Errno::SRCH)?;
    let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
    let end = Instant::now() + timeout;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let left = Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: i64::from(left.subsec_nanos()) };
        match poll(&mut [PollFd::from_borrowed_fd(pidfd.as_fd(), PollFlags::IN)], Some(&left)) {
            Err(rustix::io::Errno::INTR) => {}
            Ok(0) => {
                let text = format!("it did not end within its timeout of {} s", timeout.as_secs());
                return Err(std::io::Error::new(std::io::ErrorKind::TimedOut, text));
            }
            result => return result.map(drop).map_err(Into::into),
        }
    }
}
