//! `brig network ls`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args as ClapArgs;
use docker_types::filter::Filters;
use jiff::tz::TimeZone;

use super::Entry;
use crate::cli::{Context, Run};
use crate::ui::Ui;
use crate::view::{format, networks, short_id};

pub(crate) const ENTRY: Entry = Entry {
    paths: &[&["network", "ls"], &["network", "list"]],
    usage: "[OPTIONS]",
    about: "List networks",
    ..Entry::of::<Args>()
};

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Only those that match (driver=…, name=…, id=…, type=builtin|custom, label=…, dangling=…)
    #[arg(short, long, value_name = "filter")]
    filter: Vec<String>,
    /// How to print: table, json, a template, or "table TEMPLATE"
    #[arg(long, value_name = "string")]
    format: Option<String>,
    /// Do not cut ids
    #[arg(long)]
    no_trunc: bool,
    /// Only ids
    #[arg(short, long)]
    quiet: bool,
}

impl Run for Args {
    fn run(self, ui: &Ui, context: &Context) -> Result<ExitCode> {
        let keys = ["dangling", "driver", "id", "label", "name", "scope", "type"];
        let filters = Filters::parse(&self.filter, &keys)?;
        let dangling = filters.flag("dangling")?;
        let mut list = context.engine()?.networks()?;
        list.retain(|network| {
            filters.pattern("name", &network.name)
                && filters.prefix("id", &network.id)
                && filters.exact("driver", &network.driver)
                && filters.exact("scope", "local")
                && filters.exact("type", if network.builtin { "builtin" } else { "custom" })
                && filters.labels("label", &network.config.labels)
                // The networks that are always there never dangle.
                && dangling.is_none_or(|wanted| wanted == (!network.builtin && network.containers.is_empty()))
        });
        list.sort_by(|a, b| a.name.cmp(&b.name));
        if self.quiet && self.format.is_none() {
            list.iter()
                .try_for_each(|net| ui.line(if self.no_trunc { &net.id } else { short_id(&net.id) }))?;
            return Ok(ExitCode::SUCCESS);
        }
        let zone = TimeZone::system();
        let rows: Vec<_> = list.iter().map(|network| networks::row(network, self.no_trunc, &zone)).collect();
        ui.print(&format::render(&networks::COLUMNS, self.format.as_deref(), networks::TABLE, &rows)?)?;
        Ok(ExitCode::SUCCESS)
    }
}
