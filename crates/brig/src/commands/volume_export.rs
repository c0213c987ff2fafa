//! `brig volume export`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args as ClapArgs;

use super::{Entry, output};
use crate::cli::{Context, Run};
use crate::ui::Ui;

pub(crate) const ENTRY: Entry = Entry {
    paths: &[&["volume", "export"]],
    usage: "[OPTIONS] VOLUME",
    about: "Write a volume's contents as a tar archive (to the standard output unless told otherwise)",
    ..Entry::of::<Args>()
};

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Write to a file
    #[arg(short, long, value_name = "string")]
    output: Option<String>,
    #[arg(required = true, value_name = "VOLUME")]
    volume: String,
}

impl Run for Args {
    fn run(self, _ui: &Ui, context: &Context) -> Result<ExitCode> {
        let engine = context.engine()?;
        output::write(self.output.as_deref(), |out| Ok(engine.export_volume(&self.volume, out)?))?;
        Ok(ExitCode::SUCCESS)
    }
}
