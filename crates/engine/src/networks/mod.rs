//! The networks of containers: the default bridge, those that people make, the host's own and none. Addresses and ports
//! are given out by the database, links and rules are made by the `network` crate.
//!
//! ```text
//! request ── places: which networks, what is wished ── addresses: one endpoint each ── attached: link, routes
//! ```
//! The request in a container's row is the intent; a row in `endpoints` is a place that a container which runs (or is
//! being started) has. Rows come first and go last, so that whatever a killed command leaves is found through them.

mod addresses;
mod connect;
mod create;
mod default;
mod files;
mod list;
mod members;
mod net;
mod options;
mod places;
mod ports;
mod remove;
mod usernet;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use base::ContainerId;
use network::{Attachment, Upper};

pub use create::{NetworkRequest, SubnetRequest, is_inside};

use crate::Engine;
use crate::containers::UserNamespace;
use crate::db::ContainerRow;
use crate::error::{Doing, Error, Result};
use crate::model::{Endpoint, Port};
use crate::rootless::{self, usermode};
use net::Net;
pub(crate) use places::places;

/// Name of the default network.
pub const BRIDGE: &str = "bridge";
/// The usual name of the first link inside.
const FIRST_LINK: &str = "eth0";
/// The link of a plain user's container that leads out, where the others lead to other containers.
const OUT_LINK: &str = "out0";
/// The option of an attachment that names its link inside.
const IFNAME: &str = "com.docker.network.endpoint.ifname";
/// The option of an attachment that sets up its link inside.
const SYSCTLS: &str = "com.docker.network.endpoint.sysctls";

/// What a container's network mode asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Places on networks, see [`places`].
    Networks,
    /// What stands for it when a plain user calls: a user-mode network of the container's own.
    Pasta,
    /// The host's own network.
    Host,
    /// A namespace with loopback only.
    None,
    /// That of another container.
    Container(String),
}

impl Mode {
    /// Reads `--network`.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        match text {
            "" | "default" | BRIDGE if rootless::is_rootless() => Ok(Self::Pasta),
            "host" => Ok(Self::Host),
            "none" => Ok(Self::None),
            other => match other.strip_prefix("container:") {
                Some("") => Err(Error::NotFound { what: "network", name: other.to_owned() }),
                Some(name) => Ok(Self::Container(name.to_owned())),
                None => Ok(Self::Networks),
            },
        }
    }
}

/// The network of one start: what has to be configured while the container is being made.
#[derive(Debug, Default)]
pub(crate) struct Prepared {
    /// The namespace, for networks and none.
    pub(crate) netns: Option<OwnedFd>,
    pub(crate) endpoints: Vec<Endpoint>,
    pub(crate) ports: Vec<Port>,
    /// What was asked for and is not had, in whole sentences.
    pub(crate) warnings: Vec<String>,
    nets: Vec<Net>,
    /// Where its monitor answers names.
    names_port: Option<u16>,
    /// Pasta beside the container, with the name of its link.
    user_mode: Option<&'static str>,
    /// The namespace of a plain user's networks.
    user_network: Option<OwnedFd>,
}

impl Prepared {
    /// Whether the container is cut off, or open, when the firewall's rules are gone.
    pub(crate) fn depends_on_firewall(&self) -> bool {
        !self.nets.is_empty() && !rootless::is_rootless()
    }

    /// What the container's monitor has to keep open.
    pub(crate) fn keep(&self) -> std::io::Result<Option<OwnedFd>> {
        self.user_network.as_ref().map(OwnedFd::try_clone).transpose()
    }
}

impl Engine {
    /// Gives a container its namespace, its addresses and its ports; nothing is on the wire yet.
    pub(crate) fn prepare_network(
        &self,
        row: &ContainerRow,
        mode: &Mode,
        users: Option<&UserNamespace>,
    ) -> Result<Prepared> {
        let make = || {
            let made = match users {
                // Its root has rights over a network only that belongs to its user namespace.
                Some(users) => return users.netns(),
                None if rootless::is_rootless() => network::create_netns_apart(),
                None => network::create_netns(),
            };
            made.doing(|| "cannot make a network namespace".to_owned())
        };
        match mode {
            Mode::Host | Mode::Container(_) => return Ok(Prepared::default()),
            Mode::None => return Ok(Prepared { netns: Some(make()?), ..Prepared::default() }),
            Mode::Pasta => {
                usermode::check()?;
                let ports = self.acquire_host_ports(row)?;
                return Ok(Prepared {
                    netns: Some(make()?),
                    ports,
                    user_mode: Some(FIRST_LINK),
                    ..Prepared::default()
                });
            }
            Mode::Networks => {}
        }
        let places = places(&row.spec);
        let nets = self.nets(places.iter().map(|(name, _)| name.as_str()))?;
        usernet::check(&nets)?;
        let wishes: Vec<_> = places.iter().map(|(_, wish)| wish).collect();
        let endpoints = match nets.is_empty() {
            true => Vec::new(),
            false => self.acquire_addresses(row, &nets, &wishes, &[], false)?,
        };
        let mut warnings = Vec::new();
        let ports = match places::published_on(&endpoints) {
            Some(_) => self.acquire_host_ports(row)?,
            None => {
                if !row.spec.host_config.port_bindings.is_empty() {
                    warnings.push(
                        "Published ports are discarded: the container is on no bridge that leads outside"
                            .to_owned(),
                    );
                }
                Vec::new()
            }
        };
        let plain = rootless::is_rootless() && !nets.is_empty();
        let leads = places::published_on(&endpoints).is_some();
        if plain && leads {
            usermode::check()?;
        }
        let user_mode = (plain && leads).then_some(OUT_LINK);
        let user_network = plain.then(|| self.user_network()).transpose()?;
        let names_port = self.prepare_names(&row.id, &row.spec, &endpoints)?;
        let netns = Some(make()?);
        Ok(Prepared { netns, endpoints, ports, warnings, nets, names_port, user_mode, user_network })
    }

