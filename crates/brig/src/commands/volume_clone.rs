//! `brig volume clone`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args as ClapArgs;
use docker_types::env;

use super::Entry;
use crate::cli::{Context, Run};
use crate::ui::Ui;

pub(crate) const ENTRY: Entry = Entry {
    paths: &[&["volume", "clone"]],
    usage: "[OPTIONS] SOURCE TARGET",
    about: "Make a volume with the contents of another",
    details: "The space is shared until either is written to, where the file system can (btrfs, xfs).",
    ..Entry::of::<Args>()
};

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Set a label of the new volume (name or name=value)
    #[arg(long, value_name = "list", value_parser = env::label)]
    label: Vec<(String, String)>,
    #[arg(required = true, value_name = "SOURCE")]
    source: String,
    #[arg(required = true, value_name = "TARGET")]
    target: String,
}

impl Run for Args {
    fn run(self, ui: &Ui, context: &Context) -> Result<ExitCode> {
        let labels = self.label.into_iter().collect();
        let volume = context.engine()?.clone_volume(&self.source, &self.target, labels)?;
        ui.line(&volume.name)?;
        Ok(ExitCode::SUCCESS)
    }
}
