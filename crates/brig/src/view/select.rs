//! `--filter` on containers: which of them are meant.

use anyhow::{Result, bail};
use docker_types::filter::{FilterError, Filters};
use engine::Engine;
use engine::model::{Container, Status};

use super::containers::{networks, ports};

/// The keys that lists of containers know.
pub(crate) const CONTAINER_KEYS: &[&str] = &[
    "ancestor", "before", "exited", "expose", "health", "id", "label", "name", "network", "publish", "since",
    "status", "volume",
];

/// Says whether a list shows the container without `--all`.
pub(crate) fn is_listed(container: &Container) -> bool {
    container.state.status.is_alive() || container.state.status == Status::Restarting
}

/// Picks those of `all` that the filters mean.
pub(crate) fn containers(engine: &Engine, all: Vec<Container>, filters: &Filters) -> Result<Vec<Container>> {
    if filters.is_empty() {
        return Ok(all);
    }
    check(filters)?;
    let created = |key: &str| match filters.get(key).last() {
        Some(name) => engine.container(name).map(|container| Some(container.created)),
        None => Ok(None),
    };
    let (before, since) = (created("before")?, created("since")?);
    let ancestors = filters.get("ancestor").iter().map(|name| ancestor(engine, name)).collect::<Vec<_>>();
    let picked = all.into_iter().filter(|container| {
        let ancestor = ancestors.is_empty()
            || ancestors.iter().flatten().any(|id| *id == container.image_id.to_string())
            || filters.get("ancestor").contains(&container.image_name);
        ancestor
            && before.is_none_or(|stamp| container.created < stamp)
            && since.is_none_or(|stamp| container.created > stamp)
            && matches(container, filters)
    });
    Ok(picked.collect())
}

fn ancestor(engine: &Engine, name: &str) -> Option<String> {
    // An image that is not there has no containers: that is an answer, not an error.
    engine.image(name).ok().map(|image| image.id.to_string())
}

fn check(filters: &Filters) -> Result<()> {
    const STATES: [&str; 7] = ["created", "running", "paused", "restarting", "removing", "exited", "dead"];
    for value in filters.get("status") {
        if !STATES.contains(&value.as_str()) {
            bail!(FilterError::Value { key: "status".to_owned(), value: value.clone() });
        }
    }
    for value in filters.get("health") {
        if !["starting", "healthy", "unhealthy", "none"].contains(&value.as_str()) {
            bail!(FilterError::Value { key: "health".to_owned(), value: value.clone() });
        }
    }
    for value in filters.get("exited") {
        if value.parse::<i32>().is_err() {
            bail!(FilterError::Value { key: "exited".to_owned(), value: value.clone() });
        }
    }
    Ok(())
}

/// Says whether the container itself is what the filters mean, other objects left aside.
fn matches(container: &Container, filters: &Filters) -> bool {
    let state = &container.state;
    let ended = matches!(state.status, Status::Exited | Status::Dead);
    let ports = ports(container);
    let port = |key: &str, published: bool| {
        filters.any(key, |wanted| {
            let (range, protocol) = wanted.split_once('/').unwrap_or((wanted, "tcp"));
            let Some(range) = docker_types::port::PortRange::parse(range) else { return false };
            ports.iter().any(|port| {
                let number = if published { port.public_port } else { port.private_port };
                port.protocol == protocol && number != 0 && (range.first..=range.last).contains(&number)
            })
        })
    };
    filters.prefix("id", container.id.as_str())
        && (filters.pattern("name", &container.name)
            || filters.pattern("name", &format!("/{}", container.name)))
        && filters.exact("status", state.status.as_str())
        && filters.exact("health", container.health.as_ref().map_or("none", |health| health.status.as_str()))
        && (!filters.contains("exited") || ended)
        && filters.exact("exited", &state.exit_code.to_string())
        && filters.labels("label", &container.spec.config.labels)
        && filters.any("network", |wanted| networks(container).iter().any(|name| name == wanted))
        && filters.any("volume", |wanted| {
            container
                .mounts
                .iter()
                .any(|m| m.volume.as_deref() == Some(wanted) || m.target == wanted || m.source == wanted)
        })
        && port("publish", true)
        && port("expose", false)
}
