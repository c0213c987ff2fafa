//! Who makes the processes: the one place from which the monitor calls the runtime.
//!
//! The monitor forks a *creator* for each container and each exec session. All memory of parsing and setting up is the
//! creator's and goes with it; `CLONE_PARENT` makes the new process the monitor's child. Tests bring a plain creator.

use std::os::fd::OwnedFd;
use std::path::PathBuf;

use base::{ErrorKind, Kinded};
use oci::runtime::{LinuxNamespaceType, Process, Spec};
use runtime::{CgroupDriver, CreateRequest, ExecRequest, ReaperInit, Rootfs, Stdio};

use crate::launch::{CgroupManager, Launch, LaunchFds};

/// Makes the processes of containers. Except for [`Creator::is_paused`], [`Creator::oom_killed`] and [`Creator::delete`] it is called in a forked
/// process, which ends afterwards.
pub trait Creator {
    /// Makes the container up to the point where its init waits, as a child of the caller's parent.
    fn create(&self, job: CreateJob<'_>) -> Result<MadeInit, Refusal>;

    /// Runs a process inside the container, as a child of the caller's parent.
    fn exec(&self, job: ExecJob<'_>) -> Result<MadeProcess, Refusal>;

    /// Says whether the container's processes are frozen.
    fn is_paused(&self, _launch: &Launch) -> bool {
        false
    }

    /// Says whether the kernel killed a process of the container for want of memory. Called once the init has ended.
    fn oom_killed(&self, launch: &Launch) -> bool;

    /// Undoes [`Creator::create`]: of a container that was not started, or could not be.
    fn delete(&self, launch: &Launch);
}

/// What to create.
#[derive(Debug)]
pub struct CreateJob<'a> {
    /// The container.
    pub launch: &'a Launch,
    /// What it is made from.
    pub fds: LaunchFds,
    /// Its standard streams; `None` for a terminal.
    pub stdio: Option<[OwnedFd; 3]>,
}

/// What to run.
#[derive(Debug)]
pub struct ExecJob<'a> {
    /// The container.
    pub launch: &'a Launch,
    /// `process` of `config.json`.
    pub process: &'a str,
    /// Its standard streams; `None` for a terminal.
    pub stdio: Option<[OwnedFd; 3]>,
}

/// An init that waits.
pub struct MadeInit {
    /// The process.
    pub process: MadeProcess,
    /// Lets it run; fails when the program cannot be executed.
    pub start: Box<dyn FnOnce() -> Result<(), Refusal>>,
}

impl std::fmt::Debug for MadeInit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MadeInit").field("process", &self.process).finish_non_exhaustive()
    }
}

/// A process that was made.
#[derive(Debug)]
pub struct MadeProcess {
    /// Its number, as the monitor sees it.
    pub pid: i32,
    /// The process.
    pub pidfd: OwnedFd,
    /// The master end of its terminal.
    pub console: Option<OwnedFd>,
    /// What was not done and did not need to be.
    pub warnings: Vec<String>,
}

/// Why a process was not made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What a caller can do about it.
    pub kind: ErrorKind,
    /// The rendered chain of causes.
    pub text: String,
}

impl Refusal {
    /// Renders an error with its causes.
    pub fn of<E: Kinded + 'static>(error: &E) -> Self {
        Self { kind: error.kind(), text: base::error::render_chain(error) }
    }
}

impl From<runtime::Error> for Refusal {
    fn from(error: runtime::Error) -> Self {
        Self::of(&error)
    }
}

/// The real creator: Brig's own runtime.
#[derive(Debug, Clone, Copy, Default)]
pub struct RuntimeCreator;

