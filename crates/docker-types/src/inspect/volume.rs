//! `GET /volumes/{name}`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A volume in full.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct VolumeInspect {
    /// RFC 3339.
    pub created_at: String,
    /// `local`.
    pub driver: String,
    /// Labels.
    pub labels: Option<BTreeMap<String, String>>,
    /// Its folder on the host.
    pub mountpoint: String,
    /// Its name.
    pub name: String,
    /// Options it was made with.
    pub options: Option<BTreeMap<String, String>>,
    /// `local`.
    pub scope: String,
}
