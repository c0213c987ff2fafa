//! `brig volume import`.

use std::fs::File;
use std::io::{self, Read};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Args as ClapArgs;

use super::Entry;
use crate::cli::{Context, Run};
use crate::ui::Ui;

pub(crate) const ENTRY: Entry = Entry {
    paths: &[&["volume", "import"]],
    usage: "VOLUME [SOURCE|-]",
    about: "Take a tar archive (plain, gzip or zstd) out into a volume",
    details: "What is in the volume stays unless the archive has something of the same name.",
    ..Entry::of::<Args>()
};

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    #[arg(required = true, value_name = "VOLUME")]
    volume: String,
    #[arg(value_name = "SOURCE")]
    source: Option<String>,
}

impl Run for Args {
    fn run(self, _ui: &Ui, context: &Context) -> Result<ExitCode> {
        let engine = context.engine()?;
        let mut archive: Box<dyn Read + Send> = match self.source.as_deref() {
            None | Some("-") => Box::new(io::stdin()),
            Some(path) => Box::new(File::open(path).with_context(|| format!("cannot open {path:?}"))?),
        };
        engine.import_volume(&self.volume, &mut *archive)?;
        Ok(ExitCode::SUCCESS)
    }
}
