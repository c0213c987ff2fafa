//! `brig restart`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args as ClapArgs;

use super::Entry;
use super::each::each;
use crate::cli::{Context, Run};
use crate::settings::flags::go_int;
use crate::ui::Ui;

pub(crate) const ENTRY: Entry = Entry {
    paths: &[&["restart"], &["container", "restart"]],
    usage: "[OPTIONS] CONTAINER [CONTAINER...]",
    about: "Stop containers and start them again",
    ..Entry::of::<Args>()
};

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Signal that asks the process to stop (default the container's stop signal)
    #[arg(short, long, value_name = "string")]
    signal: Option<String>,
    /// Seconds until SIGKILL, -1 to wait for ever (default the container's, or 10)
    #[arg(short, long, alias = "time", value_name = "int", value_parser = go_int)]
    timeout: Option<i64>,
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

impl Run for Args {
    fn run(self, ui: &Ui, context: &Context) -> Result<ExitCode> {
        let engine = context.engine()?;
        let signal = self.signal.as_deref().filter(|signal| !signal.is_empty());
        each(ui, &self.containers, |name| Ok(engine.restart(name, signal, self.timeout)?))
    }
}
