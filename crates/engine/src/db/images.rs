//! Images and their names.

use oci::config::ImageConfiguration;
use oci::{Digest, ImageRef};
use rusqlite::{OptionalExtension as _, Row};

use super::{Database, SqlContext, json, nanos, parse, stamp, text};
use crate::error::Result;

/// An image as it is recorded.
#[derive(Debug, Clone)]
pub(crate) struct ImageRow {
    pub(crate) id: Digest,
    pub(crate) manifest: Digest,
    pub(crate) config: ImageConfiguration,
    /// DiffID and unpacked bytes, bottom first.
    pub(crate) layers: Vec<(Digest, u64)>,
    /// Blobs that must stay: manifest, configuration, layers as they travelled.
    pub(crate) blobs: Vec<Digest>,
    pub(crate) created: Option<jiff::Timestamp>,
}

impl ImageRow {
    pub(crate) fn size(&self) -> u64 {
        self.layers.iter().map(|(_, size)| size).sum()
    }

    pub(crate) fn diff_ids(&self) -> Vec<Digest> {
        self.layers.iter().map(|(id, _)| id.clone()).collect()
    }

    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: parse(row, "id")?,
            manifest: parse(row, "manifest")?,
            config: json(row, "config")?,
            layers: json(row, "layers")?,
            blobs: json(row, "blobs")?,
            created: row.get::<_, Option<i64>>("created")?.map(stamp),
        })
    }
}

impl Database {
    /// Records an image and gives it `names`; a name that another image has moves. Returns whether the image is new.
    pub(crate) fn put_image(&self, image: &ImageRow, names: &[ImageRef]) -> Result<bool> {
        self.write("record an image", |tx| {
            let new = tx.execute(
                "INSERT INTO images (id, manifest, config, layers, blobs, size, created)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
                 ON CONFLICT (id) DO UPDATE SET manifest = excluded.manifest, blobs = excluded.blobs
                 WHERE manifest <> excluded.manifest",
                (
                    image.id.as_str(),
                    image.manifest.as_str(),
                    text(&image.config)?,
                    text(&image.layers)?,
                    text(&image.blobs)?,
                    i64::try_from(image.size()).unwrap_or(i64::MAX),
                    image.created.map(nanos),
                ),
            )?;
            for name in names {
                tx.execute(
                    "INSERT OR REPLACE INTO refs VALUES (?1, ?2)",
                    (name.to_string(), image.id.as_str()),
                )?;
            }
            Ok(new > 0)
        })
    }

    pub(crate) fn image_by_name(&self, name: &ImageRef) -> Result<Option<ImageRow>> {
        let find = |key: String| {
            self.connection
                .prepare_cached(
                    "SELECT images.* FROM refs JOIN images ON images.id = refs.image WHERE refs.name = ?1",
                )
                .and_then(|mut query| query.query_row([key], ImageRow::read).optional())
                .sql("find an image")
        };
        if let (Some(digest), Some(_)) = (&name.digest, &name.tag) {
            return find(format!("{}@{digest}", name.name()));
        }
        find(name.to_string())
    }

    /// Finds images whose id begins with `prefix` (hexadecimal digits), at most two.
    pub(crate) fn images_by_prefix(&self, prefix: &str) -> Result<Vec<ImageRow>> {
        self.connection
            .prepare_cached("SELECT * FROM images WHERE id >= ?1 AND id < ?2 LIMIT 2")
            .and_then(|mut query| {
                let low = format!("sha256:{prefix}");
                let high = format!("{low}g");
                query.query_map([low, high], ImageRow::read)?.collect()
            })
            .sql("find an image")
    }

    pub(crate) fn images(&self) -> Result<Vec<ImageRow>> {
        self.connection
            .prepare_cached("SELECT * FROM images ORDER BY created DESC, id")
            .and_then(|mut query| query.query_map([], ImageRow::read)?.collect())
            .sql("list images")
    }

    /// All names with the image each means.
    pub(crate) fn refs(&self) -> Result<Vec<(ImageRef, Digest)>> {
        self.connection
            .prepare_cached("SELECT name, image FROM refs ORDER BY name")
            .and_then(|mut query| {
                query.query_map([], |row| Ok((parse(row, "name")?, parse(row, "image")?)))?.collect()
            })
            .sql("list image names")
    }

    /// Takes a name away. Returns whether it was there.
    pub(crate) fn remove_ref(&self, name: &ImageRef) -> Result<bool> {
        self.write("remove an image name", |tx| {
            Ok(tx.execute("DELETE FROM refs WHERE name = ?1", [name.to_string()])? > 0)
        })
    }

    /// Forgets an image and its names, unless a container uses it.
    pub(crate) fn remove_image(&self, id: &Digest) -> Result<bool> {
        self.write("remove an image", |tx| {
            tx.execute(
                "DELETE FROM refs WHERE image = ?1 AND NOT EXISTS (SELECT 1 FROM containers WHERE image = ?1)",
                [id.as_str()],
            )?;
            let removed = tx.execute(
                "DELETE FROM images WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM containers WHERE image = ?1)",
                [id.as_str()],
            )?;
            Ok(removed > 0)
        })
    }
}
