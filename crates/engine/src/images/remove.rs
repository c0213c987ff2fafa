//! `rmi`, `image prune`, and the sweep of what nobody uses any more.

use std::collections::HashSet;

use image::{Live, Reclaimed};
use oci::{Digest, ImageRef};

use crate::Engine;
use crate::containers::Pruned;
use crate::db::ImageRow;
use crate::error::{Doing, Error, Result};
use crate::events::{Event, Kind};
use crate::model::Image;

/// One thing that a removal did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RemovedImage {
    /// A name was taken away.
    Untagged(ImageRef),
    /// The image is gone.
    Deleted(Digest),
}

/// What becomes of what an operation brought in before it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnFailure {
    /// It goes.
    Remove,
    /// It stays for a repetition, until the next operation that succeeds, unless the disk is full.
    Keep,
}

impl Engine {
    /// Runs `body` under a lease. Afterwards sweeps when there is something to find: what killed operations left, or what
    /// this one left that failed.
    pub(crate) fn under_lease<T>(
        &self,
        on_failure: OnFailure,
        doing: impl Fn() -> String,
        body: impl FnOnce(&image::Lease) -> Result<T>,
    ) -> Result<T> {
        let lease = self.store()?.lease().doing(doing)?;
        match body(&lease) {
            Ok(value) => {
                if lease.finds_remains() {
                    // What was asked for is done; the lease tells the next one to sweep.
                    let _ = self.sweep_under(lease);
                }
                Ok(value)
            }
            Err(error) if on_failure == OnFailure::Keep && !is_full(&error) => {
                lease.abandon();
                Err(error)
            }
            Err(error) => {
                drop(lease);
                // The first error is the one that is told.
                let _ = self.sweep();
                Err(error)
            }
        }
    }

    /// Removes a name of an image, and the image with its last name. An id removes all names, with `force` even several.
    pub fn remove_image(&self, name: &str, force: bool) -> Result<Vec<RemovedImage>> {
        let row = self.find_image(name).inspect_err(|_| self.sweep_remains())?;
        let names: Vec<ImageRef> = self.names_of(&row)?;
        let by_name = name.parse::<ImageRef>().ok().filter(|reference| names.contains(reference));
        let mut done = Vec::new();
        let (tags, digests): (Vec<_>, Vec<_>) = names.into_iter().partition(|name| name.digest.is_none());
        let taken: Vec<ImageRef> = match &by_name {
            Some(reference)
                if tags.iter().any(|tag| tag != reference)
                    || reference.digest.is_some() && !tags.is_empty() =>
            {
                vec![reference.clone()]
            }
            _ => tags.iter().chain(&digests).cloned().collect(),
        };
        let repositories: HashSet<String> = tags.iter().map(ImageRef::name).collect();
        if by_name.is_none() && repositories.len() > 1 && !force {
            return Err(Error::Conflict(format!(
                "conflict: unable to delete {} (must be forced) - image is referenced in multiple repositories",
                row.id.short()
            )));
        }
        let last = taken.len() == tags.len() + digests.len();
        let users = self.db()?.image_users(&row.id)?;
        if let (true, Some((id, _))) = (last, users.first()) {
            let running = users
                .iter()
                .any(|(id, _)| self.row(id.as_str()).is_ok_and(|row| self.state_of(&row).status.is_alive()));
            if !force || running || by_name.is_none() {
                let (kind, how) =
                    if running { ("running ", "cannot be forced") } else { ("stopped ", "must be forced") };
                return Err(Error::Conflict(format!(
                    "conflict: unable to {} {} ({how}) - image is being used by {kind}container {}",
                    if by_name.is_some() { "remove repository reference" } else { "delete" },
                    by_name
                        .map_or_else(|| row.id.short().to_owned(), |name| format!("\"{}\"", name.familiar())),
                    id.short()
                )));
            }
        }
        // Held until the end: when this is killed, the lease tells the next operation to sweep.
        let lease = self.store()?.lease().doing(|| format!("cannot remove {name}"))?;
        for name in taken {
            if self.db()?.remove_ref(&name)? {
                self.record_image_event("untag", &row.id, &name.familiar());
                done.push(RemovedImage::Untagged(name));
            }
        }
        if last && self.db()?.remove_image(&row.id)? {
            self.record_image_event("delete", &row.id, row.id.as_str());
            done.push(RemovedImage::Deleted(row.id));
            self.sweep_under(lease)?;
        }
        Ok(done)
    }

