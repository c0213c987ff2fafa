//! Tokens: one request to the server that a registry's challenge names.
//!
//! Source: distribution `docs/spec/auth/token.md` and `oauth.md`.

use std::time::{Duration, Instant};

use serde::Deserialize;

use super::{Access, Challenge, Credential, basic_header};
use crate::answer::expect_success;
use crate::error::{Error, Result};
use crate::guard::{Guard, stands};
use crate::transport::{Answer, Asked, Method, Request, SchemeChoice, Transport};
use crate::url::{Scheme, Url, encode_query};

/// What we call ourselves to token servers.
const CLIENT_ID: &str = "brig";
/// The life of a token whose server does not say it (token.md).
const DEFAULT_LIFE: Duration = Duration::from_secs(60);
/// No token lives longer for us; it is asked for again.
const LONGEST_LIFE: Duration = Duration::from_secs(24 * 3600);
/// More is no token.
const LONGEST_ANSWER: u64 = 1 << 20;

/// What a token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Requests to the registry.
    Use,
    /// A login: an identity token is asked for too.
    Login,
}

/// A token as its server gave it.
#[derive(Debug)]
pub(crate) struct Token {
    pub(crate) text: String,
    pub(crate) usable_until: Instant,
    /// Given at a login by servers that have it.
    pub(crate) identity_token: Option<String>,
}

/// Who asks which server for what.
#[derive(Debug)]
pub(crate) struct TokenRequest<'a> {
    pub(crate) access: &'a Access,
    pub(crate) realm: &'a str,
    pub(crate) service: Option<&'a str>,
    pub(crate) credential: &'a Credential,
    pub(crate) purpose: Purpose,
}

#[derive(Deserialize)]
struct Body {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
    refresh_token: Option<String>,
}

/// Fetches a token.
pub(crate) fn fetch_token(transport: &Transport, request: &TokenRequest<'_>) -> Result<Token> {
    let access = request.access;
    let realm = check_realm(transport, access, request.realm)?;
    let asked = Asked {
        what: "a token".to_owned(),
        registry: format!("{}'s token server {}", access.domain, realm.authority),
        domain: access.domain.clone(),
    };
    let answered = match request.credential {
        Credential::IdentityToken(token) => transport.post(&realm, form(request, token)),
        credential => get(transport, request, &realm, credential),
    };
    let answer = answered.map_err(|failure| failure.asked(&asked))?;
    let logged_in = *request.credential != Credential::Anonymous;
    let answer = expect_success(answer, &asked, logged_in)?;
    let bytes = answer.read(LONGEST_ANSWER).map_err(|failure| failure.asked(&asked))?;
    parse(&bytes, Instant::now()).map_err(|reason| token_error(access, reason))
}

/// Refuses a token server to which the credential would travel in the clear when the registry itself is spoken to by TLS.
fn check_realm(transport: &Transport, access: &Access, realm: &str) -> Result<Url> {
    let shown = crate::error::clean(realm);
    let url = Url::parse(realm)
        .map_err(|error| token_error(access, format!("its token server {shown:?} {error}")))?;
    let plain_allowed = access.scheme == Scheme::Http
        && transport.scheme_of(&url.authority) != SchemeChoice::Only(Scheme::Https);
    if url.scheme == Scheme::Http && !plain_allowed && stands(Guard::NoWayOutOfTls) {
        return Err(token_error(access, format!("its token server {shown:?} is reached by plain HTTP")));
    }
    if transport.config().host(&url.authority).is_some_and(|host| host.blocked) {
        return Err(token_error(
            access,
            format!("its token server {shown:?} is blocked by the configuration"),
        ));
    }
    Ok(url)
}

