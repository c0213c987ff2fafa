//! `brig load`.

use std::fs::File;
use std::io::{self, Read};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use clap::Args as ClapArgs;

use super::Entry;
use super::progress::Progress;
use crate::cli::{Context, Run};
use crate::ui::{self, Ui};

pub(crate) const ENTRY: Entry = Entry {
    paths: &[&["image", "load"], &["load"]],
    usage: "[OPTIONS]",
    about: "Read images from an archive",
    refused: &["platform"],
    ..Entry::of::<Args>()
};

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Read from a file instead of the standard input
    #[arg(short, long, value_name = "string")]
    input: Option<String>,
    /// Print only the images' names
    #[arg(short, long)]
    quiet: bool,
}

impl Run for Args {
    fn run(self, ui: &Ui, context: &Context) -> Result<ExitCode> {
        let mut archive: Box<dyn Read + Send> = match self.input.as_deref().filter(|path| !path.is_empty()) {
            Some(path) => Box::new(File::open(path).with_context(|| format!("cannot open {path:?}"))?),
            None if ui::stdin_is_terminal() => {
                bail!(
                    "requested load from stdin, but stdin is empty; give a file with --input or redirect one"
                )
            }
            None => Box::new(io::stdin()),
        };
        let progress = Progress::of_load(ui, self.quiet);
        let loaded = context.engine()?.load(&mut *archive, &progress)?;
        progress.finish();
        for (id, names) in loaded {
            if names.is_empty() {
                ui.line(&format!("Loaded image ID: {id}"))?;
            }
            names.iter().try_for_each(|name| ui.line(&format!("Loaded image: {}", name.familiar())))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
