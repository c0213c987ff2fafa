//! `--help` in the layout that Docker's users know: Usage, text, Aliases, Options.

use std::fmt::Write as _;

use anyhow::Result;
use clap::builder::StyledStr;
use clap::{Arg, ArgAction};

use super::{global, parse};
use crate::commands::{self, Entry, Group};

/// Column after which text is broken when nobody says how wide the terminal is.
const WIDTH: usize = 80;
/// The narrowest column for an option's text.
const TEXT_MIN: usize = 24;

/// Renders the help of the program.
pub(crate) fn program() -> String {
    let mut text = String::from(
        "Usage:  brig [OPTIONS] COMMAND\n\nRun containers: images, isolation, networks and volumes in one program\n",
    );
    for (title, names) in commands::SECTIONS {
        let _ = write!(text, "\n{title}:\n");
        let entries = names.iter().filter_map(|name| commands::find(&[(*name).to_owned()]));
        command_lines(&mut text, entries.map(|entry| (entry.top_word().unwrap_or_default(), entry.about)));
    }
    text += "\nManagement Commands:\n";
    command_lines(&mut text, commands::GROUPS.iter().map(|group| (group.name, group.about)));
    text += "\nGlobal Options:\n";
    let rows: Vec<(String, String)> = global::OPTIONS
        .iter()
        .map(|(flag, value, help)| (format!("  {flag} {value}").trim_end().to_owned(), (*help).to_owned()))
        .collect();
    option_lines(&mut text, &rows);
    text + "\nRun 'brig COMMAND --help' for more information on a command.\n"
}

/// Renders the help of a group: `brig volume --help`.
pub(crate) fn group(group: &Group) -> String {
    let mut text = format!("Usage:  brig {} COMMAND\n\n{}\n\nCommands:\n", group.name, group.about);
    let word = |entry: &Entry| entry.word_in(group.name).unwrap_or_default();
    let mut entries: Vec<&Entry> = commands::in_group(group.name).collect();
    entries.sort_by_key(|entry| word(entry));
    command_lines(&mut text, entries.iter().map(|entry| (word(entry), entry.about)));
    let _ = write!(text, "\nRun 'brig {} COMMAND --help' for more information on a command.\n", group.name);
    text
}

/// Renders the help of one command; `name` is `brig volume ls`.
pub(crate) fn command(entry: &Entry, name: &str) -> String {
    let mut text = format!("Usage:  {}\n\n{}\n", parse::usage(entry, name), entry.about);
    if !entry.details.is_empty() {
        let _ = write!(text, "\n{}\n", entry.details);
    }
    if entry.paths.len() > 1 {
        let names: Vec<String> =
            entry.paths.iter().map(|words| format!("brig {}", words.join(" "))).collect();
        let _ = write!(text, "\nAliases:\n  {}\n", names.join(", "));
    }
    let parser = parse::command(entry);
    let mut options: Vec<&Arg> =
        parser.get_arguments().filter(|arg| !arg.is_positional() && !arg.is_hide_set()).collect();
    options.sort_by_key(|arg| arg.get_long());
    if !options.is_empty() {
        text += "\nOptions:\n";
        let rows: Vec<(String, String)> = options.iter().map(|arg| (flag(arg), help_text(arg))).collect();
        option_lines(&mut text, &rows);
    }
    text
}

/// Renders the help that `brig help WORDS` asks for.
pub(crate) fn for_words(words: &[String]) -> Result<String> {
    if words.is_empty() {
        return Ok(program());
    }
    if let Some(found) = commands::group(&words[0]).filter(|_| words.len() == 1) {
        return Ok(group(found));
    }
    match commands::find(words) {
        Some(entry) => Ok(command(entry, &format!("brig {}", words.join(" ")))),
        None => Err(super::unknown(words)),
    }
}

fn command_lines<'a>(text: &mut String, rows: impl Iterator<Item = (&'a str, &'a str)>) {
    for (name, about) in rows {
        let _ = writeln!(text, "  {name:<11} {about}");
    }
}

/// `  -m, --memory bytes`.
fn flag(arg: &Arg) -> String {
    let short = arg.get_short().map_or_else(|| "    ".to_owned(), |short| format!("-{short}, "));
    let long = arg.get_long().unwrap_or_default();
    let value = match arg.get_action() {
        ArgAction::Set | ArgAction::Append if !is_boolean(arg) => arg
            .get_value_names()
            .and_then(|names| names.first())
            .map_or_else(String::new, |name| format!(" {name}")),
        _ => String::new(),
    };
    format!("  {short}--{long}{value}")
}

fn is_boolean(arg: &Arg) -> bool {
    arg.is_require_equals_set()
}

fn help_text(arg: &Arg) -> String {
    arg.get_help().map(StyledStr::to_string).unwrap_or_default()
}

/// Writes options in two columns, the texts broken at the terminal's width.
fn option_lines(text: &mut String, rows: &[(String, String)]) {
    let flag_width = rows.iter().map(|(flag, _)| flag.chars().count()).max().unwrap_or(0) + 3;
    let text_width = terminal_width().saturating_sub(flag_width).max(TEXT_MIN);
    for (flag, help) in rows {
        let mut lines = wrap(help, text_width).into_iter();
        let _ = writeln!(text, "{flag:<flag_width$}{}", lines.next().unwrap_or_default());
        for line in lines {
            let _ = writeln!(text, "{:flag_width$}{line}", "");
        }
    }
}

fn terminal_width() -> usize {
    let size = rustix::termios::tcgetwinsize(std::io::stdout());
    size.ok().map(|size| usize::from(size.ws_col)).filter(|columns| *columns >= 40).unwrap_or(WIDTH)
}

fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let last = lines.len() - 1;
        let line = &mut lines[last];
        if line.is_empty() {
            line.push_str(word);
        } else if line.chars().count() + 1 + word.chars().count() <= width {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}
