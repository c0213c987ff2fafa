//! The whole command as one clap tree, for completion scripts and manual pages; running a command never builds it.

use clap::{Arg, ArgAction, Command};
use clap_complete::Shell;

use super::{global, parse};
use crate::commands::{self, Entry};

/// Builds the tree of all commands that are shown.
pub(crate) fn tree() -> Command {
    let mut root = Command::new("brig")
        .about("Run containers: images, isolation, networks and volumes in one program")
        .version(engine::Engine::version().version)
        .disable_help_subcommand(true)
        .disable_version_flag(true)
        .args(global::OPTIONS.iter().map(global_arg));
    for name in commands::top_names() {
        let words = [name.to_owned()];
        if let Some(entry) = commands::find(&words) {
            root = root.subcommand(leaf(entry, name, &format!("brig {name}")));
        }
    }
    for group in super::groups() {
        let mut command = Command::new(group.name).about(group.about).disable_help_subcommand(true);
        for entry in commands::in_group(group.name) {
            if let Some(word) = entry.word_in(group.name) {
                command = command.subcommand(leaf(entry, word, &format!("brig {} {word}", group.name)));
            }
        }
        root = root.subcommand(command);
    }
    root
}

fn leaf(entry: &Entry, word: &'static str, words: &str) -> Command {
    parse::command(entry).name(word).override_usage(parse::usage(entry, words))
}

fn global_arg((flag, value, help): &(&'static str, &'static str, &'static str)) -> Arg {
    let long = flag.rsplit("--").next().unwrap_or(flag);
    let mut arg = Arg::new(long).long(long).help(*help);
    if let Some(short) = flag.strip_prefix('-').and_then(|rest| rest.chars().next()).filter(|c| *c != '-') {
        arg = arg.short(short);
    }
    if value.is_empty() { arg.action(ArgAction::SetTrue) } else { arg.value_name(*value) }
}

/// Parses the name of a shell that there is a script for.
pub(crate) fn parse_shell(text: &str) -> Result<Shell, String> {
    match text {
        "bash" => Ok(Shell::Bash),
        "zsh" => Ok(Shell::Zsh),
        "fish" => Ok(Shell::Fish),
        _ => Err("give bash, zsh or fish".to_owned()),
    }
}

/// Returns the completion script of a shell.
pub(crate) fn script(shell: Shell) -> Vec<u8> {
    let mut out = Vec::new();
    clap_complete::generate(shell, &mut tree(), "brig", &mut out);
    out
}
