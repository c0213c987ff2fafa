//! The recorded state of a container and its comparison with the kernel.
//!
//! ```text
//!   creating ──init waits──▶ created ──start──▶ running ──init ends──▶ stopped ──delete──▶ (gone)
//!                                                │  ▲
//!                                           pause▼  │resume
//!                                               paused
//! ```
//! `creating`: the folder exists, `state.json` does not, or the init does not wait yet. `created`: the init listens on `start.sock`.
//! `running`: it runs the user's program. `stopped`: the process is gone or a zombie. Only `create`, `start` and `delete` change
//! what is recorded; everybody may read, and reads the kernel's truth with it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The status of a container, in the words of the specification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Being made.
    Creating,
    /// Made; the init waits for `start`.
    Created,
    /// The user's program runs.
    Running,
    /// Running, and frozen.
    Paused,
    /// The process is gone.
    Stopped,
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Creating => "creating",
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
        })
    }
}

/// The state of a container as `state` and `list` print it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ContainerState {
    /// The version of the runtime specification.
    pub oci_version: String,
    /// The container's name.
    pub id: String,
    /// The process number of the init, 0 when there is none.
    pub pid: i32,
    /// What it does.
    pub status: Status,
    /// The bundle folder.
    pub bundle: PathBuf,
    /// The root file system; empty when it was given as a mount.
    pub rootfs: PathBuf,
    /// When it was created, RFC 3339.
    pub created: String,
    /// The annotations of its spec.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// The user who made it.
    pub owner: String,
}
