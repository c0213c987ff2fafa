//! Volumes and who uses them.

use std::collections::BTreeMap;

use base::ContainerId;
use rusqlite::{OptionalExtension as _, Row, Transaction, TransactionBehavior};

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
    /// Returns false when one of that name is recorded already.
    pub(super) fn insert(&self, tx: &Transaction<'_>) -> rusqlite::Result<bool> {
        let new = tx.execute(
            "INSERT OR IGNORE INTO volumes VALUES (?1, ?2, ?3, ?4, ?5)",
            (&self.name, text(&self.labels)?, text(&self.options)?, nanos(self.created), self.anonymous),
        )?;
        Ok(new > 0)
    }

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
        self.write("record a volume", |tx| volume.insert(tx))
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
    ///
    /// `discard` is called within the transaction: nobody can make a volume of that name before its folder is out of the way, and
    /// when it fails the volume stays.
    pub(crate) fn remove_volume(&self, name: &str, discard: impl FnOnce() -> Result<()>) -> Result<bool> {
        let action = "remove a volume";
        let tx = Transaction::new_unchecked(&self.connection, TransactionBehavior::Immediate).sql(action)?;
        let sql = "DELETE FROM volumes WHERE name = ?1
                   AND NOT EXISTS (SELECT 1 FROM volume_users WHERE volume = ?1)";
        if tx.execute(sql, [name]).sql(action)? == 0 {
            return Ok(false);
        }
        discard()?;
        tx.commit().sql(action)?;
        Ok(true)
    }

    /// Gives a volume another name unless a container uses it, and notes that its folder has the old one. Returns whether it
    /// has it.
    pub(crate) fn rename_volume(&self, old: &str, new: &str) -> Result<bool> {
        self.write("rename a volume", |tx| {
            let sql = "UPDATE volumes SET name = ?2 WHERE name = ?1
                       AND NOT EXISTS (SELECT 1 FROM volume_users WHERE volume = ?1)";
            if tx.execute(sql, [old, new])? == 0 {
                return Ok(false);
            }
            tx.execute("INSERT INTO settings VALUES (?1, ?2)", [rename_key(new).as_str(), old])?;
            Ok(true)
        })
    }

    /// Returns the name that the folder of a volume still has.
    pub(crate) fn renamed_from(&self, name: &str) -> Result<Option<String>> {
        self.setting(&rename_key(name))
    }

    /// Forgets the old name: the folder has the new one.
    pub(crate) fn end_rename(&self, name: &str) -> Result<()> {
        self.write("end the renaming of a volume", |tx| {
            tx.execute("DELETE FROM settings WHERE key = ?1", [rename_key(name)])?;
            Ok(())
        })
    }
}

fn rename_key(name: &str) -> String {
    format!("volume-renamed:{name}")
}
