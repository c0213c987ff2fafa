//! One question to one place, with its credential and its retries.

use std::thread;
use std::time::Duration;

use ureq::http::HeaderMap;

use crate::answer::{error_of, expect_success};
use crate::auth::{Access, Challenge, Grant, Sessions};
use crate::endpoint::Endpoint;
use crate::error::{Error, Result};
use crate::guard::{Guard, stands};
use crate::transport::{Answer, Asked, Method, Request, Transport};
use crate::url::Url;

/// The first wait before asking again; each further one is twice as long.
const FIRST_WAIT: Duration = Duration::from_millis(250);

/// What is asked of a place.
#[derive(Debug, Clone)]
pub(crate) struct Question<'a> {
    pub(crate) method: Method,
    /// Path below the repository, such as `manifests/latest`.
    pub(crate) path: &'a str,
    pub(crate) accept: Option<&'a str>,
    /// First byte wanted.
    pub(crate) offset: u64,
    /// What it is, for errors.
    pub(crate) what: &'a str,
    pub(crate) patience: Patience,
}

/// Whether to ask again after a temporary failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    /// Ask again, as often as configured.
    Patient,
    /// Ask again only when the registry says when; the caller has retries of its own.
    WhenTold,
    /// There is another place to ask.
    None,
}

/// Asks `place`; the answer is a success.
pub(crate) fn exchange(
    transport: &Transport,
    sessions: &Sessions,
    place: &Endpoint,
    question: &Question<'_>,
) -> Result<Answer> {
    patiently(transport, question.patience, || exchange_once(transport, sessions, place, question))
}

/// Asks `place` and reads the whole answer, at most `limit` bytes and one more, which tells that there are more.
pub(crate) fn exchange_whole(
    transport: &Transport,
    sessions: &Sessions,
    place: &Endpoint,
    question: &Question<'_>,
    limit: u64,
) -> Result<(HeaderMap, Vec<u8>)> {
    patiently(transport, question.patience, || {
        let mut answer = exchange_once(transport, sessions, place, question)?;
        let headers = std::mem::take(&mut answer.headers);
        let bytes = answer.read(limit).map_err(|failure| failure.asked(&place.asked(question.what)))?;
        Ok((headers, bytes))
    })
}

/// Tries `ask` again after temporary failures.
fn patiently<T>(transport: &Transport, patience: Patience, mut ask: impl FnMut() -> Result<T>) -> Result<T> {
    let mut asked_before = 0;
    loop {
        let error = match ask() {
            Err(error) if error.is_temporary() => error,
            done => return done,
        };
        asked_before += 1;
        let wait = wait_before_next(&error, patience, asked_before, transport);
        thread::sleep(wait.ok_or(error)?);
    }
}

/// Decides how long to wait before asking again; `None` means giving up.
fn wait_before_next(
    error: &Error,
    patience: Patience,
    asked_before: u32,
    transport: &Transport,
) -> Option<Duration> {
    let config = transport.config();
    if asked_before >= config.attempts {
        return None;
    }
    let told = error.retry_after().filter(|wait| *wait <= config.longest_wait);
    match patience {
        Patience::None => None,
        Patience::WhenTold => told,
        // A registry that wants more patience than we have is not asked again.
        Patience::Patient if error.retry_after().is_some() => told,
        Patience::Patient => {
            Some((FIRST_WAIT * 2_u32.saturating_pow(asked_before - 1)).min(config.longest_wait))
        }
    }
}

fn exchange_once(
    transport: &Transport,
    sessions: &Sessions,
    place: &Endpoint,
    question: &Question<'_>,
) -> Result<Answer> {
    let asked = place.asked(question.what);
    let scope = format!("repository:{}:pull", place.repository);
    let conversation =
        Conversation { transport, place, asked: &asked, url: place.url(question.path), question };
    let mut access = Access {
        authority: place.authority.clone(),
        scheme: transport.current_scheme(&place.authority, place.scheme),
        domain: place.domain.clone(),
        scope,
    };
    let grant = sessions.current(transport, &access).map_err(|error| about(error, &asked))?;
    let answer = conversation.send(grant.as_ref())?;
    // Only the registry itself may ask for the credential (CVE-2020-15157).
    if answer.status != 401 || (answer.elsewhere && stands(Guard::OnlyTheRegistryIsAnswered)) {
        return expect_success(answer, &asked, is_logged_in(grant.as_ref()));
    }
    access.scheme = answer.url.scheme;
    let challenge = match challenge_of(&answer) {
        Ok(challenge) => challenge,
        Err(reason) => return Err(Error::Token { registry: place.label.clone(), reason }),
    };
    let renewed = sessions.renew(transport, &access, grant.as_ref(), challenge);
    match renewed.map_err(|error| about(error, &asked))? {
        Some(renewed) => {
            answer.drain();
            expect_success(conversation.send(Some(&renewed))?, &asked, renewed.logged_in)
        }
        None => Err(error_of(answer, &asked, is_logged_in(grant.as_ref()))),
    }
}

/// Makes a refusal of the token server one of what was asked: that is what the user knows.
fn about(error: Error, asked: &Asked) -> Error {
    match error {
        Error::Denied { registry, logged_in, detail, .. } => Error::Denied {
            what: asked.what.clone(),
            registry: asked.registry.clone(),
            domain: asked.domain.clone(),
            logged_in,
            detail: if detail.is_empty() {
                format!("by {registry}")
            } else {
                format!("{registry}: {detail}")
            },
        },
        other => other,
    }
}

struct Conversation<'a> {
    transport: &'a Transport,
    place: &'a Endpoint,
    asked: &'a Asked,
    url: Url,
    question: &'a Question<'a>,
}

impl Conversation<'_> {
    fn send(&self, grant: Option<&Grant>) -> Result<Answer> {
        let request = Request {
            method: self.question.method,
            url: self.url.clone(),
            accept: self.question.accept,
            authorization: grant.map(|grant| &*grant.header),
            offset: self.question.offset,
        };
        self.transport.send(&request, self.place.scheme).map_err(|failure| failure.asked(self.asked))
    }
}

pub(crate) fn challenge_of(answer: &Answer) -> Result<Challenge, String> {
    let values = answer.headers.get_all("www-authenticate").iter();
    Challenge::choose(values.filter_map(|value| value.to_str().ok()))
}

fn is_logged_in(grant: Option<&Grant>) -> bool {
    grant.is_some_and(|grant| grant.logged_in)
}
