//! `brig images`, the list of images.

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Args as ClapArgs;
use docker_types::filter::Filters;
use docker_types::time;
use engine::Engine;
use engine::model::Image;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::Entry;
use crate::cli::{Context, Run};
use crate::ui::Ui;
use crate::view::images::{self, COLUMNS, Names, TABLE, TABLE_WITH_DIGESTS};
use crate::view::{format, short_id};

pub(crate) const ENTRY: Entry = Entry {
    paths: &[&["image", "ls"], &["image", "list"], &["images"]],
    usage: "[OPTIONS] [REPOSITORY[:TAG]]",
    about: "List images",
    refused: &["tree"],
    ..Entry::of::<Args>()
};

/// The keys that the list of images knows.
const KEYS: &[&str] = &["before", "dangling", "label", "reference", "since", "until"];

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Show those without a name too
    #[arg(short, long)]
    all: bool,
    /// Show digests
    #[arg(long)]
    digests: bool,
    /// Only those that match (dangling=true, reference=…, label=…, before=…, since=…)
    #[arg(short, long, value_name = "filter")]
    filter: Vec<String>,
    /// How to print: table, json, a template, or "table TEMPLATE"
    #[arg(long, value_name = "string")]
    format: Option<String>,
    /// Do not cut ids
    #[arg(long)]
    no_trunc: bool,
    /// Only ids
    #[arg(short, long)]
    quiet: bool,
    #[arg(value_name = "REPOSITORY")]
    repository: Option<String>,
}

impl Run for Args {
    fn run(self, ui: &Ui, context: &Context) -> Result<ExitCode> {
        let mut texts = self.filter.clone();
        texts.extend(self.repository.iter().map(|name| format!("reference={name}")));
        let filters = Filters::parse(&texts, KEYS)?;
        let engine = context.engine()?;
        let list = self.wanted(&engine, &filters)?;
        if self.quiet && self.format.is_none() {
            for (image, _) in &list {
                let id = image.id.to_string();
                ui.line(if self.no_trunc { &id } else { short_id(&id) })?;
            }
            return Ok(ExitCode::SUCCESS);
        }
        let (now, zone) = (Timestamp::now(), TimeZone::system());
        let rows: Vec<_> =
            list.iter().map(|(image, names)| images::row(image, names, self.no_trunc, now, &zone)).collect();
        let normal = if self.digests { TABLE_WITH_DIGESTS } else { TABLE };
        ui.print(&format::render(&COLUMNS, self.format.as_deref(), normal, &rows)?)?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Args {
    fn wanted(&self, engine: &Engine, filters: &Filters) -> Result<Vec<(Image, Names)>> {
        let dangling = filters.flag("dangling")?;
        let made = |key: &str| -> Result<Option<Option<Timestamp>>> {
            Ok(filters.get(key).last().map(|name| engine.image(name)).transpose()?.map(|image| image.created))
        };
        let (before, since) = (made("before")?, made("since")?);
        let until = filters
            .get("until")
            .last()
            .map(|text| time::parse(text, Timestamp::now(), &TimeZone::system()))
            .transpose()
            .context("invalid filter 'until'")?;
        let mut list = Vec::new();
        for image in engine.images()? {
            let nameless = image.tags.is_empty();
            let fits = dangling.is_none_or(|wanted| nameless == wanted)
                && filters.labels("label", &image.config.config.labels)
                && before.is_none_or(|stamp| image.created < stamp)
                && since.is_none_or(|stamp| image.created > stamp)
                && until.is_none_or(|stamp| image.created.is_some_and(|created| created < stamp));
            if !fits {
                continue;
            }
            let digests = self.digests || format::uses(self.format.as_deref(), "Digest");
            let names = images::names(&image, digests);
            let fitting =
                names.into_iter().filter(|names| filters.any("reference", |wanted| refers(wanted, names)));
            list.extend(fitting.map(|names| (image.clone(), names)));
        }
        Ok(list)
    }
}

/// Says whether a name of an image is what the pattern `repository[:tag]` means; `*` stands for anything but a slash.
fn refers(pattern: &str, names: &Names) -> bool {
    let (repository, tag) = match pattern.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => (repository, Some(tag)),
        _ => (pattern, None),
    };
    let repository = repository.strip_prefix("docker.io/").unwrap_or(repository);
    let repository = repository.strip_prefix("library/").unwrap_or(repository);
    glob(repository, &names.repository) && tag.is_none_or(|tag| glob(tag, &names.tag))
}

fn glob(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((head, rest)) => {
            let Some(tail) = text.strip_prefix(head) else { return false };
            let ends = tail.char_indices().map(|(at, _)| at).chain([tail.len()]);
            ends.take_while(|end| !tail[..*end].contains('/')).any(|end| glob(rest, &tail[end..]))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_patterns() {
        let names = Names { repository: "me/web".into(), tag: "v1".into(), digest: String::new() };
        for (pattern, fits) in [
            ("me/web", true),
            ("me/web:v1", true),
            ("me/web:v2", false),
            ("me/*", true),
            ("*", false),
            ("*/*:v*", true),
            ("docker.io/me/web", true),
            ("web", false),
        ] {
            assert_eq!(refers(pattern, &names), fits, "{pattern}");
        }
    }
}
