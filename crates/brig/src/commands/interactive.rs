//! What `run`, `start -a`, `attach` and `exec` share: the terminal, detach keys, and the way from an end to an exit code.

use std::process::ExitCode;

use anyhow::{Result, bail};
use base::ContainerId;
use engine::Engine;
use engine::containers::interact::{self, DEFAULT_DETACH_KEYS, InteractOptions, Outcome};
use engine::containers::{ExitRecord, Session};

use crate::error::Silent;
use crate::ui;

/// 128 and SIGKILL.
const KILLED: i32 = 137;
/// What is said of a program that the kernel has killed so.
const OUT_OF_MEMORY: &str = "brig: the kernel killed the program for want of memory; give it more with --memory, and see 'brig why CONTAINER' (not after --rm)";

/// How a session is joined with the caller's terminal.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Joining<'a> {
    /// Send the caller's input.
    pub(crate) stdin: bool,
    /// The process has a terminal.
    pub(crate) tty: bool,
    /// `--detach-keys`, as it was given.
    pub(crate) detach_keys: Option<&'a str>,
    /// Hand signals on.
    pub(crate) sig_proxy: bool,
    /// The container, whose record tells of a user who detaches; none for an exec session.
    pub(crate) container: Option<(&'a Engine, &'a ContainerId)>,
}

/// Refuses `-t` with an input that is no terminal, before anything is made. Exit code 1 for every command, as in Docker.
pub(crate) fn check_terminal(stdin: bool, tty: bool) -> Result<()> {
    if stdin && tty && !ui::stdin_is_terminal() {
        ui::note("brig: the input device is not a TTY");
        bail!(Silent(1));
    }
    Ok(())
}

/// Reads `--detach-keys`.
pub(crate) fn detach_keys(text: Option<&str>) -> Result<Vec<u8>> {
    match text {
        Some(text) if !text.is_empty() => Ok(interact::parse_detach_keys(text).map_err(|_| {
            anyhow::anyhow!(
                "invalid detach keys ({text}): give ctrl-<letter>, letters or DEL, joined by commas"
            )
        })?),
        _ => Ok(DEFAULT_DETACH_KEYS.to_vec()),
    }
}

/// Columns and rows of the caller's terminal.
pub(crate) fn terminal_size() -> Option<(u16, u16)> {
    let size = rustix::termios::tcgetwinsize(std::io::stdout())
        .or_else(|_| rustix::termios::tcgetwinsize(std::io::stdin()))
        .ok()?;
    (size.ws_col > 0 && size.ws_row > 0).then_some((size.ws_col, size.ws_row))
}

/// Moves bytes until the process ends or the user detaches; `signal` hands a signal on. Returns the exit code.
pub(crate) fn join(session: &mut Session, joining: Joining<'_>, signal: &dyn Fn(i32)) -> Result<ExitCode> {
    let options = InteractOptions {
        stdin: joining.stdin,
        tty: joining.tty,
        detach_keys: detach_keys(joining.detach_keys)?,
        sig_proxy: joining.sig_proxy,
        signal,
    };
    let outcome = interact::interact(session, &options).map_err(|error| match error {
        engine::SessionError::OutputGone => anyhow::Error::new(ui::Gone),
        error => error.into(),
    })?;
    match outcome {
        Outcome::Exited(record) => {
            if record.oom_killed && record.exit_code == KILLED {
                ui::note(OUT_OF_MEMORY);
            }
            Ok(exit_code(&record))
        }
        Outcome::ExecExited(code) => Ok(code_of(code)),
        Outcome::Detached => {
            if let Some((engine, id)) = joining.container {
                engine.record_detach(id);
            }
            ui::note("read escape sequence");
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn exit_code(record: &ExitRecord) -> ExitCode {
    code_of(record.exit_code)
}

/// Turns the code of a process into ours; what no exit status can hold becomes 255.
pub(crate) fn code_of(code: i32) -> ExitCode {
    ExitCode::from(u8::try_from(code).unwrap_or(255))
}
