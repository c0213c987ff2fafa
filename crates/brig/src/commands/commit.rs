//! `brig commit`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args as ClapArgs;
use engine::containers::CommitSpec;

use super::Entry;
use crate::cli::{Context, Run};
use crate::ui::Ui;

pub(crate) const ENTRY: Entry = Entry {
    paths: &[&["container", "commit"], &["commit"]],
    usage: "[OPTIONS] CONTAINER [REPOSITORY[:TAG]]",
    about: "Make an image of a container and what it changed",
    details: "What is mounted in the container, volumes too, is left out.",
    ..Entry::of::<Args>()
};

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Who made it
    #[arg(short, long, value_name = "string")]
    author: Option<String>,
    /// Set something by a Dockerfile instruction (CMD, ENV, …)
    #[arg(short, long, value_name = "list")]
    change: Vec<String>,
    /// Remark in the image's history
    #[arg(short, long, value_name = "string")]
    message: Option<String>,
    /// Freeze the container meanwhile (default true)
    #[arg(short, long, default_value = "true")]
    pause: bool,
    /// The same as --pause=false
    #[arg(long)]
    no_pause: bool,
    #[arg(required = true, value_name = "CONTAINER")]
    container: String,
    #[arg(value_name = "REPOSITORY")]
    reference: Option<String>,
}

impl Run for Args {
    fn run(self, ui: &Ui, context: &Context) -> Result<ExitCode> {
        let spec = CommitSpec {
            reference: self.reference.filter(|name| !name.is_empty()),
            changes: self.change,
            author: self.author.unwrap_or_default(),
            message: self.message.unwrap_or_default(),
            pause: self.pause && !self.no_pause,
        };
        let committed = context.engine()?.commit(&self.container, &spec)?;
        committed.warnings.iter().for_each(|warning| ui.warn(warning));
        ui.line(&committed.id.to_string())?;
        Ok(ExitCode::SUCCESS)
    }
}
