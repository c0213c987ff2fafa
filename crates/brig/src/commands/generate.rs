//! `brig generate man DIR`: the manual pages, for the installation. Not for people.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args as ClapArgs;

use super::Entry;
use crate::cli::{Context, Run, man};
use crate::ui::Ui;

pub(crate) const ENTRY: Entry = Entry {
    paths: &[&["generate"]],
    usage: "man DIR",
    about: "Write the manual pages to a folder",
    hidden: true,
    ..Entry::of::<Args>()
};

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    #[arg(required = true, value_name = "WHAT", value_parser = ["man"])]
    what: String,
    #[arg(required = true, value_name = "DIR")]
    folder: PathBuf,
}

impl Run for Args {
    fn run(self, ui: &Ui, _context: &Context) -> Result<ExitCode> {
        let count = man::write(&self.folder)?;
        ui.debug(&format!("wrote {count} pages of kind {}", self.what));
        Ok(ExitCode::SUCCESS)
    }
}
