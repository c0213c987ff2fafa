//! The error of this crate: what was attempted on what, with the kernel's answer as its cause.

use std::io;
use std::net::IpAddr;

use base::{ErrorKind, Kinded};

use crate::ports::Protocol;

/// What this crate returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why something about the network could not be done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel refused a request.
    #[error("cannot {attempt}")]
    Kernel {
        /// What was attempted on what, such as `create the bridge "brig0"`.
        attempt: String,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// A port of the host is in use.
    #[error("cannot publish port {}: it is already allocated{}", Endpoint(.protocol, .ip, .port), ByWhom(.by))]
    PortTaken {
        /// The protocol of the port.
        protocol: Protocol,
        /// The address of the host; `None` stands for all of them.
        ip: Option<IpAddr>,
        /// The port.
        port: u16,
        /// Who holds it, where that could be found out: a container id or `process 812 (nginx)`.
        by: Option<String>,
    },
    /// Every port of a range is in use.
    #[error("cannot choose a port of {first}-{last}/{protocol}: all are in use")]
    NoFreePort {
        /// The protocol.
        protocol: Protocol,
        /// The first port of the range.
        first: u16,
        /// The last port of the range.
        last: u16,
    },
    /// A value is malformed or out of range.
    #[error("invalid {field} {value:?}: {wanted}")]
    Invalid {
        /// What was given a value.
        field: &'static str,
        /// The value.
        value: String,
        /// What is allowed.
        wanted: &'static str,
    },
    /// The host cannot do this.
    #[error("cannot {attempt}: {why}")]
    Unsupported {
        /// What was attempted.
        attempt: String,
        /// What the host lacks, and what to do instead.
        why: &'static str,
    },
    /// A link of that name exists and is something else.
    #[error("cannot use {name:?} as a bridge: a link of that name exists and is no bridge")]
    NoBridge {
        /// The name of the link.
        name: String,
    },
}

impl Kinded for Error {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Kernel { source, .. } => match source.kind() {
                io::ErrorKind::NotFound => ErrorKind::NotFound,
                io::ErrorKind::AlreadyExists => ErrorKind::AlreadyExists,
                io::ErrorKind::PermissionDenied => ErrorKind::Denied,
                io::ErrorKind::Unsupported => ErrorKind::Unsupported,
                io::ErrorKind::ResourceBusy | io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock => {
                    ErrorKind::Unavailable
                }
                _ => ErrorKind::Internal,
            },
            Self::PortTaken { .. } | Self::NoFreePort { .. } => ErrorKind::Conflict,
            Self::Invalid { .. } => ErrorKind::Invalid,
            Self::Unsupported { .. } => ErrorKind::Unsupported,
            Self::NoBridge { .. } => ErrorKind::Conflict,
        }
    }
}

/// Adds to an error of the kernel what was attempted.
pub(crate) trait Attempt<T> {
    /// Names what was attempted, only when it failed.
    fn attempt(self, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Into<io::Error>> Attempt<T> for Result<T, E> {
    fn attempt(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| Error::Kernel { attempt: what(), source: error.into() })
    }
}

struct Endpoint<'a>(&'a Protocol, &'a Option<IpAddr>, &'a u16);

impl std::fmt::Display for Endpoint<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.1 {
            Some(IpAddr::V6(ip)) => write!(f, "[{ip}]:{}/{}", self.2, self.0),
            Some(IpAddr::V4(ip)) => write!(f, "{ip}:{}/{}", self.2, self.0),
            None => write!(f, "{}/{}", self.2, self.0),
        }
    }
}

struct ByWhom<'a>(&'a Option<String>);

impl std::fmt::Display for ByWhom<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(who) => write!(f, " by {who}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_names_its_holder() {
        let error = Error::PortTaken {
            protocol: Protocol::Tcp,
            ip: Some([127, 0, 0, 1].into()),
            port: 80,
            by: Some("process 7 (nginx)".into()),
        };
        assert_eq!(
            error.to_string(),
            "cannot publish port 127.0.0.1:80/tcp: it is already allocated by process 7 (nginx)"
        );
        assert_eq!(error.kind(), ErrorKind::Conflict);
    }
}
