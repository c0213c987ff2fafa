//! Passwords, tokens, logins: asked for when they are wanted, fetched once for all threads, refreshed when they end.

use std::thread;
use std::time::Duration;

use base::{ErrorKind, Kinded as _};
use oci::ImageSource as _;
use testkit::registry::{Access, FakeRegistry, Setup, TokenServer};

use super::*;
use crate::{Anonymous, DockerConfig, Error};

fn locked() -> Access {
    Access::Basic { user: "user".to_owned(), password: "secret".to_owned() }
}

fn tokens(server: TokenServer) -> Access {
    Access::Token(server)
}

fn for_user() -> TokenServer {
    TokenServer { login: Some(("user".to_owned(), "secret".to_owned())), ..TokenServer::default() }
}

fn start(access: Access) -> (FakeRegistry, BlobDescriptor) {
    let registry = FakeRegistry::start_with(Setup { access, ..Setup::default() });
    let image = registry.put_image("me/app", "1", &[b"layer".to_vec()]);
    (registry, image.layers[0].clone())
}

fn client_of(credentials: impl CredentialSource + 'static) -> Client {
    Client::new(impatient(), credentials).unwrap()
}

#[test]
fn a_password_is_sent_when_it_is_asked_for() {
    let (registry, layer) = start(locked());
    let resolved = resolve(&client_of(user()), &registry, "me/app:1").unwrap();
    read(&resolved, &layer, 0).unwrap();
    let sent: Vec<bool> = registry.seen().iter().map(|seen| seen.header("authorization").is_some()).collect();
    assert_eq!(sent, [false, true, true], "asked once, known afterwards");
}

#[test]
fn a_wrong_password_and_none_are_told_apart() {
    let (registry, _) = start(locked());
    let wrong = Everywhere(Credential::Basic { username: "user".to_owned(), password: "wrong".to_owned() });
    for (error, says) in [
        (resolve(&client_of(wrong), &registry, "me/app:1").unwrap_err(), "stored credential has no right"),
        (resolve(&client_of(Anonymous), &registry, "me/app:1").unwrap_err(), "needs `brig login"),
    ] {
        assert_says(
            &shown(&error),
            &["denied", "me/app:1", &format!("brig login {}", registry.host()), says],
        );
        assert!(!shown(&error).contains("wrong"));
        assert_eq!(error.kind(), ErrorKind::Denied);
    }
}

#[test]
fn a_token_is_for_everybody_where_nobody_logs_in() {
    let (registry, layer) = start(tokens(TokenServer::default()));
    let resolved = resolve(&client(), &registry, "me/app:1").unwrap();
    read(&resolved, &layer, 0).unwrap();
    let seen = registry.seen();
    assert_eq!(registry.count("/token"), 1);
    let asked = seen.iter().find(|seen| seen.path.starts_with("/token")).unwrap();
    assert_eq!(asked.path, "/token?service=fake&scope=repository%3Ame%2Fapp%3Apull");
    assert_eq!(asked.header("authorization"), None);
}

#[test]
fn the_password_goes_to_the_token_server_only() {
    let (registry, layer) = start(tokens(for_user()));
    let resolved = resolve(&client_of(user()), &registry, "me/app:1").unwrap();
    read(&resolved, &layer, 0).unwrap();
    for seen in registry.seen() {
        let basic = seen.header("authorization").is_some_and(|header| header.starts_with("Basic "));
        assert_eq!(basic, seen.path.starts_with("/token"), "{seen:?}");
    }
    let error = resolve(&client(), &registry, "me/app:1").unwrap_err();
    assert_says(
        &shown(&error),
        &["access to manifest of", "me/app:1", "token server", "brig login", "incorrect username"],
    );
}

