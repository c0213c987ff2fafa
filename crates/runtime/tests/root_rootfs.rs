//! CVES.md group 2: whatever an image or a neighbour puts in the way, the root file system is built beneath its root,
//! and what is masked stays masked.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::os::unix::fs::symlink;
use std::path::Path;

use common::{World, wait_for, world};
use serde_json::{Value, json};

/// Returns the files of a tree, to see that nothing was added.
fn listing(path: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(path).unwrap().map(Result::unwrap) {
        found.push(entry.path().to_string_lossy().into_owned());
        if entry.file_type().unwrap().is_dir() {
            found.extend(listing(&entry.path()));
        }
    }
    found.sort();
    found
}

fn mount(spec: &mut Value, mount: Value) {
    spec["mounts"].as_array_mut().unwrap().push(mount);
}

fn bind(source: &Path, destination: &str) -> Value {
    json!({"destination": destination, "type": "bind", "source": source, "options": ["rbind", "rw"]})
}

/// CVE-2019-16884, CVE-2019-19921, CVE-2023-27561, CVE-2023-28642: nothing may stand in for `/proc`.
#[test]
fn root_nothing_stands_in_for_proc() {
    let Some(world) = world() else { return };
    let volume = world.path().join("volume");
    std::fs::create_dir_all(volume.join("self")).unwrap();
    for destination in ["/proc", "/proc/self", "/proc/sys", "/tmp/../proc/1"] {
        let mut spec = world.spec("true");
        mount(&mut spec, bind(&volume, destination));
        world.run(&spec).bad("may be mounted");
    }
    // By way of a link that the image holds.
    symlink("/proc", world.rootfs().join("innocent")).unwrap();
    let mut spec = world.spec("ls /proc/self/attr");
    mount(&mut spec, bind(&volume, "/innocent"));
    world.run(&spec).bad("nothing may be mounted there");
    let mut spec = world.spec("true");
    mount(&mut spec, bind(&volume, "/innocent/self/attr"));
    world.run(&spec).bad("nothing may be mounted there");
}

/// The image replaces `/proc` or `/sys` itself by a link: what is written there later would go elsewhere.
#[test]
fn root_links_in_place_of_proc_and_sys_are_refused() {
    let Some(world) = world() else { return };
    for name in ["proc", "sys"] {
        let place = world.rootfs().join(name);
        std::fs::remove_dir(&place).unwrap();
        symlink("tmp", &place).unwrap();
        world.run(&world.spec("true")).bad("no link");
        std::fs::remove_file(&place).unwrap();
        std::fs::create_dir(&place).unwrap();
    }
}

/// CVE-2025-31133, CVE-2026-41579: the null device of an image is none; what covers a file is the host's.
#[test]
fn root_masked_paths_stay_masked() {
    let Some(world) = world() else { return };
    // Not every kernel has every file.
    let writable = ["/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger", "/proc/irq/default_smp_affinity"];
    let writable: Vec<&str> = writable.into_iter().filter(|path| Path::new(path).exists()).collect();
    let writes: String = writable.iter().map(|path| format!("echo 1 > {path}; ")).collect();
    let script =
        &format!("cat /proc/keys /proc/timer_list | grep -c .; ls -A /sys/firmware; {writes} echo end");
    let check = |out: common::Done| {
        let refused = out.err.matches("Read-only file system").count();
        assert!(out.code == 0 && out.out == "0\nend\n" && refused == writable.len(), "{out:?}");
    };
    let mut spec = world.spec(script);
    check(world.run(&spec));
    // Without a fresh /dev the image's own is used: links in place of devices.
    spec["mounts"]
        .as_array_mut()
        .unwrap()
        .retain(|mount| !mount["destination"].as_str().unwrap().starts_with("/dev"));
    let dev = world.rootfs().join("dev");
    for (name, target) in [("null", "/proc/version"), ("zero", "/etc/shadow"), ("tty", "../../../etc/passwd")]
    {
        symlink(target, dev.join(name)).unwrap();
    }
    check(world.run(&spec));
    let meta = std::fs::symlink_metadata(dev.join("null")).unwrap();
    assert!(!meta.file_type().is_symlink(), "the link was replaced by the device");
    std::fs::remove_dir_all(&dev).unwrap();
    // The folder itself as a link that leaves the root.
    symlink("../../../../..", &dev).unwrap();
    let host = std::fs::metadata("/dev/null").unwrap();
    let done = world.run(&spec);
    assert!(done.code == 0 || done.err.contains("cannot"), "{done:?}");
    assert_eq!(
        std::os::unix::fs::MetadataExt::ino(&host),
        std::os::unix::fs::MetadataExt::ino(&std::fs::metadata("/dev/null").unwrap())
    );
    assert!(!Path::new("/null").exists() && !Path::new("/ptmx").exists());
}

