//! Rotated files of a log are compressed, each by a process of its own that ends with it: the monitor stays small.
//!
//! The compressed file remembers the inode of the file it was made of (in the comment of its header), by which a reader who
//! follows the log finds his place again.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use flate2::{Compression, GzBuilder};
use rustix::fs::MemfdFlags;
use sys::process::{Forked, clone3, exit_now};

use super::files::{self, LogFile, rotated};

/// More than a log file ever holds: an end to what a damaged one may unpack to.
const MAX_UNPACKED: u64 = 4 << 30;

/// Begins to compress the file that was rotated last. Returns the process, which its caller reaps.
pub(super) fn spawn(path: &Path, max_files: u32) -> Option<OwnedFd> {
    match clone3(0, None).ok()? {
        Forked::Parent { pidfd, .. } => Some(pidfd),
        Forked::Child => {
            let done = std::panic::catch_unwind(|| {
                // Clients must not take this process for the monitor.
                sys::detach::close_all_except(&[]).is_ok() && compress(path, max_files).is_ok()
            });
            exit_now(i32::from(!done.unwrap_or(false)))
        }
    }
}

/// Compresses the newest rotated file of the log `path`. Meanwhile it may be rotated on: it is found again by its inode.
pub(super) fn compress(path: &Path, max_files: u32) -> io::Result<()> {
    let part = part(path);
    let mut source = File::open(rotated(path, 1))?;
    let inode = source.metadata()?.ino();
    let draft = File::options().write(true).create(true).truncate(true).mode(0o640).open(&part)?;
    let mut encoder = GzBuilder::new().comment(inode.to_string()).write(draft, Compression::fast());
    io::copy(&mut source, &mut encoder)?;
    encoder.finish()?;
    let _lock = files::lock(path)?;
    let mut places = (1..max_files).map(|age| rotated(path, age));
    match places.find(|place| fs::metadata(place).is_ok_and(|meta| meta.ino() == inode)) {
        Some(place) => {
            fs::rename(&part, files::compressed(&place))?;
            fs::remove_file(place)
        }
        // Its time was over before this was done.
        None => fs::remove_file(&part),
    }
}

/// Where a file is compressed to before it takes its place.
pub(super) fn part(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".part");
    PathBuf::from(name)
}

/// Opens a compressed file for reading, unpacked in memory; `None` when it does not exist.
pub(super) fn open(path: &Path) -> io::Result<Option<LogFile>> {
    let packed = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let entry = packed.metadata()?.ino();
    let mut decoder = GzDecoder::new(io::BufReader::new(packed));
    let mut file = File::from(rustix::fs::memfd_create("log", MemfdFlags::CLOEXEC)?);
    io::copy(&mut (&mut decoder).take(MAX_UNPACKED), &mut file)?;
    file.rewind()?;
    let comment = decoder.header().and_then(|header| header.comment()).unwrap_or_default();
    let inode = std::str::from_utf8(comment).ok().and_then(|text| text.parse().ok()).unwrap_or(entry);
    Ok(Some(LogFile::unpacked(file, inode, entry)))
}
