//! User namespaces: writing the maps of a process, and making a namespace only for its maps (idmapped mounts).

use std::os::fd::{AsFd, OwnedFd};
use std::process::{Command, Stdio};

use oci::runtime::LinuxIdMapping;
use rustix::io::Errno;
use rustix::process::{WaitId, WaitIdOptions, waitid};
use rustix::thread::CapabilitySet;
use sys::process::{Forked, clone_flags, clone3, pidfd_kill};

use crate::error::{Doing, Error, Result};
use crate::procfs::Procfs;

/// Writes the maps of the new user namespace of process `pid`.
///
/// A caller without the rights asks `newuidmap` and `newgidmap`, unless its maps are just its own two ids.
pub(crate) fn write_maps(pid: i32, users: &[LinuxIdMapping], groups: &[LinuxIdMapping]) -> Result<()> {
    let proc = Procfs::host().doing(|| "open /proc".into())?;
    let caps =
        rustix::thread::capabilities(None).map(|sets| sets.effective).unwrap_or(CapabilitySet::empty());
    let (euid, egid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    if caps.contains(CapabilitySet::SETUID | CapabilitySet::SETGID) {
        write(&proc, pid, "uid_map", users)?;
        return write(&proc, pid, "gid_map", groups);
    }
    match is_own(users, euid) {
        true => write(&proc, pid, "uid_map", users)?,
        false => ask_helper("newuidmap", pid, users)?,
    }
    if is_own(groups, egid) {
        // Without rights a group map may be written only when setgroups(2) is given up.
        proc.write(&format!("{pid}/setgroups"), b"deny")
            .doing(|| format!("deny setgroups for process {pid}"))?;
        return write(&proc, pid, "gid_map", groups);
    }
    ask_helper("newgidmap", pid, groups)
}

fn is_own(maps: &[LinuxIdMapping], id: u32) -> bool {
    matches!(maps, [only] if only.size() == 1 && only.host_id() == id)
}

fn write(proc: &Procfs, pid: i32, file: &str, maps: &[LinuxIdMapping]) -> Result<()> {
    let lines = lines(maps);
    proc.write(&format!("{pid}/{file}"), lines.as_bytes())
        .doing(|| format!("write {file} of process {pid} ({})", lines.trim_end().replace('\n', ", ")))
}

/// Renders maps as the kernel reads them.
fn lines(maps: &[LinuxIdMapping]) -> String {
    maps.iter().map(|map| format!("{} {} {}\n", map.container_id(), map.host_id(), map.size())).collect()
}

fn ask_helper(program: &str, pid: i32, maps: &[LinuxIdMapping]) -> Result<()> {
    let mut command = Command::new(program);
    command.arg(pid.to_string()).stdin(Stdio::null()).current_dir("/");
    for map in maps {
        command.args([map.container_id(), map.host_id(), map.size()].map(|number| number.to_string()));
    }
    let output = match command.output() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let why =
                "the program is not installed (package uidmap) and the caller may not write maps itself";
            return Err(Error::unsupported(program, why));
        }
        result => result.doing(|| format!("run {program}"))?,
    };
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(std::io::Error::other(said))
        .doing(|| format!("map ids by {program} (see /etc/subuid and /etc/subgid)"))
}

/// Makes a user namespace that has these maps and no process.
pub(crate) fn user_namespace(users: &[LinuxIdMapping], groups: &[LinuxIdMapping]) -> Result<OwnedFd> {
    let forked = clone3(clone_flags::NEWUSER, None).doing(|| "make a user namespace for an id map".into())?;
    let (pid, pidfd) = match forked {
        Forked::Child => loop {
            // Waits for the SIGKILL below.
            rustix::event::pause();
        },
        Forked::Parent { pid, pidfd } => (pid, pidfd),
    };
    let namespace = write_maps(pid, users, groups).and_then(|()| {
        let proc = Procfs::host().doing(|| "open /proc".into())?;
        proc.namespace(&format!("{pid}/ns/user")).doing(|| "open the user namespace of an id map".into())
    });
    // Already gone is as good as killed.
    let _ = pidfd_kill(pidfd.as_fd(), 9);
    let _ = waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED);
    namespace
}

/// Returns whether `id` of the container has a counterpart outside.
pub(crate) fn maps_id(maps: &[LinuxIdMapping], id: u32) -> bool {
    maps.iter().any(|map| id >= map.container_id() && id - map.container_id() < map.size())
}

/// Makes the calling process the root of its user namespace, where that id exists.
pub(crate) fn become_root() -> rustix::io::Result<()> {
    use rustix::process::{Gid, Uid};
    match rustix::thread::set_thread_res_gid(Gid::ROOT, Gid::ROOT, Gid::ROOT) {
        Ok(()) | Err(Errno::INVAL) => {}
        Err(error) => return Err(error),
    }
    match rustix::thread::set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT) {
        Ok(()) | Err(Errno::INVAL) => {}
        Err(error) => return Err(error),
    }
    // Supplementary groups of the caller must not stay; where setgroups is denied they cannot be used for anything new.
    match rustix::thread::set_thread_groups(&[]) {
        Ok(()) | Err(Errno::PERM) => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(container: u32, host: u32, size: u32) -> LinuxIdMapping {
        let json = serde_json::json!({"containerID": container, "hostID": host, "size": size});
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn maps_are_rendered_and_searched() {
        let maps = [map(0, 1000, 1), map(1, 100_000, 65_536)];
        assert_eq!(lines(&maps), "0 1000 1\n1 100000 65536\n");
        assert!(maps_id(&maps, 0) && maps_id(&maps, 65_536) && !maps_id(&maps, 65_537));
        assert!(is_own(&maps[..1], 1000) && !is_own(&maps, 1000));
    }
}
