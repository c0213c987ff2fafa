//! What the engine tells of its objects: plain types without behaviour, the same for every door.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use base::ContainerId;
use docker_types::ContainerSpec;
use docker_types::container::EndpointConfig;
use jiff::Timestamp;
pub use monitor::{HealthReport, HealthStatus, ProbeResult};
use oci::{Digest, ImageRef};
use serde::{Deserialize, Serialize};

/// A container as it is now.
#[derive(Debug, Clone)]
pub struct Container {
    /// Its identity.
    pub id: ContainerId,
    /// Its name, without a slash.
    pub name: String,
    /// When it was made.
    pub created: Timestamp,
    /// The image it was made from.
    pub image_id: Digest,
    /// The image as the user named it.
    pub image_name: String,
    /// The request, completed by the image's defaults.
    pub spec: ContainerSpec,
    /// What runs: the entry point and the arguments in one.
    pub argv: Vec<String>,
    /// Where it is in its life.
    pub state: State,
    /// How often the restart policy started it again.
    pub restart_count: u32,
    /// What is mounted.
    pub mounts: Vec<MountPoint>,
    /// Attachments to networks, by the network's name.
    pub endpoints: Vec<Endpoint>,
    /// Ports that are published while it runs.
    pub ports: Vec<Port>,
    /// How well it is, if that is checked and it was started.
    pub health: Option<HealthReport>,
    /// Where its output is logged, if it is.
    pub log_path: Option<PathBuf>,
    /// Its folder in the data root.
    pub folder: PathBuf,
}

impl Container {
    /// Returns the networks that it is on, or that a start puts it on, with what is wished there.
    pub fn networks(&self) -> Vec<(String, EndpointConfig)> {
        match self.spec.host_config.network_mode.as_str() {
            mode if mode.starts_with("container:") => Vec::new(),
            mode @ ("host" | "none") => vec![(mode.to_owned(), EndpointConfig::default())],
            _ => crate::networks::places(&self.spec),
        }
    }

    /// Returns the names by which others on a network know it: its own, `aliases`, its short id, its host name.
    pub fn names_on(&self, aliases: &[String]) -> Vec<String> {
        let hostname = Some(&self.spec.config.hostname).filter(|name| !name.is_empty()).cloned();
        let all = [self.name.clone()].into_iter().chain(aliases.iter().cloned());
        let mut names: Vec<String> = Vec::new();
        for name in all.chain([self.id.short().to_owned()]).chain(hostname) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }

    /// Returns its endpoint on `network`, if it runs there.
    pub fn endpoint(&self, network: &str) -> Option<&Endpoint> {
        self.endpoints.iter().find(|endpoint| endpoint.network == network)
    }
}

/// Where a container is in its life. The transitions are drawn in [`crate::containers`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Made, never started.
    Created,
    /// Its init lives.
    Running,
    /// Its init lives, all processes are frozen.
    Paused,
    /// It ended and the restart policy waits to start it again.
    Restarting,
    /// It is being removed.
    Removing,
    /// It ended.
    Exited,
    /// It ended in a way that left something behind; removal is all that can be done.
    Dead,
}

impl Status {
    /// Returns Docker's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Restarting => "restarting",
            Self::Removing => "removing",
            Self::Exited => "exited",
            Self::Dead => "dead",
        }
    }

    /// Says whether there is an init.
    pub fn is_alive(self) -> bool {
        matches!(self, Self::Running | Self::Paused)
    }
}

/// The state with what is true in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// Where it is.
    pub status: Status,
    /// The init's process number on the host; 0 when there is none.
    pub pid: i32,
    /// Exit code of the last run; 0 before the first.
    pub exit_code: i32,
    /// Whether the kernel killed it for want of memory.
    pub oom_killed: bool,
    /// Why the last start failed, or why the exit code is not known; empty otherwise.
    pub error: String,
    /// Start of the last run.
    pub started: Option<Timestamp>,
    /// End of the last run.
    pub finished: Option<Timestamp>,
}

/// One mount of a container, as `inspect` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountPoint {
    /// What kind.
    pub kind: MountKind,
    /// Name of the volume, if it is one.
    pub volume: Option<String>,
    /// Path on the host; empty for tmpfs.
    pub source: String,
    /// Path inside.
    pub target: String,
    /// Options as the user wrote them, such as `z`, `ro`.
    pub mode: String,
    /// Whether it may be written.
    pub writable: bool,
    /// Mount propagation, such as `rprivate`; empty for volumes.
    pub propagation: String,
    /// Whether the engine made the volume without a name for this container.
    #[serde(default)]
    pub anonymous: bool,
    /// Further mount options for the runtime.
    #[serde(default)]
    pub options: Vec<String>,
    /// Whether a fresh volume is filled from the image.
    #[serde(default)]
    pub fill: bool,
    /// Folder inside the volume.
    #[serde(default)]
    pub subpath: String,
    /// What is mounted where the volume is, if it is no plain folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filesystem: Option<Filesystem>,
}

/// What a volume's options name: a file system, or a folder of the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filesystem {
    /// `tmpfs`, `nfs`, …; `none` for a folder.
    pub kind: String,
    /// What is mounted.
    pub device: String,
    /// Options of the mount.
    pub options: Vec<String>,
}

/// What a mount is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MountKind {
    /// A path of the host.
    Bind,
    /// A volume.
    Volume,
    /// Memory.
    Tmpfs,
}

