//! `brig rmi`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args as ClapArgs;
use engine::images::RemovedImage;

use super::Entry;
use super::each::each_printing;
use crate::cli::{Context, Run};
use crate::ui::Ui;

pub(crate) const ENTRY: Entry = Entry {
    paths: &[&["image", "rm"], &["image", "remove"], &["rmi"]],
    usage: "[OPTIONS] IMAGE [IMAGE...]",
    about: "Remove images",
    refused: &["no-prune", "platform"],
    ..Entry::of::<Args>()
};

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Remove all names of an id, and do not complain of images that are not there
    #[arg(short, long)]
    force: bool,
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
}

impl Run for Args {
    fn run(self, ui: &Ui, context: &Context) -> Result<ExitCode> {
        let engine = context.engine()?;
        each_printing(ui, &self.images, |name| match engine.remove_image(name, self.force) {
            Ok(removed) => Ok(Some(lines(&removed).join("\n"))),
            Err(error @ engine::Error::NotFound { .. }) if self.force => {
                ui.error(&format!("brig: {error}"));
                Ok(None)
            }
            Err(error) => Err(error.into()),
        })
    }
}

/// Renders what was removed, a line each.
pub(crate) fn lines(removed: &[RemovedImage]) -> Vec<String> {
    removed
        .iter()
        .map(|one| match one {
            RemovedImage::Untagged(reference) => format!("Untagged: {}", reference.familiar()),
            RemovedImage::Deleted(digest) => format!("Deleted: {digest}"),
        })
        .collect()
}
