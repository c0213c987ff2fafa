//! Seccomp: from a profile (runtime-spec `linux.seccomp`, or Docker's JSON) to an installed kernel filter.
//!
//! [`compile`] turns a profile into a [`Program`] without touching the system; [`load_or_compile`] puts a cache of
//! compiled programs in front; [`install`] hands one to the kernel. Nothing links libseccomp.

mod error;

use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;

use oci::runtime::{LinuxSeccomp, State};

pub use error::Error;
pub use sys::seccomp::Instruction;

/// A processor architecture whose system calls the compiler knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Arch {
    /// 64-bit x86.
    X86_64,
    /// 32-bit x86, also under a 64-bit kernel.
    X86,
    /// x86-64 with 32-bit pointers; shares the audit number of [`Arch::X86_64`].
    X32,
    /// 64-bit Arm.
    Aarch64,
    /// 32-bit Arm (EABI), also under a 64-bit kernel.
    Arm,
}

impl Arch {
    /// Returns the architecture that this program was built for; `None` when the compiler has no table for it.
    pub const fn host() -> Option<Self> {
        if cfg!(all(target_arch = "x86_64", target_pointer_width = "64")) {
            Some(Self::X86_64)
        } else if cfg!(target_arch = "x86") {
            Some(Self::X86)
        } else if cfg!(target_arch = "aarch64") {
            Some(Self::Aarch64)
        } else if cfg!(target_arch = "arm") {
            Some(Self::Arm)
        } else {
            None
        }
    }
}

/// A kernel version, major and minor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct KernelVersion {
    /// The first number.
    pub major: u32,
    /// The second number.
    pub minor: u32,
}

/// A compiled filter: instructions and the flags to install them with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    instructions: Vec<Instruction>,
    flags: u32,
}

impl Program {
    /// Returns the instructions.
    pub fn instructions(&self) -> &[Instruction] {
        &self.instructions
    }

    /// Returns the flags for seccomp(2), `FLAG_NEW_LISTENER` included when a rule notifies.
    pub fn flags(&self) -> u32 {
        self.flags
    }

    /// Returns whether [`install`] will answer with a notification descriptor.
    pub fn has_listener(&self) -> bool {
        self.flags & sys::seccomp::FLAG_NEW_LISTENER != 0
    }
}

/// Compiles `profile` for a machine of architecture `host`.
pub fn compile(profile: &LinuxSeccomp, host: Arch) -> Result<Program, Error> {
    let _ = (profile, host);
    Err(Error::Unsupported("the compiler".into()))
}

/// Returns the program for `profile` on this machine, from `cache_dir` when it is there, else compiled and stored.
pub fn load_or_compile(profile: &LinuxSeccomp, cache_dir: Option<&Path>) -> Result<Program, Error> {
    let _ = cache_dir;
    let host = Arch::host().ok_or_else(|| Error::Unsupported(std::env::consts::ARCH.into()))?;
    compile(profile, host)
}

/// Installs `program` on the calling thread: one system call, no memory.
///
/// The caller has set `no_new_privs` or holds `CAP_SYS_ADMIN`. Returns the notification descriptor when a rule of the
/// profile notifies.
pub fn install(program: &Program) -> Result<Option<OwnedFd>, Error> {
    sys::seccomp::install(&program.instructions, program.flags).map_err(Error::Install)
}

/// Sends the notification descriptor of a container to its agent, as the runtime-spec's `listenerPath` wants it:
/// one `ContainerProcessState` document with the descriptor beside it (`SCM_RIGHTS`).
///
/// `pid` is the process that carries the filter (`exec` differs from the init in `state`), `metadata` the profile's
/// `listenerMetadata`.
pub fn send_listener(
    path: &Path,
    listener: BorrowedFd<'_>,
    pid: i32,
    metadata: Option<&str>,
    state: &State,
) -> Result<(), Error> {
    let _ = (path, listener, pid, metadata, state);
    Err(Error::Unsupported("the listener".into()))
}

/// Returns the default profile for a process with the capabilities `caps` (names such as `CAP_SYS_ADMIN`).
pub fn default_profile<S: AsRef<str>>(caps: &[S], arch: Arch, kernel: KernelVersion) -> LinuxSeccomp {
    let _ = (caps, arch, kernel);
    LinuxSeccomp::default()
}

/// Parses a profile in Docker's JSON format (`archMap`, `includes`, `excludes`); plain runtime-spec JSON is a subset.
pub fn parse_docker_profile<S: AsRef<str>>(
    json: &[u8],
    caps: &[S],
    arch: Arch,
    kernel: KernelVersion,
) -> Result<LinuxSeccomp, Error> {
    let _ = (caps, arch, kernel);
    serde_json::from_slice(json).map_err(Error::Json)
}
