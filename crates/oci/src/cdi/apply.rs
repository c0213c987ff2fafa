//! Puts what devices add into a document of the runtime specification. Pure.

use serde_json::{Value, json};

use super::{DeviceNode, Edits, Mount};

/// Adds `edits` to `document`. The types and numbers of its device nodes must have been filled in.
///
/// A later value of a variable, and a later node or mount at the same place, replaces the earlier. Hooks get an
/// environment of their own, an empty one when they list none: never the container's (CVE-2025-23266).
pub fn apply(document: &mut Value, edits: &Edits) {
    for entry in &edits.env {
        set_variable(list(&mut document["process"]["env"]), entry);
    }
    let user = document["process"]["user"].clone();
    for node in &edits.device_nodes {
        add_node(document, node, &user);
    }
    for device in &edits.net_devices {
        document["linux"]["netDevices"][&device.host_interface_name] = json!({ "name": device.name });
    }
    for mount in &edits.mounts {
        add_mount(list(&mut document["mounts"]), mount);
    }
    for hook in &edits.hooks {
        let mut value = json!({ "path": hook.path, "args": hook.args, "env": hook.env });
        if hook.args.is_empty() {
            value["args"] = json!([hook.path]);
        }
        if let Some(timeout) = hook.timeout {
            value["timeout"] = json!(timeout);
        }
        list(&mut document["hooks"][&hook.hook_name]).push(value);
    }
    if let Some(rdt) = &edits.intel_rdt {
        document["linux"]["intelRdt"] = json!(rdt);
    }
    let groups = list(&mut document["process"]["user"]["additionalGids"]);
    for gid in edits.additional_gids.iter().filter(|gid| **gid != 0).map(|gid| json!(gid)) {
        if !groups.contains(&gid) {
            groups.push(gid);
        }
    }
}

/// Returns `value` as a list, and makes it one.
fn list(value: &mut Value) -> &mut Vec<Value> {
    if !value.is_array() {
        *value = json!([]);
    }
    value.as_array_mut().expect("it was made a list just above")
}

fn set_variable(env: &mut Vec<Value>, entry: &str) {
    let name = |text: &str| text.split('=').next().unwrap_or_default().to_owned();
    let wanted = name(entry);
    match env.iter_mut().find(|old| old.as_str().is_some_and(|old| name(old) == wanted)) {
        Some(old) => *old = json!(entry),
        None => env.push(json!(entry)),
    }
}

fn add_node(document: &mut Value, node: &DeviceNode, user: &Value) {
    let id =
        |given: Option<u32>, field: &str| given.map_or_else(|| user[field].as_u64().unwrap_or(0), u64::from);
    let kind = node.kind.as_deref().unwrap_or("c");
    let mut value =
        json!({ "path": node.path, "type": kind, "uid": id(node.uid, "uid"), "gid": id(node.gid, "gid") });
    if let Some(mode) = node.file_mode {
        value["fileMode"] = json!(mode & 0o7777);
    }
    if kind != "p" {
        value["major"] = json!(node.major);
        value["minor"] = json!(node.minor);
        let access = node.permissions.as_deref().filter(|access| !access.is_empty()).unwrap_or("rwm");
        let kind = if kind == "b" { "b" } else { "c" };
        list(&mut document["linux"]["resources"]["devices"]).push(
            json!({ "allow": true, "type": kind, "major": node.major, "minor": node.minor, "access": access }),
        );
    }
    let devices = list(&mut document["linux"]["devices"]);
    devices.retain(|device| device["path"] != value["path"]);
    devices.push(value);
}

fn add_mount(mounts: &mut Vec<Value>, mount: &Mount) {
    let mut options = mount.options.clone();
    let kind = mount.kind.as_deref().filter(|kind| !kind.is_empty());
    let binds = options.iter().any(|option| option == "bind" || option == "rbind");
    if kind.is_none() && !binds {
        options.insert(0, "bind".to_owned());
    }
    mounts.retain(|old| old["destination"] != mount.container_path.as_str());
    mounts.push(json!({
        "destination": mount.container_path,
        "type": kind.unwrap_or("bind"),
        "source": mount.host_path,
        "options": options,
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_lands_in_its_place() {
        let mut document = json!({
            "process": {"env": ["A=old", "LD_PRELOAD=/evil.so"], "user": {"uid": 1000, "gid": 7, "additionalGids": [7]}},
            "mounts": [{"destination": "/opt", "type": "bind", "source": "/old"}],
            "linux": {"devices": [{"path": "/dev/x", "type": "c"}], "resources": {"devices": [{"allow": false}]}}
        });
        let edits: Edits = serde_json::from_value(json!({
            "env": ["A=new", "B=1"],
            "deviceNodes": [{"path": "/dev/x", "type": "c", "major": 5, "minor": 6, "permissions": "r", "fileMode": 438},
                {"path": "/dev/p", "type": "p", "uid": 0}],
            "netDevices": [{"hostInterfaceName": "ens1", "name": "eth7"}],
            "mounts": [{"hostPath": "/new", "containerPath": "/opt", "options": ["ro"]},
                {"hostPath": "tmpfs", "containerPath": "/t", "type": "tmpfs"}],
            "hooks": [{"hookName": "createContainer", "path": "/bin/h", "timeout": 3}],
            "intelRdt": {"closID": "x"},
            "additionalGids": [0, 7, 9]
        }))
        .unwrap();
        apply(&mut document, &edits);
        let expected = json!({
            "process": {"env": ["A=new", "LD_PRELOAD=/evil.so", "B=1"],
                "user": {"uid": 1000, "gid": 7, "additionalGids": [7, 9]}},
            "mounts": [{"destination": "/opt", "type": "bind", "source": "/new", "options": ["bind", "ro"]},
                {"destination": "/t", "type": "tmpfs", "source": "tmpfs", "options": []}],
            "hooks": {"createContainer": [{"path": "/bin/h", "args": ["/bin/h"], "env": [], "timeout": 3}]},
            "linux": {
                "devices": [{"path": "/dev/x", "type": "c", "uid": 1000, "gid": 7, "fileMode": 438, "major": 5, "minor": 6},
                    {"path": "/dev/p", "type": "p", "uid": 0, "gid": 7}],
                "netDevices": {"ens1": {"name": "eth7"}},
                "intelRdt": {"closID": "x"},
                "resources": {"devices": [{"allow": false},
                    {"allow": true, "type": "c", "major": 5, "minor": 6, "access": "r"}]}}
        });
        assert_eq!(document, expected);
    }
}
