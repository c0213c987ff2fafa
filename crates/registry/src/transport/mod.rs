//! One HTTP request and its answer: connections, TLS, proxies, redirects.
//!
//! Redirects are followed here, not by the HTTP library, because a credential must not follow them to another host.

mod failure;
mod tls;

use std::collections::HashMap;
use std::io::Read as _;
use std::sync::{Mutex, PoisonError};

use ureq::http::{HeaderMap, Request as HttpRequest, header};
use ureq::{Agent, Body, BodyReader};

use crate::config::{ConfigError, HostConfig, RegistryConfig};
use crate::guard::{Guard, stands};
use crate::proxy::ureq_proxy;
use crate::url::{Scheme, Url, is_loopback};

pub(crate) use failure::{Asked, Failure, from_io};

/// Registries redirect once, to their storage; a few more hops are generous.
const MOST_REDIRECTS: usize = 5;
/// More of an unwanted body is not worth keeping the connection.
const MOST_DRAINED: u64 = 64 << 10;
/// Room for the head of a request, in bytes: tokens are long, bodies are not.
const LONGEST_HEAD: usize = 32 << 10;
/// Connections kept open per host; as many as layers are fetched at once.
const IDLE_PER_HOST: usize = 8;

/// The methods that we use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    Get,
    Head,
}

/// A request to one URL.
#[derive(Debug, Clone)]
pub(crate) struct Request<'a> {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) accept: Option<&'a str>,
    /// Sent to `url`'s host and to no other.
    pub(crate) authorization: Option<&'a str>,
    /// First byte wanted.
    pub(crate) offset: u64,
}

/// An answer whose body has not been read.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    /// Where it came from, after redirects.
    pub(crate) url: Url,
    /// Whether it came from a host that is not the one asked.
    pub(crate) elsewhere: bool,
    body: Body,
}

/// Which scheme an endpoint speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SchemeChoice {
    Only(Scheme),
    /// Loopback without configuration: plain HTTP, and TLS when that is not understood.
    PlainFirst,
}

#[derive(Debug, PartialEq, Eq, Hash, Clone)]
struct AgentKey {
    /// The host whose TLS settings are used; `None` for the usual ones and for plain HTTP.
    settings: Option<String>,
    scheme: Scheme,
    proxy: Option<String>,
}

/// All connections of a client.
#[derive(Debug)]
pub(crate) struct Transport {
    config: RegistryConfig,
    roots: tls::SystemRoots,
    agents: Mutex<HashMap<AgentKey, Agent>>,
    /// What loopback hosts turned out to speak.
    spoken: Mutex<HashMap<String, Scheme>>,
}

impl Answer {
    /// Returns a header's text; one that is not ASCII counts as absent.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    pub(crate) fn content_length(&self) -> Option<u64> {
        self.header("content-length").and_then(|text| text.parse().ok())
    }

    /// Returns the body as a stream.
    pub(crate) fn into_reader(self) -> BodyReader<'static> {
        self.body.into_reader()
    }

    /// Reads the body, at most `limit` bytes and one more, which tells that there are more.
    pub(crate) fn read(self, limit: u64) -> Result<Vec<u8>, Failure> {
        let mut bytes = Vec::new();
        self.body
            .into_reader()
            .take(limit + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| Failure::from(from_io(error)))?;
        Ok(bytes)
    }

    /// Reads what is left, so that the connection can be used again.
    pub(crate) fn drain(self) {
        // A body that breaks here costs the connection and nothing else.
        let _ = std::io::copy(&mut self.body.into_reader().take(MOST_DRAINED), &mut std::io::sink());
    }
}

impl Transport {
    pub(crate) fn new(config: RegistryConfig) -> Self {
        Self {
            config,
            roots: tls::SystemRoots::default(),
            agents: Mutex::default(),
            spoken: Mutex::default(),
        }
    }

    pub(crate) fn config(&self) -> &RegistryConfig {
        &self.config
    }

