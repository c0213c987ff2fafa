//! Images: names for what the store holds. The database knows names and records, the store has the bytes, a registry or
//! an archive brings them; this module joins the three.

mod load;
mod remove;

use base::error::render_chain;
use image::{FetchOptions, LoadedImage, StoredImage};
use oci::{Digest, ImageRef, Platform};
use registry::{Client, Credential, StoredCredentials};
use remove::OnFailure;

use crate::Engine;
use crate::db::ImageRow;
use crate::error::{Doing, Error, Result};
use crate::events::{Event, Kind};
use crate::model::Image;

pub use image::{LayerEvent, Progress, SaveFormat};
pub use remove::RemovedImage;

/// Whoever draws the progress of a pull or load.
pub trait PullProgress: image::Progress {
    /// Takes a line for the person who waits.
    fn message(&self, text: &str);
}

/// Nobody waits.
#[derive(Debug, Clone, Copy)]
pub struct Quiet;

impl image::Progress for Quiet {
    fn layer(&self, _: &Digest, _: LayerEvent<'_>) {}
}

impl PullProgress for Quiet {
    fn message(&self, _: &str) {}
}

/// What to pull.
#[derive(Debug, Clone, Default)]
pub struct PullOptions {
    /// `os/arch[/variant]`; none means the machine's.
    pub platform: Option<String>,
}

/// A pull that succeeded.
#[derive(Debug, Clone)]
pub struct Pulled {
    /// The image.
    pub image: Image,
    /// The name it has now.
    pub reference: ImageRef,
    /// What the registry calls it: the digest of the index, if there is one, else of the manifest.
    pub digest: Digest,
    /// Whether it was not in the store before.
    pub newer: bool,
}

/// One line of `history`.
#[derive(Debug, Clone)]
pub struct HistoryEntry {
    /// The image, for the newest line; none for what lies below.
    pub id: Option<Digest>,
    /// When, RFC 3339 as written in the image.
    pub created: Option<String>,
    /// The command.
    pub created_by: String,
    /// A remark.
    pub comment: String,
    /// Unpacked bytes of its layer; 0 where it made none.
    pub size: u64,
    /// Names of the image.
    pub tags: Vec<ImageRef>,
}

/// What `login` did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedIn {
    /// Whether the registry asked for a credential and took this one.
    pub checked: bool,
    /// The credential helper that keeps it; none means the file.
    pub keeper: Option<String>,
    /// The file.
    pub path: std::path::PathBuf,
}

impl Engine {
    /// Pulls an image and gives it the name it was asked for by.
    pub fn pull(&self, name: &str, options: &PullOptions, ui: &dyn PullProgress) -> Result<Pulled> {
        let reference: ImageRef = parse_ref(name)?;
        let platforms = platforms(options.platform.as_deref())?;
        let client = self.registry_client()?;
        ui.message(&match (&reference.tag, &reference.digest) {
            (_, Some(digest)) => format!("{digest}: Pulling from {}", reference.repository),
            (Some(tag), None) => format!("{tag}: Pulling from {}", reference.repository),
            (None, None) => format!("Pulling from {}", reference.repository),
        });
        let doing = || format!("cannot pull {}", reference.familiar());
        let resolved = client.resolve_any(&reference, &platforms).doing(doing)?;
        crate::timings::mark("resolved");
        let digest = resolved.repo_digest().clone();
        // Nothing new on the wire and the name is right: the layers need not be looked at.
        let known = self
            .db()?
            .image_by_name(&reference)?
            .filter(|row| row.manifest == oci::ImageSource::manifest(&resolved).digest);
        let by_digest = ImageRef { tag: None, digest: Some(digest.clone()), ..reference.clone() };
        let names = match reference.tag {
            Some(_) => vec![ImageRef { digest: None, ..reference.clone() }, by_digest],
            None => vec![by_digest],
        };
        let stored = self.under_lease(OnFailure::Keep, doing, |lease| {
            let stored = self.store()?.fetch(lease, &resolved, &FetchOptions::default(), ui).doing(doing)?;
            self.record_image(&stored, &names)?;
            Ok(stored)
        })?;
        let event = Event::new(Kind::Image, "pull", reference.familiar());
        self.record(&[
            event.with("name", ImageRef { tag: None, digest: None, ..reference.clone() }.familiar())
        ]);
        crate::timings::mark("fetched");
        Ok(Pulled { image: self.image(&stored.id.to_string())?, reference, digest, newer: known.is_none() })
    }

