//! `brig volume prune`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args as ClapArgs;

use super::{Entry, prune};
use crate::cli::{Context, Run};
use crate::ui::Ui;

pub(crate) const ENTRY: Entry = Entry {
    paths: &[&["volume", "prune"]],
    usage: "[OPTIONS]",
    about: "Remove volumes that no container uses",
    ..Entry::of::<Args>()
};

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Named ones too, not only anonymous ones
    #[arg(short, long)]
    all: bool,
    /// Only those that match (label=…, label!=…)
    #[arg(long, value_name = "filter")]
    filter: Vec<String>,
    /// Do not ask
    #[arg(short, long)]
    force: bool,
}

impl Run for Args {
    fn run(self, ui: &Ui, context: &Context) -> Result<ExitCode> {
        let filters = docker_types::filter::Filters::parse(&self.filter, &["label", "label!"])?;
        let warning = match self.all {
            true => "WARNING! This will remove all local volumes not used by at least one container.",
            false => "WARNING! This will remove anonymous local volumes not used by at least one container.",
        };
        if !prune::confirmed(ui, self.force, warning)? {
            return Ok(ExitCode::SUCCESS);
        }
        let pruned = context.engine()?.prune_volumes(self.all, &|volume| {
            filters.labels("label", &volume.labels) && filters.labels_absent("label!", &volume.labels)
        })?;
        prune::report(ui, "Deleted Volumes:", &pruned)?;
        Ok(ExitCode::SUCCESS)
    }
}
