//! Blobs by digest. A blob comes in through an *ingest*, a file that is locked by whoever writes it, verified, and then
//! renamed to where the blob belongs: there, a blob is whole. A partial ingest is continued by whoever wants the blob next.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::PathBuf;
use std::time::Duration;

use oci::Digest;
use sha2::{Digest as _, Sha256};

use crate::error::{At as _, Error, Result};
use crate::files::{self, random_name};
use crate::lease::{Lease, Leased};
use crate::store::Store;

/// How often somebody else's lock is looked at again.
pub(crate) const LOCK_POLL: Duration = Duration::from_millis(20);

/// A blob on its way in.
#[derive(Debug)]
pub(crate) struct Ingest {
    path: PathBuf,
    file: File,
    hasher: Sha256,
    /// Bytes so far.
    pub(crate) length: u64,
}

/// What [`Store::ingest`] finds.
#[derive(Debug)]
pub(crate) enum Begun {
    /// The blob is here already.
    Have,
    /// It may be written; so many bytes of it are there from an earlier attempt.
    New(Ingest),
}

impl Store {
    /// Stores `bytes` under their digest.
    pub fn put_blob(&self, bytes: &[u8]) -> Result<Digest> {
        let digest = Digest::of(bytes);
        if self.blob_size(&digest) == Some(bytes.len() as u64) {
            return Ok(digest);
        }
        let mut ingest = self.ingest_unnamed()?;
        ingest.write(bytes)?;
        ingest.commit(self, None)
    }

    /// Opens a blob; its bytes were verified on the way in.
    pub fn blob(&self, digest: &Digest) -> Result<File> {
        let path = self.blob_path(digest);
        match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(Error::BlobNotFound { digest: digest.clone() })
            }
            opened => opened.at("open", &path),
        }
    }

    /// Reads a blob of at most `limit` bytes, and verifies it again.
    ///
    /// One that a power cut has damaged is removed and counts as not found.
    pub fn read_blob(&self, digest: &Digest, limit: u64) -> Result<Vec<u8>> {
        let file = self.blob(digest)?;
        let path = self.blob_path(digest);
        let size = file.metadata().at("stat", &path)?.len();
        if size > limit {
            return Err(Error::Limit { what: "the size of a blob in bytes", value: size, limit });
        }
        let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
        file.take(limit).read_to_end(&mut bytes).at("read", &path)?;
        if Digest::of(&bytes) == *digest {
            return Ok(bytes);
        }
        self.remove_blob(digest)?;
        Err(Error::BlobNotFound { digest: digest.clone() })
    }

    /// Says whether the store has a blob.
    pub fn has_blob(&self, digest: &Digest) -> bool {
        self.blob_size(digest).is_some()
    }

    /// Returns the size of a blob, in bytes; `None` when it is not in the store.
    pub fn blob_size(&self, digest: &Digest) -> Option<u64> {
        std::fs::metadata(self.blob_path(digest)).ok().map(|meta| meta.len())
    }

    /// Removes a blob; that it is not there is fine.
    pub fn remove_blob(&self, digest: &Digest) -> Result<()> {
        files::remove_file(&self.blob_path(digest)).map(drop)
    }

    pub(crate) fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.path("content/blobs/sha256").join(digest.hex())
    }

    /// Begins to bring in the blob `digest` of `size` bytes. While another process does, it waits; `stop` ends that.
    pub(crate) fn ingest(&self, digest: &Digest, size: u64, stop: &dyn Fn() -> bool) -> Result<Begun> {
        let path = self.path("content/ingest").join(digest.hex());
        loop {
            if self.blob_size(digest) == Some(size) {
                return Ok(Begun::Have);
            }
            let file = open_ingest(&path).at("create", &path)?;
            while !files::try_lock(&file, &path)? {
                if stop() {
                    return Err(Error::Cancelled);
                }
                std::thread::sleep(LOCK_POLL);
            }
            // Whoever had the lock may have published or removed the file that we opened.
            let ours = file.metadata().at("stat", &path)?;
            if std::fs::metadata(&path).is_ok_and(|named| named.ino() == ours.ino()) {
                return Ingest::resume(path, file, size).map(Begun::New);
            }
        }
    }

    /// Begins to bring in a blob whose digest is not known yet.
    pub(crate) fn ingest_unnamed(&self) -> Result<Ingest> {
        loop {
            let path = self.path("content/ingest").join(format!("new-{}", random_name()));
            let file = open_ingest(&path).at("create", &path)?;
            // A sweep may have met the file before it was locked and taken it for a dead process's; then once more.
            let locked = files::try_lock(&file, &path)?;
            let ours = file.metadata().at("stat", &path)?;
            if locked && std::fs::metadata(&path).is_ok_and(|named| named.ino() == ours.ino()) {
                return Ok(Ingest { path, file, hasher: Sha256::new(), length: 0 });
            }
        }
    }
}