    /// Sends `request` to an endpoint whose scheme is `choice`, following redirects.
    pub(crate) fn send(&self, request: &Request<'_>, choice: SchemeChoice) -> Result<Answer, Failure> {
        let scheme = match choice {
            SchemeChoice::Only(scheme) => Some(scheme),
            SchemeChoice::PlainFirst => lock(&self.spoken).get(&request.url.authority).copied(),
        };
        match scheme {
            Some(scheme) => self.follow(with_scheme(request, scheme)),
            None => self.discover(request),
        }
    }

    /// Asks by plain HTTP; what a TLS server answers to that (400, or no HTTP at all) leads to a second try by TLS.
    fn discover(&self, request: &Request<'_>) -> Result<Answer, Failure> {
        let plain = self.follow(with_scheme(request, Scheme::Http));
        let scheme = match &plain {
            Ok(answer) if answer.status != 400 => Scheme::Http,
            Err(failure) if !failure.may_be_tls() => return plain,
            _ => match self.follow(with_scheme(request, Scheme::Https)) {
                Err(failure) if failure.is_not_tls() => return plain,
                secure => {
                    lock(&self.spoken).insert(request.url.authority.clone(), Scheme::Https);
                    return secure;
                }
            },
        };
        lock(&self.spoken).insert(request.url.authority.clone(), scheme);
        plain
    }

    fn follow(&self, mut request: Request<'_>) -> Result<Answer, Failure> {
        let asked = request.url.clone();
        for _ in 0..=MOST_REDIRECTS {
            let answer = self.send_once(&request)?;
            if !matches!(answer.status, 301 | 302 | 303 | 307 | 308) {
                return Ok(Answer { elsewhere: !asked.shares_credentials_with(&request.url), ..answer });
            }
            let location =
                answer.header("location").ok_or_else(|| Failure::Redirect("it names no place".to_owned()))?;
            let next = self.redirected(&request.url, location)?;
            if stands(Guard::CredentialsStay) && !request.url.shares_credentials_with(&next) {
                request.authorization = None;
            }
            request.url = next;
            answer.drain();
        }
        Err(Failure::Redirect(format!("more than {MOST_REDIRECTS} in a row")))
    }

    /// Decides where a redirect leads; one that leaves TLS is refused unless plain HTTP is configured for its host.
    fn redirected(&self, from: &Url, location: &str) -> Result<Url, Failure> {
        let shown = crate::error::clean(location);
        let next = from.join(location).map_err(|error| Failure::Redirect(format!("{shown:?} {error}")))?;
        let host = self.settings_of(&next.authority).map(|(_, host)| host);
        if host.is_some_and(|host| host.blocked) {
            return Err(Failure::Redirect(format!("{shown:?} leads to a blocked host")));
        }
        let configured = host.and_then(|host| host.insecure_http);
        let plain_ok =
            configured.unwrap_or_else(|| from.scheme == Scheme::Http && is_loopback(&next.authority));
        if next.scheme == Scheme::Http && !plain_ok && stands(Guard::NoWayOutOfTls) {
            return Err(Failure::Redirect(format!("{shown:?} leads to plain HTTP")));
        }
        Ok(next)
    }

    fn send_once(&self, request: &Request<'_>) -> Result<Answer, Failure> {
        let mut builder = HttpRequest::builder().uri(request.url.to_string());
        builder = match request.method {
            Method::Get => builder.method("GET"),
            Method::Head => builder.method("HEAD"),
        };
        if let Some(accept) = request.accept {
            builder = builder.header(header::ACCEPT, accept);
        }
        if let Some(authorization) = request.authorization {
            builder = builder.header(header::AUTHORIZATION, authorization);
        }
        if request.offset > 0 {
            builder = builder.header(header::RANGE, format!("bytes={}-", request.offset));
        }
        let http = builder.body(()).map_err(|error| Failure::from(ureq::Error::Http(error)))?;
        let answer =
            self.agent(&request.url)?.run(http).map_err(|error| self.failure(error, &request.url))?;
        Ok(Answer::new(answer, &request.url))
    }

