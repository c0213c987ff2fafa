//! `brig system boot` and `brig system shutdown`: called by the unit `brig-boot.service` when the machine starts and ends.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args as ClapArgs;
use engine::containers::Turn;

use super::Entry;
use crate::cli::{Context, Run};
use crate::error::{self, Silent};
use crate::ui::Ui;

pub(crate) const BOOT: Entry = Entry {
    paths: &[&["system", "boot"]],
    usage: "",
    about: "Start the containers whose restart policy says so, after a start of the machine",
    details: "The service brig-boot calls it, which `make install` puts in its place:\n  \
              systemctl enable --now brig-boot\n\
              For a plain user's containers:\n  \
              systemctl --user enable --now brig-boot\n  \
              loginctl enable-linger\n\
              A second call after the same start of the machine does nothing.",
    ..Entry::of::<BootArgs>()
};

pub(crate) const SHUTDOWN: Entry = Entry {
    paths: &[&["system", "shutdown"]],
    usage: "",
    about: "Stop all containers in order, to be started again by `brig system boot`",
    ..Entry::of::<ShutdownArgs>()
};

#[derive(Debug, ClapArgs)]
pub(crate) struct BootArgs {}

#[derive(Debug, ClapArgs)]
pub(crate) struct ShutdownArgs {}

impl Run for BootArgs {
    fn run(self, ui: &Ui, context: &Context) -> Result<ExitCode> {
        report(ui, context.engine()?.boot()?)
    }
}

impl Run for ShutdownArgs {
    fn run(self, ui: &Ui, context: &Context) -> Result<ExitCode> {
        report(ui, context.engine()?.shutdown()?)
    }
}

/// Prints a name a line; what failed goes to standard error, with exit code 1.
fn report(ui: &Ui, turn: Turn) -> Result<ExitCode> {
    for name in &turn.done {
        ui.line(name)?;
    }
    ui.flush()?;
    if turn.failed.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    for (name, fault) in turn.failed {
        ui.error(&format!("brig: {name}: {}", error::render(&fault.into())));
    }
    Err(Silent(1).into())
}
