//! `brig logs`.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args as ClapArgs;
use docker_types::time;
use engine::containers::LogOptions;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::Entry;
use crate::cli::{Context, Run};
use crate::ui::{Gone, Ui};

pub(crate) const ENTRY: Entry = Entry {
    paths: &[&["logs"], &["container", "logs"]],
    usage: "[OPTIONS] CONTAINER",
    about: "Show what a container wrote",
    ..Entry::of::<Args>()
};

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Show the labels and variables that were asked to be logged too
    #[arg(long)]
    details: bool,
    /// Wait for more until the container ends
    #[arg(short, long)]
    follow: bool,
    /// Only lines since a time ("2013-01-02T13:23:37Z") or a while ago ("42m")
    #[arg(long, value_name = "string")]
    since: Option<String>,
    /// Only that many lines from the end (default "all")
    #[arg(short = 'n', long, value_name = "string")]
    tail: Option<String>,
    /// Show when each line was written
    #[arg(short, long)]
    timestamps: bool,
    /// Only lines until a time ("2013-01-02T13:23:37Z") or a while ago ("42m")
    #[arg(long, value_name = "string")]
    until: Option<String>,
    #[arg(required = true, value_name = "CONTAINER")]
    container: String,
}

impl Run for Args {
    fn run(self, ui: &Ui, context: &Context) -> Result<ExitCode> {
        let now = Timestamp::now();
        let moment = |text: &Option<String>| {
            text.as_deref()
                .filter(|text| !text.is_empty())
                .map(|text| time::parse(text, now, &TimeZone::system()))
                .transpose()
        };
        let options = LogOptions {
            follow: self.follow,
            since: moment(&self.since)?,
            until: moment(&self.until)?,
            tail: tail(self.tail.as_deref())?,
            stdout: true,
            stderr: true,
        };
        let mut gone = false;
        context.engine()?.logs(&self.container, &options, &mut |line| {
            let mut stamp =
                if self.timestamps { format!("{} ", time::all_nanos(line.time)) } else { String::new() };
            if self.details {
                stamp += &details(line.attrs);
            }
            match write_line(ui, self.follow, line.stderr, &stamp, line.text) {
                Ok(()) => Ok(true),
                Err(fault) if fault.downcast_ref::<Gone>().is_some() => {
                    gone = true;
                    Ok(false)
                }
                Err(fault) => Err(io::Error::other(fault.to_string())),
            }
        })?;
        if gone { Err(Gone.into()) } else { Ok(ExitCode::SUCCESS) }
    }
}

/// Renders `{"a":"1","b":"2"}` as Docker does: `a=1,b=2 `, with what could be taken for a separator escaped as in a URL.
fn details(attrs: &str) -> String {
    let attrs: BTreeMap<String, String> = serde_json::from_str(attrs).unwrap_or_default();
    let pairs: Vec<String> =
        attrs.iter().map(|(name, value)| format!("{}={}", escaped(name), escaped(value))).collect();
    pairs.join(",") + " "
}

fn escaped(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            b' ' => out.push('+'),
            other => out += &format!("%{other:02X}"),
        }
    }
    out
}

fn tail(text: Option<&str>) -> Result<Option<u64>> {
    match text {
        None | Some("all" | "") => Ok(None),
        // Docker takes a negative number for all.
        Some(text) => match text.parse::<i64>() {
            Ok(count) => Ok(u64::try_from(count).ok()),
            Err(_) => bail!("invalid value for --tail: {text:?}: give a number or \"all\""),
        },
    }
}

fn write_line(ui: &Ui, follow: bool, stderr: bool, stamp: &str, text: &[u8]) -> Result<()> {
    if stderr {
        // What came before on the other stream is shown before.
        ui.flush()?;
        let mut out = io::stderr().lock();
        // Nobody reads the standard error: there is nobody to tell.
        let _ = out.write_all(stamp.as_bytes()).and_then(|()| out.write_all(text));
        return Ok(());
    }
    ui.print(stamp)?;
    ui.bytes(text)?;
    if follow { ui.flush() } else { Ok(()) }
}
