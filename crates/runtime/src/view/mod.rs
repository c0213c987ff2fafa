//! `/proc` as a container's limits have it: `meminfo`, `cpuinfo`, `stat`, `loadavg`, `uptime`, `swaps`, and
//! `/sys/devices/system/cpu/online`, for containers that ask for it by the annotation [`ANNOTATION`].
//!
//! ```text
//! creator: /dev/fuse opened, mounted (detached) ─┬─ clone ─ init: files of the mount attached over those of /proc
//!                                                └─ fork ── server: answers by what the container's group says
//! ```
//! The server is a process of its own beside the container, in no group of it and visible to nobody inside. It ends by itself when the
//! last mount is gone, that is with the container's mount namespace; nobody has to remember it. A container whose server
//! was killed gets an error from these files, never the machine's figures.

mod fuse;
mod group;
mod render;
mod serve;

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use oci::runtime::Spec;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};

use crate::cgroup::CgroupPaths;
use crate::error::{Doing, Error, Result};

/// The annotation, and the value that asks for the view.
pub const ANNOTATION: &str = "org.brig.proc";
/// See [`ANNOTATION`].
pub const TRUTHFUL: &str = "truthful";

/// A file of the view: its name in the mount, and where it is attached.
pub(crate) const FILES: [(&str, &str); 7] = [
    ("meminfo", "/proc/meminfo"),
    ("cpuinfo", "/proc/cpuinfo"),
    ("stat", "/proc/stat"),
    ("loadavg", "/proc/loadavg"),
    ("uptime", "/proc/uptime"),
    ("swaps", "/proc/swaps"),
    ("online", "/sys/devices/system/cpu/online"),
];

/// A view that nobody serves yet.
#[derive(Debug)]
pub(crate) struct View {
    device: OwnedFd,
}

/// Makes the mount, detached, when the spec asks for it.
pub(crate) fn make(spec: &Spec) -> Result<Option<(View, OwnedFd)>> {
    let asked = spec.annotations().as_ref().and_then(|annotations| annotations.get(ANNOTATION));
    match asked.map(String::as_str) {
        None | Some("" | "host") => return Ok(None),
        Some(TRUTHFUL) => {}
        Some(other) => {
            return Err(Error::invalid(format!("annotations.{ANNOTATION}"), other, "truthful or host"));
        }
    }
    let device = rustix::fs::open("/dev/fuse", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty());
    let device = device.doing(|| "open /dev/fuse, which a truthful /proc needs (modprobe fuse)".into())?;
    let mount = || -> rustix::io::Result<OwnedFd> {
        let context = rustix::mount::fsopen("fuse", FsOpenFlags::FSOPEN_CLOEXEC)?;
        rustix::mount::fsconfig_set_string(&context, "source", "brig")?;
        for (key, value) in [
            ("fd", device.as_raw_fd().to_string()),
            ("rootmode", "40000".into()),
            ("user_id", "0".into()),
            ("group_id", "0".into()),
        ] {
            rustix::mount::fsconfig_set_string(&context, key, value)?;
        }
        for flag in ["default_permissions", "allow_other"] {
            rustix::mount::fsconfig_set_flag(&context, flag)?;
        }
        rustix::mount::fsconfig_create(&context)?;
        let attrs = MountAttrFlags::MOUNT_ATTR_NODEV
            | MountAttrFlags::MOUNT_ATTR_NOEXEC
            | MountAttrFlags::MOUNT_ATTR_NOSUID
            | MountAttrFlags::MOUNT_ATTR_RDONLY;
        rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attrs)
    };
    let tree = mount().doing(|| "mount the container's view of /proc".into())?;
    Ok(Some((View { device }, tree)))
}

impl View {
    /// The descriptor that nobody but the server may keep: while it is open the mount waits for answers.
    pub(crate) fn number(&self) -> std::os::fd::RawFd {
        self.device.as_raw_fd()
    }

    /// Starts the server for the container whose init is `pid` and whose group is `group`.
    pub(crate) fn serve(self, pid: i32, group: &CgroupPaths) -> Result<()> {
        let what = || "start the process that serves the container's view of /proc".to_owned();
        match sys::fork::fork().doing(what)? {
            Some(_) => Ok(()),
            None => {
                let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                    stand_alone(&self.device)?;
                    serve::run(&self.device, pid, group)
                }));
                sys::process::exit_now(if matches!(outcome, Ok(Ok(()))) { 0 } else { 1 })
            }
        }
    }
}

/// Leaves everything of the caller's behind but the device.
fn stand_alone(device: &OwnedFd) -> rustix::io::Result<()> {
    sys::process::close_from_except(3, &[device.as_fd()])?;
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    for number in 0..3 {
        sys::process::dup_to(null.as_fd(), number)?;
    }
    drop(null);
    sys::sigset::reset()?;
    match rustix::process::setsid() {
        Ok(_) | Err(Errno::PERM) => {}
        Err(error) => return Err(error),
    }
    rustix::process::chdir("/")?;
    // Only for who lists processes.
    let _ = rustix::thread::set_name(c"brig-proc");
    Ok(())
}
