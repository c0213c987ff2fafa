//! `--network` and the flags that say what is wanted on it.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use anyhow::{Context as _, Result, bail};
use docker_types::container::{EndpointConfig, EndpointIpam, NetworkingConfig};
use docker_types::host::{self, NetworkFlag};

use super::flags::ContainerFlags;

/// Returns the network mode.
pub(crate) fn mode(flags: &ContainerFlags) -> String {
    match flags.network.first() {
        Some(network) if !network.target.is_empty() => network.target.clone(),
        _ => "default".to_owned(),
    }
}

/// Returns what is wanted on the networks; empty when nothing special is.
pub(crate) fn config(flags: &ContainerFlags) -> Result<NetworkingConfig> {
    let single = mode(flags);
    let several = flags.network.len() > 1;
    let first = flags.network.first().cloned().unwrap_or_default();
    let mut wishes = vec![(single, wish(&with_flags(first, flags)?)?)];
    for given in flags.network.iter().skip(1) {
        wishes.push((given.target.clone(), wish(given)?));
    }
    if !several && wishes[0].1 == EndpointConfig::default() {
        return Ok(NetworkingConfig::default());
    }
    if several {
        for (name, _) in &wishes {
            if matches!(name.as_str(), "host" | "none") || name.starts_with("container:") {
                bail!(
                    "conflicting options: cannot attach both user-defined and non-user-defined network-modes"
                );
            }
        }
    }
    let mut endpoints_config = BTreeMap::new();
    for (position, (name, mut wish)) in wishes.into_iter().enumerate() {
        wish.position = position as i64;
        if endpoints_config.insert(name.clone(), wish).is_some() {
            bail!("network {name:?} is specified multiple times");
        }
    }
    Ok(NetworkingConfig { endpoints_config })
}

/// The first network is the one that the flags of their own speak of. A thing may be said by its flag or inside
/// `--network`, not by both.
fn with_flags(mut first: NetworkFlag, flags: &ContainerFlags) -> Result<NetworkFlag> {
    let both = |flag: &str| {
        anyhow::anyhow!(
            "conflicting options: cannot specify both {flag} and per-network {}",
            flag.trim_start_matches('-')
        )
    };
    let one = |flag: &str, own: &Option<String>, inside: &mut Option<String>| match (own, &inside) {
        (Some(_), Some(_)) => Err(both(flag)),
        (Some(own), None) => {
            *inside = Some(own.clone());
            Ok(())
        }
        (None, _) => Ok(()),
    };
    one("--ip", &flags.ip, &mut first.ipv4)?;
    one("--ip6", &flags.ip6, &mut first.ipv6)?;
    one("--mac-address", &flags.mac_address, &mut first.mac)?;
    let many = |flag: &str, own: &[String], inside: &mut Vec<String>| {
        if !own.is_empty() && !inside.is_empty() {
            return Err(both(flag));
        }
        inside.extend_from_slice(own);
        Ok(())
    };
    many("--network-alias", &flags.network_alias, &mut first.aliases)?;
    many("--link-local-ip", &flags.link_local_ip, &mut first.link_local)?;
    many("--link", &flags.link, &mut first.links)?;
    Ok(first)
}

/// Returns what is wanted on one network.
pub(crate) fn wish(given: &NetworkFlag) -> Result<EndpointConfig> {
    let some = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let ipv4_address = address::<Ipv4Addr>("--ip", "IPv4", some(&given.ipv4).as_ref())?;
    let ipv6_address = address::<Ipv6Addr>("--ip6", "IPv6", some(&given.ipv6).as_ref())?;
    let link_local_ips = list(&given.link_local);
    let wants_address = !ipv4_address.is_empty() || !ipv6_address.is_empty() || link_local_ips.is_some();
    let ipam = EndpointIpam { ipv4_address, ipv6_address, link_local_ips };
    let links = given.links.iter().map(|text| link(text)).collect::<Result<Vec<_>>>()?;
    let options: BTreeMap<String, String> = given.driver_opts.iter().cloned().collect();
    Ok(EndpointConfig {
        ipam_config: wants_address.then_some(ipam),
        links: list(&links),
        aliases: list(&given.aliases),
        mac_address: some(&given.mac).map(|mac| host::mac_address(&mac)).transpose()?.unwrap_or_default(),
        driver_opts: (!options.is_empty()).then_some(options),
        gw_priority: given.gw_priority,
        position: 0,
    })
}

/// Reads `name[:alias]`.
fn link(text: &str) -> Result<String> {
    let (name, alias) = text.split_once(':').unwrap_or((text, text));
    if name.is_empty() || alias.is_empty() || alias.contains([':', ' ', '\n', '\t']) {
        bail!("bad format for links: {text}");
    }
    Ok(format!("{name}:{alias}"))
}

fn list(values: &[String]) -> Option<Vec<String>> {
    if values.is_empty() { None } else { Some(values.to_vec()) }
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
