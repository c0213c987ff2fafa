//! `brig create`, and the making of a container that `run` shares.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use clap::Args as ClapArgs;
use docker_types::ContainerSpec;
use engine::Engine;
use engine::containers::Created;

use super::Entry;
use super::progress::Progress;
use crate::cli::{Context, Run};
use crate::error::Codes;
use crate::settings::flags::{ContainerFlags, CreateOptions, REFUSED};
use crate::settings::{Real, container};
use crate::ui::Ui;

pub(crate) const ENTRY: Entry = Entry {
    paths: &[&["create"], &["container", "create"]],
    usage: "[OPTIONS] IMAGE [COMMAND] [ARG...]",
    about: "Make a container of an image without starting it",
    codes: Codes::Create,
    refused: REFUSED,
    stops_at_first_word: true,
    ..Entry::of::<Args>()
};

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    #[command(flatten)]
    flags: ContainerFlags,
    #[arg(required = true, trailing_var_arg = true, value_names = ["IMAGE", "COMMAND"])]
    words: Vec<String>,
}

impl Run for Args {
    fn run(self, ui: &Ui, context: &Context) -> Result<ExitCode> {
        let (image, command) = split_words(&self.words)?;
        let spec = container::spec(&self.flags, image, command, &Real)?;
        let options = self.flags.create_options()?;
        let created = create(ui, &context.engine()?, spec, &options)?;
        ui.line(created.id.as_str())?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Splits the words behind the flags into the image and its command.
pub(crate) fn split_words(words: &[String]) -> Result<(&str, &[String])> {
    match words.split_first() {
        Some((image, command)) if !image.is_empty() => Ok((image, command)),
        _ => bail!("invalid reference format"),
    }
}

/// Makes a container: the file for its id is taken first, warnings are told, the id is written.
pub(crate) fn create(
    ui: &Ui,
    engine: &Engine,
    spec: ContainerSpec,
    options: &CreateOptions,
) -> Result<Created> {
    let id_file = options.cidfile.as_deref().filter(|path| !path.is_empty()).map(IdFile::take).transpose()?;
    let created = engine.create(spec, options.pull, &Progress::new(ui, options.quiet))?;
    created.warnings.iter().for_each(|warning| ui.warn(warning));
    if let Some(file) = id_file {
        file.write(created.id.as_str())?;
    }
    Ok(created)
}

/// The file that gets the container's id; it is removed again when nothing was written to it.
struct IdFile<'a> {
    path: &'a Path,
    file: File,
    written: bool,
}

impl<'a> IdFile<'a> {
    fn take(path: &'a str) -> Result<Self> {
        let path = Path::new(path);
        match File::create_new(path) {
            Ok(file) => Ok(Self { path, file, written: false }),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => bail!(
                "container ID file found, make sure the other container isn't running or delete {}",
                path.display()
            ),
            Err(error) => Err(error)
                .with_context(|| format!("failed to create the container ID file {}", path.display())),
        }
    }

    fn write(mut self, id: &str) -> Result<()> {
        self.file
            .write_all(id.as_bytes())
            .with_context(|| format!("cannot write the container ID file {}", self.path.display()))?;
        self.written = true;
        Ok(())
    }
}

impl Drop for IdFile<'_> {
    fn drop(&mut self) {
        if !self.written {
            // It is ours and empty; that it cannot be removed changes nothing for the user's next step.
            let _ = std::fs::remove_file(self.path);
        }
    }
}
