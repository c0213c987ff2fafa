//! runc's command line: `brig runtime …`. Parses, calls one function, prints.

mod exec;
mod foreground;
mod help;
mod log;
mod manage;
mod measure;
mod run;
mod spec;
mod update;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use base::{ErrorKind, Kinded};
use lexopt::prelude::{Long, Short, Value, ValueExt};

use crate::error::Error;
use crate::request::CgroupDriver;
use log::{Format, Log};

/// What stands before the command.
#[derive(Debug)]
pub(crate) struct Globals {
    pub(crate) root: PathBuf,
    pub(crate) cgroup: CgroupDriver,
    pub(crate) log: Log,
    pub(crate) rootless: Option<bool>,
}

/// What went wrong, and the exit code that says so.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The command line cannot be read.
    Usage(String),
    /// The runtime failed.
    Runtime(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Runtime(error)
    }
}

impl From<lexopt::Error> for Failure {
    fn from(error: lexopt::Error) -> Self {
        Self::Usage(error.to_string())
    }
}

pub(crate) type Outcome = Result<ExitCode, Failure>;

/// Runs the command line after the program's name and returns its exit code.
pub fn main(args: impl Iterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.collect();
    let mut parser = lexopt::Parser::from_args(args);
    let mut globals =
        Globals { root: default_root(), cgroup: CgroupDriver::Cgroupfs, log: Log::default(), rootless: None };
    match parse_and_run(&mut parser, &mut globals) {
        Ok(code) => code,
        Err(Failure::Usage(text)) => {
            globals.log.error(&text);
            ExitCode::from(1)
        }
        Err(Failure::Runtime(error)) => {
            globals.log.error(&base::error::render_chain(&error));
            exit_code(error.kind())
        }
    }
}

/// The one place where kinds become exit codes.
fn exit_code(kind: ErrorKind) -> ExitCode {
    ExitCode::from(match kind {
        ErrorKind::CommandNotFound => 127,
        ErrorKind::CommandNotExecutable => 126,
        _ => 1,
    })
}

fn default_root() -> PathBuf {
    if rustix::process::geteuid().is_root() {
        return "/run/brig/runtime".into();
    }
    let base = std::env::var_os("XDG_RUNTIME_DIR").filter(|dir| !dir.is_empty());
    let own = || format!("/tmp/brig-{}", rustix::process::geteuid().as_raw()).into();
    base.map(PathBuf::from).unwrap_or_else(own).join("brig/runtime")
}

fn parse_and_run(parser: &mut lexopt::Parser, globals: &mut Globals) -> Outcome {
    while let Some(arg) = parser.next()? {
        match arg {
            Long("root") => globals.root = PathBuf::from(parser.value()?),
            Long("log") => globals.log.open(PathBuf::from(parser.value()?))?,
            Long("log-format") => globals.log.format = parse_format(&parser.value()?.string()?)?,
            Long("debug") => globals.log.debug = true,
            Long("systemd-cgroup") => globals.cgroup = CgroupDriver::Systemd,
            Long("rootless") => globals.rootless = parse_rootless(&parser.value()?.string()?)?,
            Short('h') | Long("help") => return print(&help::overview()),
            Short('v') | Long("version") => return print(&version()),
            Value(command) => return dispatch(&command.string()?, parser, globals),
            other => return Err(unknown(other)),
        }
    }
    print(&help::overview())
}

fn dispatch(command: &str, parser: &mut lexopt::Parser, globals: &mut Globals) -> Outcome {
    if matches!(command, "create" | "run" | "exec") {
        crate::guard::ensure_protected()?;
    }
    match command {
        "create" => run::create(parser, globals),
        "run" => run::run(parser, globals),
        "start" => run::start(parser, globals),
        "exec" => exec::exec(parser, globals),
        "state" => manage::state(parser, globals),
        "list" => manage::list(parser, globals),
        "kill" => manage::kill(parser, globals),
        "delete" => manage::delete(parser, globals),
        "pause" => manage::freeze(parser, globals, true),
        "resume" => manage::freeze(parser, globals, false),
        "ps" => measure::ps(parser, globals),
        "events" => measure::events(parser, globals),
        "update" => update::update(parser, globals),
        "spec" => spec::spec(parser, globals),
        "features" => spec::features(parser),
        "help" => print(&help::overview()),
        "checkpoint" | "restore" => {
            Err(Error::unsupported(command, "processes cannot be saved; a microVM can (--isolation vm)")
                .into())
        }
        other => Err(Failure::Usage(format!("unknown command {other:?}; see --help"))),
    }
}

fn version() -> String {
    format!("brig runtime version {}\nspec: {}\n", env!("CARGO_PKG_VERSION"), crate::OCI_VERSION)
}

fn parse_format(text: &str) -> Result<Format, Failure> {
    match text {
        "text" => Ok(Format::Text),
        "json" => Ok(Format::Json),
        other => Err(Failure::Usage(format!("invalid --log-format {other:?}: text or json"))),
    }
}

fn parse_rootless(text: &str) -> Result<Option<bool>, Failure> {
    match text {
        "auto" => Ok(None),
        "true" => Ok(Some(true)),
        "false" => Ok(Some(false)),
        other => Err(Failure::Usage(format!("invalid --rootless {other:?}: true, false or auto"))),
    }
}

/// Writes data to standard output.
pub(crate) fn print(text: &str) -> Outcome {
    use std::io::Write;
    match std::io::stdout().write_all(text.as_bytes()) {
        // A reader that has seen enough (`| head`) is no failure.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        Err(error) => Err(Error::Os { doing: "write to standard output".into(), source: error }.into()),
        Ok(()) => Ok(ExitCode::SUCCESS),
    }
}

/// The error of an option that a command does not have.
pub(crate) fn unknown(arg: lexopt::Arg<'_>) -> Failure {
    Failure::Usage(arg.unexpected().to_string())
}

/// Takes the only positional argument: the container's name.
pub(crate) fn one_id(id: &mut Option<String>, value: OsString) -> Result<(), Failure> {
    if id.is_some() {
        return Err(Failure::Usage(format!("unexpected argument {value:?}: one container is wanted")));
    }
    *id = Some(value.string()?);
    Ok(())
}

/// Refuses a command line without a container's name.
pub(crate) fn needed(id: Option<String>) -> Result<String, Failure> {
    id.ok_or_else(|| Failure::Usage("the name of a container is needed".into()))
}

/// Reads a command line that has only a container's name.
pub(crate) fn only_id(
    parser: &mut lexopt::Parser,
    command: &str,
) -> Result<Result<String, ExitCode>, Failure> {
    let mut id = None;
    while let Some(arg) = parser.next()? {
        match arg {
            Short('h') | Long("help") => return print(&help::of(command)).map(Err),
            Value(value) => one_id(&mut id, value)?,
            other => return Err(unknown(other)),
        }
    }
    needed(id).map(Ok)
}
