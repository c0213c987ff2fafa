//! `brig network create`.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args as ClapArgs;
use docker_types::env;
use engine::networks::{NetworkRequest, SubnetRequest};

use super::Entry;
use crate::cli::{Context, Run};
use crate::ui::Ui;

pub(crate) const ENTRY: Entry = Entry {
    paths: &[&["network", "create"]],
    usage: "[OPTIONS] NETWORK",
    about: "Make a network",
    details: "\
Options of a bridge: com.docker.network.bridge.name, com.docker.network.driver.mtu,
com.docker.network.bridge.enable_icc, com.docker.network.bridge.enable_ip_masquerade,
com.docker.network.bridge.gateway_mode_ipv4 and gateway_mode_ipv6 (nat, nat-unprotected, isolated).
Options of macvlan: parent, macvlan_mode (bridge, private, vepa, passthru), com.docker.network.driver.mtu.
Options of ipvlan: parent, ipvlan_mode (l2, l3, l3s), ipvlan_flag (bridge, private, vepa).",
    refused: &["config-from", "config-only", "ingress", "ipam-opt"],
    ..Entry::of::<Args>()
};

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Kept and shown: it matters to swarms only
    #[arg(long)]
    attachable: bool,
    /// Address that somebody else has (name=address)
    #[arg(long, value_name = "map")]
    aux_address: Vec<String>,
    /// What connects the containers (bridge|macvlan|ipvlan)
    #[arg(short, long, value_name = "string")]
    driver: Option<String>,
    /// Gateway of a subnet, on a bridge the bridge's own address
    #[arg(long, value_name = "strings", value_delimiter = ',')]
    gateway: Vec<String>,
    /// No way out: nothing but the host reaches these containers, and they reach nothing
    #[arg(long)]
    internal: bool,
    /// Part of a subnet that addresses are chosen from (172.30.1.0/24)
    #[arg(long, value_name = "strings", value_delimiter = ',')]
    ip_range: Vec<String>,
    /// Who chooses addresses (default)
    #[arg(long, value_name = "string")]
    ipam_driver: Option<String>,
    /// Whether containers get an IPv4 address
    #[arg(long, value_name = "bool", num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "true", action = clap::ArgAction::Set)]
    ipv4: bool,
    /// Whether containers get an IPv6 address
    #[arg(long, value_name = "bool", num_args = 0..=1, require_equals = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    ipv6: Option<bool>,
    /// Set a label (name or name=value)
    #[arg(long, value_name = "list", value_parser = env::label)]
    label: Vec<(String, String)>,
    /// Set an option of the driver (name=value)
    #[arg(short, long = "opt", value_name = "map")]
    opt: Vec<String>,
    /// Where it is known (local)
    #[arg(long, value_name = "string")]
    scope: Option<String>,
    /// Subnet (172.30.0.0/24); a free one is chosen without
    #[arg(long, value_name = "strings", value_delimiter = ',')]
    subnet: Vec<String>,
    #[arg(required = true, value_name = "NETWORK")]
    network: String,
}

