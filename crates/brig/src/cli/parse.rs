//! Runs a command's clap parser with Docker's habits, and says its errors in Docker's words.
//!
//! Habits: a boolean flag takes `=true` and `=false`, the last of repeated flags wins, flags that are known and not
//! supported are refused by name.

use std::error::Error as _;
use std::ffi::OsString;

use anyhow::Result;
use clap::builder::ValueParser;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, ArgMatches, Command};

use super::suggest;
use crate::commands::Entry;
use crate::error::UsageError;

/// Builds the parser of `entry` with Docker's habits.
pub(crate) fn command(entry: &Entry) -> Command {
    let mut command = (entry.build)().about(entry.about);
    let h_is_free = !command.get_arguments().any(|arg| arg.get_short() == Some('h'));
    command =
        command.disable_help_flag(true).disable_version_flag(true).args_override_self(true).mut_args(habits);
    let mut help = Arg::new("help").long("help").action(ArgAction::HelpLong).help("Print usage");
    if h_is_free {
        help = help.short('h');
    }
    command.arg(help.hide(true))
}

/// Gives one argument Docker's habits: what follows a flag that wants a value is that value, whatever it looks like.
fn habits(arg: Arg) -> Arg {
    match arg.get_action() {
        ArgAction::SetTrue => boolean(arg),
        _ if arg.is_positional() || arg.is_require_equals_set() => arg,
        _ => arg.allow_hyphen_values(true),
    }
}

/// Lets a boolean flag take a value behind `=`.
fn boolean(arg: Arg) -> Arg {
    let arg = if arg.get_default_values().is_empty() { arg.default_value("false") } else { arg };
    arg.action(ArgAction::Set)
        .num_args(0..=1)
        .require_equals(true)
        .default_missing_value("true")
        .hide_default_value(true)
        .value_parser(ValueParser::new(|text: &str| {
            docker_types::mount::parse_bool(text)
                .ok_or_else(|| format!("strconv.ParseBool: parsing {text:?}: invalid syntax"))
        }))
}

/// Says whether the arguments ask for help before anything else is wanted.
///
/// Only what stands before the first word that is no flag counts: `brig run alpine --help` asks the program in the image.
pub(crate) fn asks_help(entry: &Entry, args: &[OsString]) -> bool {
    let mut texts = args.iter().map(|arg| arg.to_string_lossy());
    if entry.stops_at_first_word {
        return texts.next().is_some_and(|first| first == "--help");
    }
    texts.take_while(|text| text != "--").any(|text| text == "--help")
}

/// Parses `args` for `entry`; `name` is `brig run`.
pub(crate) fn parse(entry: &Entry, name: &str, args: Vec<OsString>) -> Result<ArgMatches> {
    let mut parser = command(entry);
    let words = std::iter::once(OsString::from("brig")).chain(args);
    let wrong = |message: String| UsageError {
        message,
        usage: usage(entry, name),
        command: name.to_owned(),
        code: 125,
    };
    let matches = match parser.try_get_matches_from_mut(words) {
        Ok(matches) => matches,
        Err(error) => {
            if let Some(flag) = refused_flag(&error, entry) {
                let message = format!("--{flag} is not supported yet");
                return Err(UsageError { usage: String::new(), ..wrong(message) }.into());
            }
            let mut fault = wrong(explain(&error, &parser, name));
            // Docker's code for a wrong flag is 125 for every command, and 1 for a wrong number of arguments.
            fault.code = if fault.message.starts_with(&format!("'{name}' ")) { 1 } else { 125 };
            return Err(fault.into());
        }
    };
    Ok(matches)
}

/// Returns the flag that stopped the parser when it is one that is known and refused.
fn refused_flag<'a>(error: &'a clap::Error, entry: &Entry) -> Option<&'a str> {
    match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(arg)) if error.kind() == ErrorKind::UnknownArgument => {
            arg.strip_prefix("--").filter(|flag| entry.refused.contains(flag))
        }
        _ => None,
    }
}

