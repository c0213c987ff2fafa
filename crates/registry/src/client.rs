//! The client: resolves references at a registry and its mirrors, and is the source of what it resolved.

use std::error::Error as StdError;
use std::io::{self, Read};
use std::sync::Arc;

use oci::manifest::{self, Document, MAX_JSON};
use oci::{BlobDescriptor, Digest, ImageRef, ImageSource, Platform, RawManifest, SourceError};

use crate::auth::{CredentialSource, Sessions};
use crate::blob::{BlobReader, Broken, read_blob};
use crate::config::RegistryConfig;
use crate::endpoint::{Endpoint, plan};
use crate::error::{Error, Lie, Result, clean};
use crate::exchange::{Patience, Question, exchange, exchange_whole};
use crate::guard::{Guard, stands};
use crate::transport::{Answer, Asked, Method, Transport};

/// Speaks with registries. Cheap to make: neither certificates nor credentials are read before a registry wants them.
///
/// Clones share connections, tokens and credentials.
#[derive(Debug, Clone)]
pub struct Client {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) transport: Transport,
    pub(crate) sessions: Sessions,
}

/// An image that was found: its verified manifest, and where its blobs are.
#[derive(Debug)]
pub struct Resolved {
    inner: Arc<Inner>,
    reference: ImageRef,
    manifest: RawManifest,
    index: Option<RawManifest>,
    /// All places, the one that had the manifest first.
    places: Vec<Endpoint>,
    broken: Broken,
}

impl Client {
    /// Makes a client; fails only on a configuration that cannot be used.
    pub fn new(config: RegistryConfig, credentials: impl CredentialSource + 'static) -> Result<Self> {
        config.validate()?;
        let sessions = Sessions::new(Box::new(credentials));
        Ok(Self { inner: Arc::new(Inner { transport: Transport::new(config), sessions }) })
    }

    /// Finds the manifest of `reference` for `platform` or, where the index has none, an older variant of it.
    pub fn resolve(&self, reference: &ImageRef, platform: &Platform) -> Result<Resolved> {
        self.resolve_any(reference, &platform.candidates(false))
    }

    /// Finds the manifest of `reference` for the first of `candidates` that its index has.
    ///
    /// The mirrors of the registry are asked first, in order; whatever fails there, the next place is asked.
    pub fn resolve_any(&self, reference: &ImageRef, candidates: &[Platform]) -> Result<Resolved> {
        let what = format!("manifest of {}", reference.familiar());
        let places = self.places(reference)?;
        let (found, place) = try_each(&what, &places, |place, patience| {
            self.inner.resolve_at(place, reference, candidates, &what, patience)
        })?;
        let mut places = places;
        places[..=place].rotate_right(1);
        let (manifest, index) = found;
        let inner = Arc::clone(&self.inner);
        Ok(Resolved {
            inner,
            reference: reference.clone(),
            manifest,
            index,
            places,
            broken: Broken::default(),
        })
    }

    /// Returns the digest that `reference` has now, without fetching anything; `None` if the registry does not say it.
    ///
    /// It is the digest of the index where there is one, and unverified: good for "is there something newer?".
    pub fn current_digest(&self, reference: &ImageRef) -> Result<Option<Digest>> {
        let what = format!("digest of {}", reference.familiar());
        let places = self.places(reference)?;
        let path = format!("manifests/{}", target(reference));
        let (digest, _) = try_each(&what, &places, |place, patience| {
            let accept = manifest::ACCEPTED.join(", ");
            let question = Question {
                method: Method::Head,
                path: &path,
                accept: Some(&accept),
                offset: 0,
                what: &what,
                patience,
            };
            let answer = self.inner.ask(place, &question)?;
            Ok(answer.header("docker-content-digest").and_then(|text| text.parse().ok()))
        })?;
        Ok(digest)
    }

    fn places(&self, reference: &ImageRef) -> Result<Vec<Endpoint>> {
        plan(self.inner.transport.config(), &reference.domain, &reference.repository)
    }
}

/// Asks the places in order until one answers; returns which one did. Only the last one is worth waiting for.
fn try_each<T>(
    what: &str,
    places: &[Endpoint],
    mut ask: impl FnMut(&Endpoint, Patience) -> Result<T>,
) -> Result<(T, usize)> {
    let mut failures = Vec::new();
    for (index, place) in places.iter().enumerate() {
        let patience = if index + 1 == places.len() { Patience::Patient } else { Patience::None };
        match ask(place, patience) {
            Ok(found) => return Ok((found, index)),
            Err(error) => failures.push(error),
        }
    }
    Err(joined(what, failures))
}

fn joined(what: &str, mut failures: Vec<Error>) -> Error {
    match failures.pop() {
        Some(only) if failures.is_empty() => only,
        last => {
            failures.extend(last);
            Error::Everywhere { what: what.to_owned(), attempts: failures }
        }
    }
}

