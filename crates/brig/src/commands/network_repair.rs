//! `brig network repair`. Monitors call it, too, when somebody changed the firewall.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args as ClapArgs;

use super::Entry;
use crate::cli::{Context, Run};
use crate::ui::Ui;

pub(crate) const ENTRY: Entry = Entry {
    paths: &[&["network", "repair"]],
    usage: "",
    about: "Put firewall rules and published ports back that somebody took away",
    ..Entry::of::<Args>()
};

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {}

impl Run for Args {
    fn run(self, _: &Ui, context: &Context) -> Result<ExitCode> {
        context.engine()?.repair_firewall()?;
        Ok(ExitCode::SUCCESS)
    }
}
