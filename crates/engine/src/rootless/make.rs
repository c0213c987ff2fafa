//! Making a user namespace: a child is born in it and waits while its mapping is written.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, Stdio};

use rustix::fs::{Mode, OFlags};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, WaitOptions, waitpid};
use sys::process::{Forked, clone_flags, clone3, exit_now};

use super::{ids, no_namespace};
use crate::error::{Error, Result};

/// Makes a user namespace in which root is the user `uid` with the group `gid`; returns it and what the user should know.
pub(super) fn namespace(uid: u32, gid: u32) -> Result<(OwnedFd, Option<String>)> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let passwd = read("/etc/passwd");
    let name = ids::parse_name(&passwd, uid);
    let users = ids::parse_ranges(&read("/etc/subuid"), name, uid);
    let groups = ids::parse_ranges(&read("/etc/subgid"), name, uid);
    let missing =
        [(&users, "/etc/subuid"), (&groups, "/etc/subgid")].into_iter().find(|(list, _)| list.is_empty());
    let shown = name.map_or_else(|| uid.to_string(), str::to_owned);
    let why = match missing {
        Some((_, file)) => format!("{file} has no range for {shown}"),
        None => {
            let holder = Holder::start()?;
            match map_all(holder.pid, &ids::mapping(uid, &users), &ids::mapping(gid, &groups)) {
                Ok(()) => return Ok((holder.namespace()?, None)),
                Err(why) => why,
            }
        }
    };
    // A mapping is written once: what has half of one is of no use.
    let holder = Holder::start()?;
    map_self(holder.pid, uid, gid)?;
    Ok((holder.namespace()?, Some(single(&why, &shown))))
}

/// Makes a user namespace with these maps below our own, and a network namespace that belongs to it.
pub(crate) fn below(users: &[[u32; 3]], groups: &[[u32; 3]]) -> Result<(OwnedFd, OwnedFd)> {
    let holder = Holder::start_with(clone_flags::NEWUSER | clone_flags::NEWNET)?;
    write_map(holder.pid, "uid_map", users)?;
    write_map(holder.pid, "gid_map", groups)?;
    Ok((holder.namespace()?, holder.open("net")?))
}

/// Writes a map with our own rights.
fn write_map(pid: i32, file: &str, map: &[[u32; 3]]) -> Result<()> {
    let own = fs::read_to_string(format!("/proc/self/{file}")).unwrap_or_default();
    let lines: String = ids::split(map, &own)
        .iter()
        .map(|[inside, outside, count]| format!("{inside} {outside} {count}\n"))
        .collect();
    fs::write(format!("/proc/{pid}/{file}"), lines).map_err(|source| Error::System {
        action: format!("write the {file} of a container ({map:?})"),
        source,
    })
}

/// The child that keeps the namespace alive until somebody is in it.
struct Holder {
    pid: i32,
    /// Its end is the child's.
    line: Option<OwnedFd>,
}

impl Holder {
    fn start() -> Result<Self> {
        Self::start_with(clone_flags::NEWUSER)
    }

    fn start_with(flags: u64) -> Result<Self> {
        let fail = |errno| no_namespace("make a user namespace", errno);
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).map_err(fail)?;
        match clone3(flags, None).map_err(fail)? {
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

impl Holder {
    fn namespace(&self) -> Result<OwnedFd> {
        self.open("user")
    }

    fn open(&self, kind: &str) -> Result<OwnedFd> {
        let path = format!("/proc/{}/ns/{kind}", self.pid);
        rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .map_err(|errno| no_namespace("open a namespace", errno))
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

/// Writes both mappings by their set-id programs, side by side. Fails with what they said.
fn map_all(pid: i32, users: &[[u32; 3]], groups: &[[u32; 3]]) -> std::result::Result<(), String> {
    let programs = [("newuidmap", users), ("newgidmap", groups)];
    let started = programs.map(|(program, mapping)| (program, start(program, &ids::arguments(pid, mapping))));
    let mut result = Ok(());
    for (program, child) in started {
        result = result.and(child.and_then(|child| finish(program, child)));
    }
    result
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

fn start(program: &str, args: &[String]) -> std::result::Result<Child, String> {
    let path = ids::find_program(program, std::env::var_os("PATH"))
        .ok_or_else(|| format!("the program {program} is not installed"))?;
    let mut command = Command::new(path);
    command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command.spawn().map_err(|error| format!("{program} cannot run: {error}"))
}

fn finish(program: &str, child: Child) -> std::result::Result<(), String> {
    let output =
        child.wait_with_output().map_err(|error| format!("{program} cannot be waited for: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
    }
}
