//! `GET /events`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Something that happened.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EventMessage {
    /// The action again, for old clients; containers and images only.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub status: String,
    /// The identity again, for old clients; containers and images only.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// The container's image, for old clients.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub from: String,
    /// `container`, `image`, `volume`, `network`.
    #[serde(rename = "Type")]
    pub kind: String,
    /// What happened.
    #[serde(rename = "Action")]
    pub action: String,
    /// To whom.
    #[serde(rename = "Actor")]
    pub actor: EventActor,
    /// Always `local`.
    pub scope: String,
    /// Seconds since 1970.
    pub time: i64,
    /// Nanoseconds since 1970.
    #[serde(rename = "timeNano")]
    pub time_nano: i64,
}

/// The object of an event.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EventActor {
    /// Its identity.
    #[serde(rename = "ID")]
    pub id: String,
    /// What is known of it and of the event.
    #[serde(rename = "Attributes")]
    pub attributes: BTreeMap<String, String>,
}
