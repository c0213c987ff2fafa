//! Exec sessions under a monitor whose creator only forks and executes.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::time::{Duration, Instant};

use base::{ErrorKind, Kinded};
use common::{World, collect};
use monitor::{ExecLaunch, StdinMode};

fn exec(id: &str, script: &str) -> ExecLaunch {
    ExecLaunch {
        id: id.to_owned(),
        process: serde_json::json!({ "args": ["/bin/sh", "-c", script] }).to_string(),
        terminal: false,
        stdin: true,
        stdout: true,
        stderr: true,
        detach: false,
    }
}

#[test]
fn streams_and_exit_code_are_the_clients() {
    let world = World::new();
    world.start("exec sleep 100");
    let mut session = world.client().exec(&exec("a", "cat; echo err >&2; exit 9")).unwrap().unwrap();
    session.send_stdin(b"in\n").unwrap();
    session.close_stdin().unwrap();
    let got = collect(&mut session);
    assert_eq!(
        (got.stdout.as_slice(), got.stderr.as_slice(), got.code),
        (&b"in\n"[..], &b"err\n"[..], Some(9))
    );
    let record = world.client().exec_inspect("a").unwrap();
    assert_eq!((record.running, record.exit_code), (false, Some(9)));
    assert_eq!(world.client().exec_inspect("b").unwrap_err().kind(), ErrorKind::NotFound);
    let again = world.client().exec(&exec("a", "true")).unwrap_err();
    assert_eq!(again.kind(), ErrorKind::AlreadyExists);
    let bad = world.client().exec(&exec("../x", "true")).unwrap_err();
    assert_eq!(bad.kind(), ErrorKind::Invalid);
}

#[test]
fn megabytes_pass_through_both_ways() {
    let world = World::new();
    world.start("exec sleep 100");
    let mut session = world.client().exec(&exec("a", "exec cat")).unwrap().unwrap();
    let mut sender = session.sender().unwrap();
    let thread = std::thread::spawn(move || {
        sender.send_stdin(&vec![7; 5_000_000]).unwrap();
        sender.close_stdin().unwrap();
    });
    assert_eq!(collect(&mut session).stdout.len(), 5_000_000);
    thread.join().unwrap();
}

#[test]
fn a_detached_one_goes_on_alone() {
    let world = World::new();
    world.start("exec sleep 100");
    let file = world.root.join("made");
    let launch = ExecLaunch {
        detach: true,
        ..exec("d", &format!("echo out; sleep 0.2; echo x > {}", file.display()))
    };
    assert!(world.client().exec(&launch).unwrap().is_none());
    assert!(world.client().exec_inspect("d").unwrap().running);
    let end = Instant::now() + Duration::from_secs(5);
    while world.client().exec_inspect("d").unwrap().running {
        assert!(Instant::now() < end);
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(file.exists());
}

#[test]
fn a_client_that_leaves_does_not_end_it_nor_block_it() {
    let world = World::new();
    world.start("exec sleep 100");
    let file = world.root.join("made");
    let script = format!("head -c 3000000 /dev/zero; cat; echo x > {}", file.display());
    let session = world.client().exec(&exec("l", &script)).unwrap().unwrap();
    std::thread::sleep(Duration::from_millis(100));
    assert!(!file.exists());
    drop(session);
    let end = Instant::now() + Duration::from_secs(5);
    while !file.exists() {
        assert!(Instant::now() < end);
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_terminal_of_its_own() {
    let world = World::new();
    world.start("exec sleep 100");
    let launch = ExecLaunch { terminal: true, ..exec("t", "read x; stty size; tty >/dev/null && echo tty") };
    let mut session = world.client().exec(&launch).unwrap().unwrap();
    session.resize(70, 20).unwrap();
    world.client().exec_resize("t", 71, 21).unwrap();
    session.send_stdin(b"go\n").unwrap();
    let got = collect(&mut session);
    let text = String::from_utf8(got.stdout).unwrap();
    assert!(text.contains("21 71\r\ntty\r\n") || text.contains("20 70\r\ntty\r\n"), "{text:?}");
    assert_eq!(got.code, Some(0));
    assert_eq!(world.client().exec_resize("t", 1, 1).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn a_program_that_cannot_run_is_an_error_of_its_own_kind() {
    let world = World::new();
    world.start("exec sleep 100");
    for (id, args, kind, code) in [
        ("a", "/nonexistent", ErrorKind::CommandNotFound, 127),
        ("b", "/etc/passwd", ErrorKind::CommandNotExecutable, 126),
    ] {
        let process = serde_json::json!({ "args": [args] }).to_string();
        let error = world.client().exec(&ExecLaunch { process, ..exec(id, "") }).unwrap_err();
        assert_eq!(error.kind(), kind);
        assert_eq!(world.client().exec_inspect(id).unwrap().exit_code, Some(code));
    }
    let error = world.client().exec(&ExecLaunch { process: "{".into(), ..exec("c", "") }).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

#[test]
fn a_thousand_leave_no_descriptor_and_no_zombie() {
    let mut world = World::new();
    world.launch.stdin = StdinMode::Open;
    world.start("exec sleep 100");
    let pid = world.monitor();
    // Strays are reaped and memory is given back after a second of quiet.
    let settle = || {
        std::thread::sleep(Duration::from_millis(1300));
        (descriptors(pid), children(pid), memory_kib(pid))
    };
    collect(&mut world.client().exec(&exec("first", "true")).unwrap().unwrap());
    let before = settle();
    for number in 0..1000 {
        let id = format!("e{number}");
        if number % 2 == 0 {
            collect(&mut world.client().exec(&exec(&id, "exit 1")).unwrap().unwrap());
        } else {
            let process = r#"{"args": ["/nonexistent"]}"#.to_owned();
            world.client().exec(&ExecLaunch { process, ..exec(&id, "") }).unwrap_err();
        }
    }
    let after = settle();
    assert_eq!((before.0, before.1), (after.0, after.1));
    assert!(after.2 < before.2 + 64, "{} KiB became {} KiB", before.2, after.2);
    assert_eq!(world.client().exec_list().unwrap().len(), 64);
}

fn descriptors(pid: i32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

fn children(pid: i32) -> usize {
    let text = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    text.split_whitespace().count()
}

fn memory_kib(pid: i32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let line = text.lines().find(|line| line.starts_with("Anonymous:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn sessions_end_with_the_container() {
    let world = World::new();
    world.start("exec sleep 100");
    let mut session = world.client().exec(&exec("s", "sleep 2")).unwrap().unwrap();
    world.client().signal(9).unwrap();
    // Without namespaces the session outlives the container; its client is told when the monitor ends.
    let got = collect(&mut session);
    assert!(got.code.is_some());
    world.wait_gone();
}
