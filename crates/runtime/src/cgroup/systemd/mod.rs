//! The systemd driver: the group of a container is a transient *scope*, made by systemd around a process, so that systemd knows
//! of it and leaves what is below it to us (`Delegate`).
//!
//! Only a caller that asks for this driver connects to a bus. `linux.cgroupsPath` is `slice:prefix:name` and makes the scope
//! `prefix-name.scope` in that slice.
//!
//! Source: org.freedesktop.systemd1(5), systemd.scope(5); systemd's CGROUP_DELEGATION.md.

mod dbus;
mod properties;

use std::path::{Path, PathBuf};

use oci::runtime::LinuxResources;

use super::create::is_needed;
use super::folder::Folder;
use super::plan::{self, Version};
use super::{CgroupPaths, Error, Layout, Manager, Request, devices};
use dbus::{Connection, Decoder, Method, Value};

const SYSTEMD: &str = "org.freedesktop.systemd1";
const MANAGER_PATH: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const SCOPE: &str = "org.freedesktop.systemd1.Scope";
/// The first part of a scope's name when `linux.cgroupsPath` gives none.
const DEFAULT_PREFIX: &str = "brig";

/// Makes a scope around `request.pid`, and the v1 folders that systemd does not make.
pub(super) fn create(layout: &Layout, request: &Request<'_>) -> Result<Manager, Error> {
    let name = ScopeName::of(request, rustix::process::geteuid().is_root())?;
    let Some(pid) = request.pid.and_then(|pid| u32::try_from(pid).ok()) else {
        let reason = "systemd makes a scope around a process, and none was given";
        return Err(systemd_error("start", &name.unit, dbus::Error::Protocol(reason.into())));
    };
    let version = if layout.is_unified() { Version::V2 } else { Version::V1 };
    let mut all = scope_properties(&name, pid, version);
    if let Some(resources) = request.resources {
        all.extend(limits(resources, version)?);
    }
    let fail = |source| systemd_error("start", &name.unit, source);
    let mut bus = connect().map_err(fail)?;
    start(&mut bus, &name.unit, &all).map_err(fail)?;
    let group = control_group(&mut bus, &name.unit).map_err(fail)?;
    folders(layout, request, &name.unit, &group, pid).inspect_err(|_| stop(&name.unit))
}

/// Tells systemd the limits of a unit (`update`).
pub(super) fn update(unit: &str, resources: &LinuxResources, version: Version) -> Result<(), Error> {
    let properties = limits(resources, version)?;
    if properties.is_empty() {
        return Ok(());
    }
    let set = || {
        connect()?.call(manager("SetUnitProperties", "sba(sv)"), |e| {
            e.text(unit);
            e.bool(true);
            e.properties(&properties);
        })
    };
    set().map(drop).map_err(|source| systemd_error("set limits of", unit, source))
}

/// Removes a scope. One that is gone already is fine, and so is a systemd that does not answer: an empty scope ends by itself.
pub(super) fn stop(unit: &str) {
    let Ok(mut bus) = connect() else { return };
    let _ = bus.call(manager("StopUnit", "ss"), |e| {
        e.text(unit);
        e.text("replace");
    });
    let _ = bus.call(manager("ResetFailedUnit", "s"), |e| e.text(unit));
}

/// The name of a scope and of the slice that it is in.
#[derive(Debug, PartialEq, Eq)]
struct ScopeName {
    slice: String,
    unit: String,
}

