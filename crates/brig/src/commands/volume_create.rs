//! `brig volume create`.

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args as ClapArgs;
use docker_types::env;

use super::Entry;
use crate::cli::{Context, Run};
use crate::ui::Ui;

pub(crate) const ENTRY: Entry = Entry {
    paths: &[&["volume", "create"]],
    usage: "[OPTIONS] [VOLUME]",
    about: "Make a volume",
    refused: &[
        "availability",
        "group",
        "limit-bytes",
        "required-bytes",
        "scope",
        "secret",
        "sharing",
        "topology-preferred",
        "topology-required",
        "type",
        "name",
    ],
    ..Entry::of::<Args>()
};

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// What keeps the volume (default "local")
    #[arg(short, long, value_name = "string")]
    driver: Option<String>,
    /// Set a label (name or name=value)
    #[arg(long, value_name = "list", value_parser = env::label)]
    label: Vec<(String, String)>,
    /// Set an option of the driver (name=value)
    #[arg(short, long = "opt", value_name = "map")]
    opt: Vec<String>,
    #[arg(value_name = "VOLUME")]
    volume: Option<String>,
}

impl Run for Args {
    fn run(self, ui: &Ui, context: &Context) -> Result<ExitCode> {
        let options: BTreeMap<String, String> = self
            .opt
            .iter()
            .map(|text| text.split_once('=').unwrap_or((text, "")))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let name = self.volume.as_deref().filter(|name| !name.is_empty());
        let driver = self.driver.as_deref().unwrap_or("local");
        let volume =
            context.engine()?.create_volume(name, driver, self.label.into_iter().collect(), options)?;
        ui.line(&volume.name)?;
        Ok(ExitCode::SUCCESS)
    }
}
