//! `brig events`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args as ClapArgs;
use docker_types::filter::Filters;
use docker_types::time;
use engine::events::EventOptions;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::Entry;
use crate::cli::{Context, Run};
use crate::ui::Ui;
use crate::view::{events, format};

pub(crate) const ENTRY: Entry = Entry {
    paths: &[&["events"], &["system", "events"]],
    usage: "[OPTIONS]",
    about: "Show what happens to containers, images, volumes and networks",
    details: "Without --since only what happens from now on is shown, until the command is interrupted.\n\
        The record keeps about the last 50,000 events; it survives a restart of the machine.",
    ..Entry::of::<Args>()
};

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Only those that match (container=…, event=…, image=…, label=…, network=…, type=…, volume=…)
    #[arg(short, long, value_name = "filter")]
    filter: Vec<String>,
    /// How to print: json, or a template
    #[arg(long, value_name = "string")]
    format: Option<String>,
    /// Those since a time ("2013-01-02T13:23:37Z") or a while ago ("42m") too
    #[arg(long, value_name = "string")]
    since: Option<String>,
    /// Only those until a time ("2013-01-02T13:23:37Z") or a while ago ("42m")
    #[arg(long, value_name = "string")]
    until: Option<String>,
}

impl Run for Args {
    fn run(self, ui: &Ui, context: &Context) -> Result<ExitCode> {
        let (now, zone) = (Timestamp::now(), TimeZone::system());
        let moment = |text: &Option<String>| {
            let text = text.as_deref().filter(|text| !text.is_empty());
            text.map(|text| time::parse(text, now, &zone)).transpose()
        };
        let options = EventOptions { since: moment(&self.since)?, until: moment(&self.until)? };
        let filters = Filters::parse(&self.filter, events::KEYS)?;
        let printer = format::Stream::parse(self.format.as_deref())?;
        let mut fault = None;
        context.engine()?.events(options, &mut |event| {
            if !events::is_wanted(&filters, &event) {
                return Ok(true);
            }
            let line = match &printer {
                None => Ok(events::line(&event, &zone)),
                Some(printer) => printer.line(&events::message(event)),
            };
            match line.and_then(|line| ui.line_now(&line)) {
                Ok(()) => Ok(true),
                Err(error) => {
                    fault = Some(error);
                    Ok(false)
                }
            }
        })?;
        fault.map_or(Ok(ExitCode::SUCCESS), Err)
    }
}
