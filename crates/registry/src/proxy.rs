//! Which proxy a request goes through, decided from given values: `HTTP_PROXY`, `HTTPS_PROXY`, `NO_PROXY` or the
//! `[registry.proxy]` table. This machine itself is never asked through a proxy.

use std::net::IpAddr;

use serde::Deserialize;

use crate::config::ConfigError;
use crate::url::{Scheme, Url, is_loopback};

/// The proxies and the hosts that are asked without one.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Proxies {
    /// Proxy for `http` URLs, `http://[user:password@]host:port`.
    pub http: Option<String>,
    /// Proxy for `https` URLs.
    pub https: Option<String>,
    /// Hosts without a proxy: names (and all names below them), addresses, networks (`10.0.0.0/8`), each with an
    /// optional port, or `*`.
    pub no_proxy: Vec<String>,
}

impl Proxies {
    /// Reads the usual variables through `variable`, lower-case names first as other programs do.
    pub fn from_env(variable: impl Fn(&str) -> Option<String>) -> Self {
        let read =
            |names: &[&str]| names.iter().filter_map(|name| variable(name)).find(|value| !value.is_empty());
        let no_proxy = read(&["no_proxy", "NO_PROXY"]).unwrap_or_default();
        Self {
            http: read(&["http_proxy", "HTTP_PROXY"]),
            https: read(&["https_proxy", "HTTPS_PROXY"]),
            no_proxy: no_proxy
                .split(',')
                .map(str::trim)
                .filter(|p| !p.is_empty())
                .map(str::to_owned)
                .collect(),
        }
    }

    /// Returns these proxies, with those of `other` where this one has none.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        let nothing = self.no_proxy.is_empty();
        Self {
            http: self.http.or(other.http),
            https: self.https.or(other.https),
            no_proxy: if nothing { other.no_proxy } else { self.no_proxy },
        }
    }

    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        [&self.http, &self.https].into_iter().flatten().try_for_each(|url| ureq_proxy(url).map(drop))
    }

    /// Returns the proxy for `url`, if it takes one.
    pub(crate) fn choose(&self, url: &Url) -> Option<&str> {
        let proxy = match url.scheme {
            Scheme::Http => self.http.as_deref(),
            Scheme::Https => self.https.as_deref(),
        }?;
        let direct = is_loopback(&url.authority) || self.no_proxy.iter().any(|pattern| exempts(pattern, url));
        (!direct).then_some(proxy)
    }
}

/// Shows no passwords.
impl std::fmt::Debug for Proxies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Proxies")
            .field("http", &self.http.as_deref().map(without_user))
            .field("https", &self.https.as_deref().map(without_user))
            .field("no_proxy", &self.no_proxy)
            .finish()
    }
}

/// Makes the client library's proxy of `url`; a missing scheme means `http`.
pub(crate) fn ureq_proxy(url: &str) -> Result<ureq::Proxy, ConfigError> {
    let error = |reason: &str| ConfigError::Proxy { url: without_user(url), reason: reason.to_owned() };
    let full = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
    if !full.starts_with("http://") && !full.starts_with("https://") {
        return Err(error("its scheme is neither http nor https"));
    }
    ureq::Proxy::new(&full).map_err(|_| error("it is not a URL"))
}

fn without_user(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").map_or(("", url), |(scheme, rest)| (scheme, rest));
    let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    if scheme.is_empty() { host.to_owned() } else { format!("{scheme}://{host}") }
}

/// Says whether `pattern` of `NO_PROXY` takes in the host of `url`.
fn exempts(pattern: &str, url: &Url) -> bool {
    if pattern == "*" {
        return true;
    }
    let host = url.host();
    if let Ok(ip) = host.parse::<IpAddr>()
        && let Some((network, bits)) = pattern.split_once('/')
    {
        return match (network.parse::<IpAddr>(), bits.parse::<u32>()) {
            (Ok(network), Ok(bits)) => in_network(ip, network, bits),
            _ => false,
        };
    }
    if url.authority.eq_ignore_ascii_case(pattern) {
        return true;
    }
    let name = pattern.trim_start_matches("*.").trim_start_matches('.').to_ascii_lowercase();
    !name.is_empty() && (host == name || host.strip_suffix(&name).is_some_and(|front| front.ends_with('.')))
}

fn in_network(ip: IpAddr, network: IpAddr, bits: u32) -> bool {
    let (ip, network, width) = match (ip, network) {
        (IpAddr::V4(ip), IpAddr::V4(network)) => {
            (u128::from(ip.to_bits()), u128::from(network.to_bits()), 32)
        }
        (IpAddr::V6(ip), IpAddr::V6(network)) => (ip.to_bits(), network.to_bits(), 128),
        _ => return false,
    };
    let host_bits = u32::saturating_sub(width, bits);
    bits <= width && (host_bits >= 128 || ip >> host_bits == network >> host_bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(no_proxy: &str) -> Proxies {
        Proxies::from_env(|name| match name {
            "HTTPS_PROXY" => Some("http://user:secret@proxy:3128".to_owned()),
            "no_proxy" => Some(no_proxy.to_owned()),
            _ => None,
        })
    }

    #[test]
    fn the_environment_chooses() {
        let none = proxies("");
        assert!(none.choose(&Url::parse("https://a.b/").unwrap()).is_some());
        assert!(none.choose(&Url::parse("http://a.b/").unwrap()).is_none());
        assert!(none.choose(&Url::parse("https://127.0.0.1:5000/").unwrap()).is_none());
    }

    #[test]
    fn no_proxy_is_honoured() {
        for (pattern, url, direct) in [
            ("*", "https://a.b/", true),
            ("a.b", "https://a.b/", true),
            ("a.b", "https://x.a.b:5000/", true),
            (".a.b", "https://x.a.b/", true),
            ("a.b", "https://xa.b/", false),
            ("a.b:5000", "https://a.b:5000/", true),
            ("a.b:5000", "https://a.b/", false),
            ("10.0.0.0/8", "https://10.1.2.3:5000/", true),
            ("10.0.0.0/8", "https://11.1.2.3/", false),
            ("0.0.0.0/0", "https://11.1.2.3/", true),
            ("fd00::/8", "https://[fd00::1]/", true),
            ("x, ,a.b", "https://a.b/", true),
        ] {
            assert_eq!(
                proxies(pattern).choose(&Url::parse(url).unwrap()).is_none(),
                direct,
                "{pattern} {url}"
            );
        }
    }

    #[test]
    fn passwords_are_not_shown() {
        assert!(!format!("{:?}", proxies("")).contains("secret"));
        assert!(!ureq_proxy("ftp://u:secret@x").unwrap_err().to_string().contains("secret"));
    }
}
