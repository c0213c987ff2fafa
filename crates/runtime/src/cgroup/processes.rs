//! Puts processes into a group, lists them, kills them.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Pid, Signal};

use super::folder::{Folder, write_once};
use super::{Error, Manager};

/// How long [`Manager::kill_all`] goes on killing what appears anew.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long processes that `cgroup.kill` reached may take to die before others are looked for, which are in v1 groups alone.
const GRACE: Duration = Duration::from_millis(20);

/// Opened files through which a process moves itself into a group. Make it before clone, use it in the child.
#[derive(Debug)]
pub struct Join {
    files: Vec<OwnedFd>,
}

impl Join {
    /// Moves the calling thread, the only one of its process, into the group: one write for each hierarchy. Takes
    /// no memory and no lock, so it may run between clone and exec.
    ///
    /// On v1 the file is `tasks` and the text "0", the one way in which the kernel need not stop every fork on the machine
    /// meanwhile (`cgroup_procs_write_start`).
    pub fn join_current(&self) -> Result<(), Errno> {
        for file in &self.files {
            write_once(file.as_fd(), "0")?;
        }
        Ok(())
    }
}

impl Manager {
    /// Opens what a child needs to move itself into the v1 hierarchies, and into v2 unless it was born there
    /// (`CLONE_INTO_CGROUP` with [`Manager::procs_fd`]).
    pub fn join(&self, born_in_unified: bool) -> Result<Join, Error> {
        let mut files = Vec::with_capacity(self.v1.len() + 1);
        let open = |folder: &Folder, name| {
            folder.open_to_write(name).map_err(|errno| folder.error("open", name, errno))
        };
        for group in &self.v1 {
            files.push(open(&group.folder, "tasks")?);
        }
        if let Some(folder) = self.unified.as_ref().filter(|_| !born_in_unified) {
            files.push(open(folder, "cgroup.procs")?);
        }
        Ok(Join { files })
    }

    /// Moves the process `pid`, with all its threads, into the group in every hierarchy.
    pub fn add(&self, pid: i32) -> Result<(), Error> {
        let pid = pid.to_string();
        self.folders().try_for_each(|folder| put(folder, &pid))
    }

    /// Moves the process `pid` into the group `below` this one, which is made where it is missing (`exec` with a sub-group).
    pub fn add_below(&self, below: &Path, pid: i32) -> Result<(), Error> {
        let plain = below.components().all(|part| matches!(part, std::path::Component::Normal(_)));
        if !plain || below.as_os_str().is_empty() {
            let value = format!("{below:?}");
            return Err(Error::Invalid {
                field: "sub-cgroup".into(),
                value,
                allowed: "a relative path without .. is wanted".into(),
            });
        }
        let pid = pid.to_string();
        for folder in self.folders() {
            match folder.make_below(below) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(folder.error("create a group in", "", errno)),
            }
            let inner =
                folder.open_below(below).map_err(|errno| folder.error("open a group in", "", errno))?;
            put(&inner, &pid)?;
        }
        Ok(())
    }

    /// Returns the processes of the group, with those of nested groups when `recursive`. Sorted, each once.
    pub fn pids(&self, recursive: bool) -> Result<Vec<i32>, Error> {
        let mut pids = Vec::new();
        if let Some(folder) = self.census() {
            collect(folder, recursive, &mut pids)?;
        }
        pids.sort_unstable();
        pids.dedup();
        Ok(pids)
    }

    /// Returns the folder to count processes in: one of a controller that nobody nests for other purposes.
    fn census(&self) -> Option<&Folder> {
        let v1 = ["pids", "devices", "freezer", "memory"].iter().find_map(|name| self.v1(name));
        v1.or(self.unified.as_ref()).or_else(|| self.folders().next())
    }

    /// Kills every process of the group and of nested ones with SIGKILL; it does not wait for them to be gone.
    ///
    /// With v2 (5.14) the kernel does it in one write, `cgroup.kill`. Else the group is frozen, so that nothing can fork
    /// away, each process is killed, and the group is thawed, until none is left.
    pub fn kill_all(&self) -> Result<(), Error> {
        let killed = self.unified.as_ref().is_some_and(|folder| folder.write("cgroup.kill", "1").is_ok());
        if !killed {
            return self.kill_each();
        }
        // A frozen v1 group keeps even killed processes.
        if self.v1("freezer").is_some() && self.is_frozen()? {
            self.thaw()?;
        }
        if self.v1.is_empty() || self.is_dead_within(GRACE)? {
            return Ok(());
        }
        self.kill_each()
    }

    /// Returns whether no process is alive any more, at once or within `grace`.
    fn is_dead_within(&self, grace: Duration) -> Result<bool, Error> {
        let start = Instant::now();
        loop {
            if !self.pids(true)?.into_iter().any(is_alive) {
                return Ok(true);
            }
            if start.elapsed() > grace {
                return Ok(false);
            }
            std::thread::sleep(Duration::from_micros(50));
        }
    }

    /// Kills by listing, for groups without `cgroup.kill` and for processes that left the v2 group.
    fn kill_each(&self) -> Result<(), Error> {
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            let alive: Vec<_> = self.pids(true)?.into_iter().filter(|pid| is_alive(*pid)).collect();
            if alive.is_empty() {
                return Ok(());
            }
            let frozen = self.v1("freezer").is_some() && self.freeze().is_ok();
            for pid in self.pids(true)? {
                kill(pid);
            }
            if frozen {
                self.thaw()?;
            }
            std::thread::sleep(Duration::from_micros(100));
        }
        let path = self.folders().next().map(|folder| folder.path().to_owned()).unwrap_or_default();
        Err(Error::Busy { path, waited_ms: u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX) })
    }
}

fn put(folder: &Folder, pid: &str) -> Result<(), Error> {
    folder
        .write("cgroup.procs", pid)
        .map_err(|errno| folder.error("move a process into", "cgroup.procs", errno))
}

/// Adds the processes of `folder` to `pids`. Groups that vanish meanwhile had none.
fn collect(folder: &Folder, recursive: bool, pids: &mut Vec<i32>) -> Result<(), Error> {
    match folder.read("cgroup.procs") {
        Ok(text) => pids.extend(text.split_whitespace().filter_map(|pid| pid.parse::<i32>().ok())),
        // A threaded v2 group: its processes are listed by the group above (cgroup-v2.rst "Threads").
        Err(Errno::OPNOTSUPP) => {}
        Err(Errno::NOENT | Errno::NODEV) => return Ok(()),
        Err(errno) => return Err(folder.error("read", "cgroup.procs", errno)),
    }
    if recursive {
        for name in folder.children().map_err(|errno| folder.error("list", "", errno))? {
            match folder.open_below(&name) {
                Ok(child) => collect(&child, true, pids)?,
                Err(Errno::NOENT) => {}
                Err(errno) => return Err(folder.error("open a group in", "", errno)),
            }
        }
    }
    Ok(())
}

/// Returns whether `pid` is neither gone nor dead and waiting to be reaped, nor outside of our process namespace (0).
fn is_alive(pid: i32) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
    !matches!(state, Some('Z' | 'X') | None)
}

fn kill(pid: i32) {
    // 0 stands for a process outside of our namespace, which kill(2) would read as our own group of processes.
    if let Some(pid) = Pid::from_raw(pid).filter(|pid| pid.as_raw_nonzero().get() > 0) {
        // It may be gone by now.
        let _ = rustix::process::kill_process(pid, Signal::KILL);
    }
}
