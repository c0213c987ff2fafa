//! What goes wrong below HTTP's status, and how it becomes an error that says what was asked of whom.

use std::io;

use crate::config::ConfigError;
use crate::error::{Error, TransportError, clean};
use crate::url::{Scheme, Url};

/// What was asked of whom; the beginning of every error.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// Such as `manifest of debian:12`.
    pub(crate) what: String,
    /// The host as people know it.
    pub(crate) registry: String,
    /// The name that `brig login` takes.
    pub(crate) domain: String,
}

/// A request that got no answer.
#[derive(Debug)]
pub(crate) enum Failure {
    Transport { source: TransportError, hint: String },
    Redirect(String),
    Config(ConfigError),
}

impl Failure {
    /// Adds what was asked of whom.
    pub(crate) fn asked(self, asked: &Asked) -> Error {
        let (what, registry) = (asked.what.clone(), asked.registry.clone());
        match self {
            Self::Transport { source, hint } => Error::Transport { what, registry, hint, source },
            Self::Redirect(reason) => Error::Redirect { what, registry, reason },
            Self::Config(error) => Error::Config(error),
        }
    }

    /// Says whether a TLS server may have misunderstood our plain HTTP.
    pub(super) fn may_be_tls(&self) -> bool {
        match self {
            Self::Transport {
                source: TransportError::Protocol(_) | TransportError::Truncated { .. },
                ..
            } => true,
            Self::Transport { source: TransportError::Io(error), .. } => {
                matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset)
            }
            _ => false,
        }
    }

    /// Says whether the other side does not speak TLS, or not at all.
    pub(super) fn is_not_tls(&self) -> bool {
        let Self::Transport { source, .. } = self else { return false };
        matches!(source, TransportError::NotTls | TransportError::Io(_) | TransportError::Timeout(_))
    }

    /// Adds what may help the person who asked for `url`.
    pub(super) fn with_hint(mut self, url: &Url) -> Self {
        if let Self::Transport { source, hint } = &mut self {
            *hint = advice(source, url);
        }
        self
    }
}

fn advice(error: &TransportError, url: &Url) -> String {
    let table = format!("[registry.hosts.{:?}]", url.authority);
    match error {
        TransportError::NotTls if url.scheme == Scheme::Https => {
            format!("if it speaks plain HTTP and that is meant, set insecure_http = true in {table}")
        }
        TransportError::Protocol(_) if url.scheme == Scheme::Http => {
            format!("if it speaks TLS, set insecure_http = false in {table}")
        }
        TransportError::Tls(text) if text.contains("UnknownIssuer") || text.contains("CaUsedAsEndEntity") => {
            format!("if its certificate is genuine, name its authority's file by ca_files in {table}")
        }
        TransportError::Tls(text) if text.contains("not valid for name") => {
            "its certificate is for another name".to_owned()
        }
        TransportError::HostNotFound => "check the name and the network".to_owned(),
        _ => String::new(),
    }
}

impl From<TransportError> for Failure {
    fn from(source: TransportError) -> Self {
        Self::Transport { source, hint: String::new() }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}

impl From<ureq::Error> for Failure {
    fn from(error: ureq::Error) -> Self {
        from_ureq(error).into()
    }
}

fn from_ureq(error: ureq::Error) -> TransportError {
    use ureq::Error as E;
    match error {
        E::Io(error) => from_io(error),
        E::Timeout(phase) => TransportError::Timeout(phase.to_string()),
        E::HostNotFound => TransportError::HostNotFound,
        E::Rustls(error) => from_rustls(&error),
        E::Tls(text) => TransportError::Tls(text.to_owned()),
        E::ConnectProxyFailed(text) => TransportError::Proxy(clean(&text)),
        E::InvalidProxyUrl => TransportError::Proxy("its URL is malformed".to_owned()),
        E::ConnectionFailed => TransportError::Io(io::ErrorKind::ConnectionRefused.into()),
        other => TransportError::Protocol(clean(&other.to_string())),
    }
}

/// Finds the cause below an I/O error: TLS and the HTTP library wrap theirs in one.
pub(crate) fn from_io(error: io::Error) -> TransportError {
    if let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        return from_rustls(tls);
    }
    if error.get_ref().is_some_and(|inner| inner.is::<ureq::Error>()) {
        return from_ureq(ureq::Error::from(error));
    }
    // The standard library gives name resolution no kind of its own.
    let text = error.to_string();
    if text.contains("failed to lookup address information") {
        let asleep = text.contains("Temporary failure");
        return if asleep { TransportError::NameServers } else { TransportError::HostNotFound };
    }
    TransportError::Io(error)
}

fn from_rustls(error: &rustls::Error) -> TransportError {
    match error {
        rustls::Error::InvalidMessage(_) => TransportError::NotTls,
        other => TransportError::Tls(other.to_string()),
    }
}
