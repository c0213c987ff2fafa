//! `--device`: devices of the host given to a container, and the seccomp profile and cgroup facts of the host.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use docker_types::container::HostConfig;
use docker_types::security::SecurityOption;
use runtime::seccomp::{self, Arch, KernelVersion};
use serde_json::{Value, json};

use super::spec::{BlockLimits, Security, capabilities};
use crate::Engine;
use crate::error::{Error, IoContext, Result};

/// The most devices that one folder may hold.
const FOLDER_MAX: usize = 1024;

/// Device nodes in the words of the OCI runtime specification; with privileges all of the host's.
pub(super) fn list(host: &HostConfig) -> Result<Vec<Value>> {
    let mut found = Vec::new();
    if host.privileged {
        walk(Path::new("/dev"), Path::new("/dev"), &mut found)?;
        return Ok(found);
    }
    for device in host.resources.devices.iter().flatten() {
        let source = Path::new(&device.path_on_host);
        let target = match device.path_in_container.as_str() {
            "" => source,
            path => Path::new(path),
        };
        let meta = fs::metadata(source).map_err(|error| {
            Error::Invalid(format!(
                "error gathering device information while adding custom device \"{}\": {}",
                device.path_on_host,
                match error.kind() {
                    std::io::ErrorKind::NotFound => "no such file or directory".to_owned(),
                    _ => error.to_string(),
                }
            ))
        })?;
        if meta.is_dir() {
            walk(source, target, &mut found)?;
        } else {
            let node = node(&meta, source, target);
            found.push(node.ok_or_else(|| {
                Error::Invalid(format!(
                    "error gathering device information while adding custom device \"{}\": not a device node",
                    device.path_on_host
                ))
            })?);
        }
    }
    Ok(found)
}

/// The rules of the device cgroup that let a container use the devices given to it.
pub(super) fn rules(host: &HostConfig) -> Result<Vec<Value>> {
    let mut rules = Vec::new();
    for device in host.resources.devices.iter().flatten() {
        let one = HostConfig {
            resources: docker_types::container::Resources {
                devices: Some(vec![device.clone()]),
                ..Default::default()
            },
            ..Default::default()
        };
        let access = if device.cgroup_permissions.is_empty() { "rwm" } else { &device.cgroup_permissions };
        for node in list(&one)? {
            rules.push(json!({ "allow": true, "type": node["type"], "major": node["major"], "minor": node["minor"], "access": access }));
        }
    }
    Ok(rules)
}

/// The limits of single block devices, with the devices' numbers looked up.
pub(super) fn block_limits(host: &HostConfig) -> Result<BlockLimits> {
    let r = &host.resources;
    let mut limits = BlockLimits::default();
    for device in &r.blkio_weight_device {
        limits.weights.push((block_number(&device.path)?, device.weight));
    }
    for (key, list) in [
        ("throttleReadBpsDevice", &r.blkio_device_read_bps),
        ("throttleWriteBpsDevice", &r.blkio_device_write_bps),
        ("throttleReadIOPSDevice", &r.blkio_device_read_iops),
        ("throttleWriteIOPSDevice", &r.blkio_device_write_iops),
    ] {
        let list: Result<Vec<_>> =
            list.iter().map(|device| Ok((block_number(&device.path)?, device.rate))).collect();
        limits.throttles.push((key, list?));
    }
    Ok(limits)
}

fn block_number(path: &str) -> Result<(u32, u32)> {
    let wrong = |why: &str| Error::Invalid(format!("cannot limit the block device {path:?}: {why}"));
    let meta = fs::metadata(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => wrong("no such file or directory"),
        _ => wrong(&error.to_string()),
    })?;
    if !meta.file_type().is_block_device() {
        return Err(wrong("it is not a block device"));
    }
    Ok((rustix::fs::major(meta.rdev()), rustix::fs::minor(meta.rdev())))
}

