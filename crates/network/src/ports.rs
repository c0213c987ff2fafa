//! Published ports: what is asked for, whether the host's side is free, choosing one.

use std::fmt;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, sockopt};

use crate::bridge::read_sysctl;
use crate::error::{Attempt, Error, Result};

/// A transport protocol whose ports can be published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl Protocol {
    /// Returns the number in the header of a packet.
    pub fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Sctp => 132,
        }
    }

    /// Returns the protocol of a number.
    pub fn from_number(number: u8) -> Option<Self> {
        [Self::Tcp, Self::Udp, Self::Sctp].into_iter().find(|protocol| protocol.number() == number)
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        })
    }
}

/// Ports of the host that lead to ports of a container.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PublishedPort {
    /// The protocol.
    pub protocol: Protocol,
    /// The address of the host; `None`, `0.0.0.0` and `::` stand for all of their family (`None`: of both).
    pub host_ip: Option<IpAddr>,
    /// The ports of the host.
    pub host_ports: RangeInclusive<u16>,
    /// The container's IPv4 address.
    pub guest_ip4: Option<Ipv4Addr>,
    /// The container's IPv6 address.
    pub guest_ip6: Option<Ipv6Addr>,
    /// The ports of the container, as many as of the host, in the same order.
    pub guest_ports: RangeInclusive<u16>,
    /// Whether they are open to everybody, as with Docker; otherwise the host's own input rules decide who comes in.
    pub open: bool,
}

impl PublishedPort {
    /// Checks what the types do not say.
    pub(crate) fn check(&self) -> Result<()> {
        let invalid = |field, value: String, wanted| Err(Error::Invalid { field, value, wanted });
        let text = |range: &RangeInclusive<u16>| format!("{}-{}", range.start(), range.end());
        for range in [&self.host_ports, &self.guest_ports] {
            if range.is_empty() || *range.start() == 0 {
                return invalid(
                    "port range",
                    text(range),
                    "ports are 1 to 65535, the first not above the last",
                );
            }
        }
        if self.host_ports.len() != self.guest_ports.len() {
            return invalid(
                "port range",
                text(&self.host_ports),
                "as many ports of the host as of the container",
            );
        }
        match self.host_ip {
            Some(IpAddr::V4(ip)) if self.guest_ip4.is_none() => {
                invalid("host address", ip.to_string(), "the container has no IPv4 address")
            }
            Some(IpAddr::V6(ip)) if self.guest_ip6.is_none() => {
                invalid("host address", ip.to_string(), "the container has no IPv6 address")
            }
            _ => Ok(()),
        }
    }

    /// Returns what leads where: pairs of an address of the host (unspecified: all) and one of the container.
    pub(crate) fn destinations(&self) -> Vec<(IpAddr, IpAddr)> {
        let four = self.guest_ip4.map(|guest| (Ipv4Addr::UNSPECIFIED.into(), guest.into()));
        let six = self.guest_ip6.map(|guest| (Ipv6Addr::UNSPECIFIED.into(), guest.into()));
        let all: [Option<(IpAddr, IpAddr)>; 2] = [four, six];
        let all = all.into_iter().flatten();
        match self.host_ip {
            None => all.collect(),
            Some(host) => all
                .filter(|(any, _)| any.is_ipv4() == host.is_ipv4())
                .map(|(_, guest)| (host, guest))
                .collect(),
        }
    }
}

/// Checks that no socket of the host holds a port, by holding it for a moment.
///
/// `ip` as in [`PublishedPort::host_ip`]. Published ports of containers hold no socket: [`crate::publish`] refuses those.
///
/// # Errors
///
/// [`Error::PortTaken`], with the process where it can be found; [`Error::Kernel`] for an address that the host
/// does not have (`EADDRNOTAVAIL`) or a port that the caller may not use.
pub fn port_is_free(protocol: Protocol, ip: Option<IpAddr>, port: u16) -> Result<()> {
    let addresses = match ip {
        Some(ip) => vec![ip],
        None => vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()],
    };
    for address in addresses {
        match bind_for_a_moment(protocol, SocketAddr::new(address, port)) {
            Ok(()) => {}
            Err(Errno::ADDRINUSE) => {
                return Err(Error::PortTaken { protocol, ip, port, by: holder(protocol, port) });
            }
            // Without the protocol or the family in the kernel no socket can hold the port.
            Err(Errno::PROTONOSUPPORT | Errno::AFNOSUPPORT | Errno::SOCKTNOSUPPORT) => {}
            Err(Errno::ADDRNOTAVAIL) if ip.is_none() => {}
            Err(error) => return Err(error).attempt(|| format!("use port {port}/{protocol} of {address}")),
        }
    }
    Ok(())
}

