//! The events of containers, images, volumes and networks: recorded by whichever process acts, read by [`Engine::events`].
//!
//! Whatever changes an object calls [`Engine::record`] once it is done, with Docker's word for it:
//!
//! ```text
//! self.record(&[Event::new(Kind::Container, "rename", row.id.as_str()).with("oldName", old).about(object_of(&row))]);
//! ```
//!
//! Image, name and labels of a container are given with `create`, `rename` and `destroy` ([`object_of`]); for the others
//! the reader completes them. The start, the end and the end of exec sessions are recorded by the monitor.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use base::ContainerId;
use jiff::Timestamp;
use monitor::events::{self, Reader};
pub use monitor::events::{Event, Kind};

use crate::Engine;
use crate::db::ContainerRow;
use crate::error::{IoContext, Result};
use crate::model::MountKind;

/// Which events are wanted.
#[derive(Debug, Clone, Copy, Default)]
pub struct EventOptions {
    /// From this moment on; without it only what happens from now on.
    pub since: Option<Timestamp>,
    /// Up to this moment; without it for ever.
    pub until: Option<Timestamp>,
}

impl Engine {
    /// Records what happened. Costs one write, and cannot fail: see [`monitor::events`].
    pub fn record(&self, list: &[Event]) {
        events::record(&self.roots().events(), list);
    }

    /// Hands the events within `options` to `each`, in the order in which they happened, and waits for more of them until
    /// the moment `until` or until `each` answers `false`.
    pub fn events(
        &self,
        options: EventOptions,
        each: &mut dyn FnMut(Event) -> std::io::Result<bool>,
    ) -> Result<()> {
        let folder = self.roots().events();
        let mut reader = Reader::open(&folder).at("read the events in", &folder)?;
        let mut known = Objects { engine: self, known: HashMap::new() };
        let since = options.since.map_or(0, nanos);
        let until = options.until.map_or(u64::MAX, nanos);
        if options.since.is_none() {
            // What was known before is needed only for objects that are gone from the database when their event is read.
            reader.read(&mut |event| known.learn(event)).at("read the events in", &folder)?;
        }
        loop {
            let more = reader.read(&mut |event| {
                let event = known.complete(event);
                if event.time > until {
                    return Ok(false);
                }
                if event.time < since { Ok(true) } else { each(event) }
            });
            let left = options.until.map(|until| Duration::try_from(until - Timestamp::now()));
            match left {
                _ if !more.at("read the events in", &folder)? => return Ok(()),
                Some(Err(_) | Ok(Duration::ZERO)) => return Ok(()),
                Some(Ok(left)) => reader.wait(Some(left)),
                None => reader.wait(None),
            }
            .at("wait for events in", &folder)?;
        }
    }

    /// The events of a container's networks, as it joins (`connect`) or leaves (`disconnect`) them.
    pub(crate) fn network_events(&self, row: &ContainerRow, action: &str) -> Vec<Event> {
        match row.spec.host_config.network_mode.as_str() {
            mode if mode.starts_with("container:") => Vec::new(),
            "host" => vec![self.network_event(action, "host").with("container", &row.id)],
            "none" => vec![self.network_event(action, "none").with("container", &row.id)],
            _ => {
                let places = crate::networks::places(&row.spec);
                let event =
                    |(name, _): &(String, _)| self.network_event(action, name).with("container", &row.id);
                places.iter().map(event).collect()
            }
        }
    }

    /// The event of a network, by its name.
    pub(crate) fn network_event(&self, action: &str, name: &str) -> Event {
        let (id, driver) = match name {
            "none" => (self.network_id(name), "null".to_owned()),
            crate::networks::BRIDGE | "host" => (self.network_id(name), name.to_owned()),
            _ => {
                let found = self.db().ok().and_then(|db| db.networks().ok()).unwrap_or_default();
                let found = found.into_iter().find(|row| row.name == name);
                found.map(|row| (row.id, row.driver)).unwrap_or_default()
            }
        };
        Event::new(Kind::Network, action, id).with("name", name).with("type", driver)
    }

    /// The events of a container's volumes, as they are mounted (`mount`) or not any more (`unmount`).
    pub(crate) fn volume_events(&self, row: &ContainerRow, action: &str) -> Vec<Event> {
        let volumes = row.mounts.iter().filter(|point| point.kind == MountKind::Volume);
        let event = |point: &crate::model::MountPoint| {
            let name = point.volume.clone().unwrap_or_default();
            let event =
                Event::new(Kind::Volume, action, name).with("container", &row.id).with("driver", "local");
            match action {
                "mount" => event
                    .with("destination", &point.target)
                    .with("propagation", &point.propagation)
                    .with("read/write", point.writable),
                _ => event,
            }
        };
        volumes.map(event).collect()
    }
}

/// What of a container holds in all its events: the image's name, its own name, its labels.
pub(crate) fn object_of(row: &ContainerRow) -> BTreeMap<String, String> {
    let mut object = row.spec.config.labels.clone();
    object.insert("image".to_owned(), row.image_name.clone());
    object.insert("name".to_owned(), row.name.clone());
    object
}

/// Makes the event of a container.
pub(crate) fn of_container(id: &ContainerId, action: impl Into<String>) -> Event {
    Event::new(Kind::Container, action, id.as_str())
}

/// What is known of the containers that events tell of.
struct Objects<'e> {
    engine: &'e Engine,
    known: HashMap<String, BTreeMap<String, String>>,
}

impl Objects<'_> {
    fn learn(&mut self, event: Event) -> std::io::Result<bool> {
        if !event.object.is_empty() {
            self.known.insert(event.id, event.object);
        }
        Ok(true)
    }

    /// Adds to the attributes of an event what holds for its object.
    fn complete(&mut self, mut event: Event) -> Event {
        if event.kind == Kind::Container && event.object.is_empty() && !self.known.contains_key(&event.id) {
            // Its first event is older than the record.
            let row = self.engine.row(&event.id);
            let object = row.as_ref().map(object_of).unwrap_or_default();
            self.known.insert(event.id.clone(), object);
        }
        let object = std::mem::take(&mut event.object);
        let object = match object.is_empty() {
            true => self.known.get(&event.id),
            false => {
                self.known.insert(event.id.clone(), object);
                self.known.get(&event.id)
            }
        };
        for (name, value) in object.into_iter().flatten() {
            event.attributes.entry(name.clone()).or_insert_with(|| value.clone());
        }
        event
    }
}

fn nanos(stamp: Timestamp) -> u64 {
    u64::try_from(stamp.as_nanosecond()).unwrap_or(0)
}
