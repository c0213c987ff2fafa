//! The default devices, those of `linux.devices`, and the links of `/dev`.

use std::path::{Path, PathBuf};

use oci::runtime::{LinuxDevice, LinuxDeviceType, LinuxNamespaceType, Spec};

use super::options::MountOptions;
use super::{BindSource, Facts, Node, Plan, SetupOp, lists_namespace};
use crate::error::{Error, Result};

/// Path, major and minor of the devices that every container has.
///
/// Source: runtime-spec config-linux.md "Default Devices"; Linux `Documentation/admin-guide/devices.txt`.
const DEFAULTS: [(&str, u32, u32); 6] = [
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
];

/// The links of `/dev`. Source: runtime-spec config-linux.md, "Dev symbolic links".
const LINKS: [(&str, &str); 5] = [
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
    ("/dev/ptmx", "pts/ptmx"),
];

pub(super) fn plan(spec: &Spec, facts: &Facts, plan: &mut Plan) -> Result<()> {
    // Without a mount namespace and mounts of its own nothing is made: it would be made on the host's file system.
    if !lists_namespace(spec, LinuxNamespaceType::Mount) && spec.mounts().as_ref().is_none_or(Vec::is_empty) {
        return Ok(());
    }
    let listed = spec.linux().as_ref().and_then(|linux| linux.devices().as_ref());
    let listed: Vec<Node> = listed
        .into_iter()
        .flatten()
        .enumerate()
        .map(|(index, device)| node(index, device))
        .collect::<Result<_>>()?;
    for (path, major, minor) in DEFAULTS {
        if !listed.iter().any(|node| node.path == Path::new(path)) {
            let typ = LinuxDeviceType::C;
            add(plan, facts, Node { path: path.into(), typ, major, minor, mode: 0o666, uid: 0, gid: 0 });
        }
    }
    for node in listed {
        // The terminal multiplexer is the container's own, whatever the list says of the host's.
        if node.path != Path::new("/dev/ptmx") {
            add(plan, facts, node);
        }
    }
    for (path, target) in LINKS {
        plan.ops.push(SetupOp::Link { path: path.into(), target: target.into() });
    }
    Ok(())
}

fn add(plan: &mut Plan, facts: &Facts, node: Node) {
    if !facts.user_namespace || node.typ == LinuxDeviceType::P {
        plan.ops.push(SetupOp::MakeNode(node));
        return;
    }
    let options = MountOptions { bind: Some(false), ..MountOptions::default() };
    let what = format!("device {:?}", node.path);
    plan.binds.push(BindSource { path: node.path.clone(), options, idmap: None, what });
    plan.ops.push(SetupOp::BindNode { path: node.path, bind: plan.binds.len() - 1 });
}

fn node(index: usize, device: &LinuxDevice) -> Result<Node> {
    let field = |name: &str| format!("linux.devices[{index}].{name}");
    let typ = match device.typ() {
        LinuxDeviceType::A => return Err(Error::invalid(field("type"), "a", "c, u, b or p")),
        LinuxDeviceType::U => LinuxDeviceType::C,
        typ => typ,
    };
    let number = |name: &str, value: i64| {
        u32::try_from(value).map_err(|_| Error::invalid(field(name), value.to_string(), "a device number"))
    };
    let (major, minor) = match typ {
        LinuxDeviceType::P => (0, 0),
        _ => (number("major", device.major())?, number("minor", device.minor())?),
    };
    let path = PathBuf::from(device.path());
    if !path.is_absolute() || path.components().any(|part| part == std::path::Component::ParentDir) {
        return Err(Error::invalid(field("path"), path.to_string_lossy(), "an absolute path without .."));
    }
    if path.starts_with("/proc") || path.starts_with("/sys") {
        return Err(Error::invalid(field("path"), path.to_string_lossy(), "no device can be made there"));
    }
    Ok(Node {
        path,
        typ,
        major,
        minor,
        mode: device.file_mode().unwrap_or(0o666) & 0o7777,
        uid: device.uid().unwrap_or(0),
        gid: device.gid().unwrap_or(0),
    })
}
