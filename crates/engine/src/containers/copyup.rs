//! A fresh volume is filled from the image the first time: contents, owners, modes, times, extended attributes. The
//! image's tree belongs to strangers: everything is opened by descriptor, links are copied as links and never followed.

use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;
use std::path::Path;

use image::tree::{self, CopyOptions};
use rustix::fs::{FlockOperation, Mode, OFlags, flock};
use sys::beneath::Root;

use crate::Engine;
use crate::error::{Error, IoContext, Result};
use crate::model::{MountKind, MountPoint};

/// Fills the fresh volumes among `mounts` from the root file system.
pub(super) fn fill_volumes(engine: &Engine, mounts: &[MountPoint], root: &Root) -> Result<()> {
    for point in mounts
        .iter()
        .filter(|point| point.kind == MountKind::Volume && point.fill && point.subpath.is_empty())
    {
        let Some(name) = &point.volume else { continue };
        let folder = engine.volume_folder(name);
        let done = folder.join("filled");
        if done.exists() {
            continue;
        }
        let lock_path = folder.join("lock");
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&lock_path)
            .at("open", &lock_path)?;
        flock(&lock, FlockOperation::LockExclusive).at("lock", &lock_path)?;
        let data = folder.join("_data");
        // Whatever a person or another container put there stays alone (CVE-2020-1726).
        if !done.exists() && is_empty(&data)? {
            fill(root, &point.target, &data).map_err(|source| Error::System {
                action: format!("fill volume {name} from {} of the image", point.target),
                source,
            })?;
        }
        File::create(&done).at("make", &done)?;
    }
    Ok(())
}

fn is_empty(path: &Path) -> Result<bool> {
    Ok(std::fs::read_dir(path).at("list", path)?.next().is_none())
}

fn fill(root: &Root, target: &str, data: &Path) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let source = match root.open_in(Path::new(target), flags, Mode::empty()) {
        Ok(fd) => fd,
        // The image has no such folder: the volume stays empty and root's.
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let into = rustix::fs::open(data, flags | OFlags::CLOEXEC, Mode::empty())?;
    // A device of the image gets no second life outside the container's device rules.
    let options = CopyOptions { root_attributes: true, ..CopyOptions::default() };
    tree::copy(source.as_fd(), b".", into.as_fd(), b".", &options).map(drop).map_err(io::Error::other)
}
