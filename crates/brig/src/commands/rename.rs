//! `brig rename`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args as ClapArgs;

use super::Entry;
use crate::cli::{Context, Run};
use crate::ui::Ui;

pub(crate) const ENTRY: Entry = Entry {
    paths: &[&["rename"], &["container", "rename"]],
    usage: "CONTAINER NEW_NAME",
    about: "Give a container another name",
    ..Entry::of::<Args>()
};

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    #[arg(required = true, value_name = "CONTAINER")]
    container: String,
    #[arg(required = true, value_name = "NEW_NAME")]
    new_name: String,
}

impl Run for Args {
    fn run(self, _ui: &Ui, context: &Context) -> Result<ExitCode> {
        context.engine()?.rename(&self.container, &self.new_name)?;
        Ok(ExitCode::SUCCESS)
    }
}
