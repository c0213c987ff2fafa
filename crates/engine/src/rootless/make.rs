//! Making a user namespace: a child is born in it and waits while its mapping is written.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::process::Command;

use rustix::fs::{Mode, OFlags};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, WaitOptions, waitpid};
use sys::process::{Forked, clone_flags, clone3, exit_now};

use super::{ids, no_namespace};
use crate::error::{Error, Result};

/// Makes a user namespace in which root is the user `uid` with the group `gid`; returns it and what the user should know.
pub(super) fn namespace(uid: u32, gid: u32) -> Result<(OwnedFd, Option<String>)> {
    let holder = Holder::start()?;
    let warning = map(holder.pid, uid, gid)?;
    let namespace = rustix::fs::open(
        format!("/proc/{}/ns/user", holder.pid),
        OFlags::RDONLY | OFlags::CLOEXEC,
        Mode::empty(),
    );
    Ok((namespace.map_err(|errno| no_namespace("open the user namespace", errno))?, warning))
}

/// The child that keeps the namespace alive until somebody is in it.
struct Holder {
    pid: i32,
    /// Its end is the child's.
    line: Option<OwnedFd>,
}

impl Holder {
    fn start() -> Result<Self> {
        let fail = |errno| no_namespace("make a user namespace", errno);
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).map_err(fail)?;
        match clone3(clone_flags::NEWUSER, None).map_err(fail)? {
            Forked::Parent { pid, .. } => Ok(Self { pid, line: Some(writer) }),
            Forked::Child => {
                drop(writer);
                // Ends with the last writer, whatever becomes of the parent.
                let _ = rustix::io::retry_on_intr(|| rustix::io::read(reader.as_fd(), &mut [0_u8; 1]));
                exit_now(0)
            }
        }
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        self.line = None;
        if let Some(pid) = Pid::from_raw(self.pid) {
            // It is ours and ends now; a failure would mean that it is gone already.
            let _ = rustix::io::retry_on_intr(|| waitpid(Some(pid), WaitOptions::empty()));
        }
    }
}

/// Writes the mapping: the subordinate numbers by their set-id programs, else the user's own number alone.
fn map(pid: i32, uid: u32, gid: u32) -> Result<Option<String>> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let passwd = read("/etc/passwd");
    let name = ids::parse_name(&passwd, uid);
    let users = ids::parse_ranges(&read("/etc/subuid"), name, uid);
    let groups = ids::parse_ranges(&read("/etc/subgid"), name, uid);
    let shown = name.map_or_else(|| uid.to_string(), str::to_owned);
    if users.is_empty() || groups.is_empty() {
        map_self(pid, uid, gid)?;
        let file = if users.is_empty() { "/etc/subuid" } else { "/etc/subgid" };
        return Ok(Some(single(&format!("{file} has no range for {shown}"), &shown)));
    }
    let programs = [("newgidmap", ids::mapping(gid, &groups)), ("newuidmap", ids::mapping(uid, &users))];
    for (program, mapping) in programs {
        if let Err(why) = run(program, &ids::arguments(pid, &mapping)) {
            // The first of the two changes nothing when it fails; the second one's failure leaves half a mapping.
            if program == "newuidmap" {
                return Err(Error::Unavailable(format!("cannot map the users of /etc/subuid: {why}")));
            }
            map_self(pid, uid, gid)?;
            return Ok(Some(single(&why, &shown)));
        }
    }
    Ok(None)
}

fn single(why: &str, user: &str) -> String {
    format!(
        "only your own user is known inside containers, because {why}: every file of an image belongs to root there, and programs cannot become other users. For all users, have root run `apt-get install uidmap` and `usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {user}`, then pull images again"
    )
}

fn map_self(pid: i32, uid: u32, gid: u32) -> Result<()> {
    let write = |name: &str, text: String| {
        fs::write(format!("/proc/{pid}/{name}"), text).map_err(|error| {
            let errno = rustix::io::Errno::from_io_error(&error).unwrap_or(rustix::io::Errno::IO);
            no_namespace("map your user into a user namespace", errno)
        })
    };
    // The kernel wants it denied first, so that nobody loses a group that keeps them from a file.
    write("setgroups", "deny".to_owned())?;
    write("uid_map", format!("0 {uid} 1"))?;
    write("gid_map", format!("0 {gid} 1"))
}

fn run(program: &str, args: &[String]) -> std::result::Result<(), String> {
    let path = ids::find_program(program, std::env::var_os("PATH"))
        .ok_or_else(|| format!("the program {program} is not installed"))?;
    let output =
        Command::new(path).args(args).output().map_err(|error| format!("{program} cannot run: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(said.trim().to_owned())
}