    /// Puts a prepared network on the wire: bridges, rules, links, published ports. Undone by [`Engine::teardown_network`].
    pub(crate) fn setup_network(&self, id: &ContainerId, prepared: &Prepared, netns: &OwnedFd) -> Result<()> {
        self.set_up_in_user_network(id, prepared, netns)?;
        if let Some(port) = prepared.names_port {
            network::redirect_names(netns.as_fd(), monitor::names::ADDRESS, port)
                .doing(|| "cannot lead the container's questions for names to its monitor".to_owned())?;
        }
        if let Some(link) = prepared.user_mode {
            usermode::start(netns, &self.roots().container_run(id.as_str()), link, &prepared.ports)?;
            crate::timings::mark("pasta");
        }
        if rootless::is_rootless() {
            return self.members_changed(prepared.nets.iter().map(|net| net.name.as_str()));
        }
        if prepared.nets.is_empty() {
            return Ok(());
        }
        prepared.nets.iter().try_for_each(Net::ensure)?;
        self.ensure_firewall(&prepared.nets)?;
        crate::timings::mark("bridge, firewall");
        for (net, endpoint) in prepared.nets.iter().zip(&prepared.endpoints) {
            let mut attachment = net.attachment(endpoint, net::host_ifname(id, endpoint))?;
            let leads = |four| {
                places::way_out(&prepared.endpoints, four).is_some_and(|way| way.network == endpoint.network)
            };
            attachment.gateway4 = endpoint.gateway4.filter(|_| leads(true));
            attachment.gateway6 = endpoint.gateway6.filter(|_| leads(false));
            attach(netns.as_fd(), &attachment, net)?;
        }
        crate::timings::mark("link");
        self.publish(id, prepared)?;
        self.members_changed(prepared.nets.iter().map(|net| net.name.as_str()))
    }

    /// Takes what [`Engine::setup_network`] made away. The links die with the container's namespace by themselves.
    pub(crate) fn teardown_network(&self, row: &ContainerRow) -> Result<()> {
        let id = &row.id;
        if rootless::is_rootless() {
            usermode::stop(&self.roots().container_run(id.as_str()))?;
            let endpoints = self.db()?.endpoints(id)?;
            self.db()?.release_network(id)?;
            return self.members_changed(endpoints.iter().map(|endpoint| endpoint.network.as_str()));
        }
        let ports = self.db()?.ports(id)?;
        let endpoints = self.db()?.endpoints(id)?;
        if let Some(endpoint) = places::published_on(&endpoints).filter(|_| !ports.is_empty()) {
            self.firewall()?
                .withdraw(id.as_str(), &ports::withdrawn(&ports, endpoint))
                .doing(|| "cannot take the published ports back".to_owned())?;
        }
        self.db()?.release_network(id)?;
        // By the request too: an end that was killed after the rows were gone tells nobody again.
        let mut names: Vec<String> = places(&row.spec).into_iter().map(|(name, _)| name).collect();
        names.extend(endpoints.into_iter().map(|endpoint| endpoint.network));
        names.sort();
        names.dedup();
        self.members_changed(names.iter().map(String::as_str))
    }
}

/// Puts one link of a container on the wire.
fn attach(netns: BorrowedFd<'_>, attachment: &Attachment, net: &Net) -> Result<()> {
    let attached = match network::attach(netns, attachment) {
        Err(error) => match &attachment.upper {
            // A link of that name was left by a start that was killed; once more without it.
            Upper::Bridge { host_ifname, .. } if network::detach(host_ifname).is_ok() => {
                network::attach(netns, attachment)
            }
            _ => Err(error),
        },
        attached => attached,
    };
    let doing = || match net.bridge() {
        Some(bridge) => format!("cannot join the container to the bridge {}", bridge.name),
        None => format!("cannot join the container to network {}", net.name),
    };
    attached.doing(doing)
}
