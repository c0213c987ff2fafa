//! `brig tag`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args as ClapArgs;

use super::Entry;
use crate::cli::{Context, Run};
use crate::ui::Ui;

pub(crate) const ENTRY: Entry = Entry {
    paths: &[&["image", "tag"], &["tag"]],
    usage: "SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]",
    about: "Give an image another name",
    ..Entry::of::<Args>()
};

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    #[arg(required = true, value_name = "SOURCE_IMAGE")]
    source: String,
    #[arg(required = true, value_name = "TARGET_IMAGE")]
    target: String,
}

impl Run for Args {
    fn run(self, _ui: &Ui, context: &Context) -> Result<ExitCode> {
        context.engine()?.tag(&self.source, &self.target)?;
        Ok(ExitCode::SUCCESS)
    }
}
