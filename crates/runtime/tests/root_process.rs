//! CVES.md group 1: nothing of the host leaks into a container by way of the runtime's own processes.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::time::Instant;

use common::{World, wait_for, world};
use serde_json::json;

/// How often a race is tried.
const ROUNDS: usize = 40;

/// Watches all processes of its namespace from inside and writes down descriptors above 3 and foreign programs. Number 3
/// is our end of a socket pair, which the kernel shows for a moment while it executes the program.
const WATCHER: &str = r#"
touch /tmp/ready
while [ ! -e /tmp/stop ]; do
  for f in /proc/[0-9]*/fd/*; do
    p=${f#/proc/}; p=${p%%/*}
    [ "$p" = 1 ] && continue
    case ${f##*/} in 0|1|2|3|\*) ;; *) echo "fd $f" >> /tmp/seen;; esac
  done
  for e in /proc/[0-9]*/exe; do
    p=${e#/proc/}; p=${p%%/*}
    [ "$p" = 1 ] && continue
    if [ -r $e ] && [ ! $e -ef /bin/busybox ] && [ -r $e ]; then echo "exe $e" >> /tmp/seen; fi
  done
done"#;

fn watch(world: &World, caps: &[&str], guards_off: &str) -> String {
    let mut spec = world.spec(WATCHER);
    common::add_caps(&mut spec, caps);
    // In a user namespace of its own the container may trace everything in it, and must still not see us.
    common::with_user_namespace(&mut spec, world);
    let id = world.start(&spec);
    let tmp = world.rootfs().join("tmp");
    wait_for("the watcher", || tmp.join("ready").exists());
    for _ in 0..ROUNDS {
        let mut command = world.command(&["exec", &id, "/bin/true"]);
        let status = command.env("BRIG_UNGUARD", guards_off).status().unwrap();
        assert!(status.success());
    }
    std::fs::write(tmp.join("stop"), "").unwrap();
    let seen = std::fs::read_to_string(tmp.join("seen")).unwrap_or_default();
    world.brig(&["delete", "-f", &id]).good();
    for file in ["ready", "stop", "seen"] {
        let _ = std::fs::remove_file(tmp.join(file));
    }
    seen
}

/// CVE-2016-9962.
#[test]
fn root_a_joining_process_cannot_be_looked_at() {
    let Some(world) = world() else { return };
    let seen = watch(&world, &["CAP_SYS_PTRACE"], "fast");
    assert_eq!(seen, "", "descriptors or programs of the host were seen");
    // A slow machine may need several tries.
    let unguarded = (0..5).any(|_| !watch(&world, &["CAP_SYS_PTRACE"], "fast,dumpable").is_empty());
    assert!(unguarded, "the watcher sees nothing even without the guard");
}

/// Takes hold of every foreign program that it can see, and writes into it when its process has ended.
const OVERWRITER: &str = r#"
touch /tmp/ready
while [ ! -e /tmp/stop ]; do
  for e in /proc/[0-9]*/exe; do
    if [ -r $e ] && [ ! $e -ef /bin/busybox ]; then
      if exec 9<$e; then
        touch /tmp/held
        i=0
        while [ $i -lt 60 ]; do
          i=$((i+1))
          (echo OVERWRITTEN > /proc/self/fd/9) && touch /tmp/overwritten && break
          sleep 0.01
        done
        exec 9<&-
      fi
    fi
  done 2>/dev/null
done"#;

fn overwrite(world: &World, guards_off: &str) -> (bool, bool) {
    let before = std::fs::read(&world.program).unwrap();
    let kept = world.path().join("kept");
    std::fs::rename(&world.program, &kept).unwrap();
    let copied = std::process::Command::new("cp").arg(&kept).arg(&world.program).status().unwrap();
    assert!(copied.success());
    world.with_libraries();
    let script = world.rootfs().join("bin/evil");
    std::fs::write(&script, "#!/proc/self/exe\n").unwrap();
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut spec = world.spec(OVERWRITER);
    common::add_caps(&mut spec, &["CAP_SYS_PTRACE", "CAP_SYS_ADMIN"]);
    let id = world.start(&spec);
    let tmp = world.rootfs().join("tmp");
    wait_for("the writer", || tmp.join("ready").exists());
    for _ in 0..ROUNDS {
        let mut command = world.command(&["exec", &id, "/bin/evil"]);
        // The program of ours that the script names fails for want of a command; a destroyed one cannot even start.
        let _ = command.env("BRIG_UNGUARD", guards_off).stderr(std::process::Stdio::null()).status();
        if tmp.join("held").exists() {
            break;
        }
    }
    // Nobody runs the program now: a writer that holds it has its chance.
    std::thread::sleep(std::time::Duration::from_secs(1));
    let changed = std::fs::read(&world.program).unwrap() != before;
    std::fs::write(tmp.join("stop"), "").unwrap();
    let held = tmp.join("held").exists();
    let _ = std::fs::remove_file(&world.program);
    std::fs::rename(&kept, &world.program).unwrap();
    world.brig(&["delete", "-f", &id]).good();
    for file in ["ready", "stop", "held", "overwritten"] {
        let _ = std::fs::remove_file(tmp.join(file));
    }
    (changed, held)
}

/// CVE-2019-5736: even for a container that may trace everything and mount.
#[test]
fn root_the_runtime_cannot_be_overwritten_from_inside() {
    let Some(mut world) = world() else { return };
    world.with_own_program();
    let (changed, held) = overwrite(&world, "dumpable");
    assert!(held, "the writer never got hold of the program");
    assert!(!changed, "the program of the runtime was overwritten");
    let (unguarded, _) = overwrite(&world, "exe,dumpable");
    assert!(unguarded, "the writer fails even without the guard");
}

/// CVE-2024-21626: a working directory that is a descriptor of the host.
#[test]
fn root_working_directories_outside_are_refused() {
    let Some(world) = world() else { return };
    let leaked = std::fs::File::open("/").unwrap();
    let number = 9;
    let with_leak = |args: &[&str], guards_off: &str| {
        let mut command = world.command(args);
        command.env("BRIG_UNGUARD", guards_off);
        let source = leaked.as_raw_fd();
        // A descriptor without the close-on-exec flag, as careless callers leave them.
        let mut shell = std::process::Command::new("/bin/sh");
        shell.arg("-c").arg(format!("exec {number}</proc/{}/fd/{source}/ \"$@\"", std::process::id()));
        shell.arg0("sh").arg("sh").arg(command.get_program()).args(command.get_args());
        shell.current_dir(world.bundle()).env("BRIG_UNGUARD", guards_off).stdin(std::process::Stdio::null());
        common::Done::of(shell.output().unwrap())
    };
    let mut spec = world.spec("pwd; ls -1 /proc/self/cwd/ | head -50");
    let id = world.start(&world.spec("sleep 60"));
    for fd in 3..32 {
        let cwd = format!("/proc/self/fd/{fd}");
        spec["process"]["cwd"] = json!(cwd);
        world.write(&spec);
        let name = world.id();
        for done in
            [with_leak(&["run", &name], ""), with_leak(&["exec", "--cwd", &cwd, &id, "/bin/true"], "")]
        {
            assert!(
                done.code != 0 && done.err.contains("cwd") || done.err.contains("working directory"),
                "{done:?}"
            );
        }
    }
    let cwd = format!("/proc/self/fd/{number}");
    let escaped = with_leak(&["exec", "--cwd", &cwd, &id, "/bin/ls", "/proc/self/cwd/"], "cwd,close");
    assert!(
        escaped.out.contains("boot") || escaped.out.contains("usr"),
        "nothing leaks even without the guard: {escaped:?}"
    );
}

#[test]
fn root_only_the_streams_are_open_at_exec() {
    let Some(world) = world() else { return };
    let id = world.start(&world.spec("sleep 60"));
    let leaky = |args: &[&str], guards_off: &str| {
        let mut shell = std::process::Command::new("/bin/sh");
        let command = world.command(args);
        shell.arg("-c").arg("exec 7</ 8</etc/passwd \"$@\"").arg("sh").arg(command.get_program());
        shell.args(command.get_args()).current_dir(world.bundle()).env("BRIG_UNGUARD", guards_off);
        shell.stdin(std::process::Stdio::null());
        common::Done::of(shell.output().unwrap()).good()
    };
    let list = "cd /proc/$$/fd; echo *";
    world.write(&world.spec(list));
    // Number 3 is the folder that the shell reads.
    let streams = |text: &str| text.split_whitespace().all(|fd| matches!(fd, "0" | "1" | "2" | "3"));
    let out = leaky(&["run", &world.id()], "");
    assert!(streams(&out), "{out}");
    let out = leaky(&["exec", &id, "/bin/sh", "-c", list], "");
    assert!(streams(&out), "{out}");
    let out = leaky(&["exec", &id, "/bin/sh", "-c", list], "close");
    assert!(!streams(&out), "nothing leaks even without the guard: {out}");
    let kept = leaky(&["exec", "--preserve-fds", "5", &id, "/bin/sh", "-c", list], "");
    assert!(kept.contains('7'), "descriptors that are asked for stay: {kept}");
}

/// CVE-2022-24769, CVE-2022-27649, CVE-2022-29162.
#[test]
fn root_inheritable_and_ambient_capabilities_are_empty() {
    let Some(world) = world() else { return };
    let show = "grep -E '^Cap' /proc/self/status";
    let mut spec = world.spec(show);
    let check = |out: &str, effective: &str| {
        for (set, value) in
            [("CapInh", "0000000000000000"), ("CapAmb", "0000000000000000"), ("CapEff", effective)]
        {
            assert!(out.contains(&format!("{set}:\t{value}")), "{out}");
        }
    };
    let five = "00000000000000e3";
    check(&world.run(&spec).good(), five);
    spec["process"]["user"]["uid"] = json!(1000);
    // A program that is no root gets rights only from files and ambient sets.
    check(&world.run(&spec).good(), "0000000000000000");
    let id = world.start(&world.spec("sleep 60"));
    check(&world.brig(&["exec", &id, "/bin/sh", "-c", show]).good(), five);
    check(&world.brig(&["exec", "-u", "1000", &id, "/bin/sh", "-c", show]).good(), "0000000000000000");
    let out = world.brig(&["exec", "--cap", "CAP_NET_ADMIN", &id, "/bin/sh", "-c", show]).good();
    check(&out, "00000000000010e3");
}

/// CVE-2016-3697, CVE-2026-46680, CVE-2022-36109.
#[test]
fn root_users_and_groups_are_numbers() {
    let Some(world) = world() else { return };
    std::fs::write(world.rootfs().join("etc/passwd"), "1000:x:0:0::/:/bin/sh\n").unwrap();
    std::fs::write(world.rootfs().join("etc/group"), "x:x:7:1000\n").unwrap();
    let mut spec = world.spec("id");
    spec["process"]["user"] = json!({"uid": 1000, "gid": 1001, "additionalGids": [5, 6]});
    let out = world.run(&spec).good();
    assert!(out.contains("uid=1000") && out.contains("gid=1001") && out.contains("groups=5,6"), "{out}");
    let id = world.start(&world.spec("sleep 60"));
    let out = world.brig(&["exec", "-u", "1000:1000", "-g", "9", &id, "/bin/id"]).good();
    assert!(out.contains("uid=1000") && out.contains("groups=9") && !out.contains("=0"), "{out}");
    for user in ["4294967295", "1000:4294967296", "root", "-1"] {
        world.brig(&["exec", &format!("--user={user}"), &id, "/bin/id"]).bad("--user");
    }
}

/// CVE-2026-47262, CVE-2024-9676: hostile lists of users are read within bounds.
#[test]
fn root_hostile_passwd_files_do_not_stop_a_start() {
    let Some(world) = world() else { return };
    let passwd = world.rootfs().join("etc/passwd");
    let spec = world.spec("echo home=$HOME");
    let begin = Instant::now();
    std::fs::File::create(&passwd).unwrap().set_len(10 << 30).unwrap();
    assert_eq!(world.run(&spec).good(), "home=/\n");
    std::fs::remove_file(&passwd).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, &passwd, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0)
        .unwrap();
    assert_eq!(world.run(&spec).good(), "home=/\n");
    std::fs::remove_file(&passwd).unwrap();
    std::os::unix::fs::symlink("/dev/zero", &passwd).unwrap();
    assert_eq!(world.run(&spec).good(), "home=/\n");
    std::fs::remove_file(&passwd).unwrap();
    std::fs::write(&passwd, "a:x:0:0::/root-home:/bin/sh\n").unwrap();
    assert_eq!(world.run(&spec).good(), "home=/root-home\n");
    assert!(begin.elapsed().as_secs() < 8, "{:?}", begin.elapsed());
}

