//! `brig run`.

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args as ClapArgs;
use engine::Engine;
use engine::containers::{AttachOptions, RemoveOptions};

use super::interactive::{self, Joining};
use super::{Entry, create};
use crate::cli::{Context, Run};
use crate::error::Codes;
use crate::settings::flags::{ContainerFlags, REFUSED};
use crate::settings::{Real, container};
use crate::ui::Ui;

pub(crate) const ENTRY: Entry = Entry {
    paths: &[&["run"], &["container", "run"]],
    usage: "[OPTIONS] IMAGE [COMMAND] [ARG...]",
    about: "Make a container of an image and run it",
    codes: Codes::Run,
    refused: REFUSED,
    stops_at_first_word: true,
    ..Entry::of::<Args>()
};

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    #[command(flatten)]
    flags: ContainerFlags,
    /// Run in the background and print the container's id
    #[arg(short, long)]
    detach: bool,
    /// Keys that detach from the container (default ctrl-p,ctrl-q)
    #[arg(long, value_name = "string")]
    detach_keys: Option<String>,
    /// Hand received signals on to the process (default true)
    #[arg(long, default_value = "true")]
    sig_proxy: bool,
    #[arg(required = true, trailing_var_arg = true, value_names = ["IMAGE", "COMMAND"])]
    words: Vec<String>,
}

impl Run for Args {
    fn run(self, ui: &Ui, context: &Context) -> Result<ExitCode> {
        if self.detach && !self.flags.attach.is_empty() {
            bail!("conflicting options: cannot specify both --attach and --detach");
        }
        let (image, command) = create::split_words(&self.words)?;
        let mut spec = container::spec(&self.flags, image, command, &Real)?;
        if self.detach {
            let config = &mut spec.config;
            (config.attach_stdin, config.attach_stdout, config.attach_stderr) = (false, false, false);
            config.stdin_once = false;
        } else {
            interactive::check_terminal(spec.config.attach_stdin, spec.config.tty)?;
            interactive::detach_keys(self.detach_keys.as_deref())?;
        }
        if let (true, Some((columns, rows))) = (spec.config.tty, interactive::terminal_size()) {
            spec.host_config.console_size = [rows, columns];
        }
        let (tty, config) = (spec.config.tty, spec.config.clone());
        let options = self.flags.create_options()?;
        let engine = context.engine()?;
        let created = create::create(ui, &engine, spec, &options)?;
        let id = created.id.as_str();
        let attach = (!self.detach).then(|| AttachOptions {
            stdin: config.attach_stdin,
            stdout: config.attach_stdout,
            stderr: config.attach_stderr,
            lossless: true,
            claim_cleanup: false,
            size: interactive::terminal_size().filter(|_| tty),
        });
        let started = match engine.start(id, attach) {
            Ok(started) => started,
            Err(error) => {
                remove_failed(&engine, id, self.flags.rm);
                return Err(error.into());
            }
        };
        started.warnings.iter().for_each(|warning| ui.warn(warning));
        let Some(mut session) = started.session else {
            ui.line(id)?;
            return Ok(ExitCode::SUCCESS);
        };
        engine::timings::mark("started");
        let joining = Joining {
            stdin: config.attach_stdin,
            tty,
            detach_keys: self.detach_keys.as_deref(),
            sig_proxy: self.sig_proxy,
            container: Some((&engine, &started.id)),
        };
        let code = interactive::join(&mut session, joining, &|signal| proxy(&engine, id, signal))?;
        engine::timings::mark("ended");
        if started.owns_cleanup {
            engine.finish(&started.id, session)?;
            engine::timings::mark("cleaned up");
        }
        Ok(code)
    }
}

/// Hands a signal on. A process that ended meanwhile needs none.
pub(crate) fn proxy(engine: &Engine, id: &str, signal: i32) {
    let _ = engine.kill(id, &signal.to_string());
}

/// Removes a container that was to be removed after its end and that could not be started.
fn remove_failed(engine: &Engine, id: &str, remove: bool) {
    if remove {
        // The reason why it did not start is what the user must read; an engine that removed it already is no fault.
        let _ = engine.remove(id, RemoveOptions { force: true, volumes: true });
    }
}
