//! A network as containers are put on it: the default bridge, or one that people made.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use network::{Attachment, BridgeConfig, IpvlanFlag, IpvlanMode, MacvlanMode, Upper};

use super::addresses::parse_mac;
use super::options::{Driver, Parent};
use super::{BRIDGE, SYSCTLS};
use crate::Engine;
use crate::db::NetworkRow;
use crate::error::{Doing, Error, Result};
use crate::model::{Endpoint, Subnet};

/// A network that containers are put on.
#[derive(Debug, Clone)]
pub(crate) struct Net {
    /// Its name.
    pub(crate) name: String,
    /// Its identity; empty for the default bridge.
    pub(crate) id: String,
    /// Its addresses.
    pub(crate) subnets: Vec<Subnet>,
    /// Whether it has no way out.
    pub(crate) internal: bool,
    /// What it is on the host.
    pub(crate) link: Link,
}

/// What a network is on the host.
#[derive(Debug, Clone)]
pub(crate) enum Link {
    /// A bridge.
    Bridge(BridgeConfig),
    /// A link that is shared, with hardware addresses of the containers' own.
    Macvlan(Shared, MacvlanMode),
    /// A link that is shared with its hardware address.
    Ipvlan(Shared, IpvlanMode, IpvlanFlag),
}

/// A link of the host that containers share.
#[derive(Debug, Clone)]
pub(crate) struct Shared {
    /// Its name.
    pub(crate) parent: String,
    /// Whether the engine makes it: it leads nowhere.
    pub(crate) own: bool,
    mtu: Option<u32>,
}

impl Net {
    /// The default bridge.
    pub(crate) fn default(bridge: BridgeConfig) -> Self {
        let of = |network: Option<(IpAddr, u8)>, gateway: Option<IpAddr>| {
            network.map(|(address, length)| subnet(address, length, gateway))
        };
        let four = of(bridge.subnet4.map(|(ip, n)| (ip.into(), n)), bridge.gateway4.map(IpAddr::V4));
        let six = of(bridge.subnet6.map(|(ip, n)| (ip.into(), n)), bridge.gateway6.map(IpAddr::V6));
        Self {
            name: BRIDGE.to_owned(),
            id: String::new(),
            subnets: four.into_iter().chain(six).collect(),
            internal: false,
            link: Link::Bridge(bridge),
        }
    }

    /// A network that people made.
    pub(crate) fn of(row: &NetworkRow) -> Result<Self> {
        let shared = |parent: Parent| Shared {
            own: parent.name.is_none(),
            parent: parent.name.unwrap_or_else(|| format!("dm-{}", &row.id[..12])),
            mtu: parent.mtu,
        };
        let link = match Driver::of(&row.driver, &row.config)? {
            Driver::Bridge(options) => {
                let (four, six) = (first(&row.config.subnets, true), first(&row.config.subnets, false));
                let isolated = |mode| mode == network::GatewayMode::Isolated;
                Link::Bridge(BridgeConfig {
                    name: options.name.unwrap_or_else(|| format!("br-{}", &row.id[..12])),
                    subnet4: four.and_then(|net| Some((v4(net.address)?, net.length))),
                    gateway4: four.filter(|_| !isolated(options.mode4)).and_then(|net| v4(net.gateway?)),
                    subnet6: six.and_then(|net| Some((v6(net.address)?, net.length))),
                    gateway6: six.filter(|_| !isolated(options.mode6)).and_then(|net| v6(net.gateway?)),
                    mtu: options.mtu,
                    masquerade: options.masquerade,
                    icc: options.icc,
                    internal: row.config.internal,
                    mode4: options.mode4,
                    mode6: options.mode6,
                })
            }
            Driver::Macvlan(parent, mode) => Link::Macvlan(shared(parent), mode),
            Driver::Ipvlan(parent, mode, flag) => Link::Ipvlan(shared(parent), mode, flag),
        };
        Ok(Self {
            name: row.name.clone(),
            id: row.id.clone(),
            subnets: row.config.subnets.clone(),
            internal: row.config.internal,
            link,
        })
    }

    /// The bridge, if it is one.
    pub(crate) fn bridge(&self) -> Option<&BridgeConfig> {
        match &self.link {
            Link::Bridge(bridge) => Some(bridge),
            _ => None,
        }
    }

    /// The way out of a subnet; an unspecified address is the link itself.
    pub(super) fn gateway(&self, subnet: &Subnet) -> Option<IpAddr> {
        if self.internal {
            return None;
        }
        match &self.link {
            Link::Bridge(bridge) if subnet.address.is_ipv4() => bridge.gateway4.map(IpAddr::V4),
            Link::Bridge(bridge) => bridge.gateway6.map(IpAddr::V6),
            Link::Ipvlan(_, IpvlanMode::L3 | IpvlanMode::L3s, _) if subnet.address.is_ipv4() => {
                Some(Ipv4Addr::UNSPECIFIED.into())
            }
            Link::Ipvlan(_, IpvlanMode::L3 | IpvlanMode::L3s, _) => Some(Ipv6Addr::UNSPECIFIED.into()),
            // Without a parent nobody answers.
            Link::Macvlan(shared, _) | Link::Ipvlan(shared, ..) => subnet.gateway.filter(|_| !shared.own),
        }
    }