    /// Opens the file at an `http` or `https` URL, for [`Engine::import`]. No credentials are sent.
    pub fn download(&self, url: &str) -> Result<impl std::io::Read + Send + use<>> {
        self.registry_client()?.download(url).doing(|| format!("cannot import {url}"))
    }

    fn registry_client(&self) -> Result<Client> {
        let variable = |name: &str| std::env::var(name).ok();
        let mut config = self.config().registry.clone();
        config.proxy = config.proxy.clone().or(registry::Proxies::from_env(variable));
        Client::new(config, StoredCredentials::from_env(variable))
            .doing(|| "cannot use the registry configuration".to_owned())
    }

    /// Checks a user's password with a registry and keeps it.
    pub fn login(&self, domain: &str, user: &str, password: &str) -> Result<LoggedIn> {
        let variable = |name: &str| std::env::var(name).ok();
        let login = self
            .registry_client()?
            .ping_login(domain, user, password)
            .doing(|| format!("cannot log in to {domain}"))?;
        let doing = || format!("cannot keep the password for {domain}");
        let mut config = load_credentials(&StoredCredentials::from_env(variable))?;
        config.login(domain, &login.credential).doing(doing)?;
        Ok(LoggedIn { checked: login.checked, keeper: config.keeper(domain), path: config.path().to_owned() })
    }

    /// The user name that is kept for a registry, if there is one.
    pub fn stored_user(&self, domain: &str) -> Result<Option<String>> {
        use registry::CredentialSource as _;
        let stored = StoredCredentials::from_env(|name| std::env::var(name).ok());
        match stored.credential(domain).doing(|| format!("cannot read the credentials of {domain}"))? {
            Credential::Basic { username, .. } => Ok(Some(username)),
            _ => Ok(None),
        }
    }

    /// Forgets the credential of a registry. Returns whether there was one.
    pub fn logout(&self, domain: &str) -> Result<bool> {
        let mut config = load_credentials(&StoredCredentials::from_env(|name| std::env::var(name).ok()))?;
        config.logout(domain).doing(|| format!("cannot forget the credentials of {domain}"))
    }

    /// Records what the store has got, with its names.
    pub(crate) fn record_image(&self, stored: &StoredImage, names: &[ImageRef]) -> Result<bool> {
        self.db()?.put_image(
            &ImageRow {
                id: stored.id.clone(),
                manifest: stored.manifest.digest.clone(),
                config: stored.config.clone(),
                layers: stored
                    .layers
                    .iter()
                    .map(|layer| (layer.diff_id.clone(), layer.size_unpacked))
                    .collect(),
                blobs: stored.blobs(),
                created: stored.config.created.as_deref().and_then(|text| text.parse().ok()),
            },
            names,
        )
    }

    /// Finds the row that `name` means: a name, `sha256:…`, or the beginning of an id.
    pub(crate) fn find_image(&self, name: &str) -> Result<ImageRow> {
        let missing = || Error::NotFound { what: "image", name: name.to_owned() };
        let prefix = name.strip_prefix("sha256:").unwrap_or(name);
        let is_hex = !prefix.is_empty()
            && prefix.len() <= 64
            && prefix.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if !name.starts_with("sha256:") {
            if let Ok(reference) = name.parse::<ImageRef>() {
                if let Some(row) = self.db()?.image_by_name(&reference)? {
                    return Ok(row);
                }
            } else if !is_hex {
                return Err(Error::Invalid(
                    parse_ref(name).err().map_or_else(String::new, |error| error.to_string()),
                ));
            }
        }
        if !is_hex {
            return Err(missing());
        }
        let mut found = self.db()?.images_by_prefix(prefix)?;
        match found.len() {
            0 => Err(missing()),
            1 => found.pop().ok_or_else(missing),
            _ => Err(Error::Ambiguous { what: "image", prefix: name.to_owned() }),
        }
    }

    /// Whether an image is for the platform asked for (none: whatever it is for).
    pub(crate) fn matches_platform(&self, row: &ImageRow, wanted: Option<&str>) -> Result<bool> {
        let Some(wanted) = wanted else { return Ok(true) };
        let have = row.config.platform().normalize();
        Ok(platforms(Some(wanted))?.iter().any(|platform| platform.normalize() == have))
    }

