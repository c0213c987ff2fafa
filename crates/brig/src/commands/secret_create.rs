//! `brig secret create`.

use std::fs::File;
use std::io::{self, Read};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use clap::Args as ClapArgs;
use docker_types::env;

use super::Entry;
use crate::cli::{Context, Run};
use crate::ui::Ui;

pub(crate) const ENTRY: Entry = Entry {
    paths: &[&["secret", "create"]],
    usage: "[OPTIONS] NAME FILE|-",
    about: "Keep a file, or the standard input, as a secret",
    refused: &["driver-opts", "template-driver"],
    ..Entry::of::<Args>()
};

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// What keeps it (file)
    #[arg(short, long, value_name = "string")]
    driver: Option<String>,
    /// Take the secret from a variable of that name
    #[arg(long)]
    env: bool,
    /// Set a label (name or name=value)
    #[arg(short, long, value_name = "list", value_parser = env::label)]
    label: Vec<(String, String)>,
    /// Replace a secret of that name
    #[arg(long)]
    replace: bool,
    #[arg(required = true, value_name = "NAME")]
    name: String,
    #[arg(required = true, value_name = "FILE")]
    source: String,
}

impl Run for Args {
    fn run(self, ui: &Ui, context: &Context) -> Result<ExitCode> {
        if let Some(driver) = self.driver.as_deref().filter(|driver| !matches!(*driver, "" | "file")) {
            bail!("secret driver {driver:?} is not supported: only \"file\" is");
        }
        let engine = context.engine()?;
        let mut content: Box<dyn Read> = match self.source.as_str() {
            name if self.env => {
                let value = std::env::var(name);
                Box::new(io::Cursor::new(
                    value.with_context(|| format!("cannot read the variable {name:?}"))?,
                ))
            }
            "-" => Box::new(io::stdin()),
            path => Box::new(File::open(path).with_context(|| format!("cannot open {path:?}"))?),
        };
        let labels = self.label.into_iter().collect();
        let id = engine.create_secret(&self.name, &mut *content, labels, self.replace)?;
        ui.line(&id)?;
        Ok(ExitCode::SUCCESS)
    }
}