fn open_ingest(path: &std::path::Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

impl Ingest {
    fn resume(path: PathBuf, file: File, size: u64) -> Result<Self> {
        let ingest = Self { path, file, hasher: Sha256::new(), length: 0 };
        if ingest.file.metadata().at("stat", &ingest.path)?.len() > size {
            ingest.file.set_len(0).at("truncate", &ingest.path)?;
        }
        Ok(ingest)
    }

    /// Reads the next piece that an earlier attempt left, and counts it in; 0 at its end.
    pub(crate) fn read_earlier(&mut self, into: &mut [u8]) -> Result<usize> {
        let length = self.file.read(into).at("read", &self.path)?;
        self.hasher.update(&into[..length]);
        self.length += length as u64;
        Ok(length)
    }

    /// Appends bytes. What an earlier attempt left must have been read.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).at("write", &self.path)?;
        self.hasher.update(bytes);
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Publishes the blob when its digest is `expected`; otherwise what came is removed.
    pub(crate) fn commit(self, store: &Store, expected: Option<&Digest>) -> Result<Digest> {
        let actual = Digest::from_sha256(self.hasher.finalize().into());
        if let Some(expected) = expected
            && *expected != actual
        {
            files::remove_file(&self.path)?;
            return Err(Error::DigestMismatch { what: "a blob", expected: expected.clone(), actual });
        }
        let blob = store.blob_path(&actual);
        std::fs::rename(&self.path, &blob).at("publish", &blob)?;
        Ok(actual)
    }

    /// Publishes the blob whatever its digest is, under `lease` from the start.
    pub(crate) fn commit_leased(self, store: &Store, lease: &Lease) -> Result<Digest> {
        let digest = Digest::from_sha256(self.hasher.clone().finalize().into());
        lease.protect([Leased::Blob(&digest)])?;
        self.commit(store, None)
    }

    /// Removes what came.
    pub(crate) fn discard(self) -> Result<()> {
        files::remove_file(&self.path).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TestStore;

    #[test]
    fn blobs_are_verified_and_published() {
        let store = TestStore::new();
        let digest = store.put_blob(b"hello").unwrap();
        assert_eq!(store.put_blob(b"hello").unwrap(), digest);
        assert_eq!(store.read_blob(&digest, 5).unwrap(), b"hello");
        assert!(matches!(store.read_blob(&digest, 4), Err(Error::Limit { .. })));
        std::fs::write(store.blob_path(&digest), b"").unwrap();
        assert!(matches!(store.read_blob(&digest, 5), Err(Error::BlobNotFound { .. })));
        assert!(!store.has_blob(&digest));
    }

    #[test]
    fn a_wrong_digest_leaves_nothing() {
        let store = TestStore::new();
        let digest = Digest::of(b"right");
        let Begun::New(mut ingest) = store.ingest(&digest, 5, &|| false).unwrap() else { panic!() };
        ingest.write(b"wrong").unwrap();
        assert!(matches!(ingest.commit(&store, Some(&digest)), Err(Error::DigestMismatch { .. })));
        assert_eq!(std::fs::read_dir(store.path("content/ingest")).unwrap().count(), 0);
    }

    #[test]
    fn a_partial_ingest_is_continued_and_a_second_writer_waits() {
        let store = TestStore::new();
        let digest = Digest::of(b"hello world");
        let Begun::New(mut first) = store.ingest(&digest, 11, &|| false).unwrap() else { panic!() };
        first.write(b"hello").unwrap();
        assert!(matches!(store.ingest(&digest, 11, &|| true), Err(Error::Cancelled)));
        drop(first);
        let Begun::New(mut second) = store.ingest(&digest, 11, &|| false).unwrap() else { panic!() };
        let mut buffer = [0; 100];
        assert_eq!(second.read_earlier(&mut buffer).unwrap(), 5);
        assert_eq!(second.read_earlier(&mut buffer).unwrap(), 0);
        second.write(b" world").unwrap();
        second.commit(&store, Some(&digest)).unwrap();
        assert!(matches!(store.ingest(&digest, 11, &|| false), Ok(Begun::Have)));
    }
}
