//! What the program links: one TLS provider, and no C library for TLS.

use std::process::Command;

/// aws-lc-rs is the default of rustls and of much that uses it: one forgotten feature brings it in.
#[test]
fn the_only_tls_provider_is_ring() {
    let tree = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--offline",
            "--locked",
            "--edges",
            "normal,build",
            "--prefix",
            "none",
            "--package",
            "registry",
        ])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    if !tree.status.success() {
        eprintln!("SKIP cargo tree: {}", String::from_utf8_lossy(&tree.stderr));
        return;
    }
    let tree = String::from_utf8(tree.stdout).unwrap();
    let has = |name: &str| tree.lines().any(|line| line.split(' ').next() == Some(name));
    assert!(has("ring") && has("rustls"), "{tree}");
    for name in
        ["aws-lc-rs", "aws-lc-sys", "aws-lc-fips-sys", "openssl", "openssl-sys", "native-tls", "webpki-roots"]
    {
        assert!(!has(name), "{name} is linked:\n{tree}");
    }
}