    /// The word for what connects the containers; empty for a bridge.
    pub(super) fn driver(&self) -> &'static str {
        match self.link {
            Link::Bridge(_) => "",
            Link::Macvlan(..) => "macvlan",
            Link::Ipvlan(..) => "ipvlan",
        }
    }

    /// Whether containers have hardware addresses of their own here.
    pub(super) fn has_mac(&self) -> bool {
        !matches!(self.link, Link::Ipvlan(..))
    }

    /// The place of one endpoint; the default routes are the caller's to give.
    pub(super) fn attachment(&self, endpoint: &Endpoint, host_ifname: String) -> Result<Attachment> {
        let (upper, mtu) = match &self.link {
            Link::Bridge(bridge) => (
                Upper::Bridge { bridge: bridge.name.clone(), host_ifname, isolated: !bridge.icc },
                bridge.mtu,
            ),
            Link::Macvlan(shared, mode) => {
                (Upper::Macvlan { parent: shared.parent.clone(), mode: *mode }, shared.mtu)
            }
            Link::Ipvlan(shared, mode, flag) => {
                (Upper::Ipvlan { parent: shared.parent.clone(), mode: *mode, flag: *flag }, shared.mtu)
            }
        };
        Ok(Attachment {
            upper,
            guest_ifname: endpoint.link_name().to_owned(),
            mac: if endpoint.mac.is_empty() { [0; 6] } else { parse_mac(&endpoint.mac)? },
            address4: endpoint.ip4.map(|ip| (ip, endpoint.prefix4)),
            address6: endpoint.ip6.map(|ip| (ip, endpoint.prefix6)),
            link_local: endpoint.link_local.clone(),
            gateway4: None,
            gateway6: None,
            mtu,
            sysctls: sysctls(endpoint),
        })
    }

    /// Makes sure that the network is there on the host.
    pub(super) fn ensure(&self) -> Result<()> {
        match &self.link {
            Link::Bridge(bridge) => {
                network::ensure_bridge(bridge).doing(|| format!("cannot set up the bridge {}", bridge.name))
            }
            Link::Macvlan(shared, _) | Link::Ipvlan(shared, ..) if shared.own => {
                network::ensure_island(&shared.parent, shared.mtu)
                    .doing(|| format!("cannot set up the link {}", shared.parent))
            }
            _ => Ok(()),
        }
    }
}

/// The settings of a link that an attachment asks for: `net.ipv4.conf.IFNAME.log_martians=1,…`.
fn sysctls(endpoint: &Endpoint) -> Vec<(String, String)> {
    let text = endpoint.options.get(SYSCTLS).map_or("", String::as_str);
    let pairs = text.split(',').filter_map(|pair| pair.split_once('='));
    pairs
        .map(|(name, value)| (name.trim().replace("IFNAME", endpoint.link_name()), value.trim().to_owned()))
        .collect()
}

pub(super) fn subnet(address: IpAddr, length: u8, gateway: Option<IpAddr>) -> Subnet {
    Subnet { address, length, gateway, range: None, reserved: std::collections::BTreeMap::new() }
}

fn first(subnets: &[Subnet], four: bool) -> Option<&Subnet> {
    subnets.iter().find(|subnet| subnet.address.is_ipv4() == four)
}

pub(super) fn v4(ip: IpAddr) -> Option<Ipv4Addr> {
    match ip {
        IpAddr::V4(ip) => Some(ip),
        IpAddr::V6(_) => None,
    }
}

pub(super) fn v6(ip: IpAddr) -> Option<Ipv6Addr> {
    match ip {
        IpAddr::V6(ip) => Some(ip),
        IpAddr::V4(_) => None,
    }
}

/// The name of the host's end of an endpoint's pair.
pub(super) fn host_ifname(container: &base::ContainerId, endpoint: &Endpoint) -> String {
    match endpoint.network.as_str() {
        BRIDGE => network::host_ifname(container.as_str()),
        _ => network::host_ifname(&endpoint.id(container)),
    }
}

impl Engine {
    /// Finds the networks `names`, in that order.
    pub(super) fn nets<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> Result<Vec<Net>> {
        let mut made: Option<Vec<NetworkRow>> = None;
        let mut list = Vec::new();
        for name in names {
            if name == BRIDGE {
                list.push(Net::default(self.bridge()?));
                continue;
            }
            let rows = match &mut made {
                Some(rows) => rows,
                none => none.insert(self.db()?.networks()?),
            };
            let row = rows.iter().find(|row| row.name == name && !row.removing);
            let row = row.ok_or_else(|| Error::NotFound { what: "network", name: name.to_owned() })?;
            list.push(Net::of(row)?);
        }
        Ok(list)
    }

    /// All bridges that the firewall must know, the default one first: not those that are being removed.
    pub(crate) fn bridges(&self) -> Result<Vec<BridgeConfig>> {
        self.bridges_beside(self.bridge()?)
    }

    /// The same for who has the default one at hand.
    pub(super) fn bridges_beside(&self, default: BridgeConfig) -> Result<Vec<BridgeConfig>> {
        let mut list = vec![default];
        for row in self.db()?.networks()?.iter().filter(|row| row.driver == "bridge" && !row.removing) {
            list.extend(Net::of(row)?.bridge().cloned());
        }
        Ok(list)
    }
}
