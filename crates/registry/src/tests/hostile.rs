//! Registries that lie, and what must not leave the machine. Each guard is also taken away once, to show what it holds off.

use base::{ErrorKind, Kinded as _};
use oci::Digest;
use oci::manifest::{DOCKER_MANIFEST, OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST};
use serde_json::json;
use testkit::registry::{Access, FakeRegistry, Fault, Setup, TokenServer};

use super::*;
use crate::guard::{Guard, without};
use crate::{Error, Lie, TransportError};

fn locked() -> FakeRegistry {
    let access = Access::Basic { user: "user".to_owned(), password: "secret".to_owned() };
    FakeRegistry::start_with(Setup { access, ..Setup::default() })
}

fn as_user() -> Client {
    Client::new(impatient(), user()).unwrap()
}

fn lie_of(error: Error) -> Lie {
    match error {
        Error::Refused { lie, .. } => lie,
        other => panic!("not refused: {other}"),
    }
}

fn io_lie(error: &std::io::Error) -> Lie {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        Some(Error::Refused { lie, .. }) => lie.clone(),
        _ => panic!("not refused: {error:?}"),
    }
}

// moby#44327, CVE-2021-33542 and the like: the bytes are what was asked for.

#[test]
fn a_manifest_with_another_digest_is_refused() {
    let registry = FakeRegistry::start();
    let digest = registry.put_image("me/app", "1", &[]).manifest.digest;
    let other = json!({"schemaVersion": 2, "config": {"mediaType": OCI_CONFIG, "digest": digest.as_str(), "size": 1}, "layers": []});
    let attack = || {
        registry.inject("manifests/", 1, Fault::OtherBody(other.to_string().into_bytes()));
        resolve(&client(), &registry, &format!("me/app@{digest}"))
    };
    let error = attack().unwrap_err();
    assert_says(
        &shown(&error),
        &["refused", digest.as_str(), Digest::of(other.to_string().as_bytes()).as_str()],
    );
    assert!(matches!(lie_of(error), Lie::Digest { .. }));
    assert!(without(Guard::DocumentDigest, attack).is_ok(), "without the guard it is believed");
}

#[test]
fn a_manifest_of_an_index_has_its_digest_and_size() {
    let registry = FakeRegistry::start();
    let image = registry.put_image("me/app", "one", &[]);
    let mut child = image.manifest.clone();
    registry.put_index("me/app", "1", &[("linux/amd64", &child), ("linux/arm64", &child)]);
    registry.inject(child.digest.as_str(), 1, Fault::OtherBody(b"{}".to_vec()));
    assert!(matches!(lie_of(resolve(&client(), &registry, "me/app:1").unwrap_err()), Lie::Size { .. }));
    child.size += 1;
    registry.put_index("me/app", "2", &[("linux/amd64", &child), ("linux/arm64", &child)]);
    assert!(matches!(lie_of(resolve(&client(), &registry, "me/app:2").unwrap_err()), Lie::Size { .. }));
    child.size -= 1;
    child.media_type = DOCKER_MANIFEST.to_owned();
    registry.put_index("me/app", "3", &[("linux/amd64", &child), ("linux/arm64", &child)]);
    assert!(matches!(lie_of(resolve(&client(), &registry, "me/app:3").unwrap_err()), Lie::Document { .. }));
}

#[test]
fn the_announced_digest_is_that_of_the_bytes() {
    let registry = FakeRegistry::start();
    registry.put_image("me/app", "1", &[]);
    let wrong = Digest::of(b"other");
    for announced in [wrong.as_str(), "sha256:../../etc/passwd", "md5:00", "\u{1}"] {
        let fault = Fault::Header("Docker-Content-Digest".to_owned(), announced.to_owned());
        registry.inject("manifests/", 1, fault.clone());
        if let Err(error) = resolve(&client(), &registry, "me/app:1") {
            assert!(!error.is_temporary(), "{error}");
        } else {
            panic!("{announced:?} is believed");
        }
        if announced.is_ascii() && announced.len() > 1 {
            registry.inject("manifests/", 1, fault);
            let attack = || resolve(&client(), &registry, "me/app:1");
            assert!(without(Guard::DocumentDigest, attack).is_ok());
        }
    }
}

