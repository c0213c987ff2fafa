//! The Container Device Interface: names of devices (`vendor.com/class=name`), the documents that describe what a device
//! adds to a container, and the check of both. No file is looked at; [`apply`] puts the additions into a document of
//! the runtime specification.
//!
//! Source: CDI specification 1.1.0, `SPEC.md`.

mod apply;

use std::collections::{BTreeMap, BTreeSet};

use base::{ErrorKind, Kinded};
use serde::Deserialize;

pub use apply::apply;

/// The newest version of documents that is read.
const NEWEST: (u32, u32) = (1, 1);
/// Names of hooks in a document.
const HOOKS: [&str; 6] =
    ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

/// Why a document or name is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid {what} {value:?}: {why}")]
pub struct InvalidCdi {
    /// Which field.
    pub what: String,
    /// What it holds.
    pub value: String,
    /// What is wanted.
    pub why: &'static str,
}

impl Kinded for InvalidCdi {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }
}

fn invalid(what: impl Into<String>, value: impl Into<String>, why: &'static str) -> InvalidCdi {
    InvalidCdi { what: what.into(), value: value.into(), why }
}

/// A device's full name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DeviceName {
    /// `vendor.com/class`.
    pub kind: String,
    /// The name within its kind.
    pub name: String,
}

impl std::fmt::Display for DeviceName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}={}", self.kind, self.name)
    }
}

impl std::str::FromStr for DeviceName {
    type Err = InvalidCdi;

    fn from_str(text: &str) -> Result<Self, InvalidCdi> {
        let form = || invalid("CDI device name", text, "it must have the form vendor.com/class=name");
        let (kind, name) = text.split_once('=').ok_or_else(form)?;
        check_kind(kind)?;
        check_device(name)?;
        Ok(Self { kind: kind.to_owned(), name: name.to_owned() })
    }
}

/// A document.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Document {
    cdi_version: String,
    /// `vendor.com/class`.
    pub kind: String,
    #[serde(default)]
    #[expect(dead_code, reason = "allowed, and for its writer alone: no annotation decides anything")]
    annotations: BTreeMap<String, String>,
    /// The devices.
    pub devices: Vec<Device>,
    /// What every device of the document adds, once for all that a container has.
    #[serde(default)]
    pub container_edits: Edits,
}

/// A device.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Device {
    /// Its name within the kind.
    pub name: String,
    #[serde(default)]
    #[expect(dead_code, reason = "allowed, and for its writer alone: no annotation decides anything")]
    annotations: BTreeMap<String, String>,
    /// What it adds.
    #[serde(default)]
    pub container_edits: Edits,
}

/// What is added to a container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Edits {
    /// `NAME=value`.
    pub env: Vec<String>,
    /// Device nodes.
    pub device_nodes: Vec<DeviceNode>,
    /// Links of the host that move into the container.
    pub net_devices: Vec<NetDevice>,
    /// Mounts.
    pub mounts: Vec<Mount>,
    /// Programs of the host that run around the start.
    pub hooks: Vec<Hook>,
    /// Resource control of Intel's processors.
    pub intel_rdt: Option<serde_json::Map<String, serde_json::Value>>,
    /// Further groups of the process.
    pub additional_gids: Vec<u32>,
}

/// A device node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct DeviceNode {
    /// Path inside.
    pub path: String,
    /// Path on the host; the same when it is missing.
    pub host_path: Option<String>,
    /// `b`, `c`, `u` or `p`; the host's when it is missing.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// Number; the host's when it is missing.
    pub major: Option<u32>,
    /// Number; the host's when it is missing.
    pub minor: Option<u32>,
    /// Mode of the node.
    pub file_mode: Option<u32>,
    /// Of `r`, `w`, `m`; all when it is missing.
    pub permissions: Option<String>,
    /// Owner; the process's user when it is missing.
    pub uid: Option<u32>,
    /// Group; the process's when it is missing.
    pub gid: Option<u32>,
}

