//! Rows, budgets and the table.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;

use crate::rows::Bench;
use crate::sandbox::sh;

/// The unit of a row's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    Milliseconds,
    Kibibytes,
    Mebibytes,
}

/// What Brig's median has to keep.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Budget {
    /// At most so many times the median of the named peer.
    Times(f64, String),
    /// At most so many times the median of the fastest engine that is not Brig.
    TimesFastestPeer(f64),
    /// At most this value, in the row's unit.
    AtMost(f64),
}

/// One line of the table.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    name: String,
    unit: Unit,
    values: BTreeMap<String, Vec<f64>>,
    failures: BTreeMap<String, String>,
    budgets: Vec<Budget>,
}

impl Budget {
    /// At most `factor` times the median of `peer`.
    pub(crate) fn times(factor: f64, peer: &str) -> Self {
        Self::Times(factor, peer.to_owned())
    }
}

impl Row {
    pub(crate) fn new(name: &str, unit: Unit) -> Self {
        let (values, failures) = (BTreeMap::new(), BTreeMap::new());
        Self { name: name.to_owned(), unit, values, failures, budgets: Vec::new() }
    }

    pub(crate) fn put(&mut self, column: &str, value: f64) {
        self.values.entry(column.to_owned()).or_default().push(value);
    }

    pub(crate) fn fail(&mut self, column: &str, why: &str) {
        self.failures.insert(column.to_owned(), why.to_owned());
    }

    pub(crate) fn has_failed(&self, column: &str) -> bool {
        self.failures.contains_key(column)
    }

    /// The columns that failed, each with what it said.
    pub(crate) fn failed(&self) -> impl Iterator<Item = (&str, &str)> {
        self.failures.iter().map(|(column, why)| (column.as_str(), why.as_str()))
    }

    pub(crate) fn budget(mut self, budget: Budget) -> Self {
        self.budgets.push(budget);
        self
    }

    fn median(&self, column: &str) -> Option<f64> {
        spread(self.values.get(column)?).map(|(_, median, _)| median)
    }

    fn fastest_peer(&self) -> Option<(&str, f64)> {
        let peers = self.values.keys().filter(|name| *name != "brig" && *name != "floor");
        let medians = peers.filter_map(|name| Some((name.as_str(), self.median(name)?)));
        medians.min_by(|a, b| a.1.total_cmp(&b.1))
    }

    /// Says for each budget what it is, what was measured, and whether it is kept.
    fn verdict(&self) -> String {
        let Some(brig) = self.median("brig") else { return "not measured".to_owned() };
        let verdicts: Vec<String> = self.budgets.iter().map(|budget| self.judge(budget, brig)).collect();
        verdicts.join("; ")
    }

    fn judge(&self, budget: &Budget, brig: f64) -> String {
        let (factor, peer, median) = match budget {
            Budget::AtMost(limit) => {
                return format!("≤ {}: {}", value(*limit, self.unit), reached(brig <= *limit));
            }
            Budget::Times(factor, peer) => (*factor, peer.as_str(), self.median(peer)),
            Budget::TimesFastestPeer(factor) => {
                let (peer, median) = self.fastest_peer().unzip();
                (*factor, peer.unwrap_or("fastest peer"), median)
            }
        };
        let Some(median) = median else { return format!("{peer} is not there to compare with") };
        let wanted = if factor < 1.0 { format!("1/{:.0}", 1.0 / factor) } else { format!("{factor:.0}") };
        let found =
            if brig < median { format!("1/{:.1}", median / brig) } else { format!("{:.1}", brig / median) };
        format!("{found} of {peer} (≤ {wanted}): {}", reached(brig <= factor * median))
    }
}

fn reached(kept: bool) -> &'static str {
    if kept { "reached" } else { "**MISSED**" }
}

/// Minimum, median and maximum.
fn spread(values: &[f64]) -> Option<(f64, f64, f64)> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let median = match sorted.len() {
        0 => return None,
        odd if odd % 2 == 1 => sorted[middle],
        _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
    };
    Some((sorted[0], median, *sorted.last()?))
}

fn value(value: f64, unit: Unit) -> String {
    match unit {
        Unit::Milliseconds if value >= 10_000.0 => format!("{:.1} s", value / 1e3),
        Unit::Milliseconds if value >= 100.0 => format!("{value:.0} ms"),
        Unit::Milliseconds => format!("{value:.1} ms"),
        Unit::Kibibytes => format!("{value:.0} KiB"),
        Unit::Mebibytes => format!("{value:.0} MiB"),
    }
}

fn cell(row: &Row, column: &str) -> String {
    if row.has_failed(column) {
        return "failed".to_owned();
    }
    match row.values.get(column).and_then(|values| Some((values.len(), spread(values)?))) {
        None => String::new(),
        Some((1, (only, _, _))) => format!("**{}**", value(only, row.unit)),
        Some((_, (least, median, most))) => {
            let plain =
                |number: f64| value(number, row.unit).split(' ').next().unwrap_or_default().to_owned();
            // A spread across the border between units would mislead.
            let unit_changes =
                value(least, row.unit).ends_with("ms") != value(most, row.unit).ends_with("ms");
            let ends = |number: f64| if unit_changes { value(number, row.unit) } else { plain(number) };
            format!("{} / **{}** / {}", ends(least), value(median, row.unit), ends(most))
        }
    }
}

/// One row as a line for the terminal, while the benchmark goes on.
pub(crate) fn line(row: &Row) -> String {
    let mut text = format!("   {}\n", row.name);
    for column in row.values.keys().chain(row.failures.keys()) {
        let _ = writeln!(text, "      {column:10} {}", cell(row, column).replace("**", ""));
    }
    for (column, why) in &row.failures {
        let _ = writeln!(text, "      {column:10} {why}");
    }
    let _ = writeln!(text, "      {}", row.verdict().replace("**", ""));
    text
}

