//! `volume ls`.

use docker_types::size;
use engine::model::Volume;

use super::format::{Columns, Row};
use super::labels_line;

/// What `volume ls --format` may name.
pub(crate) const COLUMNS: Columns = Columns {
    headings: &[
        ("Driver", "DRIVER"),
        ("Name", "VOLUME NAME"),
        ("Scope", "SCOPE"),
        ("Mountpoint", "MOUNTPOINT"),
        ("Labels", "LABELS"),
        ("Links", "LINKS"),
        ("Size", "SIZE"),
        ("Status", "STATUS"),
        ("Availability", "AVAILABILITY"),
        ("Group", "GROUP"),
    ],
    type_name: "formatter.volumeContext",
};

/// The normal table.
pub(crate) const TABLE: &str = "{{.Driver}}\t{{.Name}}";

/// Makes a row; the size is there when it was measured.
pub(crate) fn row(volume: &Volume, bytes: Option<u64>) -> Row {
    let size =
        bytes.map_or_else(|| "N/A".to_owned(), |bytes| size::human(i64::try_from(bytes).unwrap_or(i64::MAX)));
    let mut row = Row::new([
        ("Availability", "N/A".to_owned()),
        ("Driver", "local".to_owned()),
        ("Group", "N/A".to_owned()),
        ("Labels", labels_line(&volume.labels)),
        ("Links", volume.used_by.len().to_string()),
        ("Mountpoint", volume.mountpoint.to_string_lossy().into_owned()),
        ("Name", volume.name.clone()),
        ("Scope", "local".to_owned()),
        ("Size", size),
        ("Status", "N/A".to_owned()),
    ]);
    row.labels.clone_from(&volume.labels);
    row
}
