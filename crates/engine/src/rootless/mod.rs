//! Brig for a plain user: the process becomes root of a user namespace before it opens the engine.
//!
//! ```text
//! a living process of ours? ── yes ──▶ join its user namespace ─┐
//!            │ no                                               ├─▶ mount namespace of our own ─▶ as root from here on
//!            ▼                                                  │
//! child with a new one, newuidmap, newgidmap ──▶ join it ───────┘
//! ```
//! Nothing is executed anew, so standard input, the working directory and the arguments stay as they are. All commands that
//! find each other alive share one namespace; two that do not (nothing ran in between) have equal mappings, so files
//! and the monitor's judgement of its callers are the same. See docs/design/rootless.md.

pub(crate) mod delegated;
mod ids;
mod limits;
pub(crate) mod make;
mod registry;
pub(crate) mod usermode;

use std::fs::{self, File};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;
use std::sync::OnceLock;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use rustix::mount::{MountPropagationFlags, mount_change};
use rustix::process::DumpableBehavior;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use sys::process::clone_flags;

use crate::Roots;
use crate::error::{Error, IoContext, Result};

/// The user that called, once this process has become root of a namespace.
static CALLER: OnceLock<u32> = OnceLock::new();
/// What is true of the namespace that this process is in.
static STANDING: OnceLock<Standing> = OnceLock::new();

#[derive(Debug, Clone, Copy)]
pub(crate) struct Standing {
    pub(crate) rootless: bool,
    pub(crate) highest_uid: u32,
    pub(crate) highest_gid: u32,
    /// What the machine calls our user 0 and our group 0.
    pub(crate) own: (u32, u32),
}

/// Returns the user that called the program, as the machine numbers it.
pub fn caller() -> u32 {
    CALLER.get().copied().unwrap_or_else(|| rustix::process::geteuid().as_raw())
}

/// Says whether this process has not the rights of the machine's root: it is a plain user, or root of a user namespace.
pub fn is_rootless() -> bool {
    standing().rootless
}

/// Refuses users and groups that the namespace does not have.
pub(crate) fn check_ids(uid: u32, groups: &[u32]) -> Result<()> {
    let standing = standing();
    let refuse = |what: &str, id: u32, file: &str, highest: u32| {
        Err(Error::Invalid(format!(
            "cannot run as {what} {id}: {file} gives you numbers up to {highest} inside containers; have root add a range to it"
        )))
    };
    if uid > standing.highest_uid {
        return refuse("user", uid, "/etc/subuid", standing.highest_uid);
    }
    match groups.iter().find(|group| **group > standing.highest_gid) {
        Some(group) => refuse("group", *group, "/etc/subgid", standing.highest_gid),
        None => Ok(()),
    }
}

/// Reads what numbers this process has, once.
pub(crate) fn standing() -> Standing {
    let read = || {
        let users = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
        let groups = fs::read_to_string("/proc/self/gid_map").unwrap_or_default();
        let whole = users.split_whitespace().eq(["0", "0", "4294967295"]);
        Standing {
            rootless: !whole || !rustix::process::geteuid().is_root(),
            highest_uid: ids::highest(&users).unwrap_or(0),
            highest_gid: ids::highest(&groups).unwrap_or(0),
            own: (ids::outside_of_root(&users), ids::outside_of_root(&groups)),
        }
    };
    *STANDING.get_or_init(read)
}

