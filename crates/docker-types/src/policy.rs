//! Policies given by one word: `--restart`, `--pull`, and the namespace modes.

use base::{ErrorKind, Kinded};

use crate::container::RestartPolicy;

/// Why a text is no policy. The words are Docker's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// `--restart` begins with a colon.
    #[error("invalid restart policy format: no policy provided before colon")]
    NoRestartName,
    /// The count of `--restart` is no number.
    #[error("invalid restart policy format: maximum retry count must be an integer")]
    RestartCount,
    /// `--pull` is another word.
    #[error("invalid pull option: '{0}': must be one of \"always\", \"missing\" or \"never\"")]
    Pull(String),
    /// `--pid` is another word.
    #[error("--pid: invalid PID mode")]
    Pid,
    /// `--uts` is another word.
    #[error("--uts: invalid UTS mode")]
    Uts,
    /// `--userns` is another word.
    #[error("--userns: invalid USER mode")]
    User,
    /// `--cgroupns` is another word.
    #[error("--cgroupns: invalid CGROUP mode")]
    Cgroup,
    /// `--ipc` is another word.
    #[error("--ipc: invalid IPC mode: {0}")]
    Ipc(String),
}

impl Kinded for PolicyError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }
}

/// Parses `--restart`: `name[:count]`. Whether the name is known is for [`crate::validate`].
pub fn parse_restart(text: &str) -> Result<RestartPolicy, PolicyError> {
    let (name, count) = match text.split_once(':') {
        Some((name, count)) => (name, Some(count)),
        None => (text, None),
    };
    if count.is_some() && name.is_empty() {
        return Err(PolicyError::NoRestartName);
    }
    let maximum_retry_count = match count {
        None | Some("") => 0,
        Some(count) => count.parse().map_err(|_| PolicyError::RestartCount)?,
    };
    Ok(RestartPolicy { name: name.to_owned(), maximum_retry_count })
}

/// When an image is pulled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PullPolicy {
    /// Always.
    Always,
    /// When it is not in the store.
    #[default]
    Missing,
    /// Never.
    Never,
}

impl std::str::FromStr for PullPolicy {
    type Err = PolicyError;

    fn from_str(text: &str) -> Result<Self, PolicyError> {
        match text {
            "always" => Ok(Self::Always),
            "missing" | "" => Ok(Self::Missing),
            "never" => Ok(Self::Never),
            _ => Err(PolicyError::Pull(text.to_owned())),
        }
    }
}

fn is_container(mode: &str) -> bool {
    mode.strip_prefix("container:").is_some_and(|name| !name.is_empty())
}

/// Checks `--pid`: empty, `host` or `container:ID`.
pub fn pid_mode(mode: &str) -> Result<(), PolicyError> {
    if matches!(mode, "" | "host") || is_container(mode) { Ok(()) } else { Err(PolicyError::Pid) }
}

/// Checks `--ipc`: empty, `none`, `private`, `shareable`, `host` or `container:ID`.
pub fn ipc_mode(mode: &str) -> Result<(), PolicyError> {
    let known = matches!(mode, "" | "none" | "private" | "shareable" | "host") || is_container(mode);
    if known { Ok(()) } else { Err(PolicyError::Ipc(mode.to_owned())) }
}

/// Checks `--uts`: empty or `host`.
pub fn uts_mode(mode: &str) -> Result<(), PolicyError> {
    if matches!(mode, "" | "host") { Ok(()) } else { Err(PolicyError::Uts) }
}

/// What `--userns` asks for; Docker knows the first, the others are Podman's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Userns {
    /// That of the engine.
    Host,
    /// One of the container's own.
    Private,
    /// One in which the caller's own number is `uid`, with the group `gid`; the same as outside when nobody says.
    KeepId {
        /// User inside.
        uid: Option<u32>,
        /// Group inside.
        gid: Option<u32>,
    },
    /// One with numbers that no other container has.
    Auto {
        /// How many.
        size: Option<u32>,
    },
    /// One in which the caller's own number is not.
    NoMap,
}

