//! `brig volume ls`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args as ClapArgs;
use docker_types::filter::Filters;

use super::Entry;
use crate::cli::{Context, Run};
use crate::ui::Ui;
use crate::view::{format, volumes};

pub(crate) const ENTRY: Entry = Entry {
    paths: &[&["volume", "ls"], &["volume", "list"]],
    usage: "[OPTIONS]",
    about: "List volumes",
    refused: &["cluster"],
    ..Entry::of::<Args>()
};

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Only those that match (dangling=true, name=…, label=…, driver=…)
    #[arg(short, long, value_name = "filter")]
    filter: Vec<String>,
    /// How to print: table, json, a template, or "table TEMPLATE"
    #[arg(long, value_name = "string")]
    format: Option<String>,
    /// Only names
    #[arg(short, long)]
    quiet: bool,
}

impl Run for Args {
    fn run(self, ui: &Ui, context: &Context) -> Result<ExitCode> {
        let filters = Filters::parse(&self.filter, &["dangling", "driver", "label", "name", "scope"])?;
        let dangling = filters.flag("dangling")?;
        let engine = context.engine()?;
        let mut list = engine.volumes()?;
        list.retain(|volume| {
            dangling.is_none_or(|wanted| volume.used_by.is_empty() == wanted)
                && filters.pattern("name", &volume.name)
                && filters.exact("driver", "local")
                && filters.exact("scope", "local")
                && filters.labels("label", &volume.labels)
        });
        list.sort_by(|a, b| a.name.cmp(&b.name));
        if self.quiet && self.format.is_none() {
            list.iter().try_for_each(|volume| ui.line(&volume.name))?;
            return Ok(ExitCode::SUCCESS);
        }
        let sized = format::uses(self.format.as_deref().filter(|text| *text != "json"), "Size");
        let rows: Vec<_> = list
            .iter()
            .map(|volume| volumes::row(volume, sized.then(|| engine.volume_size(volume))))
            .collect();
        ui.print(&format::render(&volumes::COLUMNS, self.format.as_deref(), volumes::TABLE, &rows)?)?;
        Ok(ExitCode::SUCCESS)
    }
}
