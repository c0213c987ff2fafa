//! The files of a log: `path` is written, `path.1` is the one before it, and so on; `path.1.gz` when it
//! was compressed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::compress;

/// More rotated files than anyone keeps: where looking for them ends.
const MAX_FILES: u32 = 10_000;

/// How many numbers in a row may be free before the end is believed.
const FREE_NUMBERS: u32 = 3;

/// Returns the path of the file that was rotated `age` times.
pub(super) fn rotated(path: &Path, age: u32) -> PathBuf {
    if age == 0 {
        return path.to_owned();
    }
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{age}"));
    PathBuf::from(name)
}

/// Opens the newest file for writing. A line that a killed monitor began is ended, so that it cannot spoil the next.
pub(super) fn open_for_append(path: &Path) -> io::Result<(File, u64)> {
    let mut file = OpenOptions::new()
        .append(true)
        .read(true)
        .create(true)
        .mode(0o640)
        .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits() as i32)
        .open(path)?;
    let mut size = file.metadata()?.len();
    if size > 0 {
        let mut last = [0];
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
        if last != *b"\n" {
            file.write_all(b"\n")?;
            size += 1;
        }
    }
    Ok((file, size))
}

/// Returns the path of the compressed form of a file.
pub(super) fn compressed(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".gz");
    PathBuf::from(name)
}

/// Holds off others who rename the files of the log, as long as the answer lives.
pub(super) fn lock(path: &Path) -> io::Result<File> {
    let folder = File::open(path.parent().unwrap_or(Path::new("/")))?;
    rustix::fs::flock(&folder, rustix::fs::FlockOperation::LockExclusive)?;
    Ok(folder)
}

/// Makes room for a new newest file, keeping `max_files` in all.
pub(super) fn rotate(path: &Path, max_files: u32) -> io::Result<()> {
    let _lock = lock(path)?;
    for age in (0..max_files.saturating_sub(1)).rev() {
        let (from, to) = (rotated(path, age), rotated(path, age + 1));
        // Only one form of each is there. The other form of the oldest one is not overwritten by what takes its place.
        if moved(&from, &to)? {
            remove(&compressed(&to))?;
        } else if moved(&compressed(&from), &compressed(&to))? {
            remove(&to)?;
        }
    }
    if max_files <= 1 {
        fs::remove_file(path)?;
    }
    Ok(())
}

/// Renames a file; `false` when it is not there.
fn moved(from: &Path, to: &Path) -> io::Result<bool> {
    match fs::rename(from, to) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// A file of a log that is being read; it stays the same one when it is rotated meanwhile.
#[derive(Debug)]
pub(super) struct LogFile {
    pub(super) file: File,
    /// Of the file as it was written, also when this is its compressed form.
    pub(super) inode: u64,
    /// Of the file that was found.
    entry: u64,
}

impl LogFile {
    /// A file whose compressed form was found as `entry`.
    pub(super) fn unpacked(file: File, inode: u64, entry: u64) -> Self {
        Self { file, inode, entry }
    }

    /// Opens one file, compressed or not; `None` when it does not exist.
    pub(super) fn open(path: &Path) -> io::Result<Option<Self>> {
        match File::open(path) {
            Ok(file) => {
                let inode = file.metadata()?.ino();
                Ok(Some(Self { file, inode, entry: inode }))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => compress::open(&compressed(path)),
            Err(error) => Err(error),
        }
    }
}

/// Opens all files, the newest first.
///
/// A rotation meanwhile moves files towards higher numbers, so none is passed over; one may be met twice and is taken once,
/// and a number may be free for a moment between two renames.
pub(super) fn open_all(path: &Path) -> io::Result<Vec<LogFile>> {
    let mut files: Vec<LogFile> = Vec::new();
    let mut free = 0;
    for age in 0..MAX_FILES {
        match LogFile::open(&rotated(path, age))? {
            Some(file) => {
                free = 0;
                if !files.iter().any(|known| known.entry == file.entry) {
                    files.push(file);
                }
            }
            None if free == FREE_NUMBERS => break,
            None => free += 1,
        }
    }
    Ok(files)
}

/// Returns the file that follows the one with `inode`, the oldest one when that is gone, or `None` when it is the newest.
pub(super) fn next_after(path: &Path, inode: u64) -> io::Result<Option<LogFile>> {
    let mut newer = None;
    for file in open_all(path)? {
        if file.inode == inode {
            return Ok(newer);
        }
        newer = Some(file);
    }
    Ok(newer)
}