    /// Posts a form to a token server; redirects are not followed, because the form holds a secret.
    pub(crate) fn post(&self, url: &Url, form: String) -> Result<Answer, Failure> {
        let request = HttpRequest::builder()
            .method("POST")
            .uri(url.to_string())
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form)
            .map_err(|error| Failure::from(ureq::Error::Http(error)))?;
        let answer = self.agent(url)?.run(request).map_err(|error| self.failure(error, url))?;
        Ok(Answer::new(answer, url))
    }

    fn failure(&self, error: ureq::Error, url: &Url) -> Failure {
        Failure::from(error).with_hint(url)
    }

    /// Returns the settings for a host as it stands in URLs, and the name that they have in the configuration.
    fn settings_of(&self, authority: &str) -> Option<(&str, &HostConfig)> {
        let domain =
            if authority == crate::endpoint::HUB_HOST { oci::reference::DEFAULT_DOMAIN } else { authority };
        self.config.hosts.get_key_value(domain).map(|(name, host)| (name.as_str(), host))
    }

    /// Says which scheme a host speaks that is named without one.
    pub(crate) fn scheme_of(&self, authority: &str) -> SchemeChoice {
        match self.settings_of(authority).and_then(|(_, host)| host.insecure_http) {
            Some(true) => SchemeChoice::Only(Scheme::Http),
            Some(false) => SchemeChoice::Only(Scheme::Https),
            None if is_loopback(authority) => SchemeChoice::PlainFirst,
            None => SchemeChoice::Only(Scheme::Https),
        }
    }

    /// Says by which scheme an endpoint was reached last, or will be first.
    pub(crate) fn current_scheme(&self, authority: &str, choice: SchemeChoice) -> Scheme {
        match choice {
            SchemeChoice::Only(scheme) => scheme,
            SchemeChoice::PlainFirst => lock(&self.spoken).get(authority).copied().unwrap_or(Scheme::Http),
        }
    }

    fn agent(&self, url: &Url) -> Result<Agent, ConfigError> {
        let configured = self.settings_of(&url.authority).filter(|_| url.scheme == Scheme::Https);
        let key = AgentKey {
            settings: configured.map(|(name, _)| name.to_owned()),
            scheme: url.scheme,
            proxy: self.config.proxy.choose(url).map(str::to_owned),
        };
        let mut agents = lock(&self.agents);
        if let Some(agent) = agents.get(&key) {
            return Ok(agent.clone());
        }
        let agent = self.new_agent(url, &key, configured.map(|(_, host)| host))?;
        agents.insert(key, agent.clone());
        Ok(agent)
    }

    fn new_agent(&self, url: &Url, key: &AgentKey, host: Option<&HostConfig>) -> Result<Agent, ConfigError> {
        let proxy = key.proxy.as_deref().map(ureq_proxy).transpose()?;
        let mut builder = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(&self.config.user_agent)
            .accept_encoding("identity")
            .timeout_connect(Some(self.config.connect_timeout))
            .timeout_per_read(Some(self.config.idle_timeout))
            .timeout_per_write(Some(self.config.idle_timeout))
            .output_buffer_size(LONGEST_HEAD)
            .max_idle_connections(4 * IDLE_PER_HOST)
            .max_idle_connections_per_host(IDLE_PER_HOST);
        // A proxy may itself be reached by TLS.
        let proxy_tls = key.proxy.as_deref().is_some_and(|proxy| proxy.starts_with("https://"));
        if url.scheme == Scheme::Https || proxy_tls {
            builder = builder.tls_config(tls::settings(&url.authority, host, &self.roots)?);
        }
        Ok(builder.proxy(proxy).build().new_agent())
    }

    #[cfg(test)]
    pub(crate) fn read_system_roots(&self) -> bool {
        self.roots.were_read()
    }
}

impl Answer {
    fn new(answer: ureq::http::Response<Body>, url: &Url) -> Self {
        let (parts, body) = answer.into_parts();
        Self {
            status: parts.status.as_u16(),
            headers: parts.headers,
            url: url.clone(),
            elsewhere: false,
            body,
        }
    }
}

fn with_scheme<'a>(request: &Request<'a>, scheme: Scheme) -> Request<'a> {
    Request { url: Url { scheme, ..request.url.clone() }, ..request.clone() }
}

/// A thread that panicked held the lock only around a map's own calls: the map is whole.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
