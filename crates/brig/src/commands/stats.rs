//! `brig stats`.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::Args as ClapArgs;
use engine::Engine;
use engine::model::Container;

use super::Entry;
use crate::cli::{Context, Run};
use crate::ui::{self, Ui};
use crate::view::{format, select, stats};

pub(crate) const ENTRY: Entry = Entry {
    paths: &[&["container", "stats"], &["stats"]],
    usage: "[OPTIONS] [CONTAINER...]",
    about: "Show what containers use of processors, memory, network and disks",
    details: "Beside Docker's fields --format knows .CPUPressure, .MemPressure and .IOPressure: the share of the last\n\
        ten seconds in which a process of the container had to wait for it, where the kernel tells it.",
    ..Entry::of::<Args>()
};

/// How often the table is renewed, as Docker's numbers are.
const PERIOD: Duration = Duration::from_secs(1);

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Show those that do not run too
    #[arg(short, long)]
    all: bool,
    /// How to print: table, json, a template, or "table TEMPLATE"
    #[arg(long, value_name = "string")]
    format: Option<String>,
    /// Print once and end
    #[arg(long)]
    no_stream: bool,
    /// Do not cut ids
    #[arg(long)]
    no_trunc: bool,
    #[arg(value_name = "CONTAINER")]
    containers: Vec<String>,
}

impl Run for Args {
    fn run(self, ui: &Ui, context: &Context) -> Result<ExitCode> {
        let engine = context.engine()?;
        let mut sampler = engine.sampler();
        // A wrong template is told before anything is measured.
        format::render(&stats::COLUMNS, self.format.as_deref(), stats::TABLE, &[])?;
        let screen = !self.no_stream && ui::stdout_is_terminal();
        loop {
            let list = self.wanted(&engine)?;
            engine::timings::mark("listed");
            let samples = sampler.sample(&list)?;
            engine::timings::mark("sampled");
            let rows: Vec<_> = samples
                .iter()
                .enumerate()
                .map(|(index, sample)| {
                    let asked = self.containers.get(index).unwrap_or(&sample.id);
                    stats::row(sample, asked, self.no_trunc)
                })
                .collect();
            let text = format::render(&stats::COLUMNS, self.format.as_deref(), stats::TABLE, &rows)?;
            ui.print(&if screen { repainted(&text) } else { text })?;
            ui.flush()?;
            if self.no_stream {
                return Ok(ExitCode::SUCCESS);
            }
            std::thread::sleep(PERIOD);
        }
    }
}

impl Args {
    /// The containers by name, or all that run, the newest first.
    fn wanted(&self, engine: &Engine) -> Result<Vec<Container>> {
        if !self.containers.is_empty() {
            return self.containers.iter().map(|name| Ok(engine.container(name)?)).collect();
        }
        let list = engine.containers()?.into_iter();
        Ok(list.filter(|container| self.all || select::is_listed(container)).collect())
    }
}

/// Puts `text` in the place of what the terminal showed: from the top, each line wiped, and all below.
fn repainted(text: &str) -> String {
    let lines: String = text.lines().map(|line| format!("{line}\x1b[K\n")).collect();
    format!("\x1b[H{lines}\x1b[J")
}
