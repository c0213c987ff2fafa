//! Switches single guards off in tests (feature `unguarded`), to show that the tests fail without them. In every other
//! build each guard is on, and this is no code at all. `docs/known-holes.md` lists the switches.

/// Returns whether the test has switched the guard `name` off.
#[cfg(feature = "unguarded")]
pub(crate) fn off(name: &str) -> bool {
    std::env::var("BRIG_UNGUARD").is_ok_and(|list| list.split(',').any(|off| off == name))
}

/// Returns that the guard is on.
#[cfg(not(feature = "unguarded"))]
pub(crate) const fn off(_name: &str) -> bool {
    false
}

/// What careless runtimes do where ours has a guard.
#[cfg(feature = "unguarded")]
pub(crate) mod careless {
    use std::os::fd::OwnedFd;
    use std::path::{Path, PathBuf};

    use rustix::fs::{CWD, Mode, OFlags};
    use sys::beneath::Root;

    /// Opens the place of a mount by its path text, as the host resolves it, and makes what is missing there.
    pub(crate) fn target(root: &Root, path: &Path, is_dir: bool) -> rustix::io::Result<OwnedFd> {
        let mut place = PathBuf::from(crate::binds::fd_path(root).to_string_lossy().into_owned());
        let parts: Vec<_> = path.components().skip(1).collect();
        for (index, part) in parts.iter().enumerate() {
            place.push(part);
            // What is there already is taken for right.
            let _ = match is_dir || index + 1 < parts.len() {
                true => rustix::fs::mkdir(&place, Mode::from_raw_mode(0o755)),
                false => rustix::fs::open(&place, OFlags::CREATE | OFlags::CLOEXEC, Mode::RUSR).map(drop),
            };
        }
        rustix::fs::open(&place, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
    }

    /// Binds the image's own `/dev/null`, whatever that is.
    pub(crate) fn null_tree(root: &Root) -> rustix::io::Result<OwnedFd> {
        let image = root.resolve(Path::new("/dev/null"))?;
        crate::binds::clone_tree(&image, Path::new(""), false)
    }

    /// Reads a file of the image to its end, whatever it is.
    pub(crate) fn read(path: &str) -> Option<String> {
        let file = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
        let mut text = Vec::new();
        std::io::Read::read_to_end(&mut std::fs::File::from(file), &mut text).ok()?;
        Some(String::from_utf8_lossy(&text).into_owned())
    }

    /// Writes below `/proc`, whatever is mounted there.
    pub(crate) fn write_proc(path: &str, value: &[u8]) -> rustix::io::Result<()> {
        let path = Path::new("/proc").join(path);
        let file = rustix::fs::openat(CWD, path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
        rustix::io::write(&file, value).map(drop)
    }
}