/// CVE-2025-52565: `/dev/console` and `/dev/pts/ptmx` as links.
#[test]
fn root_a_hostile_console_is_refused() {
    let Some(world) = world() else { return };
    let mut spec = world.spec("true");
    spec["process"]["terminal"] = json!(true);
    let terminal_run = |spec: &Value| {
        world.write(spec);
        world.brig(&["run", &world.id()])
    };
    assert_eq!(terminal_run(&spec).code, 0);
    spec["mounts"].as_array_mut().unwrap().retain(|mount| mount["destination"] != "/dev");
    let dev = world.rootfs().join("dev");
    symlink("/proc/version", dev.join("console")).unwrap();
    terminal_run(&spec).bad("/dev/console");
    std::fs::remove_file(dev.join("console")).unwrap();
    spec["mounts"].as_array_mut().unwrap().retain(|mount| mount["destination"] != "/dev/pts");
    std::fs::create_dir_all(dev.join("pts")).unwrap();
    std::fs::write(dev.join("pts/ptmx"), "no terminal").unwrap();
    terminal_run(&spec).bad("ptmx");
}

/// CVE-2023-25809, CVE-2022-0492: the control groups cannot be written from inside.
#[test]
fn root_control_groups_cannot_be_written() {
    let Some(world) = world() else { return };
    let script = "for f in $(busybox find /sys/fs/cgroup -type f); do (echo 1 > $f) 2>/dev/null && echo wrote $f; done; \
        busybox mkdir /sys/fs/cgroup/x 2>/dev/null && echo made; busybox find /sys/fs/cgroup -name cgroup.procs | grep -q . && echo end";
    let group = |options: Value| json!({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": options});
    for namespaces in [true, false] {
        let mut spec = world.spec(script);
        mount(&mut spec, group(json!(["nosuid", "noexec", "nodev", "ro"])));
        if !namespaces {
            spec["linux"]["namespaces"]
                .as_array_mut()
                .unwrap()
                .retain(|namespace| namespace["type"] != "cgroup");
        }
        assert_eq!(world.run(&spec).good(), "end\n");
    }
    // Without `ro` they can, which shows that it is the option that forbids it. One harmless file: the others would stop
    // the container.
    let one = "for f in $(busybox find /sys/fs/cgroup -name notify_on_release -o -name cgroup.subtree_control); do \
        (echo > $f; echo 0 > $f) 2>/dev/null && echo wrote; done; true";
    let mut spec = world.spec(one);
    mount(&mut spec, group(json!(["nosuid", "noexec", "nodev"])));
    assert!(world.run(&spec).out.contains("wrote"));
}

/// CVE-2024-5154 and its kin: every file that the runtime touches is a link to something of the host.
#[test]
fn root_an_image_of_links_changes_nothing_outside() {
    let Some(world) = world() else { return };
    let canary = world.path().join("canary");
    std::fs::create_dir(&canary).unwrap();
    let rootfs = world.rootfs();
    std::fs::remove_dir(rootfs.join("etc")).unwrap();
    std::fs::remove_dir(rootfs.join("tmp")).unwrap();
    symlink(&canary, rootfs.join("etc")).unwrap();
    symlink("../../../../../..", rootfs.join("tmp")).unwrap();
    symlink(canary.join("x"), rootfs.join("work")).unwrap();
    let mut spec = world.spec("true");
    let deep = format!("/tmp{}/deep", canary.display());
    mount(&mut spec, json!({"destination": deep, "type": "tmpfs", "source": "tmpfs"}));
    spec["process"]["cwd"] = json!("/work/dir");
    spec["linux"]["maskedPaths"] = json!(["/etc/passwd", "/tmp/etc/shadow"]);
    spec["linux"]["readonlyPaths"] = json!(["/tmp", "/etc"]);
    let _ = world.run(&spec);
    assert!(listing(&canary).is_empty(), "{:?}", listing(&canary));
}

/// Kernel parameters of the host, and values that hide a second one.
#[test]
fn root_only_parameters_of_the_container_are_set() {
    let Some(world) = world() else { return };
    let mut spec = world.spec("cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/shmmni");
    let host = std::fs::read_to_string("/proc/sys/kernel/shmmni").unwrap();
    spec["linux"]["sysctl"] = json!({"net.ipv4.ip_forward": "1", "kernel.shmmni": "77"});
    assert_eq!(world.run(&spec).good(), "1\n77\n");
    assert_eq!(std::fs::read_to_string("/proc/sys/kernel/shmmni").unwrap(), host);
    for (name, value) in
        [("kernel.core_pattern", "|/x"), ("net.x/../../kernel/sysrq", "1"), ("kernel.shmmni", "1\n2")]
    {
        spec["linux"]["sysctl"] = json!({name: value});
        world.run(&spec).bad("linux.sysctl");
    }
    // The host's own network is the host's.
    spec["linux"]["sysctl"] = json!({"net.ipv4.ip_forward": "1"});
    let namespaces = spec["linux"]["namespaces"].as_array_mut().unwrap();
    namespaces.retain(|namespace| namespace["type"] != "network");
    namespaces.push(json!({"type": "network", "path": "/proc/self/ns/net"}));
    world.run(&spec).bad("the host's");
}

#[test]
fn root_options_of_mounts_are_applied() {
    let Some(world) = world() else { return };
    let volume = world.path().join("volume");
    std::fs::create_dir_all(volume.join("sub")).unwrap();
    std::fs::write(volume.join("file"), "content").unwrap();
    std::fs::create_dir_all(world.rootfs().join("full")).unwrap();
    std::fs::write(world.rootfs().join("full/file"), "copied up").unwrap();
    std::fs::write(world.path().join("single"), "one file").unwrap();
    let script = "cat /ro/file; echo; touch /ro/x 2>&1 | grep -o Read-only; cat /single; echo; cat /full/file; echo; \
        grep -E ' /(ro|full|noexec) ' /proc/self/mountinfo | busybox awk '{print $5, $6}' | busybox sort; touch /newroot 2>&1 | grep -o Read-only";
    let mut spec = world.spec(script);
    spec["root"]["readonly"] = json!(true);
    mount(
        &mut spec,
        json!({"destination": "/ro", "type": "bind", "source": volume, "options": ["rbind", "ro", "nosuid"]}),
    );
    mount(
        &mut spec,
        json!({"destination": "/single", "type": "bind", "source": world.path().join("single"), "options": ["bind"]}),
    );
    mount(
        &mut spec,
        json!({"destination": "/full", "type": "tmpfs", "source": "tmpfs", "options": ["tmpcopyup", "nodev", "size=1m"]}),
    );
    mount(
        &mut spec,
        json!({"destination": "/noexec", "type": "bind", "source": volume, "options": ["rbind", "rro", "noexec", "noatime"]}),
    );
    let out = world.run(&spec).good();
    let expected = "content\nRead-only\none file\ncopied up\n/full rw,nodev,relatime\n\
        /noexec ro,noexec,noatime\n/ro ro,nosuid,relatime\nRead-only\n";
    assert_eq!(out, expected);
}

#[test]
fn root_idmapped_mounts_map_owners() {
    let Some(world) = world() else { return };
    let volume = world.path().join("volume");
    std::fs::create_dir(&volume).unwrap();
    std::os::unix::fs::chown(&volume, Some(1000), Some(1000)).unwrap();
    let mut spec = world.spec("stat -c %u:%g /mapped");
    // On disk 1000, inside 5000.
    let map = json!([{"containerID": 1000, "hostID": 5000, "size": 10}]);
    mount(
        &mut spec,
        json!({"destination": "/mapped", "type": "bind", "source": volume, "options": ["bind"],
        "uidMappings": map, "gidMappings": map}),
    );
    let done = world.run(&spec);
    if done.err.contains("map the ids") {
        common::skip("the file system cannot be idmapped");
        return;
    }
    assert_eq!(done.good(), "5000:5000\n");
}

#[test]
fn root_a_volume_shared_with_the_host_shares_mounts() {
    let Some(world) = world() else { return };
    let id = world.start(&world.spec("sleep 60"));
    wait_for("the container", || world.brig(&["state", &id]).out.contains("running"));
    world_is_clean(&world, &id);
}

/// Nothing of a container shows in the host's mount table.
fn world_is_clean(world: &World, id: &str) {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(&*world.bundle().to_string_lossy()), "{id}");
}

/// A mount that goes with the test.
struct Shared<'p>(&'p Path);

impl<'p> Shared<'p> {
    fn over(path: &'p Path) -> Self {
        let shared = Self(path);
        shared.run(&["mount", "--bind"], true);
        shared.run(&["mount", "--make-shared"], false);
        shared
    }

    fn run(&self, words: &[&str], twice: bool) {
        let mut command = std::process::Command::new(words[0]);
        command.args(&words[1..]).args(std::iter::repeat_n(self.0, 1 + usize::from(twice)));
        assert!(command.current_dir("/").status().unwrap().success(), "{words:?}");
    }
}

impl Drop for Shared<'_> {
    fn drop(&mut self) {
        self.run(&["umount", "--lazy"], false);
    }
}

/// An engine that keeps its data on a shared mount asks for "rslave" when a container is to see that folder.
#[test]
fn root_a_root_file_system_on_a_shared_mount_takes_any_propagation() {
    let Some(world) = world() else { return };
    let rootfs = world.rootfs();
    let _shared = Shared::over(&rootfs);
    for word in ["rslave", "rshared", "rprivate"] {
        let mut spec = world.spec("true");
        spec["linux"]["rootfsPropagation"] = word.into();
        world.run(&spec).good();
    }
}
