//! One action on several objects: a failure is told and the others still have their turn.

use std::process::ExitCode;

use anyhow::Result;

use crate::error::{self, Silent};
use crate::ui::Ui;

/// Calls `act` for each of `names` and prints the name after it worked. Exit code 1 when one failed.
pub(crate) fn each(ui: &Ui, names: &[String], act: impl Fn(&str) -> Result<()>) -> Result<ExitCode> {
    each_printing(ui, names, |name| act(name).map(|()| Some(name.to_owned())))
}

/// Calls `act` for each of `names` and prints what it returns. Exit code 1 when one failed.
pub(crate) fn each_printing(
    ui: &Ui,
    names: &[String],
    act: impl Fn(&str) -> Result<Option<String>>,
) -> Result<ExitCode> {
    let mut failed = false;
    for name in names {
        match act(name) {
            Ok(Some(line)) => ui.line_now(&line)?,
            Ok(None) => {}
            Err(fault) if fault.downcast_ref::<crate::ui::Gone>().is_some() => return Err(fault),
            Err(fault) => {
                ui.flush()?;
                ui.error(&format!("brig: {}", error::render(&fault)));
                failed = true;
            }
        }
    }
    if failed { Err(Silent(1).into()) } else { Ok(ExitCode::SUCCESS) }
}
