//! Published and exposed ports: the grammar of `-p` and `--expose`, and the PORTS column.
//!
//! `[ip:][hostPort[-range]:]containerPort[-range][/proto]`, IPv6 addresses in brackets or bare.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use base::{ErrorKind, Kinded};
use serde::{Deserialize, Serialize};

use crate::container::{Empty, PortBinding};

/// Why a text is no port specification. The words are Docker's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PortError {
    /// The container's port is missing.
    #[error("no port specified: {0}<empty>")]
    Missing(String),
    /// The container's port is no port or range.
    #[error("invalid containerPort: {0}")]
    ContainerPort(String),
    /// The host's port is no port or range.
    #[error("invalid hostPort: {0}")]
    HostPort(String),
    /// The address is none.
    #[error("invalid IP address: {0}")]
    Address(String),
    /// An address opens a bracket without closing it.
    #[error("invalid IP address {0}: missing ']' in address")]
    Bracket(String),
    /// The protocol is none of tcp, udp, sctp.
    #[error("invalid proto: {0}")]
    Protocol(String),
    /// Ranges differ in length.
    #[error("invalid ranges specified for container and host Ports: {container} and {host}")]
    Ranges {
        /// The container's range.
        container: String,
        /// The host's range.
        host: String,
    },
    /// `--expose` with a colon.
    #[error("invalid port format for --expose: {0}")]
    Expose(String),
    /// `--expose` without a port or range.
    #[error("invalid range format for --expose: {0}, error: {1}")]
    ExposeRange(String, String),
}

impl Kinded for PortError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }
}

/// A transport protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl Protocol {
    /// Returns the lower-case name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }
}

impl FromStr for Protocol {
    type Err = PortError;

    fn from_str(text: &str) -> Result<Self, PortError> {
        match text.to_ascii_lowercase().as_str() {
            "tcp" | "" => Ok(Self::Tcp),
            "udp" => Ok(Self::Udp),
            "sctp" => Ok(Self::Sctp),
            _ => Err(PortError::Protocol(text.to_owned())),
        }
    }
}

/// A port of a container: `80/tcp`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Port {
    /// The number.
    pub number: u16,
    /// The protocol.
    pub protocol: Protocol,
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.protocol.as_str())
    }
}

impl FromStr for Port {
    type Err = PortError;

    fn from_str(text: &str) -> Result<Self, PortError> {
        let (number, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let number = number.parse().map_err(|_| PortError::ContainerPort(number.to_owned()))?;
        Ok(Self { number, protocol: protocol.parse()? })
    }
}

/// Ports of a container in a row: `80/tcp`, `80-90/udp`. A range stays one, however long: it is what a publication of
/// thousands is kept as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ports {
    /// The numbers.
    pub range: PortRange,
    /// The protocol.
    pub protocol: Protocol,
}

impl Ports {
    /// Returns them one by one.
    pub fn each(self) -> impl Iterator<Item = Port> {
        (self.range.first..=self.range.last).map(move |number| Port { number, protocol: self.protocol })
    }

    /// Tells whether all of `other` are among them.
    pub fn holds(self, other: Self) -> bool {
        self.protocol == other.protocol
            && self.range.first <= other.range.first
            && other.range.last <= self.range.last
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.range, self.protocol.as_str())
    }
}

impl FromStr for Ports {
    type Err = PortError;

    fn from_str(text: &str) -> Result<Self, PortError> {
        let (range, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let range = PortRange::parse(range).ok_or_else(|| PortError::ContainerPort(range.to_owned()))?;
        Ok(Self { range, protocol: protocol.parse()? })
    }
}

/// First and last port, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PortRange {
    /// The first.
    pub first: u16,
    /// The last, not below the first.
    pub last: u16,
}

impl PortRange {
    /// Parses `80` or `80-90`.
    pub fn parse(text: &str) -> Option<Self> {
        // `parse` of the standard library takes a plus sign, which Docker does not.
        let number = |t: &str| t.bytes().all(|b| b.is_ascii_digit()).then(|| t.parse::<u16>().ok()).flatten();
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let range = Self { first: number(first)?, last: number(last)? };
        (range.first <= range.last).then_some(range)
    }

    /// Returns how many ports it holds.
    pub fn count(self) -> u32 {
        u32::from(self.last - self.first) + 1
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.first == self.last {
            true => write!(f, "{}", self.first),
            false => write!(f, "{}-{}", self.first, self.last),
        }
    }
}

