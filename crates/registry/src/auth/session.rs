//! What is sent in `Authorization`, shared by all threads of a client.
//!
//! One slot per place and scope remembers the challenge and its answer. Whoever finds a slot without a usable answer
//! fetches one while holding the slot's lock: the others wait for it instead of fetching their own.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::{Challenge, Credential, CredentialSource, Purpose, TokenRequest, fetch_token};
use crate::error::Result;
use crate::transport::{Transport, lock};
use crate::url::Scheme;

/// The place and the right that a request needs.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Access {
    /// Host and port that is asked.
    pub(crate) authority: String,
    /// By which scheme it was last reached.
    pub(crate) scheme: Scheme,
    /// Name of its credential.
    pub(crate) domain: String,
    /// Such as `repository:library/debian:pull`; empty for none.
    pub(crate) scope: String,
}

/// A value for `Authorization`.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Grant {
    pub(crate) header: Arc<str>,
    /// Whether a stored credential stands behind it.
    pub(crate) logged_in: bool,
    usable_until: Option<Instant>,
}

/// Shows no secrets.
impl fmt::Debug for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Grant(logged_in: {})", self.logged_in)
    }
}

#[derive(Debug, Default)]
struct Slot {
    challenge: Option<Challenge>,
    grant: Option<Grant>,
}

type SlotKey = (String, String);

/// All grants of a client.
pub(crate) struct Sessions {
    source: Box<dyn CredentialSource>,
    credentials: Mutex<HashMap<String, Credential>>,
    slots: Mutex<HashMap<SlotKey, Arc<Mutex<Slot>>>>,
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions").finish_non_exhaustive()
    }
}

impl Sessions {
    pub(crate) fn new(source: Box<dyn CredentialSource>) -> Self {
        Self { source, credentials: Mutex::default(), slots: Mutex::default() }
    }

    /// Returns what to send with the next request: nothing before the first challenge.
    pub(crate) fn current(&self, transport: &Transport, access: &Access) -> Result<Option<Grant>> {
        let slot = self.slot(access);
        let mut slot = lock(&slot);
        let Some(challenge) = slot.challenge.clone() else { return Ok(None) };
        if let Some(grant) = slot.usable() {
            return Ok(Some(grant));
        }
        slot.grant = self.answer(transport, access, &challenge)?;
        Ok(slot.grant.clone())
    }

    /// Returns what to send after `refused` (or nothing) was answered by `challenge`; `None` when we have nothing else.
    pub(crate) fn renew(
        &self,
        transport: &Transport,
        access: &Access,
        refused: Option<&Grant>,
        challenge: Challenge,
    ) -> Result<Option<Grant>> {
        let slot = self.slot(access);
        let mut slot = lock(&slot);
        // Another thread may have been faster.
        if let Some(grant) = slot.usable().filter(|grant| Some(grant) != refused) {
            return Ok(Some(grant));
        }
        slot.grant = self.answer(transport, access, &challenge)?;
        slot.challenge = Some(challenge);
        Ok(slot.grant.clone().filter(|grant| Some(grant) != refused))
    }

    fn answer(&self, transport: &Transport, access: &Access, challenge: &Challenge) -> Result<Option<Grant>> {
        let credential = self.credential(&access.domain)?;
        let logged_in = credential != Credential::Anonymous;
        let (header, usable_until) = match (challenge, &credential) {
            (Challenge::Bearer { .. }, Credential::RegistryToken(token)) => (format!("Bearer {token}"), None),
            (Challenge::Basic, Credential::Basic { username, password }) => {
                (basic_header(username, password), None)
            }
            (Challenge::Basic, _) => return Ok(None),
            (Challenge::Bearer { .. }, _) => {
                let request = TokenRequest::answering(access, challenge, &credential, Purpose::Use);
                let Some(request) = request else { return Ok(None) };
                let token = fetch_token(transport, &request)?;
                (format!("Bearer {}", token.text), Some(token.usable_until))
            }
        };
        Ok(Some(Grant { header: header.into(), logged_in, usable_until }))
    }

    fn credential(&self, domain: &str) -> Result<Credential> {
        let mut known = lock(&self.credentials);
        if let Some(credential) = known.get(domain) {
            return Ok(credential.clone());
        }
        let credential = self.source.credential(domain)?;
        known.insert(domain.to_owned(), credential.clone());
        Ok(credential)
    }

    fn slot(&self, access: &Access) -> Arc<Mutex<Slot>> {
        let key = (access.authority.clone(), access.scope.clone());
        Arc::clone(lock(&self.slots).entry(key).or_default())
    }
}

impl Slot {
    fn usable(&self) -> Option<Grant> {
        let usable = |grant: &&Grant| grant.usable_until.is_none_or(|until| Instant::now() < until);
        self.grant.as_ref().filter(usable).cloned()
    }
}

/// Returns the header value of user and password (RFC 7617).
pub(crate) fn basic_header(username: &str, password: &str) -> String {
    http_auth::basic::encode_credentials(username, password)
}