/// CVE-2022-1227: programs of an image never run outside.
#[test]
fn root_ps_runs_no_program_of_the_image() {
    let Some(world) = world() else { return };
    let evil = world.rootfs().join("bin/ps");
    let canary = world.path().join("canary");
    std::fs::write(&evil, format!("#!/bin/sh\necho > {}\n", canary.display())).unwrap();
    std::fs::set_permissions(&evil, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let id = world.start(&world.spec("sleep 60"));
    let out = world.brig(&["ps", &id]).good();
    assert!(out.contains("sleep 60") && !canary.exists(), "{out}");
}

/// A created container may wait for days; it holds nothing of the host meanwhile.
#[test]
fn root_a_waiting_init_holds_nothing_of_the_host() {
    let Some(world) = world() else { return };
    world.write(&world.spec("true"));
    let id = world.id();
    let null = std::process::Stdio::null;
    let created = world.command(&["create", &id]).stdout(null()).stderr(null()).status().unwrap();
    assert!(created.success());
    let state: serde_json::Value = serde_json::from_str(&world.brig(&["state", &id]).good()).unwrap();
    let held = || {
        let fds = std::fs::read_dir(format!("/proc/{}/fd", state["pid"])).unwrap().flatten();
        fds.filter_map(|fd| std::fs::read_link(fd.path()).ok()).collect::<Vec<_>>()
    };
    let foreign = |path: &std::path::PathBuf| {
        let text = path.to_string_lossy();
        text.contains("cgroup") || text.contains("/state/") || text.contains("mnt:")
    };
    // The streams, the start socket and the way to the runtime are what is left in the end.
    wait_for("the closing", || {
        let held = held();
        held.len() <= 5 && !held.iter().any(foreign)
    });
}
