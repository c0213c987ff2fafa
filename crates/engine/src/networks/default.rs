//! The default bridge: its name, and its subnet, which is chosen once and kept.

use std::net::Ipv4Addr;

use network::{BridgeConfig, GatewayMode, ipam};
use oci::Digest;
use rustix::io::Errno;

use super::addresses::parse_subnet;
use super::net::v4;
use crate::Engine;
use crate::error::{Doing, Error, Result};

/// Where subnets are looked for: private ranges that few others use come first.
pub(super) const POOLS: [(Ipv4Addr, u8); 3] = [
    (Ipv4Addr::new(172, 26, 0, 0), 15),
    (Ipv4Addr::new(10, 64, 0, 0), 10),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
];
/// 4,094 containers on one bridge.
const SUBNET_LENGTH: u8 = 20;
/// Where the chosen subnet is kept.
const SUBNET_SETTING: &str = "bridge.subnet";

impl Engine {
    /// Names on the machine that belong to this pair of roots: the bridge and the firewall table.
    pub(crate) fn network_names(&self) -> (String, String) {
        if self.roots().is_default() {
            return ("brig0".to_owned(), "brig".to_owned());
        }
        let hash = Digest::of(self.roots().data.as_os_str().as_encoded_bytes());
        (format!("brig-{}", &hash.hex()[..8]), format!("brig-{}", &hash.hex()[..8]))
    }

    /// The default bridge: its subnet is chosen once and kept.
    pub(crate) fn bridge(&self) -> Result<BridgeConfig> {
        let settings = &self.config().network;
        let (name, _) = self.network_names();
        let text = match &settings.subnet {
            Some(text) => text.clone(),
            None => self.bridge_subnet(&name)?,
        };
        let subnet4 = parse_subnet(&text)?;
        let subnet6 =
            (settings.ipv6 && network::ipv6_available()).then(|| ipam::ula_subnet(&format!("{text} {name}")));
        Ok(BridgeConfig {
            name,
            subnet4: Some(subnet4),
            gateway4: ipam::first_address4(subnet4),
            subnet6,
            gateway6: subnet6.map(ipam::first_address6),
            mtu: settings.mtu,
            masquerade: true,
            icc: true,
            internal: false,
            mode4: GatewayMode::Nat,
            mode6: GatewayMode::Nat,
        })
    }

    /// The subnet that was chosen for the bridge `name`; another one when the bridge is not there yet and somebody else
    /// (a VPN, another engine) took that network meanwhile.
    fn bridge_subnet(&self, name: &str) -> Result<String> {
        let kept = self.db()?.setting(SUBNET_SETTING)?;
        if let Some(text) = &kept
            && link_exists(name)?
        {
            return Ok(text.clone());
        }
        let routes = network::host_routes().doing(|| "cannot read the host's routes".to_owned())?;
        let mut pools = POOLS.to_vec();
        if !self.roots().is_default() {
            // Engines on other roots look at another place first, so that two that begin at once do not meet.
            let digest = Digest::of(name.as_bytes());
            let place =
                u32::from_str_radix(&digest.hex()[..3], 16).unwrap_or(0) % (1 << (SUBNET_LENGTH - 10));
            let own = Ipv4Addr::from_bits(POOLS[1].0.to_bits() | (place << (32 - SUBNET_LENGTH)));
            pools.insert(0, (own, SUBNET_LENGTH));
        }
        if let Some(text) = &kept {
            pools.insert(0, parse_subnet(text)?);
        }
        let made = self.db()?.networks()?;
        let made = made.iter().flat_map(|row| &row.config.subnets);
        let made: Vec<_> = made.filter_map(|net| Some((v4(net.address)?, net.length))).collect();
        let (ip, length) = ipam::choose_subnet(&pools, SUBNET_LENGTH, &routes, &made).ok_or_else(|| {
            Error::Unavailable(
                "every private network is in use on this host; set [network] subnet in brig.toml".to_owned(),
            )
        })?;
        let text = format!("{ip}/{length}");
        match kept {
            Some(old) if old == text => Ok(text),
            Some(old) => self.db()?.change_setting(SUBNET_SETTING, &old, &text),
            None => self.db()?.setting_once(SUBNET_SETTING, &text),
        }
    }
}

/// Asks the kernel by a socket: `/sys` may show another network namespace than the one we are in.
///
/// That it cannot be asked is an error and not a "no": the bridge of running containers would be given another subnet.
pub(super) fn link_exists(name: &str) -> Result<bool> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, netdevice, socket_with};
    let fail =
        |source: Errno| Error::System { action: format!("look for the link {name}"), source: source.into() };
    let socket =
        socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None).map_err(fail)?;
    match netdevice::name_to_index(&socket, name) {
        Ok(_) => Ok(true),
        Err(Errno::NODEV) => Ok(false),
        Err(error) => Err(fail(error)),
    }
}
