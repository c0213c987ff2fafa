//! What a spec must hold before anything is made. Pure: no file is looked at.

use std::collections::{HashMap, HashSet};

use oci::runtime::{LinuxIdMapping, LinuxNamespaceType, Process, Spec};

use crate::error::{Error, Result};
use crate::plan::lists_namespace;

/// Checks the spec of a container.
pub(crate) fn spec(spec: &Spec) -> Result<()> {
    version(spec.version())?;
    let process = spec
        .process()
        .as_ref()
        .ok_or_else(|| Error::invalid("process", "nothing", "a process to run is needed on Linux"))?;
    self::process(process, "process")?;
    namespaces(spec)?;
    names(spec)?;
    mappings(spec)?;
    if let Some(sysctls) = spec.linux().as_ref().and_then(|linux| linux.sysctl().as_ref()) {
        sysctls.iter().try_for_each(|(name, value)| sysctl(spec, name, value))?;
    }
    let linux = spec.linux().as_ref();
    let offsets =
        linux.and_then(|linux| linux.time_offsets().as_ref()).is_some_and(|offsets| !offsets.is_empty());
    if offsets && !lists_namespace(spec, LinuxNamespaceType::Time) {
        return Err(Error::invalid("linux.timeOffsets", "offsets", "a time namespace is needed"));
    }
    let devices = linux.and_then(|linux| linux.net_devices().as_ref());
    devices.map_or(Ok(()), |devices| net_devices(spec, devices.keys()))
}

fn version(text: &str) -> Result<()> {
    let mut parts = text.split(['.', '-', '+']);
    let number = |part: Option<&str>| part.and_then(|part| part.parse::<u32>().ok());
    match (number(parts.next()), number(parts.next()), number(parts.next())) {
        (Some(1), Some(_), Some(_)) => Ok(()),
        _ => Err(Error::invalid("ociVersion", text, "a version 1.x.y of the specification is wanted")),
    }
}

/// Checks a process of a container or of `exec`.
pub(crate) fn process(process: &Process, field: &str) -> Result<()> {
    let args = process.args().as_deref().unwrap_or_default();
    if args.first().is_none_or(String::is_empty) {
        return Err(Error::invalid(format!("{field}.args"), "", "a program to run is needed"));
    }
    let texts = args.iter().chain(process.env().iter().flatten());
    if let Some(text) = texts.into_iter().find(|text| text.contains('\0')) {
        return Err(Error::invalid(
            format!("{field}.args or {field}.env"),
            text.escape_debug().to_string(),
            "no NUL",
        ));
    }
    if !process.cwd().is_absolute() {
        let cwd = process.cwd().to_string_lossy();
        return Err(Error::invalid(format!("{field}.cwd"), cwd, "an absolute path inside the container"));
    }
    let mut kinds = HashSet::new();
    for limit in process.rlimits().iter().flatten() {
        if !kinds.insert(limit.typ().to_string()) {
            return Err(Error::invalid(
                format!("{field}.rlimits"),
                limit.typ().to_string(),
                "each limit once",
            ));
        }
        if limit.soft() > limit.hard() {
            let value = format!("{}: soft {} hard {}", limit.typ(), limit.soft(), limit.hard());
            return Err(Error::invalid(format!("{field}.rlimits"), value, "soft is at most hard"));
        }
    }
    if let Some(score) = process.oom_score_adj().filter(|score| !(-1000..=1000).contains(score)) {
        return Err(Error::invalid(format!("{field}.oomScoreAdj"), score.to_string(), "-1000 to 1000"));
    }
    if let Some(io) = process.io_priority().as_ref().filter(|io| !(0..=7).contains(&io.priority())) {
        return Err(Error::invalid(
            format!("{field}.ioPriority.priority"),
            io.priority().to_string(),
            "0 to 7",
        ));
    }
    Ok(())
}

fn namespaces(spec: &Spec) -> Result<()> {
    let mut seen = HashSet::new();
    let list = spec.linux().as_ref().and_then(|linux| linux.namespaces().as_ref());
    for namespace in list.into_iter().flatten() {
        if !seen.insert(namespace.typ()) {
            return Err(Error::invalid("linux.namespaces", namespace.typ().to_string(), "each kind once"));
        }
        if let Some(path) =
            namespace.path().as_ref().filter(|path| !path.as_os_str().is_empty() && !path.is_absolute())
        {
            return Err(Error::invalid("linux.namespaces.path", path.to_string_lossy(), "an absolute path"));
        }
    }
    Ok(())
}

fn names(spec: &Spec) -> Result<()> {
    let uts = lists_namespace(spec, LinuxNamespaceType::Uts);
    for (field, name) in [("hostname", spec.hostname()), ("domainname", spec.domainname())] {
        let Some(name) = name.as_deref().filter(|name| !name.is_empty()) else { continue };
        if !uts {
            return Err(Error::invalid(
                field,
                name,
                "a uts namespace is needed, the name would be the host's",
            ));
        }
        // __NEW_UTS_LEN of linux/utsname.h.
        if name.len() > 64 || name.contains('\0') {
            return Err(Error::invalid(field, name, "at most 64 bytes"));
        }
    }
    Ok(())
}

