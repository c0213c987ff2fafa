//! Names of containers: what is asked at 127.0.0.11 inside a container is answered by the container's own monitor.
//!
//! ```text
//! process in the container ─▶ 127.0.0.11:53 ─▶ (rewritten) 127.0.0.11:PORT ─▶ monitor ─┬─ a name of its networks: answered
//!                                                                                     └─ else: the host's servers, as they are now
//! ```
//!
//! Nothing is kept in memory: each question reads two small files that the engine replaces when something changes. The
//! file `names` in the container's run folder ([`conf`]) says which networks it is on and where their tables are; a table
//! ([`table`]) has a line for each member. Who forwards is in `process::names` (datagrams) and `process::names_tcp`.

pub(crate) mod conf;
pub(crate) mod message;
pub(crate) mod resolve;
pub(crate) mod table;

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

/// The address at which a container asks.
pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 11);

/// The name of the file in the container's run folder.
pub const FILE: &str = "names";

/// What the file in the container's run folder says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NamesFile {
    /// Where the monitor listens at [`ADDRESS`].
    pub port: u16,
    /// Whether questions about others are asked outside.
    pub forwards: bool,
    /// Servers to ask instead of the host's.
    pub servers: Vec<IpAddr>,
    /// What the container alone calls others: alias and name.
    pub links: Vec<(String, String)>,
    /// The networks that it is on: name and path of the table.
    pub networks: Vec<(String, PathBuf)>,
}

impl NamesFile {
    /// Renders the file.
    pub fn render(&self) -> String {
        let mut text = format!("port {}\n", self.port);
        if !self.forwards {
            text.push_str("forward no\n");
        }
        for server in &self.servers {
            let _ = writeln!(text, "server {server}");
        }
        for (alias, name) in self.links.iter().filter(|(alias, name)| is_word(alias) && is_word(name)) {
            let _ = writeln!(text, "link {alias} {name}");
        }
        for (name, path) in &self.networks {
            let _ = writeln!(text, "network {name} {}", path.display());
        }
        text
    }

    /// Reads where the monitor listens out of a file's text.
    pub fn port_of(text: &str) -> Option<u16> {
        conf::Conf::new(text).port()
    }
}

/// Renders one line of a network's table; a name that is no word cannot be asked for and is left out.
pub fn member_line(ip4: Option<Ipv4Addr>, ip6: Option<Ipv6Addr>, names: &[String]) -> String {
    let address = |ip: Option<String>| ip.unwrap_or_else(|| "-".to_owned());
    let names: Vec<&str> = names.iter().map(String::as_str).filter(|name| is_word(name)).collect();
    let (ip4, ip6) = (address(ip4.map(|ip| ip.to_string())), address(ip6.map(|ip| ip.to_string())));
    format!("{ip4} {ip6} {}\n", names.join(" "))
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let file = NamesFile {
            port: 23456,
            forwards: false,
            servers: vec!["192.0.2.1".parse().unwrap()],
            links: vec![("db".into(), "database".into()), ("a b".into(), "x".into())],
            networks: vec![("front".into(), "/run/names/1".into())],
        };
        let text = file.render();
        let conf = conf::Conf::new(&text);
        assert_eq!((conf.port(), conf.forwards()), (Some(23456), false));
        assert_eq!(conf.linked(b"db"), b"database");
        assert_eq!(conf.networks().collect::<Vec<_>>(), [("front", "/run/names/1")]);
        let line =
            member_line(Some([10, 0, 0, 2].into()), None, &["web".into(), "no word".into(), "www".into()]);
        assert_eq!(line, "10.0.0.2 - web www\n");
        assert!(table::Member::parse(line.trim_end().as_bytes()).unwrap().is_called(b"www", b"front"));
    }
}
