//! Image references as Docker reads them: `[domain/]repository[:tag][@digest]`, short names made full.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::digest::{Digest, InvalidDigest};

/// The registry that a name without a domain belongs to.
pub const DEFAULT_DOMAIN: &str = "docker.io";
/// The folder on [`DEFAULT_DOMAIN`] that a one-word name belongs to.
pub const DEFAULT_NAMESPACE: &str = "library";
/// The tag of a reference with neither tag nor digest.
pub const DEFAULT_TAG: &str = "latest";
/// The longest `domain/repository`, as in Docker.
const NAME_MAX: usize = 255;

/// A parsed, full image reference. At least one of tag and digest is there.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ImageRef {
    /// Registry host, with its port if one was given.
    pub domain: String,
    /// Path on the registry, such as `library/debian`.
    pub repository: String,
    /// Tag, if given or implied.
    pub tag: Option<String>,
    /// Digest, if given.
    pub digest: Option<Digest>,
}

/// Why a text is no reference. The words are Docker's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRef {
    /// It does not follow the grammar.
    #[error("invalid reference format: {text:?}")]
    Format {
        /// What was given.
        text: String,
    },
    /// It has capital letters in the repository.
    #[error("invalid reference format: repository name ({text}) must be lowercase")]
    Uppercase {
        /// What was given.
        text: String,
    },
    /// Its name is longer than 255 characters.
    #[error("invalid reference format: repository name must not be more than {NAME_MAX} characters")]
    TooLong,
    /// Its digest is malformed.
    #[error("invalid reference format")]
    Digest(#[from] InvalidDigest),
}

impl ImageRef {
    /// Returns the name as people know it: `debian`, not `docker.io/library/debian`.
    pub fn familiar_name(&self) -> String {
        if self.domain != DEFAULT_DOMAIN {
            return format!("{}/{}", self.domain, self.repository);
        }
        match self.repository.strip_prefix("library/") {
            Some(rest) if !rest.contains('/') => rest.to_owned(),
            _ => self.repository.clone(),
        }
    }

    /// Returns the familiar name with tag or digest: `debian:12`.
    pub fn familiar(&self) -> String {
        self.with_suffix(self.familiar_name())
    }

    /// Returns `domain/repository`.
    pub fn name(&self) -> String {
        format!("{}/{}", self.domain, self.repository)
    }

    fn with_suffix(&self, mut name: String) -> String {
        if let Some(tag) = &self.tag {
            name = format!("{name}:{tag}");
        }
        if let Some(digest) = &self.digest {
            name = format!("{name}@{digest}");
        }
        name
    }
}

impl FromStr for ImageRef {
    type Err = InvalidRef;

    fn from_str(text: &str) -> Result<Self, InvalidRef> {
        let format_error = || InvalidRef::Format { text: text.to_owned() };
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.parse::<Digest>()?)),
            None => (text, None),
        };
        let (name, tag) = split_tag(rest);
        let (domain, path) = split_domain(name);
        if path.chars().any(|c| c.is_ascii_uppercase()) {
            return Err(InvalidRef::Uppercase { text: path });
        }
        let tag_ok = tag.is_none_or(is_tag);
        if !is_domain(&domain) || !path.split('/').all(is_path_component) || !tag_ok {
            return Err(format_error());
        }
        if domain.len() + 1 + path.len() > NAME_MAX {
            return Err(InvalidRef::TooLong);
        }
        let implied = (tag.is_none() && digest.is_none()).then_some(DEFAULT_TAG);
        Ok(Self { domain, repository: path, tag: tag.or(implied).map(str::to_owned), digest })
    }
}

fn split_tag(text: &str) -> (&str, Option<&str>) {
    match text.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (text, None),
    }
}

