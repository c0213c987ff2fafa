//! The bridge: made once, checked before each start by one question about the link and one about its addresses.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use rustix::io::Errno;

use crate::error::{Attempt, Error, Result};
use crate::netlink::link::{self, Link};
use crate::netlink::wire::Batch;
use crate::netlink::{Answers, Socket};

/// What a bridge network looks like on the host.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct BridgeConfig {
    /// The name of the link, such as `brig0`.
    pub name: String,
    /// The IPv4 network and its prefix length.
    pub subnet4: Option<(Ipv4Addr, u8)>,
    /// The bridge's own IPv4 address, the containers' gateway.
    pub gateway4: Option<Ipv4Addr>,
    /// The IPv6 network (a ULA, see [`crate::ipam::ula_subnet`]) and its prefix length.
    pub subnet6: Option<(Ipv6Addr, u8)>,
    /// The bridge's own IPv6 address, the containers' gateway.
    pub gateway6: Option<Ipv6Addr>,
    /// The largest packet; `None` leaves the kernel's 1500.
    pub mtu: Option<u32>,
    /// Whether containers reach other networks with the host's address.
    pub masquerade: bool,
    /// Whether containers of this network reach each other directly.
    pub icc: bool,
    /// Whether nothing but the host reaches these containers, and they reach nothing.
    pub internal: bool,
    /// What stands between IPv4 containers and the rest.
    pub mode4: GatewayMode,
    /// What stands between IPv6 containers and the rest.
    pub mode6: GatewayMode,
}

/// What stands between the containers of a bridge and the rest, for one address family.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum GatewayMode {
    /// Masquerading and published ports.
    #[default]
    Nat,
    /// The same, but every port of the containers can be reached by who has a route to them.
    Unprotected,
    /// The host has no address on the bridge.
    Isolated,
}

impl GatewayMode {
    /// Tells whether addresses are translated.
    pub fn translates(self) -> bool {
        matches!(self, Self::Nat | Self::Unprotected)
    }
}

impl BridgeConfig {
    /// Returns the bridge's own addresses with their prefix lengths.
    fn addresses(&self) -> Vec<(IpAddr, u8)> {
        let four = self.gateway4.zip(self.subnet4).map(|(ip, (_, prefix))| (IpAddr::V4(ip), prefix));
        let six = self.gateway6.zip(self.subnet6).map(|(ip, (_, prefix))| (IpAddr::V6(ip), prefix));
        four.into_iter().chain(six).collect()
    }
}

/// Checks the name of a link: 1 to 15 bytes, no slash, no blank, no `:`, not a path.
pub(crate) fn check_name(field: &'static str, name: &str) -> Result<()> {
    let wanted = "1 to 15 letters, digits and any of -_.";
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let valid = (1..=15).contains(&name.len()) && name.bytes().all(fine) && name != "." && name != "..";
    if valid { Ok(()) } else { Err(Error::Invalid { field, value: name.to_owned(), wanted }) }
}

/// Makes sure that the bridge of `config` is there, up, with its addresses, and that the host forwards packets.
///
/// Two processes may do this at once. When all is in place nothing is written. Addresses that the bridge has
/// besides stay.
///
/// # Errors
///
/// [`Error::NoBridge`] when the name belongs to a link of another kind; [`Error::Invalid`] for an unusable name.
pub fn ensure_bridge(config: &BridgeConfig) -> Result<()> {
    check_name("bridge name", &config.name)?;
    let socket = Socket::route().attempt(|| "open a netlink socket".into())?;
    let found = link::get(&socket, &config.name).attempt(|| format!("look up the link {:?}", config.name))?;
    let bridge = match found {
        Some(bridge) => bridge,
        None => create(&socket, config)?,
    };
    if bridge.kind != "bridge" {
        return Err(Error::NoBridge { name: config.name.clone() });
    }
    repair(&socket, config, &bridge)?;
    forward_packets(config)
}

