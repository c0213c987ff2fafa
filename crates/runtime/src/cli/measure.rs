//! `ps` and `events`.

use std::process::{Command, ExitCode};
use std::time::Duration;

use lexopt::prelude::{Long, Short, Value, ValueExt};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::manage::json_or_table;
use super::{Failure, Globals, Outcome, help, needed, one_id, print, unknown};
use crate::error::{Doing, Error, Result, part};
use crate::lifecycle;
use crate::state::Status;

/// `ps`: prints the container's processes, as JSON or by ps(1) of the host.
pub(super) fn ps(parser: &mut lexopt::Parser, globals: &Globals) -> Outcome {
    let (mut id, mut json, mut options) = (None, false, Vec::new());
    while let Some(arg) = parser.next()? {
        match arg {
            Short('f') | Long("format") => json = json_or_table(&parser.value()?.string()?)?,
            Short('h') | Long("help") => return print(&help::of("ps")),
            Value(value) => {
                one_id(&mut id, value)?;
                options =
                    parser.raw_args()?.map(ValueExt::string).collect::<std::result::Result<Vec<_>, _>>()?;
                break;
            }
            other => return Err(unknown(other)),
        }
    }
    let pids = crate::ps(&globals.root, &needed(id)?)?;
    if json {
        let text =
            serde_json::to_string(&pids).map_err(|source| Error::Json { path: "output".into(), source });
        return print(&format!("{}\n", text?));
    }
    if options.is_empty() {
        options.push("-ef".into());
    }
    print(&host_ps(&options, &pids)?)
}

/// Runs ps(1) of the host and keeps the container's lines. Nothing of the container is executed (CVE-2022-1227).
fn host_ps(options: &[String], pids: &[i32]) -> Result<String> {
    let output = Command::new("ps").args(options).current_dir("/").output().doing(|| "run ps".into())?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(std::io::Error::other(said)).doing(|| format!("run ps {}", options.join(" ")));
    }
    filter_ps(&text, pids)
        .ok_or_else(|| Error::invalid("ps options", options.join(" "), "a format with the column PID"))
}

fn filter_ps(text: &str, pids: &[i32]) -> Option<String> {
    let mut lines = text.lines();
    let header = lines.next()?;
    let column = header.split_whitespace().position(|name| name == "PID")?;
    let ours = lines.filter(|line| {
        let pid = line.split_whitespace().nth(column).and_then(|pid| pid.parse().ok());
        pid.is_some_and(|pid| pids.contains(&pid))
    });
    Some(std::iter::once(header).chain(ours).map(|line| format!("{line}\n")).collect())
}

/// `events`: prints measurements every interval, and what happens.
pub(super) fn events(parser: &mut lexopt::Parser, globals: &Globals) -> Outcome {
    let (mut id, mut once, mut interval) = (None, false, Duration::from_secs(5));
    while let Some(arg) = parser.next()? {
        match arg {
            Long("stats") => once = true,
            Long("interval") => interval = parse_interval(&parser.value()?.string()?)?,
            Short('h') | Long("help") => return print(&help::of("events")),
            Value(value) => one_id(&mut id, value)?,
            other => return Err(unknown(other)),
        }
    }
    let id = needed(id)?;
    let (dir, record) = lifecycle::recorded(&globals.root, &id)?;
    let status = dir.status(&record);
    if matches!(status, Status::Stopped | Status::Creating) {
        let status = status.to_string();
        return Err(Error::Status { id, action: "measure", status }.into());
    }
    print_stats(globals, &id)?;
    if once {
        return Ok(ExitCode::SUCCESS);
    }
    let group = lifecycle::group(&record)?;
    let watch = group.watch_oom().map_err(|error| part("watch for a want of memory", error))?;
    let count = || group.oom_kills().map_err(|error| part("count kills for want of memory", error));
    let mut kills = count()?;
    let timeout =
        Timespec { tv_sec: interval.as_secs().cast_signed(), tv_nsec: i64::from(interval.subsec_nanos()) };
    while !matches!(dir.status(&record), Status::Stopped) {
        let watched = std::os::fd::AsFd::as_fd(&watch);
        let mut wanted = [PollFd::from_borrowed_fd(watched, PollFlags::IN | PollFlags::PRI)];
        let ready = poll(&mut wanted, Some(&timeout)).doing(|| "wait for events".into())?;
        if ready == 0 {
            print_stats(globals, &id)?;
            continue;
        }
        let now = count()?;
        if now > kills {
            kills = now;
            print(&format!("{}\n", serde_json::json!({"type": "oom", "id": id})))?;
        }
        // The counter of v1 must be read to become quiet again; v2's file is edge-triggered.
        let _ = rustix::io::read(watched, &mut [0; 8]);
    }
    Ok(ExitCode::SUCCESS)
}

fn print_stats(globals: &Globals, id: &str) -> Outcome {
    let stats = crate::stats(&globals.root, id)?;
    print(&format!("{}\n", serde_json::json!({"type": "stats", "id": id, "data": stats})))
}

/// Reads Go's form of durations: `5s`, `500ms`, `1m`.
fn parse_interval(text: &str) -> Result<Duration, Failure> {
    let split = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let factor = match unit {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => -1.0,
    };
    let seconds = number.parse::<f64>().map_or(-1.0, |number| number * factor);
    Duration::try_from_secs_f64(seconds)
        .ok()
        .filter(|interval| !interval.is_zero())
        .ok_or_else(|| Failure::Usage(format!("invalid --interval {text:?}: a number with ms, s, m or h")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_containers_lines_are_kept() {
        let text = "UID PID CMD\nroot 1 init\nroot 42 sh 1\n";
        assert_eq!(filter_ps(text, &[42]).unwrap(), "UID PID CMD\nroot 42 sh 1\n");
        assert!(filter_ps("A B\n", &[1]).is_none());
    }

    #[test]
    fn intervals_are_go_durations() {
        assert_eq!(parse_interval("500ms").unwrap(), Duration::from_millis(500));
        for text in ["", "5", "s", "-1s", "0s", "5x"] {
            assert!(parse_interval(text).is_err(), "{text}");
        }
    }
}
