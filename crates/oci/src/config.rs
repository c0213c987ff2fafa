//! Image configurations: image-spec's fields and those that Docker adds, null wherever Go writes null.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

use crate::digest::Digest;
use crate::manifest::{InvalidManifest, MAX_LAYERS, check_size};
use crate::platform::Platform;

/// The configuration document of an image; its digest is the image's id.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ImageConfiguration {
    /// When it was made, RFC 3339 as written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// Who made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// Processor.
    #[serde(default, deserialize_with = "null_default")]
    pub architecture: String,
    /// Variant of the processor.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "String::is_empty")]
    pub variant: String,
    /// Operating system.
    #[serde(default, deserialize_with = "null_default")]
    pub os: String,
    /// Version of the operating system.
    #[serde(
        rename = "os.version",
        default,
        deserialize_with = "null_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub os_version: String,
    /// How a container of it runs.
    #[serde(default, deserialize_with = "null_default")]
    pub config: ContainerDefaults,
    /// Its layers.
    pub rootfs: RootFs,
    /// How it came about.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<History>,
    /// Remark of whoever made it (Docker).
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "String::is_empty")]
    pub comment: String,
    /// Version of the Docker that made it.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "String::is_empty")]
    pub docker_version: String,
}

/// What the image says of its containers: `config` of the document.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ContainerDefaults {
    /// User, group or both.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// Ports, `80/tcp`.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub exposed_ports: BTreeMap<String, Empty>,
    /// `NAME=value`.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// Entry point; `None` is not the same as an empty list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<Vec<String>>,
    /// Command, or arguments of the entry point.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cmd: Option<Vec<String>>,
    /// Folders that get a volume.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub volumes: BTreeMap<String, Empty>,
    /// Working directory.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "String::is_empty")]
    pub working_dir: String,
    /// Labels. Data only: nothing privileged reads them.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Signal that asks the container to stop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<String>,
    /// Seconds until it is killed (Docker).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_timeout: Option<i64>,
    /// The command is a line of Windows' shell already (Docker).
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "std::ops::Not::not")]
    pub args_escaped: bool,
    /// Health check (Docker).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
    /// Instructions for a build on top of it (Docker).
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "Vec::is_empty")]
    pub on_build: Vec<String>,
    /// Shell of the shell forms (Docker).
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "Vec::is_empty")]
    pub shell: Vec<String>,
}

/// An empty object, `{}`: the value of Go's sets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Empty {}

/// A health check; durations in nanoseconds, 0 means the default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Healthcheck {
    /// `["NONE"]`, `["CMD", …]` or `["CMD-SHELL", line]`; empty inherits.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "Vec::is_empty")]
    pub test: Vec<String>,
    /// Time between two checks.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "is_zero")]
    pub interval: i64,
    /// Time that one may take.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "is_zero")]
    pub timeout: i64,
    /// Time in which failures do not count.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "is_zero")]
    pub start_period: i64,
    /// Time between two checks in the start period.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "is_zero")]
    pub start_interval: i64,
    /// Failures in a row that mean unhealthy.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "is_zero")]
    pub retries: i64,
}

/// The layers by DiffID.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootFs {
    /// Always `layers`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Digests of the plain tars, bottom first.
    #[serde(default, deserialize_with = "null_default")]
    pub diff_ids: Vec<Digest>,
}

impl Default for RootFs {
    fn default() -> Self {
        Self { kind: "layers".to_owned(), diff_ids: Vec::new() }
    }
}

/// One step of an image's making.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// When, RFC 3339 as written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// By which command.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "String::is_empty")]
    pub created_by: String,
    /// By whom.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "String::is_empty")]
    pub author: String,
    /// Remark.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "String::is_empty")]
    pub comment: String,
    /// It made no layer.
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "std::ops::Not::not")]
    pub empty_layer: bool,
}

/// Why a configuration is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidConfig {
    /// It is too large.
    #[error("the image configuration is too large")]
    TooLarge(#[source] InvalidManifest),
    /// It is no JSON, or a field has the wrong type.
    #[error("the image configuration is malformed: {reason}")]
    Json {
        /// What the parser says, with line and column.
        reason: String,
    },
    /// `rootfs.type` is something else.
    #[error("the image configuration has rootfs.type {kind:?}, \"layers\" is expected")]
    RootFs {
        /// What it says.
        kind: String,
    },
    /// It has too many layers.
    #[error("the image configuration has {count} layers, more than the limit of {MAX_LAYERS}")]
    TooManyLayers {
        /// How many.
        count: usize,
    },
}

