//! Whole containers under a monitor whose creator only forks and executes: no root, no image, no network.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::time::{Duration, Instant};

use base::{ErrorKind, Kinded};
use common::{World, collect, read_all};
use monitor::{AttachOptions, Claim, Error, Event, ExitRecord, StateRecord, StdinMode};

const ALL: AttachOptions = AttachOptions {
    stdin: true,
    stdout: true,
    stderr: true,
    lossless: true,
    claim_cleanup: false,
    size: None,
};

#[test]
fn a_foreground_run_loses_no_byte_and_tells_its_end() {
    let world = World::new();
    let (mut session, started) = world.run_attached("echo out; echo err >&2; exit 7", ALL);
    assert!(started.pid > 0);
    let got = collect(&mut session);
    assert_eq!((got.stdout.as_slice(), got.stderr.as_slice()), (&b"out\n"[..], &b"err\n"[..]));
    let record = got.exit.unwrap();
    assert_eq!((record.exit_code, record.signal, record.unknown), (7, None, false));
    assert_eq!(record.started_at, started.started_at);
    assert_eq!(ExitRecord::load(&world.launch.exit_file).unwrap(), Some(record));
    world.wait_gone();
    assert_eq!(world.cleanups(), ["cleaned "]);
    let log = read_all(&world.log());
    assert_eq!(log.concat(), "out\nerr\n");
}

#[test]
fn megabytes_pass_through_cat_both_ways() {
    let mut world = World::new();
    world.launch.stdin = StdinMode::Once;
    let (mut session, _) = world.run_attached("exec cat", ALL);
    let data: Vec<u8> = (0..8_000_000u32).map(|number| (number % 251) as u8).collect();
    let mut sender = session.sender().unwrap();
    let sent = data.clone();
    let thread = std::thread::spawn(move || {
        sender.send_stdin(&sent).unwrap();
        sender.close_stdin().unwrap();
    });
    let got = collect(&mut session);
    thread.join().unwrap();
    assert_eq!(got.stdout.len(), data.len());
    assert!(got.stdout == data);
    assert_eq!(got.exit.unwrap().exit_code, 0);
}

#[test]
fn input_ends_when_the_first_client_leaves() {
    let mut world = World::new();
    world.launch.stdin = StdinMode::Once;
    let (mut session, _) = world.run_attached("cat; echo ended", ALL);
    session.send_stdin(b"hello\n").unwrap();
    let mut onlooker = world.client().attach(AttachOptions { stdin: false, ..ALL }).unwrap();
    drop(session);
    let got = collect(&mut onlooker);
    assert!(got.stdout.ends_with(b"ended\n"));
}

#[test]
fn input_stays_open_for_the_next_client() {
    let mut world = World::new();
    world.launch.stdin = StdinMode::Open;
    world.start("read a; read b; echo $a-$b");
    let mut first = world.client().attach(ALL).unwrap();
    first.send_stdin(b"one\n").unwrap();
    first.close_stdin().unwrap();
    drop(first);
    std::thread::sleep(Duration::from_millis(50));
    let mut second = world.client().attach(ALL).unwrap();
    second.send_stdin(b"two\n").unwrap();
    assert_eq!(collect(&mut second).stdout, b"one-two\n");
}

#[test]
fn without_input_there_is_none() {
    let world = World::new();
    let (mut session, _) = world.run_attached("cat; echo done", ALL);
    assert_eq!(collect(&mut session).stdout, b"done\n");
}

#[test]
fn a_signal_ends_it_with_128_more() {
    let world = World::new();
    world.start("exec sleep 100");
    let mut client = world.client();
    client.watch(Claim::No).unwrap();
    assert!(client.wait(Some(20)).unwrap().is_none());
    client.signal(9).unwrap();
    let record = client.wait(None).unwrap().unwrap();
    assert_eq!((record.exit_code, record.signal), (137, Some(9)));
    let error = world.client_or_gone().and_then(|mut client| client.signal(9));
    assert!(error.is_err());
}

#[test]
fn a_program_that_cannot_run_is_the_starts_error() {
    for (args, kind) in [
        (vec!["/nonexistent"], ErrorKind::CommandNotFound),
        (vec!["/etc/passwd"], ErrorKind::CommandNotExecutable),
    ] {
        let world = World::new();
        world.write_config(&args);
        let mut pending = world.spawn();
        pending.wait_created().unwrap();
        let error = pending.start().unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        world.wait_gone();
        assert!(world.cleanups().is_empty());
        assert_eq!(world.run_files(), Vec::<String>::new());
        assert!(!world.launch.exit_file.exists());
    }
}

