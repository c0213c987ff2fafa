//! TLS: whom we trust, whom we show ourselves to, and that nothing leaves it.

use oci::ImageSource as _;
use testkit::registry::tls::{Authority, Identity, Use};
use testkit::registry::{Access, FakeRegistry, Fault, Setup, TokenServer};

use super::*;
use crate::guard::{Guard, without};
use crate::{Error, HostConfig, TransportError};

struct Fixture {
    authority: Authority,
    folder: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Self {
        let fixture = Self { authority: Authority::new(), folder: tempfile::tempdir().unwrap() };
        std::fs::write(fixture.folder.path().join("ca.pem"), &fixture.authority.certificate).unwrap();
        fixture
    }

    fn registry(&self, names: &[&str], access: Access, clients: Option<&Authority>) -> FakeRegistry {
        let tls = Some(Identity::new(&self.authority.sign(names, Use::Server), clients));
        let registry = FakeRegistry::start_with(Setup { access, tls });
        registry.put_image("me/app", "1", &[b"layer".to_vec()]);
        registry
    }

    fn trusting(&self) -> HostConfig {
        HostConfig { ca_files: vec![self.folder.path().join("ca.pem")], ..HostConfig::default() }
    }
}

fn client_with(registry: &FakeRegistry, host: HostConfig) -> Client {
    let mut config = impatient();
    config.hosts.insert(registry.host(), host);
    Client::new(config, user()).unwrap()
}

#[test]
fn a_configured_authority_is_trusted() {
    let fixture = Fixture::new();
    let registry = fixture.registry(&["127.0.0.1"], Access::Open, None);
    let client = client_with(&registry, HostConfig { insecure_http: Some(false), ..fixture.trusting() });
    let resolved = resolve(&client, &registry, "me/app:1").unwrap();
    assert!(!resolved.manifest().bytes.is_empty());
    assert!(client.inner.transport.read_system_roots());
}

#[test]
fn loopback_finds_tls_behind_a_port_by_itself() {
    let fixture = Fixture::new();
    let registry = fixture.registry(&["127.0.0.1"], Access::Open, None);
    let client = client_with(&registry, fixture.trusting());
    for _ in 0..2 {
        resolve(&client, &registry, "me/app:1").unwrap();
    }
}

#[test]
fn a_strangers_certificate_is_refused() {
    let fixture = Fixture::new();
    let registry = fixture.registry(&["127.0.0.1"], Access::Open, None);
    let only_tls = HostConfig { insecure_http: Some(false), ..HostConfig::default() };
    let error = resolve(&client_with(&registry, only_tls.clone()), &registry, "me/app:1").unwrap_err();
    assert_says(&shown(&error), &[&registry.host(), "UnknownIssuer", "ca_files"]);
    assert!(
        matches!(error, Error::Transport { source: TransportError::Tls(_), .. }) && !error.is_temporary()
    );
    let skip = HostConfig { skip_verify: true, ..only_tls };
    resolve(&client_with(&registry, skip), &registry, "me/app:1").unwrap();
    assert!(registry.seen().iter().all(|seen| seen.header("authorization").is_none()));
}

#[test]
fn a_certificate_for_another_name_is_refused() {
    let fixture = Fixture::new();
    let registry = fixture.registry(&["other.local"], Access::Open, None);
    let host = HostConfig { insecure_http: Some(false), ..fixture.trusting() };
    let error = resolve(&client_with(&registry, host), &registry, "me/app:1").unwrap_err();
    assert_says(&shown(&error), &["not valid for name", "another name"]);
}

#[test]
fn plain_http_where_tls_is_wanted_is_explained() {
    let registry = FakeRegistry::start();
    let host = HostConfig { insecure_http: Some(false), ..HostConfig::default() };
    registry.put_image("me/app", "1", &[]);
    let started = std::time::Instant::now();
    let error = resolve(&client_with(&registry, host), &registry, "me/app:1").unwrap_err();
    let text = shown(&error);
    assert!(text.contains("insecure_http = true") || text.contains("timed out"), "{text}");
    assert!(started.elapsed() < Duration::from_secs(20));
}

