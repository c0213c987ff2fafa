//! `brig container cleanup`: what a monitor calls after the end of its container. Not for people.
//!
//! It may print one line, `restart <milliseconds>`: the monitor waits that long and calls again with `--restart`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args as ClapArgs;

use super::Entry;
use crate::cli::{Context, Run};
use crate::ui::Ui;

pub(crate) const ENTRY: Entry = Entry {
    paths: &[&["container", "cleanup"]],
    usage: "[OPTIONS] CONTAINER",
    about: "Clean up after the end of a container (called by its monitor)",
    hidden: true,
    ..Entry::of::<Args>()
};

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Start the container again: the wait is over
    #[arg(long)]
    restart: bool,
    #[arg(required = true, value_name = "CONTAINER")]
    container: String,
}

impl Run for Args {
    fn run(self, ui: &Ui, context: &Context) -> Result<ExitCode> {
        if let Some(wait) = context.engine()?.cleanup(&self.container, self.restart)? {
            ui.line_now(&format!("restart {}", wait.as_millis()))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