impl Run for Args {
    fn run(self, ui: &Ui, context: &Context) -> Result<ExitCode> {
        let request = self.request()?;
        let id = context.engine()?.create_network(&request)?;
        ui.line(&id)?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Args {
    fn request(self) -> Result<NetworkRequest> {
        if let Some(driver) = self.ipam_driver.filter(|driver| !matches!(driver.as_str(), "" | "default")) {
            bail!("IPAM driver {driver:?} is not supported: give default");
        }
        if let Some(scope) = self.scope.filter(|scope| !matches!(scope.as_str(), "" | "local")) {
            bail!("scope {scope:?} is not supported: give local");
        }
        Ok(NetworkRequest {
            name: self.network,
            driver: self.driver.unwrap_or_default(),
            subnets: subnets(&self.subnet, &self.ip_range, &self.gateway, &self.aux_address)?,
            options: pairs(&self.opt)?,
            labels: self.label.into_iter().collect(),
            ipv4: Some(self.ipv4),
            ipv6: self.ipv6,
            internal: self.internal,
            attachable: self.attachable,
        })
    }
}

fn pairs(texts: &[String]) -> Result<BTreeMap<String, String>> {
    let split = |text: &String| match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => bail!("invalid argument {text:?}: name=value is wanted"),
    };
    texts.iter().map(split).collect()
}

/// Gives each range, gateway and address to the subnet that it is in, as Docker's client does.
fn subnets(
    subnets: &[String],
    ranges: &[String],
    gateways: &[String],
    reserved: &[String],
) -> Result<Vec<SubnetRequest>> {
    if subnets.is_empty() {
        if let Some(text) = ranges.first().or(gateways.first()).or(reserved.first()) {
            bail!("every ip-range or gateway must have a corresponding subnet: {text} has none");
        }
        return Ok(Vec::new());
    }
    let mut list: Vec<SubnetRequest> = subnets
        .iter()
        .map(|subnet| SubnetRequest { subnet: subnet.trim().to_owned(), ..SubnetRequest::default() })
        .collect();
    for range in ranges {
        let address = range.split('/').next().unwrap_or_default();
        let own = owner(&mut list, address, "range", range)?;
        if !own.range.is_empty() {
            bail!(
                "cannot configure multiple ranges ({range}, {}) on the same subnet ({})",
                own.range,
                own.subnet
            );
        }
        own.range.clone_from(range);
    }
    for gateway in gateways {
        let own = owner(&mut list, gateway, "gateway", gateway)?;
        if !own.gateway.is_empty() {
            bail!(
                "cannot configure multiple gateways ({gateway}, {}) for the same subnet ({})",
                own.gateway,
                own.subnet
            );
        }
        own.gateway.clone_from(gateway);
    }
    for (name, address) in pairs(reserved)? {
        let own = owner(&mut list, &address, "aux-address", &address)?;
        own.reserved.insert(name, address);
    }
    Ok(list)
}

fn owner<'a>(
    list: &'a mut [SubnetRequest],
    address: &str,
    what: &str,
    text: &str,
) -> Result<&'a mut SubnetRequest> {
    let Ok(ip) = address.parse::<IpAddr>() else { bail!("invalid {what}: {text} is no address") };
    match list.iter_mut().find(|subnet| engine::networks::is_inside(ip, &subnet.subnet)) {
        Some(subnet) => Ok(subnet),
        None => bail!("no matching subnet for {what} {text}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_range_and_gateway_finds_its_subnet() {
        let text = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let list = subnets(
            &text(&["10.1.0.0/16", "fd00::/64"]),
            &text(&["10.1.5.0/24"]),
            &text(&["fd00::9", "10.1.0.7"]),
            &text(&["router=10.1.0.8"]),
        )
        .unwrap();
        assert_eq!((list[0].range.as_str(), list[0].gateway.as_str()), ("10.1.5.0/24", "10.1.0.7"));
        assert_eq!((list[1].range.as_str(), list[1].gateway.as_str()), ("", "fd00::9"));
        assert_eq!(list[0].reserved["router"], "10.1.0.8");
        for (ranges, gateways, reserved) in [
            (&["10.2.0.0/24"][..], &[][..], &[][..]),
            (&["10.1.1.0/24", "10.1.2.0/24"], &[], &[]),
            (&[], &["10.1.0.1", "10.1.0.2"], &[]),
            (&[], &["x"], &[]),
            (&[], &[], &["10.1.0.1"]),
        ] {
            assert!(
                subnets(&text(&["10.1.0.0/16"]), &text(ranges), &text(gateways), &text(reserved)).is_err()
            );
        }
        assert!(subnets(&[], &[], &text(&["10.1.0.1"]), &[]).is_err());
    }
}
