//! `brig container health-changed`: what a monitor calls when its container's health has changed. Not for people.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args as ClapArgs;

use super::Entry;
use crate::cli::{Context, Run};
use crate::ui::Ui;

pub(crate) const ENTRY: Entry = Entry {
    paths: &[&["container", "health-changed"]],
    usage: "CONTAINER STATUS",
    about: "Act upon a change of health (called by the container's monitor)",
    hidden: true,
    ..Entry::of::<Args>()
};

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    #[arg(required = true, value_name = "CONTAINER")]
    container: String,
    #[arg(required = true, value_name = "STATUS")]
    status: String,
}

impl Run for Args {
    fn run(self, _ui: &Ui, context: &Context) -> Result<ExitCode> {
        let engine = context.engine()?;
        let id = engine.container(&self.container)?.id;
        engine.health_changed(&id, &self.status)?;
        Ok(ExitCode::SUCCESS)
    }
}
