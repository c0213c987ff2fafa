//! What an honest registry does: manifests, indexes, blobs, broken connections, rate limits.

use std::io::Read as _;
use std::time::{Duration, Instant};

use base::{ErrorKind, Kinded as _};
use oci::{ImageSource as _, Platform};
use testkit::registry::{FakeRegistry, Fault};

use super::*;
use crate::Error;

const LAYER: &[u8] = b"0123456789";

fn registry() -> (FakeRegistry, BlobDescriptor) {
    let registry = FakeRegistry::start();
    let image = registry.put_image("me/app", "1", &[LAYER.to_vec()]);
    (registry, image.layers[0].clone())
}

#[test]
fn an_image_is_resolved_and_its_blobs_are_read() {
    let (registry, layer) = registry();
    let resolved = resolve(&client(), &registry, "me/app:1").unwrap();
    assert_eq!(resolved.manifest().media_type, oci::manifest::OCI_MANIFEST);
    assert_eq!((resolved.repo_digest(), resolved.index_digest()), (&resolved.manifest().digest, None));
    assert_eq!(read(&resolved, &layer, 0).unwrap(), LAYER);
    assert_eq!(read(&resolved, &layer, 4).unwrap(), &LAYER[4..]);
    assert_eq!(read(&resolved, &layer, 10).unwrap(), b"");
}

#[test]
fn one_connection_serves_all() {
    let (registry, layer) = registry();
    let client = client();
    let started = Instant::now();
    for _ in 0..20 {
        let resolved = resolve(&client, &registry, "me/app:1").unwrap();
        let mut exactly = [0; 10];
        resolved.open_blob(&layer, 0).unwrap().read_exact(&mut exactly).unwrap();
    }
    assert!(started.elapsed() < Duration::from_secs(2));
    assert!(!client.inner.transport.read_system_roots(), "plain HTTP needs no certificates");
}

