//! `brig secret ls`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args as ClapArgs;
use docker_types::filter::Filters;
use docker_types::time;

use super::Entry;
use crate::cli::{Context, Run};
use crate::ui::Ui;
use crate::view::format::{self, Columns, Row};
use crate::view::labels_line;

pub(crate) const ENTRY: Entry = Entry {
    paths: &[&["secret", "ls"], &["secret", "list"]],
    usage: "[OPTIONS]",
    about: "List secrets",
    ..Entry::of::<Args>()
};

const COLUMNS: Columns = Columns {
    headings: &[
        ("ID", "ID"),
        ("Name", "NAME"),
        ("Driver", "DRIVER"),
        ("CreatedAt", "CREATED"),
        ("UpdatedAt", "UPDATED"),
        ("Labels", "LABELS"),
    ],
    type_name: "formatter.secretContext",
};

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Only those that match (id=…, name=…, label=…)
    #[arg(short, long, value_name = "filter")]
    filter: Vec<String>,
    /// How to print: table, json, a template, or "table TEMPLATE"
    #[arg(long, value_name = "string")]
    format: Option<String>,
    /// Only ids
    #[arg(short, long)]
    quiet: bool,
}

impl Run for Args {
    fn run(self, ui: &Ui, context: &Context) -> Result<ExitCode> {
        let filters = Filters::parse(&self.filter, &["id", "name", "label"])?;
        let mut list = context.engine()?.secrets()?;
        list.retain(|secret| {
            filters.pattern("name", &secret.name)
                && filters.pattern("id", &secret.id)
                && filters.labels("label", &secret.labels)
        });
        if self.quiet && self.format.is_none() {
            list.iter().try_for_each(|secret| ui.line(&secret.id))?;
            return Ok(ExitCode::SUCCESS);
        }
        let now = jiff::Timestamp::now();
        let rows: Vec<Row> = list
            .iter()
            .map(|secret| {
                let age = time::ago(secret.created, now);
                let mut row = Row::new([
                    ("CreatedAt", age.clone()),
                    ("Driver", "file".to_owned()),
                    ("ID", secret.id.clone()),
                    ("Labels", labels_line(&secret.labels)),
                    ("Name", secret.name.clone()),
                    ("UpdatedAt", age),
                ]);
                row.labels.clone_from(&secret.labels);
                row
            })
            .collect();
        let table = "{{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.CreatedAt}}\t{{.UpdatedAt}}";
        ui.print(&format::render(&COLUMNS, self.format.as_deref(), table, &rows)?)?;
        Ok(ExitCode::SUCCESS)
    }
}
