//! `brig save`.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args as ClapArgs;
use engine::images::SaveFormat;

use super::{Entry, output};
use crate::cli::{Context, Run};
use crate::ui::Ui;

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
        output::write(self.output.as_deref(), |out| Ok(engine.save(&self.images, format, out)?))?;
        Ok(ExitCode::SUCCESS)
    }
}
