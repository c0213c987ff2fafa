//! The networks among a plain user's containers: one network namespace of the user that holds nothing but bridges and
//! our rules. It has no process; the monitors of the containers on it keep it open, and it goes with the last of them.
//!
//! ```text
//!  container ── eth0 ── veth ── bridge ┐
//!  container ── eth0 ── veth ── bridge ┴ the user's namespace, which leads nowhere
//!      └─────── out0 ── pasta ── the host: the way out, and published ports with the client's own address
//! ```
//! The same code as root's works in it, in a forked child: who has left the host's namespace may not come back. A command
//! finds it by its inode number, noted in the run root, among what the user's commands and monitors have open.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use base::ContainerId;
use monitor::StateRecord;
use rustix::fs::{FlockOperation, Mode, OFlags, flock};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, WaitOptions, waitpid};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::net::Net;
use crate::Engine;
use crate::db::ContainerRow;
use crate::error::{Doing, Error, IoContext, Result};
use crate::model::Endpoint;
use crate::rootless;

/// Whether this process is one that was sent into the namespace.
static INSIDE: AtomicBool = AtomicBool::new(false);
/// The longest error that a child tells.
const SAID_MAX: u64 = 64 << 10;

/// Whether bridges and rules are somewhere else than here.
pub(super) fn is_elsewhere() -> bool {
    rootless::is_rootless() && !INSIDE.load(Ordering::Relaxed)
}

impl Engine {
    /// Finds the user's namespace, or makes it.
    pub(super) fn user_network(&self) -> Result<OwnedFd> {
        let _lock = self.lock_user_network()?;
        self.user_network_locked()
    }

    fn user_network_locked(&self) -> Result<OwnedFd> {
        if let Some(found) = self.find_user_network() {
            return Ok(found);
        }
        let doing = || "cannot make a network namespace".to_owned();
        let made = network::create_netns_apart().doing(doing)?;
        let inode = rustix::fs::fstat(&made)
            .map_err(|errno| Error::System {
                action: "look at a network namespace".to_owned(),
                source: errno.into(),
            })?
            .st_ino;
        let note = self.user_network_note();
        fs::write(&note, inode.to_string()).at("write", &note)?;
        Ok(made)
    }

    fn user_network_note(&self) -> PathBuf {
        self.roots().run.join("usernet")
    }

    fn lock_user_network(&self) -> Result<File> {
        let path = self.roots().run.join("usernet.lock");
        let file = File::options().create(true).append(true).open(&path).at("open", &path)?;
        flock(&file, FlockOperation::LockExclusive).at("lock", &path)?;
        Ok(file)
    }

    /// Looks for the namespace among what living commands and monitors have open.
    pub(super) fn find_user_network(&self) -> Option<OwnedFd> {
        let inode = fs::read_to_string(self.user_network_note()).ok()?;
        let wanted = PathBuf::from(format!("net:[{}]", inode.trim()));
        let run = &self.roots().run;
        let commands = fs::read_dir(run.join("userns")).into_iter().flatten().flatten();
        let commands = commands.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        let folders = fs::read_dir(run.join("containers")).into_iter().flatten().flatten();
        let monitors = folders.filter_map(|entry| Some(StateRecord::load(&entry.path()).ok()??.monitor));
        monitors.chain(commands).find_map(|pid| {
            let open = fs::read_dir(format!("/proc/{pid}/fd")).ok()?.flatten();
            let mut same = open.filter(|entry| fs::read_link(entry.path()).is_ok_and(|link| link == wanted));
            rustix::fs::open(same.next()?.path(), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()
        })
    }

    /// Does `act` in the user's namespace where there is one: what is not there need not be changed.
    pub(super) fn in_user_network_if_there(&self, act: impl FnOnce(&Engine) -> Result<()>) -> Result<()> {
        match self.find_user_network() {
            Some(namespace) => self.in_user_network(&namespace, act),
            None => Ok(()),
        }
    }

    /// Does `act` in a child that is in the namespace, with an engine of its own: a database is not shared with a child.
    pub(super) fn in_user_network(
        &self,
        namespace: &OwnedFd,
        act: impl FnOnce(&Engine) -> Result<()>,
    ) -> Result<()> {
        let fail = |errno: rustix::io::Errno| Error::System {
            action: "work in the network namespace of your containers".to_owned(),
            source: errno.into(),
        };
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).map_err(fail)?;
        let Some(child) = sys::fork::fork().map_err(fail)? else {
            drop(reader);
            let done = self.child(namespace, act);
            let said = done.as_ref().err().map(|error| base::error::render_chain(error)).unwrap_or_default();
            // Nobody hears it when the parent was killed.
            let _ = File::from(writer).write_all(said.as_bytes());
            sys::process::exit_now(i32::from(done.is_err()))
        };
        drop(writer);
        let mut said = String::new();
        let heard = File::from(reader).take(SAID_MAX).read_to_string(&mut said);
        let ended = rustix::io::retry_on_intr(|| waitpid(Pid::from_raw(child), WaitOptions::empty()))
            .map_err(fail)?;
        heard.map_err(|source| Error::System { action: "hear from a child".to_owned(), source })?;
        match ended.and_then(|(_, status)| status.exit_status()) {
            Some(0) => Ok(()),
            _ if said.is_empty() => Err(fail(rustix::io::Errno::INTR)),
            _ => Err(Error::Unavailable(said)),
        }
    }

