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
    usage: "CONTAINER [CONTAINER...]",
    about: "Wait until containers have ended and print their exit codes",
    ..Entry::of::<Args>()
};

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

impl Run for Args {
    fn run(self, ui: &Ui, context: &Context) -> Result<ExitCode> {
        let engine = context.engine()?;
        each_printing(ui, &self.containers, |name| {
            Ok(Some(engine.wait(name, WaitCondition::NotRunning)?.to_string()))
        })
    }
}
