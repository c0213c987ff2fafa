//! `brig exec`.

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args as ClapArgs;
use engine::containers::ExecSpec;

use super::Entry;
use super::interactive::{self, Joining};
use crate::cli::{Context, Run};
use crate::error::Codes;
use crate::settings::{Real, process};
use crate::ui::Ui;

pub(crate) const ENTRY: Entry = Entry {
    paths: &[&["exec"], &["container", "exec"]],
    usage: "[OPTIONS] CONTAINER COMMAND [ARG...]",
    about: "Run a command in a running container",
    codes: Codes::Exec,
    stops_at_first_word: true,
    ..Entry::of::<Args>()
};

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Run in the background
    #[arg(short, long)]
    detach: bool,
    /// Keys that detach from the command (default ctrl-p,ctrl-q)
    #[arg(long, value_name = "string")]
    detach_keys: Option<String>,
    /// Set a variable (NAME=value, or NAME to take it from here)
    #[arg(short, long, value_name = "list")]
    env: Vec<String>,
    /// Set variables from a file, one a line
    #[arg(long, value_name = "list")]
    env_file: Vec<String>,
    /// Keep the input open
    #[arg(short, long)]
    interactive: bool,
    /// Give the command all capabilities
    #[arg(long)]
    privileged: bool,
    /// Give the command a terminal
    #[arg(short, long)]
    tty: bool,
    /// User and group of the command (name|uid[:group|gid])
    #[arg(short, long, value_name = "string")]
    user: Option<String>,
    /// Working directory inside
    #[arg(short, long, value_name = "string")]
    workdir: Option<String>,
    #[arg(required = true, num_args = 2.., trailing_var_arg = true, value_names = ["CONTAINER", "COMMAND"])]
    words: Vec<String>,
}

impl Run for Args {
    fn run(self, ui: &Ui, context: &Context) -> Result<ExitCode> {
        let Some((container, argv)) = self.words.split_first().filter(|(_, argv)| !argv.is_empty()) else {
            bail!("'brig exec' requires at least 2 arguments");
        };
        if !self.detach {
            interactive::check_terminal(self.interactive, self.tty)?;
            interactive::detach_keys(self.detach_keys.as_deref())?;
        }
        let spec = ExecSpec {
            argv: argv.to_vec(),
            env: process::variables(&self.env, &self.env_file, &Real)?,
            user: self.user.clone().unwrap_or_default(),
            workdir: self.workdir.clone().unwrap_or_default(),
            tty: self.tty,
            stdin: self.interactive && !self.detach,
            output: !self.detach,
            privileged: self.privileged,
            detach: self.detach,
            console_size: interactive::terminal_size()
                .filter(|_| self.tty)
                .map(|(columns, rows)| (rows, columns)),
        };
        let engine = context.engine()?;
        let started = engine.exec(container, &spec)?;
        let Some(mut session) = started.session else { return Ok(ExitCode::SUCCESS) };
        engine::timings::mark("started");
        ui.debug(&format!("exec session {}", started.id));
        let joining = Joining {
            stdin: spec.stdin,
            tty: self.tty,
            detach_keys: self.detach_keys.as_deref(),
            sig_proxy: false,
            container: None,
        };
        let code = interactive::join(&mut session, joining, &|_| {})?;
        engine::timings::mark("ended");
        Ok(code)
    }
}
