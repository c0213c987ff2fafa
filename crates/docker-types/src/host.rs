//! Host names and addresses: `--add-host`, `--dns`, `--dns-search`, `--hostname`, `--mac-address`, `--network`.

use std::net::IpAddr;

use base::{ErrorKind, Kinded};

use crate::csv;

/// Stands for the address of the host in `--add-host`.
pub const HOST_GATEWAY: &str = "host-gateway";

/// Why a text is no host name or address. The words are Docker's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// `--add-host` has no separator or no name.
    #[error("bad format for add-host: {0:?}")]
    AddHost(String),
    /// `--add-host` has no address.
    #[error("invalid IP address in add-host: {0:?}")]
    AddHostAddress(String),
    /// `--dns` is no address.
    #[error("IP address is not correctly formatted: {0}")]
    Address(String),
    /// `--dns-search` is no domain.
    #[error("{0} is not a valid domain")]
    Domain(String),
    /// `--mac-address` is none.
    #[error("{0} is not a valid mac address")]
    Mac(String),
    /// `--network` in the long form is malformed.
    #[error("invalid field {0}")]
    NetworkField(String),
    /// `--network` in the long form has an unknown key.
    #[error("invalid field key {0}")]
    NetworkKey(String),
    /// An option of an attachment is no pair.
    #[error("invalid key value pair format in driver options")]
    DriverOpt,
    /// The priority of a gateway is no number.
    #[error("invalid gw-priority: {0:?} is no whole number")]
    GwPriority(String),
    /// `--network` in the long form does not name a network.
    #[error("network name/id is not specified")]
    NetworkName,
}

impl Kinded for HostError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }
}

/// Parses `--add-host` into the API's `name:address`; the separator may be `:` or `=`, brackets are dropped.
pub fn add_host(text: &str) -> Result<String, HostError> {
    let bad = || HostError::AddHost(text.to_owned());
    let (name, address) = text.split_once('=').or_else(|| text.split_once(':')).ok_or_else(bad)?;
    if name.is_empty() {
        return Err(bad());
    }
    let bare = address.strip_prefix('[').and_then(|a| a.strip_suffix(']')).unwrap_or(address);
    if bare != HOST_GATEWAY && bare.parse::<IpAddr>().is_err() {
        return Err(HostError::AddHostAddress(address.to_owned()));
    }
    Ok(format!("{name}:{bare}"))
}

/// Checks `--dns`.
pub fn dns_server(text: &str) -> Result<String, HostError> {
    text.trim().parse::<IpAddr>().map(|ip| ip.to_string()).map_err(|_| HostError::Address(text.to_owned()))
}

/// Checks `--dns-search`: a domain, or `.` for none.
pub fn dns_search(text: &str) -> Result<String, HostError> {
    let domain = text.trim();
    if domain == "." {
        return Ok(domain.to_owned());
    }
    let label = |l: &str| {
        !l.is_empty()
            && l.len() <= 63
            && !l.starts_with('-')
            && !l.ends_with('-')
            && l.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    let valid = domain.len() < 255
        && domain.bytes().any(|b| b.is_ascii_alphanumeric())
        && domain.strip_suffix('.').unwrap_or(domain).split('.').all(label);
    if valid { Ok(domain.to_owned()) } else { Err(HostError::Domain(text.to_owned())) }
}

/// Checks `--mac-address`: six bytes in hexadecimal, joined by `:` or `-`. Returns the form with colons.
pub fn mac_address(text: &str) -> Result<String, HostError> {
    let bad = || HostError::Mac(text.to_owned());
    let text = text.trim();
    let separator = if text.contains('-') { '-' } else { ':' };
    let bytes: Vec<u8> = text
        .split(separator)
        .map(
            |part| if part.len() == 2 { u8::from_str_radix(part, 16).map_err(|_| bad()) } else { Err(bad()) },
        )
        .collect::<Result<_, _>>()?;
    if bytes.len() != 6 || text.contains('+') {
        return Err(bad());
    }
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":"))
}

/// A parsed `--network` argument.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NetworkFlag {
    /// Name, mode or `container:ID`.
    pub target: String,
    /// `alias=`.
    pub aliases: Vec<String>,
    /// `ip=`.
    pub ipv4: Option<String>,
    /// `ip6=`.
    pub ipv6: Option<String>,
    /// `mac-address=`.
    pub mac: Option<String>,
    /// `driver-opt=NAME=VALUE`.
    pub driver_opts: Vec<(String, String)>,
    /// `link-local-ip=`.
    pub link_local: Vec<String>,
    /// `gw-priority=`.
    pub gw_priority: i64,
    /// Other containers under further names, `name:alias`; they have a flag of their own.
    pub links: Vec<String>,
}

