//! Seccomp: from a profile (runtime-spec `linux.seccomp`, or Docker's JSON) to an installed kernel filter.
//!
//! [`compile`] turns a profile into a [`Program`] without touching the system; [`load_or_compile`] puts a cache of
//! compiled programs in front; [`install`] hands one to the kernel. Nothing links libseccomp.

mod assemble;
mod cache;
mod codegen;
mod default;
mod docker;
mod error;
#[cfg(test)]
mod interpret;
mod listener;
mod rules;
mod syscalls;
mod table;
#[cfg(test)]
mod tests;

use std::os::fd::OwnedFd;
use std::path::Path;

use oci::runtime::LinuxSeccomp;

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
///
/// The meaning of a profile is libseccomp's and runc's; what that is, in detail, stands in docs/security.md.
pub fn compile(profile: &LinuxSeccomp, host: Arch) -> Result<Program, Error> {
    let policy = rules::read(profile, host)?;
    let instructions = codegen::generate(&policy);
    if instructions.len() > sys::seccomp::MAX_INSTRUCTIONS {
        return Err(Error::TooLong {
            instructions: instructions.len(),
            limit: sys::seccomp::MAX_INSTRUCTIONS,
        });
    }
    Ok(Program { instructions, flags: flags(profile, policy.notifies) })
}

/// Returns the flags of seccomp(2) for `profile`. `WAIT_KILLABLE_RECV` only speaks of notified calls, and the kernel refuses it without
/// a listener.
fn flags(profile: &LinuxSeccomp, notifies: bool) -> u32 {
    use oci::runtime::LinuxSeccompFilterFlag as Flag;
    use sys::seccomp::{
        FLAG_LOG, FLAG_NEW_LISTENER, FLAG_SPEC_ALLOW, FLAG_TSYNC, FLAG_TSYNC_ESRCH, FLAG_WAIT_KILLABLE_RECV,
    };
    let of_flag = |flag: &Flag| match flag {
        Flag::SeccompFilterFlagLog => FLAG_LOG,
        Flag::SeccompFilterFlagTsync if notifies => FLAG_TSYNC | FLAG_TSYNC_ESRCH,
        Flag::SeccompFilterFlagTsync => FLAG_TSYNC,
        Flag::SeccompFilterFlagSpecAllow => FLAG_SPEC_ALLOW,
        Flag::SeccompFilterFlagWaitKillableRecv if notifies => FLAG_WAIT_KILLABLE_RECV,
        Flag::SeccompFilterFlagWaitKillableRecv => 0,
    };
    let asked = profile.flags().iter().flatten().fold(0, |flags, flag| flags | of_flag(flag));
    asked | if notifies { FLAG_NEW_LISTENER } else { 0 }
}

/// Returns the program for `profile` on this machine: from `cache_dir` when it is there, else compiled and stored.
///
/// The folder is made when it is missing; it must be ours and closed to others, and each entry carries a checksum. A
/// damaged entry is compiled again; an entry that cannot be stored is no error.
pub fn load_or_compile(profile: &LinuxSeccomp, cache_dir: Option<&Path>) -> Result<Program, Error> {
    let host = Arch::host().ok_or_else(|| Error::Unsupported(std::env::consts::ARCH.into()))?;
    match cache_dir {
        Some(dir) => cache::load_or_compile(profile, host, dir),
        None => compile(profile, host),
    }
}

/// Installs `program` on the calling thread: one system call, no memory.
///
/// The caller has set `no_new_privs` or holds `CAP_SYS_ADMIN`. Returns the notification descriptor when a rule of the
/// profile notifies.
pub fn install(program: &Program) -> Result<Option<OwnedFd>, Error> {
    sys::seccomp::install(&program.instructions, program.flags).map_err(Error::Install)
}

pub use default::default_profile;
pub use docker::parse_docker_profile;
pub use listener::send_listener;
