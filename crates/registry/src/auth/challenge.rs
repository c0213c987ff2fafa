//! The header `WWW-Authenticate`: what a registry wants to see (RFC 7235, distribution-spec token authentication).

use http_auth::ChallengeRef;

/// The challenge that we answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// User and password with each request.
    Basic,
    /// A token of the server at `realm`.
    Bearer {
        /// URL of the token server.
        realm: String,
        /// The name by which the token server knows the registry.
        service: Option<String>,
    },
}

impl Challenge {
    /// Chooses among the values of all `WWW-Authenticate` headers: a token before a password.
    ///
    /// The error says which schemes were offered.
    pub(crate) fn choose<'a>(headers: impl Iterator<Item = &'a str>) -> Result<Self, String> {
        let mut basic = false;
        let mut others = Vec::new();
        for header in headers {
            for challenge in http_auth::parse_challenges(header).map_err(|_| "its challenge is malformed")? {
                match challenge.scheme.to_ascii_lowercase().as_str() {
                    "bearer" => return bearer(&challenge),
                    "basic" => basic = true,
                    other => others.push(other.to_owned()),
                }
            }
        }
        if basic {
            return Ok(Self::Basic);
        }
        match others.is_empty() {
            true => Err("it wants a credential and does not say of which kind".to_owned()),
            false => Err(format!(
                "it wants a credential of the kind {}, only Bearer and Basic are known",
                others.join(", ")
            )),
        }
    }
}

fn bearer(challenge: &ChallengeRef<'_>) -> Result<Challenge, String> {
    let parameter = |name: &str| {
        let found = challenge.params.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.to_unescaped()).filter(|value| !value.is_empty())
    };
    let realm = parameter("realm").ok_or("its challenge names no token server (realm)")?;
    Ok(Challenge::Bearer { realm, service: parameter("service") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_goes_before_a_password() {
        let bearer = Challenge::Bearer { realm: "https://auth.x/token".into(), service: Some("x".into()) };
        let header = r#"Bearer realm="https://auth.x/token",service="x",scope="repository:a:pull""#;
        assert_eq!(Challenge::choose([r#"Basic realm="x""#, header].into_iter()), Ok(bearer.clone()));
        assert_eq!(Challenge::choose([&*format!("Basic realm=x, {header}")].into_iter()), Ok(bearer));
        assert_eq!(Challenge::choose([r#"basic realm="x""#].into_iter()), Ok(Challenge::Basic));
    }

    #[test]
    fn other_challenges_are_named() {
        for (header, named) in [
            ("Negotiate", "negotiate"),
            ("Bearer service=x", "realm"),
            ("\"", "malformed"),
            ("Bearer realm=\"", "malformed"),
        ] {
            let error = Challenge::choose([header].into_iter()).unwrap_err();
            assert!(error.contains(named), "{header}: {error}");
        }
        assert!(Challenge::choose(std::iter::empty()).unwrap_err().contains("which kind"));
    }

    proptest::proptest! {
        #[test]
        fn no_challenge_makes_us_panic(noise in "\\PC*", values in "[ -~]{0,60}") {
            let _ = Challenge::choose([&*noise, &*values].into_iter());
            let _ = Challenge::choose([&*format!("Bearer realm=\"{values}\", {noise}")].into_iter());
        }
    }
}
