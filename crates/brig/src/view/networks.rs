//! `network ls`.

use docker_types::time;
use engine::model::Network;
use jiff::tz::TimeZone;

use super::format::{Columns, Row};
use super::short_id;

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
    Row::new([
        ("CreatedAt", time::created_at(network.created, zone)),
        ("Driver", network.driver.clone()),
        ("ID", id.to_owned()),
        ("IPv4", "true".to_owned()),
        ("IPv6", network.ipv6.to_string()),
        ("Internal", "false".to_owned()),
        ("Labels", String::new()),
        ("Name", network.name.clone()),
        ("Scope", "local".to_owned()),
    ])
}