#[test]
fn what_is_no_digest_is_never_asked_for() {
    let registry = FakeRegistry::start();
    let good = Digest::of(b"x");
    for bad in [
        "sha256:../../../etc/passwd",
        "../../other/app/blobs/x",
        "sha512:0",
        "",
        "sha256:",
        &good.as_str().to_uppercase(),
    ] {
        let blob =
            |digest: &str, media_type: &str| json!({"mediaType": media_type, "digest": digest, "size": 1});
        let documents = [
            (OCI_MANIFEST, json!({"schemaVersion": 2, "config": blob(bad, OCI_CONFIG), "layers": []})),
            (
                OCI_MANIFEST,
                json!({"schemaVersion": 2, "config": blob(good.as_str(), OCI_CONFIG), "layers": [blob(bad, OCI_LAYER)]}),
            ),
            (OCI_INDEX, json!({"schemaVersion": 2, "manifests": [blob(bad, OCI_MANIFEST)]})),
        ];
        for (media_type, document) in documents {
            registry.put_manifest("me/app", "1", media_type, document.to_string().as_bytes());
            let asked = registry.seen().len();
            let lie = lie_of(resolve(&client(), &registry, "me/app:1").unwrap_err());
            assert!(matches!(lie, Lie::Document { .. }), "{bad:?}");
            assert_eq!(registry.seen().len(), asked + 1, "{bad:?} was asked for");
        }
    }
}

// CVE-2021-20291, CVE-2021-21285: an attack does not outlive its pull.

#[test]
fn after_every_attack_the_next_pull_works() {
    let access = Access::Token(TokenServer::default());
    let registry = FakeRegistry::start_with(Setup { access, ..Setup::default() });
    let layer = registry.put_image("me/app", "1", &[b"layer".to_vec()]).layers[0].clone();
    let client = client();
    let started = std::time::Instant::now();
    let faults = [
        Fault::Hangup,
        Fault::Garbage,
        Fault::BreakAfter(1),
        Fault::Endless,
        Fault::OtherBody(vec![0; 100]),
        Fault::Status(401, vec![], String::new()),
        Fault::Status(
            401,
            vec![("WWW-Authenticate".to_owned(), "Bearer realm=\"\u{7f}".to_owned())],
            String::new(),
        ),
        Fault::Status(302, vec![], String::new()),
        Fault::Status(99, vec![], String::new()),
        Fault::Header("Content-Type".to_owned(), "x".repeat(100_000)),
        Fault::Redirect("::".to_owned()),
    ];
    for fault in &faults {
        for part in ["/token", "/manifests/", "/blobs/"] {
            registry.revoke_tokens();
            registry.inject(part, 1, fault.clone());
            // Whether the attack fails the pull or a second try gets around it does not matter here.
            let _ = resolve(&client, &registry, "me/app:1").map(|resolved| read(&resolved, &layer, 0));
            let resolved =
                resolve(&client, &registry, "me/app:1").unwrap_or_else(|error| panic!("{fault:?}: {error}"));
            let bytes = read(&resolved, &layer, 0).or_else(|_| read(&resolved, &layer, 0));
            assert_eq!(bytes.unwrap(), b"layer", "{fault:?}");
        }
    }
    assert!(started.elapsed() < std::time::Duration::from_secs(60));
}

// CVE-2021-41190: a document that two readers read in two ways.

