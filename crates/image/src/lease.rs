//! Leases: what an operation uses before the engine has recorded it.
//!
//! A lease is a file, locked by its process, with a line for each blob and layer. A sweep reads all of them; one whose lock can be
//! taken belongs to a process that has ended. The lock `content/gc.lock` orders the two: a lease names things
//! while it holds the lock shared and looks for them afterwards; a sweep decides and renames while it holds it alone.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use oci::Digest;
use rustix::fs::{FlockOperation, flock};

use crate::error::{At as _, Result};
use crate::files::{self, random_name};
use crate::store::Store;

/// Keeps the blobs and layers that operations under it touch from being swept, until it is dropped.
///
/// Take it before [`Store::fetch`], record the image in the database, then drop it: in between nothing is unowned. It ends with
/// its process in any case.
#[derive(Debug)]
pub struct Lease {
    path: PathBuf,
    file: File,
    gate: File,
    gate_path: PathBuf,
    finds_remains: bool,
    /// Whether the file is to stay.
    stays: bool,
}

/// One thing under a lease.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Leased<'a> {
    Blob(&'a Digest),
    Layer(&'a Digest),
}

impl Store {
    /// Takes a lease.
    pub fn lease(&self) -> Result<Lease> {
        let (gate, gate_path) = self.gate()?;
        let path = self.path("content/leases").join(random_name());
        files::lock(&gate, FlockOperation::LockShared, &gate_path)?;
        let file = create(&path).at("create", &path)?;
        files::try_lock(&file, &path)?;
        // Alone at the gate nobody is between making a lease and locking it: one that can be locked now is a dead one.
        let alone = flock(&gate, FlockOperation::NonBlockingLockExclusive).is_ok();
        let finds_remains = alone && self.has_dead_lease(&path)?;
        files::lock(&gate, FlockOperation::Unlock, &gate_path)?;
        Ok(Lease { path, file, gate, gate_path, finds_remains, stays: false })
    }

    /// Whether there is a lease, other than `own`, whose process has ended without giving it back.
    fn has_dead_lease(&self, own: &Path) -> Result<bool> {
        let folder = self.path("content/leases");
        for entry in std::fs::read_dir(&folder).at("list", &folder)? {
            let path = entry.at("list", &folder)?.path();
            let Some(file) = File::open(&path).ok().filter(|_| path != own) else { continue };
            if files::try_lock(&file, &path)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Opens the lock between leases and sweeps.
    pub(crate) fn gate(&self) -> Result<(File, PathBuf)> {
        let path = self.path("content/gc.lock");
        Ok((create(&path).at("open", &path)?, path))
    }
}

fn create(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)
}

impl Lease {
    /// Names things; from now on they stay if they are there.
    pub(crate) fn protect<'a>(&self, things: impl IntoIterator<Item = Leased<'a>>) -> Result<()> {
        let mut lines = String::new();
        for thing in things {
            let (letter, digest) = match thing {
                Leased::Blob(digest) => ('b', digest),
                Leased::Layer(digest) => ('l', digest),
            };
            lines.push(letter);
            lines.push_str(digest.as_str());
            lines.push('\n');
        }
        files::lock(&self.gate, FlockOperation::LockShared, &self.gate_path)?;
        let written = (&self.file).write_all(lines.as_bytes()).at("write", &self.path);
        files::lock(&self.gate, FlockOperation::Unlock, &self.gate_path)?;
        written
    }

    /// Whether somebody was killed under a lease before this one was taken: what he made is for a sweep to find.
    pub fn finds_remains(&self) -> bool {
        self.finds_remains
    }

    /// Ends the lease so that the next one finds it as one of a process that was killed: what was made under it stays until
    /// then, for the same operation to go on from.
    pub fn abandon(mut self) {
        self.stays = true;
    }

    /// Reads the lease `file`, which another process has: blobs and layers.
    pub(crate) fn read(mut file: &File) -> std::io::Result<(Vec<Digest>, Vec<Digest>)> {
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        let of = |letter: char| text.lines().filter_map(|l| l.strip_prefix(letter)?.parse().ok()).collect();
        Ok((of('b'), of('l')))
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if !self.stays {
            // One that cannot be removed is removed by the next sweep.
            let _ = files::remove_file(&self.path);
        }
    }
}
