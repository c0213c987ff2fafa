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
mod hooks;
mod idmap;
mod init;
mod limits;
mod netdev;
pub mod plan;
mod procfs;
mod program;
pub mod request;
pub mod seccomp;
mod start;
pub mod state;
mod validate;

use std::path::Path;

use oci::runtime::LinuxResources;

pub use error::{Error, Result};
pub use request::{CgroupDriver, CreateRequest, Created, ExecRequest, Executed, ReaperInit, Rootfs, Stdio};
pub use state::{ContainerState, Status};

/// The version of the runtime specification that this crate implements.
pub const OCI_VERSION: &str = "1.3.0";

/// Makes a container up to the point where its init waits for [`start`]. Whatever fails is undone before it returns.
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

/// Runs a process inside a running container.
pub fn exec(_request: ExecRequest<'_>) -> Result<Executed> {
    Err(Error::unsupported("exec", "it is being written"))
}

/// Returns what is recorded of a container, compared with the kernel.
pub fn state(state_root: &Path, id: &str) -> Result<ContainerState> {
    state::StateDir::open(state_root, id)?.state()
}

/// Returns the states of all containers, by name. Folders that hold no state yet are left out.
pub fn list(_state_root: &Path) -> Result<Vec<ContainerState>> {
    Err(Error::unsupported("list", "it is being written"))
}

/// Sends a signal to the init, or to every process of the container.
pub fn kill(_state_root: &Path, _id: &str, _signal: i32, _all: bool) -> Result<()> {
    Err(Error::unsupported("kill", "it is being written"))
}

/// Removes a stopped container: its groups, its state; runs the poststop hooks. With `force` a living one is killed first,
/// what a crashed create left is removed, and an unknown container is no error.
pub fn delete(_state_root: &Path, _id: &str, _force: bool) -> Result<()> {
    Err(Error::unsupported("delete", "it is being written"))
}

/// Freezes every process of the container.
pub fn pause(_state_root: &Path, _id: &str) -> Result<()> {
    Err(Error::unsupported("pause", "it is being written"))
}

/// Thaws what [`pause`] froze.
pub fn resume(_state_root: &Path, _id: &str) -> Result<()> {
    Err(Error::unsupported("resume", "it is being written"))
}

/// Changes limits of a living container; what `resources` does not name stays.
pub fn update(_state_root: &Path, _id: &str, _resources: &LinuxResources) -> Result<()> {
    Err(Error::unsupported("update", "it is being written"))
}

/// Returns the processes of a container, by the caller's process numbers.
pub fn ps(_state_root: &Path, _id: &str) -> Result<Vec<i32>> {
    Err(Error::unsupported("ps", "it is being written"))
}