#[test]
fn a_document_that_is_both_manifest_and_index_is_refused() {
    let registry = FakeRegistry::start();
    let config = json!({"mediaType": OCI_CONFIG, "digest": Digest::of(b"").as_str(), "size": 0});
    for (media_type, says) in
        [(OCI_MANIFEST, "both"), (OCI_INDEX, "both"), ("application/json", "both"), ("text/html", "both")]
    {
        let both = json!({"schemaVersion": 2, "config": config, "layers": [], "manifests": []});
        registry.put_manifest("me/app", "1", media_type, both.to_string().as_bytes());
        let error = resolve(&client(), &registry, "me/app:1").unwrap_err();
        assert_says(&shown(&error), &["refused", says]);
        assert_eq!(error.kind(), ErrorKind::Invalid);
    }
    let manifest = json!({"schemaVersion": 2, "config": config, "layers": []});
    registry.put_manifest("me/app", "1", "text/html", manifest.to_string().as_bytes());
    assert_says(
        &shown(&resolve(&client(), &registry, "me/app:1").unwrap_err()),
        &["media type", "text/html"],
    );
    let manifest = json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": []});
    registry.put_manifest("me/app", "1", OCI_INDEX, manifest.to_string().as_bytes());
    assert_says(&shown(&resolve(&client(), &registry, "me/app:1").unwrap_err()), &["media type"]);
}

#[test]
fn an_index_does_not_lead_to_an_index() {
    let registry = FakeRegistry::start();
    let inner = registry.put_index("me/app", "inner", &[]);
    registry.put_index("me/app", "1", &[("linux/amd64", &inner), ("linux/arm64", &inner)]);
    assert!(matches!(lie_of(resolve(&client(), &registry, "me/app:1").unwrap_err()), Lie::Document { .. }));
}

#[test]
fn documents_have_limits() {
    let registry = FakeRegistry::start();
    registry.put_manifest("me/app", "1", OCI_MANIFEST, &vec![b' '; (4 << 20) + 1]);
    assert!(matches!(lie_of(resolve(&client(), &registry, "me/app:1").unwrap_err()), Lie::TooLong { .. }));
    registry.inject("manifests/", 1, Fault::Endless);
    registry.put_manifest("me/app", "1", OCI_MANIFEST, b"{}");
    assert!(matches!(lie_of(resolve(&client(), &registry, "me/app:1").unwrap_err()), Lie::TooLong { .. }));
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    registry.put_manifest(
        "me/app",
        "1",
        OCI_MANIFEST,
        format!("{{\"schemaVersion\":2,\"x\":{deep}}}").as_bytes(),
    );
    assert!(matches!(lie_of(resolve(&client(), &registry, "me/app:1").unwrap_err()), Lie::Document { .. }));
    let endless_error = Fault::Status(500, vec![], "x".repeat(1 << 20));
    registry.inject("manifests/", 2, endless_error);
    let error = resolve(&client(), &registry, "me/app:1").unwrap_err();
    assert!(shown(&error).len() < 1000);
}

// Blobs: the store verifies the digest; the number of bytes is ours.

#[test]
fn a_blob_has_as_many_bytes_as_its_descriptor_says() {
    let registry = FakeRegistry::start();
    let layer = registry.put_image("me/app", "1", &[b"0123456789".to_vec()]).layers[0].clone();
    let resolved = resolve(&client(), &registry, "me/app:1").unwrap();
    let attacks = [
        (Fault::Endless, 0),
        (Fault::OtherBody(b"0123456789!".to_vec()), 0),
        (Fault::OtherBody(b"0123".to_vec()), 0),
        (Fault::OtherBody(b"0123456789!".to_vec()), 5),
        (Fault::Header("Content-Range".to_owned(), "bytes 0-9/10".to_owned()), 5),
        (Fault::Header("Content-Range".to_owned(), "bytes 5-9/99".to_owned()), 5),
        (Fault::Status(206, vec![], "0123456789".to_owned()), 0),
    ];
    for (fault, offset) in attacks {
        registry.inject("blobs/", 1, fault.clone());
        let error = read(&resolved, &layer, offset).unwrap_err();
        assert!(!resolved.is_temporary(&error), "{fault:?}: {error}");
        assert_says(&error.to_string(), &["refused", layer.digest.as_str()]);
    }
    registry.inject("blobs/", 1, Fault::Endless);
    assert!(matches!(io_lie(&read_plainly(&resolved, &layer).unwrap_err()), Lie::TooLong { limit: 10 }));
    registry.inject("blobs/", 1, Fault::Endless);
    let believed = without(Guard::BlobLength, || read_plainly(&resolved, &layer));
    assert_eq!(believed.unwrap(), b"0123456789");
}

