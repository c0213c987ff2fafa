//! `stats`: a sample as a row of the table.

use docker_types::inspect::stats::StatsResponse;
use docker_types::size;

use super::format::{Columns, Row};
use super::short_id;

/// What `stats --format` may name. The last three are Brig's own.
pub(crate) const COLUMNS: Columns = Columns {
    headings: &[
        ("Container", "CONTAINER"),
        ("Name", "NAME"),
        ("ID", "CONTAINER ID"),
        ("CPUPerc", "CPU %"),
        ("MemUsage", "MEM USAGE / LIMIT"),
        ("MemPerc", "MEM %"),
        ("NetIO", "NET I/O"),
        ("BlockIO", "BLOCK I/O"),
        ("PIDs", "PIDS"),
        ("CPUPressure", "CPU PRESSURE"),
        ("MemPressure", "MEM PRESSURE"),
        ("IOPressure", "I/O PRESSURE"),
    ],
    type_name: "container.statsContext",
};

/// The normal table.
pub(crate) const TABLE: &str =
    "{{.ID}}\t{{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.NetIO}}\t{{.BlockIO}}\t{{.PIDs}}";

/// Makes the row of a sample; `asked` is what the user called the container.
pub(crate) fn row(stats: &StatsResponse, asked: &str, no_trunc: bool) -> Row {
    let id = if no_trunc { stats.id.clone() } else { short_id(&stats.id).to_owned() };
    let binary = |bytes: u64| size::human_binary(i64::try_from(bytes).unwrap_or(i64::MAX));
    let pair = |(a, b): (u64, u64)| {
        let human = |bytes: u64| size::human(i64::try_from(bytes).unwrap_or(i64::MAX));
        format!("{} / {}", human(a), human(b))
    };
    let pressure = |share: fn(&docker_types::inspect::stats::Pressure) -> f64| {
        stats.pressure.as_ref().map_or_else(|| "--".to_owned(), |pressure| format!("{:.2}%", share(pressure)))
    };
    Row::new([
        ("BlockIO", pair(stats.block_io())),
        ("CPUPerc", format!("{:.2}%", stats.cpu_percent())),
        ("CPUPressure", pressure(|pressure| pressure.cpu)),
        ("Container", asked.to_owned()),
        ("ID", id),
        ("IOPressure", pressure(|pressure| pressure.io)),
        ("MemPerc", format!("{:.2}%", stats.memory_percent())),
        ("MemPressure", pressure(|pressure| pressure.memory)),
        ("MemUsage", format!("{} / {}", binary(stats.memory_used()), binary(stats.memory_stats.limit))),
        ("Name", stats.name.trim_start_matches('/').to_owned()),
        ("NetIO", pair(stats.traffic())),
        ("PIDs", stats.pids_stats.current.to_string()),
    ])
}
