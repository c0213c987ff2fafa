//! `diff`, `export` and `commit`: what a container made of its image.
//!
//! A running container is frozen while an image is made of it. The mark `frozen` in its run folder, held by a lock, says who is
//! at it; a mark that nobody holds is left from a killed `commit`, and the next command that meets it thaws.

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;

use image::tree::{PackOptions, Packer};
use image::{CommitOptions, parse_changes};
use jiff::Timestamp;
use oci::config::{ContainerDefaults, Empty, Healthcheck};
use oci::{Digest, ImageRef};
use rustix::fs::{FlockOperation, flock};

use super::ContainerLock;
use crate::Engine;
use crate::db::ContainerRow;
use crate::error::{Doing, Error, IoContext, Result};
use crate::events::of_container;
use crate::images::parse_ref;
use crate::model::Status;

pub use image::{Change, ChangeKind};

/// What a start makes in a container's files for its own mounts.
const MADE_BY_START: [&str; 9] =
    ["dev", "proc", "sys", "etc", "etc/hosts", "etc/hostname", "etc/resolv.conf", "run", "run/secrets"];
/// Name of the mark in a container's run folder.
const FROZEN_FILE: &str = "frozen";

/// What `commit` makes.
#[derive(Debug, Clone, Default)]
pub struct CommitSpec {
    /// The name it gets; none leaves it nameless.
    pub reference: Option<String>,
    /// Dockerfile instructions.
    pub changes: Vec<String>,
    /// Who made it.
    pub author: String,
    /// Remark.
    pub message: String,
    /// Freeze a running container meanwhile.
    pub pause: bool,
}

/// An image that was made of a container.
#[derive(Debug, Clone)]
pub struct Committed {
    /// The image.
    pub id: Digest,
    /// What was not done, in whole sentences.
    pub warnings: Vec<String>,
}

/// A container that is frozen until this is dropped.
#[derive(Debug)]
struct Frozen<'e> {
    engine: &'e Engine,
    row: ContainerRow,
    mark: PathBuf,
    _held: File,
}

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        // The next command tries again: the mark stays when it could not be thawed.
        if self.engine.resume(&self.row).is_ok() {
            let _ = fs::remove_file(&self.mark);
        }
    }
}

impl Engine {
    /// Lists what differs from the image, by path.
    pub fn changes(&self, name: &str) -> Result<Vec<Change>> {
        let row = self.row(name)?;
        let Ok(snapshot) = self.store()?.snapshot(row.id.as_str()) else {
            return Ok(Vec::new()); // Never started.
        };
        snapshot
            .changes(&MADE_BY_START)
            .doing(|| format!("cannot compare container {} with its image", row.name))
    }

    /// Writes the files of a container as tar; what is mounted in it is left out.
    pub fn export(&self, name: &str, out: &mut dyn Write) -> Result<()> {
        let (row, view) = self.view_files(name)?;
        let doing = || format!("cannot export container {}", row.name);
        let (users, groups) = view.shift();
        let shift = (-users, -groups);
        let options = PackOptions { stay: true, bare: true, shift, ..PackOptions::default() };
        let mut packer = Packer::new(out, options);
        packer.add(view.root(), b".", b".").doing(doing)?;
        packer.finish().doing(doing)?;
        self.record(&[of_container(&row.id, "export")]);
        Ok(())
    }