fn read_plainly(resolved: &Resolved, blob: &BlobDescriptor) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    resolved.open_blob(blob, 0).unwrap().read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[test]
fn no_http_at_all_is_an_error_and_not_a_panic() {
    let registry = FakeRegistry::start();
    let layer = registry.put_image("me/app", "1", &[b"layer".to_vec()]).layers[0].clone();
    registry.inject("manifests/", 1, Fault::Garbage);
    let error = resolve(&client(), &registry, "me/app:1").unwrap_err();
    assert!(matches!(error, Error::Transport { source: TransportError::Protocol(_), .. }), "{error:?}");
    let resolved = resolve(&client(), &registry, "me/app:1").unwrap();
    registry.inject("blobs/", 1, Fault::Garbage);
    assert!(read(&resolved, &layer, 0).is_err());
}

#[test]
fn an_idle_blob_ends_in_time_and_may_be_resumed() {
    let registry = FakeRegistry::start();
    let layer = registry.put_image("me/app", "1", &[b"layer".to_vec()]).layers[0].clone();
    let resolved = resolve(&client(), &registry, "me/app:1").unwrap();
    registry.inject("blobs/", 1, Fault::Stall(std::time::Duration::from_secs(30)));
    let started = std::time::Instant::now();
    let error = read_plainly(&resolved, &layer).unwrap_err();
    assert!(started.elapsed() < std::time::Duration::from_secs(10));
    assert!(resolved.is_temporary(&error));
    assert_says(&shown(&error), &["timed out"]);
}

// CVE-2020-15157: credentials go to the registry and nowhere else.

#[test]
fn a_redirect_carries_no_credential_to_another_host() {
    let (registry, other) = (locked(), FakeRegistry::start());
    let layer = registry.put_image("me/app", "1", &[b"layer".to_vec()]).layers[0].clone();
    other.put_image("me/app", "1", &[b"layer".to_vec()]);
    let resolved = resolve(&as_user(), &registry, "me/app:1").unwrap();
    let attack = || {
        let location = format!("http://{}/v2/me/app/blobs/{}", other.host(), layer.digest);
        registry.inject("blobs/", 1, Fault::Redirect(location));
        assert_eq!(read(&resolved, &layer, 0).unwrap(), b"layer");
        other.seen().last().unwrap().header("authorization").map(str::to_owned)
    };
    assert_eq!(attack(), None);
    assert!(without(Guard::CredentialsStay, attack).is_some(), "without the guard it leaks");
}

#[test]
fn a_redirect_to_the_same_host_keeps_the_credential() {
    let registry = locked();
    let layer = registry.put_image("me/app", "1", &[b"layer".to_vec()]).layers[0].clone();
    let resolved = resolve(&as_user(), &registry, "me/app:1").unwrap();
    registry.inject("blobs/", 1, Fault::Redirect(format!("/v2/me/app/blobs/{}?signed", layer.digest)));
    assert_eq!(read(&resolved, &layer, 0).unwrap(), b"layer");
}

#[test]
fn another_hosts_challenge_is_not_answered() {
    let (registry, thief) = (FakeRegistry::start(), locked());
    let layer = registry.put_image("me/app", "1", &[b"layer".to_vec()]).layers[0].clone();
    let resolved = resolve(&as_user(), &registry, "me/app:1").unwrap();
    let attack = || {
        registry.inject("blobs/", 2, Fault::Redirect(format!("http://{}/v2/me/app/blobs/x", thief.host())));
        let error = read(&resolved, &layer, 0).unwrap_err();
        assert_says(&error.to_string(), &[&thief.host()]);
    };
    attack();
    let sent =
        |registry: &FakeRegistry| registry.seen().iter().any(|seen| seen.header("authorization").is_some());
    assert!(!sent(&thief) && !sent(&registry));
    without(Guard::OnlyTheRegistryIsAnswered, attack);
    assert!(sent(&registry), "without the guard the challenge is answered");
}

