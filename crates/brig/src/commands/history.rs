//! `brig history`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args as ClapArgs;
use jiff::Timestamp;

use super::Entry;
use crate::cli::{Context, Run};
use crate::ui::Ui;
use crate::view::images::{HISTORY_COLUMNS, HISTORY_TABLE, HistoryStyle, history_row};
use crate::view::{format, short_id};

pub(crate) const ENTRY: Entry = Entry {
    paths: &[&["image", "history"], &["history"]],
    usage: "[OPTIONS] IMAGE",
    about: "Show how an image came about",
    refused: &["platform"],
    ..Entry::of::<Args>()
};

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// How to print: table, json, a template, or "table TEMPLATE"
    #[arg(long, value_name = "string")]
    format: Option<String>,
    /// Sizes and times for people (default true)
    #[arg(short = 'H', long, default_value = "true")]
    human: bool,
    /// Do not cut ids and commands
    #[arg(long)]
    no_trunc: bool,
    /// Only ids
    #[arg(short, long)]
    quiet: bool,
    #[arg(required = true, value_name = "IMAGE")]
    image: String,
}

impl Run for Args {
    fn run(self, ui: &Ui, context: &Context) -> Result<ExitCode> {
        let history = context.engine()?.image_history(&self.image)?;
        if self.quiet {
            for entry in &history {
                let id = entry.id.as_ref().map_or_else(|| "<missing>".to_owned(), ToString::to_string);
                ui.line(if self.no_trunc || id.starts_with('<') { &id } else { short_id(&id) })?;
            }
            return Ok(ExitCode::SUCCESS);
        }
        let style = HistoryStyle { no_trunc: self.no_trunc, human: self.human };
        let now = Timestamp::now();
        let rows: Vec<_> = history.iter().map(|entry| history_row(entry, style, now)).collect();
        ui.print(&format::render(&HISTORY_COLUMNS, self.format.as_deref(), HISTORY_TABLE, &rows)?)?;
        Ok(ExitCode::SUCCESS)
    }
}