/// Returns the usage line: `brig run [OPTIONS] IMAGE [COMMAND] [ARG...]`.
pub(crate) fn usage(entry: &Entry, name: &str) -> String {
    if entry.usage.is_empty() { name.to_owned() } else { format!("{name} {}", entry.usage) }
}

fn explain(error: &clap::Error, parser: &Command, name: &str) -> String {
    let context = |kind: ContextKind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        Some(ContextValue::Strings(texts)) => texts.first().cloned().unwrap_or_default(),
        _ => String::new(),
    };
    let arg = context(ContextKind::InvalidArg);
    match error.kind() {
        ErrorKind::UnknownArgument => unknown(&arg, parser, name),
        ErrorKind::ValueValidation | ErrorKind::InvalidValue
            if !context(ContextKind::InvalidValue).is_empty() =>
        {
            let why = error
                .source()
                .map_or_else(|| "it is not one of the possible values".to_owned(), ToString::to_string);
            let value = context(ContextKind::InvalidValue);
            match flag_name(&arg, parser) {
                Some(flag) => format!("invalid argument {value:?} for {flag:?} flag: {why}"),
                None => format!("invalid argument {value:?}: {why}"),
            }
        }
        ErrorKind::InvalidValue | ErrorKind::NoEquals | ErrorKind::WrongNumberOfValues => {
            format!("flag needs an argument: {}", arg.split([' ', '=']).next().unwrap_or_default())
        }
        ErrorKind::MissingRequiredArgument | ErrorKind::TooFewValues => arguments_wanted(parser, name),
        ErrorKind::ArgumentConflict => {
            let other = context(ContextKind::PriorArg);
            format!("conflicting options: cannot specify both {} and {}", flag_only(&other), flag_only(&arg))
        }
        _ => error.to_string().lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned(),
    }
}

/// Says how many words a command wants behind its flags.
fn arguments_wanted(parser: &Command, name: &str) -> String {
    let range = |arg: &Arg| arg.get_num_args().unwrap_or_else(|| 1.into());
    let least: usize = parser
        .get_positionals()
        .filter(|arg| arg.is_required_set())
        .map(|arg| range(arg).min_values().max(1))
        .sum();
    let many = parser.get_positionals().any(|arg| matches!(arg.get_action(), ArgAction::Append));
    let most = parser.get_positionals().count();
    let plural = |count: usize| if count == 1 { "" } else { "s" };
    match (least, many, most) {
        (0, false, 0) => format!("'{name}' accepts no arguments"),
        (least, false, most) if least == most => {
            format!("'{name}' requires {least} argument{}", plural(least))
        }
        (0, false, most) => format!("'{name}' requires at most {most} argument{}", plural(most)),
        (least, ..) => format!("'{name}' requires at least {least} argument{}", plural(least)),
    }
}

fn flag_only(text: &str) -> &str {
    text.split([' ', '=', '[']).next().unwrap_or(text)
}

/// `-m, --memory`, as Docker's messages name a flag.
fn flag_name(text: &str, parser: &Command) -> Option<String> {
    let long = flag_only(text).strip_prefix("--")?;
    let short = parser.get_arguments().find(|arg| arg.get_long() == Some(long)).and_then(Arg::get_short);
    Some(short.map_or_else(|| format!("--{long}"), |short| format!("-{short}, --{long}")))
}

fn unknown(arg: &str, parser: &Command, name: &str) -> String {
    if let Some(long) = arg.strip_prefix("--") {
        let known = parser.get_arguments().filter(|a| !a.is_hide_set()).filter_map(Arg::get_long);
        let mut message = format!("unknown flag: --{long}");
        if let Some(near) = suggest::nearest(long, known) {
            message += &format!("\n\nDid you mean '--{near}'?");
        }
        return message;
    }
    match arg.strip_prefix('-').and_then(|rest| rest.chars().next()) {
        Some(short) => format!("unknown shorthand flag: '{short}' in {arg}"),
        None => arguments_wanted(parser, name),
    }
}
