//! `update`: changes limits, by options as runc names them or by a document.

use std::path::PathBuf;
use std::process::ExitCode;

use lexopt::prelude::{Long, Short, Value, ValueExt};
use oci::runtime::LinuxResources;
use serde_json::{Map, Value as Json, json};

use super::{Failure, Globals, Outcome, help, needed, one_id, print, unknown};
use crate::error::{Doing, Error, Result};

/// Options, and where in the document their numbers go.
const NUMBERS: [(&str, &str, &str); 14] = [
    ("blkio-weight", "blockIO", "weight"),
    ("cpu-period", "cpu", "period"),
    ("cpu-quota", "cpu", "quota"),
    ("cpu-burst", "cpu", "burst"),
    ("cpu-share", "cpu", "shares"),
    ("cpu-rt-period", "cpu", "realtimePeriod"),
    ("cpu-rt-runtime", "cpu", "realtimeRuntime"),
    ("cpu-idle", "cpu", "idle"),
    ("memory", "memory", "limit"),
    ("memory-reservation", "memory", "reservation"),
    ("memory-swap", "memory", "swap"),
    ("kernel-memory", "memory", "kernel"),
    ("kernel-memory-tcp", "memory", "kernelTCP"),
    ("pids-limit", "pids", "limit"),
];

/// `update`.
pub(super) fn update(parser: &mut lexopt::Parser, globals: &Globals) -> Outcome {
    let mut id = None;
    let mut document = None;
    let mut changes = Map::new();
    while let Some(arg) = parser.next()? {
        match arg {
            Short('h') | Long("help") => return print(&help::of("update")),
            Short('r') | Long("resources") => document = Some(PathBuf::from(parser.value()?)),
            Long("cpuset-cpus") => set(&mut changes, "cpu", "cpus", Json::from(parser.value()?.string()?)),
            Long("cpuset-mems") => set(&mut changes, "cpu", "mems", Json::from(parser.value()?.string()?)),
            Long("l3-cache-schema" | "mem-bw-schema") => {
                let why = "this program does not write resource control groups";
                return Err(Error::unsupported("Intel resource control", why).into());
            }
            Long(name) => {
                let Some((name, section, field)) = NUMBERS.iter().find(|(known, _, _)| *known == name) else {
                    return Err(Failure::Usage(format!("invalid option '--{name}'")));
                };
                let number = number(name, &parser.value()?.string()?)?;
                set(&mut changes, section, field, Json::from(number));
            }
            Value(value) => one_id(&mut id, value)?,
            other => return Err(unknown(other)),
        }
    }
    let id = needed(id)?;
    let resources = match document {
        Some(path) => read(&path)?,
        None => serde_json::from_value(Json::Object(changes))
            .map_err(|source| Error::Json { path: "the options".into(), source })?,
    };
    crate::update(&globals.root, &id, &resources)?;
    Ok(ExitCode::SUCCESS)
}

fn set(changes: &mut Map<String, Json>, section: &str, field: &str, value: Json) {
    let section = changes.entry(section).or_insert_with(|| json!({}));
    section[field] = value;
}

/// Reads a number, with Docker's suffixes for memory.
fn number(name: &str, text: &str) -> Result<i64, Failure> {
    let allowed =
        || Failure::Usage(format!("invalid --{name} {text:?}: a number, for memory with b, k, m or g"));
    let lower = text.to_ascii_lowercase();
    let plain = lower.trim_end_matches('b');
    let (digits, factor) = match plain.strip_suffix(['k', 'm', 'g', 't']) {
        Some(digits) if name.contains("memory") => {
            let power = plain.chars().last().and_then(|unit| "kmgt".find(unit)).unwrap_or(0) + 1;
            (digits, 1_i64 << (10 * power))
        }
        _ => (if name.contains("memory") { plain } else { lower.as_str() }, 1),
    };
    digits.parse::<i64>().ok().and_then(|number| number.checked_mul(factor)).ok_or_else(allowed)
}

/// Reads `linux.resources` from a file, or from standard input for `-`.
fn read(path: &std::path::Path) -> Result<LinuxResources> {
    /// More than this is no list of limits.
    const LIMIT: u64 = 1 << 20;
    let mut bytes = Vec::new();
    let mut source: Box<dyn std::io::Read> = if path == std::path::Path::new("-") {
        Box::new(std::io::stdin())
    } else {
        Box::new(std::fs::File::open(path).doing(|| format!("open {path:?}"))?)
    };
    std::io::Read::read_to_end(&mut std::io::Read::take(&mut source, LIMIT), &mut bytes)
        .doing(|| format!("read {path:?}"))?;
    serde_json::from_slice(&bytes).map_err(|source| Error::Json { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_suffixes_for_memory_only() {
        assert_eq!(number("memory", "64m").unwrap(), 64 << 20);
        assert_eq!(number("memory-swap", "-1").unwrap(), -1);
        assert_eq!(number("memory", "1GB").unwrap(), 1 << 30);
        for (name, text) in
            [("pids-limit", "1k"), ("memory", "1x"), ("memory", ""), ("memory", "9999999999g")]
        {
            assert!(number(name, text).is_err(), "{name} {text}");
        }
    }

    #[test]
    fn options_make_a_document() {
        let mut changes = Map::new();
        set(&mut changes, "memory", "limit", Json::from(5));
        set(&mut changes, "memory", "swap", Json::from(6));
        let parsed: LinuxResources = serde_json::from_value(Json::Object(changes)).unwrap();
        assert_eq!(parsed.memory().as_ref().and_then(|memory| memory.swap()), Some(6));
    }
}
