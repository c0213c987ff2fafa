//! Why a registry could not give what was asked, and what to do next.
//!
//! Variants are cut by what the caller can do: look elsewhere, log in, wait, change the configuration, or give up.
//! Whatever text comes from a registry is shortened and stripped of control characters before it gets here.

use std::fmt;
use std::io;
use std::time::Duration;

use base::{ErrorKind, Kinded};

use crate::auth::CredentialError;
use crate::config::ConfigError;

/// The result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a registry could not give what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The registry does not have it (404).
    #[error("cannot find {what} at {registry}{}", Detail(detail))]
    NotFound {
        /// What was asked, such as `manifest of library/debian:12`.
        what: String,
        /// Host (of the registry or mirror) that was asked.
        registry: String,
        /// What the registry said, if anything.
        detail: String,
    },
    /// The registry wants other credentials or gives no right (401, 403).
    #[error("access to {what} at {registry} is denied{}; {}", Detail(detail), DeniedAdvice { domain, logged_in: *logged_in })]
    Denied {
        /// What was asked.
        what: String,
        /// Host that was asked.
        registry: String,
        /// The name that `brig login` takes for it.
        domain: String,
        /// Whether a credential was sent.
        logged_in: bool,
        /// What the registry said, if anything.
        detail: String,
    },
    /// Too many requests (429).
    #[error("{registry} limits the rate of requests: cannot get {what}{}; {}", Detail(detail), RateAdvice { domain, wait: *retry_after })]
    RateLimited {
        /// What was asked.
        what: String,
        /// Host that was asked.
        registry: String,
        /// The name that `brig login` takes for it.
        domain: String,
        /// How long the registry wants us to wait, if it said so.
        retry_after: Option<Duration>,
        /// What the registry said, if anything.
        detail: String,
    },
    /// Any other answer that is not a success.
    #[error("cannot get {what}: {registry} answers {status}{}", Detail(detail))]
    Status {
        /// What was asked.
        what: String,
        /// Host that was asked.
        registry: String,
        /// HTTP status.
        status: u16,
        /// How long the registry wants us to wait, if it said so.
        retry_after: Option<Duration>,
        /// What the registry said, if anything.
        detail: String,
    },
    /// No answer, or a broken one: network, TLS, proxy, HTTP.
    #[error("cannot get {what} from {registry}{}", Detail(hint))]
    Transport {
        /// What was asked.
        what: String,
        /// Host that was asked.
        registry: String,
        /// What may help, from the shape of the failure; may be empty.
        hint: String,
        /// The failure below.
        #[source]
        source: TransportError,
    },
    /// The answer contradicts what was asked or itself. Trying again does not help.
    #[error("refused {what} from {registry}: {lie}")]
    Refused {
        /// What was asked.
        what: String,
        /// Host that was asked.
        registry: String,
        /// What is wrong with the answer.
        lie: Lie,
    },
    /// A redirect that is not followed.
    #[error("refused a redirect of {registry} for {what}: {reason}")]
    Redirect {
        /// What was asked.
        what: String,
        /// Host that was asked.
        registry: String,
        /// Why it is not followed.
        reason: String,
    },
    /// The registry's token server or its challenge cannot be used.
    #[error("cannot get a token for {registry}: {reason}")]
    Token {
        /// Registry that wants the token.
        registry: String,
        /// What is wrong.
        reason: String,
    },
    /// The index has no manifest of the wanted platform.
    #[error("{reference} has no manifest for platform {wanted}; it has {available}")]
    NoPlatform {
        /// The image.
        reference: String,
        /// The platform that was asked.
        wanted: String,
        /// The platforms that the index names.
        available: String,
    },
    /// The text is no URL that can be fetched.
    #[error("cannot fetch {url:?}: it {reason}")]
    Url {
        /// The text.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The configuration forbids the registry.
    #[error("registry {domain:?} is blocked by the configuration")]
    Blocked {
        /// The registry.
        domain: String,
    },
    /// Several places were asked, and each failed.
    #[error("cannot get {what} from any of {} places: {}", attempts.len(), Attempts(attempts))]
    Everywhere {
        /// What was asked.
        what: String,
        /// The failures, in the order of the attempts; the last one is the registry itself.
        attempts: Vec<Error>,
    },
    /// The stored credential cannot be read or written.
    #[error("cannot use the stored credentials")]
    Credential(#[from] CredentialError),
    /// The configuration cannot be used.
    #[error("cannot use the registry configuration")]
    Config(#[from] ConfigError),
}

/// How an answer contradicts what was asked, or itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Lie {
    /// The bytes have another digest.
    #[error("its digest is {actual}, not {expected}")]
    Digest {
        /// The digest that was asked or announced.
        expected: String,
        /// The digest of the bytes.
        actual: String,
    },
    /// The header `Docker-Content-Digest` is not that of the bytes.
    #[error("the registry announces the digest {announced:?}, the bytes have {actual}")]
    AnnouncedDigest {
        /// Text of the header.
        announced: String,
        /// The digest of the bytes.
        actual: String,
    },
    /// The number of bytes is wrong.
    #[error("{expected} bytes were announced, {actual} come")]
    Size {
        /// What the descriptor says.
        expected: u64,
        /// What the registry sends.
        actual: u64,
    },
    /// More bytes than allowed.
    #[error("it is longer than {limit} bytes")]
    TooLong {
        /// The limit, in bytes.
        limit: u64,
    },
    /// The document is not what it claims to be.
    #[error("{reason}")]
    Document {
        /// What is wrong with it.
        reason: String,
    },
    /// The answer to a request for a part is another part.
    #[error("bytes from {asked} were asked, the answer is for {answered:?}")]
    Range {
        /// First byte that was asked.
        asked: u64,
        /// The header `Content-Range`.
        answered: String,
    },
}

/// A failure below HTTP's status: network, TLS, proxy, malformed HTTP.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// The socket failed.
    #[error("{0}")]
    Io(io::Error),
    /// Nothing came in time; the text names the phase.
    #[error("timed out ({0})")]
    Timeout(String),
    /// The name has no address.
    #[error("host not found")]
    HostNotFound,
    /// The name servers do not answer.
    #[error("the name servers do not answer")]
    NameServers,
    /// The TLS handshake or a certificate failed.
    #[error("TLS: {0}")]
    Tls(String),
    /// The server does not speak TLS.
    #[error("the server does not speak TLS")]
    NotTls,
    /// The connection ended before the answer did.
    #[error("the connection ended early: {got} of {expected} bytes came")]
    Truncated {
        /// Bytes that came.
        got: u64,
        /// Bytes that were announced.
        expected: u64,
    },
    /// The proxy refused.
    #[error("proxy: {0}")]
    Proxy(String),
    /// The answer is not HTTP, or the request could not be formed.
    #[error("HTTP: {0}")]
    Protocol(String),
}

