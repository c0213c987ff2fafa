//! `brig inspect`, and what all commands of that name share.

use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use clap::Args as ClapArgs;
use engine::Engine;
use serde::Serialize;
use serde_json::Value;

use super::Entry;
use crate::cli::{Context, Run};
use crate::error::{self, Silent};
use crate::ui::Ui;
use crate::view::{format, inspect};

pub(crate) const ENTRY: Entry = Entry {
    paths: &[&["inspect"]],
    usage: "[OPTIONS] NAME|ID [NAME|ID...]",
    about: "Show all that is known of containers, images, volumes or networks",
    ..Entry::of::<Args>()
};

pub(crate) const CONTAINER: Entry = Entry {
    paths: &[&["container", "inspect"]],
    usage: "[OPTIONS] CONTAINER [CONTAINER...]",
    about: "Show all that is known of containers",
    ..Entry::of::<ContainerArgs>()
};

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// How to print: json or a template
    #[arg(short, long, value_name = "string")]
    format: Option<String>,
    /// Show the size of a container's files too
    #[arg(short, long)]
    size: bool,
    /// Only objects of a kind (container|image|network|volume)
    #[arg(long = "type", value_name = "string")]
    kind: Option<String>,
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct ContainerArgs {
    /// How to print: json or a template
    #[arg(short, long, value_name = "string")]
    format: Option<String>,
    /// Show the size of the files too
    #[arg(short, long)]
    size: bool,
    #[arg(required = true, value_name = "CONTAINER")]
    names: Vec<String>,
}

impl Run for Args {
    fn run(self, ui: &Ui, context: &Context) -> Result<ExitCode> {
        let engine = context.engine()?;
        let size = self.size;
        let format = self.format.as_deref();
        match self.kind.as_deref() {
            None | Some("") => all(ui, format, &self.names, |name| any(&engine, name, size)),
            Some("container") => all(ui, format, &self.names, |name| container(&engine, name, size)),
            Some("image") => all(ui, format, &self.names, |name| image(&engine, name)),
            Some("network") => all(ui, format, &self.names, |name| network(&engine, name)),
            Some("volume") => all(ui, format, &self.names, |name| volume(&engine, name)),
            Some(other) => bail!("unknown type: {other:?}: give container, image, network or volume"),
        }
    }
}

impl Run for ContainerArgs {
    fn run(self, ui: &Ui, context: &Context) -> Result<ExitCode> {
        let engine = context.engine()?;
        all(ui, self.format.as_deref(), &self.names, |name| container(&engine, name, self.size))
    }
}

/// Prints what `find` returns for each name; what was not found is told afterwards, with exit code 1.
pub(crate) fn all(
    ui: &Ui,
    format: Option<&str>,
    names: &[String],
    find: impl Fn(&str) -> Result<Value>,
) -> Result<ExitCode> {
    let (mut values, mut faults) = (Vec::new(), Vec::new());
    for name in names {
        match find(name) {
            Ok(value) => values.push(value),
            Err(fault) => faults.push(fault),
        }
    }
    ui.print(&format::inspected(format, &values)?)?;
    ui.flush()?;
    if faults.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    faults.iter().for_each(|fault| ui.error(&format!("brig: {}", error::render(fault))));
    Err(Silent(1).into())
}

fn json(value: impl Serialize) -> Result<Value> {
    serde_json::to_value(value).context("cannot render the answer as JSON")
}

/// Returns what `container inspect` shows.
pub(crate) fn container(engine: &Engine, name: &str, size: bool) -> Result<Value> {
    let found = engine.container(name)?;
    let sizes = if size { Some(engine.container_size(&found)?) } else { None };
    json(inspect::container::container(&found, sizes))
}

/// Returns what `image inspect` shows.
pub(crate) fn image(engine: &Engine, name: &str) -> Result<Value> {
    json(inspect::image::image(&engine.image(name)?))
}

/// Returns what `network inspect` shows.
pub(crate) fn network(engine: &Engine, name: &str) -> Result<Value> {
    json(inspect::network(&engine.network(name)?))
}

/// Returns what `volume inspect` shows.
pub(crate) fn volume(engine: &Engine, name: &str) -> Result<Value> {
    json(inspect::volume(&engine.volume(name)?))
}

/// Looks among containers, images, networks and volumes, in this order.
fn any(engine: &Engine, name: &str, size: bool) -> Result<Value> {
    let finders: [&dyn Fn() -> Result<Value>; 4] =
        [&|| container(engine, name, size), &|| image(engine, name), &|| network(engine, name), &|| {
            volume(engine, name)
        }];
    for find in finders {
        match find() {
            Err(fault) if is_missing(&fault) => {}
            found => return found,
        }
    }
    bail!("no such object: {name}")
}

/// Says whether the object is not there, or its name can be no name of such an object.
fn is_missing(fault: &anyhow::Error) -> bool {
    use base::{ErrorKind, Kinded};
    matches!(
        fault.downcast_ref::<engine::Error>().map(Kinded::kind),
        Some(ErrorKind::NotFound | ErrorKind::Invalid)
    ) && !matches!(fault.downcast_ref(), Some(engine::Error::Ambiguous { .. }))
}
