//! Where an image is asked for: the mirrors of its registry in their order, then the registry.

use oci::reference::DEFAULT_DOMAIN;

use crate::config::RegistryConfig;
use crate::error::{Error, Result};
use crate::transport::{Asked, SchemeChoice};
use crate::url::{Scheme, Url, is_loopback};

/// The host that serves the images of `docker.io`.
pub(crate) const HUB_HOST: &str = "registry-1.docker.io";

/// One place to ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// Host and port of the requests.
    pub(crate) authority: String,
    pub(crate) scheme: SchemeChoice,
    /// Name for credentials and configuration: the registry's, or a mirror's host and port.
    pub(crate) domain: String,
    /// The repository as this place calls it.
    pub(crate) repository: String,
    /// What errors call it.
    pub(crate) label: String,
}

impl Endpoint {
    /// Returns the place of the registry `domain` itself.
    pub(crate) fn origin(config: &RegistryConfig, domain: &str, repository: &str) -> Self {
        let authority = if domain == DEFAULT_DOMAIN { HUB_HOST } else { domain };
        let scheme = match config.host(domain).and_then(|host| host.insecure_http) {
            Some(true) => SchemeChoice::Only(Scheme::Http),
            None if is_loopback(domain) => SchemeChoice::PlainFirst,
            _ => SchemeChoice::Only(Scheme::Https),
        };
        Self {
            authority: authority.to_owned(),
            scheme,
            domain: domain.to_owned(),
            repository: repository.to_owned(),
            label: domain.to_owned(),
        }
    }

    fn mirror(url: &Url, repository: &str) -> Self {
        let prefix = url.path.trim_matches('/');
        let repository =
            if prefix.is_empty() { repository.to_owned() } else { format!("{prefix}/{repository}") };
        Self {
            authority: url.authority.clone(),
            scheme: SchemeChoice::Only(url.scheme),
            domain: url.authority.clone(),
            repository,
            label: format!("mirror {}", url.to_string().trim_end_matches('/')),
        }
    }

    /// Returns the URL of `path` below the repository; the scheme is settled when it is sent.
    pub(crate) fn url(&self, path: &str) -> Url {
        Url::new(Scheme::Https, &self.authority, format!("/v2/{}/{path}", self.repository))
    }

    pub(crate) fn asked(&self, what: &str) -> Asked {
        Asked { what: what.to_owned(), registry: self.label.clone(), domain: self.domain.clone() }
    }
}

/// Lists the places to ask for `repository` of `domain`, in order.
pub(crate) fn plan(config: &RegistryConfig, domain: &str, repository: &str) -> Result<Vec<Endpoint>> {
    let blocked = |name: &str| config.host(name).is_some_and(|host| host.blocked);
    if blocked(domain) {
        return Err(Error::Blocked { domain: domain.to_owned() });
    }
    let mirrors = config.host(domain).map_or(&[][..], |host| &host.mirrors);
    let mut places = Vec::new();
    for mirror in mirrors.iter().filter(|mirror| covers(mirror.for_prefix.as_deref(), repository)) {
        // Validated with the configuration.
        if let Ok(url) = Url::parse(&mirror.url)
            && !blocked(&url.authority)
        {
            places.push(Endpoint::mirror(&url, repository));
        }
    }
    places.push(Endpoint::origin(config, domain, repository));
    Ok(places)
}

fn covers(prefix: Option<&str>, repository: &str) -> bool {
    let Some(prefix) = prefix.map(|prefix| prefix.trim_matches('/')).filter(|prefix| !prefix.is_empty())
    else {
        return true;
    };
    repository.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> RegistryConfig {
        toml::from_str(
            r#"
            [hosts."docker.io"]
            mirrors = [
                { url = "https://m1.local/hub/", for_prefix = "library" },
                { url = "http://10.0.0.1:5000" },
                { url = "https://blocked.local" },
            ]
            [hosts."blocked.local"]
            blocked = true
            [hosts."plain.local"]
            insecure_http = true
            "#,
        )
        .unwrap()
    }

    fn show(domain: &str, repository: &str) -> Vec<String> {
        let places = plan(&config(), domain, repository).unwrap();
        places
            .iter()
            .map(|place| {
                format!("{:?} {}/{} as {}", place.scheme, place.authority, place.repository, place.domain)
            })
            .collect()
    }

    #[test]
    fn mirrors_go_first_in_their_order() {
        assert_eq!(
            show("docker.io", "library/debian"),
            [
                "Only(Https) m1.local/hub/library/debian as m1.local",
                "Only(Http) 10.0.0.1:5000/library/debian as 10.0.0.1:5000",
                "Only(Https) registry-1.docker.io/library/debian as docker.io",
            ]
        );
        assert_eq!(show("docker.io", "librarything/x").len(), 2);
    }

    #[test]
    fn plain_http_is_for_loopback_and_configured_hosts() {
        assert_eq!(show("127.0.0.1:5000", "a"), ["PlainFirst 127.0.0.1:5000/a as 127.0.0.1:5000"]);
        assert_eq!(show("plain.local", "a"), ["Only(Http) plain.local/a as plain.local"]);
        assert_eq!(show("ghcr.io", "a"), ["Only(Https) ghcr.io/a as ghcr.io"]);
        assert!(matches!(plan(&config(), "blocked.local", "a"), Err(Error::Blocked { .. })));
    }
}
