//! Manual pages, one a command, made of the same definitions as the help.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use clap::Command;
use clap_mangen::Man;

use super::complete;

/// Writes all pages into `folder`, which is made when it is missing. Returns how many there are.
pub(crate) fn write(folder: &Path) -> Result<usize> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {folder:?}"))?;
    pages(&complete::tree(), "brig", folder)
}

fn pages(command: &Command, name: &str, folder: &Path) -> Result<usize> {
    let mut count = 1;
    for child in command.get_subcommands() {
        count += pages(child, &format!("{name}-{}", child.get_name()), folder)?;
    }
    let path = folder.join(format!("{name}.1"));
    let command = command.clone().display_name(name.to_owned());
    let mut text = Vec::new();
    Man::new(command).manual("Brig").render(&mut text).with_context(|| format!("cannot render {path:?}"))?;
    fs::write(&path, text).with_context(|| format!("cannot write {path:?}"))?;
    Ok(count)
}
