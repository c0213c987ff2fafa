//! `GET /containers/{id}/json`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::container::{ContainerConfig, EndpointIpam, HostConfig, PortBinding};

/// A container in full.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ContainerInspect {
    /// Its identity.
    pub id: String,
    /// RFC 3339 with nanoseconds.
    pub created: String,
    /// The program that runs.
    pub path: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// Where it is in its life.
    pub state: ContainerState,
    /// The image's id, `sha256:…`.
    pub image: String,
    /// Host path of `resolv.conf`.
    pub resolv_conf_path: String,
    /// Host path of `hostname`.
    pub hostname_path: String,
    /// Host path of `hosts`.
    pub hosts_path: String,
    /// Host path of the log.
    pub log_path: String,
    /// Name with a leading slash.
    pub name: String,
    /// How often the restart policy started it.
    pub restart_count: i64,
    /// What stores its files.
    pub driver: String,
    /// `linux`.
    pub platform: String,
    /// SELinux label of the mounts.
    pub mount_label: String,
    /// SELinux label of the process.
    pub process_label: String,
    /// AppArmor profile.
    pub app_armor_profile: String,
    /// Running exec sessions.
    #[serde(rename = "ExecIDs")]
    pub exec_ids: Option<Vec<String>>,
    /// How the host runs it.
    pub host_config: HostConfig,
    /// Where its files are.
    pub graph_driver: GraphDriver,
    /// Bytes written by the container, when asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size_rw: Option<i64>,
    /// Bytes with the image, when asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size_root_fs: Option<i64>,
    /// What is mounted.
    pub mounts: Vec<MountPoint>,
    /// What the process is.
    pub config: ContainerConfig,
    /// How it is connected.
    pub network_settings: NetworkSettings,
}

/// Where a container is in its life.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ContainerState {
    /// `created`, `running`, `paused`, `restarting`, `removing`, `exited`, `dead`.
    pub status: String,
    /// Whether there is a process, paused ones among them.
    pub running: bool,
    /// Whether all its processes are frozen.
    pub paused: bool,
    /// Whether the restart policy waits.
    pub restarting: bool,
    /// Whether the kernel killed it for want of memory.
    #[serde(rename = "OOMKilled")]
    pub oom_killed: bool,
    /// Whether its removal failed.
    pub dead: bool,
    /// Process number on the host; 0 without a process.
    pub pid: i64,
    /// Of the last run.
    pub exit_code: i64,
    /// Why the last start failed.
    pub error: String,
    /// RFC 3339; the year 1 means never.
    pub started_at: String,
    /// RFC 3339; the year 1 means never.
    pub finished_at: String,
    /// How well it is, when that is checked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
}

/// How well a container is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Health {
    /// `starting`, `healthy` or `unhealthy`.
    pub status: String,
    /// Failures since the last success.
    pub failing_streak: i64,
    /// The last results, oldest first.
    pub log: Vec<HealthResult>,
}

/// What one health check came to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct HealthResult {
    /// RFC 3339.
    pub start: String,
    /// RFC 3339.
    pub end: String,
    /// 0 means healthy; −1 that it could not be run or took too long.
    pub exit_code: i64,
    /// What it wrote.
    pub output: String,
}

/// Where files are stored.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct GraphDriver {
    /// Folders, by their role.
    pub data: BTreeMap<String, String>,
    /// `overlay2`.
    pub name: String,
}

/// One mount.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct MountPoint {
    /// `bind`, `volume`, `tmpfs`.
    #[serde(rename = "Type")]
    pub kind: String,
    /// Name of the volume.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Path on the host.
    pub source: String,
    /// Path inside.
    pub destination: String,
    /// Driver of the volume.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub driver: String,
    /// Options as they were written.
    pub mode: String,
    /// Whether it may be written.
    #[serde(rename = "RW")]
    pub rw: bool,
    /// `rprivate`, …; empty for volumes.
    pub propagation: String,
}

/// How a container is connected.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct NetworkSettings {
    /// Name of the bridge; empty.
    pub bridge: String,
    /// Identity of the sandbox.
    #[serde(rename = "SandboxID")]
    pub sandbox_id: String,
    /// Path of the network namespace.
    pub sandbox_key: String,
    /// Container ports with their host addresses; none when only exposed.
    pub ports: BTreeMap<String, Option<Vec<PortBinding>>>,
    /// Address on the default bridge.
    #[serde(rename = "IPAddress")]
    pub ip_address: String,
    /// Length of its prefix.
    #[serde(rename = "IPPrefixLen")]
    pub ip_prefix_len: u8,
    /// Gateway of the default bridge.
    pub gateway: String,
    /// IPv6 address on the default bridge.
    #[serde(rename = "GlobalIPv6Address")]
    pub global_ipv6_address: String,
    /// Length of its prefix.
    #[serde(rename = "GlobalIPv6PrefixLen")]
    pub global_ipv6_prefix_len: u8,
    /// IPv6 gateway of the default bridge.
    #[serde(rename = "IPv6Gateway")]
    pub ipv6_gateway: String,
    /// Hardware address on the default bridge.
    pub mac_address: String,
    /// Attachments, by the network's name.
    pub networks: BTreeMap<String, EndpointSettings>,
}

/// One attachment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct EndpointSettings {
    /// Wished addresses.
    #[serde(rename = "IPAMConfig")]
    pub ipam_config: Option<EndpointIpam>,
    /// Old links; none.
    pub links: Option<Vec<String>>,
    /// Further names.
    pub aliases: Option<Vec<String>>,
    /// Hardware address.
    pub mac_address: String,
    /// Options of the driver.
    pub driver_opts: Option<BTreeMap<String, String>>,
    /// Which network is the default route; higher wins.
    pub gw_priority: i64,
    /// The network's identity.
    #[serde(rename = "NetworkID")]
    pub network_id: String,
    /// The attachment's identity.
    #[serde(rename = "EndpointID")]
    pub endpoint_id: String,
    /// IPv4 gateway.
    pub gateway: String,
    /// IPv4 address.
    #[serde(rename = "IPAddress")]
    pub ip_address: String,
    /// Length of its prefix.
    #[serde(rename = "IPPrefixLen")]
    pub ip_prefix_len: u8,
    /// IPv6 gateway.
    #[serde(rename = "IPv6Gateway")]
    pub ipv6_gateway: String,
    /// IPv6 address.
    #[serde(rename = "GlobalIPv6Address")]
    pub global_ipv6_address: String,
    /// Length of its prefix.
    #[serde(rename = "GlobalIPv6PrefixLen")]
    pub global_ipv6_prefix_len: u8,
    /// Names that resolve to it.
    #[serde(rename = "DNSNames")]
    pub dns_names: Option<Vec<String>>,
}
