//! The `[registry]` table of the configuration: per registry its mirrors, certificates and scheme.
//!
//! Unknown fields are refused. Nothing is read here: files that are named are opened when a connection needs them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Deserializer};

use crate::proxy::Proxies;
use crate::url::Url;

/// How registries are spoken to.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RegistryConfig {
    /// What holds for one registry, by its name in references (`docker.io`, `registry.local:5000`) or by the
    /// host and port of a mirror.
    pub hosts: BTreeMap<String, HostConfig>,
    /// Proxies; the caller merges the environment in, see [`Proxies::from_env`].
    pub proxy: Proxies,
    /// The longest time that making a connection may take, TLS included. Seconds in the file.
    #[serde(deserialize_with = "seconds")]
    pub connect_timeout: Duration,
    /// The longest time without a byte. There is no limit on the whole. Seconds in the file.
    #[serde(deserialize_with = "seconds")]
    pub idle_timeout: Duration,
    /// How often a manifest or token is asked for when the failure is temporary; at least 1.
    pub attempts: u32,
    /// The longest wait that a registry may impose by `Retry-After`. Seconds in the file.
    #[serde(deserialize_with = "seconds")]
    pub longest_wait: Duration,
    /// What the client calls itself.
    #[serde(skip)]
    pub user_agent: String,
}

/// What holds for one registry or mirror.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HostConfig {
    /// Places that are asked before the registry, in this order.
    pub mirrors: Vec<Mirror>,
    /// `true`: plain HTTP, never TLS. `false`: TLS only. Absent: TLS, but for loopback plain HTTP first and then TLS.
    pub insecure_http: Option<bool>,
    /// Files of PEM certificates that are trusted for this host beside the system's.
    pub ca_files: Vec<PathBuf>,
    /// File of the PEM certificate chain that the client shows.
    pub client_cert: Option<PathBuf>,
    /// File of the PEM key that belongs to `client_cert`.
    pub client_key: Option<PathBuf>,
    /// Accept any certificate. Whoever sits on the way can then read and change everything.
    pub skip_verify: bool,
    /// Refuse every request to this registry.
    pub blocked: bool,
}

/// A place that has copies of a registry's images.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mirror {
    /// `https://host[:port][/path]` or, for plain HTTP, `http://…`. A path is put before the repository's name.
    pub url: String,
    /// Only repositories of this name or below it are asked for here (`library`, `me/app`); absent: all.
    #[serde(default)]
    pub for_prefix: Option<String>,
}

/// A configuration that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A mirror's URL.
    #[error("registry.hosts.{domain:?}.mirrors: url {url:?} {reason}")]
    Mirror {
        /// Registry whose mirror it is.
        domain: String,
        /// What was given.
        url: String,
        /// What is wrong.
        reason: String,
    },
    /// The name of a registry.
    #[error(
        "registry.hosts: {domain:?} is no registry; a host with an optional port is wanted, such as \"registry.local:5000\""
    )]
    Domain {
        /// What was given.
        domain: String,
    },
    /// One of certificate and key is missing.
    #[error("registry.hosts.{domain:?}: client_cert and client_key are wanted together")]
    HalfClientCert {
        /// Registry concerned.
        domain: String,
    },
    /// A file of certificates or a key.
    #[error("registry.hosts.{domain:?}: cannot use {path:?}: {reason}")]
    File {
        /// Registry concerned.
        domain: String,
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A proxy.
    #[error("proxy {url:?} cannot be used: {reason}")]
    Proxy {
        /// What was given, without its password.
        url: String,
        /// What is wrong.
        reason: String,
    },
    /// A number out of range.
    #[error("registry.{field}: {value} is out of range; {wanted}")]
    Range {
        /// Field concerned.
        field: &'static str,
        /// What was given.
        value: u64,
        /// What is allowed.
        wanted: &'static str,
    },
    /// No trusted certificate at all.
    #[error(
        "this machine has no CA certificates; install the package ca-certificates, or set registry.hosts.<host>.ca_files"
    )]
    NoRoots,
}

