//! Containers in lists: the STATUS words, the ports, and `ps`.

use std::collections::HashSet;

use docker_types::duration;
use docker_types::port::{self, PortSummary};
use docker_types::size;
use docker_types::time;
use engine::model::{Container, HealthStatus, MountKind, Port, Status};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::format::{Columns, Row};
use super::{ellipsis, labels_line, short_id};

/// What `ps --format` may name.
pub(crate) const COLUMNS: Columns = Columns {
    headings: &[
        ("ID", "CONTAINER ID"),
        ("Names", "NAMES"),
        ("Image", "IMAGE"),
        ("Command", "COMMAND"),
        ("CreatedAt", "CREATED AT"),
        ("RunningFor", "CREATED"),
        ("Ports", "PORTS"),
        ("State", "STATE"),
        ("Status", "STATUS"),
        ("Size", "SIZE"),
        ("Labels", "LABELS"),
        ("Mounts", "MOUNTS"),
        ("LocalVolumes", "LOCAL VOLUMES"),
        ("Networks", "NETWORKS"),
        ("Platform", "PLATFORM"),
    ],
    type_name: "formatter.ContainerContext",
};

/// The normal table.
pub(crate) const TABLE: &str =
    "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}";
/// The normal table with `--size`.
pub(crate) const TABLE_WITH_SIZE: &str =
    "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}\t{{.Size}}";

/// Bytes written by a container, and those of its whole root file system.
pub(crate) type Sizes = Option<(u64, u64)>;

/// Renders the STATUS column: `Up 3 minutes (healthy)`, `Up 3 minutes (Paused)`, `Exited (1) 2 hours ago`.
pub(crate) fn status(container: &Container, now: Timestamp) -> String {
    let state = &container.state;
    let since = |stamp: Option<Timestamp>| stamp.map_or(0, |stamp| now.as_second() - stamp.as_second());
    let up = || duration::human(since(state.started));
    let ended = || duration::human(since(state.finished));
    match state.status {
        Status::Running => format!("Up {}{}", up(), health(container)),
        Status::Paused => format!("Up {} (Paused)", up()),
        Status::Restarting => format!("Restarting ({}) {} ago", state.exit_code, ended()),
        Status::Removing => "Removal In Progress".to_owned(),
        Status::Dead => "Dead".to_owned(),
        Status::Created => "Created".to_owned(),
        Status::Exited if state.finished.is_none() => String::new(),
        Status::Exited => format!("Exited ({}) {} ago", state.exit_code, ended()),
    }
}

/// What STATUS adds for a container whose health is checked.
fn health(container: &Container) -> &'static str {
    match container.health.as_ref().map(|health| health.status) {
        None => "",
        Some(HealthStatus::Starting) => " (health: starting)",
        Some(HealthStatus::Healthy) => " (healthy)",
        Some(HealthStatus::Unhealthy) => " (unhealthy)",
    }
}

/// Joins the words of a command; those with spaces get quotes.
fn command_line(argv: &[String]) -> String {
    let quoted = |word: &String| if word.contains(' ') { format!("'{word}'") } else { word.clone() };
    let words = argv.iter().enumerate();
    words.map(|(nth, word)| if nth == 0 { word.clone() } else { quoted(word) }).collect::<Vec<_>>().join(" ")
}

/// Returns the host's addresses of a published port: without one it is published on every one, which Docker shows as two.
pub(crate) fn addresses(published: &Port) -> Vec<String> {
    match published.host_ip {
        Some(ip) => vec![ip.to_string()],
        None => vec!["0.0.0.0".to_owned(), "::".to_owned()],
    }
}

/// Lists published ports one by one, and the exposed ones that are not published.
pub(crate) fn ports(container: &Container) -> Vec<PortSummary> {
    let mut list = Vec::new();
    for published in &container.ports {
        let addresses = addresses(published);
        for nth in 0..published.count {
            list.extend(addresses.iter().map(|ip| PortSummary {
                ip: ip.clone(),
                private_port: published.guest_first.saturating_add(nth),
                public_port: published.host_first.saturating_add(nth),
                protocol: published.proto.clone(),
            }));
        }
    }
    if container.state.status.is_alive() {
        let exposed = container.spec.config.exposed_ports.keys();
        let exposed = exposed.filter_map(|text| text.parse::<port::Ports>().ok()).flat_map(port::Ports::each);
        let published: HashSet<(u16, String)> =
            list.iter().map(|port| (port.private_port, port.protocol.clone())).collect();
        for port in exposed {
            let protocol = port.protocol.as_str().to_owned();
            let place = (port.number, protocol);
            if !published.contains(&place) {
                let (private_port, protocol) = place;
                list.push(PortSummary { private_port, protocol, ..PortSummary::default() });
            }
        }
    }
    list
}

/// Names the networks of a container, running or not.
pub(crate) fn networks(container: &Container) -> Vec<String> {
    let mut names: Vec<String> = container.networks().into_iter().map(|(name, _)| name).collect();
    names.sort();
    names
}

/// Makes a row of `ps`.
pub(crate) fn row(
    container: &Container,
    sizes: Sizes,
    no_trunc: bool,
    now: Timestamp,
    zone: &TimeZone,
) -> Row {
    let id = if no_trunc { container.id.as_str() } else { container.id.short() };
    let command = command_line(&container.argv);
    let command = if no_trunc { command } else { ellipsis(&command, 20) };
    let mounts =
        container.mounts.iter().map(|mount| mount.volume.clone().unwrap_or_else(|| mount.source.clone()));
    let mounts = mounts.filter(|name| !name.is_empty());
    let mounts: Vec<String> = mounts.map(|name| if no_trunc { name } else { ellipsis(&name, 15) }).collect();
    let volumes = container.mounts.iter().filter(|mount| mount.kind == MountKind::Volume).count();
    let labels = &container.spec.config.labels;
    let mut row = Row::new([
        ("Command", format!("{command:?}")),
        ("CreatedAt", time::created_at(container.created, zone)),
        ("ID", id.to_owned()),
        ("Image", image(&container.image_name, no_trunc)),
        ("Labels", labels_line(labels)),
        ("LocalVolumes", volumes.to_string()),
        ("Mounts", mounts.join(",")),
        ("Names", container.name.clone()),
        ("Networks", networks(container).join(",")),
        ("Platform", container.spec.platform.clone().unwrap_or_default()),
        ("Ports", port::render_column(&ports(container))),
        ("RunningFor", time::ago(container.created, now)),
        ("Size", size_column(sizes)),
        ("State", container.state.status.as_str().to_owned()),
        ("Status", status(container, now)),
    ]);
    row.labels.clone_from(labels);
    row
}

fn image(name: &str, no_trunc: bool) -> String {
    match name.strip_prefix("sha256:") {
        Some(_) if !no_trunc => short_id(name).to_owned(),
        _ => name.to_owned(),
    }
}

fn size_column(sizes: Sizes) -> String {
    let human = |bytes: u64| size::human(i64::try_from(bytes).unwrap_or(i64::MAX));
    match sizes {
        Some((written, whole)) if whole > 0 => format!("{} (virtual {})", human(written), human(whole)),
        Some((written, _)) => human(written),
        None => "0B".to_owned(),
    }
}
