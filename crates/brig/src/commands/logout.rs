//! `brig logout`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args as ClapArgs;

use super::{Entry, login};
use crate::cli::{Context, Run};
use crate::ui::Ui;

pub(crate) const ENTRY: Entry = Entry {
    paths: &[&["logout"]],
    usage: "[SERVER]",
    about: "Forget the password for a registry",
    ..Entry::of::<Args>()
};

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    #[arg(value_name = "SERVER")]
    server: Option<String>,
}

impl Run for Args {
    fn run(self, ui: &Ui, context: &Context) -> Result<ExitCode> {
        let server = login::server(self.server.as_deref());
        match context.engine()?.logout(&server)? {
            true => ui.line(&format!("Removing login credentials for {server}"))?,
            false => ui.line(&format!("Not logged in to {server}"))?,
        }
        Ok(ExitCode::SUCCESS)
    }
}