/// Parses one `-p` argument into container ports and their binding. Where the container's are a range, the host's are one of
/// the same length or none; one port of the container with a range of the host's means any one of them.
pub fn parse_publish(text: &str) -> Result<(Ports, PortBinding), PortError> {
    let (address, host, container) = split_publish(text);
    let (container_range, protocol) = match container.split_once('/') {
        // A second slash and what follows is dropped, as in Docker.
        Some((range, protocol)) => (range, protocol.split('/').next().unwrap_or_default()),
        None => (container, "tcp"),
    };
    let host_ip = parse_address(address)?;
    if container_range.is_empty() {
        return Err(PortError::Missing(text.to_owned()));
    }
    let inside = PortRange::parse(container_range)
        .ok_or_else(|| PortError::ContainerPort(container_range.to_owned()))?;
    let outside = match host {
        "" => None,
        host => Some(PortRange::parse(host).ok_or_else(|| PortError::HostPort(host.to_owned()))?),
    };
    let protocol = protocol.parse()?;
    if outside.is_some_and(|outside| inside.count() > 1 && outside.count() != inside.count()) {
        return Err(PortError::Ranges { container: container_range.to_owned(), host: host.to_owned() });
    }
    let host_port = outside.map_or_else(String::new, |outside| outside.to_string());
    Ok((Ports { range: inside, protocol }, PortBinding { host_ip, host_port }))
}

/// Splits into address, host port and container port; all but the last may be empty.
fn split_publish(text: &str) -> (&str, &str, &str) {
    let mut parts = text.rsplitn(3, ':');
    let container = parts.next().unwrap_or_default();
    let host = parts.next().unwrap_or_default();
    let address = parts.next().unwrap_or_default();
    (address, host, container)
}

fn parse_address(text: &str) -> Result<String, PortError> {
    if text.is_empty() {
        return Ok(String::new());
    }
    let bare = match text.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').ok_or_else(|| PortError::Bracket(text.to_owned()))?,
        None => text,
    };
    let address: IpAddr = bare.parse().map_err(|_| PortError::Address(bare.to_owned()))?;
    Ok(address.to_string())
}

/// Port bindings as the API writes them: by single ports of the container.
pub type Bindings = BTreeMap<String, Option<Vec<PortBinding>>>;

/// Writes ranges out, one port of the container after the other, as Docker shows them.
pub fn expand_bindings(bindings: &Bindings) -> Bindings {
    let mut expanded = Bindings::new();
    for (key, list) in bindings {
        let Ok(ports) = key.parse::<Ports>() else {
            expanded.insert(key.clone(), list.clone());
            continue;
        };
        for (nth, port) in ports.each().enumerate() {
            let entry = expanded.entry(port.to_string()).or_default();
            let Some(list) = list else { continue };
            entry.get_or_insert_default().extend(list.iter().map(|binding| nth_binding(binding, ports, nth)));
        }
    }
    expanded
}

fn nth_binding(binding: &PortBinding, ports: Ports, nth: usize) -> PortBinding {
    let outside = PortRange::parse(&binding.host_port).filter(|_| ports.range.count() > 1);
    let host_port = outside.map(|outside| (usize::from(outside.first) + nth).to_string());
    PortBinding { host_port: host_port.unwrap_or_else(|| binding.host_port.clone()), ..binding.clone() }
}

/// Writes exposed ranges out, one port after the other.
pub fn expand_exposed(exposed: &BTreeMap<String, Empty>) -> BTreeMap<String, Empty> {
    let each = |key: &String| match key.parse::<Ports>() {
        Ok(ports) => ports.each().map(|port| port.to_string()).collect(),
        Err(_) => vec![key.clone()],
    };
    exposed.keys().flat_map(each).map(|port| (port, Empty {})).collect()
}

