//! The database: what is wanted. One SQLite file in WAL mode, opened by as many processes as like; each change is one
//! immediate transaction. What is true is asked of the kernel and of the monitors' files, see [`crate::containers`].
//!
//! Source of the settings: SQLite's "WAL mode" and "PRAGMA synchronous" pages; NORMAL keeps the file consistent after a
//! power cut and may lose the last transactions, which the reconciliation then finds as unowned and removes.

mod containers;
mod id_blocks;
mod images;
mod networks;
mod secrets;
mod volumes;

use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, Transaction, TransactionBehavior};

use crate::error::{Error, IoContext, Result};

#[cfg(test)]
pub(crate) use containers::testing;
pub(crate) use containers::{ContainerRow, Next, RunResult};
pub(crate) use images::ImageRow;
pub(crate) use networks::{Endpoints, Member, NetworkRow, Taken};
pub(crate) use volumes::VolumeRow;

/// How long a writer waits for another before it gives up.
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);
/// What makes the tables of each version out of those of the version before; the version is the number of steps done.
/// A step that was released never changes: what comes later is a new step at the end.
const STEPS: &[&str] =
    &[SCHEMA, ID_BLOCKS, OPEN_PORTS, RESTART_WAIT, networks::SCHEMA, DOCUMENTS, secrets::SCHEMA];

/// The last wait before a restart, in milliseconds; 0 begins anew.
const RESTART_WAIT: &str = "ALTER TABLE containers ADD COLUMN restart_wait INTEGER NOT NULL DEFAULT 0;";

const SCHEMA: &str = "
CREATE TABLE images (
    id TEXT PRIMARY KEY, manifest TEXT NOT NULL, config TEXT NOT NULL, layers TEXT NOT NULL,
    blobs TEXT NOT NULL, size INTEGER NOT NULL, created INTEGER) STRICT, WITHOUT ROWID;
CREATE TABLE refs (name TEXT PRIMARY KEY, image TEXT NOT NULL REFERENCES images(id)) STRICT, WITHOUT ROWID;
CREATE INDEX refs_image ON refs(image);
CREATE TABLE containers (
    id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, created INTEGER NOT NULL,
    image TEXT NOT NULL, image_name TEXT NOT NULL, layers TEXT NOT NULL, spec TEXT NOT NULL, argv TEXT NOT NULL,
    mounts TEXT NOT NULL, status TEXT NOT NULL, paused INTEGER NOT NULL DEFAULT 0,
    exit_code INTEGER NOT NULL DEFAULT 0, oom_killed INTEGER NOT NULL DEFAULT 0, error TEXT NOT NULL DEFAULT '',
    started INTEGER, finished INTEGER, restart_count INTEGER NOT NULL DEFAULT 0,
    stopped_by_user INTEGER NOT NULL DEFAULT 0) STRICT, WITHOUT ROWID;
CREATE INDEX containers_image ON containers(image);
CREATE TABLE endpoints (
    container TEXT NOT NULL, network TEXT NOT NULL, ip4 TEXT, ip6 TEXT, data TEXT NOT NULL,
    PRIMARY KEY (container, network), UNIQUE (network, ip4), UNIQUE (network, ip6)) STRICT, WITHOUT ROWID;
CREATE TABLE ports (
    container TEXT NOT NULL, proto TEXT NOT NULL, host_ip TEXT NOT NULL, host_first INTEGER NOT NULL,
    guest_first INTEGER NOT NULL, count INTEGER NOT NULL,
    PRIMARY KEY (proto, host_ip, host_first, container)) STRICT, WITHOUT ROWID;