impl Default for RegistryConfig {
    fn default() -> Self {
        Self {
            hosts: BTreeMap::new(),
            proxy: Proxies::default(),
            connect_timeout: Duration::from_secs(15),
            idle_timeout: Duration::from_secs(60),
            attempts: 4,
            longest_wait: Duration::from_secs(30),
            user_agent: concat!("brig/", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }
}

impl RegistryConfig {
    /// Returns what is configured for `domain`, if anything.
    pub fn host(&self, domain: &str) -> Option<&HostConfig> {
        self.hosts.get(domain)
    }

    /// Checks what serde cannot: names, URLs, ranges, fields that belong together.
    pub fn validate(&self) -> Result<(), ConfigError> {
        for (field, value) in [("connect_timeout", self.connect_timeout), ("idle_timeout", self.idle_timeout)]
        {
            if value.is_zero() {
                return Err(ConfigError::Range { field, value: 0, wanted: "at least 1 second" });
            }
        }
        if self.attempts == 0 || self.attempts > 20 {
            return Err(ConfigError::Range {
                field: "attempts",
                value: self.attempts.into(),
                wanted: "1 to 20",
            });
        }
        self.proxy.validate()?;
        self.hosts.iter().try_for_each(|(domain, host)| validate_host(domain, host))
    }
}

fn validate_host(domain: &str, host: &HostConfig) -> Result<(), ConfigError> {
    let bare =
        Url::parse(&format!("https://{domain}")).is_ok_and(|url| url.authority == *domain && url.path == "/");
    if !bare {
        return Err(ConfigError::Domain { domain: domain.to_owned() });
    }
    if host.client_cert.is_some() != host.client_key.is_some() {
        return Err(ConfigError::HalfClientCert { domain: domain.to_owned() });
    }
    for mirror in &host.mirrors {
        let reason = match Url::parse(&mirror.url) {
            Err(error) => error.to_string(),
            Ok(url) if url.path.contains(['?', '#']) => "has a query".to_owned(),
            Ok(_) => continue,
        };
        return Err(ConfigError::Mirror { domain: domain.to_owned(), url: mirror.url.clone(), reason });
    }
    Ok(())
}

fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    u32::deserialize(deserializer).map(|seconds| Duration::from_secs(seconds.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_table_is_read() {
        let config: RegistryConfig = toml::from_str(
            r#"
            idle_timeout = 90
            [hosts."docker.io"]
            mirrors = [{ url = "https://mirror.local/hub", for_prefix = "library" }, { url = "http://10.0.0.1:5000" }]
            [hosts."registry.local:5000"]
            insecure_http = true
            [hosts."bad.example"]
            blocked = true
            [proxy]
            https = "http://proxy.local:3128"
            no_proxy = ["local", "10.0.0.0/8"]
            "#,
        )
        .unwrap();
        config.validate().unwrap();
        assert_eq!(config.idle_timeout, Duration::from_secs(90));
        assert_eq!(config.hosts["docker.io"].mirrors[0].for_prefix.as_deref(), Some("library"));
        assert_eq!(config.hosts["registry.local:5000"].insecure_http, Some(true));
    }

    #[test]
    fn wrong_fields_and_values_are_named() {
        for (text, named) in [
            ("[hosts.\"a.b\"]\ninsecure = true", "insecure"),
            ("[hosts.\"a.b/c\"]\nblocked = true", "a.b/c"),
            ("[hosts.\"user@a.b\"]\nblocked = true", "user@a.b"),
            ("[hosts.\"a.b\"]\nmirrors = [{ url = \"ftp://x\" }]", "ftp://x"),
            ("[hosts.\"a.b\"]\nmirrors = [{ url = \"https://u:p@x\" }]", "user name"),
            ("[hosts.\"a.b\"]\nmirrors = [{ url = \"https://x?y\" }]", "query"),
            ("[hosts.\"a.b\"]\nclient_cert = \"/x\"", "client_key"),
            ("connect_timeout = 0", "connect_timeout"),
            ("attempts = 0", "attempts"),
            ("[proxy]\nhttps = \"gopher://x\"", "gopher"),
        ] {
            let error = match toml::from_str::<RegistryConfig>(text) {
                Err(error) => error.to_string(),
                Ok(config) => config.validate().unwrap_err().to_string(),
            };
            assert!(error.contains(named), "{text}: {error}");
        }
    }
}