impl ImageConfiguration {
    /// Reads a configuration.
    ///
    /// Source: image-spec `config.md`; moby's `image/spec/specs-go/v1`.
    pub fn parse(bytes: &[u8]) -> Result<Self, InvalidConfig> {
        check_size(bytes).map_err(InvalidConfig::TooLarge)?;
        let parsed: Self = serde_json::from_slice(bytes)
            .map_err(|error| InvalidConfig::Json { reason: error.to_string() })?;
        if parsed.rootfs.kind != "layers" {
            return Err(InvalidConfig::RootFs { kind: parsed.rootfs.kind });
        }
        match parsed.rootfs.diff_ids.len() {
            count if count > MAX_LAYERS => Err(InvalidConfig::TooManyLayers { count }),
            _ => Ok(parsed),
        }
    }

    /// Returns what the image runs on, in normal form.
    pub fn platform(&self) -> Platform {
        let mut platform = Platform::new(&self.os, &self.architecture, &self.variant);
        platform.os_version.clone_from(&self.os_version);
        platform
    }
}

/// Returns the ChainID of each prefix of a stack of layers, bottom first.
///
/// Source: image-spec `config.md`, "Layer ChainID".
pub fn chain_ids(diff_ids: &[Digest]) -> Vec<Digest> {
    let mut chain: Vec<Digest> = Vec::with_capacity(diff_ids.len());
    for diff_id in diff_ids {
        let next = match chain.last() {
            None => diff_id.clone(),
            Some(below) => Digest::of(format!("{below} {diff_id}").as_bytes()),
        };
        chain.push(next);
    }
    chain
}

/// Reads null as the default.
fn null_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(from: D) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(from)?.unwrap_or_default())
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it by reference")]
fn is_zero(number: &i64) -> bool {
    *number == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dockers_fields_and_nulls_are_read() {
        let text = format!(
            r#"{{"architecture":"arm64","variant":"v8","os":"linux","created":"2024-01-01T00:00:00Z","history":null,
            "config":{{"Env":null,"Cmd":["sh"],"Entrypoint":null,"ExposedPorts":{{"80/tcp":{{}}}},"Volumes":null,
            "OnBuild":["RUN x"],"Healthcheck":{{"Test":["CMD-SHELL","true"],"Interval":5000000000}},"ArgsEscaped":true,
            "Hostname":"x","Labels":{{"a":"b"}},"StopSignal":"SIGINT","Shell":["/bin/bash","-c"]}},
            "rootfs":{{"type":"layers","diff_ids":["{}"]}},"container_config":{{}}}}"#,
            Digest::of(b"x")
        );
        let parsed = ImageConfiguration::parse(text.as_bytes()).unwrap();
        assert_eq!(parsed.platform().to_string(), "linux/arm64");
        assert_eq!(parsed.config.healthcheck.as_ref().unwrap().interval, 5_000_000_000);
        assert_eq!(
            (parsed.config.entrypoint.clone(), parsed.config.cmd.clone()),
            (None, Some(vec!["sh".into()]))
        );
        assert_eq!(parsed.config.on_build, ["RUN x"]);
        let again = serde_json::to_vec(&parsed).unwrap();
        assert_eq!(ImageConfiguration::parse(&again).unwrap(), parsed);
    }

    #[test]
    fn bad_configurations_are_refused() {
        for text in [
            "",
            "{}",
            r#"{"rootfs":{"type":"tar","diff_ids":[]}}"#,
            r#"{"rootfs":{"type":"layers","diff_ids":["x"]}}"#,
        ] {
            assert!(ImageConfiguration::parse(text.as_bytes()).is_err(), "{text}");
        }
        let bomb = format!(r#"{{"rootfs":{{"type":"layers"}},"history":[{}{{}}]}}"#, "{},".repeat(1_000_000));
        assert!(matches!(ImageConfiguration::parse(bomb.as_bytes()), Err(InvalidConfig::TooLarge(_))));
        let deep = "[".repeat(100_000);
        assert!(ImageConfiguration::parse(deep.as_bytes()).is_err());
    }

    #[test]
    fn chain_ids_follow_the_specification() {
        let (a, b) = (Digest::of(b"a"), Digest::of(b"b"));
        assert_eq!(
            chain_ids(&[a.clone(), b.clone()]),
            [a.clone(), Digest::of(format!("{a} {b}").as_bytes())]
        );
    }
}
