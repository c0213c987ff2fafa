//! `volume export`, `import`, `clone` and `rename`: a volume's contents as tar, from tar, as another volume, under another name.
//!
//! A container may be writing to the volume, and may be hostile: its contents are walked by descriptor, and links in it are
//! written as links (CVE-2023-0778).

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use image::tree::{self, CopyOptions, ExtractOptions, PackOptions, Packer};
use jiff::Timestamp;
use rustix::fs::{FlockOperation, Mode, OFlags, flock};

use super::options;
use crate::Engine;
use crate::containers::{random_bytes, remove_folder};
use crate::db::VolumeRow;
use crate::error::{Doing, Error, IoContext, Result};
use crate::model::Volume;
use crate::rootless;

/// What the names of half-made copies begin with; no volume's name does.
pub(super) const DRAFT: &str = ".clone-";

impl Engine {
    /// Writes the contents of a volume as tar.
    pub fn export_volume(&self, name: &str, out: &mut dyn Write) -> Result<()> {
        let folder = self.open_contents(&self.volume_row(name)?)?;
        let doing = || format!("cannot export volume {name}");
        let mut packer = Packer::new(out, PackOptions::default());
        packer.add(folder.as_fd(), b".", b".").doing(doing)?;
        packer.finish().doing(doing)?;
        Ok(())
    }

    /// Takes an archive (plain, gzip, zstd) out into a volume, on top of what is in it.
    pub fn import_volume(&self, name: &str, archive: &mut (dyn Read + Send)) -> Result<()> {
        let row = self.volume_row(name)?;
        let folder = self.open_contents(&row)?;
        let plain = tree::plain(archive).map_err(|source| Error::System {
            action: format!("read the archive for volume {name}"),
            source,
        })?;
        tree::extract(plain, folder.as_fd(), folder.as_fd(), b"/", &ExtractOptions::default())
            .doing(|| format!("cannot import into volume {name}"))?;
        // What a person put there is not to be filled from an image (CVE-2020-1726).
        let filled = self.volume_folder(&row.name).join("filled");
        File::create(&filled).at("make", &filled).map(drop)
    }

    /// Makes a volume with the contents of another; extents are shared where the file system can.
    pub fn clone_volume(
        &self,
        source: &str,
        target: &str,
        labels: BTreeMap<String, String>,
    ) -> Result<Volume> {
        let from = self.volume_row(source)?;
        super::check_name(target)?;
        if self.db()?.volume(target)?.is_some() {
            return Err(Error::Conflict(format!(
                "cannot clone volume {source}: volume {target} exists already"
            )));
        }
        let contents = self.open_contents(&from)?;
        let base = self.roots().data.join("volumes");
        let draft = base.join(format!("{DRAFT}{}", hex(&random_bytes()?[..8])));
        super::make_folder(&draft, 0o711)?;
        let made = self.fill_clone(&contents, &draft, source).and_then(|lock| {
            let row = VolumeRow {
                name: target.to_owned(),
                labels,
                options: BTreeMap::new(),
                created: Timestamp::now(),
                anonymous: false,
            };
            // The folder first: a row without its folder would be taken for an empty volume.
            self.publish_clone(&draft, &row)?;
            drop(lock);
            self.record_new_volume(target);
            self.volume(target)
        });
        if made.is_err() {
            remove_folder(&draft)?;
        }
        made
    }

    /// Copies into a draft; what comes back keeps a sweep from it.
    fn fill_clone(&self, contents: &OwnedFd, draft: &Path, source: &str) -> Result<File> {
        let path = draft.join("lock");
        let lock = File::options().create(true).truncate(false).write(true).open(&path).at("open", &path)?;
        flock(&lock, FlockOperation::LockExclusive).at("lock", &path)?;
        let data = draft.join("_data");
        super::make_folder(&data, 0o755)?;
        let into = open_folder(&data)?;
        let options = CopyOptions { devices: true, root_attributes: true, ..CopyOptions::default() };
        tree::copy(contents.as_fd(), b".", into.as_fd(), b".", &options)
            .doing(|| format!("cannot clone volume {source}"))?;
        let filled = draft.join("filled");
        File::create(&filled).at("make", &filled)?;
        Ok(lock)
    }

    fn publish_clone(&self, draft: &Path, row: &VolumeRow) -> Result<()> {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        let folder = self.volume_folder(&row.name);
        if folder.exists() && self.db()?.volume(&row.name)?.is_none() {
            remove_folder(&folder)?; // What a killed removal left.
        }
        renameat_with(CWD, draft, CWD, &folder, RenameFlags::NOREPLACE).at("make the folder", &folder)?;
        match self.db()?.put_volume(row)? {
            true => Ok(()),
            false => Err(Error::Conflict(format!("volume {} was made by somebody else meanwhile", row.name))),
        }
    }

    /// Gives a volume that no container uses another name.
    pub fn rename_volume(&self, old: &str, new: &str) -> Result<()> {
        let row = self.volume_row(old)?;
        super::check_name(new)?;
        self.make_volume_folders(old)?;
        if old == new {
            return Ok(());
        }
        if self.db()?.volume(new)?.is_some() {
            return Err(Error::Conflict(format!("cannot rename volume {old}: volume {new} exists already")));
        }
        if self.db()?.rename_volume(&row.name, new)? {
            return self.finish_rename(new);
        }
        let users = self.db()?.volume_users(old)?;
        let users: Vec<&str> = users.iter().map(base::ContainerId::as_str).collect();
        Err(Error::Conflict(format!("rename {old}: volume is in use - [{}]", users.join(", "))))
    }

    /// Gives the folder of a volume the name that its row has: the second half of a rename, which may have been killed.
    pub(super) fn finish_rename(&self, name: &str) -> Result<()> {
        let Some(old) = self.db()?.renamed_from(name)? else { return Ok(()) };
        let (from, to) = (self.volume_folder(&old), self.volume_folder(name));
        if from.exists() {
            remove_folder(&to)?; // What a killed removal of an earlier volume left.
            fs::rename(&from, &to).at("rename", &from)?;
        }
        self.db()?.end_rename(name)
    }

    pub(super) fn volume_row(&self, name: &str) -> Result<VolumeRow> {
        let row = self.db()?.volume(name)?;
        row.ok_or_else(|| Error::NotFound { what: "volume", name: name.to_owned() })
    }

    /// Opens the folder with a volume's contents.
    fn open_contents(&self, row: &VolumeRow) -> Result<OwnedFd> {
        match options::parse(&row.options, rootless::is_rootless())? {
            None => {
                self.make_volume_folders(&row.name)?;
                open_folder(&self.volume_folder(&row.name).join("_data"))
            }
            Some(bind) if bind.is_bind() => open_folder(Path::new(&bind.device)),
            Some(other) if other.kind == "tmpfs" => Err(Error::Unsupported(format!(
                "volume {} is a tmpfs: it has contents in running containers only, see brig cp",
                row.name
            ))),
            Some(other) => options::resolve(&other)?.mount(),
        }
    }
}

fn open_folder(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).at("open", path)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