/// Becomes root of a user namespace when a plain user calls; does nothing for root. Returns what the user should know.
///
/// The calling process must have one thread.
pub fn enter(roots: &Roots) -> Result<Option<String>> {
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    if uid == 0 {
        return Ok(None);
    }
    make_run_root(&roots.run, uid)?;
    let registry = registry::Registry::open(&roots.run)?;
    let lock_path = roots.run.join("userns.lock");
    let lock = File::options().create(true).append(true).open(&lock_path).at("open", &lock_path)?;
    flock(&lock, FlockOperation::LockExclusive).map_err(std::io::Error::from).at("lock", &lock_path)?;
    let living = registry.living(uid, roots);
    let (namespace, warning) = match living {
        Some(namespace) => (namespace, None),
        None => make::namespace(uid, gid)?,
    };
    registry.add_self()?;
    move_into_link_name_space(std::os::fd::AsFd::as_fd(&namespace), Some(LinkNameSpaceType::User))
        .map_err(|errno| no_namespace("enter the user namespace", errno))?;
    drop(lock);
    // What a process of other rights may look at is closed by a change of rights; our own files in /proc are needed.
    rustix::process::set_dumpable_behavior(DumpableBehavior::Dumpable)
        .map_err(|errno| no_namespace("open /proc to this process", errno))?;
    sys::process::unshare(clone_flags::NEWNS)
        .map_err(|errno| no_namespace("make a mount namespace in the user namespace", errno))?;
    // What the host mounts later is seen; what is mounted here stays here.
    mount_change("/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC)
        .map_err(|errno| no_namespace("keep mounts to this process", errno))?;
    // Both are set once; this is the only place that sets the first, and nobody asked the second before.
    let _ = CALLER.set(uid);
    crate::timings::mark("user namespace");
    Ok(warning)
}

/// Refuses `unshare` to root, who is in no user namespace of Brig's.
pub fn check_unshare() -> Result<()> {
    match rustix::process::geteuid().is_root() {
        true => Err(Error::Invalid(
            "please use unshare as a plain user: root's containers live in the machine's user namespace"
                .to_owned(),
        )),
        false => Ok(()),
    }
}

/// Becomes the program `argv`, the user's shell when it is empty.
pub fn execute(argv: &[String]) -> Result<std::convert::Infallible> {
    use std::os::unix::process::CommandExt as _;
    let shell = std::env::var("SHELL").ok().filter(|shell| shell.starts_with('/'));
    let shell = [shell.unwrap_or_else(|| "/bin/sh".to_owned())];
    let argv = if argv.is_empty() { &shell } else { argv };
    let error = std::process::Command::new(&argv[0]).args(&argv[1..]).exec();
    let (kind, text) = match error.kind() {
        std::io::ErrorKind::NotFound => {
            (base::ErrorKind::CommandNotFound, "executable file not found in $PATH")
        }
        _ => (base::ErrorKind::CommandNotExecutable, "it cannot be executed"),
    };
    Err(Error::Part { doing: format!("cannot run {:?}: {text}", argv[0]), kind, source: Box::new(error) })
}

/// Makes the run root's parent where it is a folder of ours below /tmp: somebody else may have made it before us.
fn make_run_root(run: &Path, uid: u32) -> Result<()> {
    if let Some(parent) = run.parent().filter(|parent| parent.starts_with("/tmp") && !parent.exists()) {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(parent).at("make the folder", parent)?;
    }
    fs::DirBuilder::new().recursive(true).mode(0o711).create(run).at("make the folder", run)?;
    for folder in run.ancestors().take(2) {
        // Anybody may have put a link into /tmp; elsewhere a link is the owner's own.
        let shared = folder.starts_with("/tmp");
        let meta = if shared { fs::symlink_metadata(folder) } else { fs::metadata(folder) };
        let meta = meta.at("look at", folder)?;
        let sticky = meta.mode() & 0o1000 != 0;
        let others = meta.mode() & 0o022 != 0 && !sticky;
        let owner = meta.uid() == uid || (folder != run && meta.uid() == 0);
        if others || !owner || !meta.is_dir() {
            return Err(Error::Unavailable(format!(
                "cannot use {run:?} for running containers: {folder:?} is in another user's hands; set XDG_RUNTIME_DIR or --run-root to a folder of your own"
            )));
        }
    }
    Ok(())
}

/// The error of a kernel or a machine that forbids what rootless containers need, with what to do about it.
fn no_namespace(action: &str, errno: Errno) -> Error {
    let setting = |name: &str| fs::read_to_string(name).ok().map(|text| text.trim().to_owned());
    let advice = match errno {
        Errno::NOSPC | Errno::USERS
            if setting("/proc/sys/user/max_user_namespaces").as_deref() == Some("0") =>
        {
            "user namespaces are switched off on this machine: its owner can allow them with `sysctl -w user.max_user_namespaces=15000`"
        }
        _ if setting("/proc/sys/kernel/unprivileged_userns_clone").as_deref() == Some("0") => {
            "only root may make user namespaces on this machine: its owner can allow it with `sysctl -w kernel.unprivileged_userns_clone=1`"
        }
        _ if setting("/proc/sys/kernel/apparmor_restrict_unprivileged_userns").as_deref() == Some("1") => {
            "AppArmor keeps user namespaces from programs without a profile on this machine: its owner can give brig one, or allow all with `sysctl -w kernel.apparmor_restrict_unprivileged_userns=0`"
        }
        Errno::INVAL => "the program has more than one thread, or the kernel has no user namespaces",
        _ => "run brig as root, or ask the machine's owner to allow user namespaces",
    };
    Error::System { action: format!("{action} ({advice})"), source: errno.into() }
}
