//! Libraries that may not come in, not even through others: they need a C build system of their own, or a
//! shared library of the machine, which one static program cannot have.

use super::Finding;

/// The names of the packages, and what is used instead.
const BANNED: &[(&str, &str)] = &[
    ("aws-lc-rs", "rustls with ring"),
    ("aws-lc-sys", "rustls with ring"),
    ("openssl", "rustls"),
    ("openssl-sys", "rustls"),
    ("native-tls", "rustls"),
    ("tokio", "blocking code, until the first server is written"),
];

/// Checks the text of Cargo.lock.
pub(super) fn check(lock: &str) -> Vec<Finding> {
    let names = lock.lines().filter_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"'));
    names
        .filter_map(|name| BANNED.iter().find(|(banned, _)| *banned == name))
        .map(|(name, instead)| Finding {
            place: "Cargo.lock".to_owned(),
            what: format!("{name} is in the tree; wanted: {instead}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn banned_packages_are_found() {
        let lock = "[[package]]\nname = \"openssl-sys\"\nversion = \"1\"\n[[package]]\nname = \"serde\"\n";
        let found = check(lock);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].what, "openssl-sys is in the tree; wanted: rustls");
    }
}