#[test]
fn many_threads_fetch_one_token() {
    let (registry, layer) = start(tokens(TokenServer::default()));
    let resolved = resolve(&client(), &registry, "me/app:1").unwrap();
    registry.revoke_tokens();
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert_eq!(read(&resolved, &layer, 0).unwrap(), b"layer"));
        }
    });
    assert_eq!(registry.count("/token"), 2, "one at the beginning, one for all eight after the revocation");
}

#[test]
fn a_token_that_ended_is_fetched_before_it_is_refused() {
    let (registry, layer) = start(tokens(TokenServer { expires_in: 2, ..TokenServer::default() }));
    let resolved = resolve(&client(), &registry, "me/app:1").unwrap();
    thread::sleep(Duration::from_millis(2100));
    read(&resolved, &layer, 0).unwrap();
    let challenged = registry.seen().iter().filter(|seen| seen.header("authorization").is_none()).count();
    assert_eq!((registry.count("/token"), challenged), (2, 3), "no second challenge was needed");
}

#[test]
fn an_identity_token_is_posted() {
    let server = TokenServer { identity_token: Some("identity".to_owned()), ..for_user() };
    let (registry, _) = start(tokens(server));
    let client = client_of(Everywhere(Credential::IdentityToken("identity".to_owned())));
    resolve(&client, &registry, "me/app:1").unwrap();
    let seen = registry.seen();
    let posted = seen.iter().find(|seen| seen.method == "POST").unwrap();
    assert_says(
        &posted.body,
        &["grant_type=refresh_token", "refresh_token=identity", "service=fake", "scope=repository%3A"],
    );
    assert!(seen.iter().all(|seen| !seen.path.contains("identity")));
}

#[test]
fn a_registry_token_is_sent_as_it_is() {
    let (registry, _) = start(tokens(for_user()));
    let client = client_of(Everywhere(Credential::RegistryToken("mine".to_owned())));
    assert!(matches!(resolve(&client, &registry, "me/app:1"), Err(Error::Denied { .. })));
    assert_eq!(registry.seen().last().unwrap().header("authorization"), Some("Bearer mine"));
    assert_eq!(registry.count("/token"), 0);
}

#[test]
fn a_login_is_tried_before_it_is_kept() {
    let user = Credential::Basic { username: "user".to_owned(), password: "secret".to_owned() };
    let with_identity = TokenServer { identity_token: Some("identity".to_owned()), ..for_user() };
    for (access, kept, checked) in [
        (Access::Open, user.clone(), false),
        (locked(), user.clone(), true),
        (tokens(for_user()), user, true),
        (tokens(with_identity), Credential::IdentityToken("identity".to_owned()), true),
    ] {
        let (registry, _) = start(access.clone());
        let login = client().ping_login(&registry.host(), "user", "secret").unwrap();
        assert_eq!((login.credential, login.checked), (kept, checked), "{access:?}");
        if checked {
            let error = client().ping_login(&registry.host(), "user", "wrong").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
            assert!(!shown(&error).contains("wrong"));
        }
    }
}

#[test]
fn a_login_in_the_file_is_used_until_the_logout() {
    let (registry, _) = start(locked());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.json");
    let mut config = DockerConfig::load(&path).unwrap();
    let login = client().ping_login(&registry.host(), "user", "secret").unwrap();
    config.login(&registry.host(), &login.credential).unwrap();
    resolve(&client_of(DockerConfig::load(&path).unwrap()), &registry, "me/app:1").unwrap();
    assert!(config.logout(&registry.host()).unwrap());
    let error = resolve(&client_of(DockerConfig::load(&path).unwrap()), &registry, "me/app:1").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied);
}

#[test]
fn secrets_are_in_no_debug_text() {
    let (registry, _) = start(locked());
    let client = client_of(user());
    let resolved = resolve(&client, &registry, "me/app:1").unwrap();
    let text = format!("{client:?} {resolved:?} {:?} {:?}", user(), resolved.manifest());
    assert!(!text.contains("secret") && !text.contains("dXNlcjpzZWNyZXQ"), "{text}");
}
