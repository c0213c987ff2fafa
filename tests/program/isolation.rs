//! The walls: what a container can see and do, and what it cannot.

use testkit::World;

#[test]
fn root_a_container_sees_itself_alone() {
    let Some(world) = World::root() else { return };
    let script = "ps -o pid | wc -l; hostname | wc -c; ls /sys/class/net; ls -A /tmp | wc -l";
    let text = world.brig(["run", "--rm", "--network", "none", "tiny", "sh", "-c", script]).ok();
    let lines: Vec<&str> = text.lines().collect();
    // The heading, the shell, ps and wc.
    assert_eq!(lines, ["4", "13", "lo", "0"]);
}

#[test]
fn root_no_descriptor_of_the_machine_comes_in() {
    let Some(world) = World::root() else { return };
    let text = world.brig(["run", "--rm", "tiny", "ls", "/proc/self/fd"]).ok();
    assert_eq!(text.lines().collect::<Vec<_>>(), ["0", "1", "2", "3"], "3 is ls's own");
    assert_eq!(world.brig(["run", "--rm", "tiny", "readlink", "/proc/self/cwd"]).ok(), "/");
}

#[test]
fn root_dangerous_calls_are_refused() {
    let Some(world) = World::root() else { return };
    for (what, script) in [
        ("mount", "mount -t tmpfs none /tmp"),
        ("bind mount", "mount --bind /bin /tmp"),
        ("unshare user", "unshare -U true"),
        ("unshare mount", "unshare -m true"),
        ("date", "date -s 2001-01-01; test $(date +%Y) = 2001"),
        ("mknod block", "mknod /tmp/disk b 8 0 && dd if=/tmp/disk of=/dev/null bs=1 count=1"),
        ("chroot out", "nsenter -t 1 -m true"),
        ("sysctl", "echo 1 > /proc/sys/kernel/panic"),
        ("sysrq", "echo h > /proc/sysrq-trigger"),
        ("core pattern", "echo x > /proc/sys/kernel/core_pattern"),
        ("kcore", "test -s /proc/kcore"),
        ("sysfs", "echo 1 > /sys/kernel/uevent_helper"),
        ("cgroup", "mkdir /sys/fs/cgroup/x /sys/fs/cgroup/*/x"),
        ("hostname", "hostname other"),
        ("reboot", "reboot -f"),
        ("network", "ip link add x type dummy"),
        ("swap", "swapon /bin/busybox"),
        ("module", "insmod /bin/busybox"),
    ] {
        let done = world.brig(["run", "--rm", "tiny", "sh", "-c", script]);
        assert_ne!(done.code, 0, "{what} worked\n{}{}", done.stdout, done.stderr);
    }
}

#[test]
fn root_capabilities_are_dockers_and_can_be_changed() {
    let Some(world) = World::root() else { return };
    let effective = |options: &[&str]| {
        let args =
            [&["run", "--rm"], options, &["tiny", "sh", "-c", "grep CapEff /proc/self/status | cut -f2"]]
                .concat();
        world.brig(args).ok()
    };
    assert_eq!(effective(&[]), "00000000a80425fb");
    assert_eq!(effective(&["--cap-drop", "ALL"]), "0000000000000000");
    assert_eq!(effective(&["--cap-drop", "all", "--cap-add", "CHOWN"]), "0000000000000001");
    assert_eq!(effective(&["--cap-add", "net_admin"]), "00000000a80435fb");
    assert_eq!(effective(&["--user", "1000"]), "0000000000000000");
    world.brig(["run", "--rm", "--cap-add", "NONSENSE", "tiny", "true"]).refuses(125, &["NONSENSE"]);
}

#[test]
fn root_seccomp_and_no_new_privileges() {
    let Some(world) = World::root() else { return };
    let status = |options: &[&str]| {
        let args = [
            &["run", "--rm"],
            options,
            &[
                "tiny",
                "sh",
                "-c",
                "grep -E '^(NoNewPrivs|Seccomp):' /proc/self/status | cut -f2 | tr '\\n' ' '",
            ],
        ]
        .concat();
        world.brig(args).ok()
    };
    assert_eq!(status(&[]), "0 2");
    assert_eq!(status(&["--security-opt", "no-new-privileges"]), "1 2");
    assert_eq!(status(&["--security-opt", "seccomp=unconfined"]), "0 0");
    world
        .brig(["run", "--rm", "--security-opt", "seccomp=/no/such/file", "tiny", "true"])
        .refuses(125, &["/no/such/file"]);
    world.brig(["run", "--rm", "--security-opt", "wrong", "tiny", "true"]).refuses(125, &["wrong"]);
}

