//! `create`: from a request to a recorded container.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use base::ContainerId;
use docker_types::{ContainerSpec, names, validate};
use jiff::Timestamp;

use super::{merge, mounts, userns};
use crate::Engine;
use crate::db::{ContainerRow, ImageRow, VolumeRow};
use crate::error::{Error, IoContext, Result};
use crate::events;
use crate::images::{PullOptions, PullProgress};
use crate::model::{MountKind, MountPoint, Status};
use crate::rootless;

/// How often a generated name that is taken is replaced by another.
const NAME_TRIES: u8 = 20;

/// When `create` pulls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PullPolicy {
    /// Each time.
    Always,
    /// When the image is not in the store.
    #[default]
    Missing,
    /// Not at all.
    Never,
}

/// A container that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Created {
    /// Its identity.
    pub id: ContainerId,
    /// Its name.
    pub name: String,
    /// What was asked for and will not be had, in whole sentences.
    pub warnings: Vec<String>,
}

impl Engine {
    /// Makes a container; nothing of it is left when this fails.
    pub fn create(
        &self,
        mut spec: ContainerSpec,
        pull: PullPolicy,
        ui: &dyn PullProgress,
    ) -> Result<Created> {
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        validate::spec(&spec, cpus).map_err(|error| Error::Invalid(error.to_string()))?;
        if let Some(user) = userns::default_user(&spec.host_config, rootless::standing())?
            && spec.config.user.is_empty()
        {
            spec.config.user = user;
        }
        let image = self.image_for(&spec, pull, ui)?;
        crate::timings::mark("image found");
        let argv = merge::complete(&mut spec, &image.config.config)?;
        super::health::check(&spec.config)?;
        self.settle_places(&mut spec)?;
        self.settle_secrets(&mut spec)?;
        super::spec::capabilities(&spec.host_config)?;
        super::spec::Security::of(&spec.host_config)?;
        super::cdi::edits(&spec.host_config, &self.config().devices.cdi_dirs)?;
        let log = &spec.host_config.log_config;
        docker_types::logging::parse(&log.driver, &log.config)
            .map_err(|error| Error::Invalid(error.to_string()))?;
        let id = ContainerId::from_random(random_bytes()?);
        let inherited = self.inherited_mounts(&spec)?;
        let mut plan = mounts::plan(&spec, inherited, random_volume_name)?;
        for source in &plan.make_sources {
            ensure_source(Path::new(source))?;
        }
        check_sources(&plan.points)?;
        let volumes = self.volume_rows(&mut plan)?;
        let mut warnings = warnings(&spec);
        warnings.extend(self.limit_warnings(&spec));
        let given = spec.name.take();
        let mut row = ContainerRow {
            id,
            name: String::new(),
            created: Timestamp::now(),
            image: image.id.clone(),
            image_name: spec.config.image.clone(),
            layers: image.diff_ids(),
            spec,
            argv,
            mounts: plan.points,
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
        };
        // The row comes first: a folder of a create that is killed is found through it.
        let new_volumes = self.record_row(&mut row, given.as_deref(), &volumes)?;
        let made = self
            .make_folder(&row.id)
            .and_then(|()| volumes.iter().try_for_each(|volume| self.make_volume_folders(&volume.name)));
        if let Err(error) = made {
            // Its own error is less than the first; the row that stays then is one that `rm` removes.
            let _ = self.remove_locked(&row, true);
            return Err(error);
        }
        new_volumes.iter().for_each(|name| self.record_new_volume(name));
        self.record(&[events::of_container(&row.id, "create").about(events::object_of(&row))]);
        crate::timings::mark("recorded");
        Ok(Created { id: row.id, name: row.name, warnings })
    }

    /// Records a container with its volumes, in one transaction; returns the names of the volumes that are new.
    fn record_row(
        &self,
        row: &mut ContainerRow,
        given: Option<&str>,
        volumes: &[VolumeRow],
    ) -> Result<Vec<String>> {
        if let Some(name) = given {
            row.name = names::check(name).map_err(|error| Error::Invalid(error.to_string()))?.to_owned();
            return self.db()?.put_container(row, volumes);
        }
        for attempt in 0..NAME_TRIES {
            let random = random_bytes()?;
            row.name = names::generate(
                u64::from_le_bytes([0, 1, 2, 3, 4, 5, 6, 7].map(|at: usize| random[at])),
                attempt,
            );
            match self.db()?.put_container(row, volumes) {
                Err(Error::NameTaken { .. }) => {}
                other => return other,
            }
        }
        row.name = row.id.short().to_owned();
        self.db()?.put_container(row, volumes)
    }