/// The whole result.
#[derive(Debug)]
pub(crate) struct Report {
    head: String,
    columns: Vec<String>,
    rows: Vec<Row>,
    failures: Vec<String>,
}

impl Report {
    pub(crate) fn new(bench: &Bench) -> Self {
        let mut columns = vec!["brig".to_owned(), "floor".to_owned()];
        columns.extend(bench.engines.iter().map(|engine| engine.name.clone()));
        columns.extend(bench.runtimes.iter().map(|runtime| runtime.name.clone()));
        let mut seen = Vec::new();
        columns.retain(|name| {
            !seen.contains(name) && {
                seen.push(name.clone());
                true
            }
        });
        Self { head: head(bench), columns, rows: Vec::new(), failures: Vec::new() }
    }

    pub(crate) fn add(&mut self, row: Row) {
        self.rows.push(row);
    }

    pub(crate) fn fail(&mut self, name: &str, why: &str) {
        self.failures.push(format!("- `{name}`: {}", why.replace('\n', " ")));
    }

    /// Renders the table as Markdown; columns without any value are left out.
    pub(crate) fn render(&self) -> String {
        let used = |column: &&String| self.rows.iter().any(|row| row.values.contains_key(*column));
        let columns: Vec<&String> = self.columns.iter().filter(used).collect();
        let mut text = self.head.clone();
        let names: Vec<&str> = columns.iter().map(|column| column.as_str()).collect();
        let _ = writeln!(text, "| row | {} | Brig's budget |", names.join(" | "));
        let _ = writeln!(text, "|---|{}---|", "---|".repeat(columns.len()));
        for row in &self.rows {
            let cells: Vec<String> = columns.iter().map(|column| cell(row, column)).collect();
            let _ = writeln!(text, "| {} | {} | {} |", row.name, cells.join(" | "), row.verdict());
        }
        let failed =
            self.rows.iter().flat_map(|row| row.failures.iter().map(move |(column, why)| (row, column, why)));
        let mut failures: Vec<String> = failed
            .map(|(row, column, why)| format!("- {column}, {}: {}", row.name, why.replace('\n', " ")))
            .collect();
        failures.extend(self.failures.iter().cloned());
        if !failures.is_empty() {
            let _ = writeln!(text, "\nWhat failed:\n\n{}", failures.join("\n"));
        }
        text
    }
}

/// What a reader must know of the machine and of the programs.
fn head(bench: &Bench) -> String {
    let processors = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = sh("uname -r").unwrap_or_default();
    let date = sh("date -u +%Y-%m-%d").unwrap_or_default();
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or_default();
    let versions: Vec<String> = bench
        .engines
        .iter()
        .map(|engine| format!("{} {}{}", engine.name, version(engine), engine.note))
        .collect();
    format!(
        "# Brig beside its peers\n\n\
         Written by `make bench` ({date}; {processors} processors, Linux {kernel}, load {load} at the start; data on {}).\n\
         Cells: minimum / **median** / maximum. The floor is the bare system calls of the same work (floor.c).\n\
         Engines: {}.\n\n",
        bench.place_kind,
        versions.join(", ")
    )
}

fn version(engine: &crate::engines::Engine) -> String {
    let text = engine.line(&["--version"]).output().unwrap_or_default();
    let word =
        text.split([' ', ',', '\n']).find(|word| word.starts_with(|first: char| first.is_ascii_digit()));
    word.unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(brig: &[f64], docker: &[f64]) -> Row {
        let mut row = Row::new("x", Unit::Milliseconds);
        brig.iter().for_each(|value| row.put("brig", *value));
        docker.iter().for_each(|value| row.put("docker", *value));
        row
    }

    #[test]
    fn the_middle_is_the_median() {
        assert_eq!(spread(&[3.0, 1.0, 2.0]), Some((1.0, 2.0, 3.0)));
        assert_eq!(spread(&[4.0, 1.0, 2.0, 3.0]), Some((1.0, 2.5, 4.0)));
        assert_eq!(spread(&[]), None);
    }

    #[test]
    fn budgets_are_judged_by_medians() {
        let kept = row(&[10.0, 9.0, 50.0], &[200.0]).budget(Budget::times(1.0 / 15.0, "docker"));
        assert_eq!(kept.verdict(), "1/20.0 of docker (≤ 1/15): reached");
        let missed = row(&[20.0], &[200.0]).budget(Budget::times(1.0 / 15.0, "docker"));
        assert_eq!(missed.verdict(), "1/10.0 of docker (≤ 1/15): **MISSED**");
        let slower = row(&[30.0], &[10.0]).budget(Budget::times(3.0, "docker"));
        assert_eq!(slower.verdict(), "3.0 of docker (≤ 3): reached");
        assert_eq!(row(&[51.0], &[]).budget(Budget::AtMost(50.0)).verdict(), "≤ 50.0 ms: **MISSED**");
        assert_eq!(
            row(&[1.0], &[]).budget(Budget::times(1.0, "podman")).verdict(),
            "podman is not there to compare with"
        );
        assert_eq!(
            row(&[10.0], &[30.0]).budget(Budget::TimesFastestPeer(0.5)).verdict(),
            "1/3.0 of docker (≤ 1/2): reached"
        );
    }

    #[test]
    fn cells_show_the_spread_in_one_unit() {
        let row = row(&[10.04, 9.0, 50.0], &[34_567.0]);
        assert_eq!(cell(&row, "brig"), "9.0 / **10.0 ms** / 50.0");
        assert_eq!(cell(&row, "docker"), "**34.6 s**");
        assert_eq!(cell(&row, "podman"), "");
    }
}