fn mappings(spec: &Spec) -> Result<()> {
    let Some(linux) = spec.linux() else { return Ok(()) };
    let maps = |maps: &Option<Vec<LinuxIdMapping>>| maps.as_ref().is_some_and(|maps| !maps.is_empty());
    let given = (maps(linux.uid_mappings()), maps(linux.gid_mappings()));
    let joined = linux.namespaces().iter().flatten().any(|namespace| {
        let path = namespace.path().as_ref().is_some_and(|path| !path.as_os_str().is_empty());
        namespace.typ() == LinuxNamespaceType::User && path
    });
    match (lists_namespace(spec, LinuxNamespaceType::User), given) {
        (false, (true, _) | (_, true)) => {
            Err(Error::invalid("linux.uidMappings", "maps", "a user namespace is needed"))
        }
        (true, (true, true)) if !joined => mapped_user(spec),
        (true, _) if !joined => Err(Error::invalid(
            "linux.uidMappings",
            "",
            "a new user namespace needs maps of users and of groups",
        )),
        _ => Ok(()),
    }
}

/// The user of the process must have a counterpart outside.
fn mapped_user(spec: &Spec) -> Result<()> {
    let (Some(linux), Some(process)) = (spec.linux(), spec.process()) else { return Ok(()) };
    let (uid, gid) = (process.user().uid(), process.user().gid());
    let maps = |maps: &Option<Vec<LinuxIdMapping>>, id| {
        crate::idmap::maps_id(maps.as_deref().unwrap_or_default(), id)
    };
    if !maps(linux.uid_mappings(), uid) {
        return Err(Error::invalid("process.user.uid", uid.to_string(), "an id of linux.uidMappings"));
    }
    if !maps(linux.gid_mappings(), gid) {
        return Err(Error::invalid("process.user.gid", gid.to_string(), "an id of linux.gidMappings"));
    }
    Ok(())
}

fn net_devices<'a>(spec: &Spec, names: impl Iterator<Item = &'a String>) -> Result<()> {
    for name in names {
        if !lists_namespace(spec, LinuxNamespaceType::Network) {
            return Err(Error::invalid("linux.netDevices", name, "a network namespace is needed"));
        }
        link_name("linux.netDevices", name)?;
    }
    Ok(())
}

/// Checks the name of a network link. Source: kernel `net/core/dev.c`, `dev_valid_name`.
pub(crate) fn link_name(field: &str, name: &str) -> Result<()> {
    let illegal = |c: char| c == '/' || c == ':' || c.is_whitespace() || c == '\0';
    if name.is_empty() || name.len() > 15 || name == "." || name == ".." || name.contains(illegal) {
        return Err(Error::invalid(field, name, "a link's name has 1 to 15 bytes without space, / and :"));
    }
    Ok(())
}

/// The kernel parameters of an IPC namespace. Source: kernel `ipc/ipc_sysctl.c`, `ipc/mq_sysctl.c`.
const IPC_SYSCTLS: &[&str] = &[
    "kernel/auto_msgmni",
    "kernel/msg_next_id",
    "kernel/msgmax",
    "kernel/msgmnb",
    "kernel/msgmni",
    "kernel/sem",
    "kernel/sem_next_id",
    "kernel/shm_next_id",
    "kernel/shm_rmid_forced",
    "kernel/shmall",
    "kernel/shmmax",
    "kernel/shmmni",
];

/// Returns the path of a kernel parameter below `/proc/sys`. Dots separate, unless a slash stands before the first of them.
pub(crate) fn sysctl_path(name: &str) -> String {
    match name.find(['.', '/']) {
        Some(at) if name.as_bytes()[at] == b'.' => {
            // In dotted names a slash stands for a dot (`net.ipv4.conf.eth0/1.forwarding`).
            name.chars()
                .map(|c| {
                    if c == '.' {
                        '/'
                    } else if c == '/' {
                        '.'
                    } else {
                        c
                    }
                })
                .collect()
        }
        _ => name.to_owned(),
    }
}