/// Returns what stands after `manifests/`: the digest if there is one, for it says more than a tag.
fn target(reference: &ImageRef) -> &str {
    let digest = reference.digest.as_ref().map(Digest::as_str);
    digest.or(reference.tag.as_deref()).unwrap_or(oci::reference::DEFAULT_TAG)
}

impl Inner {
    pub(crate) fn ask(&self, place: &Endpoint, question: &Question<'_>) -> Result<Answer> {
        exchange(&self.transport, &self.sessions, place, question)
    }

    fn resolve_at(
        &self,
        place: &Endpoint,
        reference: &ImageRef,
        candidates: &[Platform],
        what: &str,
        patience: Patience,
    ) -> Result<(RawManifest, Option<RawManifest>)> {
        let asked = place.asked(what);
        let wanted = Wanted { target: target(reference), digest: reference.digest.as_ref(), size: None };
        let (fetched, media_type) = self.fetch_manifest(place, &wanted, what, patience)?;
        let document =
            manifest::parse(&fetched.bytes, media_type.as_deref()).map_err(|error| refused(&asked, error))?;
        let index = match document {
            Document::Manifest(parsed) => {
                return Ok((RawManifest { media_type: parsed.media_type, ..fetched }, None));
            }
            Document::Index(index) => index,
        };
        let Some(entry) = manifest::select_platform(&index, candidates) else {
            return Err(no_platform(reference, candidates, &index));
        };
        let child = &entry.descriptor;
        let wanted =
            Wanted { target: child.digest.as_str(), digest: Some(&child.digest), size: Some(child.size) };
        let (manifest, media_type) = self.fetch_manifest(place, &wanted, what, patience)?;
        let parsed = manifest::parse_manifest(&manifest.bytes, media_type.as_deref())
            .map_err(|error| refused(&asked, error))?;
        if parsed.media_type != child.media_type {
            let reason = format!(
                "its media type is {:?}, its index says {:?}",
                clean(&parsed.media_type),
                clean(&child.media_type)
            );
            return Err(refused_document(&asked, reason));
        }
        let index = RawManifest { media_type: index.media_type, ..fetched };
        Ok((RawManifest { media_type: parsed.media_type, ..manifest }, Some(index)))
    }

    /// Fetches one document and verifies its digest and size; returns it with the type that it was sent with.
    fn fetch_manifest(
        &self,
        place: &Endpoint,
        wanted: &Wanted<'_>,
        what: &str,
        patience: Patience,
    ) -> Result<(RawManifest, Option<String>)> {
        let asked = place.asked(what);
        let path = format!("manifests/{}", wanted.target);
        let accept = manifest::ACCEPTED.join(", ");
        let question =
            Question { method: Method::Get, path: &path, accept: Some(&accept), offset: 0, what, patience };
        let (headers, bytes) = exchange_whole(&self.transport, &self.sessions, place, &question, MAX_JSON)?;
        let header = |name: &str| {
            headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
        };
        let (media_type, announced) = (header("content-type"), header("docker-content-digest"));
        let lie = |lie| Error::Refused { what: asked.what.clone(), registry: asked.registry.clone(), lie };
        if bytes.len() as u64 > MAX_JSON {
            return Err(lie(Lie::TooLong { limit: MAX_JSON }));
        }
        let digest = Digest::of(&bytes);
        verify(wanted, announced.as_deref(), &digest, bytes.len() as u64).map_err(lie)?;
        Ok((RawManifest { media_type: String::new(), digest, bytes }, media_type))
    }

    /// Opens a blob at one place.
    fn open_blob(
        &self,
        place: &Endpoint,
        blob: &BlobDescriptor,
        offset: u64,
        patience: Patience,
        at: (usize, Broken),
    ) -> Result<BlobReader> {
        let what = format!("blob {} of {}", blob.digest, place.repository);
        let path = format!("blobs/{}", blob.digest);
        let mut question =
            Question { method: Method::Get, path: &path, accept: None, offset, what: &what, patience };
        let answer = match self.ask(place, &question) {
            // A server that cannot serve the part may serve the whole.
            Err(Error::Status { status: 416, .. }) if offset > 0 => {
                question.offset = 0;
                self.ask(place, &question)?
            }
            answer => answer?,
        };
        if question.offset == 0 && answer.status == 206 {
            let answered = clean(answer.header("content-range").unwrap_or_default());
            let lie = Lie::Range { asked: 0, answered };
            return Err(Error::Refused { what, registry: place.label.clone(), lie });
        }
        read_blob(answer, blob, offset, place.asked(&what), at)
    }
}

/// What a manifest must be.
struct Wanted<'a> {
    target: &'a str,
    digest: Option<&'a Digest>,
    size: Option<u64>,
}