    /// Makes the folder of a recorded container, unless it is there.
    pub(super) fn make_folder(&self, id: &ContainerId) -> Result<()> {
        let path = self.container_path(id);
        match fs::DirBuilder::new().mode(0o710).create(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                Err(error).at("make the folder", &path)
            }
            _ => Ok(()),
        }
    }

    /// Finds the image of a request, pulling as the policy says.
    fn image_for(&self, spec: &ContainerSpec, pull: PullPolicy, ui: &dyn PullProgress) -> Result<ImageRow> {
        let name = &spec.config.image;
        let options = PullOptions { platform: spec.platform.clone() };
        if pull != PullPolicy::Always {
            match self.find_image(name) {
                Ok(row) if self.matches_platform(&row, spec.platform.as_deref())? => return Ok(row),
                Ok(_) if pull == PullPolicy::Never => {
                    return Err(Error::NotFound {
                        what: "image",
                        name: format!("{name} for platform {}", spec.platform.as_deref().unwrap_or_default()),
                    });
                }
                Err(error @ Error::NotFound { .. }) if pull == PullPolicy::Never => return Err(error),
                Ok(_) | Err(Error::NotFound { .. }) => {
                    ui.message(&format!("Unable to find image '{name}' locally"))
                }
                Err(error) => return Err(error),
            }
        }
        let pulled = self.pull(name, &options, ui)?;
        self.find_image(&pulled.image.id.to_string())
    }

    /// Mounts of `--volumes-from`.
    fn inherited_mounts(&self, spec: &ContainerSpec) -> Result<Vec<MountPoint>> {
        let mut list: Vec<MountPoint> = Vec::new();
        for text in spec.host_config.volumes_from.iter().flatten() {
            let (name, mode) = text.split_once(':').unwrap_or((text, ""));
            if !matches!(mode, "" | "ro" | "rw" | "z" | "Z") {
                return Err(Error::Invalid(format!("invalid mode for volumes-from: {mode}")));
            }
            for mut point in self.row(name)?.mounts {
                if point.kind == MountKind::Tmpfs {
                    continue;
                }
                point.writable &= mode != "ro";
                list.retain(|have| have.target != point.target);
                list.push(point);
            }
        }
        Ok(list)
    }

    /// The volumes that a container uses, as they are recorded where they are not yet; what is mounted where they are, if they
    /// are no plain folders, is noted in the plan.
    fn volume_rows(&self, plan: &mut mounts::MountPlan) -> Result<Vec<VolumeRow>> {
        let mut rows = Vec::new();
        for point in plan.points.iter_mut().filter(|point| point.kind == MountKind::Volume) {
            let Some(name) = &point.volume else { continue };
            let (labels, options) = plan.volume_options.get(name).cloned().unwrap_or_default();
            let (name, created, anonymous) = (name.clone(), Timestamp::now(), point.anonymous);
            let row = VolumeRow { name, labels, options, created, anonymous };
            point.filesystem = self.volume_filesystem(&row)?;
            if point.filesystem.is_some() {
                point.fill = false;
                if !point.subpath.is_empty() {
                    return Err(Error::Unsupported(format!(
                        "volume-subpath of volume {} is not supported: its options mount something there",
                        row.name
                    )));
                }
            }
            rows.push(row);
        }
        Ok(rows)
    }
}

/// Returns 32 bytes of the kernel's randomness.
pub(crate) fn random_bytes() -> Result<[u8; 32]> {
    let mut bytes = [0; 32];
    let fail = |source: std::io::Error| Error::System { action: "get random bytes".to_owned(), source };
    let mut filled = 0;
    while filled < bytes.len() {
        filled += rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty())
            .map_err(|error| fail(error.into()))?;
    }
    Ok(bytes)
}

/// A name for an anonymous volume: 64 hexadecimal digits.
fn random_volume_name() -> String {
    random_bytes().map(|bytes| ContainerId::from_random(bytes).to_string()).unwrap_or_default()
}

/// Makes the missing source folder of a bind, as `-v` promises.
fn ensure_source(path: &Path) -> Result<()> {
    if path.symlink_metadata().is_ok() {
        return Ok(());
    }
    fs::DirBuilder::new().recursive(true).mode(0o755).create(path).at("make the folder", path)
}

fn check_sources(points: &[MountPoint]) -> Result<()> {
    for point in points.iter().filter(|point| point.kind == MountKind::Bind) {
        if !Path::new(&point.source).exists() {
            return Err(Error::Invalid(format!(
                "invalid mount config for type \"bind\": bind source path does not exist: {}",
                point.source
            )));
        }
    }
    Ok(())
}

/// What a request asks for that has no effect here, said once.
fn warnings(spec: &ContainerSpec) -> Vec<String> {
    let mut list = Vec::new();
    let host = &spec.host_config;
    if host.resources.oom_kill_disable == Some(true) && host.resources.memory == 0 {
        list.push("OOM killer is disabled for the container, but no memory limit is set; this can stop the whole machine".to_owned());
    }
    if host.network_mode == "host" && !host.port_bindings.is_empty() {
        list.push("Published ports are discarded when using host network mode".to_owned());
    }
    list
}