impl TransportError {
    /// Says whether the same request may succeed a moment later.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Timeout(_) | Self::Truncated { .. } | Self::NameServers => true,
            Self::Io(error) => is_temporary_io(error.kind()),
            Self::HostNotFound | Self::Tls(_) | Self::NotTls | Self::Proxy(_) | Self::Protocol(_) => false,
        }
    }
}

/// A refused connection counts as permanent: nobody listens, and the user waits for the answer.
fn is_temporary_io(kind: io::ErrorKind) -> bool {
    use io::ErrorKind as K;
    matches!(
        kind,
        K::ConnectionReset
            | K::ConnectionAborted
            | K::BrokenPipe
            | K::TimedOut
            | K::WouldBlock
            | K::UnexpectedEof
            | K::NetworkUnreachable
            | K::HostUnreachable
            | K::NetworkDown
    )
}

impl Error {
    /// Says whether the same request may succeed a moment later: 408, 429, 5xx, broken connections, time-outs.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::RateLimited { .. } => true,
            Self::Status { status, .. } => *status == 408 || (500..600).contains(status),
            Self::Transport { source, .. } => source.is_temporary(),
            Self::Everywhere { attempts, .. } => attempts.iter().any(Self::is_temporary),
            _ => false,
        }
    }

    /// Returns how long the registry wants us to wait before the next request, if it said so.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { retry_after, .. } | Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