impl ScopeName {
    fn of(request: &Request<'_>, root: bool) -> Result<Self, Error> {
        let default_slice = if root { "system.slice" } else { "user.slice" };
        let text = request.cgroups_path.map(|path| path.to_string_lossy().into_owned()).unwrap_or_default();
        let invalid = |allowed: &str| Error::Invalid {
            field: "linux.cgroupsPath".into(),
            value: format!("{text:?}"),
            allowed: format!("allowed is {allowed}"),
        };
        let (slice, prefix, name) = match text.split(':').collect::<Vec<_>>().as_slice() {
            [""] => ("", DEFAULT_PREFIX, request.id),
            [slice, prefix, name] => (*slice, *prefix, *name),
            _ => return Err(invalid("slice:prefix:name with the systemd driver")),
        };
        let slice = if slice.is_empty() { default_slice } else { slice };
        if !is_slice(slice) {
            return Err(invalid("a slice such as system.slice in the first part"));
        }
        if name.is_empty() || name.ends_with(".slice") || !is_unit_text(name) || !is_unit_text(prefix) {
            return Err(invalid("letters, digits and :-_.\\@ in prefix and name, which is no slice"));
        }
        let unit = if prefix.is_empty() { format!("{name}.scope") } else { format!("{prefix}-{name}.scope") };
        if unit.len() > 255 {
            return Err(invalid("a name of at most 255 bytes"));
        }
        Ok(Self { slice: slice.to_owned(), unit })
    }
}

fn is_slice(name: &str) -> bool {
    let Some(name) = name.strip_suffix(".slice") else { return false };
    name == "-" || (is_unit_text(name) && name.split('-').all(|part| !part.is_empty()))
}

fn is_unit_text(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b":-_.\\@".contains(&byte))
}

/// What every scope of ours is told.
fn scope_properties(name: &ScopeName, pid: u32, version: Version) -> Vec<(&'static str, Value)> {
    let io = if version == Version::V2 { "IOAccounting" } else { "BlockIOAccounting" };
    vec![
        ("Description", Value::Text(format!("container {}", name.unit.trim_end_matches(".scope")))),
        ("Slice", Value::Text(name.slice.clone())),
        ("Delegate", Value::Bool(true)),
        ("PIDs", Value::Numbers(vec![pid])),
        ("MemoryAccounting", Value::Bool(true)),
        ("CPUAccounting", Value::Bool(true)),
        (io, Value::Bool(true)),
        ("TasksAccounting", Value::Bool(true)),
        ("DefaultDependencies", Value::Bool(false)),
    ]
}

fn limits(resources: &LinuxResources, version: Version) -> Result<Vec<(&'static str, Value)>, Error> {
    plan::plan(resources, version)?;
    let rules = resources.devices().as_deref().map(devices::rules).transpose()?;
    let devices = std::fs::read_to_string("/proc/devices").unwrap_or_default();
    Ok(properties::properties(resources, rules.as_ref(), version, &devices))
}

fn systemd_error(action: &'static str, unit: &str, source: dbus::Error) -> Error {
    Error::Systemd { action, unit: unit.to_owned(), source: Box::new(source) }
}

/// Connects to the bus of the system, or without root of the session.
fn connect() -> Result<Connection, dbus::Error> {
    let address = |name: &str| std::env::var(name).ok();
    let path = if rustix::process::geteuid().is_root() && devices::in_initial_user_namespace() {
        socket_path(address("DBUS_SYSTEM_BUS_ADDRESS").as_deref())
            .unwrap_or("/run/dbus/system_bus_socket".into())
    } else {
        let run = address("XDG_RUNTIME_DIR").map(|run| Path::new(&run).join("bus"));
        let path = socket_path(address("DBUS_SESSION_BUS_ADDRESS").as_deref()).or(run);
        path.ok_or_else(|| {
            dbus::Error::Protocol("neither DBUS_SESSION_BUS_ADDRESS nor XDG_RUNTIME_DIR is set".into())
        })?
    };
    Connection::open(&path)
}

/// Finds the first `unix:path=` in a list of addresses.
fn socket_path(addresses: Option<&str>) -> Option<PathBuf> {
    let unix = addresses?.split(';').find_map(|address| address.strip_prefix("unix:"))?;
    unix.split(',').find_map(|part| part.strip_prefix("path=")).map(PathBuf::from)
}

fn manager<'a>(member: &'a str, signature: &'a str) -> Method<'a> {
    Method { destination: SYSTEMD, path: MANAGER_PATH, interface: MANAGER, member, signature }
}

