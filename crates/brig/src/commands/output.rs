//! Where archives go: to a file that is put in its place once it is whole, or to the standard output.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::ui::{self, Gone};

/// How much is collected before it is written, in bytes.
const BUFFER: usize = 256 << 10;

/// Writes to the file `path`, or to the standard output without one, which must be no terminal then.
pub(crate) fn write(path: Option<&str>, write: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<()> {
    match path.filter(|path| !path.is_empty()) {
        Some(path) => to_file(Path::new(path), write),
        None if ui::stdout_is_terminal() => {
            bail!("cowardly refusing to save to a terminal. Use the -o flag or redirect")
        }
        None => to_stdout(write),
    }
}

/// Writes a file beside `path` and puts it in its place once it is whole. What is there and no regular file, a device or
/// FIFO, is written to.
pub(crate) fn to_file(path: &Path, write: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<()> {
    if fs::metadata(path).is_ok_and(|meta| !meta.is_file() && !meta.is_dir()) {
        let file = File::options().write(true).open(path);
        let mut out =
            BufWriter::with_capacity(BUFFER, file.with_context(|| format!("cannot open {path:?}"))?);
        write(&mut out)?;
        return out.flush().with_context(|| format!("cannot write {path:?}"));
    }
    let draft = Draft(PathBuf::from(format!("{}.{}.part", path.display(), std::process::id())));
    let file = File::create_new(&draft.0).with_context(|| format!("cannot create {:?}", draft.0))?;
    let mut out = BufWriter::with_capacity(BUFFER, file);
    write(&mut out)?;
    out.flush().with_context(|| format!("cannot write {:?}", draft.0))?;
    fs::rename(&draft.0, path).with_context(|| format!("cannot put the archive at {path:?}"))
}

/// Writes to the standard output. A reader that went away is not worth a message.
pub(crate) fn to_stdout(write: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<()> {
    let fd = io::stdout().as_fd().try_clone_to_owned().context("cannot use the standard output")?;
    let mut out = BufWriter::with_capacity(BUFFER, File::from(fd));
    let written = write(&mut out).and_then(|()| out.flush().context("cannot write to the standard output"));
    let broken = |cause: &(dyn std::error::Error + 'static)| {
        cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    };
    match written {
        Err(error) if error.chain().any(broken) => {
            // What is left in the buffer has no reader either.
            drop(out.into_parts());
            Err(Gone.into())
        }
        written => written,
    }
}

/// A file that is removed unless it was renamed.
struct Draft(PathBuf);

impl Drop for Draft {
    fn drop(&mut self) {
        // It is gone when it was renamed; otherwise a leftover is all that failing to remove it leaves.
        let _ = fs::remove_file(&self.0);
    }
}
