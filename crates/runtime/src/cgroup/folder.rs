//! One folder of a hierarchy, held by a descriptor: reads and writes its files, makes and removes folders below it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::Error;
use super::layout::{CGROUP1_MAGIC, CGROUP2_MAGIC};

/// An opened folder of a cgroup file system.
#[derive(Debug)]
pub(super) struct Folder {
    fd: OwnedFd,
    path: PathBuf,
}

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC).union(OFlags::NOFOLLOW);

impl Folder {
    /// Opens the absolute `path` and checks that it is a cgroup; `None` when there is no such folder.
    pub(super) fn open(path: &Path) -> Result<Option<Self>, Error> {
        let fd = match rustix::fs::open(path, DIRECTORY, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(Error::from_io("open", path, errno)),
        };
        let stat = rustix::fs::fstatfs(&fd).map_err(|errno| Error::from_io("examine", path, errno))?;
        let magic = u64::try_from(stat.f_type).unwrap_or_default();
        if magic != CGROUP1_MAGIC && magic != CGROUP2_MAGIC {
            return Err(Error::Layout(format!("{path:?} is not on a cgroup file system")));
        }
        Ok(Some(Self { fd, path: path.to_owned() }))
    }

    /// Opens a plain folder with recorded files in the place of a cgroup.
    #[cfg(test)]
    pub(super) fn recorded(path: &Path) -> Self {
        let fd = rustix::fs::open(path, DIRECTORY, Mode::empty()).expect("open the folder");
        Self { fd, path: path.to_owned() }
    }

    /// Opens the folder `below` this one; no link leads out of it.
    pub(super) fn open_below(&self, below: &Path) -> Result<Self, Errno> {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let fd = rustix::fs::openat2(&self.fd, below, DIRECTORY, Mode::empty(), resolve)?;
        Ok(Self { fd, path: self.path.join(below) })
    }

    /// Makes the folder `below` this one.
    pub(super) fn make_below(&self, below: &Path) -> Result<(), Errno> {
        rustix::fs::mkdirat(&self.fd, below, Mode::from_raw_mode(0o755))
    }

    /// Removes the folder `name` in this one.
    pub(super) fn remove_below(&self, name: &Path) -> Result<(), Errno> {
        rustix::fs::unlinkat(&self.fd, name, AtFlags::REMOVEDIR)
    }

    /// Where the folder is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Opens the file `name` for writing.
    pub(super) fn open_to_write(&self, name: &str) -> Result<OwnedFd, Errno> {
        let flags = OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        rustix::fs::openat(&self.fd, name, flags, Mode::empty())
    }

    /// Opens the file `name` for reading.
    pub(super) fn open_to_read(&self, name: &str) -> Result<OwnedFd, Errno> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        rustix::fs::openat(&self.fd, name, flags, Mode::empty())
    }

    /// Writes `value` to the file `name` in one write(2): the kernel takes each write for one request.
    pub(super) fn write(&self, name: &str, value: &str) -> Result<(), Errno> {
        write_once(self.open_to_write(name)?.as_fd(), value)
    }

    /// Reads the file `name` whole.
    pub(super) fn read(&self, name: &str) -> Result<String, Errno> {
        read_all(self.open_to_read(name)?.as_fd())
    }

    /// Reads one number out of the file `name`; `max` is [`u64::MAX`].
    pub(super) fn read_number(&self, name: &str) -> Result<u64, Errno> {
        let text = self.read(name)?;
        match text.trim() {
            "max" => Ok(u64::MAX),
            // v1 has a few signed files; only -1, without limit, occurs.
            "-1" => Ok(u64::MAX),
            number => number.parse().map_err(|_| Errno::INVAL),
        }
    }

    /// Returns the names of the groups in this one.
    pub(super) fn children(&self) -> Result<Vec<PathBuf>, Errno> {
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(&self.fd)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if entry.file_type() == rustix::fs::FileType::Directory && name != b"." && name != b".." {
                names.push(PathBuf::from(std::ffi::OsStr::from_bytes(name)));
            }
        }
        Ok(names)
    }

    /// Makes an error of what the kernel said about the file `name`.
    pub(super) fn error(&self, action: &'static str, name: &str, errno: Errno) -> Error {
        let path = if name.is_empty() { self.path.clone() } else { self.path.join(name) };
        Error::from_io(action, path, errno)
    }
}

use std::os::unix::ffi::OsStrExt as _;

/// Writes `value` in one write(2).
pub(super) fn write_once(file: BorrowedFd<'_>, value: &str) -> Result<(), Errno> {
    match rustix::io::retry_on_intr(|| rustix::io::write(file, value.as_bytes()))? {
        count if count == value.len() => Ok(()),
        _ => Err(Errno::IO),
    }
}

/// Reads from where `file` stands to its end.
pub(super) fn read_all(file: BorrowedFd<'_>) -> Result<String, Errno> {
    let mut bytes = Vec::with_capacity(4096);
    let mut chunk = [0_u8; 4096];
    loop {
        match rustix::io::retry_on_intr(|| rustix::io::read(file, &mut chunk))? {
            0 => break,
            count => bytes.extend_from_slice(&chunk[..count]),
        }
    }
    String::from_utf8(bytes).map_err(|_| Errno::ILSEQ)
}
