//! `brig unshare`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args as ClapArgs;

use super::Entry;
use crate::cli::{Context, Run};
use crate::error::Codes;
use crate::ui::Ui;

pub(crate) const ENTRY: Entry = Entry {
    paths: &[&["unshare"]],
    usage: "[COMMAND [ARG...]]",
    about: "Run a command as root of the user namespace in which your containers live",
    stops_at_first_word: true,
    codes: Codes::Run,
    ..Entry::of::<Args>()
};

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    #[arg(trailing_var_arg = true, value_names = ["COMMAND"])]
    words: Vec<String>,
}

impl Run for Args {
    fn run(self, _: &Ui, context: &Context) -> Result<ExitCode> {
        engine::rootless::check_unshare()?;
        context.engine()?;
        match engine::rootless::execute(&self.words)? {}
    }
}