impl Kinded for Error {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NotFound { .. } | Self::NoPlatform { .. } => ErrorKind::NotFound,
            Self::Denied { .. } | Self::Blocked { .. } => ErrorKind::Denied,
            Self::RateLimited { .. } | Self::Transport { .. } => ErrorKind::Unavailable,
            Self::Status { .. } if self.is_temporary() => ErrorKind::Unavailable,
            Self::Everywhere { attempts, .. } => attempts.last().map_or(ErrorKind::Internal, Kinded::kind),
            Self::Credential(error) => error.kind(),
            Self::Status { .. }
            | Self::Refused { .. }
            | Self::Redirect { .. }
            | Self::Token { .. }
            | Self::Url { .. }
            | Self::Config(_) => ErrorKind::Invalid,
        }
    }
}

/// Shortens and cleans text of a foreign server, so that it cannot fill or drive a terminal.
pub(crate) fn clean(text: &str) -> String {
    const LONGEST: usize = 300;
    let plain: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST).collect();
    plain.split_whitespace().collect::<Vec<_>>().join(" ")
}

struct Detail<'a>(&'a str);

impl fmt::Display for Detail<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, " ({})", self.0) }
    }
}

struct DeniedAdvice<'a> {
    domain: &'a str,
    logged_in: bool,
}

impl fmt::Display for DeniedAdvice<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let domain = self.domain;
        if self.logged_in {
            return write!(
                f,
                "the stored credential has no right to it or is out of date: run `brig login {domain}`"
            );
        }
        write!(f, "it may not exist, or needs `brig login {domain}`")
    }
}

struct RateAdvice<'a> {
    domain: &'a str,
    wait: Option<Duration>,
}

impl fmt::Display for RateAdvice<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(wait) = self.wait {
            write!(f, "try again in {} s, or ", wait.as_secs())?;
        }
        write!(f, "raise the limit with `brig login {}` or use a mirror", self.domain)
    }
}

struct Attempts<'a>(&'a [Error]);

impl fmt::Display for Attempts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{}", base::error::render_chain(error))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(status: u16) -> Error {
        Error::Status {
            what: String::new(),
            registry: String::new(),
            status,
            retry_after: None,
            detail: String::new(),
        }
    }

    #[test]
    fn only_what_may_pass_is_temporary() {
        for (code, temporary) in
            [(400, false), (404, false), (408, true), (500, true), (503, true), (501, true), (418, false)]
        {
            assert_eq!(status(code).is_temporary(), temporary, "{code}");
        }
        for (kind, temporary) in [
            (io::ErrorKind::ConnectionReset, true),
            (io::ErrorKind::TimedOut, true),
            (io::ErrorKind::ConnectionRefused, false),
            (io::ErrorKind::PermissionDenied, false),
        ] {
            assert_eq!(TransportError::Io(kind.into()).is_temporary(), temporary, "{kind:?}");
        }
    }

    #[test]
    fn text_of_servers_cannot_drive_the_terminal() {
        assert_eq!(clean("a\u{1b}[2Jb\r\n\tc"), "a [2Jb c");
        assert!(clean(&"x".repeat(100_000)).len() <= 300);
    }

    #[test]
    fn a_failure_of_several_places_lists_each() {
        let what = || "manifest of a:1".to_owned();
        let error = Error::Everywhere {
            what: what(),
            attempts: vec![
                Error::Transport {
                    what: what(),
                    registry: "mirror.local".into(),
                    hint: String::new(),
                    source: TransportError::HostNotFound,
                },
                Error::NotFound {
                    what: what(),
                    registry: "docker.io".into(),
                    detail: "manifest unknown".into(),
                },
            ],
        };
        assert_eq!(
            error.to_string(),
            "cannot get manifest of a:1 from any of 2 places: cannot get manifest of a:1 from mirror.local: host not found; \
             cannot find manifest of a:1 at docker.io (manifest unknown)"
        );
        assert_eq!(error.kind(), ErrorKind::NotFound);
    }
}
