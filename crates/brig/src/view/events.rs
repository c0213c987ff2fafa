//! Events: which are wanted, and how one is printed.

use docker_types::filter::Filters;
use docker_types::inspect::event::{EventActor, EventMessage};
use engine::events::{Event, Kind};
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// The keys of `--filter`. Those of Docker's clusters and plugins are known and match nothing here.
pub(crate) const KEYS: &[&str] = &[
    "config",
    "container",
    "daemon",
    "event",
    "image",
    "label",
    "network",
    "node",
    "plugin",
    "scope",
    "secret",
    "service",
    "type",
    "volume",
];

/// Actions that carry a text behind a colon; a filter that names one of them matches whatever follows.
const WITH_TEXT: [&str; 3] = ["health_status", "exec_create", "exec_start"];

/// Says whether `event` passes the filters.
pub(crate) fn is_wanted(filters: &Filters, event: &Event) -> bool {
    let kind = event.kind.as_str();
    let named = |key: &str, wanted: Kind| {
        !filters.contains(key) || event.kind == wanted && filters.any(key, |text| is_called(event, text))
    };
    filters.exact("type", kind)
        && filters.exact("scope", "local")
        && filters.any("event", |wanted| is_action(&event.action, wanted))
        && filters.labels("label", &event.attributes)
        && named("container", Kind::Container)
        && named("volume", Kind::Volume)
        && named("network", Kind::Network)
        && filters.any("image", |wanted| is_of_image(event, wanted))
        && !["config", "daemon", "node", "plugin", "secret", "service"]
            .iter()
            .any(|key| filters.contains(key))
}

fn is_action(action: &str, wanted: &str) -> bool {
    let bare = action.split(": ").next().unwrap_or(action);
    action == wanted || WITH_TEXT.contains(&wanted) && bare == wanted
}

/// Docker takes the beginning of an id or of a name.
fn is_called(event: &Event, wanted: &str) -> bool {
    event.id.starts_with(wanted) || event.attributes.get("name").is_some_and(|name| name.starts_with(wanted))
}

/// An image's own events, and those of its containers, with or without the tag.
fn is_of_image(event: &Event, wanted: &str) -> bool {
    let name = match event.kind {
        Kind::Image => event.attributes.get("name"),
        _ => event.attributes.get("image"),
    };
    let name = name.map_or("", String::as_str);
    let without_tag =
        name.rsplit_once(':').filter(|(_, tag)| !tag.contains('/')).map_or(name, |(name, _)| name);
    name == wanted || without_tag == wanted || event.kind == Kind::Image && event.id == wanted
}

/// Renders the line of `brig events`.
pub(crate) fn line(event: &Event, zone: &TimeZone) -> String {
    let when = stamp(event).to_zoned(zone.clone()).strftime("%Y-%m-%dT%H:%M:%S%.9f%:z").to_string();
    // Go writes no offset as Z.
    let when = when.strip_suffix("+00:00").map_or(when.clone(), |when| format!("{when}Z"));
    let attributes: Vec<String> =
        event.attributes.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let attributes = attributes.join(", ");
    let line = format!("{when} {} {} {}", event.kind.as_str(), event.action, event.id);
    if attributes.is_empty() { line } else { format!("{line} ({attributes})") }
}

/// Returns an event in the shape of Docker's API.
pub(crate) fn message(event: Event) -> EventMessage {
    let nanos = i64::try_from(event.time).unwrap_or(i64::MAX);
    let old = matches!(event.kind, Kind::Container | Kind::Image);
    let from = match event.kind {
        Kind::Container => event.attributes.get("image").cloned().unwrap_or_default(),
        _ => String::new(),
    };
    EventMessage {
        status: if old { event.action.clone() } else { String::new() },
        id: if old { event.id.clone() } else { String::new() },
        from,
        kind: event.kind.as_str().to_owned(),
        action: event.action,
        actor: EventActor { id: event.id, attributes: event.attributes },
        scope: "local".to_owned(),
        time: nanos / 1_000_000_000,
        time_nano: nanos,
    }
}

fn stamp(event: &Event) -> Timestamp {
    Timestamp::from_nanosecond(i128::from(event.time)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn event(kind: Kind, action: &str, attributes: &[(&str, &str)]) -> Event {
        Event {
            time: 1_483_576_558_859_401_177,
            kind,
            action: action.to_owned(),
            id: "0fdb48".to_owned(),
            attributes: attributes
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            object: BTreeMap::new(),
        }
    }

    #[test]
    fn a_line_is_dockers() {
        let create = event(Kind::Container, "create", &[("name", "test"), ("image", "alpine:latest")]);
        assert_eq!(
            line(&create, &TimeZone::UTC),
            "2017-01-05T00:35:58.859401177Z container create 0fdb48 (image=alpine:latest, name=test)"
        );
        let zone = TimeZone::fixed(jiff::tz::offset(8));
        assert!(line(&create, &zone).starts_with("2017-01-05T08:35:58.859401177+08:00 container"));
        let json = serde_json::to_string(&message(create)).unwrap();
        assert_eq!(
            json,
            r#"{"status":"create","id":"0fdb48","from":"alpine:latest","Type":"container","Action":"create","Actor":{"ID":"0fdb48","Attributes":{"image":"alpine:latest","name":"test"}},"scope":"local","time":1483576558,"timeNano":1483576558859401177}"#
        );
    }

    #[test]
    fn filters_choose_as_dockers_do() {
        let exec = event(
            Kind::Container,
            "exec_start: sh -c true",
            &[("name", "web"), ("image", "alpine:3"), ("tier", "front")],
        );
        let connect = event(Kind::Network, "connect", &[("name", "bridge"), ("container", "77")]);
        for (texts, wanted) in [
            (&["event=exec_start"][..], [true, false]),
            (&["event=exec"], [false, false]),
            (&["event=exec_start: sh -c true"], [true, false]),
            (&["event=connect", "event=exec_start"], [true, true]),
            (&["type=network"], [false, true]),
            (&["container=we"], [true, false]),
            (&["container=0fd"], [true, false]),
            (&["container=bridge"], [false, false]),
            (&["network=bridge"], [false, true]),
            (&["image=alpine"], [true, false]),
            (&["image=alpine:3"], [true, false]),
            (&["image=alpine:4"], [false, false]),
            (&["label=tier"], [true, false]),
            (&["label=tier=back"], [false, false]),
            (&["scope=swarm"], [false, false]),
            (&["plugin=x"], [false, false]),
        ] {
            let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
            let filters = Filters::parse(&texts, KEYS).unwrap();
            assert_eq!([is_wanted(&filters, &exec), is_wanted(&filters, &connect)], wanted, "{texts:?}");
        }
    }
}
