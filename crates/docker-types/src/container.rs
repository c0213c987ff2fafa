//! What a container is asked to be: `ContainerConfig`, `HostConfig` and `NetworkingConfig` of the Engine API.
//!
//! Source: Docker Engine API, `ContainerConfig`, `HostConfig`, `Resources`, `EndpointSettings`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The request to make a container, the same from every door.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ContainerSpec {
    /// The wished name without a leading slash; none lets the engine choose one.
    pub name: Option<String>,
    /// `os/arch[/variant]`; none means the machine's.
    pub platform: Option<String>,
    /// What the process is.
    pub config: ContainerConfig,
    /// How the host runs it.
    pub host_config: HostConfig,
    /// Networks to join.
    pub networking_config: NetworkingConfig,
}

/// The portable part: what the process is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ContainerConfig {
    /// Host name inside.
    pub hostname: String,
    /// NIS domain name inside.
    pub domainname: String,
    /// `user[:group]`, names or numbers.
    pub user: String,
    /// Whether the creator means to attach to the input.
    pub attach_stdin: bool,
    /// Whether the creator means to attach to the output.
    pub attach_stdout: bool,
    /// Whether the creator means to attach to the error output.
    pub attach_stderr: bool,
    /// Exposed ports, `80/tcp`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub exposed_ports: BTreeMap<String, Empty>,
    /// Whether the process gets a terminal.
    pub tty: bool,
    /// Whether the input stays open without a client.
    pub open_stdin: bool,
    /// Whether the input closes after the first client left.
    pub stdin_once: bool,
    /// `NAME=value`; a bare `NAME` removes the variable.
    pub env: Vec<String>,
    /// Arguments after the entry point; none means the image's.
    pub cmd: Option<Vec<String>>,
    /// Health check.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
    /// What is done when it becomes unhealthy: `none`, `restart`, `stop` or `kill`; empty means `none`. Podman's.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub healthcheck_on_failure_action: String,
    /// The shell of shell forms; none means `/bin/sh -c`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shell: Option<Vec<String>>,
    /// The image as the user named it.
    pub image: String,
    /// Anonymous volumes, by path inside.
    pub volumes: Option<BTreeMap<String, Empty>>,
    /// Working directory inside.
    pub working_dir: String,
    /// Entry point; none means the image's, `[""]` means none at all.
    pub entrypoint: Option<Vec<String>>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Signal that asks the process to stop.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<String>,
    /// Seconds from the stop signal to SIGKILL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_timeout: Option<i64>,
}

/// An empty JSON object, the values of Docker's sets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Empty {}

/// A health check; times in nanoseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Healthcheck {
    /// `["NONE"]`, `["CMD", …]` or `["CMD-SHELL", command]`; empty inherits.
    pub test: Vec<String>,
    /// Between probes.
    pub interval: i64,
    /// For one probe.
    pub timeout: i64,
    /// Failures until unhealthy.
    pub retries: i64,
    /// In which failures do not count.
    pub start_period: i64,
    /// Between probes in the start period.
    pub start_interval: i64,
}

/// The part that depends on the host: how it runs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct HostConfig {
    /// `source:target[:options]`.
    pub binds: Vec<String>,
    /// File to write the id to.
    #[serde(rename = "ContainerIDFile")]
    pub container_id_file: String,
    /// Secrets that it gets.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<crate::secret::SecretUse>,
    /// Log driver and its options.
    pub log_config: LogConfig,
    /// `default`, `bridge`, `host`, `none`, `container:ID` or a network's name.
    pub network_mode: String,
    /// Published ports: container port (`80/tcp`, or a range `80-90/tcp`) to host addresses.
    pub port_bindings: BTreeMap<String, Option<Vec<PortBinding>>>,
    /// Whether they are open to everybody whatever the host's input rules say, which is Docker's meaning; without a word
    /// the configuration decides.
    #[serde(rename = "BrigPublishOpen", skip_serializing_if = "Option::is_none")]
    pub publish_open: Option<bool>,
    /// What happens after the exit.
    pub restart_policy: RestartPolicy,
    /// Whether the container is removed when it ends.
    pub auto_remove: bool,
    /// Containers whose volumes are mounted too, `ID[:ro|rw]`.
    pub volumes_from: Option<Vec<String>>,
    /// Mounts in the long form.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<Mount>,
    /// Terminal size at start, rows and columns.
    pub console_size: [u16; 2],
    /// Free annotations, kept and passed to the runtime.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Capabilities added.
    pub cap_add: Option<Vec<String>>,
    /// Capabilities dropped.
    pub cap_drop: Option<Vec<String>>,
    /// `private` or `host`; empty means the default.
    pub cgroupns_mode: String,
    /// DNS servers.
    pub dns: Vec<String>,
    /// Options for `resolv.conf`.
    pub dns_options: Vec<String>,
    /// Search domains.
    pub dns_search: Vec<String>,
    /// `name:address` lines for `/etc/hosts`.
    pub extra_hosts: Option<Vec<String>>,
    /// Further groups, names or numbers.
    pub group_add: Option<Vec<String>>,
    /// `none`, `private`, `shareable`, `host` or `container:ID`.
    pub ipc_mode: String,
    /// −1000 to 1000.
    pub oom_score_adj: i32,
    /// Empty, `host` or `container:ID`.
    pub pid_mode: String,
    /// Whether all confinement is off.
    pub privileged: bool,
    /// Whether all exposed ports get a random host port.
    pub publish_all_ports: bool,
    /// Whether the root file system is read-only.
    pub readonly_rootfs: bool,
    /// `seccomp=…`, `apparmor=…`, `label=…`, `no-new-privileges`, `systempaths=…`.
    pub security_opt: Option<Vec<String>>,
    /// tmpfs mounts: path to options.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tmpfs: BTreeMap<String, String>,
    /// Empty or `host`.
    #[serde(rename = "UTSMode")]
    pub uts_mode: String,
    /// Empty, `host`, or a mapping that the engine knows.
    pub userns_mode: String,
    /// Size of `/dev/shm` in bytes; 0 means 64 MiB.
    pub shm_size: i64,
    /// Kernel parameters of the container's namespaces.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub sysctls: BTreeMap<String, String>,
    /// Whether a small init reaps and forwards signals.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init: Option<bool>,
    /// Paths hidden; none means the default list.
    pub masked_paths: Option<Vec<String>>,
    /// Paths made read-only; none means the default list.
    pub readonly_paths: Option<Vec<String>>,
    /// Limits.
    #[serde(flatten)]
    pub resources: Resources,
}

