//! Volumes: named or anonymous folders that outlive containers, `volumes/<name>/_data`, or what their options name.

mod mount;
pub(crate) mod options;
mod transfer;

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use base::ContainerId;
use docker_types::bind;
use jiff::Timestamp;
use sys::beneath::Root;

use crate::Engine;
use crate::containers::Pruned;
use crate::containers::{random_bytes, remove_folder};
use crate::db::VolumeRow;
use crate::error::{Error, IoContext, Result};
use crate::events::{Event, Kind};
use crate::model::{Filesystem, MountKind, MountPoint, Volume};
use crate::rootless;

/// What the folder of a removed volume is called until it is deleted; no volume's name begins so.
const GONE: &str = ".gone-";

impl Engine {
    /// Makes a volume, or returns the one of that name. Without a name it gets a random one.
    ///
    /// Fails for another driver than `local`, for options that it does not know, and when there is one of that name with others.
    pub fn create_volume(
        &self,
        name: Option<&str>,
        driver: &str,
        labels: BTreeMap<String, String>,
        options: BTreeMap<String, String>,
    ) -> Result<Volume> {
        if !matches!(driver, "" | "local") {
            return Err(Error::Unsupported(format!(
                "volume driver {driver:?} is not supported: only \"local\" is"
            )));
        }
        let anonymous = name.is_none_or(str::is_empty);
        let name = match name.filter(|name| !name.is_empty()) {
            Some(name) => name.to_owned(),
            None => ContainerId::from_random(random_bytes()?).to_string(),
        };
        self.ensure_volume(&VolumeRow {
            name: name.clone(),
            labels,
            options,
            created: Timestamp::now(),
            anonymous,
        })?;
        self.volume(&name)
    }

    /// Makes sure that a volume exists: its row first, then its folder.
    pub(crate) fn ensure_volume(&self, row: &VolumeRow) -> Result<()> {
        self.volume_filesystem(row)?;
        // The row comes first, so that what a kill leaves is found through it; a start makes what is missing.
        let new = self.db()?.put_volume(row)?;
        self.make_volume_folders(&row.name)?;
        if new {
            self.record_new_volume(&row.name);
        }
        Ok(())
    }

    /// Returns what is mounted where a volume is that is there or is about to be made; none for a plain folder.
    ///
    /// Fails for a name that no volume can have, for options that are not there, and for others than the volume has.
    pub(crate) fn volume_filesystem(&self, row: &VolumeRow) -> Result<Option<Filesystem>> {
        check_name(&row.name)?;
        let rootless = rootless::is_rootless();
        let wanted = options::parse(&row.options, rootless)?;
        match self.db()?.volume(&row.name)? {
            Some(there) if !row.options.is_empty() && there.options != row.options => {
                Err(Error::Conflict(format!(
                    "volume {} exists already, with other options: remove it first, or choose another name",
                    row.name
                )))
            }
            Some(there) => options::parse(&there.options, rootless),
            None => Ok(wanted),
        }
    }

    /// Records the event of a new volume.
    pub(crate) fn record_new_volume(&self, name: &str) {
        self.record(&[Event::new(Kind::Volume, "create", name).with("driver", "local")]);
    }

    /// Makes the folders of a recorded volume, unless they are there.
    pub(crate) fn make_volume_folders(&self, name: &str) -> Result<()> {
        let folder = self.volume_folder(name);
        let data = folder.join("_data");
        if data.is_dir() {
            return Ok(());
        }
        self.finish_rename(name)?;
        make_folder(&folder, 0o711)?;
        make_folder(&data, 0o755)
    }

    /// Folder of a volume; the contents are in `_data` below it.
    pub(crate) fn volume_folder(&self, name: &str) -> PathBuf {
        self.roots().data.join("volumes").join(name)
    }

    /// Fills in the host path of a mount.
    pub(crate) fn with_source(&self, mut point: MountPoint) -> MountPoint {
        if let (MountKind::Volume, Some(name)) = (point.kind, &point.volume) {
            let data = self.volume_folder(name).join("_data");
            let path = if point.subpath.is_empty() {
                data
            } else {
                data.join(point.subpath.trim_start_matches('/'))
            };
            point.source = path.to_string_lossy().into_owned();
        }
        point
    }

    /// Opens the subpaths of volumes beneath their volumes and lets the mounts name the descriptors.
    ///
    /// A subpath is the work of strangers: a link in it that leads to `/` or `..` stays in the volume, and what a container
    /// that has the volume exchanges after this look is not mounted. The mounts are good as long as the descriptors are held.
    pub(crate) fn open_subpaths(&self, mounts: &mut [MountPoint]) -> Result<Vec<OwnedFd>> {
        let mut held = Vec::new();
        for point in mounts.iter_mut().filter(|point| !point.subpath.is_empty()) {
            let Some(name) = point.volume.as_ref().filter(|_| point.kind == MountKind::Volume) else {
                continue;
            };
            let attempt = |source: rustix::io::Errno| Error::System {
                action: format!("open subpath {:?} of volume {name}", point.subpath),
                source: source.into(),
            };
            let root = Root::open(&self.volume_folder(name).join("_data")).map_err(attempt)?;
            let fd = root.resolve(Path::new(&point.subpath)).map_err(attempt)?;
            point.source = format!("/proc/{}/fd/{}", std::process::id(), fd.as_raw_fd());
            held.push(fd);
        }
        Ok(held)
    }

    /// Returns all volumes, by name.
    pub fn volumes(&self) -> Result<Vec<Volume>> {
        self.db()?.volumes()?.into_iter().map(|row| self.volume_of(row)).collect()
    }

