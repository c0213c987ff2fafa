//! `brig kill`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args as ClapArgs;

use super::Entry;
use super::each::each;
use crate::cli::{Context, Run};
use crate::ui::Ui;

pub(crate) const ENTRY: Entry = Entry {
    paths: &[&["kill"], &["container", "kill"]],
    usage: "[OPTIONS] CONTAINER [CONTAINER...]",
    about: "Send a signal to running containers, SIGKILL unless told otherwise",
    ..Entry::of::<Args>()
};

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Signal to send, by name or number (default "KILL")
    #[arg(short, long, value_name = "string")]
    signal: Option<String>,
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

impl Run for Args {
    fn run(self, ui: &Ui, context: &Context) -> Result<ExitCode> {
        let engine = context.engine()?;
        let signal = self.signal.as_deref().filter(|signal| !signal.is_empty()).unwrap_or("KILL");
        each(ui, &self.containers, |name| Ok(engine.kill(name, signal)?))
    }
}
