//! Containers: the row of each is the intent; [`crate::containers`] compares it with the kernel.

use base::ContainerId;
use docker_types::ContainerSpec;
use jiff::Timestamp;
use oci::Digest;
use rusqlite::{ErrorCode, OptionalExtension as _, Row, Transaction, TransactionBehavior};
use serde_json::Value;

use super::{Database, SqlContext, VolumeRow, json, nanos, parse, stamp, text};
use crate::error::{Error, Result};
use crate::model::{MountPoint, Status};

/// A container as it is recorded.
#[derive(Debug, Clone)]
pub(crate) struct ContainerRow {
    pub(crate) id: ContainerId,
    pub(crate) name: String,
    pub(crate) created: Timestamp,
    pub(crate) image: Digest,
    pub(crate) image_name: String,
    /// DiffIDs of the image, bottom first.
    pub(crate) layers: Vec<Digest>,
    pub(crate) spec: ContainerSpec,
    pub(crate) argv: Vec<String>,
    pub(crate) mounts: Vec<MountPoint>,
    pub(crate) status: Status,
    pub(crate) paused: bool,
    pub(crate) exit_code: i32,
    pub(crate) oom_killed: bool,
    pub(crate) error: String,
    pub(crate) started: Option<Timestamp>,
    pub(crate) finished: Option<Timestamp>,
    pub(crate) restart_count: u32,
    /// Milliseconds of the last wait before a restart; 0 when there was none since the last start by hand.
    pub(crate) restart_wait: u32,
    pub(crate) stopped_by_user: bool,
}

/// How a run ended.
#[derive(Debug, Clone)]
pub(crate) struct RunResult {
    pub(crate) exit_code: i32,
    pub(crate) oom_killed: bool,
    pub(crate) error: String,
    pub(crate) started: Option<Timestamp>,
    pub(crate) finished: Timestamp,
}

/// Puts the folder of the named volume out of the way.
pub(crate) type Discard<'a> = &'a mut dyn FnMut(&str) -> Result<()>;

/// What follows the end of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Nothing.
    Rest,
    /// Another run after this wait, unless a person stopped the container.
    Restart { wait_ms: u32 },
    /// The removal, of which the record of the end is the beginning.
    Remove,
}

fn read_status(row: &Row<'_>) -> rusqlite::Result<Status> {
    let word: String = row.get("status")?;
    serde_json::from_value(serde_json::Value::String(word)).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, Box::new(error))
    })
}

impl ContainerRow {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: parse(row, "id")?,
            name: row.get("name")?,
            created: stamp(row.get("created")?),
            image: parse(row, "image")?,
            image_name: row.get("image_name")?,
            layers: json(row, "layers")?,
            spec: json(row, "spec")?,
            argv: json(row, "argv")?,
            mounts: json(row, "mounts")?,
            status: read_status(row)?,
            paused: row.get("paused")?,
            exit_code: row.get("exit_code")?,
            oom_killed: row.get("oom_killed")?,
            error: row.get("error")?,
            started: row.get::<_, Option<i64>>("started")?.map(stamp),
            finished: row.get::<_, Option<i64>>("finished")?.map(stamp),
            restart_count: row.get("restart_count")?,
            restart_wait: row.get("restart_wait")?,
            stopped_by_user: row.get("stopped_by_user")?,
        })
    }

    /// Names of the volumes it uses.
    pub(crate) fn volumes(&self) -> impl Iterator<Item = &str> {
        self.mounts.iter().filter_map(|mount| mount.volume.as_deref())
    }
}

