//! The options of a network's driver, read and checked. Pure.
//!
//! The names are Docker's: `com.docker.network.…` for bridges, `parent`, `macvlan_mode`, `ipvlan_mode` and `ipvlan_flag`
//! for the drivers that share a link of the host.

use std::collections::BTreeMap;

use network::{GatewayMode, IpvlanFlag, IpvlanMode, MacvlanMode};

use crate::error::{Error, Result};
use crate::model::NetworkConfig;

const PREFIX: &str = "com.docker.network.";
/// What a link may carry at least, and at most.
const MTU: std::ops::RangeInclusive<u32> = 68..=65535;

/// What connects the containers of a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Driver {
    /// A bridge of the host.
    Bridge(BridgeOptions),
    /// Links of their own hardware address on a link of the host.
    Macvlan(Parent, MacvlanMode),
    /// Links that share the hardware address of a link of the host.
    Ipvlan(Parent, IpvlanMode, IpvlanFlag),
}

/// The options of a bridge.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct BridgeOptions {
    /// The name of the link; none takes one made of the network's identity.
    pub(crate) name: Option<String>,
    /// The largest packet.
    pub(crate) mtu: Option<u32>,
    /// Whether containers reach other networks with the host's address.
    pub(crate) masquerade: bool,
    /// Whether containers of the network reach each other.
    pub(crate) icc: bool,
    /// What stands between IPv4 containers and the rest.
    pub(crate) mode4: GatewayMode,
    /// What stands between IPv6 containers and the rest.
    pub(crate) mode6: GatewayMode,
}

/// The link of the host that containers share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Parent {
    /// Its name; none makes one that leads nowhere.
    pub(crate) name: Option<String>,
    /// The largest packet.
    pub(crate) mtu: Option<u32>,
}

impl Driver {
    /// Reads the options of a network of the driver `driver`; an unknown one is refused.
    pub(crate) fn of(driver: &str, config: &NetworkConfig) -> Result<Self> {
        let mut options = config.options.clone();
        let options = &mut options;
        let read = match driver {
            "bridge" => Self::Bridge(bridge(options, config.internal)?),
            "macvlan" => Self::Macvlan(parent(options)?, macvlan_mode(options)?),
            "ipvlan" => Self::Ipvlan(parent(options)?, ipvlan_mode(options)?, ipvlan_flag(options)?),
            other => return Err(unknown_driver(other)),
        };
        match options.keys().next() {
            Some(key) => {
                Err(Error::Invalid(format!("unknown option {key:?} for a network of the driver {driver:?}")))
            }
            None => Ok(read),
        }
    }
}

fn unknown_driver(name: &str) -> Error {
    match name {
        "host" | "null" | "none" => Error::Conflict(format!(
            "only one instance of \"{}\" network is allowed",
            if name == "none" { "null" } else { name }
        )),
        "overlay" => Error::Unsupported(
            "overlay networks are not supported: they belong to a swarm, which Brig is not".to_owned(),
        ),
        _ => Error::NotFound { what: "plugin", name: name.to_owned() },
    }
}

fn bridge(options: &mut BTreeMap<String, String>, internal: bool) -> Result<BridgeOptions> {
    let mut take = |name: &str| options.remove(&format!("{PREFIX}{name}"));
    let name = take("bridge.name").filter(|name| !name.is_empty());
    if let Some(name) = name.as_deref().filter(|name| !is_link_name(name)) {
        return Err(Error::Invalid(format!(
            "invalid bridge name {name:?}: 1 to 15 letters, digits and any of -_. are wanted"
        )));
    }
    let mtu = take("driver.mtu").map(|text| mtu(&text)).transpose()?;
    let masquerade = take("bridge.enable_ip_masquerade").map(|text| flag("enable_ip_masquerade", &text));
    let icc = take("bridge.enable_icc").map(|text| flag("enable_icc", &text));
    let mode4 = gateway_mode("gateway_mode_ipv4", take("bridge.gateway_mode_ipv4"), internal)?;
    let mode6 = gateway_mode("gateway_mode_ipv6", take("bridge.gateway_mode_ipv6"), internal)?;
    // The prefix of the names inside; kept as Docker keeps it.
    if let Some(prefix) =
        options.remove(&format!("{PREFIX}container_iface_prefix")).filter(|text| text != "eth")
    {
        return Err(Error::Unsupported(format!(
            "container_iface_prefix={prefix} is not supported: links inside are named eth0, eth1 and so on"
        )));
    }
    Ok(BridgeOptions {
        name,
        mtu,
        masquerade: masquerade.transpose()?.unwrap_or(true),
        icc: icc.transpose()?.unwrap_or(true),
        mode4,
        mode6,
    })
}

fn gateway_mode(name: &str, text: Option<String>, internal: bool) -> Result<GatewayMode> {
    match text.as_deref() {
        None | Some("" | "nat") => Ok(GatewayMode::Nat),
        Some("nat-unprotected") => Ok(GatewayMode::Unprotected),
        Some("routed") => Err(Error::Unsupported(format!(
            "{name}=routed is not supported yet: give nat, nat-unprotected or, for an internal network, isolated"
        ))),
        Some("isolated") if internal => Ok(GatewayMode::Isolated),
        Some("isolated") => {
            Err(Error::Invalid(format!("{name}=isolated can only be used for an internal network")))
        }
        Some(other) => Err(Error::Invalid(format!(
            "unknown gateway mode {other}: {name} is one of nat, nat-unprotected and isolated"
        ))),
    }
}

