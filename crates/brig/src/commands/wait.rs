//! `brig wait`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args as ClapArgs;
use engine::containers::WaitCondition;

use super::Entry;
use super::each::each_printing;
use crate::cli::{Context, Run};
use crate::ui::Ui;

pub(crate) const ENTRY: Entry = Entry {
    paths: &[&["wait"], &["container", "wait"]],
    usage: "[OPTIONS] CONTAINER [CONTAINER...]",
    about: "Wait until containers have ended and print their exit codes",
    details: "One that was waited for until it runs, or is well or ill, has no exit code: -1 is printed for it.",
    ..Entry::of::<Args>()
};

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// What to wait for (not-running|next-exit|removed|running|healthy|unhealthy) (default "not-running")
    #[arg(long, value_name = "string", value_parser = str::parse::<WaitCondition>)]
    condition: Option<WaitCondition>,
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

impl Run for Args {
    fn run(self, ui: &Ui, context: &Context) -> Result<ExitCode> {
        let engine = context.engine()?;
        let condition = self.condition.unwrap_or_default();
        each_printing(ui, &self.containers, |name| Ok(Some(engine.wait(name, condition)?.to_string())))
    }
}