impl DeviceNode {
    /// Returns the path on the host.
    pub fn source(&self) -> &str {
        self.host_path.as_deref().filter(|path| !path.is_empty()).unwrap_or(&self.path)
    }
}

/// A link of the host that moves into the container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct NetDevice {
    /// Name on the host.
    pub host_interface_name: String,
    /// Name inside.
    pub name: String,
}

/// A mount.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Mount {
    /// Source.
    pub host_path: String,
    /// Place inside.
    pub container_path: String,
    /// Type of the file system; `bind` when it is missing.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// Options.
    pub options: Vec<String>,
}

/// A program of the host that runs around the start.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Hook {
    /// When.
    pub hook_name: String,
    /// The program.
    pub path: String,
    /// Its arguments, its own name first.
    pub args: Vec<String>,
    /// Its whole environment.
    pub env: Vec<String>,
    /// Seconds.
    pub timeout: Option<i64>,
}

impl Document {
    /// Checks the document; serde has read its form.
    pub fn check(&self) -> Result<(), InvalidCdi> {
        check_version(&self.cdi_version)?;
        check_kind(&self.kind)?;
        let mut names = BTreeSet::new();
        for device in &self.devices {
            check_device(&device.name)?;
            if !names.insert(&device.name) {
                return Err(invalid("devices.name", &device.name, "each name once"));
            }
            if device.container_edits == Edits::default() {
                return Err(invalid("devices.containerEdits", &device.name, "the device adds nothing"));
            }
            check_edits(&device.container_edits)?;
        }
        check_edits(&self.container_edits)
    }
}

fn check_version(text: &str) -> Result<(), InvalidCdi> {
    let numbers: Vec<Option<u32>> = text.split('.').map(|part| part.parse().ok()).collect();
    match numbers[..] {
        [Some(major), Some(minor), Some(_)] if (major, minor) <= NEWEST && (major, minor) > (0, 0) => Ok(()),
        _ => Err(invalid("cdiVersion", text, "0.1.0 to 1.1.0 are known")),
    }
}

fn check_kind(kind: &str) -> Result<(), InvalidCdi> {
    let wrong = || invalid("CDI kind", kind, "vendor.com/class is wanted");
    let (vendor, class) = kind.split_once('/').ok_or_else(wrong)?;
    match is_word(vendor, "_.-") && is_word(class, "_-") {
        true => Ok(()),
        false => Err(wrong()),
    }
}

fn is_word(text: &str, also: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || also.contains(c);
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.ends_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(inner)
}

fn check_device(name: &str) -> Result<(), InvalidCdi> {
    let edge = |c: char| c.is_ascii_alphanumeric();
    let inner = |c: char| edge(c) || "_.:-".contains(c);
    match name.starts_with(edge) && name.ends_with(edge) && name.chars().all(inner) {
        true => Ok(()),
        false => Err(invalid("CDI device", name, "letters, digits and _ . : - inside are wanted")),
    }
}

