//! `brig ps`, the list of containers.

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args as ClapArgs;
use docker_types::filter::Filters;
use engine::Engine;
use engine::model::Container;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::Entry;
use crate::cli::{Context, Run};
use crate::settings::flags::go_int;
use crate::ui::Ui;
use crate::view::containers::{self, COLUMNS, TABLE, TABLE_WITH_SIZE};
use crate::view::{format, select};

pub(crate) const ENTRY: Entry = Entry {
    paths: &[&["container", "ls"], &["container", "list"], &["container", "ps"], &["ps"]],
    usage: "[OPTIONS]",
    about: "List containers",
    ..Entry::of::<Args>()
};

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// List those that do not run too
    #[arg(short, long)]
    all: bool,
    /// Only those that match (name=…, status=…, label=…, ancestor=…, …)
    #[arg(short, long, value_name = "filter")]
    filter: Vec<String>,
    /// How to print: table, json, a template, or "table TEMPLATE"
    #[arg(long, value_name = "string")]
    format: Option<String>,
    /// Only the newest that many, in any state (default -1, all)
    #[arg(short = 'n', long, value_name = "int", value_parser = go_int)]
    last: Option<i64>,
    /// Only the newest, in any state
    #[arg(short, long)]
    latest: bool,
    /// Do not cut ids and commands
    #[arg(long)]
    no_trunc: bool,
    /// Only ids
    #[arg(short, long)]
    quiet: bool,
    /// Show the size of the files too
    #[arg(short, long)]
    size: bool,
}

impl Run for Args {
    fn run(self, ui: &Ui, context: &Context) -> Result<ExitCode> {
        let filters = Filters::parse(&self.filter, select::CONTAINER_KEYS)?;
        let engine = context.engine()?;
        let list = self.wanted(&engine, &filters)?;
        engine::timings::mark("listed");
        if self.quiet && self.format.is_none() {
            for container in &list {
                ui.line(if self.no_trunc { container.id.as_str() } else { container.id.short() })?;
            }
            return Ok(ExitCode::SUCCESS);
        }
        let (now, zone) = (Timestamp::now(), TimeZone::system());
        let sized = self.size || format::uses(self.format.as_deref().filter(|text| *text != "json"), "Size");
        let mut rows = Vec::with_capacity(list.len());
        for container in &list {
            let sizes = if sized { Some(engine.container_size(container)?) } else { None };
            rows.push(containers::row(container, sizes, self.no_trunc, now, &zone));
        }
        let normal = if self.size { TABLE_WITH_SIZE } else { TABLE };
        ui.print(&format::render(&COLUMNS, self.format.as_deref(), normal, &rows)?)?;
        engine::timings::mark("rendered");
        Ok(ExitCode::SUCCESS)
    }
}

impl Args {
    fn wanted(&self, engine: &Engine, filters: &Filters) -> Result<Vec<Container>> {
        let last = if self.latest { 1 } else { self.last.unwrap_or(-1) };
        if last < -1 {
            bail!("invalid value for --last: {last}");
        }
        let everything = self.all || last >= 0 || filters.contains("status") || filters.contains("exited");
        // A filter may name a container that has ended: since=NAME.
        let all = if everything || !self.filter.is_empty() {
            engine.containers()?
        } else {
            engine.running_containers()?
        };
        let picked = select::containers(engine, all, filters)?;
        let mut picked: Vec<Container> =
            picked.into_iter().filter(|container| everything || select::is_listed(container)).collect();
        if last > 0 {
            picked.truncate(usize::try_from(last).unwrap_or(usize::MAX));
        }
        Ok(picked)
    }
}
