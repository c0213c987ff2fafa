//! `spec` and `features`.

use std::path::PathBuf;
use std::process::ExitCode;

use lexopt::prelude::{Long, Short};
use serde_json::{Value, json};

use super::manage::pretty;
use super::{Failure, Globals, Outcome, help, print, unknown};
use crate::error::{Doing, Error};

/// `spec`: writes an example `config.json`.
pub(super) fn spec(parser: &mut lexopt::Parser, globals: &Globals) -> Outcome {
    let (mut bundle, mut rootless) = (PathBuf::from("."), globals.rootless.unwrap_or(false));
    while let Some(arg) = parser.next()? {
        match arg {
            Short('b') | Long("bundle") => bundle = parser.value()?.into(),
            Long("rootless") => rootless = true,
            Short('h') | Long("help") => return print(&help::of("spec")),
            other => return Err(unknown(other)),
        }
    }
    let path = bundle.join("config.json");
    if path.exists() {
        return Err(Failure::Runtime(Error::invalid(
            "--bundle",
            path.to_string_lossy(),
            "the file exists already",
        )));
    }
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let document = example(rootless.then_some((uid, gid)));
    std::fs::write(&path, format!("{}\n", pretty(&document)?)).doing(|| format!("write {path:?}"))?;
    Ok(ExitCode::SUCCESS)
}

/// The example: a shell with few rights. With `rootless` the ids of the user who runs it, and no network of its own.
fn example(rootless: Option<(u32, u32)>) -> Value {
    let caps = json!(["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]);
    let mut document = json!({
        "ociVersion": crate::OCI_VERSION,
        "process": {
            "terminal": true, "user": {"uid": 0, "gid": 0}, "args": ["sh"],
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
            "cwd": "/",
            "capabilities": {"bounding": caps, "effective": caps, "permitted": caps},
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
            "noNewPrivileges": true
        },
        "root": {"path": "rootfs", "readonly": true},
        "hostname": "brig",
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
             "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
            {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
             "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]},
            {"destination": "/dev/shm", "type": "tmpfs", "source": "shm",
             "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]},
            {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": ["nosuid", "noexec", "nodev"]},
            {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"]},
            {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
             "options": ["nosuid", "noexec", "nodev", "relatime", "ro"]}
        ],
        "linux": {
            "resources": {"devices": [{"allow": false, "access": "rwm"}]},
            "namespaces": [{"type": "pid"}, {"type": "network"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"},
                           {"type": "cgroup"}],
            "maskedPaths": ["/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
                            "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/sys/firmware",
                            "/sys/devices/virtual/powercap", "/proc/scsi"],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]
        }
    });
    if let Some((uid, gid)) = rootless {
        make_rootless(&mut document, uid, gid);
    }
    document
}

fn make_rootless(document: &mut Value, uid: u32, gid: u32) {
    let linux = &mut document["linux"];
    linux["namespaces"] = json!([{"type": "pid"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"}, {"type": "cgroup"}, {"type": "user"}]);
    linux["uidMappings"] = json!([{"containerID": 0, "hostID": uid, "size": 1}]);
    linux["gidMappings"] = json!([{"containerID": 0, "hostID": gid, "size": 1}]);
    linux["resources"] = Value::Null;
    // The group 5 of terminals has no counterpart, and the host's /sys can only be shown.
    document["mounts"][2]["options"] =
        json!(["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]);
    document["mounts"][5] = json!({"destination": "/sys", "type": "none", "source": "/sys",
        "options": ["rbind", "nosuid", "noexec", "nodev", "ro"]});
    document["mounts"].as_array_mut().map(Vec::pop);
}

/// `features`: prints what this runtime can do.
pub(super) fn features(parser: &mut lexopt::Parser) -> Outcome {
    if let Some(arg) = parser.next()? {
        return match arg {
            Short('h') | Long("help") => print(&help::of("features")),
            other => Err(unknown(other)),
        };
    }
    print(&format!("{}\n", pretty(&crate::features::document())?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_are_valid() {
        for rootless in [None, Some((1000, 1000))] {
            let spec: oci::runtime::Spec = serde_json::from_value(example(rootless)).unwrap();
            crate::validate::spec(&spec).unwrap();
            crate::plan::build(&spec, &crate::plan::Facts::default()).unwrap();
        }
    }
}
