//! The grammar of `--secret`, as Podman has it: `name[,source=…,target=…,type=mount|env,uid=…,gid=…,mode=…]`.

use base::{ErrorKind, Kinded};
use serde::{Deserialize, Serialize};

use crate::csv::{self, CsvError};

/// Where secrets are mounted when their target is no absolute path.
pub const FOLDER: &str = "/run/secrets";

/// The use of a secret by a container. It names the secret and never holds it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct SecretUse {
    /// Name or id of the secret; the engine puts the id in.
    pub source: String,
    /// Name of the file or variable, or an absolute path; empty means the secret's name.
    pub target: String,
    /// It becomes a variable, not a file.
    pub env: bool,
    /// Owner of the file inside.
    #[serde(rename = "UID")]
    pub uid: u32,
    /// Group of the file inside.
    #[serde(rename = "GID")]
    pub gid: u32,
    /// Mode of the file.
    pub mode: u32,
}

/// Why a text names no use of a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// It is no line of comma-separated values.
    #[error(transparent)]
    Csv(#[from] CsvError),
    /// No secret is named.
    #[error("no source found {0}: secret option invalid")]
    NoSource(String),
    /// An option is unknown or has no value.
    #[error("option {0:?} invalid for secret: source, target, type, uid, gid and mode are known")]
    Option(String),
    /// A value is not what its option wants.
    #[error("invalid {key} {value:?} of a secret: {wanted} is wanted")]
    Value {
        /// The option.
        key: &'static str,
        /// The value.
        value: String,
        /// What is wanted.
        wanted: &'static str,
    },
    /// Options of a file are given to a variable.
    #[error("UID, GID, Mode options cannot be set with secret type env")]
    EnvOwner,
}

impl Kinded for SecretError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }
}

/// Parses one `--secret` argument.
pub fn parse(text: &str) -> Result<SecretUse, SecretError> {
    let mut secret = SecretUse { mode: 0o444, ..SecretUse::default() };
    let mut owner = false;
    for (at, field) in csv::split(text)?.into_iter().enumerate() {
        let Some((key, value)) = field.split_once('=') else {
            if at > 0 || field.is_empty() {
                return Err(SecretError::Option(field));
            }
            secret.source = field;
            continue;
        };
        let bad = |key, wanted| SecretError::Value { key, value: value.to_owned(), wanted };
        match key {
            "source" | "src" => value.clone_into(&mut secret.source),
            "target" | "dst" => value.clone_into(&mut secret.target),
            "type" => {
                secret.env = match value {
                    "mount" => false,
                    "env" => true,
                    _ => return Err(bad("type", "mount or env")),
                }
            }
            "uid" => secret.uid = value.parse().map_err(|_| bad("uid", "a number"))?,
            "gid" => secret.gid = value.parse().map_err(|_| bad("gid", "a number"))?,
            "mode" => {
                let mode = u32::from_str_radix(value, 8).ok().filter(|mode| *mode <= 0o777);
                secret.mode = mode.ok_or_else(|| bad("mode", "an octal number up to 777"))?;
            }
            _ => return Err(SecretError::Option(field)),
        }
        owner |= matches!(key, "uid" | "gid" | "mode");
    }
    if secret.source.is_empty() {
        return Err(SecretError::NoSource(text.to_owned()));
    }
    if secret.env && owner {
        return Err(SecretError::EnvOwner);
    }
    check_target(&secret)?;
    Ok(secret)
}

fn check_target(secret: &SecretUse) -> Result<(), SecretError> {
    let target = secret.target.as_str();
    let bad = |wanted| Err(SecretError::Value { key: "target", value: target.to_owned(), wanted });
    if target.contains('\0') {
        return bad("a text without NUL");
    }
    if secret.env {
        return if target.contains('=') { bad("the name of a variable") } else { Ok(()) };
    }
    let inside = |path: &str| !path.split('/').any(|part| part == "..") && !path.ends_with('/');
    match target.strip_prefix('/') {
        _ if target.is_empty() => Ok(()),
        Some(path) if inside(path) && !path.is_empty() => Ok(()),
        None if inside(target) && !target.contains('/') && target != "." => Ok(()),
        _ => bad("a file's name, or an absolute path without \"..\""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uses_are_read_as_podman_writes_them() {
        let plain = parse("token").unwrap();
        assert_eq!((plain.source.as_str(), plain.target.as_str(), plain.mode), ("token", "", 0o444));
        let full = parse("token,target=/etc/key,uid=7,gid=8,mode=0400").unwrap();
        assert_eq!((full.target.as_str(), full.uid, full.gid, full.mode), ("/etc/key", 7, 8, 0o400));
        let env = parse("source=token,type=env,target=TOKEN").unwrap();
        assert!(env.env && env.source == "token");
        for (text, words) in [
            ("", "EOF"),
            ("type=env", "no source"),
            ("a,what=1", "invalid for secret"),
            ("a,b", "invalid for secret"),
            ("a,type=file", "mount or env"),
            ("a,uid=x", "a number"),
            ("a,mode=999", "octal"),
            ("a,mode=4755", "octal"),
            ("a,type=env,uid=0", "cannot be set"),
            ("a,target=../x", "file's name"),
            ("a,target=/a/../b", "file's name"),
            ("a,target=b/c", "file's name"),
            ("a,type=env,target=A=B", "variable"),
        ] {
            let said = parse(text).unwrap_err().to_string();
            assert!(said.contains(words), "{text}: {said}");
        }
    }
}
