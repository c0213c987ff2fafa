//! Errors at the edge: which exit code they give, and the hint for the person who reads them.

use std::process::ExitCode;

use base::{ErrorKind, Kinded};

use crate::ui::{Gone, Ui};

/// The exit code when the output's reader went away: 128 and the number of SIGPIPE.
const GONE: u8 = 141;
/// `run`, `create` and `exec` failed before the container's process ran.
const BEFORE: u8 = 125;
/// The command cannot be executed.
const NOT_EXECUTABLE: u8 = 126;
/// The command was not found.
const NOT_FOUND: u8 = 127;

/// The command line is wrong.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct UsageError {
    /// What is wrong.
    pub(crate) message: String,
    /// The usage line of the command, `brig run [OPTIONS] IMAGE …`; empty when there is none to show.
    pub(crate) usage: String,
    /// The words of the command, `brig run`.
    pub(crate) command: String,
    /// The exit code.
    pub(crate) code: u8,
}

/// A command said already what went wrong; only the code is left.
#[derive(Debug, thiserror::Error)]
#[error("exit code {0}")]
pub(crate) struct Silent(pub(crate) u8);

/// How a command's failure becomes an exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Codes {
    /// 1, whatever it is.
    Plain,
    /// Docker's 125, 126 and 127: the code of the container's own process must stay apart.
    Run,
    /// 125 for what is wrong with the request itself, 1 for what the engine refuses.
    Create,
    /// 127 when the command is missing, 126 when it cannot be started, 1 for the rest.
    Exec,
}

/// Tells the user of `error` and returns the exit code. `command` is `brig run`.
pub(crate) fn report(ui: &Ui, error: &anyhow::Error, command: &str, codes: Codes) -> ExitCode {
    if error.downcast_ref::<Gone>().is_some() {
        return ExitCode::from(GONE);
    }
    if let Some(Silent(code)) = error.downcast_ref() {
        return ExitCode::from(*code);
    }
    if let Some(usage) = error.downcast_ref::<UsageError>() {
        ui.error(&render_usage(usage));
        return ExitCode::from(usage.code);
    }
    ui.error(&format!("brig: {}", render(error)));
    if let Some(hint) = hint(error) {
        ui.error(&format!("\n{hint}"));
    }
    match codes {
        Codes::Plain => ExitCode::from(1),
        Codes::Run => {
            ui.error(&format!("\nRun '{command} --help' for more information"));
            ExitCode::from(run_code(error, BEFORE))
        }
        Codes::Create => {
            let refused = error.chain().any(|cause| cause.downcast_ref::<engine::Error>().is_some());
            if !refused {
                ui.error(&format!("\nRun '{command} --help' for more information"));
            }
            ExitCode::from(if refused { 1 } else { BEFORE })
        }
        Codes::Exec => {
            let started =
                error.chain().any(|cause| cause.downcast_ref::<engine::Error>().is_some_and(is_start));
            ExitCode::from(run_code(error, if started { NOT_EXECUTABLE } else { 1 }))
        }
    }
}

/// The process was to be started and could not be: a mechanism was at work, or, as Docker has it, its user is unknown.
fn is_start(error: &engine::Error) -> bool {
    matches!(error, engine::Error::Part { .. } | engine::Error::Account(_))
}

/// Renders an error and its causes on one line.
pub(crate) fn render(error: &anyhow::Error) -> String {
    base::error::render_chain(error.as_ref())
}

fn render_usage(error: &UsageError) -> String {
    let mut text = format!("brig: {}\n", error.message);
    if !error.usage.is_empty() {
        text += &format!("\nUsage:  {}\n", error.usage);
    }
    text + &format!("\nRun '{} --help' for more information", error.command)
}

fn kind(error: &anyhow::Error) -> Option<ErrorKind> {
    error.chain().find_map(|cause| cause.downcast_ref::<engine::Error>()).map(Kinded::kind)
}

fn run_code(error: &anyhow::Error, otherwise: u8) -> u8 {
    match kind(error) {
        Some(ErrorKind::CommandNotFound) => NOT_FOUND,
        Some(ErrorKind::CommandNotExecutable) => NOT_EXECUTABLE,
        _ => otherwise,
    }
}

/// Says what to do next, as far as the error's data tells.
fn hint(error: &anyhow::Error) -> Option<String> {
    let engine_error = error.chain().find_map(|cause| cause.downcast_ref::<engine::Error>())?;
    match engine_error {
        engine::Error::NotFound { what: "container", .. } => {
            Some("List all containers with 'brig ps -a'".to_owned())
        }
        engine::Error::NotFound { what: "image", .. } => {
            Some("List the images with 'brig images'".to_owned())
        }
        engine::Error::NotFound { what: "volume", .. } => {
            Some("List the volumes with 'brig volume ls'".to_owned())
        }
        engine::Error::NameTaken { name, .. } => {
            Some(format!("Remove it with 'brig rm {name}', or rename it with 'brig rename {name} NEW'"))
        }
        _ => None,
    }
}
