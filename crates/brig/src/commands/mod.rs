//! One file per command: an `Args` struct whose comments are the help, and one function that runs it.
//!
//! [`ENTRIES`] is the one list from which dispatch, help, completion and manual pages are made.

mod attach;
mod cleanup;
mod commit;
mod completion;
mod container_prune;
mod cp;
mod create;
mod diff;
mod each;
mod events;
mod exec;
mod export;
mod generate;
mod health_changed;
mod history;
mod image_inspect;
mod image_prune;
mod images;
mod import;
mod info;
mod inspect;
mod interactive;
mod kill;
mod load;
mod login;
mod logout;
mod logs;
mod network_connect;
mod network_create;
mod network_disconnect;
mod network_inspect;
mod network_ls;
mod network_prune;
mod network_repair;
mod network_rm;
mod output;
mod pause;
mod port;
mod progress;
mod prune;
mod ps;
mod pull;
mod rename;
mod restart;
mod rm;
mod rmi;
mod run;
mod save;
mod secret_create;
mod secret_inspect;
mod secret_ls;
mod secret_rm;
mod start;
mod stats;
mod stop;
mod system_boot;
mod system_df;
mod system_prune;
mod tag;
mod top;
mod unpause;
mod unshare;
mod update;
pub(crate) mod version;
mod volume_clone;
mod volume_create;
mod volume_export;
mod volume_import;
mod volume_inspect;
mod volume_ls;
mod volume_prune;
mod volume_rename;
mod volume_rm;
mod wait;
mod why;

use std::process::ExitCode;

use anyhow::Result;
use clap::{ArgMatches, Command};

use crate::cli::{self, Context, Run};
use crate::error::Codes;
use crate::ui::Ui;

/// One command.
#[derive(Debug)]
pub(crate) struct Entry {
    /// All the words that call it; the first is the one that lists show.
    pub(crate) paths: &'static [&'static [&'static str]],
    /// What stands behind the words in the usage line.
    pub(crate) usage: &'static str,
    /// One line of help.
    pub(crate) about: &'static str,
    /// Further help.
    pub(crate) details: &'static str,
    /// Makes the parser.
    pub(crate) build: fn() -> Command,
    /// Runs it on what was parsed.
    pub(crate) run: fn(&Ui, &Context, &ArgMatches) -> Result<ExitCode>,
    /// How failures become exit codes.
    pub(crate) codes: Codes,
    /// Flags that are known and refused.
    pub(crate) refused: &'static [&'static str],
    /// Whether the first word that is no flag ends the flags (`run`, `exec`).
    pub(crate) stops_at_first_word: bool,
    /// Whether lists leave it out.
    pub(crate) hidden: bool,
}

impl Entry {
    /// Makes the entry of the command `A`; the other fields have their usual values.
    pub(crate) const fn of<A: Run>() -> Self {
        Self {
            paths: &[],
            usage: "[OPTIONS]",
            about: "",
            details: "",
            build: cli::build::<A>,
            run: cli::call::<A>,
            codes: Codes::Plain,
            refused: &[],
            stops_at_first_word: false,
            hidden: false,
        }
    }

    /// Returns the word that calls it inside `group`.
    pub(crate) fn word_in(&self, group: &str) -> Option<&'static str> {
        self.paths.iter().find_map(|path| match path {
            [first, word] if *first == group => Some(*word),
            _ => None,
        })
    }

    /// Returns the one word that calls it without a group.
    pub(crate) fn top_word(&self) -> Option<&'static str> {
        self.paths.iter().find_map(|path| match path {
            [word] => Some(*word),
            _ => None,
        })
    }
}

/// A word that needs a second one: `brig volume ls`.
#[derive(Debug)]
pub(crate) struct Group {
    /// The word.
    pub(crate) name: &'static str,
    /// One line of help.
    pub(crate) about: &'static str,
    /// Commands of Docker's that are known and not there yet.
    pub(crate) missing: &'static [&'static str],
}

/// The groups.
pub(crate) const GROUPS: &[Group] = &[
    Group { name: "container", about: "Manage containers", missing: &[] },
    Group { name: "image", about: "Manage images", missing: &["build", "push"] },
    Group { name: "network", about: "Manage networks", missing: &[] },
    Group { name: "system", about: "Manage Brig", missing: &["dial-stdio"] },
    Group { name: "secret", about: "Manage secrets", missing: &[] },
    Group { name: "volume", about: "Manage volumes", missing: &["update"] },
];

/// Top-level commands of Docker's that are known and not there yet.
pub(crate) const MISSING: &[&str] = &[
    "build",
    "builder",
    "buildx",
    "checkpoint",
    "compose",
    "config",
    "context",
    "manifest",
    "node",
    "plugin",
    "push",
    "search",
    "service",
    "stack",
    "swarm",
    "trust",
];

