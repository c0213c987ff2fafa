//! Devices that vendors describe (CDI, `--gpus`), and limits of single devices.

use testkit::{Done, World};

/// Writes a document of the Container Device Interface, and the configuration that names its folder.
struct Described {
    world: World,
    config: String,
}

impl Described {
    fn new() -> Option<Self> {
        let world = World::root()?;
        let folder = world.path("cdi");
        std::fs::create_dir(&folder).expect("make a folder");
        let config = world.path("brig.toml");
        let text =
            format!("[devices]\ncdi_dirs = [{:?}, \"/no/such/folder\"]\n", folder.display().to_string());
        std::fs::write(&config, text).expect("write");
        let config = config.display().to_string();
        Some(Self { world, config })
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.world.path("cdi").join(name), text).expect("write");
    }

    #[track_caller]
    fn brig(&self, args: &[&str]) -> Done {
        self.world.brig(["--config", &self.config].iter().chain(args).copied())
    }
}

#[test]
fn root_cdi_devices_bring_all_they_describe() {
    let Some(described) = Described::new() else { return };
    let world = &described.world;
    if world.is_plain() {
        eprintln!("SKIP for root only: a device of a plain user's has the mode that it has on the host");
        return;
    }
    let (hook, told) = (world.path("hook"), world.path("told"));
    // What a hook of the machine sees of its environment: nothing of the image's (CVE-2025-23266).
    let script = format!("#!/bin/sh\n/usr/bin/env > {}.env\ncat > {}\n", told.display(), told.display());
    std::fs::write(&hook, script).expect("write");
    std::fs::set_permissions(&hook, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("chmod");
    std::fs::write(world.path("library"), "the library").expect("write");
    described.write(
        "vendor.yaml",
        &format!(
            "cdiVersion: 0.8.0\nkind: vendor.com/accel\ncontainerEdits:\n  env: [VENDOR=here]\ndevices:\n\
             - name: \"0\"\n  containerEdits:\n    env: [WHICH=zero]\n    additionalGids: [4711]\n    deviceNodes:\n\
             \x20   - {{path: /dev/accel0, hostPath: /dev/zero, permissions: r, fileMode: 0640}}\n    mounts:\n\
             \x20   - {{hostPath: {library}, containerPath: /opt/lib/library, options: [ro, nosuid]}}\n    hooks:\n\
             \x20   - {{hookName: createContainer, path: {hook}}}\n\
             - name: all\n  containerEdits: {{env: [WHICH=all]}}\n",
            library = world.path("library").display(),
            hook = hook.display()
        ),
    );
    let script = "echo $VENDOR $WHICH; cat /opt/lib/library; echo; touch /opt/lib/library 2>&1 | grep -o Read-only; \
        stat -c '%t:%T %a' /dev/accel0; dd if=/dev/accel0 bs=1 count=1 2>/dev/null | wc -c; id -G | grep -o 4711";
    let args = [
        "run",
        "--rm",
        "-e",
        "LD_PRELOAD=/evil.so",
        "--device",
        "vendor.com/accel=0",
        "tiny",
        "sh",
        "-c",
        script,
    ];
    let out = described.brig(&args).ok();
    assert_eq!(out, "here zero\nthe library\nRead-only\n1:5 640\n1\n4711");
    let env = std::fs::read_to_string(world.path("told.env")).expect("the hook ran");
    assert!(!env.contains("LD_PRELOAD") && !env.contains("VENDOR"), "{env}");
    assert!(std::fs::read_to_string(told).expect("the hook's input").contains("\"pid\""));
    let both = [
        "run",
        "--rm",
        "--device",
        "vendor.com/accel=0",
        "--device",
        "vendor.com/accel=all",
        "tiny",
        "sh",
        "-c",
        "echo $WHICH",
    ];
    assert_eq!(described.brig(&both).ok(), "all");
}

#[test]
fn root_cdi_devices_that_are_not_there() {
    let Some(described) = Described::new() else { return };
    let run = |device: &str| described.brig(&["run", "--name", "box", "--device", device, "tiny", "true"]);
    run("vendor.com/accel=0").refuses(125, &["unresolvable CDI devices vendor.com/accel=0", "no CDI device"]);
    let document = |value: &str| {
        format!(
            "{{\"cdiVersion\":\"1.0.0\",\"kind\":\"vendor.com/accel\",\"devices\":[{{\"name\":\"0\",\"containerEdits\":{{\"env\":[\"V={value}\"]}}}}]}}"
        )
    };
    described.write("one.json", &document("1"));
    run("vendor.com/accel=1").refuses(125, &["unresolvable", "known are vendor.com/accel=0"]);
    described.write("two.json", &document("2"));
    run("vendor.com/accel=0")
        .refuses(125, &["conflicting device vendor.com/accel=0", "one.json", "two.json"]);
    run("vendor.com/../x=0").refuses(125, &["CDI kind"]);
    described.brig(&["run", "--gpus", "all", "tiny", "true"]).refuses(125, &["nvidia.com/gpu=all"]);
    described.brig(&["run", "--gpus", "many", "tiny", "true"]).refuses(125, &["invalid count (many)"]);
    described
        .brig(&["run", "--gpus", "driver=x", "tiny", "true"])
        .refuses(125, &["could not select device driver"]);
    assert_eq!(described.brig(&["ps", "-aq"]).ok(), "", "nothing was made");
}

#[test]
fn root_gpus_are_cdi_devices() {
    let Some(described) = Described::new() else { return };
    described.write(
        "nvidia.yaml",
        "cdiVersion: 0.5.0\nkind: nvidia.com/gpu\ndevices:\n- {name: \"0\", containerEdits: {env: [GPU0=1]}}\n\
         - {name: \"1\", containerEdits: {env: [GPU1=1]}}\n- {name: all, containerEdits: {env: [GPU=all]}}\n",
    );
    let env = |gpus: &str| {
        described
            .brig(&[
                "run",
                "--rm",
                "--gpus",
                gpus,
                "tiny",
                "sh",
                "-c",
                "env | grep GPU | sort | tr '\\n' ' '",
            ])
            .ok()
    };
    assert_eq!(env("all"), "GPU=all");
    assert_eq!(env("2"), "GPU0=1 GPU1=1");
    assert_eq!(env("\"device=1\",capabilities=utility"), "GPU1=1");
    described.brig(&["create", "--name", "box", "--gpus", "all", "tiny"]).ok();
    let shown = described.brig(&["inspect", "-f", "{{json .HostConfig.DeviceRequests}}", "box"]).ok();
    assert_eq!(shown, r#"[{"Driver":"","Count":-1,"DeviceIDs":null,"Capabilities":[["gpu"]],"Options":{}}]"#);
}

#[test]
fn root_device_rules_decide_what_can_be_opened() {
    let Some(world) = World::root() else { return };
    let script = "mknod /tmp/kmsg c 1 11 && exec 3< /tmp/kmsg && echo opened";
    let run = |more: &[&str]| world.brig([&["run", "--rm"], more, &["tiny", "sh", "-c", script]].concat());
    assert!(!run(&[]).stdout.contains("opened"));
    let allowed = run(&["--cap-add", "SYSLOG", "--device-cgroup-rule", "c 1:11 rm"]);
    assert!(allowed.stdout.contains("opened"), "{allowed:?}");
    run(&["--device-cgroup-rule", "c 1:x r"]).refuses(125, &["invalid device cgroup format 'c 1:x r'"]);
}

#[test]
fn root_the_parent_group_can_be_chosen() {
    let Some(world) = World::root() else { return };
    let args = [
        "run",
        "--rm",
        "--cgroupns",
        "host",
        "--cgroup-parent",
        "/brig-test/below",
        "tiny",
        "cat",
        "/proc/self/cgroup",
    ];
    let groups = world.brig(args).ok();
    assert!(groups.contains(":/brig-test/below/"), "{groups}");
    // A parent is its chooser's: Brig leaves it.
    world.sh_as_root("find /sys/fs/cgroup -depth -type d -path '*/brig-test*' -exec rmdir {} +").ok();
    for wrong in ["/../../up", "a/../../../b"] {
        let done = world.brig(["run", "--rm", "--cgroup-parent", wrong, "tiny", "true"]);
        assert_eq!(done.code, 125, "{done:?}");
    }
    assert_eq!(world.brig(["ps", "-aq"]).ok(), "");
}