impl Database {
    /// Records a container; its name and its volumes are taken from now on. Those of `volumes` that are not recorded yet are
    /// recorded with it; their names are returned.
    pub(crate) fn put_container(&self, row: &ContainerRow, volumes: &[VolumeRow]) -> Result<Vec<String>> {
        let result = self.write("record a container", |tx| {
            tx.execute(
                "INSERT INTO containers (id, name, created, image, image_name, status)
                 VALUES (?1, ?2, ?3, ?4, ?5, 'created')",
                (row.id.as_str(), &row.name, nanos(row.created), row.image.as_str(), &row.image_name),
            )?;
            tx.execute(
                "INSERT INTO documents (container, layers, spec, argv, mounts) VALUES (?1, ?2, ?3, ?4, ?5)",
                (
                    row.id.as_str(),
                    text(&row.layers)?,
                    spec_text(&row.spec)?,
                    text(&row.argv)?,
                    text(&row.mounts)?,
                ),
            )?;
            let mut new = Vec::new();
            for volume in volumes {
                if volume.insert(tx)? {
                    new.push(volume.name.clone());
                }
            }
            for volume in row.volumes() {
                tx.execute("INSERT OR IGNORE INTO volume_users VALUES (?1, ?2)", (volume, row.id.as_str()))?;
            }
            Ok(new)
        });
        match result {
            Err(Error::Database { source, .. }) if is_unique(&source) => Err(self.name_taken(&row.name)),
            other => other,
        }
    }

    fn name_taken(&self, name: &str) -> Error {
        let owner = self.container_by_name(name).ok().flatten().map(|row| row.id.to_string());
        Error::NameTaken { name: name.to_owned(), owner: owner.unwrap_or_default() }
    }

    pub(crate) fn container_by_name(&self, name: &str) -> Result<Option<ContainerRow>> {
        self.connection
            .prepare_cached("SELECT * FROM containers JOIN documents ON container = id WHERE name = ?1")
            .and_then(|mut query| query.query_row([name], ContainerRow::read).optional())
            .sql("find a container")
    }

    /// Finds containers whose id begins with `prefix`, at most two.
    pub(crate) fn containers_by_prefix(&self, prefix: &str) -> Result<Vec<ContainerRow>> {
        self.connection
            .prepare_cached("SELECT * FROM containers JOIN documents ON container = id WHERE id >= ?1 AND id < ?2 LIMIT 2")
            .and_then(|mut query| {
                query.query_map([prefix, &format!("{prefix}g")], ContainerRow::read)?.collect()
            })
            .sql("find a container")
    }

    /// All containers, newest first.
    pub(crate) fn containers(&self) -> Result<Vec<ContainerRow>> {
        self.connection
            .prepare_cached(
                "SELECT * FROM containers JOIN documents ON container = id ORDER BY created DESC, id",
            )
            .and_then(|mut query| query.query_map([], ContainerRow::read)?.collect())
            .sql("list containers")
    }

    /// The containers that are neither only made nor ended, newest first.
    pub(crate) fn running_containers(&self) -> Result<Vec<ContainerRow>> {
        self.connection
            .prepare_cached(
                "SELECT * FROM containers JOIN documents ON container = id
                 WHERE status NOT IN ('created', 'exited', 'dead') ORDER BY created DESC, id",
            )
            .and_then(|mut query| query.query_map([], ContainerRow::read)?.collect())
            .sql("list running containers")
    }

    /// How many containers use each image.
    pub(crate) fn image_users(&self, image: &Digest) -> Result<Vec<(ContainerId, String)>> {
        self.connection
            .prepare_cached("SELECT id, name FROM containers WHERE image = ?1")
            .and_then(|mut query| {
                query.query_map([image.as_str()], |row| Ok((parse(row, "id")?, row.get("name")?)))?.collect()
            })
            .sql("list the containers of an image")
    }

    pub(crate) fn rename_container(&self, id: &ContainerId, name: &str) -> Result<()> {
        let result = self.write("rename a container", |tx| {
            tx.execute("UPDATE containers SET name = ?2 WHERE id = ?1", (id.as_str(), name))
        });
        match result {
            Err(Error::Database { source, .. }) if is_unique(&source) => Err(self.name_taken(name)),
            other => other.map(|_| ()),
        }
    }

    /// Records that a run begins.
    pub(crate) fn set_running(&self, id: &ContainerId, started: Timestamp) -> Result<()> {
        self.write("record a start", |tx| {
            tx.execute(
                "UPDATE containers SET status = 'running', paused = 0, started = ?2, error = '', oom_killed = 0,
                 stopped_by_user = 0, exit_code = 0 WHERE id = ?1",
                (id.as_str(), nanos(started)),
            )?;
            Ok(())
        })
    }