/// One attachment of a container that runs to a network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// The network's name.
    pub network: String,
    /// The network's identity; empty for the default bridge.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub network_id: String,
    /// What connects it; empty for a bridge.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub driver: String,
    /// IPv4 address.
    pub ip4: Option<Ipv4Addr>,
    /// Length of the IPv4 prefix.
    pub prefix4: u8,
    /// IPv4 gateway.
    pub gateway4: Option<Ipv4Addr>,
    /// IPv6 address.
    pub ip6: Option<Ipv6Addr>,
    /// Length of the IPv6 prefix.
    pub prefix6: u8,
    /// IPv6 gateway.
    pub gateway6: Option<Ipv6Addr>,
    /// Hardware address, `02:…`.
    pub mac: String,
    /// Name of the link inside; empty means `eth0`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub link: String,
    /// Further names on this network.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    /// Other containers of this network under further names, `name:alias`, for this container alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<String>,
    /// Further addresses of the link.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub link_local: Vec<IpAddr>,
    /// Options of the attachment.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, String>,
    /// Which network is the default route; higher wins.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub priority: i64,
    /// Whether the network has no way out.
    #[serde(default, skip_serializing_if = "is_false")]
    pub internal: bool,
    /// Whether it is being made or taken away while the container runs.
    #[serde(skip)]
    pub pending: bool,
}

fn is_zero(number: &i64) -> bool {
    *number == 0
}

fn is_false(flag: &bool) -> bool {
    !flag
}

impl Endpoint {
    /// Returns the name of the link inside.
    pub fn link_name(&self) -> &str {
        if self.link.is_empty() { "eth0" } else { &self.link }
    }

    /// Returns the identity that this attachment of `container` has, 64 hexadecimal digits.
    pub fn id(&self, container: &ContainerId) -> String {
        Digest::of(format!("{container} {}", self.network).as_bytes()).hex().to_owned()
    }
}

/// A published port or range; both ranges have the same length.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    /// `tcp`, `udp` or `sctp`.
    pub proto: String,
    /// Address on the host; none means all.
    pub host_ip: Option<std::net::IpAddr>,
    /// First port on the host.
    pub host_first: u16,
    /// First port inside.
    pub guest_first: u16,
    /// How many.
    pub count: u16,
    /// Whether it is open to everybody; otherwise the host's input rules decide who comes in.
    #[serde(default)]
    pub open: bool,
}

/// An image in the store.
#[derive(Debug, Clone)]
pub struct Image {
    /// Digest of its configuration.
    pub id: Digest,
    /// Digest of its manifest.
    pub manifest: Digest,
    /// Names with tags.
    pub tags: Vec<ImageRef>,
    /// Names with the digest they were pulled by.
    pub digests: Vec<ImageRef>,
    /// When it was made, as its configuration says.
    pub created: Option<Timestamp>,
    /// The configuration.
    pub config: oci::config::ImageConfiguration,
    /// Bytes unpacked, all layers.
    pub size: u64,
    /// Bytes of each layer unpacked, bottom first.
    pub layer_sizes: Vec<u64>,
    /// How many containers use it.
    pub containers: u64,
}

/// What is known of a secret; never what it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secret {
    /// Its identity.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// When it was made.
    pub created: Timestamp,
}

/// A volume.
#[derive(Debug, Clone)]
pub struct Volume {
    /// Its name.
    pub name: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Options it was made with.
    pub options: BTreeMap<String, String>,
    /// When it was made.
    pub created: Timestamp,
    /// Whether it was made without a name.
    pub anonymous: bool,
    /// Its folder on the host.
    pub mountpoint: PathBuf,
    /// Containers that use it, by id.
    pub used_by: Vec<ContainerId>,
}

/// A network.
#[derive(Debug, Clone)]
pub struct Network {
    /// Its identity.
    pub id: String,
    /// Its name.
    pub name: String,
    /// `bridge`, `macvlan`, `ipvlan`, `host` or `null`; `pasta` for a plain user's default.
    pub driver: String,
    /// When it was made.
    pub created: Timestamp,
    /// Whether it is always there.
    pub builtin: bool,
    /// What it was made with.
    pub config: NetworkConfig,
    /// Containers attached now: id, name, endpoint.
    pub containers: Vec<(ContainerId, String, Endpoint)>,
}

/// What a network is made with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkConfig {
    /// Its addresses.
    pub subnets: Vec<Subnet>,
    /// Options of the driver.
    #[serde(default)]
    pub options: BTreeMap<String, String>,
    /// Labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Whether it has IPv4.
    pub ipv4: bool,
    /// Whether it has IPv6.
    pub ipv6: bool,
    /// Whether it has no way out.
    #[serde(default)]
    pub internal: bool,
    /// Of swarms; kept and shown.
    #[serde(default)]
    pub attachable: bool,
}

/// A range of addresses of a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subnet {
    /// The first address.
    pub address: IpAddr,
    /// Bits of the prefix.
    pub length: u8,
    /// The way out, on a bridge the bridge's own address.
    pub gateway: Option<IpAddr>,
    /// The part that addresses are chosen from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range: Option<(IpAddr, u8)>,
    /// Addresses that others have, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub reserved: BTreeMap<String, IpAddr>,
}

impl std::fmt::Display for Subnet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}