/// Checks that a kernel parameter belongs to a namespace that is the container's own.
fn sysctl(spec: &Spec, name: &str, value: &str) -> Result<()> {
    if crate::unguard::off("sysctl") {
        return Ok(());
    }
    let field = "linux.sysctl";
    let path = sysctl_path(name);
    let clean = path.split('/').all(|part| {
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '@' | ':');
        !part.is_empty() && part != "." && part != ".." && part.chars().all(legal)
    });
    if !clean {
        return Err(Error::invalid(field, name, "a parameter's name, dotted or with slashes"));
    }
    if value.contains(['\0', '\n']) {
        return Err(Error::invalid(
            field,
            format!("{name}={}", value.escape_debug()),
            "one value on one line",
        ));
    }
    let needed = if path.starts_with("net/") {
        LinuxNamespaceType::Network
    } else if path.starts_with("fs/mqueue/") || IPC_SYSCTLS.contains(&path.as_str()) {
        LinuxNamespaceType::Ipc
    } else if path == "kernel/domainname" || path == "kernel/hostname" {
        LinuxNamespaceType::Uts
    } else if path.starts_with("user/") {
        LinuxNamespaceType::User
    } else {
        return Err(Error::invalid(
            field,
            name,
            "the parameter belongs to the whole host, not to a namespace",
        ));
    };
    if path == "kernel/hostname" {
        return Err(Error::invalid(field, name, "the field hostname sets it"));
    }
    if !lists_namespace(spec, needed) {
        let allowed = format!("the container needs a {needed} namespace, else the host's is changed");
        return Err(Error::invalid(field, name, allowed));
    }
    Ok(())
}

/// Returns `time_offsets` as lines for `timens_offsets`.
pub(crate) fn time_offset_lines(offsets: &HashMap<String, oci::runtime::LinuxTimeOffset>) -> Result<String> {
    let mut lines = String::new();
    for (clock, offset) in offsets {
        if clock != "monotonic" && clock != "boottime" {
            return Err(Error::invalid("linux.timeOffsets", clock, "monotonic or boottime"));
        }
        let nanos = offset.nanosecs().unwrap_or(0);
        if nanos >= 1_000_000_000 {
            return Err(Error::invalid("linux.timeOffsets.nanosecs", nanos.to_string(), "0 to 999999999"));
        }
        lines.push_str(&format!("{clock} {} {nanos}\n", offset.secs().unwrap_or(0)));
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(mut change: serde_json::Value, expected: &str) {
        let mut whole = json!({"ociVersion": "1.2.0", "process": {"args": ["true"], "cwd": "/", "user": {"uid": 0, "gid": 0}},
            "linux": {"namespaces": [{"type": "network"}, {"type": "ipc"}]}});
        for (key, value) in change.as_object_mut().unwrap() {
            whole[key] = value.take();
        }
        let parsed: Spec = serde_json::from_value(whole).unwrap();
        match spec(&parsed) {
            Ok(()) => assert_eq!(expected, ""),
            Err(error) => assert!(!expected.is_empty() && error.to_string().contains(expected), "{error}"),
        }
    }

    fn sysctl(name: &str) -> serde_json::Value {
        json!({"linux": {"sysctl": {name: "1"}, "namespaces": [{"type": "network"}, {"type": "ipc"}]}})
    }

    #[test]
    fn fields_are_named_with_what_is_allowed() {
        check(json!({}), "");
        check(json!({"ociVersion": "2.0.0"}), "ociVersion");
        check(json!({"process": null}), "a process to run is needed");
        check(json!({"process": {"args": [], "cwd": "/", "user": {"uid": 0, "gid": 0}}}), "process.args");
        check(json!({"process": {"args": ["a"], "cwd": "x", "user": {"uid": 0, "gid": 0}}}), "process.cwd");
        check(json!({"process": {"args": ["a\u{0}"], "cwd": "/", "user": {"uid": 0, "gid": 0}}}), "no NUL");
        check(json!({"hostname": "a"}), "a uts namespace is needed");
        check(
            json!({"linux": {"uidMappings": [{"containerID": 0, "hostID": 0, "size": 1}]}}),
            "a user namespace",
        );
        check(json!({"linux": {"namespaces": [{"type": "user"}]}}), "needs maps");
        check(json!({"linux": {"namespaces": [{"type": "ipc"}, {"type": "ipc"}]}}), "each kind once");
        check(
            json!({"linux": {"netDevices": {"a/b": {}}, "namespaces": [{"type": "network"}]}}),
            "a link's name",
        );
    }

    /// CVE-2022-0811 and its kin: only parameters of the container's own namespaces, one at a time.
    #[test]
    fn kernel_parameters_of_the_host_are_refused() {
        for name in [
            "net.ipv4.ip_forward",
            "net/ipv4/ip_forward",
            "kernel.shmmax",
            "fs.mqueue.msg_max",
            "net.ipv4.conf.a/1.x",
        ] {
            check(sysctl(name), "");
        }
        for name in [
            "kernel.core_pattern",
            "vm.swappiness",
            "kernel.sysrq",
            "net.ipv4.../../../../kernel/core_pattern",
            "net/../kernel/core_pattern",
            "net.ipv4.ip_forward+kernel.core_pattern",
            "net.",
            "",
            "net.ipv4.ip_forward=1\nkernel.core_pattern",
            "fs.mqueue",
            "kernel/../../../etc/passwd",
            "kernel.shmmax/../core_pattern",
        ] {
            check(sysctl(name), "linux.sysctl");
        }
        check(json!({"linux": {"sysctl": {"net.a": "1"}}}), "needs a net namespace");
        check(
            json!({"linux": {"sysctl": {"kernel.shmmax": "1\n2"}, "namespaces": [{"type": "ipc"}]}}),
            "one value",
        );
    }
}