    /// Records the end of a run. Addresses and ports stay the container's until they are taken back with what was made of
    /// them. With [`Next::Restart`] it is to be started again, unless a person has stopped it: returns
    /// whether it is. All at once, so that nobody meets one that waits for its restart as one that has ended for good.
    pub(crate) fn set_ended(&self, id: &ContainerId, result: &RunResult, next: Next) -> Result<bool> {
        let status = if next == Next::Remove { Status::Removing } else { Status::Exited };
        self.write("record an end", |tx| {
            tx.execute(
                "UPDATE containers SET status = ?7, paused = 0, exit_code = ?2, oom_killed = ?3, error = ?4,
                 started = COALESCE(?5, started), finished = ?6 WHERE id = ?1",
                (
                    id.as_str(),
                    result.exit_code,
                    result.oom_killed,
                    &result.error,
                    result.started.map(nanos),
                    nanos(result.finished),
                    status.as_str(),
                ),
            )?;
            let Next::Restart { wait_ms } = next else { return Ok(false) };
            let changed = tx.execute(
                "UPDATE containers SET status = 'restarting', restart_count = restart_count + 1, restart_wait = ?2
                 WHERE id = ?1 AND stopped_by_user = 0",
                (id.as_str(), wait_ms),
            )?;
            Ok(changed > 0)
        })
    }

    /// Records a start that failed: the container stays as it was made, with the reason.
    pub(crate) fn set_start_failed(&self, id: &ContainerId, exit_code: i32, error: &str) -> Result<()> {
        self.write("record a failed start", |tx| {
            tx.execute(
                "UPDATE containers SET status = CASE WHEN finished IS NULL THEN 'created' ELSE 'exited' END,
                 paused = 0, exit_code = ?2, error = ?3 WHERE id = ?1",
                (id.as_str(), exit_code, error),
            )?;
            Ok(())
        })
    }

    /// Records another request in the place of the one that the container was made by.
    pub(crate) fn set_spec(&self, id: &ContainerId, spec: &ContainerSpec) -> Result<()> {
        self.write("record an update", |tx| {
            tx.execute(
                "UPDATE documents SET spec = ?2 WHERE container = ?1",
                (id.as_str(), spec_text(spec)?),
            )?;
            Ok(())
        })
    }

    pub(crate) fn set_paused(&self, id: &ContainerId, paused: bool) -> Result<()> {
        self.write("record a pause", |tx| {
            tx.execute("UPDATE containers SET paused = ?2 WHERE id = ?1", (id.as_str(), paused))?;
            Ok(())
        })
    }

    pub(crate) fn set_status(&self, id: &ContainerId, status: Status) -> Result<()> {
        self.write("record a status", |tx| {
            tx.execute("UPDATE containers SET status = ?2 WHERE id = ?1", (id.as_str(), status.as_str()))?;
            Ok(())
        })
    }

    /// Records that a person stopped it, which ends its restart policy until the next start.
    pub(crate) fn set_stopped_by_user(&self, id: &ContainerId) -> Result<()> {
        self.write("record a stop", |tx| {
            tx.execute("UPDATE containers SET stopped_by_user = 1 WHERE id = ?1", [id.as_str()])?;
            Ok(())
        })
    }

    /// Forgets the restarts so far: somebody starts it by hand.
    pub(crate) fn forget_restarts(&self, id: &ContainerId) -> Result<()> {
        self.write("forget restarts", |tx| {
            tx.execute(
                "UPDATE containers SET restart_count = 0, restart_wait = 0 WHERE id = ?1",
                [id.as_str()],
            )?;
            Ok(())
        })
    }

    /// Forgets a container with everything that is its own here. Returns the anonymous volumes that nobody uses now; with
    /// `discard` they are forgotten, too, once it has put the folder of each out of the way.
    pub(crate) fn remove_container(
        &self,
        id: &ContainerId,
        mut discard: Option<Discard<'_>>,
    ) -> Result<Vec<String>> {
        let action = "remove a container";
        self.end_with_short_journal().sql(action)?;
        let tx = Transaction::new_unchecked(&self.connection, TransactionBehavior::Immediate).sql(action)?;
        let orphans = forget_container(&tx, id.as_str()).sql(action)?;
        if let Some(discard) = &mut discard {
            for volume in &orphans {
                tx.execute("DELETE FROM volumes WHERE name = ?1", [volume]).sql(action)?;
                discard(volume)?;
            }
        }
        tx.commit().sql(action)?;
        Ok(orphans)
    }
}

