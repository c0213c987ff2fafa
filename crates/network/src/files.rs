//! The texts of `/etc/hosts`, `/etc/hostname` and `/etc/resolv.conf` of a container. Pure.

use std::fmt::Write as _;
use std::net::IpAddr;

/// Renders `/etc/hostname`.
pub fn hostname(name: &str) -> String {
    format!("{name}\n")
}

/// Renders `/etc/hosts`: loopback, then the container's own addresses with its names, then `extra` (`--add-host`).
pub fn hosts(hostname: &str, domain: Option<&str>, own: &[IpAddr], extra: &[(String, IpAddr)]) -> String {
    let mut text = String::from(
        "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::0\tip6-localnet\n\
         ff00::0\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n",
    );
    let names = match domain.filter(|domain| !domain.is_empty()) {
        Some(domain) => format!("{hostname}.{domain} {hostname}"),
        None => hostname.to_owned(),
    };
    for (name, ip) in extra {
        let _ = writeln!(text, "{ip}\t{name}");
    }
    for ip in own {
        let _ = writeln!(text, "{ip}\t{names}");
    }
    text
}

/// Adds to the text of `/etc/hosts` the addresses `own` of the container, with its `names`, and lines for others.
pub fn with_hosts(text: &str, names: &str, own: &[IpAddr], others: &[(String, IpAddr)]) -> String {
    let mut text = text.to_owned();
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    for (name, ip) in others {
        let _ = writeln!(text, "{ip}\t{name}");
    }
    for ip in own {
        let _ = writeln!(text, "{ip}\t{names}");
    }
    text
}

/// Takes from the text of `/etc/hosts` the lines of the addresses that `gone` tells.
pub fn without_hosts(text: &str, gone: impl Fn(IpAddr) -> bool) -> String {
    let address = |line: &str| line.split_ascii_whitespace().next().and_then(|word| word.parse().ok());
    text.split_inclusive('\n').filter(|line| !address(line).is_some_and(&gone)).collect()
}

/// What a user asks of name resolution; what is empty follows the host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DnsOverrides {
    /// Name servers (`--dns`).
    pub servers: Vec<IpAddr>,
    /// Search domains (`--dns-search`); a single `.` stands for none.
    pub search: Vec<String>,
    /// Resolver options (`--dns-option`), such as `ndots:2`.
    pub options: Vec<String>,
}

/// A rendered `/etc/resolv.conf`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvConf {
    /// The text of the file.
    pub text: String,
    /// What the user should hear: no name server is left.
    pub warning: Option<String>,
}

/// Renders `/etc/resolv.conf` from that of the host.
///
/// A resolver on the host's loopback, such as 127.0.0.53, cannot be reached from a container's namespace and is left
/// out. When none is left, `upstream` is asked: the text of `/run/systemd/resolve/resolv.conf`, which holds the
/// servers behind the local resolver. No public server is ever made up: without any the answer says so.
pub fn resolv_conf(host: &str, upstream: Option<&str>, overrides: &DnsOverrides) -> ResolvConf {
    let host = Resolver::parse(host);
    let mut servers =
        if overrides.servers.is_empty() { reachable(&host.servers) } else { texts(&overrides.servers) };
    if servers.is_empty() {
        servers = upstream.map(|text| reachable(&Resolver::parse(text).servers)).unwrap_or_default();
    }
    let search = if overrides.search.is_empty() { host.search } else { overrides.search.clone() };
    let options = if overrides.options.is_empty() { host.options } else { overrides.options.clone() };
    let warning = servers.is_empty().then(|| {
        "the host's name servers are on its loopback, where a container cannot reach them; set one with --dns".to_owned()
    });
    ResolvConf { text: render(&servers, &search, &options), warning }
}

/// Renders `/etc/resolv.conf` of a container that asks `server`, which knows the containers around it and asks the host's
/// servers about others: search domains and options are the host's, or the user's own.
pub fn resolv_conf_of_names(host: &str, server: IpAddr, overrides: &DnsOverrides) -> String {
    let host = Resolver::parse(host);
    let search = if overrides.search.is_empty() { host.search } else { overrides.search.clone() };
    let mut options = if overrides.options.is_empty() { host.options } else { overrides.options.clone() };
    // A name without dots is first of all a container's.
    if !options.iter().any(|option| option.starts_with("ndots:")) {
        options.push("ndots:0".to_owned());
    }
    render(&texts(&[server]), &search, &options)
}

fn render(servers: &[String], search: &[String], options: &[String]) -> String {
    let mut text = String::new();
    for server in servers {
        let _ = writeln!(text, "nameserver {server}");
    }
    let search: Vec<&str> = search.iter().map(String::as_str).filter(|domain| *domain != ".").collect();
    if !search.is_empty() {
        let _ = writeln!(text, "search {}", search.join(" "));
    }
    if !options.is_empty() {
        let _ = writeln!(text, "options {}", options.join(" "));
    }
    text
}

#[derive(Default)]
struct Resolver {
    servers: Vec<String>,
    search: Vec<String>,
    options: Vec<String>,
}

