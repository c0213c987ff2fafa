//! `brig volume rename`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args as ClapArgs;

use super::Entry;
use crate::cli::{Context, Run};
use crate::ui::Ui;

pub(crate) const ENTRY: Entry = Entry {
    paths: &[&["volume", "rename"]],
    usage: "VOLUME NEW_NAME",
    about: "Give a volume that no container uses another name",
    ..Entry::of::<Args>()
};

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    #[arg(required = true, value_name = "VOLUME")]
    volume: String,
    #[arg(required = true, value_name = "NEW_NAME")]
    new: String,
}

impl Run for Args {
    fn run(self, _ui: &Ui, context: &Context) -> Result<ExitCode> {
        context.engine()?.rename_volume(&self.volume, &self.new)?;
        Ok(ExitCode::SUCCESS)
    }
}
