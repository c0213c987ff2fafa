//! `brig export`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args as ClapArgs;

use super::{Entry, output};
use crate::cli::{Context, Run};
use crate::ui::Ui;

pub(crate) const ENTRY: Entry = Entry {
    paths: &[&["container", "export"], &["export"]],
    usage: "[OPTIONS] CONTAINER",
    about: "Write a container's files as a tar archive (to the standard output unless told otherwise)",
    details: "What is mounted in the container, volumes too, is left out.",
    ..Entry::of::<Args>()
};

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Write to a file
    #[arg(short, long, value_name = "string")]
    output: Option<String>,
    #[arg(required = true, value_name = "CONTAINER")]
    container: String,
}

impl Run for Args {
    fn run(self, _ui: &Ui, context: &Context) -> Result<ExitCode> {
        let engine = context.engine()?;
        output::write(self.output.as_deref(), |out| Ok(engine.export(&self.container, out)?))?;
        Ok(ExitCode::SUCCESS)
    }
}
