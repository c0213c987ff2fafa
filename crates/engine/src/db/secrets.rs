//! Secrets: what is known of them. What they hold is in files of its own.

use std::collections::BTreeMap;

use rusqlite::{OptionalExtension as _, Row};

use super::{Database, SqlContext, json, nanos, stamp, text};
use crate::error::Result;
use crate::model::Secret;

/// The table.
pub(super) const SCHEMA: &str = "
CREATE TABLE secrets (
    id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, labels TEXT NOT NULL, created INTEGER NOT NULL) STRICT, WITHOUT ROWID;
";

fn read(row: &Row<'_>) -> rusqlite::Result<Secret> {
    let labels: BTreeMap<String, String> = json(row, "labels")?;
    Ok(Secret { id: row.get("id")?, name: row.get("name")?, labels, created: stamp(row.get("created")?) })
}

impl Database {
    /// Records a secret; returns false when one of that name is recorded already.
    pub(crate) fn put_secret(&self, secret: &Secret) -> Result<bool> {
        self.write("record a secret", |tx| {
            let values = (&secret.id, &secret.name, text(&secret.labels)?, nanos(secret.created));
            Ok(tx.execute("INSERT OR IGNORE INTO secrets VALUES (?1, ?2, ?3, ?4)", values)? > 0)
        })
    }

    /// Finds a secret by its name, its id, or the beginning of its id.
    pub(crate) fn secret(&self, name: &str) -> Result<Option<Secret>> {
        let by_name = self
            .connection
            .prepare_cached("SELECT * FROM secrets WHERE name = ?1")
            .and_then(|mut query| query.query_row([name], read).optional())
            .sql("find a secret")?;
        if by_name.is_some() || name.is_empty() || !name.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Ok(by_name);
        }
        let mut found: Vec<Secret> = self
            .connection
            .prepare_cached("SELECT * FROM secrets WHERE id >= ?1 AND id < ?2 LIMIT 2")
            .and_then(|mut query| query.query_map([name, &format!("{name}g")], read)?.collect())
            .sql("find a secret")?;
        Ok(if found.len() == 1 { found.pop() } else { None })
    }

    /// All secrets, by name.
    pub(crate) fn secrets(&self) -> Result<Vec<Secret>> {
        self.connection
            .prepare_cached("SELECT * FROM secrets ORDER BY name")
            .and_then(|mut query| query.query_map([], read)?.collect())
            .sql("list secrets")
    }

    pub(crate) fn remove_secret(&self, id: &str) -> Result<()> {
        self.write("remove a secret", |tx| {
            tx.execute("DELETE FROM secrets WHERE id = ?1", [id])?;
            Ok(())
        })
    }
}