CREATE INDEX ports_container ON ports(container);
CREATE TABLE volumes (
    name TEXT PRIMARY KEY, labels TEXT NOT NULL, options TEXT NOT NULL, created INTEGER NOT NULL,
    anonymous INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE volume_users (
    volume TEXT NOT NULL REFERENCES volumes(name), container TEXT NOT NULL,
    PRIMARY KEY (volume, container)) STRICT, WITHOUT ROWID;
CREATE INDEX volume_users_container ON volume_users(container);
CREATE TABLE settings (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
";

/// Which users of the machine the containers have that have a range of their own.
const ID_BLOCKS: &str = "
CREATE TABLE id_blocks (
    container TEXT PRIMARY KEY, first INTEGER NOT NULL, count INTEGER NOT NULL) STRICT, WITHOUT ROWID;
";

/// Who may reach a published port.
const OPEN_PORTS: &str = "ALTER TABLE ports ADD COLUMN open INTEGER NOT NULL DEFAULT 0;";

/// The long texts of a container move to a table of their own: a change of its state would write them again, and a list
/// would read past them.
const DOCUMENTS: &str = "
CREATE TABLE documents (
    container TEXT PRIMARY KEY, layers TEXT NOT NULL, spec TEXT NOT NULL, argv TEXT NOT NULL,
    mounts TEXT NOT NULL) STRICT, WITHOUT ROWID;
INSERT INTO documents SELECT id, layers, spec, argv, mounts FROM containers;
ALTER TABLE containers DROP COLUMN layers;
ALTER TABLE containers DROP COLUMN spec;
ALTER TABLE containers DROP COLUMN argv;
ALTER TABLE containers DROP COLUMN mounts;
";

/// Pages of the journal after which the removal of a container copies them into the file. Whoever opens the file while no
/// other has it open reads the whole journal: with SQLite's 1,000 pages that costs a short command more than all its own
/// changes. The copy syncs the disk, so that it belongs at the end of a container's life and not into its start.
const JOURNAL_PAGES: u32 = 200;

/// The open database.
#[derive(Debug)]
pub(crate) struct Database {
    connection: Connection,
}

/// Adds what was attempted to an error of SQLite.
pub(crate) trait SqlContext<T> {
    fn sql(self, action: &'static str) -> Result<T>;
}

impl<T> SqlContext<T> for rusqlite::Result<T> {
    fn sql(self, action: &'static str) -> Result<T> {
        self.map_err(|source| Error::Database { action, source })
    }
}

/// Takes the file and its companions, which older programs left open, from others: variables hold passwords.
fn protect(path: &Path) -> Result<()> {
    for end in ["", "-wal", "-shm"] {
        let mut name = path.as_os_str().to_owned();
        name.push(end);
        let path = Path::new(&name);
        match std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            result => result.at("protect", path)?,
        }
    }
    Ok(())
}

impl Database {
    /// Opens the file `path`, makes its tables where they are missing, refuses those of a newer program.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        if !path.exists() {
            // SQLite gives its journal and index the mode that the file has when it is opened first.
            let file = std::fs::File::options().append(true).create(true).mode(0o600).open(path);
            drop(file.at("make", path)?);
        }
        let connection = Connection::open(path).sql("open the file")?;
        connection.busy_timeout(BUSY_TIMEOUT).sql("set the time-out")?;
        connection
            .execute_batch(
                "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA foreign_keys = ON;",
            )
            .sql("choose the journal")?;
        // The last one to close would copy the journal over and sync, which every short command would wait for; writers
        // do that when the journal has grown.
        connection
            .set_db_config(rusqlite::config::DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)
            .sql("keep the journal at the end")?;
        let database = Self { connection };
        let (version, known) = (database.version()?, STEPS.len() as u32);
        if version > known {
            return Err(Error::Format { path: path.to_owned(), found: version.to_string(), known });
        }
        if version < known {
            protect(path)?;
            database.write("make the tables", |tx| {
                // Another process may have been faster.
                let done: u32 = tx.query_row("PRAGMA user_version", [], |row| row.get(0))?;
                for step in STEPS.iter().skip(done as usize) {
                    tx.execute_batch(step)?;
                }
                tx.pragma_update(None, "user_version", done.max(known))
            })?;
        }
        Ok(database)
    }

    fn version(&self) -> Result<u32> {
        self.connection.query_row("PRAGMA user_version", [], |row| row.get(0)).sql("read the version")
    }

    /// Runs `body` in one immediate transaction: all of it happens, or nothing.
    fn write<T>(
        &self,
        action: &'static str,
        body: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T> {
        let tx = Transaction::new_unchecked(&self.connection, TransactionBehavior::Immediate).sql(action)?;
        let value = body(&tx).sql(action)?;
        tx.commit().sql(action)?;
        Ok(value)
    }

    /// Has the next transaction, the last change of a command, shorten a long journal.
    fn end_with_short_journal(&self) -> rusqlite::Result<()> {
        self.connection.pragma_update(None, "wal_autocheckpoint", JOURNAL_PAGES)
    }

    /// Reads a setting.
    pub(crate) fn setting(&self, key: &str) -> Result<Option<String>> {
        use rusqlite::OptionalExtension as _;
        self.connection
            .prepare_cached("SELECT value FROM settings WHERE key = ?1")
            .and_then(|mut query| query.query_row([key], |row| row.get(0)).optional())
            .sql("read a setting")
    }

    /// Replaces a setting that is still `old`; returns what it is now.
    pub(crate) fn change_setting(&self, key: &str, old: &str, new: &str) -> Result<String> {
        self.write("change a setting", |tx| {
            tx.execute("UPDATE settings SET value = ?3 WHERE key = ?1 AND value = ?2", [key, old, new])?;
            tx.query_row("SELECT value FROM settings WHERE key = ?1", [key], |row| row.get(0))
        })
    }

    /// Sets a setting unless it is set already; returns what it is now.
    pub(crate) fn setting_once(&self, key: &str, value: &str) -> Result<String> {
        self.write("set a setting", |tx| {
            tx.execute("INSERT OR IGNORE INTO settings VALUES (?1, ?2)", [key, value])?;
            tx.query_row("SELECT value FROM settings WHERE key = ?1", [key], |row| row.get(0))
        })
    }
}

/// Parses a JSON column; a malformed one is an error of SQLite's conversion kind.
fn json<T: serde::de::DeserializeOwned>(row: &rusqlite::Row<'_>, column: &str) -> rusqlite::Result<T> {
    let text = row.get_ref(column)?.as_str()?;
    serde_json::from_str(text).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, Box::new(error))
    })
}

