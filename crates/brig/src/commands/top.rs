//! `brig top`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args as ClapArgs;
use docker_types::table;

use super::Entry;
use crate::cli::{Context, Run};
use crate::ui::Ui;

pub(crate) const ENTRY: Entry = Entry {
    paths: &[&["top"], &["container", "top"]],
    usage: "CONTAINER [ps OPTIONS]",
    about: "Show the processes of a running container",
    stops_at_first_word: true,
    ..Entry::of::<Args>()
};

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    #[arg(required = true, trailing_var_arg = true, value_names = ["CONTAINER", "OPTIONS"])]
    words: Vec<String>,
}

impl Run for Args {
    fn run(self, ui: &Ui, context: &Context) -> Result<ExitCode> {
        let (name, options) = super::create::split_words(&self.words)?;
        let top = context.engine()?.top(name, options)?;
        let lines = std::iter::once(&top.titles).chain(&top.processes).map(|row| row.join("\t"));
        let text = lines.collect::<Vec<_>>().join("\n");
        ui.print(&table::layout_with(&text, 20, 1))?;
        Ok(ExitCode::SUCCESS)
    }
}