/// A range up to this length is tested by binding each port, which is exact; a longer one by reading the kernel's tables
/// once.
const BOUND_ONE_BY_ONE: usize = 16;

/// Checks that no socket of the host holds a port of `range`; what it costs does not grow with the range.
///
/// # Errors
///
/// As [`port_is_free`].
pub fn ports_are_free(protocol: Protocol, ip: Option<IpAddr>, range: RangeInclusive<u16>) -> Result<()> {
    if range.len() <= BOUND_ONE_BY_ONE {
        return range.into_iter().try_for_each(|port| port_is_free(protocol, ip, port));
    }
    // The first one is bound besides: it tells whether the host has the address at all.
    port_is_free(protocol, ip, *range.start())?;
    for table in tables_of(protocol) {
        // A family that the kernel does not have has no table and no sockets.
        let text = fs::read_to_string(table).unwrap_or_default();
        let held = text.lines().skip(1).find_map(|line| held_socket(line, protocol, ip, &range));
        if let Some((port, inode)) = held {
            let by = process_with(&format!("socket:[{inode}]"));
            return Err(Error::PortTaken { protocol, ip, port, by });
        }
    }
    Ok(())
}

fn tables_of(protocol: Protocol) -> &'static [&'static str] {
    match protocol {
        Protocol::Tcp => &["/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"],
        Protocol::Udp => &["/proc/thread-self/net/udp", "/proc/thread-self/net/udp6"],
        Protocol::Sctp => &[],
    }
}

/// Reads a line of a table of `/proc/net`: the port and the inode of a socket that keeps `ip` from having that port of `range`.
fn held_socket(
    line: &str,
    protocol: Protocol,
    ip: Option<IpAddr>,
    range: &RangeInclusive<u16>,
) -> Option<(u16, u64)> {
    let mut fields = line.split_ascii_whitespace();
    let (address, port) = fields.nth(1)?.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let state = fields.nth(1)?;
    let bound = if protocol == Protocol::Tcp { "0A" } else { "07" };
    let address = table_address(address)?;
    let meets = match ip.filter(|ip| !ip.is_unspecified()) {
        None => true,
        // A socket for all addresses of IPv6 usually takes IPv4 besides.
        Some(ip) => address.is_unspecified() || address == ip || address.to_canonical() == ip,
    };
    (range.contains(&port) && state == bound && meets).then_some((port, fields.nth(5)?.parse().ok()?))
}

/// Reads an address as `/proc/net` writes it: words of four bytes in the machine's order.
fn table_address(text: &str) -> Option<IpAddr> {
    let word = |at: usize| Some(u32::from_str_radix(text.get(at..at + 8)?, 16).ok()?.to_ne_bytes());
    match text.len() {
        8 => Some(IpAddr::from(word(0)?)),
        32 => {
            let mut bytes = [0; 16];
            for (nth, part) in bytes.chunks_mut(4).enumerate() {
                part.copy_from_slice(&word(nth * 8)?);
            }
            Some(IpAddr::from(bytes))
        }
        _ => None,
    }
}

fn bind_for_a_moment(protocol: Protocol, address: SocketAddr) -> Result<(), Errno> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let (kind, number) = match protocol {
        Protocol::Tcp => (SocketType::STREAM, ipproto::TCP),
        Protocol::Udp => (SocketType::DGRAM, ipproto::UDP),
        Protocol::Sctp => (SocketType::STREAM, ipproto::SCTP),
    };
    let socket = rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC, Some(number))?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    // Connections that have ended linger for a minute; they hold nothing.
    if protocol == Protocol::Tcp {
        sockopt::set_socket_reuseaddr(&socket, true)?;
    }
    rustix::net::bind(&socket, &address)
}

