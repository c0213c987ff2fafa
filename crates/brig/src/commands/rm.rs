//! `brig rm`.

use std::cell::RefCell;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args as ClapArgs;
use engine::containers::{Dying, RemoveOptions};

use super::Entry;
use super::each::each_printing;
use crate::cli::{Context, Run};
use crate::ui::Ui;

pub(crate) const ENTRY: Entry = Entry {
    paths: &[&["container", "rm"], &["container", "remove"], &["rm"]],
    usage: "[OPTIONS] CONTAINER [CONTAINER...]",
    about: "Remove containers",
    refused: &["link"],
    ..Entry::of::<Args>()
};

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Remove running ones too (they are killed)
    #[arg(short, long)]
    force: bool,
    /// Remove their anonymous volumes too
    #[arg(short, long)]
    volumes: bool,
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

impl Run for Args {
    fn run(self, ui: &Ui, context: &Context) -> Result<ExitCode> {
        let engine = context.engine()?;
        let options = RemoveOptions { force: self.force, volumes: self.volumes };
        let several = self.force && self.containers.len() > 1;
        let dying = if several { engine.kill_ahead(&self.containers) } else { Dying::default() };
        let dying = RefCell::new(dying);
        each_printing(ui, &self.containers, |name| {
            let removed = engine.remove(name, options);
            dying.borrow_mut().release(name);
            match removed {
                Ok(()) => Ok(Some(name.to_owned())),
                // What --force wants is that it is gone.
                Err(error @ engine::Error::NotFound { .. }) if self.force => {
                    ui.error(&format!("brig: {error}"));
                    Ok(None)
                }
                Err(error) => Err(error.into()),
            }
        })
    }
}
