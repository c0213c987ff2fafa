//! `brig save`.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use clap::Args as ClapArgs;
use engine::images::SaveFormat;

use super::Entry;
use crate::cli::{Context, Run};
use crate::ui::{self, Ui};

pub(crate) const ENTRY: Entry = Entry {
    paths: &[&["image", "save"], &["save"]],
    usage: "[OPTIONS] IMAGE [IMAGE...]",
    about: "Write images to an archive (the standard output unless told otherwise)",
    details: "The archive is Docker's and an OCI layout at once; --format oci leaves Docker's part out, and\n--format oci-dir writes a folder.",
    refused: &["platform"],
    ..Entry::of::<Args>()
};

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Kind of archive (docker|oci|oci-dir) (default "docker")
    #[arg(long, value_name = "string")]
    format: Option<String>,
    /// Write to a file instead of the standard output
    #[arg(short, long, value_name = "string")]
    output: Option<String>,
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
}

impl Run for Args {
    fn run(self, _ui: &Ui, context: &Context) -> Result<ExitCode> {
        let output = self.output.as_deref().filter(|path| !path.is_empty()).map(Path::new);
        let format = match self.format.as_deref() {
            None | Some("" | "docker") => SaveFormat::Docker,
            Some("oci") => SaveFormat::Oci,
            Some("oci-dir") => {
                let Some(folder) = output else { bail!("--format oci-dir wants a folder by --output") };
                context.engine()?.save_layout(&self.images, folder)?;
                return Ok(ExitCode::SUCCESS);
            }
            Some(other) => bail!("unknown format {other:?}: give docker, oci or oci-dir"),
        };
        let engine = context.engine()?;
        match output {
            Some(path) => write_file(path, |out| Ok(engine.save(&self.images, format, out)?))?,
            None if ui::stdout_is_terminal() => {
                bail!("cowardly refusing to save to a terminal. Use the -o flag or redirect")
            }
            None => {
                let mut out = BufWriter::new(io::stdout());
                engine.save(&self.images, format, &mut out)?;
                out.flush().context("cannot write to the standard output")?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Writes a file beside `path` and puts it in its place once it is whole.
fn write_file(path: &Path, write: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<()> {
    let draft = Draft(PathBuf::from(format!("{}.{}.part", path.display(), std::process::id())));
    let file = File::create_new(&draft.0).with_context(|| format!("cannot create {:?}", draft.0))?;
    let mut out = BufWriter::new(file);
    write(&mut out)?;
    out.flush().with_context(|| format!("cannot write {:?}", draft.0))?;
    fs::rename(&draft.0, path).with_context(|| format!("cannot put the archive at {path:?}"))
}

/// A file that is removed unless it was renamed.
struct Draft(PathBuf);

impl Drop for Draft {
    fn drop(&mut self) {
        // It is gone when it was renamed; otherwise a leftover is all that failing to remove it leaves.
        let _ = fs::remove_file(&self.0);
    }
}
