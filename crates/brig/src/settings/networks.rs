//! `--network` and the flags that say what is wanted on it.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use anyhow::{Context as _, Result, bail};
use docker_types::container::{EndpointConfig, EndpointIpam, NetworkingConfig};
use docker_types::host;

use super::flags::ContainerFlags;

/// Returns the network mode.
pub(crate) fn mode(flags: &ContainerFlags) -> String {
    match flags.network.first() {
        Some(network) if !network.target.is_empty() => network.target.clone(),
        _ => "default".to_owned(),
    }
}

/// Returns what is wanted on the network; empty when nothing special is.
pub(crate) fn config(flags: &ContainerFlags) -> Result<NetworkingConfig> {
    if flags.network.len() > 1 {
        bail!("more than one --network is not supported yet");
    }
    let given = flags.network.first().cloned().unwrap_or_default();
    if let Some(key) = given.unsupported.first() {
        bail!("--network {key}=… is not supported yet");
    }
    if !given.aliases.is_empty() {
        bail!("--network alias=… is not supported yet");
    }
    let ip4 = one("--ip", flags.ip.as_ref(), given.ipv4.as_ref())?;
    let ip6 = one("--ip6", flags.ip6.as_ref(), given.ipv6.as_ref())?;
    let mac = match one("--mac-address", flags.mac_address.as_ref(), given.mac.as_ref())? {
        Some(mac) => host::mac_address(mac)?,
        None => String::new(),
    };
    if ip4.is_none() && ip6.is_none() && mac.is_empty() {
        return Ok(NetworkingConfig::default());
    }
    let ipam = EndpointIpam {
        ipv4_address: address::<Ipv4Addr>("--ip", "IPv4", ip4)?,
        ipv6_address: address::<Ipv6Addr>("--ip6", "IPv6", ip6)?,
    };
    let wants_address = ip4.is_some() || ip6.is_some();
    let endpoint =
        EndpointConfig { ipam_config: wants_address.then_some(ipam), aliases: None, mac_address: mac };
    Ok(NetworkingConfig { endpoints_config: BTreeMap::from([(mode(flags), endpoint)]) })
}

/// A thing may be said by its flag or inside `--network`, not by both.
fn one<'a>(flag: &str, own: Option<&'a String>, inside: Option<&'a String>) -> Result<Option<&'a String>> {
    match (own, inside) {
        (Some(_), Some(_)) => {
            bail!("conflicting options: cannot specify both {flag} and per-network options")
        }
        (own, inside) => Ok(own.or(inside).filter(|text| !text.is_empty())),
    }
}

fn address<A>(flag: &str, family: &str, text: Option<&String>) -> Result<String>
where
    A: std::str::FromStr + ToString,
    A::Err: std::error::Error + Send + Sync + 'static,
{
    let Some(text) = text else { return Ok(String::new()) };
    let parsed: A = text.parse().with_context(|| format!("invalid {family} address for {flag}: {text}"))?;
    Ok(parsed.to_string())
}
