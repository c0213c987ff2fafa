//! `brig diff`.

use std::os::unix::ffi::OsStrExt as _;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args as ClapArgs;
use engine::containers::ChangeKind;

use super::Entry;
use crate::cli::{Context, Run};
use crate::ui::Ui;

pub(crate) const ENTRY: Entry = Entry {
    paths: &[&["container", "diff"], &["diff"]],
    usage: "CONTAINER",
    about: "List what a container changed of its image's files (A added, C changed, D deleted)",
    ..Entry::of::<Args>()
};

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    #[arg(required = true, value_name = "CONTAINER")]
    container: String,
}

impl Run for Args {
    fn run(self, ui: &Ui, context: &Context) -> Result<ExitCode> {
        if self.container.is_empty() {
            bail!("Container name cannot be empty");
        }
        for change in context.engine()?.changes(&self.container)? {
            let letter: &[u8] = match change.kind {
                ChangeKind::Added => b"A ",
                ChangeKind::Modified => b"C ",
                ChangeKind::Deleted => b"D ",
            };
            ui.bytes(&[letter, change.path.as_os_str().as_bytes(), b"\n"].concat())?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
