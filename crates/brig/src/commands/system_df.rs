//! `brig system df`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args as ClapArgs;
use docker_types::table;
use engine::system::DiskUsage;
use jiff::Timestamp;

use super::Entry;
use crate::cli::{Context, Run};
use crate::ui::Ui;
use crate::view::{containers, disk, format, images, short_id};

pub(crate) const ENTRY: Entry = Entry {
    paths: &[&["system", "df"]],
    about: "Show what images, containers and volumes take on disk",
    ..Entry::of::<Args>()
};

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// How to print: table, json, a template, or "table TEMPLATE"
    #[arg(long, value_name = "string")]
    format: Option<String>,
    /// Show each object
    #[arg(short, long)]
    verbose: bool,
}

impl Run for Args {
    fn run(self, ui: &Ui, context: &Context) -> Result<ExitCode> {
        if self.verbose && self.format.is_some() {
            anyhow::bail!("--verbose with --format is not supported yet");
        }
        let usage = context.engine()?.disk_usage()?;
        if self.verbose {
            ui.print(&verbose(&usage, Timestamp::now()))?;
        } else {
            let rows = disk::rows(&usage);
            ui.print(&format::render(&disk::COLUMNS, self.format.as_deref(), disk::TABLE, &rows)?)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn verbose(usage: &DiskUsage, now: Timestamp) -> String {
    let mut text = String::from("Images space usage:\n\n");
    let mut rows = String::from("REPOSITORY\tTAG\tIMAGE ID\tSIZE\tUNIQUE SIZE\tCONTAINERS");
    for (image, own) in &usage.images {
        let id = image.id.to_string();
        for names in images::names(image, false) {
            let (size, own) = (disk::human(image.size), disk::human(*own));
            rows += &format!(
                "\n{}\t{}\t{}\t{size}\t{own}\t{}",
                names.repository,
                names.tag,
                short_id(&id),
                image.containers
            );
        }
    }
    text += &table::layout(&rows);
    text += "\nContainers space usage:\n\n";
    let mut rows = String::from("CONTAINER ID\tIMAGE\tLOCAL VOLUMES\tSIZE\tSTATUS\tNAMES");
    for (container, bytes) in &usage.containers {
        let volumes = container.mounts.iter().filter(|mount| mount.volume.is_some()).count();
        let status = containers::status(container, now);
        let (id, image, name) = (container.id.short(), &container.image_name, &container.name);
        rows += &format!("\n{id}\t{image}\t{volumes}\t{}\t{status}\t{name}", disk::human(*bytes));
    }
    text += &table::layout(&rows);
    text += "\nLocal Volumes space usage:\n\n";
    let mut rows = String::from("VOLUME NAME\tLINKS\tSIZE");
    for (volume, bytes) in &usage.volumes {
        rows += &format!("\n{}\t{}\t{}", volume.name, volume.used_by.len(), disk::human(*bytes));
    }
    text + &table::layout(&rows)
}
