//! `state`, `list`, `kill`, `delete`, `pause`, `resume`.

use std::process::ExitCode;

use lexopt::prelude::{Long, Short, Value, ValueExt};

use super::{Failure, Globals, Outcome, help, needed, one_id, only_id, print, unknown};
use crate::error::{Error, Result};
use crate::state::ContainerState;

/// `state`: prints the state as JSON.
pub(super) fn state(parser: &mut lexopt::Parser, globals: &Globals) -> Outcome {
    match only_id(parser, "state")? {
        Ok(id) => print(&format!("{}\n", pretty(&crate::state(&globals.root, &id)?)?)),
        Err(code) => Ok(code),
    }
}

pub(super) fn pretty(value: &impl serde::Serialize) -> Result<String> {
    serde_json::to_string_pretty(value).map_err(|source| Error::Json { path: "output".into(), source })
}

/// `list`: prints all containers.
pub(super) fn list(parser: &mut lexopt::Parser, globals: &Globals) -> Outcome {
    let (mut quiet, mut json) = (false, false);
    while let Some(arg) = parser.next()? {
        match arg {
            Short('q') | Long("quiet") => quiet = true,
            Short('f') | Long("format") => json = json_or_table(&parser.value()?.string()?)?,
            Short('h') | Long("help") => return print(&help::of("list")),
            other => return Err(unknown(other)),
        }
    }
    let states = crate::list(&globals.root)?;
    if quiet {
        return print(&states.iter().map(|state| format!("{}\n", state.id)).collect::<String>());
    }
    if json {
        let text =
            serde_json::to_string(&states).map_err(|source| Error::Json { path: "output".into(), source });
        return print(&format!("{}\n", text?));
    }
    print(&table(&states))
}

/// Reads the value of `--format`.
pub(super) fn json_or_table(text: &str) -> Result<bool, Failure> {
    match text {
        "json" => Ok(true),
        "table" => Ok(false),
        other => Err(Failure::Usage(format!("invalid --format {other:?}: table or json"))),
    }
}

fn table(states: &[ContainerState]) -> String {
    let rows = states.iter().map(|state| {
        let bundle = state.bundle.to_string_lossy().into_owned();
        [
            state.id.clone(),
            state.pid.to_string(),
            state.status.to_string(),
            bundle,
            state.created.clone(),
            state.owner.clone(),
        ]
    });
    columns(["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"], rows)
}

/// Renders rows in columns, each as wide as its widest cell and at least twelve.
pub(super) fn columns<const N: usize>(header: [&str; N], rows: impl Iterator<Item = [String; N]>) -> String {
    let all: Vec<[String; N]> = std::iter::once(header.map(str::to_owned)).chain(rows).collect();
    let mut text = String::new();
    for row in &all {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let width = all.iter().map(|row| row[column].len()).max().unwrap_or(0).max(11) + 1;
            line.push_str(&format!("{cell:width$}"));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// `kill`: sends a signal.
pub(super) fn kill(parser: &mut lexopt::Parser, globals: &Globals) -> Outcome {
    let (mut id, mut signal, mut all) = (None, None, false);
    while let Some(arg) = parser.next()? {
        match arg {
            Short('a') | Long("all") => all = true,
            Short('h') | Long("help") => return print(&help::of("kill")),
            Value(value) if id.is_none() => one_id(&mut id, value)?,
            Value(value) if signal.is_none() => signal = Some(value.string()?),
            other => return Err(unknown(other)),
        }
    }
    let id = needed(id)?;
    let signal = parse_signal(signal.as_deref().unwrap_or("SIGTERM"))?;
    crate::kill(&globals.root, &id, signal, all)?;
    Ok(ExitCode::SUCCESS)
}

/// Signals by name. Source: `asm-generic/signal.h`, the numbers of x86-64 and arm64.
const SIGNALS: [(&str, i32); 33] = [
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("TRAP", 5),
    ("ABRT", 6),
    ("IOT", 6),
    ("BUS", 7),
    ("FPE", 8),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("STKFLT", 16),
    ("CHLD", 17),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("XCPU", 24),
    ("XFSZ", 25),
    ("VTALRM", 26),
    ("PROF", 27),
    ("WINCH", 28),
    ("IO", 29),
    ("POLL", 29),
    ("PWR", 30),
    ("SYS", 31),
];

fn parse_signal(text: &str) -> Result<i32> {
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let relative = |prefix: &str, base: i32| {
        let rest = name.strip_prefix(prefix)?;
        if rest.is_empty() { Some(base) } else { rest.parse::<i32>().ok().map(|offset| base + offset) }
    };
    // Realtime signals as people number them: 34 to 64.
    let number = name.parse::<i32>().ok();
    let known = SIGNALS.iter().find(|(known, _)| *known == name).map(|(_, number)| *number);
    let found = number.or(known).or_else(|| relative("RTMIN", 34)).or_else(|| relative("RTMAX", 64));
    found.filter(|number| (0..=64).contains(number)).ok_or_else(|| {
        Error::invalid("signal", text, "a name such as TERM or SIGTERM, or a number from 0 to 64")
    })
}

/// `delete`: removes a container.
pub(super) fn delete(parser: &mut lexopt::Parser, globals: &Globals) -> Outcome {
    let (mut id, mut force) = (None, false);
    while let Some(arg) = parser.next()? {
        match arg {
            Short('f') | Long("force") => force = true,
            Short('h') | Long("help") => return print(&help::of("delete")),
            Value(value) => one_id(&mut id, value)?,
            other => return Err(unknown(other)),
        }
    }
    let failed = crate::delete(&globals.root, &needed(id)?, force)?;
    failed.iter().for_each(|text| globals.log.warning(text));
    Ok(ExitCode::SUCCESS)
}

/// `pause` and `resume`.
pub(super) fn freeze(parser: &mut lexopt::Parser, globals: &Globals, frozen: bool) -> Outcome {
    let command = if frozen { "pause" } else { "resume" };
    let id = match only_id(parser, command)? {
        Ok(id) => id,
        Err(code) => return Ok(code),
    };
    if frozen { crate::pause(&globals.root, &id) } else { crate::resume(&globals.root, &id) }?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_names_and_numbers() {
        for (text, number) in
            [("TERM", 15), ("sigkill", 9), ("0", 0), ("SIGRTMIN+3", 37), ("RTMAX-1", 63), ("64", 64)]
        {
            assert_eq!(parse_signal(text).unwrap(), number, "{text}");
        }
        for text in ["", "SIG", "65", "-1", "RTMIN+99", "TERMINATE"] {
            assert!(parse_signal(text).is_err(), "{text}");
        }
    }

    #[test]
    fn columns_line_up() {
        let text = columns(["ID", "PID"], [["a-long-name-indeed".to_owned(), "1".to_owned()]].into_iter());
        assert_eq!(text, "ID                 PID\na-long-name-indeed 1\n");
    }
}