/// Limits and devices; sizes in bytes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Resources {
    /// Relative weight of processor time, 1024 is the normal one; 0 means unset.
    pub cpu_shares: i64,
    /// Memory limit; 0 means none.
    pub memory: i64,
    /// Processors in 10⁻⁹; 0 means unset.
    pub nano_cpus: i64,
    /// Parent cgroup.
    pub cgroup_parent: String,
    /// 10 to 1000; 0 means unset.
    pub blkio_weight: u16,
    /// Weights of single block devices.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub blkio_weight_device: Vec<WeightDevice>,
    /// Bytes read a second, by block device.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub blkio_device_read_bps: Vec<ThrottleDevice>,
    /// Bytes written a second, by block device.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub blkio_device_write_bps: Vec<ThrottleDevice>,
    /// Reads a second, by block device.
    #[serde(rename = "BlkioDeviceReadIOps", skip_serializing_if = "Vec::is_empty")]
    pub blkio_device_read_iops: Vec<ThrottleDevice>,
    /// Writes a second, by block device.
    #[serde(rename = "BlkioDeviceWriteIOps", skip_serializing_if = "Vec::is_empty")]
    pub blkio_device_write_iops: Vec<ThrottleDevice>,
    /// Microseconds; 0 means unset.
    pub cpu_period: i64,
    /// Microseconds; 0 means unset.
    pub cpu_quota: i64,
    /// Microseconds; 0 means unset.
    pub cpu_realtime_period: i64,
    /// Microseconds; 0 means unset.
    pub cpu_realtime_runtime: i64,
    /// Processors, `0-2,4`.
    pub cpuset_cpus: String,
    /// Memory nodes, `0-2,4`.
    pub cpuset_mems: String,
    /// Devices.
    pub devices: Option<Vec<DeviceMapping>>,
    /// Devices that a driver finds: of the Container Device Interface, or graphics processors.
    pub device_requests: Option<Vec<DeviceRequest>>,
    /// Rules for the device cgroup, `c 1:3 rwm`.
    pub device_cgroup_rules: Option<Vec<String>>,
    /// Soft limit; 0 means none.
    pub memory_reservation: i64,
    /// Memory and swap together; 0 means twice the memory, −1 unlimited.
    pub memory_swap: i64,
    /// 0 to 100; none means the kernel's.
    pub memory_swappiness: Option<i64>,
    /// Whether the OOM killer is off (cgroup v1).
    pub oom_kill_disable: Option<bool>,
    /// Most processes; none, 0 and −1 mean unlimited.
    pub pids_limit: Option<i64>,
    /// Resource limits of processes.
    pub ulimits: Option<Vec<Ulimit>>,
}

/// Devices that a driver finds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DeviceRequest {
    /// `cdi`, or a vendor; empty means whoever has what is asked for.
    pub driver: String,
    /// How many; −1 means all.
    pub count: i64,
    /// Which.
    #[serde(rename = "DeviceIDs")]
    pub device_ids: Option<Vec<String>>,
    /// What they must be able to do: one of the lists, all of it.
    pub capabilities: Option<Vec<Vec<String>>>,
    /// Options for the driver.
    pub options: Option<BTreeMap<String, String>>,
}

/// The weight of one block device.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct WeightDevice {
    /// Path on the host.
    pub path: String,
    /// 10 to 1000; 0 means unset.
    pub weight: u16,
}

