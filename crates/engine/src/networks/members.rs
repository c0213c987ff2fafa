//! Who is on a network, and the files by which the monitors answer names, see [`monitor::names`].
//!
//! A network that people made has a table of its members in the run root, written anew after each change; each container on such
//! networks has a file that names them. Both are made of the database and may be lost with the run root. The default
//! bridge has no names.

use std::fs::{self, File};
use std::io;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use base::ContainerId;
use docker_types::ContainerSpec;
use monitor::names::{self, NamesFile};
use rustix::fs::{FlockOperation, flock};

use super::BRIDGE;
use crate::Engine;
use crate::containers::random_bytes;
use crate::db::Member;
use crate::error::{Doing as _, IoContext, Result};
use crate::model::Endpoint;

/// Ports at which monitors listen: where nothing listens by custom, below those that the kernel gives away.
const FIRST_PORT: u16 = 22_000;
const PORTS: u16 = 10_000;

/// Whether a container with these places is told names: it is on a network that people made.
pub(super) fn has_names(endpoints: &[Endpoint]) -> bool {
    endpoints.iter().any(|endpoint| !endpoint.network_id.is_empty())
}

impl Engine {
    /// Called after each change of who is on the networks `networks`, and by what names; the default bridge has no names.
    pub(crate) fn members_changed<'a>(&self, networks: impl IntoIterator<Item = &'a str>) -> Result<()> {
        let mut networks = networks.into_iter().filter(|name| *name != BRIDGE).peekable();
        if networks.peek().is_none() {
            return Ok(());
        }
        let folder = self.names_folder();
        fs::create_dir_all(&folder).at("create", &folder)?;
        // What is written last must have been read last.
        let path = self.roots().run.join("names.lock");
        let lock = File::options().create(true).truncate(false).write(true).open(&path).at("open", &path)?;
        flock(&lock, FlockOperation::LockExclusive).at("lock", &path)?;
        networks.try_for_each(|network| write_table(&folder.join(network), &self.members(network)?))
    }

    /// The containers that are on a network now, by their names.
    pub(crate) fn members(&self, network: &str) -> Result<Vec<Member>> {
        self.db()?.members(network)
    }

    fn names_folder(&self) -> PathBuf {
        self.roots().run.join("names")
    }

    /// Writes the file of a container that is about to start, if it is told names; returns the port at which its monitor
    /// will listen.
    pub(super) fn prepare_names(
        &self,
        id: &ContainerId,
        spec: &ContainerSpec,
        endpoints: &[Endpoint],
    ) -> Result<Option<u16>> {
        if !has_names(endpoints) {
            return Ok(None);
        }
        let random = random_bytes()?;
        let port = FIRST_PORT + u16::from_le_bytes([random[0], random[1]]) % PORTS;
        self.write_names(id, spec, endpoints, port)?;
        Ok(Some(port))
    }

    fn write_names(
        &self,
        id: &ContainerId,
        spec: &ContainerSpec,
        endpoints: &[Endpoint],
        port: u16,
    ) -> Result<()> {
        let folder = self.roots().container_run(id.as_str());
        let file = NamesFile {
            port,
            forwards: endpoints.iter().any(|endpoint| !endpoint.internal),
            servers: self.dns_overrides(spec)?.servers,
            links: endpoints.iter().flat_map(links).collect(),
            networks: endpoints
                .iter()
                .filter(|endpoint| !endpoint.network_id.is_empty())
                .map(|endpoint| (endpoint.network.clone(), self.names_folder().join(&endpoint.network)))
                .collect(),
        };
        fs::create_dir_all(&folder).at("create", &folder)?;
        replace(&folder.join(names::FILE), &file.render())
    }

    /// Called after a container that runs was put on a network or taken off one: its monitor learns where it is now, and
    /// begins to answer when it did not yet. `netns` is its network.
    pub(super) fn own_networks_changed(
        &self,
        id: &ContainerId,
        spec: &ContainerSpec,
        netns: BorrowedFd<'_>,
    ) -> Result<()> {
        let endpoints = self.db()?.endpoints(id)?;
        let run_dir = self.roots().container_run(id.as_str());
        let known = fs::read_to_string(run_dir.join(names::FILE)).ok();
        if let Some(port) = known.and_then(|text| NamesFile::port_of(&text)) {
            return self.write_names(id, spec, &endpoints, port);
        }
        let Some(port) = self.prepare_names(id, spec, &endpoints)? else { return Ok(()) };
        let doing = || format!("cannot have container {} told names", id.short());
        let served = network::redirect_names(netns, names::ADDRESS, port).doing(doing).and_then(|()| {
            // One that was killed is replaced, and the new one answers by itself.
            monitor::ensure_monitor(&run_dir, None).doing(doing)?;
            monitor::Client::connect(&run_dir).doing(doing)?.serve_names().doing(doing)
        });
        if let Err(error) = served {
            // Without the file the next change begins anew.
            let _ = fs::remove_file(run_dir.join(names::FILE));
            return Err(error);
        }
        let (text, _) = self.resolv_conf(spec, &super::Mode::Networks, &endpoints)?;
        // The file itself is what is mounted inside: it is written over, not replaced.
        let path = self.container_path(id).join("resolv.conf");
        fs::write(&path, text).at("write", &path)
    }
}

/// What a container alone calls others: alias and name.
fn links(endpoint: &Endpoint) -> Vec<(String, String)> {
    let link = |text: &String| text.split_once(':').map(|(name, alias)| (alias.to_owned(), name.to_owned()));
    endpoint.links.iter().filter_map(link).collect()
}

/// Writes the table of a network; one without members has none.
fn write_table(path: &Path, members: &[Member]) -> Result<()> {
    if members.is_empty() {
        return remove(&draft(path)).and(remove(path));
    }
    let line = |member: &Member| {
        let endpoint = &member.endpoint;
        let own = [member.name.clone(), member.container.short().to_owned(), member.hostname.clone()];
        let all: Vec<String> = own.into_iter().chain(endpoint.aliases.iter().cloned()).collect();
        names::member_line(endpoint.ip4, endpoint.ip6, &all)
    };
    replace(path, &members.iter().map(line).collect::<String>())
}

/// Writes a file so that whoever reads it sees the old text or the new one. Who writes it holds a lock, so that the draft
/// needs no name of its own: one that a killed command left is written over. No network's name begins with a dot.
fn replace(path: &Path, text: &str) -> Result<()> {
    let new = draft(path);
    fs::write(&new, text).at("write", &new)?;
    fs::rename(&new, path).at("rename", &new)
}

fn draft(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}"))
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error).at("remove", path),
        _ => Ok(()),
    }
}
