//! CVES.md groups 1 and 2, each twice: with the guard nothing happens, without it the harm is seen. `docs/known-holes.md`
//! lists them with their switches.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use common::{proves, races, world};
use rustix::fs::{CWD, RenameFlags};
use serde_json::{Value, json};

fn mount(spec: &mut Value, mount: Value) {
    spec["mounts"].as_array_mut().unwrap().push(mount);
}

fn first_mount(spec: &mut Value, mount: Value) {
    spec["mounts"].as_array_mut().unwrap().insert(0, mount);
}

fn bind(source: &Path, destination: &str) -> Value {
    json!({"destination": destination, "type": "bind", "source": source, "options": ["rbind", "rw"]})
}

/// Leaves `/dev` to the image.
fn without_dev(spec: &mut Value) {
    let mounts = spec["mounts"].as_array_mut().unwrap();
    mounts.retain(|mount| !mount["destination"].as_str().unwrap().starts_with("/dev"));
}

/// Exchanges two names of a volume as fast as it can, as a neighbour does that shares it; neither is ever missing.
struct Swapper {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Swapper {
    fn start(one: PathBuf, other: PathBuf) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let swap = move || {
            while !stopped.load(Ordering::Relaxed) {
                rustix::fs::renameat_with(CWD, &one, CWD, &other, RenameFlags::EXCHANGE).unwrap();
            }
        };
        Self { stop, thread: Some(std::thread::spawn(swap)) }
    }
}

