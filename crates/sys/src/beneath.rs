//! Paths beneath a root, by descriptor (`openat2`): every path that comes from an image, an archive, a guest
//! or a user is opened through [`Root`] and never joined as text. Nothing is resolved twice.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::{Errno, Result};

/// How often a resolution that raced with a rename is tried again before it is given up.
const RACE_RETRIES: usize = 64;

/// How many links one path may lead over, as the kernel has it.
const LINKS_MAX: usize = 40;

/// A folder that stands for `/`: links inside, absolute ones too, resolve within it, and `..` stops at it.
#[derive(Debug)]
pub struct Root {
    fd: OwnedFd,
}

impl Root {
    /// Opens the folder `path` of the host as a root.
    pub fn open(path: &Path) -> Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self { fd: rustix::fs::open(path, flags, Mode::empty())? })
    }

    /// Takes a descriptor of a folder as a root.
    pub fn from_fd(fd: OwnedFd) -> Self {
        Self { fd }
    }

    /// Opens `path` inside the root. Links are followed within the root; links of procfs never.
    pub fn open_in(&self, path: &Path, flags: OFlags, mode: Mode) -> Result<OwnedFd> {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        openat2(self.fd.as_fd(), path, flags | OFlags::CLOEXEC, mode, resolve)
    }

    /// Opens `path` inside the root and refuses any symbolic link on the way or at its end.
    pub fn open_no_links(&self, path: &Path, flags: OFlags, mode: Mode) -> Result<OwnedFd> {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS;
        openat2(self.fd.as_fd(), path, flags | OFlags::CLOEXEC, mode, resolve)
    }

    /// Returns an `O_PATH` descriptor of `path` inside the root; a link at its end is followed.
    pub fn resolve(&self, path: &Path) -> Result<OwnedFd> {
        self.open_in(path, OFlags::PATH, Mode::empty())
    }

    /// Makes sure that the folder `path` exists inside the root and returns an `O_PATH` descriptor of it.
    ///
    /// Missing parts are made with `mode`; links are followed within the root, and where one leads to nothing, what it
    /// leads to is made there.
    pub fn ensure_dir(&self, path: &Path, mode: Mode) -> Result<OwnedFd> {
        if let Ok(fd) = self.open_in(path, OFlags::PATH | OFlags::DIRECTORY, Mode::empty()) {
            return Ok(fd);
        }
        let path = self.chase(path)?;
        let mut done = PathBuf::from("/");
        let mut dir = self.open_in(&done, OFlags::PATH | OFlags::DIRECTORY, Mode::empty())?;
        for part in path.components() {
            match part {
                Component::Normal(name) => {
                    match rustix::fs::mkdirat(&dir, name, mode) {
                        Ok(()) | Err(Errno::EXIST) => {}
                        Err(error) => return Err(error),
                    }
                    done.push(name);
                }
                Component::ParentDir => {
                    done.pop();
                }
                Component::RootDir | Component::CurDir | Component::Prefix(_) => continue,
            }
            dir = self.open_in(&done, OFlags::PATH | OFlags::DIRECTORY, Mode::empty())?;
        }
        Ok(dir)
    }

    /// Makes sure that something that is no folder exists at `path` (an empty file is made where nothing is) and
    /// returns an `O_PATH` descriptor of it.
    pub fn ensure_file(&self, path: &Path, mode: Mode, dir_mode: Mode) -> Result<OwnedFd> {
        if let Ok(fd) = self.resolve(path) {
            return Ok(fd);
        }
        let path = &self.chase(path)?;
        let parent = path.parent().unwrap_or(Path::new("/"));
        self.ensure_dir(parent, dir_mode)?;
        let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        drop(self.open_in(path, flags, mode)?);
        self.resolve(path)
    }

    /// Returns the path inside the root that `path` leads to, links read one by one; what does not exist is no link.
    ///
    /// It is only a plan: who opens it does so beneath the root again, so that a link exchanged meanwhile stays inside, too.
    fn chase(&self, path: &Path) -> Result<PathBuf> {
        let parts =
            |path: &Path| path.components().map(|part| part.as_os_str().to_owned()).rev().collect::<Vec<_>>();
        let mut ahead = parts(path);
        let mut done = PathBuf::from("/");
        let mut links = 0;
        while let Some(part) = ahead.pop() {
            match Path::new(&part).components().next() {
                Some(Component::Normal(name)) => match self.read_link(&done, Path::new(name))? {
                    Some(target) => {
                        links += 1;
                        if links > LINKS_MAX {
                            return Err(Errno::LOOP);
                        }
                        ahead.extend(parts(&target));
                    }
                    None => done.push(name),
                },
                Some(Component::ParentDir) => drop(done.pop()),
                Some(Component::RootDir) => done = PathBuf::from("/"),
                Some(Component::CurDir | Component::Prefix(_)) | None => {}
            }
        }
        Ok(done)
    }

    /// Returns where the link `name` in the folder `dir` leads; `None` when there is no link of that name.
    fn read_link(&self, dir: &Path, name: &Path) -> Result<Option<PathBuf>> {
        use std::os::unix::ffi::OsStringExt;
        let folder = match self.open_in(dir, OFlags::PATH | OFlags::DIRECTORY, Mode::empty()) {
            Err(Errno::NOENT) => return Ok(None),
            result => result?,
        };
        match rustix::fs::readlinkat(&folder, name, Vec::new()) {
            Ok(target) => Ok(Some(std::ffi::OsString::from_vec(target.into_bytes()).into())),
            Err(Errno::NOENT | Errno::INVAL) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Calls `openat2`, again when a rename raced with it (`EAGAIN`).
pub fn openat2(
    dir: BorrowedFd<'_>,
    path: &Path,
    flags: OFlags,
    mode: Mode,
    resolve: ResolveFlags,
) -> Result<OwnedFd> {
    for _ in 0..RACE_RETRIES {
        match rustix::fs::openat2(dir, path, flags, mode, resolve) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            result => return result,
        }
    }
    Err(Errno::AGAIN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn mode() -> Mode {
        Mode::from_raw_mode(0o755)
    }

    #[test]
    fn links_stay_inside_the_root() {
        let dir = std::env::temp_dir().join(format!("beneath-{}", std::process::id()));
        std::fs::create_dir_all(dir.join("root/etc")).unwrap();
        std::fs::write(dir.join("root/etc/inside"), "in").unwrap();
        symlink("/etc/inside", dir.join("root/absolute")).unwrap();
        symlink("../../../../etc/passwd", dir.join("root/escape")).unwrap();
        symlink("/missing/dir", dir.join("root/dangling")).unwrap();
        let root = Root::open(&dir.join("root")).unwrap();
        assert!(root.resolve(Path::new("absolute")).is_ok());
        assert_eq!(root.resolve(Path::new("escape")).unwrap_err(), Errno::NOENT);
        assert_eq!(
            root.open_no_links(Path::new("absolute"), OFlags::RDONLY, Mode::empty()).unwrap_err(),
            Errno::LOOP
        );
        root.ensure_dir(Path::new("/a/../b/c"), mode()).unwrap();
        assert!(dir.join("root/b/c").is_dir());
        symlink("../../../out/../file", dir.join("root/etc/lost")).unwrap();
        symlink("loop", dir.join("root/loop")).unwrap();
        root.ensure_dir(Path::new("/dangling/x"), mode()).unwrap();
        assert!(dir.join("root/missing/dir/x").is_dir());
        root.ensure_file(Path::new("/etc/lost"), mode(), mode()).unwrap();
        assert!(dir.join("root/file").is_file() && !dir.join("file").exists());
        assert_eq!(root.ensure_dir(Path::new("/loop/x"), mode()).unwrap_err(), Errno::LOOP);
        assert_eq!(root.ensure_file(Path::new("/loop"), mode(), mode()).unwrap_err(), Errno::LOOP);
        root.ensure_file(Path::new("/new/file"), mode(), mode()).unwrap();
        assert!(dir.join("root/new/file").is_file());
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