/// Parses one `--expose` argument: `80`, `80-90/udp`.
pub fn parse_expose(text: &str) -> Result<Ports, PortError> {
    if text.contains(':') {
        return Err(PortError::Expose(text.to_owned()));
    }
    let (range, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let reason = || match range {
        "" => "empty string specified for ports".to_owned(),
        _ => format!("strconv.ParseUint: parsing {range:?}: invalid syntax"),
    };
    let range = PortRange::parse(range).ok_or_else(|| PortError::ExposeRange(text.to_owned(), reason()))?;
    Ok(Ports { range, protocol: protocol.parse()? })
}

/// One published or exposed port of a running container, as the API lists it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct PortSummary {
    /// Host address; empty when it is only exposed.
    #[serde(rename = "IP", skip_serializing_if = "String::is_empty")]
    pub ip: String,
    /// Port inside.
    pub private_port: u16,
    /// Port on the host; 0 when it is only exposed.
    #[serde(skip_serializing_if = "is_zero")]
    pub public_port: u16,
    /// `tcp`, `udp`, `sctp`.
    #[serde(rename = "Type")]
    pub protocol: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(port: &u16) -> bool {
    *port == 0
}

/// Renders the PORTS column: `0.0.0.0:80-81->80-81/tcp, 443/tcp`.
///
/// Neighbouring ports with the same number inside and outside become a range; the others stand at the end. A range
/// that was ended by a gap stands before those that were open last: the order of docker's own column.
pub fn render_column(ports: &[PortSummary]) -> String {
    let mut sorted: Vec<&PortSummary> = ports.iter().collect();
    sorted.sort_by_key(|p| (p.private_port, &p.ip, p.public_port, &p.protocol));
    let mut ended: Vec<String> = Vec::new();
    let mut open: Vec<Group> = Vec::new();
    let mut mapped: Vec<String> = Vec::new();
    for port in sorted {
        if !port.ip.is_empty() && port.public_port != port.private_port {
            let outside = join_host_port(&port.ip, &port.public_port.to_string());
            mapped.push(format!("{outside}->{}/{}", port.private_port, port.protocol));
            continue;
        }
        match open.iter_mut().find(|group| group.ip == port.ip && group.protocol == port.protocol) {
            None => open.push(Group::new(port)),
            Some(group) if group.last.checked_add(1) == Some(port.private_port) => {
                group.last = port.private_port
            }
            Some(group) => ended.push(std::mem::replace(group, Group::new(port)).render()),
        }
    }
    ended.extend(open.iter().map(Group::render));
    ended.extend(mapped);
    ended.join(", ")
}

/// Ports in a row that have the same number on both sides, or are only exposed.
struct Group<'a> {
    ip: &'a str,
    protocol: &'a str,
    first: u16,
    last: u16,
}

impl<'a> Group<'a> {
    fn new(port: &'a PortSummary) -> Self {
        Self { ip: &port.ip, protocol: &port.protocol, first: port.private_port, last: port.private_port }
    }

    fn render(&self) -> String {
        let range = if self.first == self.last {
            self.first.to_string()
        } else {
            format!("{}-{}", self.first, self.last)
        };
        if self.ip.is_empty() {
            format!("{range}/{}", self.protocol)
        } else {
            format!("{}->{range}/{}", join_host_port(self.ip, &range), self.protocol)
        }
    }
}

