//! `brig image prune`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args as ClapArgs;

use super::{Entry, prune, rmi};
use crate::cli::{Context, Run};
use crate::ui::Ui;

pub(crate) const ENTRY: Entry = Entry {
    paths: &[&["image", "prune"]],
    usage: "[OPTIONS]",
    about: "Remove images that no container uses",
    ..Entry::of::<Args>()
};

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Those with a name too, not only nameless ones
    #[arg(short, long)]
    all: bool,
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
        let warning = match self.all {
            true => "WARNING! This will remove all images without at least one container associated to them.",
            false => "WARNING! This will remove all dangling images.",
        };
        if !prune::confirmed(ui, self.force, warning)? {
            return Ok(ExitCode::SUCCESS);
        }
        let (removed, pruned) = context.engine()?.prune_images(self.all, &|image| {
            let labels = &image.config.config.labels;
            until.is_none_or(|until| image.created.is_some_and(|created| created < until))
                && filters.labels("label", labels)
                && filters.labels_absent("label!", labels)
        })?;
        if !removed.is_empty() {
            ui.line("Deleted Images:")?;
            rmi::lines(&removed).iter().try_for_each(|line| ui.line(&line.to_lowercase()))?;
            ui.line("")?;
        }
        prune::total(ui, pruned.bytes)?;
        Ok(ExitCode::SUCCESS)
    }
}
