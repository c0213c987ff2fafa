//! A monitor is killed at any moment: the container goes on, and the next command brings a monitor that goes on too.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::time::{Duration, Instant};

use common::{World, collect, kill, read_all};
use monitor::{AttachOptions, Claim, Error, ensure_monitor};

#[test]
fn a_container_outlives_its_monitor_and_loses_no_line() {
    let world = World::new();
    // About 6 MB, far more than the pipe holds: it waits while nobody reads.
    let started =
        world.start("i=0; while [ $i -lt 60000 ]; do echo line $i; i=$((i+1)); done; sleep 1; exit 5");
    for pause in [1, 5, 20, 40, 80] {
        std::thread::sleep(Duration::from_millis(pause));
        let Some(monitor) = world.monitor_if_any().filter(|_| common::is_alive(started.pid)) else { break };
        kill(monitor);
        std::thread::sleep(Duration::from_millis(10));
        assert!(common::is_alive(started.pid), "the container must live on");
        ensure_monitor(&world.launch.run_dir, None).unwrap();
    }
    let record = wait(&world);
    world.wait_gone();
    assert_eq!((record.exit_code, record.unknown), (5, false));
    assert_eq!(world.cleanups(), ["cleaned "]);
    let lines = read_all(&world.log());
    let whole: Vec<usize> =
        lines.iter().filter_map(|line| line.strip_prefix("line ")?.trim_end().parse().ok()).collect();
    // A kill between the read of a pipe and the write of the log costs what was in hand, and nothing is written twice.
    assert!(whole.windows(2).all(|pair| pair[0] < pair[1]), "the order is kept");
    assert!(whole.len() > 60_000 - 5 * 9_000, "{} lines", whole.len());
    assert_eq!(whole.last(), Some(&59_999));
}

fn wait(world: &World) -> monitor::ExitRecord {
    if let Ok(mut client) = world.client_or_gone()
        && client.watch(Claim::No).is_ok()
        && let Ok(Some(record)) = client.wait(None)
    {
        return record;
    }
    world.wait_gone();
    world.exit_record().unwrap()
}

#[test]
fn an_idle_monitor_that_is_killed_costs_nothing_at_all() {
    let mut world = World::new();
    world.launch.stdin = monitor::StdinMode::Open;
    let started = world.start("read a; echo got $a; read b; echo got $b; exit 6");
    kill(world.monitor());
    std::thread::sleep(Duration::from_millis(20));
    assert!(matches!(world.client_or_gone(), Err(Error::NoMonitor { .. })));
    // Many commands at once: one monitor comes of it.
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| ensure_monitor(&world.launch.run_dir, None).unwrap());
        }
    });
    assert!(common::is_alive(started.pid));
    let options =
        AttachOptions { stdin: true, stdout: true, stderr: true, lossless: true, ..Default::default() };
    let mut session = world.client().attach(options).unwrap();
    session.send_stdin(b"one\ntwo\n").unwrap();
    let got = collect(&mut session);
    assert_eq!(got.stdout, b"got one\ngot two\n");
    let record = got.exit.unwrap();
    assert_eq!((record.exit_code, record.unknown), (6, false));
    assert_eq!(record.started_at, started.started_at);
    assert_eq!(read_all(&world.log()).concat(), "got one\ngot two\n");
}

#[test]
fn a_signals_end_is_known_to_a_stranger_too() {
    let world = World::new();
    world.start("exec sleep 100");
    kill(world.monitor());
    std::thread::sleep(Duration::from_millis(20));
    ensure_monitor(&world.launch.run_dir, None).unwrap();
    let mut client = world.client();
    client.watch(Claim::No).unwrap();
    client.signal(15).unwrap();
    let record = client.wait(None).unwrap().unwrap();
    assert_eq!((record.signal, record.exit_code, record.unknown), (Some(15), 143, false));
}

#[test]
fn a_dead_container_is_not_taken_over() {
    let world = World::new();
    let started = world.start("exec sleep 100");
    kill(world.monitor());
    kill(started.pid);
    let end = Instant::now() + Duration::from_secs(5);
    while common::is_alive(started.pid) {
        assert!(Instant::now() < end);
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(matches!(ensure_monitor(&world.launch.run_dir, None), Err(Error::NotRunning { .. })));
    world.wait_gone();
}

#[test]
fn a_monitor_killed_before_the_start_takes_the_init_with_it() {
    let world = World::new();
    world.write_config(&["/bin/sleep", "100"]);
    let mut pending = world.spawn();
    let pid = pending.wait_created().unwrap().pid;
    kill(world.monitor());
    assert!(pending.start().is_err());
    let end = Instant::now() + Duration::from_secs(5);
    while common::is_alive(pid) {
        assert!(Instant::now() < end, "an init that nobody will start must not stay");
        std::thread::sleep(Duration::from_millis(5));
    }
}
