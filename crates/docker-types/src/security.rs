//! `--security-opt`, `--sysctl` and capability names.

use base::{ErrorKind, Kinded};

/// Why a text is no security option. The words are Docker's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecurityError {
    /// It has no value, or is unknown.
    #[error("Invalid --security-opt: {0:?}")]
    Option(String),
    /// A kernel parameter is not of the container's namespaces.
    #[error("sysctl '{0}' is not allowed")]
    Sysctl(String),
}

impl Kinded for SecurityError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }
}

/// One `--security-opt`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecurityOption {
    /// `no-new-privileges[=bool]`.
    NoNewPrivileges(bool),
    /// `seccomp=unconfined`.
    SeccompUnconfined,
    /// `seccomp=builtin`: the default profile.
    SeccompBuiltin,
    /// `seccomp=…`: a path on the command line, the profile's JSON in the API.
    Seccomp(String),
    /// `apparmor=NAME`, `unconfined` among them.
    AppArmor(String),
    /// `label=disable`, `label=type:…`, ….
    Label(String),
    /// `systempaths=unconfined`: no paths are masked or read-only.
    SystemPathsUnconfined,
}

/// Parses one `--security-opt`, with `=` or the older `:` as separator.
pub fn parse_option(text: &str) -> Result<SecurityOption, SecurityError> {
    let bad = || SecurityError::Option(text.to_owned());
    if text == "no-new-privileges" {
        return Ok(SecurityOption::NoNewPrivileges(true));
    }
    let (key, value) = text.split_once('=').or_else(|| text.split_once(':')).ok_or_else(bad)?;
    if value.is_empty() {
        return Err(bad());
    }
    Ok(match (key, value) {
        ("no-new-privileges", value) => {
            SecurityOption::NoNewPrivileges(crate::mount::parse_bool(value).ok_or_else(bad)?)
        }
        ("seccomp", "unconfined") => SecurityOption::SeccompUnconfined,
        ("seccomp", "builtin") => SecurityOption::SeccompBuiltin,
        ("seccomp", profile) => SecurityOption::Seccomp(profile.to_owned()),
        ("apparmor", profile) => SecurityOption::AppArmor(profile.to_owned()),
        ("label", label) => SecurityOption::Label(label.to_owned()),
        ("systempaths", "unconfined") => SecurityOption::SystemPathsUnconfined,
        _ => return Err(bad()),
    })
}

/// Kernel parameters outside `net.` and `fs.mqueue.` that belong to a namespace.
const SYSCTLS: [&str; 9] = [
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
    "kernel.domainname",
];

/// Splits `--sysctl` into name and value; only parameters of the container's own namespaces are let through.
pub fn parse_sysctl(text: &str) -> Result<(String, String), SecurityError> {
    let bad = || SecurityError::Sysctl(text.to_owned());
    let (name, value) = text.split_once('=').ok_or_else(bad)?;
    // Slashes are the kernel's other separator; a name with them could hide what it is.
    let plain = !name.contains('/') && !name.contains("..") && !name.ends_with('.');
    let known = SYSCTLS.contains(&name)
        || name.strip_prefix("net.").is_some_and(|rest| !rest.is_empty())
        || name.strip_prefix("fs.mqueue.").is_some_and(|rest| !rest.is_empty());
    if plain && known { Ok((name.to_owned(), value.to_owned())) } else { Err(bad()) }
}

/// Returns a capability's name as Docker normalises it: `sys_admin` is `CAP_SYS_ADMIN`, `all` is `ALL`.
pub fn capability(text: &str) -> String {
    let upper = text.trim().to_ascii_uppercase();
    if upper == "ALL" || upper.starts_with("CAP_") { upper } else { format!("CAP_{upper}") }
}

/// Normalises, sorts and deduplicates names of capabilities; `ALL` takes the place of the others but stays first.
pub fn capabilities(names: &[String]) -> Vec<String> {
    let mut all: Vec<String> = names.iter().map(|name| capability(name)).collect();
    all.sort();
    all.dedup();
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read() {
        use SecurityOption::{
            AppArmor, Label, NoNewPrivileges, Seccomp, SeccompUnconfined, SystemPathsUnconfined,
        };
        for (text, option) in [
            ("seccomp=unconfined", SeccompUnconfined),
            ("seccomp:unconfined", SeccompUnconfined),
            ("seccomp=a.json", Seccomp("a.json".into())),
            ("apparmor=foo", AppArmor("foo".into())),
            ("label:disable", Label("disable".into())),
            ("no-new-privileges", NoNewPrivileges(true)),
            ("no-new-privileges:true", NoNewPrivileges(true)),
            ("no-new-privileges=false", NoNewPrivileges(false)),
            ("systempaths=unconfined", SystemPathsUnconfined),
        ] {
            assert_eq!(parse_option(text), Ok(option), "{text}");
        }
        for text in
            ["foo", "foo=bar", "seccomp=", "", "label", "apparmor", "systempaths=x", "no-new-privileges=foo"]
        {
            assert_eq!(
                parse_option(text).unwrap_err().to_string(),
                format!("Invalid --security-opt: {text:?}")
            );
        }
    }

    #[test]
    fn sysctls_are_of_namespaces_only() {
        assert_eq!(
            parse_sysctl("net.ipv4.ip_forward=1").unwrap(),
            ("net.ipv4.ip_forward".into(), "1".into())
        );
        assert!(parse_sysctl("kernel.shmmax=1").is_ok());
        for text in [
            "a=b",
            "a",
            "",
            "=x",
            "kernel.core_pattern=|x",
            "net.=1",
            "net/../kernel/core_pattern=x",
            "net..x=1",
            "vm.swappiness=1",
        ] {
            assert_eq!(
                parse_sysctl(text).unwrap_err().to_string(),
                format!("sysctl '{text}' is not allowed")
            );
        }
    }

    #[test]
    fn capabilities_are_normalised_as_docker_does() {
        let names = ["SYS_ADMIN", "foo", "ALL", "cap_sys_admin"].map(str::to_owned);
        assert_eq!(capabilities(&names), ["ALL", "CAP_FOO", "CAP_SYS_ADMIN"]);
    }
}