fn split_domain(name: &str) -> (String, String) {
    let (domain, path) = match name.split_once('/') {
        Some((first, rest))
            if first.contains(['.', ':'])
                || first == "localhost"
                || first.chars().any(|c| c.is_ascii_uppercase()) =>
        {
            (first.to_owned(), rest.to_owned())
        }
        _ => (DEFAULT_DOMAIN.to_owned(), name.to_owned()),
    };
    let domain = if domain == "index.docker.io" { DEFAULT_DOMAIN.to_owned() } else { domain };
    if domain == DEFAULT_DOMAIN && !path.contains('/') {
        return (domain, format!("{DEFAULT_NAMESPACE}/{path}"));
    }
    (domain, path)
}

fn is_domain(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !text.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    let port_ok = port.is_none_or(|p| !p.is_empty() && p.bytes().all(|b| b.is_ascii_digit()));
    let label = |l: &str| {
        !l.is_empty()
            && !l.starts_with('-')
            && !l.ends_with('-')
            && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    let v6 = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    port_ok && v6.map_or_else(|| host.split('.').all(label), |v6| v6.parse::<std::net::Ipv6Addr>().is_ok())
}

/// Words of lower-case letters and digits, joined by `.`, `_`, `__` or any number of `-`.
fn is_path_component(text: &str) -> bool {
    let bytes = text.as_bytes();
    let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let ends_ok = bytes.first().is_some_and(|b| word(*b)) && bytes.last().is_some_and(|b| word(*b));
    ends_ok
        && text
            .split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            .all(|joint| matches!(joint, "" | "." | "_" | "__") || joint.bytes().all(|b| b == b'-'))
}

fn is_tag(tag: &str) -> bool {
    let first_ok = tag.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_');
    first_ok
        && tag.len() <= 128
        && tag.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

impl TryFrom<String> for ImageRef {
    type Error = InvalidRef;

    fn try_from(text: String) -> Result<Self, InvalidRef> {
        text.parse()
    }
}

impl From<ImageRef> for String {
    fn from(reference: ImageRef) -> Self {
        reference.to_string()
    }
}

impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.with_suffix(self.name()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_become_full() {
        for (text, full, familiar) in [
            ("debian", "docker.io/library/debian:latest", "debian:latest"),
            ("debian:12", "docker.io/library/debian:12", "debian:12"),
            ("me/app", "docker.io/me/app:latest", "me/app:latest"),
            ("localhost/app", "localhost/app:latest", "localhost/app:latest"),
            ("127.0.0.1:5000/a/b:t", "127.0.0.1:5000/a/b:t", "127.0.0.1:5000/a/b:t"),
            ("[::1]:5000/a", "[::1]:5000/a:latest", "[::1]:5000/a:latest"),
            ("index.docker.io/x", "docker.io/library/x:latest", "x:latest"),
            ("ghcr.io/a/b__c-d.e", "ghcr.io/a/b__c-d.e:latest", "ghcr.io/a/b__c-d.e:latest"),
        ] {
            let parsed: ImageRef = text.parse().unwrap();
            assert_eq!(parsed.to_string(), full, "{text}");
            assert_eq!(parsed.familiar(), familiar, "{text}");
            assert_eq!(full.parse::<ImageRef>().unwrap(), parsed, "{text}");
        }
    }

    #[test]
    fn digests_are_kept_and_checked() {
        let digest = Digest::of(b"x");
        let parsed: ImageRef = format!("a/b@{digest}").parse().unwrap();
        assert_eq!((parsed.tag.clone(), parsed.digest.clone()), (None, Some(digest)));
        assert!("a@sha256:../..".parse::<ImageRef>().is_err());
    }

    #[test]
    fn bad_references_are_refused() {
        for text in [
            "",
            ":",
            "a:",
            "A",
            "a/B",
            "-a",
            "a..b",
            "a___b",
            "a//b",
            "/a",
            "a/",
            "a b",
            "a:b c",
            "http://x/y",
            "../x",
            "x.io:p/a",
            "a@b",
            "a@",
            "b.io/",
            &"a".repeat(300),
            &format!("a:{}", "t".repeat(129)),
        ] {
            assert!(text.parse::<ImageRef>().is_err(), "{text}");
        }
    }
}
