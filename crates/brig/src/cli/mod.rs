//! From the arguments to one command: global options, dispatch by name, and only the asked command's parser is built.
//!
//! Building the parsers of all commands costs a millisecond at each start; one costs a fifth of it.

pub(crate) mod complete;
pub(crate) mod global;
pub(crate) mod help;
pub(crate) mod man;
pub(crate) mod parse;
pub(crate) mod suggest;

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Result;
use clap::{ArgMatches, Command};

use crate::commands::{self, Entry, Group};
use crate::error::{self, Codes, UsageError};
use crate::ui::Ui;
use global::Global;

/// What a command works with.
#[derive(Debug)]
pub(crate) struct Context {
    /// Options before the command.
    pub(crate) global: Global,
}

impl Context {
    /// Opens the engine on the chosen roots.
    pub(crate) fn engine(&self) -> Result<engine::Engine> {
        let roots = self.global.roots();
        if let Some(warning) = engine::rootless::enter(&roots)? {
            crate::ui::note(&format!("WARNING: {warning}"));
        }
        let engine = engine::Engine::open(roots)?;
        engine::timings::mark("open engine");
        Ok(engine)
    }
}

/// Runs the command line `args`, the program's name left out.
pub(crate) fn main(args: Vec<OsString>) -> ExitCode {
    if std::env::var_os("BRIG_TIMINGS").is_some_and(|value| value != "0" && !value.is_empty()) {
        engine::timings::enable();
    }
    let (global, rest) = match global::parse(args) {
        Ok(parsed) => parsed,
        Err(fault) => return error::report(&Ui::new(crate::ui::Level::Info), &fault, "brig", Codes::Plain),
    };
    let ui = Ui::new(global.level);
    let context = Context { global };
    let (result, command, codes) = dispatch(&ui, &context, rest);
    let result = result.and_then(|code| ui.flush().map(|()| code));
    let code = match result {
        Ok(code) => code,
        Err(fault) => {
            // What was printed before the failure belongs before its message.
            let _ = ui.flush();
            error::report(&ui, &fault, &command, codes)
        }
    };
    let timings = engine::timings::render();
    if !timings.is_empty() {
        crate::ui::note(timings.trim_end());
    }
    code
}

/// Finds the command that `args` begin with and runs it. Returns its name for errors too.
fn dispatch(ui: &Ui, context: &Context, args: Vec<OsString>) -> (Result<ExitCode>, String, Codes) {
    let plain = |result: Result<ExitCode>| (result, "brig".to_owned(), Codes::Plain);
    if context.global.version {
        return plain(ui.line(&commands::version::short()).map(|()| ExitCode::SUCCESS));
    }
    let mut words: Vec<String> = Vec::new();
    let mut args = args.into_iter().peekable();
    if context.global.help || args.peek().is_none() {
        return plain(ui.print(&help::program()).map(|()| ExitCode::SUCCESS));
    }
    let first = args.next().map(|word| word.to_string_lossy().into_owned()).unwrap_or_default();
    if first == "help" {
        words.extend(args.map(|word| word.to_string_lossy().into_owned()));
        return plain(help::for_words(&words).and_then(|text| ui.print(&text)).map(|()| ExitCode::SUCCESS));
    }
    words.push(first);
    if let Some(group) = commands::group(&words[0]) {
        let Some(word) = args.next() else {
            return plain(ui.print(&help::group(group)).map(|()| ExitCode::SUCCESS));
        };
        let word = word.to_string_lossy().into_owned();
        if matches!(word.as_str(), "--help" | "-h") {
            return plain(ui.print(&help::group(group)).map(|()| ExitCode::SUCCESS));
        }
        words.push(word);
    }
    let Some(entry) = commands::find(&words) else { return plain(Err(unknown(&words))) };
    engine::timings::mark("find command");
    let name = format!("brig {}", words.join(" "));
    (run(ui, context, entry, &name, args.collect()), name, entry.codes)
}

fn run(ui: &Ui, context: &Context, entry: &Entry, name: &str, args: Vec<OsString>) -> Result<ExitCode> {
    if parse::asks_help(entry, &args) {
        ui.print(&help::command(entry, name))?;
        return Ok(ExitCode::SUCCESS);
    }
    let matches = parse::parse(entry, name, args)?;
    engine::timings::mark("parse arguments");
    (entry.run)(ui, context, &matches)
}

fn unknown(words: &[String]) -> anyhow::Error {
    let (known, command): (Vec<&str>, String) = match words {
        [first] if first.starts_with('-') => {
            return UsageError {
                message: format!("unknown flag: {first}"),
                usage: "brig [OPTIONS] COMMAND [ARG...]".to_owned(),
                command: "brig".to_owned(),
                code: 125,
            }
            .into();
        }
        [_] => (commands::top_names(), "brig".to_owned()),
        [group, ..] => (commands::names_in(group), format!("brig {group}")),
        [] => (Vec::new(), "brig".to_owned()),
    };
    let word = words.last().map(String::as_str).unwrap_or_default();
    let mut message = format!("unknown command: brig {}", words.join(" "));
    let missing = match words {
        [group, ..] if words.len() > 1 => commands::group(group).map_or(&[][..], |group| group.missing),
        _ => commands::MISSING,
    };
    if missing.contains(&word) {
        message = format!("brig {} is not supported yet", words.join(" "));
        return UsageError { message, usage: String::new(), command, code: 1 }.into();
    }
    if let Some(near) = suggest::nearest(word, known.into_iter()) {
        message += &format!("\n\nDid you mean '{near}'?");
    }
    UsageError { message, usage: String::new(), command, code: 1 }.into()
}

/// Builds the parser of a command.
pub(crate) fn build<A: clap::Args>() -> Command {
    A::augment_args(Command::new("brig"))
}

/// A command's function that takes its parsed arguments.
pub(crate) trait Run: clap::Args {
    /// Runs the command.
    fn run(self, ui: &Ui, context: &Context) -> Result<ExitCode>;
}

/// Runs the command `A` on what was parsed.
pub(crate) fn call<A: Run>(ui: &Ui, context: &Context, matches: &ArgMatches) -> Result<ExitCode> {
    A::from_arg_matches(matches)?.run(ui, context)
}

/// The groups' names, for completion and manual pages.
pub(crate) fn groups() -> impl Iterator<Item = &'static Group> {
    commands::GROUPS.iter()
}
