//! `brig container prune`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args as ClapArgs;

use super::{Entry, prune};
use crate::cli::{Context, Run};
use crate::ui::Ui;

pub(crate) const ENTRY: Entry = Entry {
    paths: &[&["container", "prune"]],
    usage: "[OPTIONS]",
    about: "Remove all containers that do not run",
    ..Entry::of::<Args>()
};

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Only those that match (until=24h, label=…, label!=…)
    #[arg(long, value_name = "filter")]
    filter: Vec<String>,
    /// Do not ask
    #[arg(short, long)]
    force: bool,
}

impl Run for Args {
    fn run(self, ui: &Ui, context: &Context) -> Result<ExitCode> {
        let filters = prune::filters(&self.filter)?;
        let until = prune::until(&filters)?;
        if !prune::confirmed(ui, self.force, "WARNING! This will remove all stopped containers.")? {
            return Ok(ExitCode::SUCCESS);
        }
        let pruned = context.engine()?.prune_containers(&|container| {
            let labels = &container.spec.config.labels;
            until.is_none_or(|until| container.created < until)
                && filters.labels("label", labels)
                && filters.labels_absent("label!", labels)
        })?;
        prune::report(ui, "Deleted Containers:", &pruned)?;
        Ok(ExitCode::SUCCESS)
    }
}