fn walk(folder: &Path, target: &Path, found: &mut Vec<Value>) -> Result<()> {
    for entry in fs::read_dir(folder).at("list", folder)? {
        let entry = entry.at("list", folder)?;
        let name = entry.file_name();
        // The container's own stand there.
        if folder == Path::new("/dev")
            && ["pts", "shm", "mqueue", "console", "fd", "ptmx"].iter().any(|own| name == *own)
        {
            continue;
        }
        let (path, inside): (PathBuf, PathBuf) = (entry.path(), target.join(&name));
        let Ok(meta) = fs::symlink_metadata(&path) else { continue }; // It went away meanwhile.
        if meta.is_dir() {
            walk(&path, &inside, found)?;
        } else if let Some(node) = node(&meta, &path, &inside) {
            found.push(node);
        }
        if found.len() > FOLDER_MAX {
            return Err(Error::Invalid(format!("{folder:?} holds more than {FOLDER_MAX} devices")));
        }
    }
    Ok(())
}

/// A node in the words of the specification. Where nodes cannot be made, one under another name than the host's has a
/// `source`: it is bound (see [`is_bound`]).
fn node(meta: &fs::Metadata, source: &Path, target: &Path) -> Option<Value> {
    let kind = meta.file_type();
    let letter = match (kind.is_char_device(), kind.is_block_device()) {
        (true, _) => "c",
        (_, true) => "b",
        _ => return None,
    };
    let mut node = json!({
        "path": target.to_string_lossy(),
        "type": letter,
        "major": rustix::fs::major(meta.rdev()),
        "minor": rustix::fs::minor(meta.rdev()),
        "fileMode": meta.mode() & 0o777,
        "uid": meta.uid(),
        "gid": meta.gid(),
    });
    if crate::rootless::is_rootless() && source != target {
        node["source"] = json!(source.to_string_lossy());
    }
    Some(node)
}

/// Whether a device is bound from a file of the host with another name.
pub(super) fn is_bound(node: &Value) -> bool {
    node.get("source").is_some()
}

impl Engine {
    /// The seccomp section of a container: the default profile for its capabilities, the one of a file, or none.
    pub(super) fn seccomp(&self, host: &HostConfig) -> Result<Option<Value>> {
        let option = Security::of(host)?.seccomp;
        let caps = capabilities(host)?;
        let arch = Arch::host().ok_or_else(|| {
            Error::Unsupported(
                "seccomp is not supported on this architecture; run with --security-opt seccomp=unconfined"
                    .to_owned(),
            )
        })?;
        let profile = match option {
            Some(SecurityOption::SeccompUnconfined) => return Ok(None),
            None if host.privileged => return Ok(None),
            Some(SecurityOption::Seccomp(text)) => {
                let json = match text.trim_start().starts_with('{') {
                    true => text.into_bytes(),
                    false => fs::read(&text).at("read the seccomp profile", Path::new(&text))?,
                };
                seccomp::parse_docker_profile(&json, &caps, arch, kernel()).map_err(|error| {
                    Error::Invalid(format!(
                        "opening seccomp profile failed: {}",
                        base::error::render_chain(&error)
                    ))
                })?
            }
            _ => seccomp::default_profile(&caps, arch, kernel()),
        };
        serde_json::to_value(profile)
            .map(Some)
            .map_err(|error| Error::Invalid(format!("cannot render the seccomp profile: {error}")))
    }

    /// Whether the machine has cgroup v2 alone.
    pub(crate) fn cgroups_are_unified(&self) -> bool {
        Path::new("/sys/fs/cgroup/cgroup.controllers").exists()
    }
}

/// The running kernel's version.
fn kernel() -> KernelVersion {
    let name = rustix::system::uname();
    let mut numbers = name.release().to_str().unwrap_or_default().split(|c: char| !c.is_ascii_digit());
    let mut next = || numbers.next().and_then(|text| text.parse().ok()).unwrap_or(0);
    KernelVersion { major: next(), minor: next() }
}