#[test]
fn root_privileged_opens_the_walls_and_only_then() {
    let Some(world) = World::root() else { return };
    let script = "mount -t tmpfs none /tmp && mkdir /tmp/x && echo mounted";
    assert_eq!(world.brig(["run", "--rm", "--privileged", "tiny", "sh", "-c", script]).ok(), "mounted");
    assert_eq!(
        world
            .brig(["run", "--rm", "--privileged", "tiny", "sh", "-c", "grep Seccomp: /proc/self/status"])
            .ok(),
        "Seccomp:\t0"
    );
}

#[test]
fn root_devices() {
    let Some(world) = World::root() else { return };
    let list = world.brig(["run", "--rm", "tiny", "ls", "/dev"]).ok();
    // A link to /proc/kcore is there when the kernel has that.
    let names: Vec<&str> = list.split_whitespace().filter(|name| *name != "core").collect();
    assert_eq!(
        names,
        [
            "fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin", "stdout",
            "tty", "urandom", "zero"
        ]
    );
    let script = "dd if=/dev/mine of=/dev/null bs=1 count=1 && stat -c %t:%T /dev/mine";
    let done = world.brig(["run", "--rm", "--device", "/dev/zero:/dev/mine:r", "tiny", "sh", "-c", script]);
    assert_eq!(done.ok(), "1:5");
    world.brig(["run", "--rm", "--device", "/dev/no-such", "tiny", "true"]).refuses(125, &["/dev/no-such"]);
}

#[test]
fn root_namespaces_can_be_shared() {
    let Some(world) = World::root() else { return };
    world.brig(["run", "-d", "--name", "one", "--ipc", "shareable", "tiny", "sleep", "100"]).ok();
    let of = |container: &str, kind: &str| {
        world.brig(["exec", container, "readlink", &format!("/proc/self/ns/{kind}")]).ok()
    };
    world
        .brig([
            "run",
            "-d",
            "--name",
            "two",
            "--network",
            "container:one",
            "--pid",
            "container:one",
            "--ipc",
            "container:one",
            "tiny",
            "sleep",
            "100",
        ])
        .ok();
    for kind in ["net", "pid", "ipc"] {
        assert_eq!(of("one", kind), of("two", kind), "{kind}");
    }
    for kind in ["mnt", "uts"] {
        assert_ne!(of("one", kind), of("two", kind), "{kind}");
    }
    let host = world.sh("readlink /proc/self/ns/uts").ok();
    assert_eq!(
        world.brig(["run", "--rm", "--uts", "host", "tiny", "readlink", "/proc/self/ns/uts"]).ok(),
        host
    );
    world.brig(["run", "--rm", "--pid", "container:nobody", "tiny", "true"]).refuses(125, &["nobody"]);
    world.brig(["rm", "-f", "two", "one"]).ok();
}

#[test]
fn root_sysctls_of_the_container_only() {
    let Some(world) = World::root() else { return };
    let done = world.brig([
        "run",
        "--rm",
        "--sysctl",
        "net.ipv4.ip_unprivileged_port_start=77",
        "tiny",
        "cat",
        "/proc/sys/net/ipv4/ip_unprivileged_port_start",
    ]);
    assert_eq!(done.ok(), "77");
    world.brig(["run", "--rm", "--sysctl", "kernel.panic=1", "tiny", "true"]).refuses(125, &["kernel.panic"]);
    world
        .brig(["run", "--rm", "--sysctl", "net.ipv4.ip_forward=1", "--network", "host", "tiny", "true"])
        .refuses(125, &["net.ipv4.ip_forward"]);
}

#[test]
fn root_init_reaps_orphans() {
    let Some(world) = World::root() else { return };
    let script = "(sleep 0.1 &) ; sleep 0.5; ps -o stat | grep -c Z";
    assert_eq!(world.brig(["run", "--rm", "--init", "tiny", "sh", "-c", script]).stdout.trim(), "0");
}