/// Starts a transient unit and waits until systemd says that it is done.
fn start(bus: &mut Connection, unit: &str, properties: &[(&str, Value)]) -> Result<(), dbus::Error> {
    let add_match = Method {
        destination: "org.freedesktop.DBus",
        path: "/org/freedesktop/DBus",
        interface: "org.freedesktop.DBus",
        member: "AddMatch",
        signature: "s",
    };
    bus.call(add_match, |e| e.text(&format!("type='signal',interface='{MANAGER}',member='JobRemoved'")))?;
    bus.call(manager("Subscribe", ""), |_| {})?;
    let body = match start_unit(bus, unit, properties) {
        // What is left of a container of the same name that failed.
        Err(dbus::Error::Refused { name, .. }) if name == "org.freedesktop.systemd1.UnitExists" => {
            let _ = bus.call(manager("ResetFailedUnit", "s"), |e| e.text(unit));
            start_unit(bus, unit, properties)?
        }
        other => other?,
    };
    let job = Decoder::new(&body).text().ok_or_else(|| dbus::Error::Protocol("no job was given".into()))?;
    let result = bus.wait_signal("JobRemoved", |body| {
        let mut decoder = Decoder::new(body);
        decoder.u32()?;
        let (removed, _unit, result) = (decoder.text()?, decoder.text()?, decoder.text()?);
        (removed == job).then_some(result)
    })?;
    match result.as_str() {
        "done" => Ok(()),
        other => Err(dbus::Error::Protocol(format!("the job of starting the unit ended as {other:?}"))),
    }
}

fn start_unit(
    bus: &mut Connection,
    unit: &str,
    properties: &[(&str, Value)],
) -> Result<Vec<u8>, dbus::Error> {
    bus.call(manager("StartTransientUnit", "ssa(sv)a(sa(sv))"), |e| {
        e.text(unit);
        e.text("replace");
        e.properties(properties);
        e.array(8, |_| {});
    })
}

/// Asks systemd where the group of a scope is, from the root of the hierarchies.
fn control_group(bus: &mut Connection, unit: &str) -> Result<PathBuf, dbus::Error> {
    let malformed = || dbus::Error::Protocol(format!("{unit} has no control group"));
    let body = bus.call(manager("GetUnit", "s"), |e| e.text(unit))?;
    let path = Decoder::new(&body).text().ok_or_else(malformed)?;
    let get = Method {
        destination: SYSTEMD,
        path: &path,
        interface: "org.freedesktop.DBus.Properties",
        member: "Get",
        signature: "ss",
    };
    let body = bus.call(get, |e| {
        e.text(SCOPE);
        e.text("ControlGroup");
    })?;
    let group = Decoder::new(&body).text_variant().ok_or_else(malformed)?;
    let below = group.strip_prefix('/').filter(|below| !below.is_empty()).ok_or_else(malformed)?;
    Ok(PathBuf::from(below))
}

/// Opens the folders of the scope; on v1 makes those that systemd does not know of, and puts the process into all.
fn folders(
    layout: &Layout,
    request: &Request<'_>,
    unit: &str,
    group: &Path,
    pid: u32,
) -> Result<Manager, Error> {
    let paths = CgroupPaths { unit: Some(unit.to_owned()), ..CgroupPaths::default() };
    let mut manager = Manager { paths, v1: Vec::new(), unified: None };
    let asked = request.resources.map(plan::controllers).unwrap_or_default();
    for hierarchy in layout.v1.iter().filter(|hierarchy| is_needed(hierarchy, &asked)) {
        let folder = super::create::ensure(hierarchy, group)?;
        folder
            .write("cgroup.procs", &pid.to_string())
            .map_err(|errno| folder.error("join", "cgroup.procs", errno))?;
        manager.add_v1(hierarchy, folder);
    }
    if let Some(hierarchy) = &layout.unified {
        let path = hierarchy.mount.join(group);
        if let Some(folder) = Folder::open(&path)? {
            manager.paths.unified = Some(path);
            manager.unified = Some(folder);
        }
    }
    Ok(manager)
}

#[cfg(test)]
mod tests;
