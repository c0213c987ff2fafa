//! Leases: what an operation uses before the engine has recorded it.
//!
//! A lease is a file, locked by its process, with a line for each blob and layer. A sweep reads all of them; one whose lock can be
//! taken belongs to a process that has ended. The lock `content/gc.lock` orders the two: a lease names things
//! while it holds the lock shared and looks for them afterwards; a sweep decides and renames while it holds it alone.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use oci::Digest;
use rustix::fs::FlockOperation;

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
        files::lock(&gate, FlockOperation::Unlock, &gate_path)?;
        Ok(Lease { path, file, gate, gate_path })
    }

    /// Opens the lock between leases and sweeps.
    pub(crate) fn gate(&self) -> Result<(File, PathBuf)> {
        let path = self.path("content/gc.lock");
        Ok((create(&path).at("open", &path)?, path))
    }
}

fn create(path: &std::path::Path) -> std::io::Result<File> {
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
        // A file that stays is removed by the next sweep.
        let _ = files::remove_file(&self.path);
    }
}
