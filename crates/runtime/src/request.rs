//! What a caller asks of the runtime, and what it gets back: plain types without behaviour.

use std::os::fd::OwnedFd;
use std::path::Path;

use oci::runtime::{LinuxNamespaceType, Process, Spec};

/// Where the root file system comes from.
#[derive(Debug)]
pub enum Rootfs {
    /// `root.path` of the spec, relative to the bundle.
    FromSpec,
    /// A detached mount tree (of `fsmount` or `open_tree`), which is attached inside the container's own mount namespace
    /// only. `root.path` of the spec is not looked at; `root.readonly` is.
    Mounted(OwnedFd),
}

/// The standard streams of a process.
#[derive(Debug)]
pub enum Stdio {
    /// The caller's own.
    Inherit,
    /// These three. They may be the same pipe, FIFO or file, duplicated.
    Fds {
        /// Becomes descriptor 0.
        stdin: OwnedFd,
        /// Becomes descriptor 1.
        stdout: OwnedFd,
        /// Becomes descriptor 2.
        stderr: OwnedFd,
    },
    /// A pseudo-terminal of the container's own devpts. Its master end is sent to `console_socket` where one is
    /// given, else it comes back to the caller.
    Terminal,
}

/// Who keeps the control groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CgroupDriver {
    /// Brig writes the cgroup file systems.
    #[default]
    Cgroupfs,
    /// systemd, asked over D-Bus.
    Systemd,
    /// Nobody: the process stays in the caller's groups and limits are refused.
    Disabled,
}

/// Asks for a small init of our own as process 1, which forwards signals and reaps (`--init`).
///
/// It stays in the image that is running already: nothing of the host is executed or mounted for it.
#[derive(Debug, Clone, Copy, Default)]
pub struct ReaperInit;

/// Everything that [`crate::create`] needs.
#[derive(Debug)]
pub struct CreateRequest<'a> {
    /// The container's name: `[A-Za-z0-9_+.-]`, not `.` or `..`, at most 1024 bytes.
    pub id: &'a str,
    /// The bundle folder; relative paths of the spec start here.
    pub bundle: &'a Path,
    /// The parsed `config.json`.
    pub spec: &'a Spec,
    /// The folder that holds one folder per container; made where it is missing.
    pub state_root: &'a Path,
    /// Where the root file system comes from.
    pub rootfs: Rootfs,
    /// The standard streams of the process.
    pub stdio: Stdio,
    /// A unix socket to which the master end of the terminal is sent.
    pub console_socket: Option<&'a Path>,
    /// The terminal's first size, columns and rows; overrides `process.consoleSize`.
    pub console_size: Option<(u16, u16)>,
    /// A file that gets the number of the process, as the caller sees it.
    pub pid_file: Option<&'a Path>,
    /// How many descriptors after 2 the process inherits.
    pub preserve_fds: u32,
    /// Change the root by moving the mount and `chroot`, for a host on initramfs.
    pub no_pivot: bool,
    /// Keep the caller's session keyring.
    pub no_new_keyring: bool,
    /// Who keeps the control groups.
    pub cgroup: CgroupDriver,
    /// Namespaces joined by descriptor instead of what the spec says of the same kind.
    pub join: Vec<(LinuxNamespaceType, OwnedFd)>,
    /// Make the process the child of the caller's parent (`CLONE_PARENT`).
    pub child_of_parent: bool,
    /// A small init of our own as process 1.
    pub reaper: Option<ReaperInit>,
    /// Folder of compiled seccomp filters; without one each start compiles.
    pub seccomp_cache: Option<&'a Path>,
}

/// A container that was created and waits to be started: by [`Created::start`], or later and from any process by
/// [`crate::start`]. Dropping it changes nothing.
#[derive(Debug)]
pub struct Created {
    /// The process number of the init, as the caller sees it.
    pub pid: i32,
    /// The init.
    pub pidfd: OwnedFd,
    /// The master end of the terminal, unless it went to a console socket.
    pub console: Option<OwnedFd>,
    /// What was not done and did not need to be, for the log: `cannot raise …`.
    pub warnings: Vec<String>,
    pub(crate) id: String,
    pub(crate) state_root: std::path::PathBuf,
}

/// Everything that [`crate::exec`] needs.
#[derive(Debug)]
pub struct ExecRequest<'a> {
    /// The container.
    pub id: &'a str,
    /// The folder that holds one folder per container.
    pub state_root: &'a Path,
    /// The process to run.
    pub process: &'a Process,
    /// Its standard streams.
    pub stdio: Stdio,
    /// A unix socket to which the master end of the terminal is sent.
    pub console_socket: Option<&'a Path>,
    /// The terminal's first size, columns and rows; overrides `process.consoleSize`.
    pub console_size: Option<(u16, u16)>,
    /// A file that gets the number of the process, as the caller sees it.
    pub pid_file: Option<&'a Path>,
    /// How many descriptors after 2 the process inherits.
    pub preserve_fds: u32,
    /// Make the process the child of the caller's parent (`CLONE_PARENT`).
    pub child_of_parent: bool,
    /// A group below the container's own.
    pub sub_cgroup: Option<&'a Path>,
    /// Run although the container is paused; without it that is refused.
    pub ignore_paused: bool,
    /// Folder of compiled seccomp filters; without one each start compiles.
    pub seccomp_cache: Option<&'a Path>,
}

/// A process that was started inside a container: its program runs already.
#[derive(Debug)]
pub struct Executed {
    /// The process number, as the caller sees it.
    pub pid: i32,
    /// The process.
    pub pidfd: OwnedFd,
    /// The master end of the terminal, unless it went to a console socket.
    pub console: Option<OwnedFd>,
    /// What was not done and did not need to be, for the log.
    pub warnings: Vec<String>,
}
