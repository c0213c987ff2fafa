//! Debian's `docker-registry` with images that `skopeo` put there: the client against what people run.
//!
//! `skopeo` copies from the registry of the testkit, which shows that that one is real too.

use std::fs;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Instant;

use base::{ErrorKind, Kinded as _};
use oci::manifest::{OCI_INDEX, parse_manifest};
use oci::{Digest, ImageSource as _};

use super::*;

/// `secret`, as htpasswd would write it.
const PASSWORDS: &str = "user:$2y$05$Uk3cxqfrB0ye3kmf5oK6VOv6WrrJ3.lh74CuIl8wsdFRhBIF6KOae\n";

struct DockerRegistry {
    child: Child,
    port: u16,
    folder: tempfile::TempDir,
}

impl DockerRegistry {
    /// Starts Debian's registry; says what is missing.
    fn start(with_password: bool) -> Option<Self> {
        if !testkit::needs::programs(&["docker-registry", "skopeo"]) {
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let path = |name: &str| folder.path().join(name).display().to_string();
        let auth = if with_password {
            fs::write(path("htpasswd"), PASSWORDS).unwrap();
            format!("auth:\n  htpasswd:\n    realm: test\n    path: {}\n", path("htpasswd"))
        } else {
            String::new()
        };
        let config = format!(
            "version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: 127.0.0.1:{port}\n{auth}",
            path("data")
        );
        fs::write(path("config.yml"), config).unwrap();
        let child = Command::new("docker-registry")
            .args(["serve", &path("config.yml")])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let registry = Self { child, port, folder };
        let deadline = Instant::now() + Duration::from_secs(20);
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "docker-registry does not listen");
            thread::sleep(Duration::from_millis(20));
        }
        Some(registry)
    }

    fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Copies `from` of the test's own registry here, by skopeo.
    fn fill(&self, from: &FakeRegistry, name: &str, arguments: &[&str]) {
        let output = Command::new("skopeo")
            .args([
                "--tmpdir",
                &self.folder.path().display().to_string(),
                "--insecure-policy",
                "copy",
                "--quiet",
            ])
            .args(["--src-tls-verify=false", "--dest-tls-verify=false"])
            .args(arguments)
            .arg(format!("docker://{}/{name}", from.host()))
            .arg(format!("docker://{}/{name}", self.host()))
            .output()
            .unwrap();
        assert!(output.status.success(), "skopeo: {}", String::from_utf8_lossy(&output.stderr));
    }
}

impl Drop for DockerRegistry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn noise(length: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..length).map(|_| next()).collect()
}

#[test]
fn debians_registry_serves_what_skopeo_put_there() {
    let Some(real) = DockerRegistry::start(false) else { return };
    let source = FakeRegistry::start();
    source.put_image("me/app", "1", &[noise(3 << 20), b"small".to_vec()]);
    real.fill(&source, "me/app:1", &[]);
    real.fill(&source, "me/app:1", &["--format", "v2s2"]);
    let reference: ImageRef = format!("{}/me/app:1", real.host()).parse().unwrap();
    let resolved = client().resolve(&reference, &Platform::host()).unwrap();
    let manifest = parse_manifest(&resolved.manifest().bytes, Some(&resolved.manifest().media_type)).unwrap();
    assert_eq!(manifest.layers.len(), 2);
    for blob in manifest.layers.iter().map(|layer| &layer.blob).chain([&manifest.config]) {
        let whole = read(&resolved, blob, 0).unwrap();
        assert_eq!((Digest::of(&whole), whole.len() as u64), (blob.digest.clone(), blob.size));
        let half = blob.size / 2;
        assert_eq!(read(&resolved, blob, half).unwrap(), &whole[half as usize..]);
    }
    assert_eq!(client().current_digest(&reference).unwrap().as_ref(), Some(resolved.repo_digest()));
    let missing: ImageRef = format!("{}/me/app:2", real.host()).parse().unwrap();
    let error = client().resolve(&missing, &Platform::host()).unwrap_err();
    assert_says(&shown(&error), &["manifest unknown"]);
}

#[test]
fn debians_registry_serves_an_index() {
    let Some(real) = DockerRegistry::start(false) else { return };
    let source = FakeRegistry::start();
    let one = source.put_image("me/app", "one", &[b"one".to_vec()]);
    let two = source.put_image("me/app", "two", &[b"two".to_vec()]);
    source.put_index("me/app", "1", &[("linux/amd64", &one.manifest), ("linux/arm64", &two.manifest)]);
    real.fill(&source, "me/app:1", &["--all", "--preserve-digests"]);
    let reference: ImageRef = format!("{}/me/app:1", real.host()).parse().unwrap();
    let resolved = client().resolve(&reference, &"linux/arm64".parse().unwrap()).unwrap();
    assert_eq!(resolved.index().unwrap().media_type, OCI_INDEX);
    assert_eq!(resolved.manifest().digest, two.manifest.digest);
}

#[test]
fn debians_registry_takes_our_password() {
    let Some(real) = DockerRegistry::start(true) else { return };
    let source = FakeRegistry::start();
    source.put_image("me/app", "1", &[b"layer".to_vec()]);
    real.fill(&source, "me/app:1", &["--dest-creds", "user:secret"]);
    let reference: ImageRef = format!("{}/me/app:1", real.host()).parse().unwrap();
    let login = client().ping_login(&real.host(), "user", "secret").unwrap();
    assert!(login.checked);
    Client::new(impatient(), Everywhere(login.credential))
        .unwrap()
        .resolve(&reference, &Platform::host())
        .unwrap();
    for error in [
        client().ping_login(&real.host(), "user", "wrong").unwrap_err(),
        client().resolve(&reference, &Platform::host()).unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
    }
}
