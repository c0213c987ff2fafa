//! `brig secret rm`.

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args as ClapArgs;

use super::Entry;
use super::each::each;
use crate::cli::{Context, Run};
use crate::ui::Ui;

pub(crate) const ENTRY: Entry = Entry {
    paths: &[&["secret", "rm"], &["secret", "remove"]],
    usage: "[OPTIONS] SECRET [SECRET...]",
    about: "Remove secrets that no container uses",
    ..Entry::of::<Args>()
};

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// All of them
    #[arg(short, long)]
    all: bool,
    /// Do not complain of secrets that are not there
    #[arg(short, long)]
    ignore: bool,
    #[arg(value_name = "SECRET")]
    secrets: Vec<String>,
}

impl Run for Args {
    fn run(self, ui: &Ui, context: &Context) -> Result<ExitCode> {
        let engine = context.engine()?;
        let names = match (self.all, self.secrets.is_empty()) {
            (true, true) => engine.secrets()?.into_iter().map(|secret| secret.name).collect(),
            (false, false) => self.secrets,
            (true, false) => bail!("specify secrets or --all, not both"),
            (false, true) => bail!("'brig secret rm' requires at least 1 argument"),
        };
        each(ui, &names, |name| match engine.remove_secret(name) {
            Err(engine::Error::NotFound { .. }) if self.ignore => Ok(()),
            removed => Ok(removed?),
        })
    }
}
