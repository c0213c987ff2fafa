//! Who we are towards a registry: stored credentials, challenges, tokens.
//!
//! A request goes out without a credential first; the registry's challenge (`WWW-Authenticate`) says what it wants.
//! Only the registry itself is answered: a challenge of a host that was reached by a redirect never is.

mod challenge;
mod docker_config;
mod helper;
mod session;
mod stored;
mod token;

use std::fmt;
use std::path::PathBuf;

use base::{ErrorKind, Kinded};

pub(crate) use challenge::Challenge;
pub use docker_config::DockerConfig;
pub(crate) use session::{Access, Grant, Sessions, basic_header};
pub use stored::StoredCredentials;
pub(crate) use token::{Purpose, TokenRequest, fetch_token};

/// What proves who we are.
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    /// Nothing: what everybody may.
    Anonymous,
    /// User and password.
    Basic {
        /// User name.
        username: String,
        /// Password or access token of the user.
        password: String,
    },
    /// A token that the registry's token server exchanges for short-lived ones.
    IdentityToken(String),
    /// A token that is sent to the registry as it is.
    RegistryToken(String),
}

/// Shows no secrets.
impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anonymous => f.write_str("Anonymous"),
            Self::Basic { username, .. } => write!(f, "Basic({username:?}, …)"),
            Self::IdentityToken(_) => f.write_str("IdentityToken(…)"),
            Self::RegistryToken(_) => f.write_str("RegistryToken(…)"),
        }
    }
}

/// Where credentials come from.
pub trait CredentialSource: Send + Sync {
    /// Returns what is stored for the registry `domain` (`docker.io`, `registry.local:5000`).
    fn credential(&self, domain: &str) -> Result<Credential, CredentialError>;
}

/// Has no credentials.
#[derive(Debug, Clone, Copy, Default)]
pub struct Anonymous;

impl CredentialSource for Anonymous {
    fn credential(&self, _: &str) -> Result<Credential, CredentialError> {
        Ok(Credential::Anonymous)
    }
}

/// Why stored credentials cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// The file cannot be read or written.
    #[error("cannot {action} {path:?}")]
    File {
        /// `read` or `write`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is not what it should be.
    #[error("{path:?} is malformed: {reason}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong; names no secret.
        reason: String,
    },
    /// A credential helper failed.
    #[error("credential helper {program:?} cannot {action} the credential of {domain:?}: {reason}")]
    Helper {
        /// Program, `docker-credential-…`.
        program: String,
        /// `get`, `store` or `erase`.
        action: &'static str,
        /// Registry concerned.
        domain: String,
        /// What it said, or why it could not be run.
        reason: String,
    },
}

impl Kinded for CredentialError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::File { source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied => {
                ErrorKind::Denied
            }
            Self::File { .. } => ErrorKind::Internal,
            Self::Malformed { .. } => ErrorKind::Invalid,
            Self::Helper { .. } => ErrorKind::Unavailable,
        }
    }
}
