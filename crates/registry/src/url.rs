//! The part of URLs that registries use: `http` or `https`, authority, path with query. No user names, no fragments.

use std::fmt;

use ureq::http::Uri;

/// An absolute HTTP URL.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Url {
    pub(crate) scheme: Scheme,
    /// Host, with its port if one was given, in lower case.
    pub(crate) authority: String,
    /// Path with query; begins with `/`.
    pub(crate) path: String,
}

/// The two schemes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Scheme {
    Http,
    Https,
}

/// Why a text is no URL that we use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidUrl {
    #[error("is not a URL")]
    Syntax,
    #[error("has neither the scheme http nor https")]
    Scheme,
    #[error("has a user name; credentials are kept by `brig login`")]
    User,
}

impl Scheme {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

impl Url {
    pub(crate) fn new(scheme: Scheme, authority: &str, path: impl Into<String>) -> Self {
        Self { scheme, authority: authority.to_ascii_lowercase(), path: path.into() }
    }

    pub(crate) fn parse(text: &str) -> Result<Self, InvalidUrl> {
        let without_fragment = text.split('#').next().unwrap_or_default();
        let scheme = without_fragment.split(':').next().unwrap_or_default().to_ascii_lowercase();
        if without_fragment.contains(':') && scheme != "http" && scheme != "https" {
            return Err(InvalidUrl::Scheme);
        }
        let uri: Uri = without_fragment.parse().map_err(|_| InvalidUrl::Syntax)?;
        let scheme = match uri.scheme_str() {
            Some("http") => Scheme::Http,
            Some("https") => Scheme::Https,
            _ => return Err(InvalidUrl::Scheme),
        };
        let authority = uri.authority().ok_or(InvalidUrl::Syntax)?.as_str();
        if authority.contains('@') {
            return Err(InvalidUrl::User);
        }
        if uri.host().is_none_or(str::is_empty) || authority.ends_with(':') {
            return Err(InvalidUrl::Syntax);
        }
        Ok(Self::new(scheme, authority, uri.path_and_query().map_or("/", |path| path.as_str())))
    }

    /// Resolves the header `Location` of an answer to this URL (RFC 9110, 10.2.2).
    pub(crate) fn join(&self, location: &str) -> Result<Self, InvalidUrl> {
        if location.starts_with("//") {
            return Self::parse(&format!("{}:{location}", self.scheme.as_str()));
        }
        if let Some((scheme, _)) = location.split_once(':')
            && !scheme.is_empty()
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
        {
            return Self::parse(location);
        }
        let origin = format!("{}://{}", self.scheme.as_str(), self.authority);
        if location.starts_with('/') {
            return Self::parse(&format!("{origin}{location}"));
        }
        let path = self.path.split('?').next().unwrap_or("/");
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        Self::parse(&format!("{origin}{folder}/{location}"))
    }

    /// Returns the host without port and brackets.
    pub(crate) fn host(&self) -> &str {
        host_of(&self.authority)
    }

    fn port(&self) -> u16 {
        port_of(&self.authority).unwrap_or_else(|| self.scheme.default_port())
    }

    /// Says whether a credential meant for `self` may be sent to `other`: the same host and port, not leaving TLS.
    pub(crate) fn shares_credentials_with(&self, other: &Self) -> bool {
        let same_place = self.host() == other.host() && self.port() == other.port();
        let upgraded = self.host() == other.host()
            && (self.scheme, self.port()) == (Scheme::Http, 80)
            && (other.scheme, other.port()) == (Scheme::Https, 443);
        upgraded || (same_place && self.scheme == other.scheme)
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme.as_str(), self.authority, self.path)
    }
}

/// Returns the host of `host[:port]`, without brackets.
pub(crate) fn host_of(authority: &str) -> &str {
    if let Some(rest) = authority.strip_prefix('[') {
        return rest.split(']').next().unwrap_or(rest);
    }
    authority.split(':').next().unwrap_or(authority)
}

fn port_of(authority: &str) -> Option<u16> {
    let after_host = authority.rsplit_once(']').map_or(authority, |(_, rest)| rest);
    after_host.rsplit_once(':').and_then(|(_, port)| port.parse().ok())
}

/// Says whether the host of `authority` is this machine: `localhost`, 127.0.0.0/8, `::1`.
pub(crate) fn is_loopback(authority: &str) -> bool {
    let host = host_of(authority);
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Encodes one value of a query.
pub(crate) fn encode_query(value: &str) -> String {
    let mut encoded = String::with_capacity(value.len());
    for byte in value.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                encoded.push(char::from(byte))
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_are_resolved() {
        let base = Url::parse("https://a.b:5000/v2/x/blobs/y?z").unwrap();
        for (location, expected) in [
            ("/c?d", "https://a.b:5000/c?d"),
            ("e", "https://a.b:5000/v2/x/blobs/e"),
            ("//c.d/e", "https://c.d/e"),
            ("http://c.d", "http://c.d/"),
            ("https://c.d/e#f", "https://c.d/e"),
        ] {
            assert_eq!(base.join(location).unwrap().to_string(), expected, "{location}");
        }
        for location in ["file:///etc/passwd", "gopher://x", "https://", "https://u:p@x/", "ht tp://x"] {
            assert!(base.join(location).is_err(), "{location}");
        }
    }

    #[test]
    fn credentials_stay_at_their_host() {
        let from = Url::parse("https://a.b/x").unwrap();
        for (to, shares) in [
            ("https://a.b/y", true),
            ("https://a.b:443/y", true),
            ("https://A.B/y", true),
            ("http://a.b/y", false),
            ("https://a.b:444/y", false),
            ("https://c.a.b/y", false),
            ("https://a.b.evil/y", false),
        ] {
            assert_eq!(from.shares_credentials_with(&Url::parse(to).unwrap()), shares, "{to}");
        }
        let plain = Url::parse("http://a.b/x").unwrap();
        assert!(plain.shares_credentials_with(&from));
    }

    #[test]
    fn loopback_is_known() {
        for (authority, expected) in [
            ("localhost:5000", true),
            ("127.3.2.1", true),
            ("[::1]:80", true),
            ("::ffff:127.0.0.1", false),
            ("127.0.0.1.evil", false),
            ("localhost.evil", false),
            ("10.0.0.1", false),
        ] {
            assert_eq!(is_loopback(authority), expected, "{authority}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_is_parsed_is_the_same_when_parsed_again(location in "(https?:)?(//)?[ -~]{0,40}") {
            let base = Url::parse("https://a.b:5000/v2/x?y").unwrap();
            if let Ok(url) = base.join(&location) {
                proptest::prop_assert_eq!(Url::parse(&url.to_string()), Ok(url.clone()));
                proptest::prop_assert!(!url.authority.contains('@') && !url.host().is_empty());
            }
        }
    }
}