#[test]
fn a_creation_that_fails_says_why() {
    let world = World::new();
    std::fs::write(world.launch.bundle.join("config.json"), "{").unwrap();
    let error = world.spawn().wait_created().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    world.wait_gone();
    assert_eq!(world.run_files(), Vec::<String>::new());
}

#[test]
fn an_aborted_creation_leaves_nothing() {
    let world = World::new();
    world.write_config(&["/bin/sleep", "100"]);
    let mut pending = world.spawn();
    let pid = pending.wait_created().unwrap().pid;
    pending.abort();
    assert!(!common::is_alive(pid));
    assert_eq!(world.run_files(), Vec::<String>::new());
    assert!(world.cleanups().is_empty());
    // Before it is created, too.
    let world = World::new();
    world.write_config(&["/bin/sleep", "100"]);
    world.spawn().abort();
    assert_eq!(world.run_files(), Vec::<String>::new());
}

#[test]
fn a_starter_that_is_killed_has_its_work_undone() {
    let world = World::new();
    world.write_config(&["/bin/sleep", "100"]);
    let mut pending = world.spawn();
    let pid = pending.wait_created().unwrap().pid;
    drop(pending);
    world.wait_gone();
    assert!(!common::is_alive(pid));
    assert_eq!(world.cleanups(), ["cleaned "]);
}

#[test]
fn several_clients_see_the_same_and_a_stuck_one_is_dropped() {
    let mut world = World::new();
    world.launch.stdin = StdinMode::Open;
    world.start("read x; head -c 6000000 /dev/zero | tr '\\0' x; echo; echo end");
    let options = AttachOptions { lossless: false, stdin: false, ..ALL };
    let mut stuck = world.client().attach(options).unwrap();
    let mut sessions: Vec<_> =
        (0..3).map(|_| world.client().attach(AttachOptions { stdin: false, ..ALL }).unwrap()).collect();
    let mut starter = world.client().attach(ALL).unwrap();
    let threads: Vec<_> =
        sessions.drain(..).map(|mut session| std::thread::spawn(move || collect(&mut session))).collect();
    starter.send_stdin(b"go\n").unwrap();
    assert_eq!(collect(&mut starter).stdout.len(), 6_000_005);
    for thread in threads {
        let got = thread.join().unwrap();
        assert_eq!(got.stdout.len(), 6_000_005);
        assert_eq!(got.exit.unwrap().exit_code, 0);
    }
    let error = loop {
        match stuck.next_event() {
            Ok(Event::Stdout(_)) => {}
            Ok(event) => panic!("{event:?}"),
            Err(error) => break error,
        }
    };
    assert!(error.to_string().contains("dropped"), "{error}");
}

#[test]
fn a_lossless_client_holds_the_output_back_and_gets_all_of_it() {
    let world = World::new();
    let (mut session, _) = world.run_attached("head -c 3000000 /dev/zero; echo end >&2", ALL);
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(world.exit_record(), None, "the process must wait for its client");
    let got = collect(&mut session);
    assert_eq!((got.stdout.len(), got.stderr.as_slice()), (3_000_000, &b"end\n"[..]));
}

#[test]
fn a_client_that_leaves_does_not_hold_the_output_back() {
    let world = World::new();
    let (session, _) = world.run_attached("head -c 3000000 /dev/zero; exit 3", ALL);
    std::thread::sleep(Duration::from_millis(100));
    drop(session);
    world.wait_gone();
    assert_eq!(world.exit_record().unwrap().exit_code, 3);
}

#[test]
fn malformed_frames_end_their_connection_only() {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;
    let mut world = World::new();
    world.launch.stdin = StdinMode::Open;
    world.start("read x; echo $x");
    let hello = [1, 0, 0, 0, 1, 1];
    let cases: [&[u8]; 7] = [
        &[0xff; 64],
        &[0, 0, 0, 0, 200],
        &[1, 0, 0, 0, 1, 0],
        &[4, 0, 0, 0, 16, b'j', b'u', b'n', b'k'],
        &[0xff, 0xff, 0xff, 0x7f, 17],
        &[0, 0, 0, 0, 21],
        &[1, 0, 0, 0, 19, 0],
    ];
    for (index, case) in cases.iter().enumerate() {
        let mut stream = UnixStream::connect(world.launch.run_dir.join("socket")).unwrap();
        if index > 2 {
            stream.write_all(&hello).unwrap();
        }
        stream.write_all(case).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        // A reset follows the answer when not everything was read.
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(
            answer.windows(7).any(|part| part == b"invalid"),
            "{index}: {:?}",
            String::from_utf8_lossy(&answer)
        );
    }
    let mut session = world.client().attach(ALL).unwrap();
    session.send_stdin(b"alive\n").unwrap();
    assert_eq!(collect(&mut session).stdout, b"alive\n");
}