fn get(
    transport: &Transport,
    request: &TokenRequest<'_>,
    realm: &Url,
    credential: &Credential,
) -> Result<Answer, crate::transport::Failure> {
    let mut query = Vec::new();
    let mut authorization = None;
    if let Some(service) = request.service {
        query.push(("service", service));
    }
    if !request.access.scope.is_empty() {
        query.push(("scope", request.access.scope.as_str()));
    }
    if let Credential::Basic { username, password } = credential {
        query.push(("account", username));
        authorization = Some(basic_header(username, password));
    }
    if request.purpose == Purpose::Login {
        query.extend([("client_id", CLIENT_ID), ("offline_token", "true")]);
    }
    let joint = if realm.path.contains('?') { '&' } else { '?' };
    let path = if query.is_empty() {
        realm.path.clone()
    } else {
        format!("{}{joint}{}", realm.path, encode(&query))
    };
    let url = Url { path, ..realm.clone() };
    let scheme = SchemeChoice::Only(url.scheme);
    let request = Request {
        method: Method::Get,
        url,
        accept: None,
        authorization: authorization.as_deref(),
        offset: 0,
    };
    transport.send(&request, scheme)
}

fn form(request: &TokenRequest<'_>, identity_token: &str) -> String {
    let mut fields =
        vec![("grant_type", "refresh_token"), ("client_id", CLIENT_ID), ("refresh_token", identity_token)];
    if let Some(service) = request.service {
        fields.push(("service", service));
    }
    if !request.access.scope.is_empty() {
        fields.push(("scope", &request.access.scope));
    }
    encode(&fields)
}

fn encode(fields: &[(&str, &str)]) -> String {
    let pairs = fields.iter().map(|(name, value)| format!("{name}={}", encode_query(value)));
    pairs.collect::<Vec<_>>().join("&")
}

fn parse(bytes: &[u8], now: Instant) -> Result<Token, String> {
    // The parser's words could show the token.
    let body: Body =
        serde_json::from_slice(bytes).map_err(|_| "the token server's answer is malformed".to_owned())?;
    let text = body.token.or(body.access_token).filter(|token| !token.is_empty());
    let text = text.ok_or("the token server's answer has no token")?;
    if !text.bytes().all(|b| b.is_ascii_graphic()) {
        return Err("the token server's token has characters that no header may have".to_owned());
    }
    let life = body.expires_in.map_or(DEFAULT_LIFE, Duration::from_secs).min(LONGEST_LIFE);
    // A tenth of its life is left for the request that uses it.
    let usable_until = now + life * 9 / 10;
    Ok(Token { text, usable_until, identity_token: body.refresh_token.filter(|token| !token.is_empty()) })
}

fn token_error(access: &Access, reason: impl Into<String>) -> Error {
    Error::Token { registry: access.domain.clone(), reason: reason.into() }
}

impl<'a> TokenRequest<'a> {
    /// Makes the request that answers `challenge`; `None` when it asks for no token.
    pub(crate) fn answering(
        access: &'a Access,
        challenge: &'a Challenge,
        credential: &'a Credential,
        purpose: Purpose,
    ) -> Option<Self> {
        match challenge {
            Challenge::Basic => None,
            Challenge::Bearer { realm, service } => {
                Some(Self { access, realm, service: service.as_deref(), credential, purpose })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read() {
        let now = Instant::now();
        let token = parse(br#"{"token":"a.b","expires_in":300}"#, now).unwrap();
        assert_eq!((token.text.as_str(), token.usable_until), ("a.b", now + Duration::from_secs(270)));
        let token = parse(br#"{"access_token":"x","refresh_token":"r"}"#, now).unwrap();
        assert_eq!(
            (token.usable_until, token.identity_token.as_deref()),
            (now + Duration::from_secs(54), Some("r"))
        );
        parse(br#"{"token":"x","expires_in":18446744073709551615}"#, now).unwrap();
    }

    #[test]
    fn malformed_answers_are_refused_without_showing_them() {
        for text in
            ["", "[]", "{}", r#"{"token":""}"#, r#"{"token":"a\r\nSet-Cookie: x"}"#, r#"{"token": secret"#]
        {
            let error = parse(text.as_bytes(), Instant::now()).unwrap_err();
            assert!(!error.contains("secret") && !error.contains("Cookie"), "{error}");
        }
    }
}
