//! The rows of lists, as the API's `…/json` endpoints give them. Source: Docker Engine API, `ContainerSummary`, `ImageSummary`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::inspect::container::{EndpointSettings, MountPoint};
use crate::port::PortSummary;

/// A container in a list.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ContainerSummary {
    /// Its identity.
    pub id: String,
    /// Its names, each with a leading slash.
    pub names: Vec<String>,
    /// The image as the user named it.
    pub image: String,
    /// The image's id, `sha256:…`.
    #[serde(rename = "ImageID")]
    pub image_id: String,
    /// What runs, on one line.
    pub command: String,
    /// Seconds since 1970.
    pub created: i64,
    /// Published and exposed ports.
    pub ports: Vec<PortSummary>,
    /// Bytes written by the container, when asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size_rw: Option<i64>,
    /// Bytes with the image, when asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size_root_fs: Option<i64>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// `running`, `exited`, ….
    pub state: String,
    /// `Up 3 minutes`.
    pub status: String,
    /// The part of the host configuration that lists show.
    pub host_config: SummaryHostConfig,
    /// Attachments.
    pub network_settings: SummaryNetworks,
    /// What is mounted.
    pub mounts: Vec<MountPoint>,
}

/// The part of the host configuration that lists show.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct SummaryHostConfig {
    /// The network mode.
    pub network_mode: String,
}

/// Attachments by network.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct SummaryNetworks {
    /// By the network's name.
    pub networks: BTreeMap<String, EndpointSettings>,
}

/// An image in a list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ImageSummary {
    /// Its id, `sha256:…`.
    pub id: String,
    /// Id of the image it was built on; empty.
    pub parent_id: String,
    /// Names with tags.
    pub repo_tags: Vec<String>,
    /// Names with digests.
    pub repo_digests: Vec<String>,
    /// Seconds since 1970.
    pub created: i64,
    /// Bytes, all layers.
    pub size: i64,
    /// Bytes that other images have too; −1 when it was not computed.
    pub shared_size: i64,
    /// Labels.
    pub labels: Option<BTreeMap<String, String>>,
    /// Containers that use it; −1 when it was not counted.
    pub containers: i64,
}

/// A step in an image's history.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct HistoryEntry {
    /// Image id, or `<missing>`.
    pub id: String,
    /// Seconds since 1970.
    pub created: i64,
    /// What made it.
    pub created_by: String,
    /// Names with tags.
    pub tags: Option<Vec<String>>,
    /// Bytes.
    pub size: i64,
    /// Free text.
    pub comment: String,
}