/// Reads `--userns`: empty, `host`, `private`, `keep-id[:uid=N,gid=N]`, `auto[:size=N]` or `nomap`.
pub fn userns_mode(mode: &str) -> Result<Userns, PolicyError> {
    let (word, options) = mode.split_once(':').unwrap_or((mode, ""));
    let mut named: Vec<(&str, u32)> = Vec::new();
    for option in options.split(',').filter(|option| !option.is_empty()) {
        let (name, number) = option.split_once('=').ok_or(PolicyError::User)?;
        named.push((name, number.parse().map_err(|_| PolicyError::User)?));
    }
    let number = |wanted: &str| named.iter().find(|(name, _)| *name == wanted).map(|(_, number)| *number);
    let only = |allowed: &[&str]| match named.iter().all(|(name, _)| allowed.contains(name)) {
        true => Ok(()),
        false => Err(PolicyError::User),
    };
    let allowed: &[&str] = match word {
        "keep-id" => &["uid", "gid"],
        "auto" => &["size"],
        _ => &[],
    };
    only(allowed)?;
    match word {
        "" | "host" => Ok(Userns::Host),
        "private" => Ok(Userns::Private),
        "keep-id" => Ok(Userns::KeepId { uid: number("uid"), gid: number("gid") }),
        "auto" => Ok(Userns::Auto { size: number("size") }),
        "nomap" => Ok(Userns::NoMap),
        _ => Err(PolicyError::User),
    }
}

/// Checks `--cgroupns`: empty, `host` or `private`.
pub fn cgroupns_mode(mode: &str) -> Result<(), PolicyError> {
    if matches!(mode, "" | "host" | "private") { Ok(()) } else { Err(PolicyError::Cgroup) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_namespaces_are_read() {
        let rows = [
            ("", Some(Userns::Host)),
            ("host", Some(Userns::Host)),
            ("private", Some(Userns::Private)),
            ("keep-id", Some(Userns::KeepId { uid: None, gid: None })),
            ("keep-id:uid=200,gid=210", Some(Userns::KeepId { uid: Some(200), gid: Some(210) })),
            ("auto", Some(Userns::Auto { size: None })),
            ("auto:size=1024", Some(Userns::Auto { size: Some(1024) })),
            ("nomap", Some(Userns::NoMap)),
            ("auto:size=-1", None),
            ("auto:uid=1", None),
            ("keep-id:size=1", None),
            ("private:uid=1", None),
            ("x", None),
        ];
        for (text, want) in rows {
            assert_eq!(userns_mode(text).ok(), want, "{text}");
        }
    }

    #[test]
    fn restart_is_read_as_docker_does() {
        for (text, name, count) in [
            ("no", "no", 0),
            ("always", "always", 0),
            ("on-failure:3", "on-failure", 3),
            ("always:3", "always", 3),
            ("", "", 0),
            ("on-failure:", "on-failure", 0),
            ("on-failure:-1", "on-failure", -1),
            ("foo", "foo", 0),
        ] {
            let policy = parse_restart(text).unwrap();
            assert_eq!((policy.name.as_str(), policy.maximum_retry_count), (name, count), "{text}");
        }
        for (text, message) in [
            ("on-failure:x", "invalid restart policy format: maximum retry count must be an integer"),
            ("on-failure:1:2", "invalid restart policy format: maximum retry count must be an integer"),
            (":3", "invalid restart policy format: no policy provided before colon"),
        ] {
            assert_eq!(parse_restart(text).unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn modes_are_checked() {
        assert!(pid_mode("host").is_ok() && pid_mode("container:x").is_ok());
        assert!(pid_mode("container:").is_err() && pid_mode("private").is_err());
        assert!(ipc_mode("shareable").is_ok() && ipc_mode("foo").is_err());
        assert!(
            uts_mode("container:x").is_err() && userns_mode("x").is_err() && cgroupns_mode("foo").is_err()
        );
        assert_eq!(
            "foo".parse::<PullPolicy>().unwrap_err().to_string(),
            "invalid pull option: 'foo': must be one of \"always\", \"missing\" or \"never\""
        );
    }
}