#[test]
fn a_terminal_has_a_size_and_one_stream() {
    let mut world = World::new();
    world.launch.terminal = true;
    world.launch.console_size = Some((91, 33));
    world.launch.stdin = StdinMode::Once;
    let (mut session, _) = world.run_attached("stty size; read x; stty size >&2; echo \"<$x>\"", ALL);
    let mut text = Vec::new();
    while !text.ends_with(b"33 91\r\n") {
        let Event::Stdout(data) = session.next_event().unwrap() else { panic!() };
        text.extend_from_slice(data);
    }
    session.resize(120, 40).unwrap();
    session.send_stdin(b"hi\n").unwrap();
    let got = collect(&mut session);
    let text = String::from_utf8(got.stdout).unwrap();
    assert!(text.contains("40 120\r\n") && text.ends_with("<hi>\r\n"), "{text:?}");
    assert!(got.stderr.is_empty());
    assert_eq!(got.exit.unwrap().exit_code, 0);
}

#[test]
fn a_claimed_clean_up_is_the_clients_and_an_abandoned_one_the_commands() {
    let world = World::new();
    world.start("exec sleep 100");
    let mut client = world.client();
    client.watch(Claim::Yes).unwrap();
    client.signal(15).unwrap();
    assert_eq!(client.wait(None).unwrap().unwrap().exit_code, 143);
    std::thread::sleep(Duration::from_millis(50));
    assert!(world.cleanups().is_empty());
    client.cleaned().unwrap();
    world.wait_gone();
    assert!(world.cleanups().is_empty());

    let world = World::new();
    world.start("exec sleep 100");
    let mut client = world.client();
    client.watch(Claim::Yes).unwrap();
    client.signal(15).unwrap();
    client.wait(None).unwrap();
    drop(client);
    world.wait_gone();
    assert_eq!(world.cleanups(), ["cleaned "]);
}

#[test]
fn a_restart_waits_and_can_be_cancelled() {
    let world = World::new();
    world.say("restart 150\n");
    let begun = Instant::now();
    world.start("exit 1");
    world.wait_gone();
    assert!(begun.elapsed() >= Duration::from_millis(150));
    assert_eq!(world.cleanups(), ["cleaned ", "cleaned --restart"]);

    let world = World::new();
    world.say("restart 60000\n");
    world.start("exit 1");
    let mut client = loop {
        std::thread::sleep(Duration::from_millis(10));
        if !world.cleanups().is_empty() {
            break world.client();
        }
    };
    let cancelled = (0..100).any(|_| {
        std::thread::sleep(Duration::from_millis(10));
        client.cancel_restart().is_ok()
    });
    assert!(cancelled);
    world.wait_gone();
    assert_eq!(world.cleanups(), ["cleaned "]);
}

#[test]
fn who_comes_late_is_told_the_end() {
    let world = World::new();
    world.say("restart 60000\n");
    world.start("exit 4");
    while world.cleanups().is_empty() {
        std::thread::sleep(Duration::from_millis(10));
    }
    let mut client = world.client();
    client.watch(Claim::No).unwrap();
    assert_eq!(client.wait(None).unwrap().unwrap().exit_code, 4);
    let error = world.client().attach(ALL).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
}

#[test]
fn a_grandchild_that_keeps_the_output_open_delays_nothing() {
    let world = World::new();
    let begun = Instant::now();
    let (mut session, _) = world.run_attached("sleep 3 & echo done", ALL);
    assert_eq!(collect(&mut session).stdout, b"done\n");
    assert!(begun.elapsed() < Duration::from_secs(2));
}

#[test]
fn closing_its_own_output_keeps_the_monitor_quiet() {
    let world = World::new();
    world.start("exec >/dev/null 2>&1; exec sleep 100");
    std::thread::sleep(Duration::from_millis(50));
    let before = world.monitor_ticks();
    std::thread::sleep(Duration::from_millis(300));
    assert!(world.monitor_ticks() - before <= 2, "the monitor spins");
    world.client().signal(9).unwrap();
}

#[test]
fn the_start_record_is_there_when_the_process_runs() {
    let world = World::new();
    world.start("exec sleep 100");
    let record = StateRecord::load(&world.launch.run_dir).unwrap().unwrap();
    assert!(record.is_alive());
    assert!(common::is_alive(record.monitor));
    world.client().signal(9).unwrap();
    world.wait_gone();
    assert_eq!(StateRecord::load(&world.launch.run_dir).unwrap(), None);
}

#[test]
fn a_second_monitor_of_one_container_is_refused() {
    let world = World::new();
    world.start("exec sleep 100");
    let error = world.spawn().wait_created().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    // The first is still reachable.
    world.client().signal(9).unwrap();
    world.wait_gone();
    assert!(matches!(world.client_or_gone(), Err(Error::NoMonitor { .. })));
}
