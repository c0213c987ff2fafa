//! What the prune commands share: the question, the filters, the total.

use std::io::{BufRead, Write};

use anyhow::Result;
use docker_types::filter::Filters;
use docker_types::{size, time};
use engine::containers::Pruned;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::ui::Ui;

/// The filters that prune commands know.
pub(crate) const KEYS: &[&str] = &["label", "label!", "until"];

/// Asks whether to go on; the answer `y` does. `--force` answers it.
pub(crate) fn confirmed(ui: &Ui, force: bool, warning: &str) -> Result<bool> {
    if force {
        return Ok(true);
    }
    ui.print(&format!("{warning}\nAre you sure you want to continue? [y/N] "))?;
    ui.flush()?;
    std::io::stdout().flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y"))
}

/// Parses the filters; `label!=x` is written with the key `label!`.
pub(crate) fn filters(texts: &[String]) -> Result<Filters> {
    Ok(Filters::parse(texts, KEYS)?)
}

/// Returns the moment of `until=`, before which things must have been made.
pub(crate) fn until(filters: &Filters) -> Result<Option<Timestamp>> {
    let moment = |text: &String| time::parse(text, Timestamp::now(), &TimeZone::system());
    Ok(filters.get("until").last().map(moment).transpose()?)
}

/// Prints what was removed under `title` and how much was gained.
pub(crate) fn report(ui: &Ui, title: &str, pruned: &Pruned) -> Result<()> {
    list(ui, title, pruned)?;
    total(ui, pruned.bytes)
}

/// Prints what was removed under `title`.
pub(crate) fn list(ui: &Ui, title: &str, pruned: &Pruned) -> Result<()> {
    if pruned.deleted.is_empty() {
        return Ok(());
    }
    ui.line(title)?;
    for name in &pruned.deleted {
        ui.line(name)?;
    }
    ui.line("")
}

/// Prints how much was gained.
pub(crate) fn total(ui: &Ui, bytes: u64) -> Result<()> {
    ui.line(&format!(
        "Total reclaimed space: {}",
        size::human_with(i64::try_from(bytes).unwrap_or(i64::MAX), 4)
    ))
}
