//! What an honest registry answers: distribution-spec "pull", and the token server of distribution's token.md.

use std::time::{Duration, Instant};

use oci::Digest;
use serde_json::json;

use super::http::{Answer, Seen};
use super::{Access, Shared, TokenServer};

/// Answers `seen`; with `whole`, a range that was asked is ignored.
pub(super) fn answer_to(shared: &Shared, seen: &Seen, whole: bool) -> Answer {
    let path = seen.path.split('?').next().unwrap_or_default();
    if shared.content().forbidden.contains(&seen.method) {
        return error(405, "UNSUPPORTED", "method not allowed");
    }
    if path == "/token" {
        return match &shared.setup.access {
            Access::Token(server) => token(shared, server, seen),
            _ => error(404, "UNSUPPORTED", "no token server"),
        };
    }
    if let Some(refusal) = refusal(shared, seen) {
        return refusal;
    }
    match path.strip_prefix("/v2/") {
        Some("") => Answer::new(200, "{}"),
        Some(rest) => content(shared, seen, rest, whole),
        None => error(404, "UNSUPPORTED", "page not found"),
    }
}

fn content(shared: &Shared, seen: &Seen, rest: &str, whole: bool) -> Answer {
    let store = shared.content();
    if let Some((repository, reference)) = rest.rsplit_once("/manifests/") {
        return match store.manifests.get(&(repository.to_owned(), reference.to_owned())) {
            Some((media_type, bytes)) => Answer::new(200, bytes.clone())
                .with("Content-Type", media_type)
                .with("Docker-Content-Digest", Digest::of(bytes).as_str()),
            None => error(404, "MANIFEST_UNKNOWN", "manifest unknown"),
        };
    }
    let blob = rest
        .rsplit_once("/blobs/")
        .and_then(|(repository, digest)| store.blobs.get(&(repository.to_owned(), digest.to_owned())));
    let Some(bytes) = blob else { return error(404, "BLOB_UNKNOWN", "blob unknown to registry") };
    let from = seen.header("range").filter(|_| !whole).and_then(first_byte);
    match from {
        None => Answer::new(200, bytes.clone()),
        Some(from) if from >= bytes.len() => error(416, "RANGE_INVALID", "range not satisfiable"),
        Some(from) => Answer::new(206, &bytes[from..])
            .with("Content-Range", format!("bytes {from}-{}/{}", bytes.len() - 1, bytes.len())),
    }
}

fn first_byte(range: &str) -> Option<usize> {
    range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()
}

/// Returns the 401 for a request that may not be, with the challenge.
fn refusal(shared: &Shared, seen: &Seen) -> Option<Answer> {
    let sent = seen.header("authorization");
    let (allowed, challenge) = match &shared.setup.access {
        Access::Open => return None,
        Access::Basic { user, password } => {
            (sent == Some(&basic(user, password)), "Basic realm=\"fake\"".to_owned())
        }
        Access::Token(server) => {
            let known = sent
                .and_then(|header| header.strip_prefix("Bearer "))
                .and_then(|token| shared.content().tokens.get(token).map(|until| Instant::now() < *until));
            (known == Some(true), token_challenge(shared, server, &seen.path))
        }
    };
    (!allowed)
        .then(|| error(401, "UNAUTHORIZED", "authentication required").with("WWW-Authenticate", challenge))
}

fn token_challenge(shared: &Shared, server: &TokenServer, path: &str) -> String {
    let realm = server.realm.clone().unwrap_or_else(|| {
        #[cfg(feature = "registry-tls")]
        let scheme = if shared.setup.tls.is_some() { "https" } else { "http" };
        #[cfg(not(feature = "registry-tls"))]
        let scheme = "http";
        format!("{scheme}://{}/token", shared.address)
    });
    let repository = path.strip_prefix("/v2/").and_then(|rest| {
        rest.rsplit_once("/manifests/")
            .or_else(|| rest.rsplit_once("/blobs/"))
            .map(|(repository, _)| repository)
    });
    let scope = repository.map(|name| format!(",scope=\"repository:{name}:pull\"")).unwrap_or_default();
    format!("Bearer realm=\"{realm}\",service=\"fake\"{scope}")
}

fn token(shared: &Shared, server: &TokenServer, seen: &Seen) -> Answer {
    let by_identity = match &server.identity_token {
        Some(identity) => seen.method == "POST" && seen.body.contains(&format!("refresh_token={identity}")),
        None => false,
    };
    let by_password = match &server.login {
        Some((user, password)) => seen.header("authorization") == Some(&basic(user, password)),
        None => true,
    };
    if !by_identity && (seen.method == "POST" || !by_password) {
        return Answer::new(401, json!({"details": "incorrect username or password"}).to_string());
    }
    let mut content = shared.content();
    content.tokens_given += 1;
    let text = format!("token-{}", content.tokens_given);
    content.tokens.insert(text.clone(), Instant::now() + Duration::from_secs(server.expires_in));
    let mut body = json!({"token": text, "expires_in": server.expires_in});
    if let Some(identity) =
        server.identity_token.as_ref().filter(|_| seen.path.contains("offline_token=true"))
    {
        body["refresh_token"] = json!(identity);
    }
    Answer::new(200, body.to_string()).with("Content-Type", "application/json")
}

fn error(status: u16, code: &str, message: &str) -> Answer {
    let body = json!({"errors": [{"code": code, "message": message}]});
    Answer::new(status, body.to_string()).with("Content-Type", "application/json")
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", base64(format!("{user}:{password}").as_bytes()))
}

/// RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits =
            chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * place)) as usize & 63];
            text.push(if place <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_padded() {
        for (text, encoded) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")]
        {
            assert_eq!(base64(text.as_bytes()), encoded);
        }
    }
}