    /// Returns the volume of that name.
    pub fn volume(&self, name: &str) -> Result<Volume> {
        let row = self.db()?.volume(name)?;
        self.volume_of(row.ok_or_else(|| Error::NotFound { what: "volume", name: name.to_owned() })?)
    }

    fn volume_of(&self, row: VolumeRow) -> Result<Volume> {
        Ok(Volume {
            used_by: self.db()?.volume_users(&row.name)?,
            mountpoint: self.volume_folder(&row.name).join("_data"),
            name: row.name,
            labels: row.labels,
            options: row.options,
            created: row.created,
            anonymous: row.anonymous,
        })
    }

    /// Removes a volume that no container uses. With `force` a missing one is no error.
    pub fn remove_volume(&self, name: &str, force: bool) -> Result<()> {
        let Some(row) = self.db()?.volume(name)? else {
            // Perhaps the repetition of a removal that was killed.
            self.empty_volume_trash()?;
            return match force {
                true => Ok(()),
                false => Err(Error::NotFound { what: "volume", name: name.to_owned() }),
            };
        };
        if !self.db()?.remove_volume(&row.name, || self.discard_volume(&row.name))? {
            let users = self.db()?.volume_users(&row.name)?;
            let users: Vec<&str> = users.iter().map(ContainerId::as_str).collect();
            return Err(Error::Conflict(format!("remove {name}: volume is in use - [{}]", users.join(", "))));
        }
        self.record_gone_volume(&row.name);
        self.empty_volume_trash()
    }

    /// Records the event of a volume that was removed.
    pub(crate) fn record_gone_volume(&self, name: &str) {
        self.record(&[Event::new(Kind::Volume, "destroy", name).with("driver", "local")]);
    }

    /// Puts the folder of a volume out of the way, to be deleted by [`Engine::empty_volume_trash`].
    pub(crate) fn discard_volume(&self, name: &str) -> Result<()> {
        let random = ContainerId::from_random(random_bytes()?);
        let gone = self.roots().data.join("volumes").join(format!("{GONE}{}", random.short()));
        let folder = self.volume_folder(name);
        match fs::rename(&folder, &gone) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error).at("remove", &folder),
            _ => Ok(()),
        }
    }

    /// Deletes the folders of volumes that were removed, those of removals that were killed, too.
    pub(crate) fn empty_volume_trash(&self) -> Result<()> {
        let base = self.roots().data.join("volumes");
        for entry in fs::read_dir(&base).at("list", &base)? {
            let entry = entry.at("list", &base)?;
            if entry.file_name().as_encoded_bytes().starts_with(GONE.as_bytes()) {
                remove_folder(&entry.path())?;
            }
        }
        Ok(())
    }

    /// Removes the volumes that no container uses and that `wanted` picks; named ones only with `all`.
    pub fn prune_volumes(&self, all: bool, wanted: &dyn Fn(&Volume) -> bool) -> Result<Pruned> {
        let mut pruned = Pruned::default();
        for volume in self.volumes()? {
            if !volume.used_by.is_empty() || !(all || volume.anonymous) || !wanted(&volume) {
                continue;
            }
            let bytes = folder_size(&volume.mountpoint);
            match self.remove_volume(&volume.name, true) {
                Ok(()) => {
                    pruned.deleted.push(volume.name);
                    pruned.bytes += bytes;
                }
                Err(Error::Conflict(_)) => {} // Somebody took it meanwhile.
                Err(error) => return Err(error),
            }
        }
        self.record(&[Event::new(Kind::Volume, "prune", "").with("reclaimed", pruned.bytes)]);
        Ok(pruned)
    }

    /// Returns the bytes that a volume takes on disk.
    pub fn volume_size(&self, volume: &Volume) -> u64 {
        folder_size(&volume.mountpoint)
    }

    /// Removes folders below `volumes` that no row owns: what a killed removal left.
    pub(crate) fn sweep_volumes(&self) -> Result<()> {
        let base = self.roots().data.join("volumes");
        let rows = self.db()?.volumes()?;
        rows.iter().try_for_each(|row| self.finish_rename(&row.name))?;
        let known: std::collections::HashSet<String> = rows.into_iter().map(|row| row.name).collect();
        for entry in fs::read_dir(&base).at("list", &base)? {
            let entry = entry.at("list", &base)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let at_work = name.starts_with(transfer::DRAFT) && is_held(&entry.path());
            if !known.contains(&name) && !at_work {
                remove_folder(&entry.path())?;
            }
        }
        Ok(())
    }
}

/// Refuses what is no name of a volume.
fn check_name(name: &str) -> Result<()> {
    if bind::is_volume_name(name) {
        return Ok(());
    }
    Err(Error::Invalid(format!(
        "\"{name}\" includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, use absolute path"
    )))
}

/// Whether somebody is at work on a draft.
fn is_held(draft: &Path) -> bool {
    use rustix::fs::{FlockOperation, flock};
    let file = fs::File::options().write(true).open(draft.join("lock"));
    file.is_ok_and(|file| flock(&file, FlockOperation::NonBlockingLockExclusive).is_err())
}

fn make_folder(path: &Path, mode: u32) -> Result<()> {
    match fs::DirBuilder::new().mode(mode).create(path) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            Err(error).at("make the folder", path)
        }
        _ => Ok(()),
    }
}

/// Bytes on disk of a folder and all below it; links are not followed, what vanishes meanwhile is not counted.
pub(crate) fn folder_size(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let own = fs::symlink_metadata(path).map_or(0, |meta| meta.blocks() * 512);
    let Ok(entries) = fs::read_dir(path) else { return own };
    let below = entries.flatten().map(|entry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => folder_size(&entry.path()),
        _ => entry.metadata().map_or(0, |meta| meta.blocks() * 512),
    });
    own + below.sum::<u64>()
}