/// Makes the bridge; a process that was faster is as good.
fn create(socket: &Socket, config: &BridgeConfig) -> Result<Link> {
    let what = || format!("create the bridge {:?}", config.name);
    let mut batch = Batch::new();
    link::new_bridge(&mut batch, &config.name, bridge_mac(&config.name), config.mtu);
    all_but(socket.exchange(&batch), &[Errno::EXIST]).attempt(what)?;
    let made = link::get(socket, &config.name).attempt(what)?;
    made.ok_or(Errno::NODEV).attempt(what)
}

/// Brings to an existing bridge what it lacks.
fn repair(socket: &Socket, config: &BridgeConfig, bridge: &Link) -> Result<()> {
    let what = || format!("configure the bridge {:?}", config.name);
    // Router advertisements are what CVE-2020-13401 let in; before the addresses, so that none slips through.
    if bridge.accept_ra.is_some_and(|accept| accept != 0) {
        write_sysctl(&format!("net/ipv6/conf/{}/accept_ra", config.name), "0")?;
    }
    let present = link::addresses(socket, bridge.index).attempt(what)?;
    let missing: Vec<_> =
        config.addresses().into_iter().filter(|address| !present.contains(address)).collect();
    if missing.iter().any(|(ip, _)| ip.is_ipv6()) && bridge.accept_ra.is_some() {
        write_sysctl(&format!("net/ipv6/conf/{}/disable_ipv6", config.name), "0")?;
    }
    let mut batch = Batch::new();
    if !bridge.route_localnet {
        link::set_route_localnet(&mut batch, bridge.index);
    }
    if let Some(mtu) = config.mtu.filter(|mtu| bridge.mtu != Some(*mtu)) {
        link::set_mtu(&mut batch, bridge.index, mtu);
    }
    if !bridge.up {
        link::set_up(&mut batch, bridge.index);
    }
    for (ip, prefix) in missing {
        link::new_address(&mut batch, bridge.index, ip, prefix);
        // It goes where IPv6 addresses go, when the link goes down, and so comes with them.
        if ip.is_ipv6() {
            link::new_loopback_route(&mut batch, bridge.index);
        }
    }
    if batch.count() == 0 {
        return Ok(());
    }
    all_but(socket.exchange(&batch), &[Errno::EXIST]).attempt(what).map(drop)
}

/// Switches the forwarding of packets on, for the families that the bridge has.
fn forward_packets(config: &BridgeConfig) -> Result<()> {
    if config.gateway4.is_some() {
        ensure_sysctl("net/ipv4/ip_forward", "1")?;
    }
    if config.gateway6.is_some()
        && read_sysctl("net/ipv6/conf/all/forwarding").is_ok_and(|value| value == "0")
    {
        keep_router_advertisements()?;
        write_sysctl("net/ipv6/conf/all/forwarding", "1")?;
    }
    Ok(())
}

/// Lets the links that take their addresses from a router go on with that: a forwarding host hears router
/// advertisements only with `accept_ra` = 2.
fn keep_router_advertisements() -> Result<()> {
    let socket = Socket::route().attempt(|| "open a netlink socket".into())?;
    let links = link::list(&socket).attempt(|| "list the links of the host".into())?;
    for (name, _) in links {
        let path = format!("net/ipv6/conf/{name}/accept_ra");
        // A link without IPv6, or one that went away meanwhile, has nothing to keep.
        if read_sysctl(&path).is_ok_and(|value| value == "1") {
            write_sysctl(&path, "2")?;
        }
    }
    Ok(())
}

/// Tells whether the kernel has IPv6 and the host has not switched it off altogether.
pub fn ipv6_available() -> bool {
    read_sysctl("net/ipv6/conf/all/disable_ipv6").is_ok_and(|value| value == "0")
}

