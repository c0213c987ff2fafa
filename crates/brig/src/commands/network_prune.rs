//! `brig network prune`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args as ClapArgs;

use super::{Entry, prune};
use crate::cli::{Context, Run};
use crate::ui::Ui;

pub(crate) const ENTRY: Entry = Entry {
    paths: &[&["network", "prune"]],
    usage: "[OPTIONS]",
    about: "Remove networks that no container asks for, running or not",
    ..Entry::of::<Args>()
};

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Only those that match (until=…, label=…, label!=…)
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
        let warning = "WARNING! This will remove all custom networks not used by at least one container.";
        if !prune::confirmed(ui, self.force, warning)? {
            return Ok(ExitCode::SUCCESS);
        }
        let names = context.engine()?.prune_networks(&|network| {
            until.is_none_or(|until| network.created < until)
                && filters.labels("label", &network.config.labels)
                && filters.labels_absent("label!", &network.config.labels)
        })?;
        let deleted = engine::containers::Pruned { deleted: names, bytes: 0 };
        prune::list(ui, "Deleted Networks:", &deleted)?;
        Ok(ExitCode::SUCCESS)
    }
}
