//! One layer: download, verify, keep, decompress, hash, unpack, all while the bytes arrive.
//!
//! Two threads: this one reads the source, hashes and keeps the compressed bytes and decompresses them; the other hashes the plain
//! bytes and makes the files. Between them is a pipe of a few buffers.

use std::fs::File;
use std::io::Read;

use oci::manifest::LayerDescriptor;
use oci::{BlobDescriptor, Digest, ImageSource};
use sha2::{Digest as _, Sha256};

use super::decompress::Decompressor;
use super::pipe::{self, PipeWriter, is_gone};
use super::{FetchOptions, LayerEvent, Progress, Stop};
use crate::content::{Begun as BegunBlob, Ingest};
use crate::error::{Error, Result};
use crate::layers::{Begun, LayerMeta, Origin};
use crate::store::Store;
use crate::tar::TarError;
use crate::unpack::{Form, UnpackError, unpack};

/// Size of a read from the source.
const PIECE: usize = 64 << 10;
/// Progress is told once in so many bytes.
const TELL_EVERY: u64 = 512 << 10;

/// What a layer's fetch needs.
pub(super) struct Job<'a> {
    pub(super) store: &'a Store,
    pub(super) source: &'a dyn ImageSource,
    pub(super) options: &'a FetchOptions<'a>,
    pub(super) progress: &'a dyn Progress,
    pub(super) stop: &'a Stop<'a>,
}

impl Job<'_> {
    /// Makes sure that the layer is unpacked.
    pub(super) fn run(&self, layer: &LayerDescriptor, diff_id: &Digest) -> Result<LayerMeta> {
        match self.attempt(layer, diff_id) {
            // What the store had of the blob was damaged, perhaps by a power cut, and is removed: once more, from the source.
            Err(Error::BlobNotFound { .. }) => self.attempt(layer, diff_id),
            result => result,
        }
    }

    fn attempt(&self, layer: &LayerDescriptor, diff_id: &Digest) -> Result<LayerMeta> {
        let blob = &layer.blob;
        self.progress.layer(&blob.digest, LayerEvent::Waiting { total: blob.size });
        let maker = match self.store.begin_layer(diff_id, &|| self.stop.is_set())? {
            Begun::Have(meta) => {
                self.progress.layer(&blob.digest, LayerEvent::Exists);
                return Ok(meta);
            }
            Begun::New(maker) => maker,
        };
        if layer.foreign && !self.store.has_blob(&blob.digest) {
            return Err(Error::ForeignLayer { digest: blob.digest.clone() });
        }
        let form = Form::of_process();
        let root = maker.root()?;
        let (writer, reader) = pipe::pipe();
        let (fed, unpacked) = std::thread::scope(|scope| {
            let unpacking = std::thread::Builder::new()
                .name("unpack".to_owned())
                .spawn_scoped(scope, || unpack(reader, root, form, &self.options.unpack));
            match unpacking {
                Ok(unpacking) => {
                    let fed = self.feed(blob, writer);
                    let unpacked = unpacking.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                    (fed, Some(unpacked))
                }
                Err(source) => (Err(Error::Stream { action: "start a thread", source }), None),
            }
        });
        let in_layer = |source| Error::Unpack { layer: blob.digest.clone(), source };
        let (unpacked, reader) = match (fed, unpacked) {
            // The reason why the other side gave up stands above what the pipe says.
            (Err(Error::Unpack { source, .. }), Some(Err(other))) if is_pipe(&source) => {
                return Err(in_layer(other));
            }
            (Err(error), _) => return Err(error),
            (Ok(()), Some(Err(source))) => return Err(in_layer(source)),
            (Ok(()), Some(Ok(done))) => done,
            (Ok(()), None) => return Err(Error::Cancelled),
        };
        let (actual, tar_size) = reader.finish();
        if actual != *diff_id {
            return Err(Error::DigestMismatch {
                what: "an unpacked layer",
                expected: diff_id.clone(),
                actual,
            });
        }
        let kept = self.store.has_blob(&blob.digest);
        let origin = kept.then(|| Origin { digest: blob.digest.clone(), size: blob.size });
        let meta = maker.publish(form, origin, tar_size, unpacked)?;
        self.progress.layer(&blob.digest, LayerEvent::Done);
        Ok(meta)
    }

    /// Brings the blob into `writer`, plain: from the store if it is there, else from the source.
    fn feed(&self, blob: &BlobDescriptor, writer: PipeWriter) -> Result<()> {
        let mut feed = Feed { job: self, blob, out: Decompressor::new(writer), bytes: 0, told: 0 };
        let begun = match self.options.keep_blobs || self.store.has_blob(&blob.digest) {
            true => Some(self.store.ingest(&blob.digest, blob.size, &|| self.stop.is_set())?),
            false => None,
        };
        match begun {
            Some(BegunBlob::Have) => feed.read_store(self.store.blob(&blob.digest)?)?,
            Some(BegunBlob::New(ingest)) => feed.read_source(Sink::Keep(ingest))?,
            None => feed.read_source(Sink::Hash(Sha256::new()))?,
        }
        let in_layer = |source| decompress_error(blob, source);
        let writer = feed.out.finish().map_err(in_layer)?;
        writer.finish().map_err(in_layer)?;
        self.progress.layer(&blob.digest, LayerEvent::Unpacked { bytes: blob.size });
        Ok(())
    }
}