/// Parses `--network`: a name, or `name=N,alias=A,ip=…`.
pub fn network(text: &str) -> Result<NetworkFlag, HostError> {
    if !text.contains('=') {
        return Ok(NetworkFlag { target: text.to_owned(), ..NetworkFlag::default() });
    }
    let mut flag = NetworkFlag::default();
    let fields = csv::split(text).map_err(|_| HostError::NetworkField(text.to_owned()))?;
    for field in fields {
        let (key, value) = field.split_once('=').ok_or_else(|| HostError::NetworkField(field.clone()))?;
        let value = value.trim();
        match key.trim().to_ascii_lowercase().as_str() {
            "name" => value.clone_into(&mut flag.target),
            "alias" => flag.aliases.push(value.to_owned()),
            "ip" => flag.ipv4 = Some(value.to_owned()),
            "ip6" => flag.ipv6 = Some(value.to_owned()),
            "mac-address" => flag.mac = Some(mac_address(value)?),
            "driver-opt" => flag.driver_opts.push(driver_opt(value)?),
            "link-local-ip" => flag.link_local.push(value.to_owned()),
            "gw-priority" => {
                let bad = || HostError::GwPriority(value.to_owned());
                flag.gw_priority = value.parse().map_err(|_| bad())?;
            }
            unknown => return Err(HostError::NetworkKey(unknown.to_owned())),
        }
    }
    if flag.target.is_empty() { Err(HostError::NetworkName) } else { Ok(flag) }
}

/// Parses `NAME=VALUE` of an attachment's options.
pub fn driver_opt(text: &str) -> Result<(String, String), HostError> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => {
            Ok((key.trim().to_ascii_lowercase(), value.trim().to_owned()))
        }
        _ => Err(HostError::DriverOpt),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_read_as_docker_does() {
        for (text, host) in [
            ("a:1.2.3.4", "a:1.2.3.4"),
            ("a=1.2.3.4", "a:1.2.3.4"),
            ("a:host-gateway", "a:host-gateway"),
            ("a:::1", "a:::1"),
            ("a:[::1]", "a:::1"),
            ("a=[::1]", "a:::1"),
            ("a b:1.2.3.4", "a b:1.2.3.4"),
        ] {
            assert_eq!(add_host(text).as_deref(), Ok(host), "{text}");
        }
        for (text, message) in [
            ("a", "bad format for add-host: \"a\""),
            (":1.2.3.4", "bad format for add-host: \":1.2.3.4\""),
            ("a:", "invalid IP address in add-host: \"\""),
            ("a:x", "invalid IP address in add-host: \"x\""),
            ("a=b=1", "invalid IP address in add-host: \"b=1\""),
            ("a:1.2.3.4:5", "invalid IP address in add-host: \"1.2.3.4:5\""),
        ] {
            assert_eq!(add_host(text).unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn addresses_are_checked() {
        assert!(dns_server("8.8.8.8").is_ok() && dns_server("::1").is_ok() && dns_server("x").is_err());
        assert!(
            dns_search("a.com").is_ok()
                && dns_search(".").is_ok()
                && dns_search("a b").is_err()
                && dns_search("").is_err()
        );
        assert_eq!(mac_address("92:D0:c6:0a:29:33").unwrap(), "92:d0:c6:0a:29:33");
        for bad in
            ["x", "", "92:d0:c6:0a:29", "92:d0:c6:0a:29:3", "+2:d0:c6:0a:29:33", "92:d0:c6:0a:29:33:44"]
        {
            assert_eq!(
                mac_address(bad).unwrap_err().to_string(),
                format!("{bad} is not a valid mac address")
            );
        }
    }

    #[test]
    fn networks_are_read() {
        assert_eq!(network("host").unwrap().target, "host");
        let long = network("name=a,alias=b,ip=1.2.3.4,driver-opt=x=y").unwrap();
        assert_eq!(
            (long.target.as_str(), long.aliases[0].as_str(), long.ipv4.as_deref()),
            ("a", "b", Some("1.2.3.4"))
        );
        assert_eq!(long.driver_opts, [("x".to_owned(), "y".to_owned())]);
        let more = network("name=a,gw-priority=-3,link-local-ip=169.254.8.8").unwrap();
        assert_eq!((more.gw_priority, more.link_local), (-3, vec!["169.254.8.8".to_owned()]));
        assert!(network("name=a,gw-priority=x").is_err() && network("name=a,driver-opt=x").is_err());
        assert_eq!(network("alias=b").unwrap_err().to_string(), "network name/id is not specified");
        assert_eq!(network("name=a,foo=b").unwrap_err().to_string(), "invalid field key foo");
    }
}