/// Deletes the rows of a container; returns the anonymous volumes that nobody uses now.
fn forget_container(tx: &Transaction<'_>, id: &str) -> rusqlite::Result<Vec<String>> {
    let mut query = tx.prepare_cached(
                "SELECT volume FROM volume_users JOIN volumes ON name = volume AND anonymous
                 WHERE container = ?1 AND NOT EXISTS
                 (SELECT 1 FROM volume_users AS other WHERE other.volume = volumes.name AND other.container <> ?1)",
            )?;
    let orphans = query.query_map([id], |row| row.get(0))?.collect::<rusqlite::Result<Vec<String>>>()?;
    for table in ["documents", "endpoints", "ports", "volume_users", "id_blocks"] {
        tx.execute(&format!("DELETE FROM {table} WHERE container = ?1"), [id])?;
    }
    tx.execute("DELETE FROM containers WHERE id = ?1", [id])?;
    Ok(orphans)
}

/// Renders a request without all that is as nobody asks for it. Of the hundred and fifty fields of a request ten are set,
/// and a listing of a thousand containers reads a thousand of them.
fn spec_text(spec: &ContainerSpec) -> rusqlite::Result<String> {
    let render = |spec: &ContainerSpec| {
        serde_json::to_value(spec).map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
    };
    let mut value = render(spec)?;
    leave_out(&mut value, &render(&ContainerSpec::default())?);
    Ok(value.to_string())
}

/// Removes from `value` the fields that are as in `usual`, which is what a missing one is read as.
fn leave_out(value: &mut Value, usual: &Value) {
    let (Value::Object(fields), Value::Object(usual)) = (value, usual) else { return };
    fields.retain(|name, value| match usual.get(name) {
        Some(usual) if value == usual => false,
        Some(usual) => {
            leave_out(value, usual);
            true
        }
        None => true,
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_kept_without_the_usual_and_reads_back_whole() {
        let mut spec = ContainerSpec::default();
        assert_eq!(spec_text(&spec).unwrap(), "{}");
        spec.config.image = "image".to_owned();
        spec.config.labels.insert("Image".to_owned(), String::new());
        spec.config.cmd = Some(Vec::new());
        spec.config.exposed_ports.insert("80/tcp".to_owned(), docker_types::container::Empty {});
        spec.host_config.restart_policy.maximum_retry_count = 3;
        spec.host_config.resources.memory = 1 << 20;
        spec.host_config.init = Some(false);
        spec.host_config.log_config.config.insert("tag".to_owned(), String::new());
        spec.networking_config.endpoints_config.insert("net".to_owned(), Default::default());
        let text = spec_text(&spec).unwrap();
        assert_eq!(serde_json::from_str::<ContainerSpec>(&text).unwrap(), spec, "{text}");
        let whole = serde_json::to_string(&spec).unwrap();
        assert!(text.len() * 2 < whole.len(), "{text}\n{whole}");
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use super::{ContainerRow, ContainerSpec, Digest, Status, Timestamp};

    /// Returns a container that was made and never started.
    pub(crate) fn row(name: &str) -> ContainerRow {
        ContainerRow {
            id: base::ContainerId::from_random([name.bytes().next().unwrap_or(0); 32]),
            name: name.to_owned(),
            created: Timestamp::UNIX_EPOCH,
            image: Digest::of(b"image"),
            image_name: "image".to_owned(),
            layers: Vec::new(),
            spec: ContainerSpec::default(),
            argv: Vec::new(),
            mounts: Vec::new(),
            status: Status::Created,
            paused: false,
            exit_code: 0,
            oom_killed: false,
            error: String::new(),
            started: None,
            finished: None,
            restart_count: 0,
            restart_wait: 0,
            stopped_by_user: false,
        }
    }
}

fn is_unique(error: &rusqlite::Error) -> bool {
    matches!(error, rusqlite::Error::SqliteFailure(code, _) if code.code == ErrorCode::ConstraintViolation)
}
