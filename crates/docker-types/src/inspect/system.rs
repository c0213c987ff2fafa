//! `GET /info` and `GET /version`, as far as Brig has something to say.

use serde::{Deserialize, Serialize};

/// What there is on the machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct SystemInfo {
    /// Identity of this engine's data root.
    #[serde(rename = "ID")]
    pub id: String,
    /// How many containers.
    pub containers: u64,
    /// Of these, running.
    pub containers_running: u64,
    /// Of these, paused.
    pub containers_paused: u64,
    /// Of these, ended.
    pub containers_stopped: u64,
    /// How many images.
    pub images: u64,
    /// What stores files.
    pub driver: String,
    /// Facts about it, name and value.
    pub driver_status: Vec<(String, String)>,
    /// Drivers by kind.
    pub plugins: Plugins,
    /// Whether memory can be limited.
    pub memory_limit: bool,
    /// Whether memory with swap can be limited.
    pub swap_limit: bool,
    /// Whether processor time can be limited by period.
    #[serde(rename = "CpuCfsPeriod")]
    pub cpu_cfs_period: bool,
    /// Whether processor time can be limited by quota.
    #[serde(rename = "CpuCfsQuota")]
    pub cpu_cfs_quota: bool,
    /// Whether processor time can be weighted.
    #[serde(rename = "CPUShares")]
    pub cpu_shares: bool,
    /// Whether processors can be chosen.
    #[serde(rename = "CPUSet")]
    pub cpu_set: bool,
    /// Whether the number of processes can be limited.
    pub pids_limit: bool,
    /// Whether IPv4 packets are forwarded.
    #[serde(rename = "IPv4Forwarding")]
    pub ipv4_forwarding: bool,
    /// RFC 3339.
    pub system_time: String,
    /// Default log driver.
    pub logging_driver: String,
    /// `cgroupfs`, `systemd`, `none`.
    pub cgroup_driver: String,
    /// `1` or `2`.
    pub cgroup_version: String,
    /// Release of the kernel.
    pub kernel_version: String,
    /// Name of the distribution.
    pub operating_system: String,
    /// Its version.
    #[serde(rename = "OSVersion")]
    pub os_version: String,
    /// `linux`.
    #[serde(rename = "OSType")]
    pub os_type: String,
    /// `x86_64`, `aarch64`.
    pub architecture: String,
    /// Processors.
    #[serde(rename = "NCPU")]
    pub ncpu: u64,
    /// Bytes.
    pub mem_total: u64,
    /// The data root.
    pub docker_root_dir: String,
    /// Host name.
    pub name: String,
    /// Brig's version.
    pub server_version: String,
    /// Default runtime.
    pub default_runtime: String,
    /// `name=…` of what confines.
    pub security_options: Vec<String>,
    /// What the user should know.
    pub warnings: Vec<String>,
}

/// Drivers by kind.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Plugins {
    /// Of volumes.
    pub volume: Vec<String>,
    /// Of networks.
    pub network: Vec<String>,
    /// Of logs.
    pub log: Vec<String>,
}

/// What `version` says of one side.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Version {
    /// Brig's version.
    pub version: String,
    /// Newest version of the Engine API that the types follow.
    pub api_version: String,
    /// Commit that it was built from; empty when unknown.
    pub git_commit: String,
    /// Compiler.
    pub rust_version: String,
    /// `linux`.
    pub os: String,
    /// `amd64`, `arm64`.
    pub arch: String,
    /// When it was built; empty when unknown.
    pub build_time: String,
    /// Release of the kernel.
    pub kernel_version: String,
}
