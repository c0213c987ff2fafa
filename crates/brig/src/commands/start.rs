//! `brig start`.

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args as ClapArgs;
use engine::Engine;
use engine::containers::AttachOptions;

use super::each::each;
use super::interactive::{self, Joining};
use super::{Entry, run};
use crate::cli::{Context, Run};
use crate::ui::Ui;

pub(crate) const ENTRY: Entry = Entry {
    paths: &[&["start"], &["container", "start"]],
    usage: "[OPTIONS] CONTAINER [CONTAINER...]",
    about: "Start containers that do not run",
    refused: &["checkpoint", "checkpoint-dir"],
    ..Entry::of::<Args>()
};

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Attach to the output and hand signals on
    #[arg(short, long)]
    attach: bool,
    /// Keys that detach from the container (default ctrl-p,ctrl-q)
    #[arg(long, value_name = "string")]
    detach_keys: Option<String>,
    /// Attach to the input too
    #[arg(short, long)]
    interactive: bool,
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

impl Run for Args {
    fn run(self, ui: &Ui, context: &Context) -> Result<ExitCode> {
        let engine = context.engine()?;
        if !self.attach && !self.interactive {
            return each(ui, &self.containers, |name| {
                let started = engine.start(name, None)?;
                started.warnings.iter().for_each(|warning| ui.warn(warning));
                Ok(())
            });
        }
        match &self.containers[..] {
            [name] => self.attached(ui, &engine, name),
            _ => bail!("you cannot start and attach multiple containers at once"),
        }
    }
}

impl Args {
    fn attached(&self, ui: &Ui, engine: &Engine, name: &str) -> Result<ExitCode> {
        let config = engine.container(name)?.spec.config;
        let stdin = self.interactive && config.open_stdin;
        interactive::check_terminal(stdin, config.tty)?;
        interactive::detach_keys(self.detach_keys.as_deref())?;
        let options = AttachOptions {
            stdin,
            stdout: true,
            stderr: true,
            lossless: true,
            claim_cleanup: false,
            size: interactive::terminal_size().filter(|_| config.tty),
        };
        let started = engine.start(name, Some(options))?;
        started.warnings.iter().for_each(|warning| ui.warn(warning));
        let mut session = match started.session {
            Some(session) => session,
            // It runs already: this is an attach.
            None => engine.attach(name, options)?,
        };
        let joining = Joining {
            stdin,
            tty: config.tty,
            detach_keys: self.detach_keys.as_deref(),
            sig_proxy: !config.tty,
            container: Some((engine, &started.id)),
        };
        let id = started.id.to_string();
        let code = interactive::join(&mut session, joining, &|signal| run::proxy(engine, &id, signal))?;
        if started.owns_cleanup {
            engine.finish(&started.id, session)?;
        }
        Ok(code)
    }
}
