//! `brig pull`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args as ClapArgs;
use engine::images::PullOptions;

use super::Entry;
use super::progress::Progress;
use crate::cli::{Context, Run};
use crate::ui::Ui;

pub(crate) const ENTRY: Entry = Entry {
    paths: &[&["image", "pull"], &["pull"]],
    usage: "[OPTIONS] NAME[:TAG|@DIGEST]",
    about: "Fetch an image from a registry",
    refused: &["all-tags", "disable-content-trust"],
    ..Entry::of::<Args>()
};

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Platform of the image (os/arch[/variant])
    #[arg(long, value_name = "string")]
    platform: Option<String>,
    /// Print only the image's name
    #[arg(short, long)]
    quiet: bool,
    #[arg(required = true, value_name = "NAME")]
    name: String,
}

impl Run for Args {
    fn run(self, ui: &Ui, context: &Context) -> Result<ExitCode> {
        let progress = Progress::new(ui, self.quiet);
        let name = self.name.as_str();
        if !self.quiet && !name.contains('@') && !name.rsplit('/').next().unwrap_or(name).contains(':') {
            progress.line("Using default tag: latest");
        }
        let options = PullOptions { platform: self.platform.filter(|platform| !platform.is_empty()) };
        let pulled = context.engine()?.pull(name, &options, &progress)?;
        progress.finish();
        if !self.quiet {
            progress.line(&format!("Digest: {}", pulled.digest));
            progress.line(&match pulled.newer {
                true => format!("Status: Downloaded newer image for {}", pulled.reference.familiar()),
                false => format!("Status: Image is up to date for {}", pulled.reference.familiar()),
            });
        }
        ui.line(&pulled.reference.to_string())?;
        Ok(ExitCode::SUCCESS)
    }
}