/// Renders a JSON column.
fn text<T: serde::Serialize>(value: &T) -> rusqlite::Result<String> {
    serde_json::to_string(value).map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
}

/// Parses a text column with `FromStr`.
fn parse<T: std::str::FromStr>(row: &rusqlite::Row<'_>, column: &str) -> rusqlite::Result<T>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    row.get_ref(column)?.as_str()?.parse().map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, Box::new(error))
    })
}

/// Nanoseconds since 1970 as SQLite keeps them; they last until the year 2262.
fn nanos(stamp: jiff::Timestamp) -> i64 {
    i64::try_from(stamp.as_nanosecond()).unwrap_or(i64::MAX)
}

fn stamp(nanos: i64) -> jiff::Timestamp {
    jiff::Timestamp::from_nanosecond(i128::from(nanos)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_steps_lead_to_the_last_version_from_any() {
        let folder = tempfile::tempdir().unwrap();
        for from in 0..=STEPS.len() {
            let path = folder.path().join(from.to_string());
            let connection = Connection::open(&path).unwrap();
            STEPS[..from].iter().for_each(|step| connection.execute_batch(step).unwrap());
            connection.pragma_update(None, "user_version", from as u32).unwrap();
            drop(connection);
            assert_eq!(Database::open(&path).unwrap().version().unwrap(), STEPS.len() as u32);
        }
        let newer = folder.path().join("newer");
        Connection::open(&newer)
            .unwrap()
            .pragma_update(None, "user_version", STEPS.len() as u32 + 1)
            .unwrap();
        assert!(matches!(Database::open(&newer), Err(Error::Format { .. })));
    }
}
