//! The table of a network: one line for each member, `IPV4 IPV6 NAME NAME…`, `-` where it has no address of a family. The first name is
//! the container's own.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What one line says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Member<'t> {
    pub(crate) ip4: Option<Ipv4Addr>,
    pub(crate) ip6: Option<Ipv6Addr>,
    names: &'t [u8],
}

impl<'t> Member<'t> {
    /// Reads a line; one that says nothing is passed over.
    pub(crate) fn parse(line: &'t [u8]) -> Option<Self> {
        let mut fields = line.splitn(3, |byte| *byte == b' ');
        let text = |field: &'t [u8]| std::str::from_utf8(field).ok();
        let (ip4, ip6, names) = (text(fields.next()?)?, text(fields.next()?)?, fields.next()?);
        Some(Self { ip4: ip4.parse().ok(), ip6: ip6.parse().ok(), names })
    }

    /// The container's own name.
    pub(crate) fn own_name(&self) -> &'t [u8] {
        self.names.split(|byte| *byte == b' ').next().unwrap_or_default()
    }

    /// Says whether the member goes by `name`, alone or followed by the name of its network.
    pub(crate) fn is_called(&self, name: &[u8], network: &[u8]) -> bool {
        self.names.split(|byte| *byte == b' ').filter(|known| !known.is_empty()).any(|known| {
            match name.split_at_checked(known.len()) {
                Some((same, rest)) if same.eq_ignore_ascii_case(known) => {
                    rest.is_empty()
                        || rest.strip_prefix(b".").is_some_and(|rest| rest.eq_ignore_ascii_case(network))
                }
                _ => false,
            }
        })
    }

    /// Says whether the address is the member's.
    pub(crate) fn has(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(ip) => self.ip4 == Some(ip),
            IpAddr::V6(ip) => self.ip6 == Some(ip),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_found_by_each_of_their_names() {
        let member = Member::parse(b"10.0.0.2 fd00::2 Web 0123456789ab www.example").unwrap();
        for name in ["web", "0123456789ab", "www.example", "web.front", "www.example.front"] {
            assert!(member.is_called(name.as_bytes(), b"Front"), "{name}");
        }
        for name in ["we", "webx", "web.", "web.back", "front", "web.front.x", "", "example"] {
            assert!(!member.is_called(name.as_bytes(), b"front"), "{name}");
        }
        assert!(member.has("10.0.0.2".parse().unwrap()) && member.has("fd00::2".parse().unwrap()));
        assert!(!member.has("10.0.0.3".parse().unwrap()));
        assert_eq!(member.own_name(), b"Web");
    }

    #[test]
    fn lines_that_say_nothing_are_passed_over() {
        for line in [&b""[..], b"10.0.0.2", b"10.0.0.2 -", b"\xff\xff x y"] {
            assert_eq!(Member::parse(line), None);
        }
        assert_eq!(Member::parse(b"- - web").unwrap().ip4, None);
    }
}