/// Where the compressed bytes of a download go, besides the decompressor.
enum Sink {
    Keep(Ingest),
    Hash(Sha256),
}

/// Brings one blob into the decompressor.
struct Feed<'a> {
    job: &'a Job<'a>,
    blob: &'a BlobDescriptor,
    out: Decompressor<PipeWriter>,
    bytes: u64,
    told: u64,
}

impl Feed<'_> {
    fn read_store(&mut self, mut file: File) -> Result<()> {
        let mut buffer = vec![0; PIECE];
        let mut hasher = Sha256::new();
        let mut taken = Ok(());
        loop {
            let length =
                file.read(&mut buffer).map_err(|source| Error::Stream { action: "read a blob", source })?;
            if length == 0 {
                break;
            }
            hasher.update(&buffer[..length]);
            // After an error the rest is hashed still: it may be the blob that is wrong.
            taken = taken.and_then(|()| self.take(&buffer[..length]));
            if matches!(taken, Err(Error::Cancelled)) {
                return taken;
            }
        }
        if Digest::from_sha256(hasher.finalize().into()) == self.blob.digest {
            return taken;
        }
        self.job.store.remove_blob(&self.blob.digest)?;
        Err(self.damaged())
    }

    fn read_source(&mut self, mut sink: Sink) -> Result<()> {
        let mut resumed = false;
        let read = self.copy_source(&mut sink, &mut resumed);
        match (sink, read) {
            (Sink::Keep(ingest), Ok(())) => match ingest.commit(self.job.store, Some(&self.blob.digest)) {
                Err(Error::DigestMismatch { .. }) if resumed => Err(self.damaged()),
                committed => committed.map(drop),
            },
            (Sink::Keep(ingest), Err(Error::Unpack { .. })) if resumed => {
                ingest.discard()?;
                Err(self.damaged())
            }
            (Sink::Hash(hasher), Ok(())) => self.verify(Digest::from_sha256(hasher.finalize().into())),
            (_, Err(error)) => Err(error),
        }
    }

    fn copy_source(&mut self, sink: &mut Sink, resumed: &mut bool) -> Result<()> {
        let mut buffer = vec![0; PIECE];
        if let Sink::Keep(ingest) = sink {
            loop {
                let length = ingest.read_earlier(&mut buffer)?;
                if length == 0 {
                    break;
                }
                *resumed = true;
                self.take(&buffer[..length])?;
            }
        }
        self.download(sink, &mut buffer)
    }

    /// What the store had of the blob was not right.
    fn damaged(&self) -> Error {
        Error::BlobNotFound { digest: self.blob.digest.clone() }
    }

    /// Reads the source to the blob's end, again from where it broke off after temporary errors.
    fn download(&mut self, sink: &mut Sink, buffer: &mut [u8]) -> Result<()> {
        let mut attempt = 1;
        let mut pause = self.job.options.retry.pause;
        while self.bytes < self.blob.size || self.blob.size == 0 {
            let before = self.bytes;
            let error = match self.download_once(sink, buffer) {
                Ok(()) => return Ok(()),
                Err(error @ Error::Source { temporary: true, .. }) => error,
                Err(error) => return Err(error),
            };
            // Whoever gets ahead may try for ever; whoever does not, a few times.
            if self.bytes > before {
                (attempt, pause) = (1, self.job.options.retry.pause);
            }
            attempt += 1;
            if attempt > self.job.options.retry.attempts {
                return Err(error);
            }
            let event = LayerEvent::Retrying { attempt, error: &error };
            self.job.progress.layer(&self.blob.digest, event);
            self.job.stop.sleep(pause)?;
            pause = pause.saturating_mul(2);
        }
        Ok(())
    }

    fn download_once(&mut self, sink: &mut Sink, buffer: &mut [u8]) -> Result<()> {
        let mut stream =
            self.job.source.open_blob(self.blob, self.bytes).map_err(|source| self.source_error(source))?;
        loop {
            let length = match stream.read(buffer) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.source_error(error.into())),
                Ok(length) => length,
            };
            if length == 0 && self.bytes < self.blob.size {
                return Err(Error::Source {
                    digest: self.blob.digest.clone(),
                    temporary: true,
                    source: Box::new(self.size_mismatch(self.bytes)),
                });
            }
            if length == 0 {
                return Ok(());
            }
            let piece = &buffer[..length];
            if self.bytes + length as u64 > self.blob.size {
                if let Sink::Keep(ingest) = std::mem::replace(sink, Sink::Hash(Sha256::new())) {
                    ingest.discard()?;
                }
                return Err(self.size_mismatch(self.bytes + length as u64));
            }
            match sink {
                Sink::Keep(ingest) => ingest.write(piece)?,
                Sink::Hash(hasher) => hasher.update(piece),
            }
            self.take(piece)?;
        }
    }

    /// Hands compressed bytes to the decompressor.
    fn take(&mut self, piece: &[u8]) -> Result<()> {
        self.job.stop.check()?;
        self.bytes += piece.len() as u64;
        let limits = &self.job.options.unpack;
        let allowed = limits.ratio_free.saturating_add(limits.ratio.saturating_mul(self.bytes));
        if let Some(out) = self.out.out() {
            out.allowed = allowed;
        }
        if let Err(error) = self.out.write(piece) {
            if let Some(out) = self.out.out().filter(|out| out.over) {
                let source = UnpackError::Limit {
                    what: "the number of plain bytes for the compressed ones so far",
                    value: out.sent,
                    limit: allowed,
                };
                return Err(Error::Unpack { layer: self.blob.digest.clone(), source });
            }
            return Err(decompress_error(self.blob, error));
        }
        if self.bytes - self.told >= TELL_EVERY || self.bytes == self.blob.size {
            self.told = self.bytes;
            self.job.progress.layer(&self.blob.digest, LayerEvent::Downloaded { bytes: self.bytes });
        }
        Ok(())
    }

    fn verify(&self, actual: Digest) -> Result<()> {
        if actual == self.blob.digest {
            return Ok(());
        }
        Err(Error::DigestMismatch { what: "a blob", expected: self.blob.digest.clone(), actual })
    }

    fn size_mismatch(&self, actual: u64) -> Error {
        Error::SizeMismatch { digest: self.blob.digest.clone(), expected: self.blob.size, actual }
    }

    fn source_error(&self, source: oci::SourceError) -> Error {
        let temporary = self.job.source.is_temporary(source.as_ref());
        Error::Source { digest: self.blob.digest.clone(), temporary, source }
    }
}

fn decompress_error(blob: &BlobDescriptor, source: std::io::Error) -> Error {
    let source = UnpackError::Tar(TarError::Read { offset: 0, source });
    Error::Unpack { layer: blob.digest.clone(), source }
}

fn is_pipe(error: &UnpackError) -> bool {
    matches!(error, UnpackError::Tar(TarError::Read { source, .. }) if is_gone(source))
}
