//! A small real registry inside the test: pull side of distribution-spec 1.1, with tokens, passwords, ranges, TLS,
//! and every way to misbehave that a client must survive.
//!
//! It listens on a loopback port of its own and ends with its value. What was asked can be read back, so that a test
//! can say that no credential went where it must not.
//!
//! ```no_run
//! use testkit::registry::{FakeRegistry, Fault};
//! let registry = FakeRegistry::start();
//! let image = registry.put_image("me/app", "1", &[b"layer".to_vec()]);
//! registry.inject(&format!("blobs/{}", image.layers[0].digest), 1, Fault::BreakAfter(3));
//! let name = format!("{}/me/app:1", registry.host());
//! ```

mod answer;
mod http;
#[cfg(feature = "registry-tls")]
pub mod tls;

use std::collections::{HashMap, HashSet};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use oci::manifest::{OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST};
use oci::{BlobDescriptor, Digest};
use serde_json::{Value, json};

pub use http::Seen;

/// Who may read.
#[derive(Debug, Clone, Default)]
pub enum Access {
    /// Everybody.
    #[default]
    Open,
    /// Who sends this user and password.
    Basic {
        /// User name.
        user: String,
        /// Password.
        password: String,
    },
    /// Who has a token of the token server.
    Token(TokenServer),
}

/// How tokens are given.
#[derive(Debug, Clone)]
pub struct TokenServer {
    /// URL in the challenge; `None` is `/token` of the registry itself.
    pub realm: Option<String>,
    /// User and password that get a token; `None` gives one to everybody.
    pub login: Option<(String, String)>,
    /// Identity token that is given at a login and taken instead of a password.
    pub identity_token: Option<String>,
    /// Life of a token, in seconds.
    pub expires_in: u64,
}

impl Default for TokenServer {
    fn default() -> Self {
        Self { realm: None, login: None, identity_token: None, expires_in: 300 }
    }
}

/// How a registry misbehaves.
#[derive(Debug, Clone)]
pub enum Fault {
    /// Answers with a status, headers and a body.
    Status(u16, Vec<(String, String)>, String),
    /// Announces the whole body, sends this many bytes of it, and closes.
    BreakAfter(usize),
    /// Sends the head, waits, and goes on.
    Stall(Duration),
    /// Sends the body and then zeros until the client leaves; announces no length.
    Endless,
    /// Sends other bytes, announced as the right ones.
    OtherBody(Vec<u8>),
    /// Sends this header instead of its own.
    Header(String, String),
    /// Sends the whole although a part was asked.
    IgnoreRange,
    /// Sends the client elsewhere.
    Redirect(String),
    /// Closes the connection without an answer.
    Hangup,
    /// Answers with bytes that are no HTTP.
    Garbage,
}

/// How a registry is made.
#[derive(Debug, Default)]
pub struct Setup {
    /// Who may read.
    pub access: Access,
    /// Certificate and key; `None` is plain HTTP.
    #[cfg(feature = "registry-tls")]
    pub tls: Option<tls::Identity>,
}

/// An image as the registry has it.
#[derive(Debug, Clone)]
pub struct FakeImage {
    /// The manifest.
    pub manifest: BlobDescriptor,
    /// The configuration.
    pub config: BlobDescriptor,
    /// The layers, bottom first.
    pub layers: Vec<BlobDescriptor>,
}

/// The running registry.
#[derive(Debug)]
pub struct FakeRegistry {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    setup: Setup,
    address: SocketAddr,
    stopping: AtomicBool,
    content: Mutex<Content>,
    connections: Mutex<Vec<(TcpStream, JoinHandle<()>)>>,
}

#[derive(Debug, Default)]
struct Content {
    /// By repository and tag or digest: media type and bytes.
    manifests: HashMap<(String, String), (String, Vec<u8>)>,
    /// By repository and digest.
    blobs: HashMap<(String, String), Vec<u8>>,
    faults: Vec<Injected>,
    seen: Vec<Seen>,
    tokens: HashMap<String, Instant>,
    tokens_given: usize,
    /// Methods that are not allowed.
    forbidden: HashSet<String>,
}

#[derive(Debug)]
struct Injected {
    path: String,
    left: usize,
    fault: Fault,
}

impl FakeRegistry {
    /// Starts an open registry over plain HTTP.
    pub fn start() -> Self {
        Self::start_with(Setup::default())
    }

