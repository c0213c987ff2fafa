//! `brig attach`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args as ClapArgs;
use engine::containers::AttachOptions;

use super::interactive::{self, Joining};
use super::{Entry, run};
use crate::cli::{Context, Run};
use crate::ui::Ui;

pub(crate) const ENTRY: Entry = Entry {
    paths: &[&["attach"], &["container", "attach"]],
    usage: "[OPTIONS] CONTAINER",
    about: "Attach to the streams of a running container",
    ..Entry::of::<Args>()
};

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Keys that detach from the container (default ctrl-p,ctrl-q)
    #[arg(long, value_name = "string")]
    detach_keys: Option<String>,
    /// Do not attach to the input
    #[arg(long)]
    no_stdin: bool,
    /// Hand received signals on to the process (default true)
    #[arg(long, default_value = "true")]
    sig_proxy: bool,
    #[arg(required = true, value_name = "CONTAINER")]
    container: String,
}

impl Run for Args {
    fn run(self, _ui: &Ui, context: &Context) -> Result<ExitCode> {
        let engine = context.engine()?;
        let container = engine.container(&self.container)?;
        let config = &container.spec.config;
        let stdin = !self.no_stdin && config.open_stdin;
        interactive::check_terminal(stdin, config.tty)?;
        interactive::detach_keys(self.detach_keys.as_deref())?;
        let options = AttachOptions {
            stdin,
            stdout: true,
            stderr: true,
            lossless: false,
            claim_cleanup: false,
            size: interactive::terminal_size().filter(|_| config.tty),
        };
        let mut session = engine.attach(container.id.as_str(), options)?;
        let joining = Joining {
            stdin,
            tty: config.tty,
            detach_keys: self.detach_keys.as_deref(),
            sig_proxy: self.sig_proxy && !config.tty,
            container: Some((&engine, &container.id)),
        };
        interactive::join(&mut session, joining, &|signal| run::proxy(&engine, container.id.as_str(), signal))
    }
}
