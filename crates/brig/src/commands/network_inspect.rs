//! `brig network inspect`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args as ClapArgs;

use super::{Entry, inspect};
use crate::cli::{Context, Run};
use crate::ui::Ui;

pub(crate) const ENTRY: Entry = Entry {
    paths: &[&["network", "inspect"]],
    usage: "[OPTIONS] NETWORK [NETWORK...]",
    about: "Show all that is known of networks",
    refused: &["verbose"],
    ..Entry::of::<Args>()
};

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// How to print: json or a template
    #[arg(short, long, value_name = "string")]
    format: Option<String>,
    #[arg(required = true, value_name = "NETWORK")]
    names: Vec<String>,
}

impl Run for Args {
    fn run(self, ui: &Ui, context: &Context) -> Result<ExitCode> {
        let engine = context.engine()?;
        inspect::all(ui, self.format.as_deref(), &self.names, |name| inspect::network(&engine, name))
    }
}