    /// Returns all images, newest first.
    pub fn images(&self) -> Result<Vec<Image>> {
        let refs = self.db()?.refs()?;
        self.db()?.images()?.into_iter().map(|row| self.image_of(row, &refs)).collect()
    }

    /// Returns the image that `name` means.
    pub fn image(&self, name: &str) -> Result<Image> {
        let row = self.find_image(name)?;
        self.image_of(row, &self.db()?.refs()?)
    }

    fn image_of(&self, row: ImageRow, refs: &[(ImageRef, Digest)]) -> Result<Image> {
        let (digests, tags) = refs
            .iter()
            .filter(|(_, id)| *id == row.id)
            .map(|(name, _)| name.clone())
            .partition(|name| name.digest.is_some());
        Ok(Image {
            containers: self.db()?.image_users(&row.id)?.len() as u64,
            size: row.size(),
            layer_sizes: row.layers.iter().map(|(_, size)| *size).collect(),
            id: row.id,
            manifest: row.manifest,
            tags,
            digests,
            created: row.created,
            config: row.config,
        })
    }

    /// Returns the history of an image, newest first.
    pub fn image_history(&self, name: &str) -> Result<Vec<HistoryEntry>> {
        let image = self.image(name)?;
        let mut sizes = image.layer_sizes.iter();
        let mut list: Vec<HistoryEntry> = Vec::new();
        for entry in &image.config.history {
            let size = if entry.empty_layer { 0 } else { sizes.next().copied().unwrap_or(0) };
            list.push(HistoryEntry {
                id: None,
                created: entry.created.clone(),
                created_by: entry.created_by.clone(),
                comment: entry.comment.clone(),
                size,
                tags: Vec::new(),
            });
        }
        // Layers that the history does not tell of.
        for size in sizes {
            list.push(HistoryEntry {
                id: None,
                created: None,
                created_by: String::new(),
                comment: String::new(),
                size: *size,
                tags: Vec::new(),
            });
        }
        list.reverse();
        if let Some(newest) = list.first_mut() {
            newest.id = Some(image.id.clone());
            newest.tags.clone_from(&image.tags);
        }
        Ok(list)
    }

    /// Gives an image another name.
    pub fn tag(&self, source: &str, target: &str) -> Result<()> {
        let row = self.find_image(source)?;
        let target = parse_ref(target)?;
        if target.digest.is_some() {
            return Err(Error::Invalid(format!(
                "invalid target {target}: a tag cannot be made from a digest"
            )));
        }
        let name = target.familiar().to_string();
        self.db()?.put_image(&row, &[target])?;
        self.record_image_event("tag", &row.id, &name);
        Ok(())
    }

    /// Records what an archive brought; names that are no references are left out.
    fn record_loaded(&self, loaded: Vec<LoadedImage>) -> Result<Vec<(Digest, Vec<ImageRef>)>> {
        let mut list = Vec::new();
        for LoadedImage { image, refs } in loaded {
            let names: Vec<ImageRef> = refs.iter().filter_map(|name| name.parse().ok()).collect();
            self.record_image(&image, &names)?;
            let name = refs.first().map_or(image.id.as_str(), String::as_str);
            self.record_image_event("load", &image.id, name);
            list.push((image.id, names));
        }
        Ok(list)
    }
}

fn load_credentials(stored: &StoredCredentials) -> Result<registry::DockerConfig> {
    let config = stored.load().doing(|| "cannot read the stored credentials".to_owned())?;
    config.ok_or_else(|| Error::Invalid("no place for credentials: set DOCKER_CONFIG or HOME".to_owned()))
}

/// Parses a reference; the error has Docker's words.
pub(crate) fn parse_ref(text: &str) -> Result<ImageRef> {
    text.parse().map_err(|error: oci::reference::InvalidRef| Error::Invalid(render_chain(&error)))
}

/// The platforms that will do, best first: the one asked for, or the machine's and what it can run besides.
pub(crate) fn platforms(text: Option<&str>) -> Result<Vec<Platform>> {
    match text {
        Some(text) => {
            let platform: Platform = text
                .parse()
                .map_err(|error: oci::platform::InvalidPlatform| Error::Invalid(render_chain(&error)))?;
            Ok(platform.candidates(false))
        }
        None => Ok(Platform::host().candidates(true)),
    }
}