/// Joins an address and a port, with brackets around IPv6: `[::]:80`.
pub fn join_host_port(ip: &str, port: &str) -> String {
    if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn publish(text: &str) -> String {
        match parse_publish(text) {
            Ok((ports, b)) => format!("{}|{}->{ports}", b.host_ip, b.host_port),
            Err(error) => format!("error: {error}"),
        }
    }

    #[test]
    fn publish_is_read_as_docker_does() {
        for (text, parsed) in [
            ("80", "|->80/tcp"),
            ("80:80", "|80->80/tcp"),
            ("::1:80:80", "::1|80->80/tcp"),
            ("[::1]::80", "::1|->80/tcp"),
            (":80", "|->80/tcp"),
            ("8000-9000:80", "|8000-9000->80/tcp"),
            ("80/TCP", "|->80/tcp"),
            ("0:80", "|0->80/tcp"),
            ("1.1.1.1:80-81:80", "1.1.1.1|80-81->80/tcp"),
            ("80:80/tcp/udp", "|80->80/tcp"),
            ("80-81:90-91/udp", "|80-81->90-91/udp"),
            ("90-91/sctp", "|->90-91/sctp"),
        ] {
            assert_eq!(publish(text), parsed, "{text}");
        }
    }

    #[test]
    fn publish_refuses_in_dockers_words() {
        for (text, message) in [
            ("abc", "invalid containerPort: abc"),
            ("80:abc", "invalid containerPort: abc"),
            ("1.2.3:80:80", "invalid IP address: 1.2.3"),
            ("80:80/foo", "invalid proto: foo"),
            ("70000:80", "invalid hostPort: 70000"),
            ("80-81:80-82", "invalid ranges specified for container and host Ports: 80-82 and 80-81"),
            ("[::1:80:80", "invalid IP address [::1: missing ']' in address"),
            ("localhost:80:80", "invalid IP address: localhost"),
            ("", "no port specified: <empty>"),
            (":", "no port specified: :<empty>"),
            ("80:", "no port specified: 80:<empty>"),
            ("80-79", "invalid containerPort: 80-79"),
            ("80:80:80:80", "invalid IP address: 80:80"),
            ("1.2.3.4:80", "invalid hostPort: 1.2.3.4"),
            ("99999", "invalid containerPort: 99999"),
            ("-80", "invalid containerPort: -80"),
            ("+80", "invalid containerPort: +80"),
            ("a:b:c", "invalid IP address: a"),
            ("1.2.3.4::abc", "invalid containerPort: abc"),
        ] {
            assert_eq!(publish(text), format!("error: {message}"), "{text}");
        }
    }

    #[test]
    fn expose_is_read_as_docker_does() {
        assert_eq!(parse_expose("80-82/udp").unwrap().range.count(), 3);
        for (text, message) in [
            ("80:80", "invalid port format for --expose: 80:80"),
            (
                "x",
                "invalid range format for --expose: x, error: strconv.ParseUint: parsing \"x\": invalid syntax",
            ),
            ("", "invalid range format for --expose: , error: empty string specified for ports"),
        ] {
            assert_eq!(parse_expose(text).unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn ranges_are_written_out_for_the_api() {
        let binding = |port: &str| PortBinding { host_ip: String::new(), host_port: port.to_owned() };
        let kept = Bindings::from([
            ("80-81/tcp".to_owned(), Some(vec![binding("8000-8001")])),
            ("81/tcp".to_owned(), Some(vec![binding("9000-9009"), binding("")])),
            ("90-91/udp".to_owned(), Some(vec![binding("")])),
            ("7/sctp".to_owned(), None),
        ]);
        let shown: Vec<(String, Vec<String>)> = expand_bindings(&kept)
            .into_iter()
            .map(|(port, list)| (port, list.into_iter().flatten().map(|binding| binding.host_port).collect()))
            .collect();
        let shown: Vec<(&str, String)> =
            shown.iter().map(|(port, list)| (port.as_str(), list.join(" "))).collect();
        let expected = [
            ("7/sctp", ""),
            ("80/tcp", "8000"),
            ("81/tcp", "8001 9000-9009 "),
            ("90/udp", ""),
            ("91/udp", ""),
        ];
        assert_eq!(shown, expected.map(|(port, list)| (port, list.to_owned())));
        let exposed = BTreeMap::from([("80-82/udp".to_owned(), Empty {}), ("x".to_owned(), Empty {})]);
        assert_eq!(expand_exposed(&exposed).keys().collect::<Vec<_>>(), ["80/udp", "81/udp", "82/udp", "x"]);
    }

    fn summary(ip: &str, private: u16, public: u16, protocol: &str) -> PortSummary {
        PortSummary {
            ip: ip.to_owned(),
            private_port: private,
            public_port: public,
            protocol: protocol.to_owned(),
        }
    }

    #[test]
    fn the_column_joins_ranges() {
        for (ports, column) in [
            (vec![], ""),
            (vec![summary("", 80, 0, "tcp")], "80/tcp"),
            (
                vec![summary("0.0.0.0", 80, 8080, "tcp"), summary("::", 80, 8080, "tcp")],
                "0.0.0.0:8080->80/tcp, [::]:8080->80/tcp",
            ),
            (
                vec![summary("0.0.0.0", 81, 81, "tcp"), summary("0.0.0.0", 80, 80, "tcp")],
                "0.0.0.0:80-81->80-81/tcp",
            ),
            (
                vec![summary("", 80, 0, "tcp"), summary("", 81, 0, "tcp"), summary("", 81, 0, "udp")],
                "80-81/tcp, 81/udp",
            ),
            (
                vec![
                    summary("0.0.0.0", 80, 80, "tcp"),
                    summary("", 81, 0, "tcp"),
                    summary("0.0.0.0", 82, 82, "tcp"),
                    summary("0.0.0.0", 90, 80, "tcp"),
                ],
                "0.0.0.0:80->80/tcp, 0.0.0.0:82->82/tcp, 81/tcp, 0.0.0.0:80->90/tcp",
            ),
            (
                vec![
                    summary("1.2.3.4", 80, 80, "tcp"),
                    summary("0.0.0.0", 80, 81, "tcp"),
                    summary("1.2.3.4", 53, 53, "udp"),
                    summary("1.2.3.4", 54, 54, "udp"),
                ],
                "1.2.3.4:53-54->53-54/udp, 1.2.3.4:80->80/tcp, 0.0.0.0:81->80/tcp",
            ),
        ] {
            assert_eq!(render_column(&ports), column);
        }
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_or_refused(text in "[0-9a-f:./\\[\\]-]{0,20}") {
            let _ = parse_publish(&text);
            let _ = parse_expose(&text);
        }

        #[test]
        fn ports_come_back(number: u16, protocol in 0..3_u8) {
            let protocol = [Protocol::Tcp, Protocol::Udp, Protocol::Sctp][usize::from(protocol)];
            let port = Port { number, protocol };
            prop_assert_eq!(port.to_string().parse::<Port>(), Ok(port));
        }
    }
}