    fn child(&self, namespace: &OwnedFd, act: impl FnOnce(&Engine) -> Result<()>) -> Result<()> {
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).map_err(|errno| {
            Error::System {
                action: "enter the network namespace of your containers".to_owned(),
                source: errno.into(),
            }
        })?;
        INSIDE.store(true, Ordering::Relaxed);
        act(&Engine::open(self.roots().clone())?)
    }

    /// Makes sure that a running container's monitor keeps the namespace open, and that its links are there: when all
    /// monitors were killed, the namespace went with them. `start` starts the monitor.
    ///
    /// The links come first: a container that has its monitor is not looked at again.
    pub(crate) fn keep_user_network(
        &self,
        row: &ContainerRow,
        start: impl FnOnce(Option<BorrowedFd<'_>>) -> Result<()>,
    ) -> Result<()> {
        if !rootless::is_rootless() {
            return start(None);
        }
        let endpoints = self.db()?.endpoints(&row.id)?;
        if endpoints.is_empty() {
            return start(None);
        }
        let namespace = {
            // Two commands that see to the same container must not take each other's links away.
            let _lock = self.lock_user_network()?;
            let namespace = self.user_network_locked()?;
            self.renew_links(row, &endpoints, &namespace)?;
            namespace
        };
        // Until the monitor has it, others find it with this command.
        start(Some(namespace.as_fd()))
    }

    /// Puts a running container's links into the namespace where they are not there.
    fn renew_links(&self, row: &ContainerRow, endpoints: &[Endpoint], namespace: &OwnedFd) -> Result<()> {
        let state = StateRecord::load(&self.roots().container_run(row.id.as_str())).ok().flatten();
        let Some(state) = state.filter(StateRecord::is_alive) else { return Ok(()) };
        let path = PathBuf::from(format!("/proc/{}/ns/net", state.pid));
        let netns: OwnedFd = File::open(&path).at("open", &path)?.into();
        let nets = self.nets(endpoints.iter().map(|endpoint| endpoint.network.as_str()))?;
        self.in_user_network(namespace, |engine| {
            nets.iter().try_for_each(Net::ensure)?;
            engine.ensure_firewall(&nets)?;
            for (net, endpoint) in nets.iter().zip(endpoints) {
                let name = super::net::host_ifname(&row.id, endpoint);
                if super::default::link_exists(&name)? {
                    continue;
                }
                // The kernel takes the links of a namespace that nobody holds away when it comes to it: until then the
                // other end is still inside and has the name.
                network::detach_inside(netns.as_fd(), endpoint.link_name())
                    .doing(|| format!("cannot renew the link of container {}", row.name))?;
                super::attach(netns.as_fd(), &net.attachment(endpoint, name)?, net)?;
            }
            Ok(())
        })
    }

    /// Puts the links of a container that is being made into the namespace, as root's are put on the host.
    pub(super) fn set_up_in_user_network(
        &self,
        id: &ContainerId,
        prepared: &super::Prepared,
        netns: &OwnedFd,
    ) -> Result<()> {
        let Some(namespace) = &prepared.user_network else { return Ok(()) };
        let (nets, endpoints) = (&prepared.nets, &prepared.endpoints);
        self.in_user_network(namespace, |engine| {
            nets.iter().try_for_each(Net::ensure)?;
            engine.ensure_firewall(nets)?;
            nets.iter().zip(endpoints).try_for_each(|(net, endpoint)| {
                let name = super::net::host_ifname(id, endpoint);
                super::attach(netns.as_fd(), &net.attachment(endpoint, name)?, net)
            })
        })
    }
}

/// Refuses what a plain user's networks cannot be.
pub(super) fn check(nets: &[Net]) -> Result<()> {
    for net in nets.iter().filter(|_| rootless::is_rootless()) {
        let why = match net.bridge() {
            Some(_) if net.name == super::BRIDGE => {
                "it is a network of each container's own for a plain user and cannot be had beside others"
            }
            Some(_) => continue,
            None => "only root's containers may share a link of the host; make one with the driver bridge",
        };
        return Err(Error::Unsupported(format!("cannot use network {}: {why}", net.name)));
    }
    Ok(())
}