fn parent(options: &mut BTreeMap<String, String>) -> Result<Parent> {
    let name = options.remove("parent").filter(|name| !name.is_empty());
    if let Some(name) = name.as_deref().filter(|name| !is_link_name(name)) {
        return Err(Error::Invalid(format!(
            "invalid parent {name:?}: the name of a link of the host is wanted"
        )));
    }
    let mtu = options.remove(&format!("{PREFIX}driver.mtu")).map(|text| mtu(&text)).transpose()?;
    Ok(Parent { name, mtu })
}

fn macvlan_mode(options: &mut BTreeMap<String, String>) -> Result<MacvlanMode> {
    match options.remove("macvlan_mode").as_deref() {
        None | Some("" | "bridge") => Ok(MacvlanMode::Bridge),
        Some("private") => Ok(MacvlanMode::Private),
        Some("vepa") => Ok(MacvlanMode::Vepa),
        Some("passthru") => Ok(MacvlanMode::Passthru),
        Some(other) => Err(Error::Invalid(format!(
            "requested macvlan mode '{other}' is not valid, 'bridge' mode is the macvlan driver default"
        ))),
    }
}

fn ipvlan_mode(options: &mut BTreeMap<String, String>) -> Result<IpvlanMode> {
    match options.remove("ipvlan_mode").as_deref() {
        None | Some("" | "l2") => Ok(IpvlanMode::L2),
        Some("l3") => Ok(IpvlanMode::L3),
        Some("l3s") => Ok(IpvlanMode::L3s),
        Some(other) => Err(Error::Invalid(format!(
            "requested ipvlan mode '{other}' is not valid, 'l2' mode is the ipvlan driver default"
        ))),
    }
}

fn ipvlan_flag(options: &mut BTreeMap<String, String>) -> Result<IpvlanFlag> {
    match options.remove("ipvlan_flag").as_deref() {
        None | Some("" | "bridge") => Ok(IpvlanFlag::Bridge),
        Some("private") => Ok(IpvlanFlag::Private),
        Some("vepa") => Ok(IpvlanFlag::Vepa),
        Some(other) => Err(Error::Invalid(format!(
            "requested ipvlan flag '{other}' is not valid, 'bridge' is the ipvlan driver default"
        ))),
    }
}

fn mtu(text: &str) -> Result<u32> {
    let bad = || {
        Error::Invalid(format!(
            "invalid MTU {text:?}: a number from {} to {} is wanted",
            MTU.start(),
            MTU.end()
        ))
    };
    text.parse().ok().filter(|mtu| MTU.contains(mtu)).ok_or_else(bad)
}

/// Reads what Go reads as a truth.
fn flag(name: &str, text: &str) -> Result<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        _ => Err(Error::Invalid(format!("invalid value {text:?} of {name}: true or false is wanted"))),
    }
}

pub(super) fn is_link_name(name: &str) -> bool {
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (1..=15).contains(&name.len()) && name.bytes().all(fine) && name != "." && name != ".."
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(driver: &str, options: &[(&str, &str)], internal: bool) -> Result<Driver> {
        let options = options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Driver::of(driver, &NetworkConfig { options, internal, ..NetworkConfig::default() })
    }

    #[test]
    fn a_bridge_has_dockers_defaults() {
        let Driver::Bridge(plain) = read("bridge", &[], false).unwrap() else { panic!("no bridge") };
        assert!(plain.masquerade && plain.icc && plain.mode4 == GatewayMode::Nat && plain.name.is_none());
        let given = [
            ("com.docker.network.bridge.name", "lan"),
            ("com.docker.network.driver.mtu", "1400"),
            ("com.docker.network.bridge.enable_icc", "false"),
            ("com.docker.network.bridge.enable_ip_masquerade", "0"),
            ("com.docker.network.bridge.gateway_mode_ipv6", "nat-unprotected"),
        ];
        let Driver::Bridge(read) = read("bridge", &given, false).unwrap() else { panic!("no bridge") };
        assert_eq!((read.name.as_deref(), read.mtu), (Some("lan"), Some(1400)));
        assert!(!read.icc && !read.masquerade && read.mode6 == GatewayMode::Unprotected);
    }

    #[test]
    fn what_is_not_known_is_refused() {
        for (driver, option, word) in [
            ("bridge", ("com.docker.network.bridge.color", "red"), "unknown option"),
            ("bridge", ("parent", "eth0"), "unknown option"),
            ("macvlan", ("macvlan_mode", "l2"), "not valid"),
            ("ipvlan", ("ipvlan_mode", "bridge"), "not valid"),
            ("bridge", ("com.docker.network.bridge.name", "a/b"), "invalid bridge name"),
            ("bridge", ("com.docker.network.driver.mtu", "9"), "invalid MTU"),
            ("bridge", ("com.docker.network.bridge.enable_icc", "perhaps"), "true or false"),
            ("bridge", ("com.docker.network.bridge.gateway_mode_ipv4", "isolated"), "internal network"),
            ("bridge", ("com.docker.network.bridge.gateway_mode_ipv4", "magic"), "unknown gateway mode"),
            ("bridge", ("com.docker.network.bridge.gateway_mode_ipv4", "routed"), "not supported yet"),
        ] {
            let error = read(driver, &[option], false).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
        assert!(read("bridge", &[("com.docker.network.bridge.gateway_mode_ipv4", "isolated")], true).is_ok());
        for driver in ["host", "none", "overlay", "weave"] {
            assert!(read(driver, &[], false).is_err(), "{driver}");
        }
    }
}