fn check_edits(edits: &Edits) -> Result<(), InvalidCdi> {
    for entry in &edits.env {
        if entry.split_once('=').is_none_or(|(name, _)| name.is_empty()) {
            return Err(invalid("containerEdits.env", entry, "NAME=value is wanted"));
        }
    }
    for node in &edits.device_nodes {
        absolute("deviceNodes.path", &node.path)?;
        absolute("deviceNodes.hostPath", node.source())?;
        let kind = node.kind.as_deref().unwrap_or("");
        if !matches!(kind, "" | "b" | "c" | "u" | "p") {
            return Err(invalid("deviceNodes.type", kind, "b, c, u or p is wanted"));
        }
        let access = node.permissions.as_deref().unwrap_or("");
        if !access.chars().all(|c| "rwm".contains(c)) {
            return Err(invalid("deviceNodes.permissions", access, "letters of rwm are wanted"));
        }
    }
    for device in &edits.net_devices {
        let names = [&device.host_interface_name, &device.name];
        if let Some(name) =
            names.into_iter().find(|name| name.is_empty() || name.len() > 15 || name.contains('/'))
        {
            return Err(invalid("netDevices", name, "a link's name is wanted"));
        }
    }
    for mount in &edits.mounts {
        absolute("mounts.containerPath", &mount.container_path)?;
        if mount.host_path.is_empty() {
            return Err(invalid("mounts.hostPath", "", "a source is wanted"));
        }
    }
    for hook in &edits.hooks {
        if !HOOKS.contains(&hook.hook_name.as_str()) {
            return Err(invalid(
                "hooks.hookName",
                &hook.hook_name,
                "it is no hook of the runtime specification",
            ));
        }
        absolute("hooks.path", &hook.path)?;
        if let Some(entry) = hook.env.iter().find(|entry| !entry.contains('=')) {
            return Err(invalid("hooks.env", entry, "NAME=value is wanted"));
        }
    }
    Ok(())
}

fn absolute(what: &str, path: &str) -> Result<(), InvalidCdi> {
    match path.starts_with('/') && !path.contains('\0') {
        true => Ok(()),
        false => Err(invalid(what, path, "an absolute path is wanted")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(change: impl FnOnce(&mut serde_json::Value)) -> Result<(), String> {
        let mut value = json!({"cdiVersion": "0.8.0", "kind": "vendor.com/device", "devices": [
            {"name": "one", "containerEdits": {"env": ["A=1"]}}]});
        change(&mut value);
        let document: Document = serde_json::from_value(value).map_err(|error| error.to_string())?;
        document.check().map_err(|error| error.to_string())
    }

    #[test]
    fn names_have_one_form() {
        for good in ["vendor.com/class=name", "v/c=0", "nvidia.com/gpu=GPU-1:0", "a_b.c-d/e_f=x.y"] {
            assert_eq!(good.parse::<DeviceName>().unwrap().to_string(), good);
        }
        for bad in
            ["", "vendor.com/class", "/dev/x=y", "1v/c=x", "v/c=", "v/c=-x", "v/=x", "v/c=../x", "v/c=a=b"]
        {
            assert!(bad.parse::<DeviceName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn documents_are_checked() {
        assert_eq!(check(|_| {}), Ok(()));
        for (version, good) in
            [("1.0.0", true), ("0.3.0", true), ("1.2.0", false), ("0.0.1", false), ("1", false)]
        {
            assert_eq!(check(|value| value["cdiVersion"] = json!(version)).is_ok(), good, "{version}");
        }
        for (edits, field) in [
            (json!({}), "adds nothing"),
            (json!({"env": ["=1"]}), "containerEdits.env"),
            (json!({"deviceNodes": [{"path": "dev/x"}]}), "deviceNodes.path"),
            (json!({"deviceNodes": [{"path": "/dev/x", "type": "z"}]}), "deviceNodes.type"),
            (json!({"deviceNodes": [{"path": "/dev/x", "permissions": "rx"}]}), "permissions"),
            (json!({"mounts": [{"containerPath": "/x"}]}), "mounts.hostPath"),
            (json!({"hooks": [{"hookName": "never", "path": "/x"}]}), "hooks.hookName"),
            (json!({"hooks": [{"hookName": "poststop", "path": "x"}]}), "hooks.path"),
            (json!({"netDevices": [{"hostInterfaceName": "eth0", "name": "a/b"}]}), "netDevices"),
            (json!({"unknown": 1}), "unknown field"),
        ] {
            let answer = check(|value| value["devices"][0]["containerEdits"] = edits.clone());
            assert!(answer.clone().unwrap_err().contains(field), "{edits}: {answer:?}");
        }
        let twice = |value: &mut serde_json::Value| {
            let one = value["devices"][0].clone();
            value["devices"].as_array_mut().unwrap().push(one);
        };
        assert!(check(twice).unwrap_err().contains("each name once"));
    }
}
