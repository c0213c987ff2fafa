//! `brig.toml`: what the owner of the machine decides once. Unknown keys are refused.

use std::net::IpAddr;
use std::path::Path;

use serde::Deserialize;

use crate::error::{Error, IoContext, Result};

/// The configuration file.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// `[registry]`: see docs/registries.md.
    pub registry: registry::RegistryConfig,
    /// `[network]`.
    pub network: NetworkSettings,
    /// `[log]`.
    pub log: LogSettings,
    /// `[runtime]`.
    pub runtime: RuntimeSettings,
    /// `[devices]`.
    pub devices: DeviceSettings,
}

/// `[devices]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DeviceSettings {
    /// Folders with documents of the Container Device Interface; a later one wins.
    pub cdi_dirs: Vec<std::path::PathBuf>,
}

impl Default for DeviceSettings {
    fn default() -> Self {
        Self { cdi_dirs: vec!["/etc/cdi".into(), "/var/run/cdi".into()] }
    }
}

/// `[network]`: the default bridge.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NetworkSettings {
    /// IPv4 subnet, such as `172.30.0.0/16`; none chooses one that no route of the host covers.
    pub subnet: Option<String>,
    /// Whether containers get an IPv6 address too.
    pub ipv6: bool,
    /// Bytes of a packet; none takes the kernel's.
    pub mtu: Option<u32>,
    /// DNS servers of containers that name none; none follows the host's.
    pub dns: Vec<IpAddr>,
    /// Who may reach published ports.
    pub publish: PublishSetting,
}

/// Who may reach published ports.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PublishSetting {
    /// Whom the host's input rules let in.
    #[default]
    HostRules,
    /// Everybody, past the host's input rules, as with Docker.
    Open,
}

impl Default for NetworkSettings {
    fn default() -> Self {
        Self { subnet: None, ipv6: true, mtu: None, dns: Vec::new(), publish: PublishSetting::default() }
    }
}

/// `[log]`: the budget of a container's log.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogSettings {
    /// Bytes of one file, such as `20m`.
    pub max_size: String,
    /// How many files.
    pub max_file: u32,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self { max_size: "20m".to_owned(), max_file: 5 }
    }
}

/// `[runtime]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RuntimeSettings {
    /// Who keeps the control groups.
    pub cgroups: CgroupSetting,
    /// What `/proc` says in containers that do not choose.
    pub proc: ProcSetting,
}

/// What `/proc` says of memory, processors, load and uptime.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProcSetting {
    /// The machine's figures, as everywhere.
    #[default]
    Host,
    /// The figures of the container and its limits.
    Truthful,
}

/// Who keeps the control groups.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CgroupSetting {
    /// Brig itself.
    #[default]
    Cgroupfs,
    /// systemd.
    Systemd,
    /// Nobody: no limits.
    Disabled,
}

impl Config {
    /// Loads `path`; a missing file is the default configuration.
    pub(crate) fn load(path: &Path) -> Result<Self> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(error).at("read", path),
        };
        let config: Self = toml::from_str(&text)
            .map_err(|error| Error::Corrupt { path: path.to_owned(), why: error.to_string() })?;
        config
            .registry
            .validate()
            .map_err(|error| Error::Corrupt { path: path.to_owned(), why: error.to_string() })?;
        Ok(config)
    }
}