#[test]
fn a_digest_is_asked_of_its_own_repository() {
    let (registry, _) = registry();
    let digest = registry.put_image("me/app", "1", &[LAYER.to_vec()]).manifest.digest;
    let resolved = resolve(&client(), &registry, &format!("me/app:ignored@{digest}")).unwrap();
    assert_eq!(resolved.repo_digest(), &digest);
    assert_eq!(registry.seen()[0].path, format!("/v2/me/app/manifests/{digest}"));
    let error = resolve(&client(), &registry, &format!("other/app@{digest}")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[test]
fn an_index_gives_the_platforms_manifest() {
    let registry = FakeRegistry::start();
    let one = registry.put_image("me/app", "one", &[b"one".to_vec()]);
    let two = registry.put_image("me/app", "two", &[b"two".to_vec()]);
    let index = registry.put_index(
        "me/app",
        "1",
        &[("linux/riscv64", &one.manifest), ("linux/arm64/v8", &two.manifest)],
    );
    let reference = reference(&registry, "me/app:1");
    let resolved = client().resolve(&reference, &"linux/arm64".parse().unwrap()).unwrap();
    assert_eq!(resolved.manifest().digest, two.manifest.digest);
    assert_eq!((resolved.repo_digest(), resolved.index_digest()), (&index.digest, Some(&index.digest)));
    let wanted: Platform = "linux/s390x".parse().unwrap();
    let error = client().resolve(&reference, &wanted).unwrap_err();
    assert_says(&shown(&error), &["me/app:1", "linux/s390x", "linux/riscv64, linux/arm64/v8"]);
    assert_eq!(client().current_digest(&reference).unwrap(), Some(index.digest));
}

#[test]
fn what_is_missing_is_said_with_the_place() {
    let (registry, _) = registry();
    let error = resolve(&client(), &registry, "me/app:nope").unwrap_err();
    assert_says(
        &shown(&error),
        &["cannot find manifest of", "me/app:nope", &registry.host(), "manifest unknown"],
    );
    assert_eq!((error.kind(), error.is_temporary()), (ErrorKind::NotFound, false));
}

#[test]
fn a_broken_blob_can_be_resumed() {
    let (registry, layer) = registry();
    registry.inject(&format!("blobs/{}", layer.digest), 1, Fault::BreakAfter(4));
    let resolved = resolve(&client(), &registry, "me/app:1").unwrap();
    let mut reader = resolved.open_blob(&layer, 0).unwrap();
    let mut bytes = Vec::new();
    let error = reader.read_to_end(&mut bytes).unwrap_err();
    assert!(resolved.is_temporary(&error), "{error}");
    assert_says(&shown(&error), &[layer.digest.as_str(), "4 of 10 bytes"]);
    assert!(reader.read(&mut [0; 1]).is_err(), "an error is not followed by a quiet end");
    bytes.extend(read(&resolved, &layer, bytes.len() as u64).unwrap());
    assert_eq!(bytes, LAYER);
}

#[test]
fn a_server_without_ranges_is_read_from_the_start() {
    let (registry, layer) = registry();
    registry.inject("blobs/", 1, Fault::IgnoreRange);
    let resolved = resolve(&client(), &registry, "me/app:1").unwrap();
    assert_eq!(read(&resolved, &layer, 7).unwrap(), b"789");
    registry.inject("blobs/", 1, Fault::Status(416, vec![], String::new()));
    assert_eq!(read(&resolved, &layer, 7).unwrap(), b"789");
}

#[test]
fn temporary_failures_are_tried_again_and_others_are_not() {
    let (registry, layer) = registry();
    for fault in
        [Fault::Status(503, vec![], String::new()), Fault::Hangup, Fault::Stall(Duration::from_secs(3))]
    {
        registry.inject("manifests/1", 1, fault.clone());
        resolve(&client(), &registry, "me/app:1").unwrap_or_else(|error| panic!("{fault:?}: {error}"));
    }
    let before = registry.count("manifests/");
    registry.inject("manifests/", 1, Fault::Status(400, vec![], String::new()));
    resolve(&client(), &registry, "me/app:1").unwrap_err();
    // Loopback: 400 is what a TLS server answers to plain HTTP, so TLS is tried once too.
    assert_eq!(registry.count("manifests/"), before + 1);
    let resolved = resolve(&client(), &registry, "me/app:1").unwrap();
    registry.inject("blobs/", 1, Fault::Status(500, vec![], String::new()));
    let Err(error) = resolved.open_blob(&layer, 0) else { panic!("500 is an error") };
    assert!(resolved.is_temporary(&*error), "the store tries again");
}

#[test]
fn a_rate_limit_is_waited_for_when_it_is_short() {
    let (registry, layer) = registry();
    let limit = |seconds: &str| {
        let body = r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"pull rate limit reached"}]}"#;
        Fault::Status(429, vec![("Retry-After".to_owned(), seconds.to_owned())], body.to_owned())
    };
    registry.inject("manifests/", 1, limit("1"));
    let started = Instant::now();
    let resolved = resolve(&client(), &registry, "me/app:1").unwrap();
    assert!(started.elapsed() >= Duration::from_secs(1));
    registry.inject("blobs/", 1, limit("1"));
    assert_eq!(read(&resolved, &layer, 0).unwrap(), LAYER);
    registry.inject("manifests/", 1, limit("3600"));
    let error = resolve(&client(), &registry, "me/app:1").unwrap_err();
    assert_eq!(
        (error.kind(), error.retry_after()),
        (ErrorKind::Unavailable, Some(Duration::from_secs(3600)))
    );
    assert_says(&shown(&error), &["limits the rate", "pull rate limit reached", "3600 s", "brig login"]);
}

#[test]
fn nobody_listening_is_said_at_once() {
    let gone = FakeRegistry::start().host();
    let error = client().resolve(&format!("{gone}/a:1").parse().unwrap(), &Platform::host()).unwrap_err();
    assert_says(&shown(&error), &["manifest of", &gone, "refused"]);
    assert!(matches!(error, Error::Transport { .. }) && !error.is_temporary());
}

#[test]
fn a_name_without_address_is_said() {
    let error = client().resolve(&"registry.invalid/a:1".parse().unwrap(), &Platform::host()).unwrap_err();
    assert_says(&shown(&error), &["registry.invalid"]);
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}