impl Creator for RuntimeCreator {
    fn create(&self, job: CreateJob<'_>) -> Result<MadeInit, Refusal> {
        let launch = job.launch;
        let spec: Spec = load_spec(&launch.bundle.join("config.json"))?;
        let created = runtime::create(CreateRequest {
            id: launch.id.as_str(),
            bundle: &launch.bundle,
            spec: &spec,
            state_root: &launch.state_root,
            rootfs: job.fds.rootfs.map_or(Rootfs::FromSpec, Rootfs::Mounted),
            stdio: stdio(job.stdio),
            console_socket: None,
            console_size: launch.console_size,
            pid_file: None,
            preserve_fds: 0,
            no_pivot: false,
            no_new_keyring: false,
            cgroup: driver(launch.cgroup),
            join: [(LinuxNamespaceType::User, job.fds.userns), (LinuxNamespaceType::Network, job.fds.netns)]
                .into_iter()
                .filter_map(|(kind, fd)| Some((kind, fd?)))
                .collect(),
            child_of_parent: true,
            reaper: launch.init.then_some(ReaperInit),
            seccomp_cache: launch.seccomp_cache.as_deref(),
        })?;
        let (state_root, id) = (launch.state_root.clone(), launch.id.clone());
        Ok(MadeInit {
            process: MadeProcess {
                pid: created.pid,
                pidfd: created.pidfd,
                console: created.console,
                warnings: created.warnings,
            },
            start: Box::new(move || Ok(runtime::start(&state_root, id.as_str())?)),
        })
    }

    fn exec(&self, job: ExecJob<'_>) -> Result<MadeProcess, Refusal> {
        let process: Process = serde_json::from_str(job.process).map_err(|error| Refusal {
            kind: ErrorKind::Invalid,
            text: format!("cannot parse the process: {error}"),
        })?;
        let executed = runtime::exec(ExecRequest {
            id: job.launch.id.as_str(),
            state_root: &job.launch.state_root,
            process: &process,
            stdio: stdio(job.stdio),
            console_socket: None,
            console_size: None,
            pid_file: None,
            preserve_fds: 0,
            child_of_parent: true,
            sub_cgroup: None,
            ignore_paused: false,
            seccomp_cache: job.launch.seccomp_cache.as_deref(),
        })?;
        Ok(MadeProcess {
            pid: executed.pid,
            pidfd: executed.pidfd,
            console: executed.console,
            warnings: executed.warnings,
        })
    }

    fn is_paused(&self, launch: &Launch) -> bool {
        runtime::state(&launch.state_root, launch.id.as_str())
            .is_ok_and(|state| state.status == runtime::Status::Paused)
    }

    fn oom_killed(&self, launch: &Launch) -> bool {
        // What cannot be read is not known to have happened.
        runtime::oom_kills(&launch.state_root, launch.id.as_str()).is_ok_and(|kills| kills > 0)
    }

    fn delete(&self, launch: &Launch) {
        // Nobody is left to tell: the engine deletes again, forced, and reports.
        let _ = runtime::delete(&launch.state_root, launch.id.as_str(), true);
    }
}

fn load_spec(path: &PathBuf) -> Result<Spec, Refusal> {
    let text = std::fs::read(path).map_err(|error| Refusal {
        kind: if error.kind() == std::io::ErrorKind::NotFound {
            ErrorKind::NotFound
        } else {
            ErrorKind::Internal
        },
        text: format!("cannot read {path:?}: {error}"),
    })?;
    serde_json::from_slice(&text).map_err(|error| Refusal {
        kind: ErrorKind::Invalid,
        text: format!("cannot parse {path:?}: {error}"),
    })
}

fn stdio(fds: Option<[OwnedFd; 3]>) -> Stdio {
    match fds {
        Some([stdin, stdout, stderr]) => Stdio::Fds { stdin, stdout, stderr },
        None => Stdio::Terminal,
    }
}

fn driver(manager: CgroupManager) -> CgroupDriver {
    match manager {
        CgroupManager::Cgroupfs => CgroupDriver::Cgroupfs,
        CgroupManager::Systemd => CgroupDriver::Systemd,
        CgroupManager::Disabled => CgroupDriver::Disabled,
    }
}