impl Resolver {
    /// Reads what resolv.conf(5) describes: the last `search` or `domain` counts, options add up.
    fn parse(text: &str) -> Self {
        let mut resolver = Self::default();
        for line in text.lines().filter(|line| !line.starts_with(['#', ';'])) {
            let mut words = line.split_ascii_whitespace().map(str::to_owned);
            match words.next().as_deref() {
                Some("nameserver") => resolver.servers.extend(words.next()),
                Some("search" | "domain") => resolver.search = words.collect(),
                Some("options") => resolver.options.extend(words),
                _ => {}
            }
        }
        resolver
    }
}

/// Leaves out what is no address, is on the loopback, or (with a zone such as `%eth0`) is of one link of the host.
fn reachable(servers: &[String]) -> Vec<String> {
    let reachable = |server: &&String| {
        server.parse::<IpAddr>().is_ok_and(|ip| !ip.to_canonical().is_loopback() && !ip.is_unspecified())
    };
    servers.iter().filter(reachable).cloned().collect()
}

fn texts(servers: &[IpAddr]) -> Vec<String> {
    servers.iter().map(IpAddr::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_names_come_with_their_domain() {
        let text = hosts(
            "web",
            Some("lan"),
            &["10.0.0.2".parse().unwrap()],
            &[("db".into(), "10.0.0.9".parse().unwrap())],
        );
        assert!(text.starts_with("127.0.0.1\tlocalhost\n"));
        assert!(text.ends_with("10.0.0.9\tdb\n10.0.0.2\tweb.lan web\n"), "{text}");
        assert!(hosts("web", None, &["10.0.0.2".parse().unwrap()], &[]).ends_with("10.0.0.2\tweb\n"));
    }

    #[test]
    fn addresses_come_and_go() {
        let text = hosts("web", None, &["10.0.0.2".parse().unwrap()], &[]);
        let more = with_hosts(
            text.trim_end(),
            "web",
            &["10.1.0.2".parse().unwrap(), "fd00::2".parse().unwrap()],
            &[("db d1".into(), "10.1.0.9".parse().unwrap())],
        );
        assert!(more.ends_with("10.0.0.2\tweb\n10.1.0.9\tdb d1\n10.1.0.2\tweb\nfd00::2\tweb\n"), "{more}");
        let gone = |ip: IpAddr| ip.to_string().starts_with("10.1.") || ip.to_string() == "fd00::2";
        assert_eq!(without_hosts(&more, gone), text);
        assert_eq!(without_hosts("# 10.1.0.1\n\n 10.1.0.1 x\n10.1.0.1\tx", gone), "# 10.1.0.1\n\n");
    }

    #[test]
    fn the_hosts_servers_are_followed() {
        let host = "# made by hand\nnameserver 192.0.2.1\nnameserver 2001:db8::1\nsearch a b\noptions ndots:2\noptions timeout:1\n";
        let made = resolv_conf(host, None, &DnsOverrides::default());
        assert_eq!(
            made.text,
            "nameserver 192.0.2.1\nnameserver 2001:db8::1\nsearch a b\noptions ndots:2 timeout:1\n"
        );
        assert_eq!(made.warning, None);
    }

    #[test]
    fn loopback_servers_are_replaced_by_those_behind_them() {
        let stub = "nameserver 127.0.0.53\nnameserver ::1\nnameserver fe80::1%eth0\nsearch lan\n";
        let made = resolv_conf(stub, Some("nameserver 192.0.2.7\nsearch other\n"), &DnsOverrides::default());
        assert_eq!(made.text, "nameserver 192.0.2.7\nsearch lan\n");
        assert_eq!(resolv_conf("nameserver ::ffff:127.0.0.1\n", None, &DnsOverrides::default()).text, "");
    }

    #[test]
    fn names_are_asked_of_one_server() {
        let host = "nameserver 192.0.2.1\nsearch lan\noptions timeout:1\n";
        let made = |overrides| resolv_conf_of_names(host, "127.0.0.11".parse().unwrap(), &overrides);
        assert_eq!(
            made(DnsOverrides::default()),
            "nameserver 127.0.0.11\nsearch lan\noptions timeout:1 ndots:0\n"
        );
        let own = DnsOverrides { servers: vec![], search: vec!["a".into()], options: vec!["ndots:3".into()] };
        assert_eq!(made(own), "nameserver 127.0.0.11\nsearch a\noptions ndots:3\n");
    }

    #[test]
    fn no_server_is_made_up() {
        let made =
            resolv_conf("nameserver 127.0.0.53\n", Some("nameserver 127.0.0.1\n"), &DnsOverrides::default());
        assert_eq!(made.text, "");
        assert!(made.warning.is_some());
    }

    #[test]
    fn what_the_user_asks_for_wins() {
        let overrides = DnsOverrides {
            servers: vec!["127.0.0.1".parse().unwrap()],
            search: vec![".".into()],
            options: vec!["ndots:5".into()],
        };
        let made = resolv_conf("nameserver 192.0.2.1\nsearch a\noptions ndots:1\n", None, &overrides);
        assert_eq!(made.text, "nameserver 127.0.0.1\noptions ndots:5\n");
        assert_eq!(made.warning, None);
    }
}