#[test]
fn a_client_certificate_is_shown_where_it_is_configured() {
    let (fixture, clients) = (Fixture::new(), Authority::new());
    let registry = fixture.registry(&["127.0.0.1"], Access::Open, Some(&clients));
    let signed = clients.sign(&["me"], Use::Client);
    let (cert, key) = (fixture.folder.path().join("me.pem"), fixture.folder.path().join("me.key"));
    std::fs::write(&cert, &signed.certificate).unwrap();
    std::fs::write(&key, &signed.key).unwrap();
    let without_cert = HostConfig { insecure_http: Some(false), ..fixture.trusting() };
    resolve(&client_with(&registry, without_cert.clone()), &registry, "me/app:1").unwrap_err();
    let with = HostConfig { client_cert: Some(cert.clone()), client_key: Some(key.clone()), ..without_cert };
    resolve(&client_with(&registry, with.clone()), &registry, "me/app:1").unwrap();
    std::fs::write(&key, clients.sign(&["me"], Use::Client).key).unwrap();
    let error = resolve(&client_with(&registry, with), &registry, "me/app:1").unwrap_err();
    assert_says(&shown(&error), &["me.key"]);
}

#[test]
fn a_missing_or_empty_authority_file_is_named() {
    let fixture = Fixture::new();
    let registry = fixture.registry(&["127.0.0.1"], Access::Open, None);
    for (name, content) in [("gone.pem", None), ("empty.pem", Some(""))] {
        let path = fixture.folder.path().join(name);
        if let Some(content) = content {
            std::fs::write(&path, content).unwrap();
        }
        let host = HostConfig { insecure_http: Some(false), ca_files: vec![path], ..HostConfig::default() };
        let error = resolve(&client_with(&registry, host), &registry, "me/app:1").unwrap_err();
        assert_says(&shown(&error), &[name, &registry.host()]);
    }
}

#[test]
fn no_redirect_leads_out_of_tls() {
    let fixture = Fixture::new();
    let access = Access::Basic { user: "user".to_owned(), password: "secret".to_owned() };
    let (registry, plain) = (fixture.registry(&["127.0.0.1"], access, None), FakeRegistry::start());
    plain.put_image("me/app", "1", &[]);
    let client = client_with(&registry, HostConfig { insecure_http: Some(false), ..fixture.trusting() });
    resolve(&client, &registry, "me/app:1").unwrap();
    let attack = || {
        registry.inject(
            "manifests/1",
            1,
            Fault::Redirect(format!("http://{}/v2/me/app/manifests/1", plain.host())),
        );
        resolve(&client, &registry, "me/app:1")
    };
    assert_says(&shown(&attack().unwrap_err()), &["plain HTTP"]);
    assert!(plain.seen().is_empty());
    without(Guard::NoWayOutOfTls, attack).unwrap();
    assert_eq!(plain.seen().len(), 1);
    assert!(plain.seen()[0].header("authorization").is_none(), "even then the credential stays");
}

#[test]
fn no_token_server_leads_out_of_tls() {
    let fixture = Fixture::new();
    let thief = FakeRegistry::start();
    let server =
        TokenServer { realm: Some(format!("http://{}/token", thief.host())), ..TokenServer::default() };
    let registry = fixture.registry(&["127.0.0.1"], Access::Token(server), None);
    let attack = || {
        let client = client_with(&registry, HostConfig { insecure_http: Some(false), ..fixture.trusting() });
        resolve(&client, &registry, "me/app:1").unwrap_err()
    };
    assert_says(&shown(&attack()), &["token server", "plain HTTP"]);
    assert!(thief.seen().is_empty());
    without(Guard::NoWayOutOfTls, attack);
    assert!(thief.seen()[0].header("authorization").is_some(), "without the guard the password leaks");
}
