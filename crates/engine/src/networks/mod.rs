//! The networks of containers: today the default bridge, the host's own and none. Addresses and ports are given out by
//! the database, links and rules are made by the `network` crate.

mod addresses;
mod default;
mod files;
mod list;
mod ports;

use std::os::fd::OwnedFd;

use base::ContainerId;
use network::Attachment;

use crate::Engine;
use crate::containers::UserNamespace;
use crate::db::ContainerRow;
use crate::error::{Doing, Error, Result};
use crate::model::{Endpoint, Port};
use crate::rootless::{self, usermode};
use addresses::parse_mac;

/// Name of the default network.
pub const BRIDGE: &str = "bridge";

/// What a container's network mode asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Mode {
    /// A place on the default bridge.
    Bridge,
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
            "" | "default" | BRIDGE => Ok(Self::Bridge),
            "host" => Ok(Self::Host),
            "none" => Ok(Self::None),
            other => match other.strip_prefix("container:") {
                Some(name) if !name.is_empty() => Ok(Self::Container(name.to_owned())),
                _ => Err(Error::NotFound {
                    what: "network",
                    name: format!("{other} (this version knows bridge, host, none and container:NAME)"),
                }),
            },
        }
    }
}

/// The network of one start: what has to be configured while the container is being made.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// The namespace, for bridge and none.
    pub(crate) netns: Option<OwnedFd>,
    pub(crate) endpoint: Option<Endpoint>,
    pub(crate) ports: Vec<Port>,
    attachment: Option<Attachment>,
    user_mode: bool,
}

impl Engine {
    /// Gives a container its namespace, its address and its ports; nothing is on the wire yet.
    pub(crate) fn prepare_network(
        &self,
        row: &ContainerRow,
        mode: &Mode,
        users: Option<&UserNamespace>,
    ) -> Result<Prepared> {
        let none =
            Prepared { netns: None, endpoint: None, ports: Vec::new(), attachment: None, user_mode: false };
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
            Mode::Host | Mode::Container(_) => return Ok(none),
            Mode::None => return Ok(Prepared { netns: Some(make()?), ..none }),
            Mode::Pasta => {
                usermode::check()?;
                let ports = self.acquire_host_ports(row)?;
                return Ok(Prepared { netns: Some(make()?), ports, user_mode: true, ..none });
            }
            Mode::Bridge => {}
        }
        let bridge = self.bridge()?;
        let endpoint = self.acquire_address(row, &bridge)?;
        let ports = self.acquire_host_ports(row)?;
        let attachment = Attachment {
            bridge: bridge.name.clone(),
            host_ifname: network::host_ifname(row.id.as_str()),
            guest_ifname: "eth0".to_owned(),
            mac: parse_mac(&endpoint.mac)?,
            address4: endpoint.ip4.map(|ip| (ip, endpoint.prefix4)),
            address6: endpoint.ip6.map(|ip| (ip, endpoint.prefix6)),
            gateway4: endpoint.gateway4,
            gateway6: endpoint.gateway6,
            mtu: bridge.mtu,
            isolated: false,
            sysctls: Vec::new(),
        };
        Ok(Prepared {
            netns: Some(make()?),
            endpoint: Some(endpoint),
            ports,
            attachment: Some(attachment),
            user_mode: false,
        })
    }

    /// Puts a prepared network on the wire: bridge, rules, link, published ports. Undone by [`Engine::teardown_network`].
    pub(crate) fn setup_network(&self, id: &ContainerId, prepared: &Prepared, netns: &OwnedFd) -> Result<()> {
        use std::os::fd::AsFd;
        if prepared.user_mode {
            usermode::start(netns, &self.roots().container_run(id.as_str()), &prepared.ports)?;
            crate::timings::mark("pasta");
            return Ok(());
        }
        let Some(attachment) = &prepared.attachment else { return Ok(()) };
        let bridge = self.bridge()?;
        network::ensure_bridge(&bridge).doing(|| format!("cannot set up the bridge {}", bridge.name))?;
        self.ensure_firewall(&bridge)?;
        crate::timings::mark("bridge, firewall");
        match network::attach(netns.as_fd(), attachment) {
            Err(_) if network::detach(&attachment.host_ifname).is_ok() => {
                // A link of that name was left by a start that was killed; once more without it.
                network::attach(netns.as_fd(), attachment)
            }
            other => other,
        }
        .doing(|| format!("cannot join the container to the bridge {}", bridge.name))?;
        crate::timings::mark("link");
        self.publish(id, prepared)
    }

    /// Takes what [`Engine::setup_network`] made away. The link pair dies with the container's namespace by itself.
    pub(crate) fn teardown_network(&self, id: &ContainerId) -> Result<()> {
        if rootless::is_rootless() {
            usermode::stop(&self.roots().container_run(id.as_str()))?;
            return self.db()?.release_network(id);
        }
        let ports = self.db()?.ports(id)?;
        let endpoint = self.db()?.endpoints(id)?.into_iter().next();
        if let Some(endpoint) = endpoint.filter(|_| !ports.is_empty()) {
            self.firewall()?
                .withdraw(id.as_str(), &ports::withdrawn(&ports, &endpoint))
                .doing(|| "cannot take the published ports back".to_owned())?;
        }
        self.db()?.release_network(id)
    }
}
