//! `brig network rm`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args as ClapArgs;

use super::Entry;
use super::each::each_printing;
use crate::cli::{Context, Run};
use crate::ui::Ui;

pub(crate) const ENTRY: Entry = Entry {
    paths: &[&["network", "rm"], &["network", "remove"]],
    usage: "NETWORK [NETWORK...]",
    about: "Remove networks that no container that runs is on",
    ..Entry::of::<Args>()
};

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Do not complain of networks that are not there
    #[arg(short, long)]
    force: bool,
    #[arg(required = true, value_name = "NETWORK")]
    networks: Vec<String>,
}

impl Run for Args {
    fn run(self, ui: &Ui, context: &Context) -> Result<ExitCode> {
        let engine = context.engine()?;
        each_printing(ui, &self.networks, |name| match engine.remove_network(name) {
            Ok(_) => Ok(Some(name.to_owned())),
            Err(engine::Error::NotFound { .. }) if self.force => Ok(None),
            Err(error) => Err(error.into()),
        })
    }
}
