//! Memory: what the processes of an engine hold, without those of the containers.

use std::collections::BTreeMap;
use std::fs;

/// The memory of processes by their program's name, in KiB of proportional set size.
pub(crate) type ByName = BTreeMap<String, u64>;

/// Adds up every process of the benchmark's own process namespace but the benchmark itself.
///
/// A container's process lives in a namespace further down, which its status shows by a second number.
pub(crate) fn engines() -> ByName {
    let mut found = ByName::new();
    let Ok(entries) = fs::read_dir("/proc") else { return found };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    for pid in names.filter_map(|name| name.parse::<u32>().ok()).filter(|pid| *pid != std::process::id()) {
        if let Some((name, kib)) = process(pid) {
            *found.entry(name).or_default() += kib;
        }
    }
    found
}

/// The program's name and memory of a process, when it is not in a container.
fn process(pid: u32) -> Option<(String, u64)> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let outside = field("NSpid:")?.split_whitespace().count() == 1;
    let rollup = outside.then(|| fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok())??;
    let pss = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    Some((field("Name:")?.to_owned(), pss.split_whitespace().next()?.parse().ok()?))
}

/// What was added between `before` and `after`, by name.
pub(crate) fn growth(before: &ByName, after: &ByName) -> BTreeMap<String, i64> {
    let names = before.keys().chain(after.keys());
    let of = |found: &ByName, name: &str| found.get(name).copied().unwrap_or(0).cast_signed();
    names
        .map(|name| (name.clone(), of(after, name) - of(before, name)))
        .filter(|(_, kib)| *kib != 0)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_by_name() {
        let before = ByName::from([("dockerd".to_owned(), 100), ("gone".to_owned(), 5)]);
        let after = ByName::from([("dockerd".to_owned(), 130), ("shim".to_owned(), 20)]);
        let wanted = [("dockerd".to_owned(), 30), ("gone".to_owned(), -5), ("shim".to_owned(), 20)];
        assert_eq!(growth(&before, &after), BTreeMap::from(wanted));
    }
}
