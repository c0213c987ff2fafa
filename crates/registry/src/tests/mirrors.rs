//! Mirrors: asked in order, left for whatever reason, with their own credentials.

use oci::Platform;
use testkit::registry::{Access, FakeRegistry, Fault, Setup};

use super::*;
use crate::{HostConfig, Mirror};

/// Makes a client whose registry `origin` has `mirrors`.
fn with_mirrors(origin: &FakeRegistry, mirrors: &[String]) -> Client {
    let mut config = impatient();
    let mirrors = mirrors.iter().map(|url| Mirror { url: url.clone(), for_prefix: None }).collect();
    config.hosts.insert(origin.host(), HostConfig { mirrors, ..HostConfig::default() });
    Client::new(config, crate::Anonymous).unwrap()
}

fn url(registry: &FakeRegistry) -> String {
    format!("http://{}", registry.host())
}

#[test]
fn the_first_that_has_it_is_taken() {
    let (origin, empty, full) = (FakeRegistry::start(), FakeRegistry::start(), FakeRegistry::start());
    let layer = full.put_image("hub/me/app", "1", &[b"layer".to_vec()]).layers[0].clone();
    let client = with_mirrors(&origin, &[url(&empty), format!("{}/hub", url(&full))]);
    let resolved = resolve(&client, &origin, "me/app:1").unwrap();
    assert_eq!(resolved.place(), format!("mirror {}/hub", url(&full)));
    assert_eq!(read(&resolved, &layer, 0).unwrap(), b"layer");
    assert!(origin.seen().is_empty());
    assert_eq!(empty.seen().len(), 1, "blobs are asked where the manifest was found");
}

#[test]
fn any_failure_leads_to_the_next() {
    let origin = FakeRegistry::start();
    origin.put_image("me/app", "1", &[]);
    let gone = url(&FakeRegistry::start());
    let bad = FakeRegistry::start();
    let client = with_mirrors(&origin, &[gone.clone(), url(&bad)]);
    for fault in [
        Fault::Status(500, vec![], String::new()),
        Fault::Status(403, vec![], String::new()),
        Fault::Hangup,
        Fault::Garbage,
        Fault::OtherBody(b"{}".to_vec()),
        Fault::Redirect("file:///x".to_owned()),
    ] {
        bad.inject("manifests/", 1, fault.clone());
        let resolved =
            resolve(&client, &origin, "me/app:1").unwrap_or_else(|error| panic!("{fault:?}: {error}"));
        assert_eq!(resolved.place(), origin.host());
    }
    let error = resolve(&client, &origin, "me/app:2").unwrap_err();
    assert_says(
        &shown(&error),
        &["any of 3 places", &gone, "refused", &url(&bad), "manifest unknown", &origin.host()],
    );
}

#[test]
fn a_mirror_that_lacks_or_breaks_a_blob_is_left_for_the_registry() {
    let (origin, mirror) = (FakeRegistry::start(), FakeRegistry::start());
    let layer = origin.put_image("me/app", "1", &[b"0123456789".to_vec()]).layers[0].clone();
    mirror.put_image("me/app", "1", &[b"0123456789".to_vec()]);
    let client = with_mirrors(&origin, &[url(&mirror)]);
    let resolved = resolve(&client, &origin, "me/app:1").unwrap();
    mirror.inject("blobs/", 1, Fault::Status(404, vec![], String::new()));
    assert_eq!(read(&resolved, &layer, 0).unwrap(), b"0123456789");
    mirror.inject("blobs/", 1, Fault::BreakAfter(2));
    let mut first = Vec::new();
    let error = resolved.open_blob(&layer, 0).unwrap().read_to_end(&mut first).unwrap_err();
    assert!(resolved.is_temporary(&error));
    let asked = origin.count("blobs/");
    assert_eq!(read(&resolved, &layer, 2).unwrap(), b"23456789");
    assert_eq!(origin.count("blobs/"), asked + 1, "the mirror that broke off comes last");
}

#[test]
fn a_mirror_gets_its_own_credential_only() {
    struct OriginOnly(String);
    impl CredentialSource for OriginOnly {
        fn credential(&self, domain: &str) -> Result<Credential, CredentialError> {
            if domain == self.0 { user().credential(domain) } else { Ok(Credential::Anonymous) }
        }
    }
    let locked = || {
        let access = Access::Basic { user: "user".to_owned(), password: "secret".to_owned() };
        FakeRegistry::start_with(Setup { access, ..Setup::default() })
    };
    let (origin, mirror) = (locked(), locked());
    origin.put_image("me/app", "1", &[]);
    let mut config = impatient();
    let mirrors = vec![Mirror { url: url(&mirror), for_prefix: None }];
    config.hosts.insert(origin.host(), HostConfig { mirrors, ..HostConfig::default() });
    let client = Client::new(config, OriginOnly(origin.host())).unwrap();
    client.resolve(&reference(&origin, "me/app:1"), &Platform::host()).unwrap();
    assert_eq!(mirror.seen().len(), 1);
    assert!(mirror.seen()[0].header("authorization").is_none());
}