/// Makes sure that there is a link `name` that leads nowhere: what containers share whose network has no parent. It is one
/// end of a pair, because links on a link without a carrier carry nothing, and not each kernel has dummies.
pub fn ensure_island(name: &str, mtu: Option<u32>) -> Result<()> {
    check_name("link name", name)?;
    let what = || format!("create the link {name:?}");
    let far = format!("dp{}", name.get(2..).unwrap_or_default());
    let socket = Socket::route().attempt(what)?;
    if link::get(&socket, name).attempt(what)?.is_none() {
        let mut batch = Batch::new();
        link::new_pair(&mut batch, name, &far, bridge_mac(&far), mtu.unwrap_or(1500));
        all_but(socket.exchange(&batch), &[Errno::EXIST]).attempt(what)?;
    }
    let found = link::get(&socket, &far).attempt(what)?.ok_or(Errno::NODEV).attempt(what)?;
    if found.up {
        return Ok(());
    }
    let mut batch = Batch::new();
    link::set_up(&mut batch, found.index);
    socket.request(&batch).attempt(what).map(drop)
}

/// Removes the bridge `name`; a missing one is fine. Pairs that are attached lose their bridge only.
pub fn remove_bridge(name: &str) -> Result<()> {
    delete_link(name, "remove the bridge")
}

/// Removes the link `name`; a missing one is fine.
pub fn remove_link(name: &str) -> Result<()> {
    delete_link(name, "remove the link")
}

/// Removes the link `name`; a missing one is fine.
fn delete_link(name: &str, attempt: &str) -> Result<()> {
    let what = || format!("{attempt} {name:?}");
    let socket = Socket::route().attempt(what)?;
    let mut batch = Batch::new();
    link::delete_link(&mut batch, name);
    all_but(socket.exchange(&batch), &[Errno::NODEV]).attempt(what).map(drop)
}

/// Makes the first refusal that is none of `harmless` the error.
pub(crate) fn all_but(answers: io::Result<Answers>, harmless: &[Errno]) -> io::Result<Answers> {
    let answers = answers?;
    match answers.refusals.iter().find(|refusal| !harmless.contains(&refusal.errno)) {
        Some(refusal) => Err(refusal.clone().into()),
        None => Ok(answers),
    }
}

/// Returns the hardware address of the bridge: fixed by its name, because a bridge without one of its own changes it
/// with its ports, and containers would talk to a neighbour that is no more.
pub(crate) fn bridge_mac(name: &str) -> [u8; 6] {
    let hash = crate::ipam::fnv1a(name.as_bytes()).to_be_bytes();
    [0x02, 0x62, hash[4], hash[5], hash[6], hash[7]]
}

/// Reads a setting of the thread's network namespace without its end of line.
pub(crate) fn read_sysctl(path: &str) -> io::Result<String> {
    let mut text = std::fs::read_to_string(Path::new("/proc/sys").join(path))?;
    text.truncate(text.trim_end().len());
    Ok(text)
}

/// Writes a setting of the thread's network namespace.
pub(crate) fn write_sysctl(path: &str, value: &str) -> Result<()> {
    std::fs::write(Path::new("/proc/sys").join(path), value)
        .attempt(|| format!("set {} to {value:?}", path.replace('/', ".")))
}

/// Writes a setting of the thread's network namespace when it is another one.
pub(crate) fn ensure_sysctl(path: &str, value: &str) -> Result<()> {
    if read_sysctl(path).is_ok_and(|current| current == value) { Ok(()) } else { write_sysctl(path, value) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_paths_or_too_long_are_refused() {
        for name in ["", ".", "..", "a/b", "a b", "sixteen-letters-", "br\0g"] {
            assert!(check_name("bridge name", name).is_err(), "{name:?}");
        }
        assert!(check_name("bridge name", "brig0").is_ok());
    }

    #[test]
    fn the_hardware_address_is_unicast_and_local() {
        assert_eq!(bridge_mac("brig0")[0] & 3, 2);
        assert_ne!(bridge_mac("brig0"), bridge_mac("brig1"));
    }
}
