//! What the engine tells of its objects: plain types without behaviour, the same for every door.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use base::ContainerId;
use docker_types::ContainerSpec;
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

/// One attachment to a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// The network's name.
    pub network: String,
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
    /// `bridge`, `host` or `null`.
    pub driver: String,
    /// When it was made.
    pub created: Timestamp,
    /// Subnets and gateways, `("172.30.0.0/16", "172.30.0.1")`.
    pub subnets: Vec<(String, String)>,
    /// Options, as inspect shows them.
    pub options: BTreeMap<String, String>,
    /// Whether it has IPv6.
    pub ipv6: bool,
    /// Containers attached now: id, name, endpoint.
    pub containers: Vec<(ContainerId, String, Endpoint)>,
}
