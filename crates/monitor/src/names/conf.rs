//! What the monitor must know of its container's networks, a line each, written by the engine:
//!
//! ```text
//! port 23456              where it listens at 127.0.0.11
//! forward no              on internal networks only: nothing is asked outside
//! server 192.0.2.1        asked instead of the host's servers
//! link db database        the container calls another one so
//! network front /run/brig/names/0123…
//! ```

use std::net::{IpAddr, SocketAddr, SocketAddrV6};

/// The servers that are asked one after the other, as the C library does it (`MAXNS`).
const MAX_SERVERS: usize = 3;
/// Where names are asked.
const PORT: u16 = 53;

/// The lines, unread.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Conf<'t> {
    text: &'t str,
}

impl<'t> Conf<'t> {
    pub(crate) fn new(text: &'t str) -> Self {
        Self { text }
    }

    fn values(self, word: &'static str) -> impl Iterator<Item = &'t str> {
        self.text.lines().filter_map(move |line| line.strip_prefix(word)?.strip_prefix(' '))
    }

    /// Where the monitor listens.
    pub(crate) fn port(self) -> Option<u16> {
        self.values("port").next()?.parse().ok()
    }

    /// Whether questions about others are asked outside.
    pub(crate) fn forwards(self) -> bool {
        self.values("forward").next() != Some("no")
    }

    /// The networks: name, and path of the table.
    pub(crate) fn networks(self) -> impl Iterator<Item = (&'t str, &'t str)> {
        self.values("network").filter_map(|value| value.split_once(' '))
    }

    /// What the container means by `name`.
    pub(crate) fn linked<'n>(self, name: &'n [u8]) -> &'n [u8]
    where
        't: 'n,
    {
        let mut links = self.values("link").filter_map(|value| value.split_once(' '));
        links
            .find(|(alias, _)| alias.as_bytes().eq_ignore_ascii_case(name))
            .map_or(name, |(_, meant)| meant.as_bytes())
    }

    /// The servers to ask; `host` reads the host's `resolv.conf`, when it is needed.
    pub(crate) fn servers(self, host: impl FnOnce() -> String) -> Vec<SocketAddr> {
        let own: Vec<SocketAddr> = self.values("server").filter_map(server).take(MAX_SERVERS).collect();
        if own.is_empty() { servers_of(&host()) } else { own }
    }
}

/// Reads the servers of a `resolv.conf`.
fn servers_of(text: &str) -> Vec<SocketAddr> {
    let lines = text.lines().filter_map(|line| {
        let mut words = line.split_ascii_whitespace();
        if words.next() == Some("nameserver") { words.next() } else { None }
    });
    lines.filter_map(server).take(MAX_SERVERS).collect()
}

/// Reads an address, with a link behind `%` where it is of one link.
fn server(text: &str) -> Option<SocketAddr> {
    if let Some((ip, link)) = text.split_once('%') {
        let scope = link.parse().ok().or_else(|| {
            std::fs::read_to_string(format!("/sys/class/net/{}/ifindex", link.replace('/', "")))
                .ok()?
                .trim()
                .parse()
                .ok()
        })?;
        return Some(SocketAddrV6::new(ip.parse().ok()?, PORT, 0, scope).into());
    }
    Some(SocketAddr::new(text.parse::<IpAddr>().ok()?, PORT))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "port 23456\nlink db database\nnetwork front /run/a b\nnetwork back /run/c\n";

    #[test]
    fn lines_are_read() {
        let conf = Conf::new(TEXT);
        assert_eq!(conf.port(), Some(23456));
        assert!(conf.forwards() && !Conf::new("forward no").forwards());
        assert_eq!(conf.networks().collect::<Vec<_>>(), [("front", "/run/a b"), ("back", "/run/c")]);
        assert_eq!((conf.linked(b"DB"), conf.linked(b"web")), (&b"database"[..], &b"web"[..]));
    }

    #[test]
    fn the_hosts_servers_stand_in_for_own_ones() {
        let host = || {
            "# x\nnameserver 127.0.0.53\nsearch lan\nnameserver ::1\nnameserver fe80::1%2\nnameserver 192.0.2.9\n".to_owned()
        };
        let shown = |conf: Conf<'_>| conf.servers(host).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(shown(Conf::new(TEXT)), ["127.0.0.53:53", "[::1]:53", "[fe80::1%2]:53"]);
        assert_eq!(shown(Conf::new("server 192.0.2.1\nserver bad\n")), ["192.0.2.1:53"]);
    }
}