    /// Makes an image of a container: its image and what it changed, one layer more.
    pub fn commit(&self, name: &str, spec: &CommitSpec) -> Result<Committed> {
        let names: Vec<ImageRef> =
            spec.reference.as_deref().map(parse_ref).transpose()?.into_iter().collect();
        if names.iter().any(|name| name.digest.is_some()) {
            return Err(Error::Invalid("refusing to create a tag with a digest reference".to_owned()));
        }
        let row = self.row(name)?;
        let base = self.find_image(&row.image.to_string())?;
        let mut config = defaults(&row, &base.config.config);
        parse_changes(&mut config, &spec.changes).map_err(|error| Error::Invalid(error.to_string()))?;
        self.tend(&row)?;
        if row.status == Status::Created {
            self.make_folder(&row.id)?;
        }
        let doing = || format!("cannot make an image of container {}", row.name);
        let store = self.store()?;
        let lease = store.lease().doing(doing)?;
        let base = store.open_image(&base.manifest).doing(doing)?;
        let lock = self.lock(&row.id)?;
        let mut warnings = Vec::new();
        let frozen = if spec.pause { self.freeze(&row, &lock, &mut warnings)? } else { None };
        let snapshot = match store.snapshot(row.id.as_str()) {
            Ok(snapshot) => snapshot,
            Err(_) => store.prepare_snapshot(row.id.as_str(), &row.layers).doing(doing)?,
        };
        let options = CommitOptions {
            config,
            author: spec.author.clone(),
            message: spec.message.clone(),
            created_by: row.argv.join(" "),
            created: Timestamp::now().to_string(),
        };
        let stored = snapshot.commit(&lease, &base, &MADE_BY_START, &options).doing(doing)?;
        drop(frozen);
        self.record_image(&stored, &names)?;
        self.record(&[of_container(&row.id, "commit")]);
        Ok(Committed { id: stored.id, warnings })
    }

    /// Freezes a running container whose lock the caller holds; one that does not run or is paused already is left alone.
    fn freeze(
        &self,
        row: &ContainerRow,
        _lock: &ContainerLock,
        warnings: &mut Vec<String>,
    ) -> Result<Option<Frozen<'_>>> {
        let row = self.row(row.id.as_str())?;
        if self.state_of(&row).status != Status::Running {
            return Ok(None);
        }
        let mark = self.roots().container_run(row.id.as_str()).join(FROZEN_FILE);
        let held = File::options().create(true).truncate(false).write(true).open(&mark).at("make", &mark)?;
        flock(&held, FlockOperation::LockExclusive).at("lock", &mark)?;
        match runtime::pause(&self.roots().run.join("runtime"), row.id.as_str()) {
            Ok(()) => Ok(Some(Frozen { engine: self, row, mark, _held: held })),
            Err(error) => {
                fs::remove_file(&mark).at("remove", &mark)?;
                warnings.push(format!(
                    "the container was not paused, so files that it wrote meanwhile may be torn: {}",
                    base::error::render_chain(&error)
                ));
                Ok(None)
            }
        }
    }

    fn resume(&self, row: &ContainerRow) -> Result<()> {
        runtime::resume(&self.roots().run.join("runtime"), row.id.as_str())
            .doing(|| format!("cannot thaw container {}", row.name))
    }

    /// Thaws a container that a killed `commit` left frozen. Looks at one path when there is nothing.
    pub(crate) fn thaw_left(&self, row: &ContainerRow) {
        let mark = self.roots().container_run(row.id.as_str()).join(FROZEN_FILE);
        let Ok(held) = File::options().write(true).open(&mark) else { return };
        // Somebody is at it.
        if flock(&held, FlockOperation::NonBlockingLockExclusive).is_err() {
            return;
        }
        // Paused by a person in between, or not there any more: then it is not ours to thaw.
        let thawed = row.paused || row.status != Status::Running || self.resume(row).is_ok();
        if thawed {
            let _ = fs::remove_file(&mark);
        }
    }
}

/// What the new image says of its containers: what this container was told, and what only an image can say.
fn defaults(row: &ContainerRow, image: &ContainerDefaults) -> ContainerDefaults {
    let config = &row.spec.config;
    ContainerDefaults {
        user: config.user.clone(),
        exposed_ports: config.exposed_ports.keys().map(|port| (port.clone(), Empty {})).collect(),
        env: config.env.clone(),
        entrypoint: config.entrypoint.clone(),
        cmd: config.cmd.clone(),
        volumes: config.volumes.iter().flatten().map(|(path, _)| (path.clone(), Empty {})).collect(),
        working_dir: config.working_dir.clone(),
        labels: config.labels.clone(),
        stop_signal: config.stop_signal.clone(),
        stop_timeout: config.stop_timeout,
        healthcheck: config.healthcheck.as_ref().map(|check| Healthcheck {
            test: check.test.clone(),
            interval: check.interval,
            timeout: check.timeout,
            start_period: check.start_period,
            start_interval: check.start_interval,
            retries: check.retries,
        }),
        ..image.clone()
    }
}
