//! What the runtime does for an init that exists already: maps, limits, links, hooks, descriptors, until it waits to be started.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use oci::runtime::{LinuxIdMapping, Spec};
use rustix::process::{WaitId, WaitIdOptions, waitid};

use crate::binds::Bind;
use crate::channel::{Channel, FromInit, ToInit};
use crate::error::{Doing, Error, Result};
use crate::hooks::{self, HookState};
use crate::plan::BindSource;
use crate::procfs::Procfs;
use crate::state::Record;
use crate::{binds, console, idmap, limits, start};

/// An init under way, and what is needed to serve it.
#[derive(Debug)]
pub(super) struct Talk<'a> {
    pub(super) channel: &'a Channel,
    pub(super) spec: &'a Spec,
    pub(super) record: &'a Record,
    pub(super) pid: i32,
    pub(super) pidfd: BorrowedFd<'a>,
    /// What the init may have opened.
    pub(super) sources: &'a [BindSource],
    pub(super) console_socket: Option<&'a Path>,
}

impl Talk<'_> {
    /// Does what must be done from outside before the init goes on, or beside it. Adds warnings.
    pub(super) fn help(&self, new_user: bool, warnings: &mut Vec<String>) -> Result<()> {
        if new_user {
            let linux = self.spec.linux().as_ref();
            let maps = |maps: &Option<Vec<LinuxIdMapping>>| maps.clone().unwrap_or_default();
            let users = linux.map(|linux| maps(linux.uid_mappings())).unwrap_or_default();
            let groups = linux.map(|linux| maps(linux.gid_mappings())).unwrap_or_default();
            idmap::write_maps(self.pid, &users, &groups)?;
            self.tell(ToInit::Go)?;
        }
        if let Some(process) = self.spec.process() {
            warnings.extend(limits::raise(self.pid, process.rlimits().as_deref().unwrap_or_default()));
            warnings.extend(oom_score(self.pid, process.oom_score_adj())?);
        }
        crate::netdev::move_links(self.spec, self.pid)
    }

    /// Talks with the init until it waits to be started. Returns the terminal, unless it went to a socket.
    ///
    /// `opened` are sources that were opened ahead, by their places.
    pub(super) fn serve(
        &self,
        opened: &mut [Option<Bind>],
        warnings: &mut Vec<String>,
    ) -> Result<Option<OwnedFd>> {
        let mut console = None;
        loop {
            match self.channel.listen().doing(|| "hear from the init".into())? {
                Some(FromInit::Ready) => return Ok(console),
                Some(FromInit::Warning(text)) => warnings.push(text),
                Some(FromInit::Console(master)) => match self.console_socket {
                    Some(path) => console::send(path, &master)?,
                    None => console = Some(master),
                },
                Some(FromInit::Listener(listener)) => self.deliver(listener)?,
                Some(FromInit::WantBind(index)) => {
                    let source = self.sources.get(index).ok_or_else(|| self.died())?;
                    let ahead = opened.get_mut(index).and_then(Option::take);
                    let bind = ahead.map_or_else(|| binds::open(source), Ok)?;
                    self.channel.give_bind(&bind).doing(|| "hand a bind mount over".into())?;
                }
                Some(FromInit::RunHooks) => {
                    let state = start::hook_state(self.record, "creating");
                    host_hooks(self.spec, &HookState { pid: self.pid, ..state })?;
                    self.tell(ToInit::HooksDone)?;
                }
                Some(FromInit::Failed(kind, text)) => return Err(Error::Inside { kind, text }),
                Some(FromInit::Child(..)) | None => return Err(self.died()),
            }
        }
    }

    pub(super) fn tell(&self, message: ToInit) -> Result<()> {
        self.channel.tell(message).doing(|| "let the init go on".into())
    }

    fn deliver(&self, listener: OwnedFd) -> Result<()> {
        let profile = self.spec.linux().as_ref().and_then(|linux| linux.seccomp().as_ref());
        let profile = profile.ok_or_else(|| self.died())?;
        let record = Record { pid: self.pid, ..self.record.clone() };
        start::deliver_listener(profile, &record, self.pid, listener)
    }

    /// The init ended without a word: killed, most likely for want of memory.
    pub(super) fn died(&self) -> Error {
        let flags = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        let status = waitid(WaitId::PidFd(self.pidfd.as_fd()), flags).ok().flatten();
        let how = match status.and_then(|status| status.terminating_signal()) {
            Some(signal) => format!("it was killed by signal {signal} (is the memory limit too low?)"),
            None => "it is gone".to_owned(),
        };
        let text = format!("the container's init ended before it was ready: {how}");
        Error::Inside { kind: base::ErrorKind::Internal, text }
    }
}

/// Sets the preference of the out-of-memory killer; lowering it needs rights that a rootless caller has not.
pub(crate) fn oom_score(pid: i32, score: Option<i32>) -> Result<Option<String>> {
    let Some(score) = score else { return Ok(None) };
    let proc = Procfs::host().doing(|| "open /proc".into())?;
    match proc.write(&format!("{pid}/oom_score_adj"), score.to_string().as_bytes()) {
        Ok(()) => Ok(None),
        Err(error @ (rustix::io::Errno::ACCESS | rustix::io::Errno::PERM)) => {
            Ok(Some(format!("cannot set oom_score_adj to {score}: {error}")))
        }
        Err(error) => Err(error).doing(|| format!("set oom_score_adj to {score}")),
    }
}

fn host_hooks(spec: &Spec, state: &HookState) -> Result<()> {
    let Some(all) = spec.hooks() else { return Ok(()) };
    #[allow(deprecated, reason = "engines still use prestart hooks")]
    let prestart = all.prestart().iter().flatten();
    // The words of the time when these were the only ones: runtime-spec 1.0.
    hooks::run_all(prestart, &HookState { status: "created", ..state.clone() }, "prestart")?;
    hooks::run_all(all.create_runtime().iter().flatten(), state, "createRuntime")
}

/// Writes the process number, by rename: a reader never sees half of it.
pub(crate) fn write_pid_file(path: &Path, pid: i32) -> Result<()> {
    let what = || format!("write the pid file {path:?}");
    let name =
        path.file_name().ok_or_else(|| Error::invalid("pid file", path.to_string_lossy(), "a file"))?;
    let next = path.with_file_name(format!(".{}.{}", name.to_string_lossy(), std::process::id()));
    std::fs::write(&next, pid.to_string()).doing(what)?;
    std::fs::rename(&next, path).doing(what)
}