impl Drop for Swapper {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// CVE-2021-30465, CVE-2024-45310: the target of a mount is exchanged for a link that leads to the host.
#[test]
fn root_swapped_mount_targets_stay_inside() {
    let Some(world) = world() else { return };
    let canary = world.path().join("canary");
    let volume = world.path().join("volume");
    std::fs::create_dir_all(volume.join("target")).unwrap();
    std::fs::create_dir(&canary).unwrap();
    symlink(&canary, volume.join("other")).unwrap();
    let _neighbour = Swapper::start(volume.join("target"), volume.join("other"));
    let mut spec = world.spec("true");
    mount(&mut spec, bind(&volume, "/vol"));
    mount(&mut spec, json!({"destination": "/vol/target/made", "type": "tmpfs", "source": "tmpfs"}));
    let mut ran = 0;
    proves("beneath", |off| {
        (0..races()).any(|_| {
            ran += usize::from(world.run_without(&spec, off).code == 0);
            let mounted = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
            assert!(!mounted.contains(&*canary.to_string_lossy()), "something was mounted on the host");
            std::fs::read_dir(&canary).unwrap().count() > 0
        })
    });
    assert!(ran > 0, "no start ever went through");
}

/// CVE-2025-31133, CVE-2026-41579: the image's null device is a link to something of the kernel's, and masks with it.
#[test]
fn root_the_null_device_of_an_image_masks_nothing() {
    let Some(world) = world() else { return };
    let dev = world.rootfs().join("dev");
    let mut spec = world.spec("cat /proc/keys; true");
    spec["linux"]["maskedPaths"] = json!(["/proc/keys"]);
    without_dev(&mut spec);
    proves("masks,nodes", |off| {
        let _ = std::fs::remove_file(dev.join("null"));
        symlink("/proc/version", dev.join("null")).unwrap();
        // In place of the mask stands what the image chose, and it could have chosen a file that matters.
        world.run_without(&spec, off).good().contains("Linux version")
    });
}

/// CVE-2025-52565: the image's `/dev/console` is a link, and the terminal is mounted where it leads.
#[test]
fn root_the_console_does_not_land_on_procfs() {
    let Some(world) = world() else { return };
    let mut spec = world.spec("[ -c /proc/version ] && touch /tmp/covered; true");
    spec["process"]["terminal"] = json!(true);
    spec["mounts"].as_array_mut().unwrap().retain(|mount| mount["destination"] != "/dev");
    symlink("/proc/version", world.rootfs().join("dev/console")).unwrap();
    proves("console", |off| {
        let done = world.run_without(&spec, off);
        let covered = world.rootfs().join("tmp/covered").exists();
        assert!(covered || done.err.contains("/dev/console"), "{done:?}");
        covered
    });
}

/// CVE-2019-16884, CVE-2025-52881: a volume stands in for `/proc` and takes what the runtime writes there.
#[test]
fn root_what_is_written_to_proc_reaches_the_kernel() {
    let Some(world) = world() else { return };
    let volume = world.path().join("volume");
    let fake = volume.join("sys/net/ipv4/ip_forward");
    std::fs::create_dir_all(fake.parent().unwrap()).unwrap();
    symlink("/proc", world.rootfs().join("innocent")).unwrap();
    let mut spec = world.spec("true");
    spec["linux"]["sysctl"] = json!({"net.ipv4.ip_forward": "1"});
    spec["linux"]["readonlyPaths"] = json!([]);
    mount(&mut spec, bind(&volume, "/innocent"));
    let attack = |off: &str| {
        std::fs::write(&fake, "untouched").unwrap();
        let done = world.run_without(&spec, off);
        (std::fs::read_to_string(&fake).unwrap().starts_with('1'), done)
    };
    proves("proc,procfs", |off| attack(off).0);
    // Each of the two guards is enough: the mount is refused, or the write goes to a procfs of the runtime's own.
    assert!(!attack("procfs").0);
    assert!(!attack("proc").0);
}

/// CVE-2023-27561, CVE-2023-28642: `/proc` of the image leads into a volume in which a neighbour exchanges folders, so
/// that procfs is mounted in one and protected in the other.
#[test]
fn root_proc_is_mounted_at_its_own_place() {
    let Some(world) = world() else { return };
    let volume = world.path().join("volume");
    for name in ["one", "two"] {
        std::fs::create_dir_all(volume.join(name)).unwrap();
    }
    symlink("one", volume.join("target")).unwrap();
    symlink("two", volume.join("other")).unwrap();
    let _neighbour = Swapper::start(volume.join("target"), volume.join("other"));
    std::fs::remove_dir(world.rootfs().join("proc")).unwrap();
    symlink("/vol/target", world.rootfs().join("proc")).unwrap();
    let script = "for d in /vol/one /vol/two; do if [ -e $d/self/mountinfo ]; then \
        grep -q \" $d/sys ro\" $d/self/mountinfo || echo unprotected; fi; done";
    let mut spec = world.spec(script);
    first_mount(&mut spec, bind(&volume, "/vol"));
    proves("links", |off| {
        (0..4 * races()).any(|_| world.run_without(&spec, off).out.contains("unprotected"))
    });
}

/// CVE-2022-24769, CVE-2022-27649, CVE-2022-29162: inheritable capabilities let a file of the image give rights to a user
/// who has none.
#[test]
fn root_files_of_an_image_give_no_rights_by_inheritance() {
    let Some(world) = world() else { return };
    let file = world.rootfs().join("inherit/busybox");
    std::fs::create_dir(file.parent().unwrap()).unwrap();
    std::fs::copy("/bin/busybox", &file).unwrap();
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o755)).unwrap();
    // `cap_chown+ei`. Source: `struct vfs_cap_data` of linux/capability.h, revision 2.
    let words: [u32; 5] = [0x0200_0001, 0, 1, 0, 0];
    let value: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    rustix::fs::setxattr(&file, "security.capability", &value, rustix::fs::XattrFlags::empty()).unwrap();
    let mut spec = world.spec("/inherit/busybox grep CapEff /proc/self/status");
    spec["process"]["user"] = json!({"uid": 1000, "gid": 1000});
    proves("caps", |off| !world.run_without(&spec, off).good().contains("0000000000000000"));
    // The same for a process that joins.
    let id = world.start(&world.spec("sleep 60"));
    proves("caps", |off| {
        let mut exec = world.command(&[
            "exec",
            "-u",
            "1000",
            &id,
            "/bin/sh",
            "-c",
            "/inherit/busybox grep CapEff /proc/self/status",
        ]);
        let out = common::Done::of(exec.env("BRIG_UNGUARD", off).output().unwrap()).good();
        !out.contains("0000000000000000")
    });
}