/// Names the process that holds a port, as far as `/proc` tells.
fn holder(protocol: Protocol, port: u16) -> Option<String> {
    let inode = tables_of(protocol)
        .iter()
        .find_map(|table| socket_inode(&fs::read_to_string(table).ok()?, protocol, port))?;
    process_with(&format!("socket:[{inode}]"))
}

/// Finds in a table of `/proc/net` the socket that listens on (TCP) or is bound to (UDP) `port`.
fn socket_inode(table: &str, protocol: Protocol, port: u16) -> Option<u64> {
    let wanted = if protocol == Protocol::Tcp { "0A" } else { "07" };
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let local = u16::from_str_radix(fields.get(1)?.rsplit(':').next()?, 16).ok()?;
        let found = local == port && *fields.get(3)? == wanted;
        if found { fields.get(9)?.parse().ok() } else { None }
    })
}

/// Looks through the descriptors of all processes for `target`; this is an error's path, it may take milliseconds.
fn process_with(target: &str) -> Option<String> {
    for process in fs::read_dir("/proc").ok()?.flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        // Processes end and others belong to somebody else: such a one is passed over.
        let Ok(descriptors) = fs::read_dir(process.path().join("fd")) else { continue };
        let holds = descriptors
            .flatten()
            .any(|fd| fs::read_link(fd.path()).is_ok_and(|link| link.as_os_str() == target));
        if holds {
            let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            return Some(format!("process {pid} ({})", name.trim_end()));
        }
    }
    None
}

/// Returns the ports from which the host gives ports away (`net.ipv4.ip_local_port_range`).
pub fn ephemeral_range() -> RangeInclusive<u16> {
    let text = read_sysctl("net/ipv4/ip_local_port_range").unwrap_or_default();
    parse_range(&text).unwrap_or(32768..=60999)
}

fn parse_range(text: &str) -> Option<RangeInclusive<u16>> {
    let mut numbers = text.split_ascii_whitespace().map(str::parse);
    let (first, last) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
    (first <= last).then_some(first..=last)
}