    /// Starts a registry.
    pub fn start_with(setup: Setup) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port is free");
        let address = listener.local_addr().expect("a bound socket has an address");
        let shared = Arc::new(Shared {
            setup,
            address,
            stopping: AtomicBool::new(false),
            content: Mutex::default(),
            connections: Mutex::default(),
        });
        let acceptor = thread::spawn({
            let shared = Arc::clone(&shared);
            move || accept(&listener, &shared)
        });
        Self { address, shared, acceptor: Some(acceptor) }
    }

    /// Returns `127.0.0.1:PORT`, the domain of references to it.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// Adds a blob to `repository`.
    pub fn put_blob(&self, repository: &str, bytes: &[u8]) -> Digest {
        let digest = Digest::of(bytes);
        self.content().blobs.insert((repository.to_owned(), digest.to_string()), bytes.to_vec());
        digest
    }

    /// Adds a document to `repository`, under its digest and under `tag`.
    pub fn put_manifest(
        &self,
        repository: &str,
        tag: &str,
        media_type: &str,
        bytes: &[u8],
    ) -> BlobDescriptor {
        let digest = Digest::of(bytes);
        let entry = (media_type.to_owned(), bytes.to_vec());
        let mut content = self.content();
        content.manifests.insert((repository.to_owned(), tag.to_owned()), entry.clone());
        content.manifests.insert((repository.to_owned(), digest.to_string()), entry);
        BlobDescriptor { media_type: media_type.to_owned(), digest, size: bytes.len() as u64 }
    }

    /// Adds an image of uncompressed layers (tar archives, if somebody is to unpack them).
    pub fn put_image(&self, repository: &str, tag: &str, layers: &[Vec<u8>]) -> FakeImage {
        let diff_ids: Vec<String> = layers.iter().map(|layer| Digest::of(layer).to_string()).collect();
        let config = json!({
            "architecture": oci::Platform::host().architecture, "os": "linux", "config": {},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        self.put_image_with(repository, tag, &config, OCI_LAYER, layers)
    }

    /// Adds an image with a configuration and layers of one media type, as they travel.
    pub fn put_image_with(
        &self,
        repository: &str,
        tag: &str,
        config: &Value,
        layer_type: &str,
        layers: &[Vec<u8>],
    ) -> FakeImage {
        let put = |media_type: &str, bytes: &[u8]| BlobDescriptor {
            media_type: media_type.to_owned(),
            digest: self.put_blob(repository, bytes),
            size: bytes.len() as u64,
        };
        let config = put(OCI_CONFIG, config.to_string().as_bytes());
        let layers: Vec<_> = layers.iter().map(|layer| put(layer_type, layer)).collect();
        let manifest = json!({
            "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": descriptor(&config),
            "layers": layers.iter().map(descriptor).collect::<Vec<_>>(),
        });
        let manifest = self.put_manifest(repository, tag, OCI_MANIFEST, manifest.to_string().as_bytes());
        FakeImage { manifest, config, layers }
    }

    /// Adds an index of manifests for platforms (`linux/arm64`).
    pub fn put_index(
        &self,
        repository: &str,
        tag: &str,
        entries: &[(&str, &BlobDescriptor)],
    ) -> BlobDescriptor {
        let manifests: Vec<Value> = entries
            .iter()
            .map(|(platform, manifest)| {
                let mut parts = platform.split('/');
                let mut part = || parts.next().unwrap_or_default().to_owned();
                let mut entry = descriptor(manifest);
                entry["platform"] = json!({"os": part(), "architecture": part(), "variant": part()});
                entry
            })
            .collect();
        let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests});
        self.put_manifest(repository, tag, OCI_INDEX, index.to_string().as_bytes())
    }

    /// Misbehaves at the next `times` requests whose path contains `path`.
    pub fn inject(&self, path: &str, times: usize, fault: Fault) {
        self.content().faults.push(Injected { path: path.to_owned(), left: times, fault });
    }

    /// Answers 405 to every request of `method`.
    pub fn forbid_method(&self, method: &str) {
        self.content().forbidden.insert(method.to_owned());
    }

    /// Makes every token that was given worthless.
    pub fn revoke_tokens(&self) {
        self.content().tokens.clear();
    }

    /// Returns what was asked so far, in order.
    pub fn seen(&self) -> Vec<Seen> {
        self.content().seen.clone()
    }

    /// Returns how many requests had `part` in their path.
    pub fn count(&self, part: &str) -> usize {
        self.content().seen.iter().filter(|seen| seen.path.contains(part)).count()
    }

    fn content(&self) -> MutexGuard<'_, Content> {
        self.shared.content()
    }
}

impl Drop for FakeRegistry {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        // Wakes the acceptor; that it fails means that nobody accepts any more.
        let _ = TcpStream::connect(self.address);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
        let connections = std::mem::take(&mut *lock(&self.shared.connections));
        for (stream, thread) in connections {
            let _ = stream.shutdown(Shutdown::Both);
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn content(&self) -> MutexGuard<'_, Content> {
        lock(&self.content)
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    /// Takes the fault that is meant for `path`, if any is left.
    fn take_fault(&self, path: &str) -> Option<Fault> {
        let mut content = self.content();
        let found = content.faults.iter_mut().find(|fault| fault.left > 0 && path.contains(&fault.path))?;
        found.left -= 1;
        Some(found.fault.clone())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn descriptor(blob: &BlobDescriptor) -> Value {
    json!({"mediaType": blob.media_type, "digest": blob.digest.as_str(), "size": blob.size})
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        if shared.is_stopping() {
            return;
        }
        let Ok(stream) = stream else { continue };
        let Ok(handle) = stream.try_clone() else { continue };
        let thread = thread::spawn({
            let shared = Arc::clone(shared);
            move || serve(stream, &shared)
        });
        lock(&shared.connections).push((handle, thread));
    }
}

fn serve(stream: TcpStream, shared: &Shared) {
    let handle = stream.try_clone();
    #[cfg(feature = "registry-tls")]
    if let Some(identity) = &shared.setup.tls {
        // A client that speaks no TLS gets an alert and the end of the connection.
        if let Ok(mut stream) = identity.accept(stream) {
            http::serve(&mut stream, shared);
        }
        end(handle);
        return;
    }
    let mut stream = stream;
    http::serve(&mut stream, shared);
    end(handle);
}

/// Ends the connection for both sides although the registry keeps a handle to it.
fn end(handle: std::io::Result<TcpStream>) {
    if let Ok(handle) = handle {
        // The client may have ended it already.
        let _ = handle.shutdown(Shutdown::Both);
    }
}