#[test]
fn urls_in_a_manifest_are_not_asked() {
    let (registry, other) = (locked(), FakeRegistry::start());
    let digest = registry.put_blob("me/app", b"layer");
    let config = registry.put_blob("me/app", b"{}");
    let manifest = json!({
        "schemaVersion": 2, "mediaType": OCI_MANIFEST,
        "config": {"mediaType": OCI_CONFIG, "digest": config.as_str(), "size": 2},
        "layers": [{"mediaType": OCI_LAYER, "digest": digest.as_str(), "size": 5,
            "urls": [format!("http://{}/steal", other.host())]}],
    });
    registry.put_manifest("me/app", "1", OCI_MANIFEST, manifest.to_string().as_bytes());
    let resolved = resolve(&as_user(), &registry, "me/app:1").unwrap();
    let layer = BlobDescriptor { media_type: OCI_LAYER.to_owned(), digest, size: 5 };
    read(&resolved, &layer, 0).unwrap();
    assert!(other.seen().is_empty());
}

#[test]
fn redirects_have_limits() {
    let registry = FakeRegistry::start();
    registry.put_image("me/app", "1", &[]);
    for (location, says) in [
        ("/v2/me/app/manifests/1", "more than 5"),
        ("file:///etc/passwd", "neither the scheme"),
        ("gopher://127.0.0.1/x", "neither the scheme"),
        ("http://user:password@127.0.0.1/x", "user name"),
        ("http://example.invalid/x", "plain HTTP"),
    ] {
        registry.inject("manifests/", 6, Fault::Redirect(location.to_owned()));
        let error = resolve(&client(), &registry, "me/app:1").unwrap_err();
        assert_says(&shown(&error), &["redirect", says]);
        assert!(matches!(error, Error::Redirect { .. }));
        while resolve(&client(), &registry, "me/app:1").is_err() {}
    }
}

#[test]
fn the_credential_of_one_registry_is_not_given_to_another() {
    struct OnlyFor(String);
    impl CredentialSource for OnlyFor {
        fn credential(&self, domain: &str) -> Result<Credential, CredentialError> {
            if domain == self.0 { user().credential(domain) } else { Ok(Credential::Anonymous) }
        }
    }
    let (mine, evil) = (locked(), locked());
    let client = Client::new(impatient(), OnlyFor(mine.host())).unwrap();
    mine.put_image("me/app", "1", &[]);
    evil.put_image("me/app", "1", &[]);
    resolve(&client, &mine, "me/app:1").unwrap();
    resolve(&client, &evil, "me/app:1").unwrap_err();
    assert!(evil.seen().iter().all(|seen| seen.header("authorization").is_none()));
}

#[test]
fn a_token_server_over_plain_http_elsewhere_is_refused() {
    for realm in ["http://auth.example.invalid/token", "ftp://x/", "/token", "http://u:p@127.0.0.1/"] {
        let server = TokenServer { realm: Some(realm.to_owned()), ..TokenServer::default() };
        let registry = FakeRegistry::start_with(Setup { access: Access::Token(server), ..Setup::default() });
        let error = resolve(&as_user(), &registry, "me/app:1").unwrap_err();
        assert!(matches!(error, Error::Token { .. }), "{realm}: {error}");
        assert!(!error.is_temporary());
    }
}

#[test]
fn hostile_text_cannot_drive_a_terminal() {
    let registry = FakeRegistry::start();
    let body = "{\"errors\":[{\"code\":\"X\",\"message\":\"\\u001b]0;owned\\u0007\\u001b[2J\"}]}";
    registry.inject("manifests/", 1, Fault::Status(404, vec![], body.to_owned()));
    let text = shown(&resolve(&client(), &registry, "me/app:1").unwrap_err());
    assert!(!text.chars().any(char::is_control), "{text:?}");
}
