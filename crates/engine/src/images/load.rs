//! `load`, `save`, `import`.

use std::io::{Read, Write};

use image::{FetchOptions, ImportOptions, LoadOptions, SaveFormat, SaveItem, parse_changes};
use jiff::Timestamp;
use oci::config::ContainerDefaults;
use oci::{Digest, ImageRef};

use super::remove::OnFailure;
use super::{PullProgress, parse_ref, platforms};
use crate::Engine;
use crate::error::{Doing, Error, Result};

impl Engine {
    /// Loads every image of an archive. Returns each id with the names it has got.
    pub fn load(
        &self,
        archive: &mut (dyn Read + Send),
        ui: &dyn PullProgress,
    ) -> Result<Vec<(Digest, Vec<ImageRef>)>> {
        let doing = || "cannot load the archive".to_owned();
        let platforms = platforms(None)?;
        let options = LoadOptions { platforms: &platforms, fetch: &FetchOptions::default() };
        self.under_lease(OnFailure::Remove, doing, |lease| {
            let loaded = self.store()?.load(lease, archive, &options, ui).doing(doing)?;
            self.record_loaded(loaded)
        })
    }

    /// Writes images as one archive, each with the name it was asked for by (an id: with all its names).
    pub fn save(&self, names: &[String], format: SaveFormat, out: &mut dyn Write) -> Result<()> {
        let items = self.save_items(names)?;
        self.store()?.save(&items, format, out).doing(|| format!("cannot save {}", names.join(", ")))?;
        self.record_saved(&items);
        Ok(())
    }

    /// Writes images as an OCI layout folder.
    pub fn save_layout(&self, names: &[String], folder: &std::path::Path) -> Result<()> {
        let items = self.save_items(names)?;
        self.store()?.save_layout(&items, folder).doing(|| format!("cannot save {}", names.join(", ")))?;
        self.record_saved(&items);
        Ok(())
    }

    fn record_saved(&self, items: &[SaveItem]) {
        for item in items {
            let name = item
                .refs
                .first()
                .map_or_else(|| item.image.id.to_string(), |name| name.familiar().to_string());
            self.record_image_event("save", &item.image.id, &name);
        }
    }

    fn save_items(&self, names: &[String]) -> Result<Vec<SaveItem>> {
        let mut items: Vec<SaveItem> = Vec::new();
        for name in names {
            let row = self.find_image(name)?;
            let image =
                self.store()?.open_image(&row.manifest).doing(|| format!("cannot read image {name}"))?;
            let by_name = name.parse::<ImageRef>().ok().filter(|reference| {
                reference.digest.is_none()
                    && self.db().and_then(|db| db.image_by_name(reference)).is_ok_and(|row| row.is_some())
            });
            let refs: Vec<ImageRef> = by_name.into_iter().collect();
            match items.iter_mut().find(|item| item.image.id == image.id) {
                Some(item) => item.refs.extend(refs),
                None => items.push(SaveItem { image, refs }),
            }
        }
        Ok(items)
    }

    /// Makes an image from the tar of a root file system.
    pub fn import(
        &self,
        tar: &mut (dyn Read + Send),
        reference: Option<&str>,
        changes: &[String],
        message: &str,
        platform: Option<&str>,
    ) -> Result<Digest> {
        let names: Vec<ImageRef> = reference.map(parse_ref).transpose()?.into_iter().collect();
        if names.iter().any(|name| name.digest.is_some()) {
            return Err(Error::Invalid("cannot import digest reference".to_owned()));
        }
        let mut config = ContainerDefaults::default();
        parse_changes(&mut config, changes).map_err(|error| Error::Invalid(error.to_string()))?;
        let platform = platforms(platform)?.into_iter().next().unwrap_or_else(oci::Platform::host);
        let doing = || "cannot import the root file system".to_owned();
        let options = ImportOptions {
            config,
            message: message.to_owned(),
            platform,
            created: Timestamp::now().to_string(),
        };
        let stored = self.under_lease(OnFailure::Remove, doing, |lease| {
            let stored = self.store()?.import(lease, tar, &options, &FetchOptions::default()).doing(doing)?;
            self.record_image(&stored, &names)?;
            Ok(stored)
        })?;
        self.record_image_event("import", &stored.id, stored.id.as_str());
        for name in &names {
            self.record_image_event("tag", &stored.id, &name.familiar());
        }
        Ok(stored.id)
    }
}