/// Chooses a free port of `range` that `taken` does not say to be another's, beginning the search at a place that `seed` picks.
///
/// # Errors
///
/// [`Error::NoFreePort`]; the errors of [`port_is_free`] but [`Error::PortTaken`].
pub fn choose_port(
    protocol: Protocol,
    ip: Option<IpAddr>,
    range: RangeInclusive<u16>,
    taken: impl Fn(u16) -> bool,
    seed: u32,
) -> Result<u16> {
    let (first, last) = (*range.start(), *range.end());
    for port in rotated(range, seed).filter(|port| !taken(*port)) {
        match port_is_free(protocol, ip, port) {
            Ok(()) => return Ok(port),
            Err(Error::PortTaken { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Err(Error::NoFreePort { protocol, first, last })
}

/// Returns all of `range`, beginning somewhere and going round.
fn rotated(range: RangeInclusive<u16>, seed: u32) -> impl Iterator<Item = u16> {
    let length = range.len() as u32;
    let skip = seed.checked_rem(length).unwrap_or(0) as usize;
    range.clone().skip(skip).chain(range.take(skip))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn published(
        host_ip: Option<IpAddr>,
        host_ports: RangeInclusive<u16>,
        guest_ports: RangeInclusive<u16>,
    ) -> PublishedPort {
        PublishedPort {
            protocol: Protocol::Tcp,
            host_ip,
            host_ports,
            guest_ip4: Some(Ipv4Addr::new(10, 0, 0, 2)),
            guest_ip6: None,
            guest_ports,
            open: false,
        }
    }

    #[test]
    fn ranges_must_match() {
        assert!(published(None, 80..=90, 80..=90).check().is_ok());
        assert!(published(None, 80..=90, 80..=80).check().is_err());
        assert!(published(None, 0..=0, 80..=80).check().is_err());
        #[expect(clippy::reversed_empty_ranges, reason = "the backward range is what must be refused")]
        let backward = published(None, 90..=80, 80..=90);
        assert!(backward.check().is_err());
        assert!(published(Some("::1".parse().unwrap()), 80..=80, 80..=80).check().is_err());
    }

    #[test]
    fn each_family_leads_to_its_own() {
        let mut port = published(None, 80..=80, 80..=80);
        port.guest_ip6 = Some("fd00::2".parse().unwrap());
        assert_eq!(port.destinations().len(), 2);
        port.host_ip = Some("127.0.0.1".parse().unwrap());
        assert_eq!(port.destinations(), [("127.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap())]);
    }

    #[test]
    fn a_socket_is_found_in_the_table() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            \x20  0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4242 1 0\n";
        assert_eq!(socket_inode(table, Protocol::Tcp, 8080), Some(4242));
        assert_eq!(socket_inode(table, Protocol::Tcp, 80), None);
        assert_eq!(socket_inode("x\ny\n\n: :", Protocol::Tcp, 80), None);
    }

    #[test]
    fn a_long_range_meets_a_socket_by_port_and_address() {
        let line = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4242 1 0";
        let met = |ip: Option<&str>, range: RangeInclusive<u16>| {
            held_socket(line, Protocol::Tcp, ip.map(|ip| ip.parse().unwrap()), &range)
        };
        assert_eq!(met(None, 8000..=8100), Some((8080, 4242)));
        assert_eq!(met(Some("127.0.0.1"), 8080..=8080), Some((8080, 4242)));
        assert_eq!(met(Some("0.0.0.0"), 8080..=8080), Some((8080, 4242)));
        assert_eq!(met(Some("192.0.2.1"), 8000..=8100), None);
        assert_eq!(met(None, 8081..=9000), None);
        assert_eq!(held_socket(line, Protocol::Udp, None, &(1..=65535)), None);
        let six = "00000000000000000000000001000000";
        assert_eq!(table_address(six), Some("::1".parse().unwrap()));
        assert_eq!(
            table_address("0000000000000000FFFF00000100007F").map(|ip| ip.to_canonical()),
            Some([127, 0, 0, 1].into())
        );
        for wrong in ["", "zz00007F", "01"] {
            assert_eq!(table_address(wrong), None);
        }
    }

    #[test]
    fn a_held_port_is_found_in_a_long_range() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        let range = port.saturating_sub(50)..=port;
        let found = ports_are_free(Protocol::Udp, Some(Ipv4Addr::LOCALHOST.into()), range);
        assert!(matches!(found, Err(Error::PortTaken { .. })), "{found:?}");
    }

    #[test]
    fn the_search_goes_round() {
        assert_eq!(rotated(10..=13, 6).collect::<Vec<_>>(), [12, 13, 10, 11]);
        assert_eq!(rotated(10..=10, 6).collect::<Vec<_>>(), [10]);
        assert_eq!(parse_range("32768\t60999"), Some(32768..=60999));
        assert_eq!(parse_range("9 1"), None);
    }

    #[test]
    fn a_held_port_is_not_free_and_its_holder_has_a_name() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        match port_is_free(Protocol::Tcp, Some(Ipv4Addr::LOCALHOST.into()), port) {
            Err(Error::PortTaken { by: Some(by), .. }) => {
                assert!(by.contains(&std::process::id().to_string()), "{by}")
            }
            other => panic!("{other:?}"),
        }
        drop(listener);
        port_is_free(Protocol::Tcp, Some(Ipv4Addr::LOCALHOST.into()), port).unwrap();
    }

    #[test]
    fn a_chosen_port_is_free_and_not_taken() {
        let listener = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let none = choose_port(Protocol::Udp, Some(Ipv4Addr::LOCALHOST.into()), port..=port, |_| false, 0);
        assert!(matches!(none, Err(Error::NoFreePort { .. })));
        drop(listener);
        let taken = choose_port(
            Protocol::Udp,
            Some(Ipv4Addr::LOCALHOST.into()),
            port..=port,
            |taken| taken == port,
            0,
        );
        assert!(matches!(taken, Err(Error::NoFreePort { .. })));
    }
}
