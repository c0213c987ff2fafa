//! `brig network disconnect`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args as ClapArgs;

use super::Entry;
use crate::cli::{Context, Run};
use crate::ui::Ui;

pub(crate) const ENTRY: Entry = Entry {
    paths: &[&["network", "disconnect"]],
    usage: "[OPTIONS] NETWORK CONTAINER",
    about: "Take a container off a network, also while it runs",
    ..Entry::of::<Args>()
};

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Do not complain of a container that is not there
    #[arg(short, long)]
    force: bool,
    #[arg(required = true, value_name = "NETWORK")]
    network: String,
    #[arg(required = true, value_name = "CONTAINER")]
    container: String,
}

impl Run for Args {
    fn run(self, _ui: &Ui, context: &Context) -> Result<ExitCode> {
        context.engine()?.disconnect_network(&self.network, &self.container, self.force)?;
        Ok(ExitCode::SUCCESS)
    }
}
