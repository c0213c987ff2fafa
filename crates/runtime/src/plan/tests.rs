//! What specs become, and which are refused.

use super::*;
use options::PropagationWord;

fn spec(json: serde_json::Value) -> Spec {
    serde_json::from_value(json).unwrap()
}

fn facts() -> Facts {
    Facts { bundle: "/bundle".into(), ..Facts::default() }
}

#[test]
fn mounts_devices_masks_and_the_root_come_in_order() {
    let spec = spec(serde_json::json!({
        "ociVersion": "1.2.0", "root": {"path": "rootfs", "readonly": true},
        "mounts": [
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
            {"destination": "/data", "type": "bind", "source": "vol", "options": ["rbind", "ro", "rslave"]}],
        "linux": {"namespaces": [{"type": "mount"}], "maskedPaths": ["/proc/kcore"], "readonlyPaths": ["/proc/bus"]}
    }));
    let plan = build(&spec, &facts()).unwrap();
    assert!(matches!(&plan.ops[0], SetupOp::Mount(op) if op.options.data == ["mode=755"]));
    assert!(matches!(&plan.ops[1], SetupOp::Mount(MountOp { kind: MountKind::Bind(0), .. })));
    assert_eq!(plan.binds[0].path, Path::new("/bundle/vol"));
    assert_eq!(plan.binds[0].options.propagation, Some((PropagationWord::Slave, true)));
    assert!(matches!(&plan.ops[2], SetupOp::MakeNode(node) if node.path == Path::new("/dev/null")));
    let tail = &plan.ops[plan.ops.len() - 3..];
    let (ro, mask) = (SetupOp::ReadonlyPath("/proc/bus".into()), SetupOp::Mask("/proc/kcore".into()));
    assert_eq!(tail, [ro, mask, SetupOp::ReadonlyRoot]);
}

#[test]
fn user_namespaces_bind_their_devices() {
    let spec = spec(serde_json::json!({"ociVersion": "1.2.0", "linux": {"namespaces": [{"type": "mount"}]}}));
    let plan = build(&spec, &Facts { user_namespace: true, ..facts() }).unwrap();
    assert!(matches!(&plan.ops[0], SetupOp::BindNode { bind: 0, .. }));
    assert_eq!(plan.binds.len(), 6);
}

#[test]
fn hostile_and_malformed_mounts_are_refused() {
    for (mount, expected) in [
        (
            serde_json::json!({"destination": "/proc/sys", "type": "tmpfs"}),
            "nothing may be mounted inside /proc",
        ),
        (serde_json::json!({"destination": "/a/../proc/self", "type": "tmpfs"}), "inside /proc"),
        (serde_json::json!({"destination": "/a/..", "type": "tmpfs"}), "a place below the root"),
        (serde_json::json!({"destination": "/a", "type": "bind"}), "a bind mount needs a path"),
        (serde_json::json!({"destination": "/a"}), "a file system type"),
        (serde_json::json!({"destination": "/a", "type": "tmpfs", "options": ["idmap"]}), "only bind mounts"),
        (
            serde_json::json!({"destination": "/a", "type": "bind", "source": "/", "options": ["bnd"]}),
            "unknown option",
        ),
        (serde_json::json!({"destination": "/a", "type": "proc", "options": ["tmpcopyup"]}), "only a tmpfs"),
        (serde_json::json!({"destination": "/a", "type": "ext4", "options": ["iversion"]}), "no such option"),
    ] {
        let spec = spec(serde_json::json!({"ociVersion": "1.2.0", "mounts": [mount]}));
        let error = build(&spec, &facts()).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}
