//! An OCI runtime and nothing else: a spec comes in, an isolated process comes out.
//!
//! The verbs are functions ([`create`], [`start`], [`exec`], [`kill`], [`delete`], …) that work on a *state root*, a
//! folder with one folder per container. [`cli`] is runc's command line over them. Callers must be single-threaded: a process
//! that enters namespaces has one thread, and between clone and exec nothing may wait for a lock.
//!
//! It knows no image, no network set-up and no log. Decisions are pure functions ([`plan`]); the init process
//! ([`init`]) applies them in a flat loop.

mod binds;
mod caps;
pub mod cgroup;
mod channel;
pub mod cli;
mod clock;
mod console;
mod create;
pub mod defaults;
pub mod error;
mod exec;
pub mod features;
pub mod guard;
mod hooks;
mod idmap;
mod init;
mod lifecycle;
mod limits;
mod netdev;
pub mod plan;
mod procfs;
mod program;
pub mod request;
pub mod seccomp;
mod spawn;
mod start;
pub mod state;
mod unguard;
mod validate;
pub mod view;

use std::path::Path;

use oci::runtime::LinuxResources;

pub use error::{Error, Result};
pub use request::{CgroupDriver, CreateRequest, Created, ExecRequest, Executed, ReaperInit, Rootfs, Stdio};
pub use state::{ContainerState, Status};

/// The version of the runtime specification that this crate implements.
pub const OCI_VERSION: &str = "1.3.0";

/// Makes a container up to the point where its init waits for [`start`]. Whatever fails is undone before it returns.
///
/// The caller must run from a protected program ([`guard::ensure_protected`], [`guard::protected_exe`]).
pub fn create(request: CreateRequest<'_>) -> Result<Created> {
    create::create(request)
}

/// Lets the waiting init run the user's program. Fails with the kind `CommandNotFound` or `CommandNotExecutable` when
/// the program cannot be executed.
pub fn start(state_root: &Path, id: &str) -> Result<()> {
    start::start(&state::StateDir::open(state_root, id)?)
}

impl Created {
    /// Does what [`start`] does.
    pub fn start(self) -> Result<()> {
        start(&self.state_root, &self.id)
    }
}

/// Runs a process inside a running container. The same holds for the caller's program as for [`create`].
pub fn exec(request: ExecRequest<'_>) -> Result<Executed> {
    exec::exec(request)
}

/// Returns what is recorded of a container, compared with the kernel.
pub fn state(state_root: &Path, id: &str) -> Result<ContainerState> {
    state::StateDir::open(state_root, id)?.state()
}

/// Returns the states of all containers, by name. Folders that hold no state yet are left out.
pub fn list(state_root: &Path) -> Result<Vec<ContainerState>> {
    lifecycle::list(state_root)
}

/// Sends a signal to the init, or to every process of the container.
pub fn kill(state_root: &Path, id: &str, signal: i32, all: bool) -> Result<()> {
    lifecycle::kill(state_root, id, signal, all)
}

/// Removes a stopped container, or one that was never started: its groups, its state; runs the poststop hooks. With `force` a living one is killed first,
/// what a crashed create left is removed, and an unknown container is no error. Returns the poststop hooks that failed.
pub fn delete(state_root: &Path, id: &str, force: bool) -> Result<Vec<String>> {
    lifecycle::delete(state_root, id, force)
}

/// Freezes every process of the container.
pub fn pause(state_root: &Path, id: &str) -> Result<()> {
    lifecycle::freeze(state_root, id, true)
}

/// Thaws what [`pause`] froze.
pub fn resume(state_root: &Path, id: &str) -> Result<()> {
    lifecycle::freeze(state_root, id, false)
}

/// Changes limits of a living container; what `resources` does not name stays.
pub fn update(state_root: &Path, id: &str, resources: &LinuxResources) -> Result<()> {
    lifecycle::update(state_root, id, resources)
}

/// Returns the processes of a container, by the caller's process numbers.
pub fn ps(state_root: &Path, id: &str) -> Result<Vec<i32>> {
    lifecycle::ps(state_root, id)
}

/// Measures a container's use of resources.
pub fn stats(state_root: &Path, id: &str) -> Result<cgroup::Stats> {
    lifecycle::stats(state_root, id)
}

/// Returns where the control group of a container is.
pub fn control_group(state_root: &Path, id: &str) -> Result<cgroup::CgroupPaths> {
    lifecycle::recorded(state_root, id).map(|(_, record)| record.cgroup)
}

/// Returns how many processes of a container the kernel has killed for want of memory. Its init may have ended.
pub fn oom_kills(state_root: &Path, id: &str) -> Result<u64> {
    lifecycle::oom_kills(state_root, id)
}

/// Returns the names of all capabilities that Brig knows, `CAP_CHOWN` and so on.
pub fn capability_names() -> Vec<String> {
    caps::names()
}
