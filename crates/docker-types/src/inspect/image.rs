//! `GET /images/{name}/json`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::container::GraphDriver;
use crate::container::{Empty, Healthcheck};

/// An image in full.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ImageInspect {
    /// Its id, `sha256:…`.
    pub id: String,
    /// Names with tags.
    pub repo_tags: Vec<String>,
    /// Names with digests.
    pub repo_digests: Vec<String>,
    /// Id of the image it was built on; empty.
    pub parent: String,
    /// Free text.
    pub comment: String,
    /// RFC 3339; left out when the image does not say.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub created: String,
    /// Empty.
    pub docker_version: String,
    /// Who made it.
    pub author: String,
    /// `amd64`, ….
    pub architecture: String,
    /// `v8`, ….
    #[serde(skip_serializing_if = "String::is_empty")]
    pub variant: String,
    /// `linux`.
    pub os: String,
    /// Bytes, all layers.
    pub size: i64,
    /// Where its files are.
    pub graph_driver: GraphDriver,
    /// Its layers.
    #[serde(rename = "RootFS")]
    pub root_fs: RootFs,
    /// What happened to it here.
    pub metadata: Metadata,
    /// What a container of it is unless told otherwise.
    pub config: ImageConfig,
}

/// Layers of an image.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct RootFs {
    /// `layers`.
    #[serde(rename = "Type")]
    pub kind: String,
    /// DiffIDs, bottom first.
    pub layers: Vec<String>,
}

/// What happened to an image here.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Metadata {
    /// RFC 3339.
    pub last_tag_time: String,
}

/// What a container of an image is unless told otherwise.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ImageConfig {
    /// `user[:group]`.
    pub user: String,
    /// Exposed ports.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub exposed_ports: BTreeMap<String, Empty>,
    /// `NAME=value`.
    pub env: Option<Vec<String>>,
    /// Arguments after the entry point.
    pub cmd: Option<Vec<String>>,
    /// Health check.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
    /// Anonymous volumes.
    pub volumes: Option<BTreeMap<String, Empty>>,
    /// Working directory.
    pub working_dir: String,
    /// Entry point.
    pub entrypoint: Option<Vec<String>>,
    /// Instructions for builds on it.
    pub on_build: Option<Vec<String>>,
    /// Labels.
    pub labels: Option<BTreeMap<String, String>>,
    /// Signal that asks the process to stop.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<String>,
}
