//! The files of a container that follow its network: `resolv.conf` and `hosts`.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use docker_types::ContainerSpec;

use super::members::has_names;
use super::places::way_out;
use super::{BRIDGE, Mode};
use crate::Engine;
use crate::error::{Error, IoContext, Result};
use crate::model::Endpoint;
use crate::rootless::{self, usermode};

impl Engine {
    /// The container's `resolv.conf`, and a warning when no name server is left.
    pub(crate) fn resolv_conf(
        &self,
        spec: &ContainerSpec,
        mode: &Mode,
        endpoints: &[Endpoint],
    ) -> Result<(String, Option<String>)> {
        let host = read_or_empty("/etc/resolv.conf")?;
        let mut overrides = self.dns_overrides(spec)?;
        if has_names(endpoints) {
            let server = IpAddr::V4(monitor::names::ADDRESS);
            return Ok((network::files::resolv_conf_of_names(&host, server, &overrides), None));
        }
        let upstream = std::fs::read_to_string("/run/systemd/resolve/resolv.conf").ok();
        if *mode == Mode::Host && overrides == network::files::DnsOverrides::default() {
            return Ok((host, None));
        }
        let mut made = network::files::resolv_conf(&host, upstream.as_deref(), &overrides);
        let by_pasta = *mode == Mode::Pasta || *mode == Mode::Networks && rootless::is_rootless();
        if by_pasta && made.warning.is_some() {
            overrides.servers.push(IpAddr::V4(usermode::DNS));
            made = network::files::resolv_conf(&host, upstream.as_deref(), &overrides);
        }
        Ok((made.text, made.warning))
    }

    /// What a request, or else the configuration, says of name servers.
    pub(super) fn dns_overrides(&self, spec: &ContainerSpec) -> Result<network::files::DnsOverrides> {
        let servers = |list: &[String]| -> Result<Vec<IpAddr>> {
            list.iter()
                .map(|text| text.parse().map_err(|_| Error::Invalid(format!("{text} is not an ip address"))))
                .collect()
        };
        let mut overrides = network::files::DnsOverrides {
            servers: servers(&spec.host_config.dns)?,
            search: spec.host_config.dns_search.clone(),
            options: spec.host_config.dns_options.clone(),
        };
        if overrides.servers.is_empty() {
            overrides.servers.clone_from(&self.config().network.dns);
        }
        Ok(overrides)
    }

    /// The container's `hosts`.
    pub(crate) fn hosts(
        &self,
        spec: &ContainerSpec,
        hostname: &str,
        endpoints: &[Endpoint],
    ) -> Result<String> {
        let gateway = || -> Result<IpAddr> {
            if rootless::is_rootless() {
                return Err(Error::Unsupported(
                    "host-gateway is not supported for a plain user's containers: they cannot reach the host's own ports"
                        .to_owned(),
                ));
            }
            let gateway = way_out(endpoints, true).and_then(|endpoint| endpoint.gateway4).map(IpAddr::V4);
            Ok(gateway.or(self.bridge()?.gateway4.map(IpAddr::V4)).unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)))
        };
        let mut extra = Vec::new();
        for text in spec.host_config.extra_hosts.iter().flatten() {
            let (name, ip) = text
                .split_once([':', '='])
                .ok_or_else(|| Error::Invalid(format!("bad format for add-host: {text:?}")))?;
            let ip = match ip {
                docker_types::host::HOST_GATEWAY => gateway()?,
                ip => ip
                    .trim_matches(['[', ']'])
                    .parse()
                    .map_err(|_| Error::Invalid(format!("invalid IP address in add-host: {ip:?}")))?,
            };
            extra.push((name.to_owned(), ip));
        }
        let own: Vec<IpAddr> = endpoints
            .iter()
            .flat_map(|e| e.ip4.map(IpAddr::V4).into_iter().chain(e.ip6.map(IpAddr::V6)))
            .collect();
        extra.extend(self.linked(endpoints)?);
        Ok(network::files::hosts(hostname, Some(&spec.config.domainname), &own, &extra))
    }

    /// The lines of `hosts` for the links of `endpoints`: alias, name and short id of each container that is linked to. On the
    /// default bridge it must run, as Docker has it; elsewhere names are asked for when they are needed.
    pub(super) fn linked(&self, endpoints: &[Endpoint]) -> Result<Vec<(String, IpAddr)>> {
        let mut lines = Vec::new();
        for endpoint in endpoints {
            for link in &endpoint.links {
                let (name, alias) = link.split_once(':').unwrap_or((link, link));
                let row = self.row(name)?;
                let members = self.members(&endpoint.network)?;
                let Some(member) = members.into_iter().find(|member| member.container == row.id) else {
                    if endpoint.network == BRIDGE {
                        return Err(Error::Conflict(format!(
                            "Cannot link to a non running container: /{} AS {alias}",
                            row.name
                        )));
                    }
                    continue;
                };
                let mut names = vec![alias];
                names
                    .extend([member.name.as_str(), row.id.short()].into_iter().filter(|name| *name != alias));
                let names = names.join(" ");
                let own = member.endpoint.ip4.map(IpAddr::V4).into_iter();
                lines.extend(own.chain(member.endpoint.ip6.map(IpAddr::V6)).map(|ip| (names.clone(), ip)));
            }
        }
        Ok(lines)
    }
}

fn read_or_empty(path: &str) -> Result<String> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(error).at("read", Path::new(path)),
    }
}
