//! `brig system prune`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args as ClapArgs;
use docker_types::filter::Filters;
use engine::system::PruneOptions;

use super::{Entry, prune, rmi};
use crate::cli::{Context, Run};
use crate::ui::Ui;

pub(crate) const ENTRY: Entry = Entry {
    paths: &[&["system", "prune"]],
    about: "Remove what nothing uses, and what crashes left behind",
    ..Entry::of::<Args>()
};

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// All images that no container uses, not only nameless ones
    #[arg(short, long)]
    all: bool,
    /// Only those that match (label=…, label!=…)
    #[arg(long, value_name = "filter")]
    filter: Vec<String>,
    /// Do not ask
    #[arg(short, long)]
    force: bool,
    /// Anonymous volumes too
    #[arg(long)]
    volumes: bool,
}

impl Run for Args {
    fn run(self, ui: &Ui, context: &Context) -> Result<ExitCode> {
        let filters = Filters::parse(&self.filter, &["label", "label!"])?;
        if !prune::confirmed(ui, self.force, &self.warning())? {
            return Ok(ExitCode::SUCCESS);
        }
        let options = PruneOptions { all: self.all, volumes: self.volumes };
        let pruned = context.engine()?.prune_system(options, &|labels| {
            filters.labels("label", labels) && filters.labels_absent("label!", labels)
        })?;
        prune::list(ui, "Deleted Containers:", &pruned.containers)?;
        prune::list(ui, "Deleted Volumes:", &pruned.volumes)?;
        if !pruned.images.is_empty() {
            ui.line("Deleted Images:")?;
            rmi::lines(&pruned.images).iter().try_for_each(|line| ui.line(&line.to_lowercase()))?;
            ui.line("")?;
        }
        prune::total(ui, pruned.bytes)?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Args {
    fn warning(&self) -> String {
        let mut text = String::from("WARNING! This will remove:\n  - all stopped containers\n");
        if self.volumes {
            text += "  - all anonymous volumes not used by at least one container\n";
        }
        text += match self.all {
            true => "  - all images without at least one container associated to them\n",
            false => "  - all dangling images\n",
        };
        text
    }
}
