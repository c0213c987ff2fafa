//! `network ls`.

use docker_types::time;
use engine::model::Network;
use jiff::tz::TimeZone;

use super::format::{Columns, Row};
use super::{labels_line, short_id};

/// What `network ls --format` may name.
pub(crate) const COLUMNS: Columns = Columns {
    headings: &[
        ("ID", "NETWORK ID"),
        ("Name", "NAME"),
        ("Driver", "DRIVER"),
        ("Scope", "SCOPE"),
        ("IPv4", "IPV4"),
        ("IPv6", "IPV6"),
        ("Internal", "INTERNAL"),
        ("Labels", "LABELS"),
        ("CreatedAt", "CREATED AT"),
    ],
    type_name: "network.networkContext",
};

/// The normal table.
pub(crate) const TABLE: &str = "{{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.Scope}}";

/// Makes a row.
pub(crate) fn row(network: &Network, no_trunc: bool, zone: &TimeZone) -> Row {
    let id = if no_trunc { network.id.as_str() } else { short_id(&network.id) };
    let mut row = Row::new([
        ("CreatedAt", time::created_at(network.created, zone)),
        ("Driver", network.driver.clone()),
        ("ID", id.to_owned()),
        ("IPv4", network.config.ipv4.to_string()),
        ("IPv6", network.config.ipv6.to_string()),
        ("Internal", network.config.internal.to_string()),
        ("Labels", labels_line(&network.config.labels)),
        ("Name", network.name.clone()),
        ("Scope", "local".to_owned()),
    ]);
    row.labels.clone_from(&network.config.labels);
    row
}
