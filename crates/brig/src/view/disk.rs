//! `system df`.

use docker_types::size;
use engine::system::DiskUsage;

use super::format::{Columns, Row};

/// What `system df --format` may name.
pub(crate) const COLUMNS: Columns = Columns {
    headings: &[
        ("Type", "TYPE"),
        ("TotalCount", "TOTAL"),
        ("Active", "ACTIVE"),
        ("Size", "SIZE"),
        ("Reclaimable", "RECLAIMABLE"),
    ],
    type_name: "formatter.diskUsageContext",
};

/// The normal table.
pub(crate) const TABLE: &str = "{{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}";

/// Renders bytes as the tables do.
pub(crate) fn human(bytes: u64) -> String {
    size::human_with(i64::try_from(bytes).unwrap_or(i64::MAX), 4)
}

/// Makes the rows: images, containers, volumes.
pub(crate) fn rows(usage: &DiskUsage) -> Vec<Row> {
    let images_active = usage.images.iter().filter(|(image, _)| image.containers > 0).count();
    let containers_active = usage.containers.iter().filter(|(c, _)| c.state.status.is_alive()).count();
    let containers_size: u64 = usage.containers.iter().map(|(_, bytes)| bytes).sum();
    let containers_idle: u64 =
        usage.containers.iter().filter(|(c, _)| !c.state.status.is_alive()).map(|(_, bytes)| bytes).sum();
    let volumes_active = usage.volumes.iter().filter(|(volume, _)| !volume.used_by.is_empty()).count();
    let volumes_size: u64 = usage.volumes.iter().map(|(_, bytes)| bytes).sum();
    let volumes_idle: u64 =
        usage.volumes.iter().filter(|(v, _)| v.used_by.is_empty()).map(|(_, bytes)| bytes).sum();
    vec![
        row("Images", usage.images.len(), images_active, usage.layers, usage.layers_reclaimable),
        row("Containers", usage.containers.len(), containers_active, containers_size, containers_idle),
        row("Local Volumes", usage.volumes.len(), volumes_active, volumes_size, volumes_idle),
    ]
}

fn row(kind: &str, total: usize, active: usize, bytes: u64, reclaimable: u64) -> Row {
    let share = (reclaimable.saturating_mul(100)).checked_div(bytes);
    let share = share.map_or_else(String::new, |percent| format!(" ({percent}%)"));
    Row::new([
        ("Active", active.to_string()),
        ("Reclaimable", format!("{}{share}", human(reclaimable))),
        ("Size", human(bytes)),
        ("TotalCount", total.to_string()),
        ("Type", kind.to_owned()),
    ])
}
