//! `brig volume rm`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args as ClapArgs;

use super::Entry;
use super::each::each;
use crate::cli::{Context, Run};
use crate::ui::Ui;

pub(crate) const ENTRY: Entry = Entry {
    paths: &[&["volume", "rm"], &["volume", "remove"]],
    usage: "[OPTIONS] VOLUME [VOLUME...]",
    about: "Remove volumes that no container uses",
    ..Entry::of::<Args>()
};

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Do not complain of volumes that are not there
    #[arg(short, long)]
    force: bool,
    #[arg(required = true, value_name = "VOLUME")]
    volumes: Vec<String>,
}

impl Run for Args {
    fn run(self, ui: &Ui, context: &Context) -> Result<ExitCode> {
        let engine = context.engine()?;
        each(ui, &self.volumes, |name| Ok(engine.remove_volume(name, self.force)?))
    }
}
