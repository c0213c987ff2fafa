//! `brig completion`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args as ClapArgs;

use super::Entry;
use crate::cli::{Context, Run, complete};
use crate::ui::Ui;

pub(crate) const ENTRY: Entry = Entry {
    paths: &[&["completion"]],
    usage: "bash|zsh|fish",
    about: "Print the completion script of a shell",
    details: "bash:  brig completion bash > /etc/bash_completion.d/brig\nzsh:   brig completion zsh > \"${fpath[1]}/_brig\"\nfish:  brig completion fish > ~/.config/fish/completions/brig.fish",
    ..Entry::of::<Args>()
};

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    #[arg(required = true, value_name = "SHELL", value_parser = complete::parse_shell)]
    shell: clap_complete::Shell,
}

impl Run for Args {
    fn run(self, ui: &Ui, _context: &Context) -> Result<ExitCode> {
        ui.bytes(&complete::script(self.shell))?;
        Ok(ExitCode::SUCCESS)
    }
}