/// The sections of `brig --help`.
pub(crate) const SECTIONS: &[(&str, &[&str])] = &[
    ("Common Commands", &["run", "exec", "ps", "pull", "images", "login", "logout", "version", "info"]),
    (
        "Commands",
        &[
            "attach",
            "commit",
            "completion",
            "cp",
            "create",
            "diff",
            "events",
            "export",
            "history",
            "import",
            "inspect",
            "kill",
            "load",
            "logs",
            "pause",
            "port",
            "rename",
            "restart",
            "rm",
            "rmi",
            "save",
            "start",
            "stats",
            "stop",
            "tag",
            "top",
            "unpause",
            "unshare",
            "update",
            "wait",
            "why",
        ],
    ),
];

/// All commands.
pub(crate) static ENTRIES: &[Entry] = &[
    attach::ENTRY,
    cleanup::ENTRY,
    commit::ENTRY,
    completion::ENTRY,
    container_prune::ENTRY,
    cp::ENTRY,
    create::ENTRY,
    diff::ENTRY,
    events::ENTRY,
    exec::ENTRY,
    export::ENTRY,
    generate::ENTRY,
    health_changed::ENTRY,
    history::ENTRY,
    image_inspect::ENTRY,
    image_prune::ENTRY,
    images::ENTRY,
    import::ENTRY,
    info::ENTRY,
    inspect::CONTAINER,
    inspect::ENTRY,
    kill::ENTRY,
    load::ENTRY,
    login::ENTRY,
    logout::ENTRY,
    logs::ENTRY,
    network_connect::ENTRY,
    network_create::ENTRY,
    network_disconnect::ENTRY,
    network_inspect::ENTRY,
    network_ls::ENTRY,
    network_prune::ENTRY,
    network_repair::ENTRY,
    network_rm::ENTRY,
    pause::ENTRY,
    port::ENTRY,
    ps::ENTRY,
    pull::ENTRY,
    rename::ENTRY,
    restart::ENTRY,
    rm::ENTRY,
    rmi::ENTRY,
    run::ENTRY,
    save::ENTRY,
    secret_create::ENTRY,
    secret_inspect::ENTRY,
    secret_ls::ENTRY,
    secret_rm::ENTRY,
    start::ENTRY,
    stats::ENTRY,
    stop::ENTRY,
    system_boot::BOOT,
    system_boot::SHUTDOWN,
    system_df::ENTRY,
    system_prune::ENTRY,
    tag::ENTRY,
    top::ENTRY,
    unpause::ENTRY,
    update::ENTRY,
    unshare::ENTRY,
    version::ENTRY,
    volume_clone::ENTRY,
    volume_create::ENTRY,
    volume_export::ENTRY,
    volume_import::ENTRY,
    volume_inspect::ENTRY,
    volume_ls::ENTRY,
    volume_prune::ENTRY,
    volume_rename::ENTRY,
    volume_rm::ENTRY,
    wait::ENTRY,
    why::ENTRY,
];

/// Finds the command that `words` call.
pub(crate) fn find(words: &[String]) -> Option<&'static Entry> {
    ENTRIES.iter().find(|entry| entry.paths.iter().any(|path| path.iter().eq(words.iter())))
}

/// Finds the group `name`.
pub(crate) fn group(name: &str) -> Option<&'static Group> {
    GROUPS.iter().find(|group| group.name == name)
}

/// Lists the commands of a group.
pub(crate) fn in_group(group: &str) -> impl Iterator<Item = &'static Entry> {
    ENTRIES.iter().filter(move |entry| !entry.hidden && entry.word_in(group).is_some())
}

/// Lists the words that may come first.
pub(crate) fn top_names() -> Vec<&'static str> {
    let own = ENTRIES.iter().filter(|entry| !entry.hidden).filter_map(Entry::top_word);
    own.chain(GROUPS.iter().map(|group| group.name)).collect()
}

/// Lists the words that may come second.
pub(crate) fn names_in(group: &str) -> Vec<&'static str> {
    in_group(group).filter_map(|entry| entry.word_in(group)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_calls_one_command() {
        let mut paths: Vec<_> = ENTRIES.iter().flat_map(|entry| entry.paths).collect();
        let count = paths.len();
        paths.sort();
        paths.dedup();
        assert_eq!(paths.len(), count);
    }

    #[test]
    fn every_command_is_in_a_section_or_group() {
        let shown: Vec<&str> = SECTIONS.iter().flat_map(|(_, names)| names.iter().copied()).collect();
        for entry in ENTRIES.iter().filter(|entry| !entry.hidden) {
            assert!(!entry.about.is_empty() && !entry.paths.is_empty());
            if let Some(word) = entry.top_word() {
                assert!(shown.contains(&word), "{word}");
            }
        }
        for name in shown {
            assert!(find(&[name.to_owned()]).is_some(), "{name}");
        }
    }

    #[test]
    fn every_parser_is_sound() {
        for entry in ENTRIES {
            cli::parse::command(entry).debug_assert();
        }
    }
}