    /// Sweeps when somebody was killed under a lease, perhaps in the removal that is now repeated.
    fn sweep_remains(&self) {
        let Ok(lease) = self.store().and_then(|store| store.lease().doing(String::new)) else { return };
        if lease.finds_remains() {
            // What cannot be swept now is found by the next one.
            let _ = self.sweep_under(lease);
        }
    }

    /// Sweeps under a lease that tells the next operation to sweep if this one is killed or fails.
    fn sweep_under(&self, lease: image::Lease) -> Result<Reclaimed> {
        let swept = self.sweep();
        if swept.is_err() {
            lease.abandon();
        }
        swept
    }

    /// Records what happened to an image that went by `name`.
    pub(crate) fn record_image_event(&self, action: &str, id: &Digest, name: &str) {
        self.record(&[Event::new(Kind::Image, action, id.as_str()).with("name", name)]);
    }

    fn names_of(&self, row: &ImageRow) -> Result<Vec<ImageRef>> {
        Ok(self.db()?.refs()?.into_iter().filter(|(_, id)| *id == row.id).map(|(name, _)| name).collect())
    }

    /// Removes images without a tag, or all without a container, that `wanted` picks.
    pub fn prune_images(
        &self,
        all: bool,
        wanted: &dyn Fn(&Image) -> bool,
    ) -> Result<(Vec<RemovedImage>, Pruned)> {
        let mut removed = Vec::new();
        let lease = self.store()?.lease().doing(|| "cannot remove unused images".to_owned())?;
        for image in self.images()? {
            if image.containers > 0 || !(all || image.tags.is_empty()) || !wanted(&image) {
                continue;
            }
            for name in image.tags.iter().chain(&image.digests) {
                if self.db()?.remove_ref(name)? {
                    self.record_image_event("untag", &image.id, &name.familiar());
                    removed.push(RemovedImage::Untagged(name.clone()));
                }
            }
            if self.db()?.remove_image(&image.id)? {
                self.record_image_event("delete", &image.id, image.id.as_str());
                removed.push(RemovedImage::Deleted(image.id));
            }
        }
        let reclaimed = self.sweep_under(lease)?;
        self.record(&[Event::new(Kind::Image, "prune", "").with("reclaimed", reclaimed.bytes)]);
        let deleted = removed.iter().filter_map(|one| match one {
            RemovedImage::Deleted(id) => Some(id.to_string()),
            RemovedImage::Untagged(_) => None,
        });
        Ok((removed.clone(), Pruned { deleted: deleted.collect(), bytes: reclaimed.bytes }))
    }

    /// Removes every blob, layer and snapshot that no image and no container uses.
    pub(crate) fn sweep(&self) -> Result<Reclaimed> {
        let doing = || "cannot remove what nobody uses any more".to_owned();
        let sweep = self.store()?.begin_sweep().doing(doing)?;
        let mut live = Live::default();
        for row in self.db()?.images()? {
            live.layers.extend(row.diff_ids());
            live.blobs.extend(row.blobs);
        }
        for row in self.db()?.containers()? {
            live.layers.extend(row.layers);
            live.snapshots.insert(row.id.to_string());
        }
        sweep.run(&live).doing(doing)
    }
}

/// Whether an error comes from a disk without space or without room for another file.
fn is_full(error: &Error) -> bool {
    use std::io::ErrorKind::{QuotaExceeded, StorageFull};
    let first: Option<&dyn std::error::Error> = Some(error);
    std::iter::successors(first, |error| error.source())
        .filter_map(|error| error.downcast_ref::<std::io::Error>())
        .any(|error| matches!(error.kind(), StorageFull | QuotaExceeded))
}