/// The limit of one block device, in bytes or operations a second.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ThrottleDevice {
    /// Path on the host.
    pub path: String,
    /// The limit.
    pub rate: u64,
}

/// One device given to the container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DeviceMapping {
    /// Path on the host.
    pub path_on_host: String,
    /// Path inside.
    pub path_in_container: String,
    /// Of `r`, `w`, `m`.
    pub cgroup_permissions: String,
}

/// One `setrlimit`; −1 means unlimited.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Ulimit {
    /// `nofile`, `nproc`, …
    pub name: String,
    /// Soft limit.
    pub soft: i64,
    /// Hard limit.
    pub hard: i64,
}

/// Log driver and options.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct LogConfig {
    /// `json-file`, `none`; empty means the default.
    #[serde(rename = "Type")]
    pub driver: String,
    /// `max-size`, `max-file`, …
    pub config: BTreeMap<String, String>,
}

/// One address on the host for a published port.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct PortBinding {
    /// Empty means all.
    pub host_ip: String,
    /// A port, a range `8000-8100`, or empty for one that is free.
    pub host_port: String,
}

/// What happens after the exit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct RestartPolicy {
    /// Empty or `no`, `always`, `unless-stopped`, `on-failure`.
    pub name: String,
    /// For `on-failure`; 0 means without end.
    pub maximum_retry_count: i64,
}

/// A mount in the long form (`--mount`).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Mount {
    /// `bind`, `volume`, `tmpfs`, …
    #[serde(rename = "Type")]
    pub kind: String,
    /// Host path or volume name.
    pub source: String,
    /// Path inside.
    pub target: String,
    /// Whether it is read-only.
    pub read_only: bool,
    /// `default`, `consistent`, …; has no effect on Linux.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub consistency: String,
    /// For binds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bind_options: Option<BindOptions>,
    /// For volumes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume_options: Option<VolumeOptions>,
    /// For images.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_options: Option<ImageOptions>,
    /// For tmpfs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tmpfs_options: Option<TmpfsOptions>,
}

/// Options of an image mount.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ImageOptions {
    /// Folder inside the image.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub subpath: String,
}

/// Options of a bind mount.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct BindOptions {
    /// `rprivate`, `rslave`, …
    pub propagation: String,
    /// Whether mounts below the source stay behind.
    pub non_recursive: bool,
    /// Whether a missing source is made.
    pub create_mountpoint: bool,
    /// Whether only the top is read-only.
    pub read_only_non_recursive: bool,
    /// Whether a kernel without recursive read-only is an error.
    pub read_only_force_recursive: bool,
}

/// Options of a volume mount.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct VolumeOptions {
    /// Whether a fresh volume stays empty.
    pub no_copy: bool,
    /// Labels of a volume made by this.
    pub labels: BTreeMap<String, String>,
    /// Driver of a volume made by this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub driver_config: Option<DriverConfig>,
    /// Folder inside the volume.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub subpath: String,
}

/// Driver of a volume.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DriverConfig {
    /// `local`.
    pub name: String,
    /// Its options.
    pub options: BTreeMap<String, String>,
}

/// Options of a tmpfs mount.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct TmpfsOptions {
    /// Bytes; 0 means the kernel's.
    pub size_bytes: i64,
    /// Permission bits; 0 means 1777.
    pub mode: u32,
    /// Further options, `["exec"]`, `["uid", "1000"]`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<Vec<String>>,
}

/// Networks to join, by name.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct NetworkingConfig {
    /// One entry a network.
    pub endpoints_config: BTreeMap<String, EndpointConfig>,
}

/// What is asked of one attachment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct EndpointConfig {
    /// Wished addresses.
    #[serde(rename = "IPAMConfig", skip_serializing_if = "Option::is_none")]
    pub ipam_config: Option<EndpointIpam>,
    /// Other containers under further names, `name:alias`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub links: Option<Vec<String>>,
    /// Further names.
    pub aliases: Option<Vec<String>>,
    /// Wished hardware address.
    pub mac_address: String,
    /// Options of the driver.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub driver_opts: Option<BTreeMap<String, String>>,
    /// Which network is the default route; higher wins.
    #[serde(skip_serializing_if = "is_zero")]
    pub gw_priority: i64,
    /// The place among the container's networks: Brig's own, a request's order is that of the names.
    #[serde(rename = "BrigPosition", skip_serializing_if = "is_zero")]
    pub position: i64,
}

fn is_zero(number: &i64) -> bool {
    *number == 0
}

/// Wished addresses of one attachment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct EndpointIpam {
    /// Empty means any free one.
    #[serde(rename = "IPv4Address")]
    pub ipv4_address: String,
    /// Empty means any free one.
    #[serde(rename = "IPv6Address")]
    pub ipv6_address: String,
    /// Further addresses of the link, `169.254.…` or `fe80:…`.
    #[serde(rename = "LinkLocalIPs", skip_serializing_if = "Option::is_none")]
    pub link_local_ips: Option<Vec<String>>,
}