/// CVE-2026-47262, CVE-2024-9676: the list of users is no list.
#[test]
fn root_lists_of_users_are_read_within_bounds() {
    let Some(world) = world() else { return };
    let passwd = world.rootfs().join("etc/passwd");
    let spec = world.spec("echo home=$HOME");
    let fifo = || {
        rustix::fs::mknodat(rustix::fs::CWD, &passwd, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0)
    };
    fifo().unwrap();
    proves("passwd", |off| {
        let done = world.run_without(&spec, off);
        assert!(done.hung() || done.out == "home=/\n", "{done:?}");
        done.hung()
    });
    std::fs::remove_file(&passwd).unwrap();
    // A user beyond the bound is not found: no more than that is read, and kept in memory, of a huge file.
    let file = std::fs::File::create(&passwd).unwrap();
    std::os::unix::fs::FileExt::write_at(&file, b"\nroot:x:0:0::/far:/bin/sh\n", 96 << 20).unwrap();
    proves("passwd", |off| world.run_without(&spec, off).good() == "home=/far\n");
    std::fs::remove_file(&passwd).unwrap();
    symlink("/dev/zero", &passwd).unwrap();
    assert_eq!(world.run_without(&spec, "").good(), "home=/\n");
}

/// Gives a kernel parameter of the machine back.
struct Restore(&'static str, String);

impl Drop for Restore {
    fn drop(&mut self) {
        let _ = std::fs::write(self.0, &self.1);
    }
}

/// CVE-2022-0811 and its kin: a parameter that belongs to the whole machine.
#[test]
fn root_parameters_of_the_machine_are_not_set() {
    let Some(world) = world() else { return };
    // How often the kernel sums up its counters, in seconds: nobody notices.
    let path = "/proc/sys/vm/stat_interval";
    let Ok(before) = std::fs::read_to_string(path) else { return common::skip("no vm.stat_interval") };
    if std::fs::write(path, &before).is_err() {
        return common::skip("the kernel parameters of this machine cannot be written");
    }
    let _restore = Restore(path, before.clone());
    let other = (before.trim().parse::<u32>().unwrap() + 1).to_string();
    for name in ["vm.stat_interval", "vm/stat_interval"] {
        let mut spec = world.spec("true");
        spec["linux"]["sysctl"] = json!({name: other});
        proves("sysctl", |off| {
            std::fs::write(path, &before).unwrap();
            let _ = world.run_without(&spec, off);
            std::fs::read_to_string(path).unwrap() != before
        });
    }
}

/// CVE-2023-25809, CVE-2022-0492: control groups are shown read-only; the guard is the mount's option, which the engine sets.
#[test]
fn root_control_groups_are_read_only() {
    let Some(world) = world() else { return };
    let script = "for f in $(busybox find /sys/fs/cgroup -name notify_on_release -o -name cgroup.subtree_control); do \
        (echo > $f; echo 0 > $f) 2>/dev/null && echo wrote; done; busybox mkdir /sys/fs/cgroup/*/x 2>/dev/null && \
        { echo wrote; busybox rmdir /sys/fs/cgroup/*/x; }; true";
    let spec = |options: Value| {
        let mut spec = world.spec(script);
        mount(
            &mut spec,
            json!({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": options}),
        );
        spec
    };
    let options = |off: &str| match off {
        "" => json!(["nosuid", "noexec", "nodev", "ro"]),
        _ => json!(["nosuid", "noexec", "nodev"]),
    };
    proves("ro", |off| world.run_without(&spec(options(off)), "").good().contains("wrote"));
}
