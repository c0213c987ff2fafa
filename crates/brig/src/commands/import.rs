//! `brig import`.

use std::fs::File;
use std::io::{self, Read};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Args as ClapArgs;

use super::Entry;
use crate::cli::{Context, Run};
use crate::ui::Ui;

pub(crate) const ENTRY: Entry = Entry {
    paths: &[&["image", "import"], &["import"]],
    usage: "[OPTIONS] file|URL|- [REPOSITORY[:TAG]]",
    about: "Make an image of the tar of a root file system",
    ..Entry::of::<Args>()
};

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Set something by a Dockerfile instruction (CMD, ENV, …)
    #[arg(short, long, value_name = "list")]
    change: Vec<String>,
    /// Remark in the image's history
    #[arg(short, long, value_name = "string")]
    message: Option<String>,
    /// Platform of the image (os/arch[/variant])
    #[arg(long, value_name = "string")]
    platform: Option<String>,
    #[arg(required = true, value_name = "FILE")]
    source: String,
    #[arg(value_name = "REPOSITORY")]
    reference: Option<String>,
}

impl Run for Args {
    fn run(self, ui: &Ui, context: &Context) -> Result<ExitCode> {
        let engine = context.engine()?;
        let mut tar: Box<dyn Read + Send> = match self.source.as_str() {
            "-" => Box::new(io::stdin()),
            url if url.starts_with("http://") || url.starts_with("https://") => {
                Box::new(engine.download(url)?)
            }
            path => Box::new(File::open(path).with_context(|| format!("cannot open {path:?}"))?),
        };
        let id = engine.import(
            &mut *tar,
            self.reference.as_deref().filter(|name| !name.is_empty()),
            &self.change,
            self.message.as_deref().unwrap_or_default(),
            self.platform.as_deref().filter(|platform| !platform.is_empty()),
        )?;
        ui.line(&id.to_string())?;
        Ok(ExitCode::SUCCESS)
    }
}
