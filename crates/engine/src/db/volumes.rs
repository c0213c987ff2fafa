//! Volumes and who uses them.

use std::collections::BTreeMap;

use base::ContainerId;
use rusqlite::{OptionalExtension as _, Row};

use super::{Database, SqlContext, json, nanos, parse, stamp, text};
use crate::error::Result;

/// A volume as it is recorded.
#[derive(Debug, Clone)]
pub(crate) struct VolumeRow {
    pub(crate) name: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) options: BTreeMap<String, String>,
    pub(crate) created: jiff::Timestamp,
    pub(crate) anonymous: bool,
}

impl VolumeRow {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            name: row.get("name")?,
            labels: json(row, "labels")?,
            options: json(row, "options")?,
            created: stamp(row.get("created")?),
            anonymous: row.get("anonymous")?,
        })
    }
}

impl Database {
    /// Records a volume; returns false when one of that name is recorded already.
    pub(crate) fn put_volume(&self, volume: &VolumeRow) -> Result<bool> {
        self.write("record a volume", |tx| {
            let new = tx.execute(
                "INSERT OR IGNORE INTO volumes VALUES (?1, ?2, ?3, ?4, ?5)",
                (
                    &volume.name,
                    text(&volume.labels)?,
                    text(&volume.options)?,
                    nanos(volume.created),
                    volume.anonymous,
                ),
            )?;
            Ok(new > 0)
        })
    }

    pub(crate) fn volume(&self, name: &str) -> Result<Option<VolumeRow>> {
        self.connection
            .prepare_cached("SELECT * FROM volumes WHERE name = ?1")
            .and_then(|mut query| query.query_row([name], VolumeRow::read).optional())
            .sql("find a volume")
    }

    pub(crate) fn volumes(&self) -> Result<Vec<VolumeRow>> {
        self.connection
            .prepare_cached("SELECT * FROM volumes ORDER BY name")
            .and_then(|mut query| query.query_map([], VolumeRow::read)?.collect())
            .sql("list volumes")
    }

    /// Containers that use the volume.
    pub(crate) fn volume_users(&self, name: &str) -> Result<Vec<ContainerId>> {
        self.connection
            .prepare_cached("SELECT container FROM volume_users WHERE volume = ?1")
            .and_then(|mut query| query.query_map([name], |row| parse(row, "container"))?.collect())
            .sql("list the users of a volume")
    }

    /// Forgets a volume unless a container uses it. Returns whether it is forgotten.
    pub(crate) fn remove_volume(&self, name: &str) -> Result<bool> {
        self.write("remove a volume", |tx| {
            let sql = "DELETE FROM volumes WHERE name = ?1
                       AND NOT EXISTS (SELECT 1 FROM volume_users WHERE volume = ?1)";
            Ok(tx.execute(sql, [name])? > 0)
        })
    }
}