/// The one verifier of documents: what was asked, what the registry announces, and what came are the same.
fn verify(wanted: &Wanted<'_>, announced: Option<&str>, digest: &Digest, size: u64) -> Result<(), Lie> {
    if !stands(Guard::DocumentDigest) {
        return Ok(());
    }
    if let Some(expected) = wanted.size.filter(|expected| *expected != size) {
        return Err(Lie::Size { expected, actual: size });
    }
    if let Some(expected) = wanted.digest.filter(|expected| *expected != digest) {
        return Err(Lie::Digest { expected: expected.to_string(), actual: digest.to_string() });
    }
    // Other algorithms than SHA-256 are allowed and say nothing to us.
    match announced {
        Some(text) if text != digest.as_str() && !text.starts_with("sha512:") => {
            Err(Lie::AnnouncedDigest { announced: clean(text), actual: digest.to_string() })
        }
        _ => Ok(()),
    }
}

fn refused(asked: &Asked, error: manifest::InvalidManifest) -> Error {
    refused_document(asked, clean(&error.to_string()))
}

fn refused_document(asked: &Asked, reason: String) -> Error {
    Error::Refused {
        what: asked.what.clone(),
        registry: asked.registry.clone(),
        lie: Lie::Document { reason },
    }
}

fn no_platform(reference: &ImageRef, candidates: &[Platform], index: &manifest::Index) -> Error {
    let mut available: Vec<String> = index
        .entries
        .iter()
        .filter_map(|entry| entry.platform.as_ref())
        .filter(|platform| platform.os != "unknown")
        .map(|platform| clean(&platform.to_string()))
        .collect();
    available.dedup();
    let available = if available.is_empty() { "none".to_owned() } else { available.join(", ") };
    let wanted = candidates.first().map(ToString::to_string).unwrap_or_default();
    Error::NoPlatform { reference: reference.familiar(), wanted, available }
}

impl Resolved {
    /// Returns the reference that was resolved.
    pub fn reference(&self) -> &ImageRef {
        &self.reference
    }

    /// Returns the index that the manifest was chosen from, verified, if there was one.
    pub fn index(&self) -> Option<&RawManifest> {
        self.index.as_ref()
    }

    /// Returns the digest of the index, if there was one.
    pub fn index_digest(&self) -> Option<&Digest> {
        self.index.as_ref().map(|index| &index.digest)
    }

    /// Returns the digest by which the repository knows what was asked: the index's, else the manifest's.
    pub fn repo_digest(&self) -> &Digest {
        self.index_digest().unwrap_or(&self.manifest.digest)
    }

    /// Returns the place that had the manifest, as errors name it.
    pub fn place(&self) -> &str {
        &self.places[0].label
    }

    /// Returns the places in the order in which to ask for a blob: those that broke off come last.
    fn order_for(&self, blob: &BlobDescriptor) -> Vec<usize> {
        let broken = crate::transport::lock(&self.broken);
        let broke = |index: &usize| broken.contains(&(*index, blob.digest.clone()));
        let (bad, good): (Vec<_>, Vec<_>) = (0..self.places.len()).partition(broke);
        good.into_iter().chain(bad).collect()
    }

    fn open(&self, blob: &BlobDescriptor, offset: u64) -> Result<BlobReader> {
        let mut failures = Vec::new();
        let order = self.order_for(blob);
        for (nth, index) in order.iter().copied().enumerate() {
            // The store asks again by itself; only the last place is worth a wait that it imposes.
            let patience = if nth + 1 == order.len() { Patience::WhenTold } else { Patience::None };
            let at = (index, Arc::clone(&self.broken));
            match self.inner.open_blob(&self.places[index], blob, offset, patience, at) {
                Ok(reader) => return Ok(reader),
                Err(error) => failures.push(error),
            }
        }
        Err(joined(&format!("blob {}", blob.digest), failures))
    }
}

impl ImageSource for Resolved {
    fn manifest(&self) -> &RawManifest {
        &self.manifest
    }

    fn open_blob(&self, blob: &BlobDescriptor, offset: u64) -> Result<Box<dyn Read + Send>, SourceError> {
        if offset >= blob.size && blob.size > 0 {
            return Ok(Box::new(io::empty()));
        }
        Ok(Box::new(self.open(blob, offset)?))
    }

    fn is_temporary(&self, error: &(dyn StdError + 'static)) -> bool {
        is_temporary(error)
    }
}

/// Looks for our error in the chain; an I/O error keeps the one that it wraps beside the chain.
fn is_temporary(error: &(dyn StdError + 'static)) -> bool {
    if let Some(ours) = error.downcast_ref::<Error>() {
        return ours.is_temporary();
    }
    let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    match wrapped {
        Some(inner) => is_temporary(inner),
        None => error.source().is_some_and(is_temporary),
    }
}
