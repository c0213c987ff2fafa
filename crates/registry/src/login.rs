//! Trying a user name and password at a registry before they are stored.

use crate::answer::expect_success;
use crate::auth::{Access, Challenge, Credential, Purpose, TokenRequest, basic_header, fetch_token};
use crate::client::{Client, Inner};
use crate::endpoint::Endpoint;
use crate::error::{Error, Result};
use crate::exchange::challenge_of;
use crate::transport::{Answer, Asked, Method, Request};
use crate::url::{Scheme, Url};

/// A credential that the registry accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// What to store: the identity token where the registry gave one, else user and password.
    pub credential: Credential,
    /// Whether the registry checked it; one that asks for no credential accepts any.
    pub checked: bool,
}

impl Client {
    /// Tries user and password at the registry `domain`.
    ///
    /// Fails with [`Error::Denied`] when the registry does not accept them.
    pub fn ping_login(&self, domain: &str, username: &str, password: &str) -> Result<Login> {
        let config = self.inner.transport.config();
        if config.host(domain).is_some_and(|host| host.blocked) {
            return Err(Error::Blocked { domain: domain.to_owned() });
        }
        let place = Endpoint::origin(config, domain, "");
        let attempt = Attempt { inner: &self.inner, asked: place.asked("the login"), place };
        attempt.run(Credential::Basic { username: username.to_owned(), password: password.to_owned() })
    }
}

struct Attempt<'a> {
    inner: &'a Inner,
    place: Endpoint,
    asked: Asked,
}

impl Attempt<'_> {
    fn run(&self, credential: Credential) -> Result<Login> {
        let answer = self.ping(None)?;
        if answer.status != 401 || answer.elsewhere {
            expect_success(answer, &self.asked, false)?;
            return Ok(Login { credential, checked: false });
        }
        let scheme = answer.url.scheme;
        let challenge = challenge_of(&answer)
            .map_err(|reason| Error::Token { registry: self.place.label.clone(), reason })?;
        answer.drain();
        let (header, credential) = match challenge {
            Challenge::Basic => (basic(&credential), credential),
            Challenge::Bearer { .. } => self.token(&challenge, credential, scheme)?,
        };
        expect_success(self.ping(Some(&header))?, &self.asked, true)?;
        Ok(Login { credential, checked: true })
    }

    fn token(
        &self,
        challenge: &Challenge,
        credential: Credential,
        scheme: Scheme,
    ) -> Result<(String, Credential)> {
        let access = Access {
            authority: self.place.authority.clone(),
            scheme,
            domain: self.place.domain.clone(),
            scope: String::new(),
        };
        let Some(request) = TokenRequest::answering(&access, challenge, &credential, Purpose::Login) else {
            return Ok((basic(&credential), credential));
        };
        let token = fetch_token(&self.inner.transport, &request)?;
        let kept = token.identity_token.map_or(credential, Credential::IdentityToken);
        Ok((format!("Bearer {}", token.text), kept))
    }

    fn ping(&self, authorization: Option<&str>) -> Result<Answer> {
        let url = Url::new(Scheme::Https, &self.place.authority, "/v2/");
        let request = Request { method: Method::Get, url, accept: None, authorization, offset: 0 };
        self.inner.transport.send(&request, self.place.scheme).map_err(|failure| failure.asked(&self.asked))
    }
}

fn basic(credential: &Credential) -> String {
    match credential {
        Credential::Basic { username, password } => basic_header(username, password),
        _ => String::new(),
    }
}
