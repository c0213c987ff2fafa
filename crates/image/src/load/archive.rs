//! An archive's members, made blobs of the store while they pass.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Cursor, Read};

use oci::Digest;
use oci::manifest::{OCI_LAYER, OCI_LAYER_GZIP, OCI_LAYER_ZSTD};

use crate::error::{Error, Result};
use crate::fetch::Format;
use crate::lease::Lease;
use crate::store::Store;
use crate::tar::{Entry, Kind, Limits, Reader, TarError};

/// The most members that an archive of images may have.
const MEMBERS_MAX: u64 = 100_000;
/// The longest name of a member, in bytes.
const NAME_MAX: u64 = 1024;
/// How many links may lie one behind the other (old docker archives link equal layers).
const LINKS_MAX: usize = 8;
/// Size of the buffer before the archive.
const BUFFER: usize = 128 << 10;

/// What an archive has, by clean name.
#[derive(Debug, Default)]
pub(super) struct Members(BTreeMap<String, Member>);

/// One member.
#[derive(Debug)]
enum Member {
    File(Spool),
    /// Name of another member.
    Link(String),
}

/// A member's bytes, in the store.
#[derive(Debug, Clone)]
pub(super) struct Spool {
    pub(super) digest: Digest,
    pub(super) size: u64,
}

impl Members {
    /// Finds a file; links among members are followed.
    pub(super) fn find(&self, name: &str) -> Option<&Spool> {
        let mut name = normalize("", name)?;
        for _ in 0..=LINKS_MAX {
            match self.0.get(&name)? {
                Member::File(spool) => return Some(spool),
                Member::Link(target) => name.clone_from(target),
            }
        }
        None
    }
}

/// Puts all files of an archive into the store, under `lease`.
pub(super) fn spool(store: &Store, lease: &Lease, archive: &mut dyn Read) -> Result<Members> {
    let plain = plain(archive)?;
    let limits = Limits { entries: MEMBERS_MAX, path: NAME_MAX, ..Limits::default() };
    let mut reader = Reader::new(plain, limits);
    let mut entry = Entry::default();
    let mut members = Members::default();
    while reader.next(&mut entry).map_err(invalid)? {
        let Some(name) = std::str::from_utf8(&entry.path).ok().and_then(|name| normalize("", name)) else {
            let reason = format!("{:?} is no name for a member", String::from_utf8_lossy(&entry.path));
            return Err(Error::Archive { reason });
        };
        let member = match entry.kind {
            Kind::File if entry.segments.is_none() => Member::File(spool_file(store, lease, &mut reader)?),
            Kind::Symlink | Kind::HardLink => match link_target(&name, &entry) {
                Some(target) => Member::Link(target),
                None => continue,
            },
            _ => continue,
        };
        members.0.insert(name, member);
    }
    Ok(members)
}

fn spool_file<R: BufRead>(store: &Store, lease: &Lease, reader: &mut Reader<R>) -> Result<Spool> {
    let mut ingest = store.ingest_unnamed()?;
    loop {
        let piece = match reader.data() {
            Ok(piece) => piece,
            Err(error) => {
                ingest.discard()?;
                return Err(invalid(error));
            }
        };
        if piece.is_empty() {
            break;
        }
        ingest.write(piece)?;
        let length = piece.len();
        reader.consume(length);
    }
    let size = ingest.length;
    Ok(Spool { digest: ingest.commit_leased(store, lease)?, size })
}

/// Says by which media type a blob goes as a layer, from its first bytes.
pub(crate) fn layer_type(store: &Store, digest: &Digest) -> Result<&'static str> {
    let mut start = Vec::new();
    let read = store.blob(digest)?.take(8).read_to_end(&mut start);
    read.map_err(|source| Error::Stream { action: "read a blob", source })?;
    Ok(match Format::of(&start) {
        Format::Gzip => OCI_LAYER_GZIP,
        Format::Zstd => OCI_LAYER_ZSTD,
        Format::Plain | Format::Unsupported(_) => OCI_LAYER,
    })
}

/// Decompresses a stream, if it is compressed.
fn plain(archive: &mut dyn Read) -> Result<Box<dyn BufRead + '_>> {
    let failed = |source| Error::Stream { action: "read the archive", source };
    let mut start = Vec::new();
    archive.take(8).read_to_end(&mut start).map_err(failed)?;
    let format = Format::of(&start);
    let stream = Cursor::new(start).chain(archive);
    Ok(match format {
        Format::Plain => Box::new(BufReader::with_capacity(BUFFER, stream)),
        Format::Gzip => {
            let decoder = flate2::read::MultiGzDecoder::new(stream);
            Box::new(BufReader::with_capacity(BUFFER, decoder))
        }
        Format::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::new(stream).map_err(failed)?;
            decoder.window_log_max(crate::fetch::ZSTD_WINDOW_LOG_MAX).map_err(failed)?;
            Box::new(BufReader::with_capacity(BUFFER, decoder))
        }
        Format::Unsupported(name) => {
            return Err(Error::Unsupported { what: format!("an archive with {name} compression") });
        }
    })
}

fn link_target(name: &str, entry: &Entry) -> Option<String> {
    let target = std::str::from_utf8(&entry.link).ok()?;
    match entry.kind {
        Kind::Symlink => normalize(name.rsplit_once('/').map_or("", |(folder, _)| folder), target),
        _ => normalize("", target),
    }
}

/// Joins and cleans names; `None` for what would lead out of the archive.
fn normalize(folder: &str, name: &str) -> Option<String> {
    let above = if name.starts_with('/') { "" } else { folder };
    let mut parts: Vec<&str> = above.split('/').filter(|part| !part.is_empty()).collect();
    for part in name.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

fn invalid(error: TarError) -> Error {
    Error::Archive { reason: base::error::render_chain(&error) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_inside() {
        for (folder, name, wanted) in [
            ("", "./a//b", Some("a/b")),
            ("x", "../y/layer.tar", Some("y/layer.tar")),
            ("x", "/y", Some("y")),
            ("x", "../../y", None),
            ("", "..", None),
        ] {
            assert_eq!(normalize(folder, name).as_deref(), wanted, "{folder} {name}");
        }
    }
}
