//! The terminal's side: a program that attaches, in a terminal of its own or between pipes.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::World;
use monitor::StdinMode;
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

fn attach(world: &World, flags: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_monitor-plain"));
    command.arg("attach").arg(&world.launch.run_dir).args(flags).stderr(Stdio::piped()).current_dir("/");
    command
}

/// Waits until the program says that it is attached.
fn wait_attached(child: &mut Child) {
    let mut text = [0; 9];
    child.stderr.as_mut().unwrap().read_exact(&mut text).unwrap();
    assert_eq!(&text, b"attached\n");
}

#[test]
fn megabytes_pass_between_pipes_without_a_standstill() {
    let mut world = World::new();
    world.launch.stdin = StdinMode::Once;
    world.start("exec cat");
    let mut child = attach(&world, &[]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    wait_attached(&mut child);
    let data: Vec<u8> = (0..6_000_000u32).map(|number| (number % 253) as u8).collect();
    let mut input = child.stdin.take().unwrap();
    let sent = data.clone();
    let thread = std::thread::spawn(move || input.write_all(&sent));
    std::thread::sleep(Duration::from_millis(200));
    let mut got = Vec::new();
    child.stdout.take().unwrap().read_to_end(&mut got).unwrap();
    let sent = thread.join().unwrap();
    let mut error = String::new();
    child.stderr.take().unwrap().read_to_string(&mut error).unwrap();
    assert!(got == data && sent.is_ok(), "{} bytes, {error}", got.len());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn signals_are_handed_on() {
    let world = World::new();
    world.start("trap 'echo caught; exit 33' INT; echo ready; while :; do sleep 0.01; done");
    let mut child = attach(&world, &["proxy"]).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    wait_attached(&mut child);
    std::thread::sleep(Duration::from_millis(100));
    sys::process::kill(child.id() as i32, 2).unwrap();
    let mut text = String::new();
    child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    assert!(text.ends_with("caught\n"), "{text:?}");
    assert_eq!(child.wait().unwrap().code(), Some(33));
}

struct Terminal {
    master: File,
    slave: OwnedFd,
}

impl Terminal {
    fn new() -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let slave = ioctl_tiocgptpeer(&master, flags).unwrap();
        let size = Winsize { ws_row: 22, ws_col: 77, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&slave, size).unwrap();
        Self { master: master.into(), slave }
    }

    fn is_raw(&self) -> bool {
        !tcgetattr(&self.slave).unwrap().local_modes.contains(LocalModes::ICANON)
    }

    fn stdio(&self) -> Stdio {
        self.slave.try_clone().unwrap().into()
    }

    /// Reads until `wanted` has come.
    fn expect(&mut self, wanted: &str) {
        let end = Instant::now() + Duration::from_secs(10);
        let mut got = Vec::new();
        let mut bytes = [0; 1024];
        while !String::from_utf8_lossy(&got).contains(wanted) {
            assert!(Instant::now() < end, "{:?}", String::from_utf8_lossy(&got));
            let count = self.master.read(&mut bytes).unwrap();
            got.extend_from_slice(&bytes[..count]);
        }
    }
}

fn terminal_world() -> World {
    let mut world = World::new();
    world.launch.terminal = true;
    world.launch.stdin = StdinMode::Open;
    world.start("while read x; do echo \"<$x> $(stty size)\"; done");
    world
}

#[test]
fn a_terminal_is_raw_while_attached_and_restored_by_detaching() {
    let world = terminal_world();
    let mut terminal = Terminal::new();
    let mut child =
        attach(&world, &["tty"]).stdin(terminal.stdio()).stdout(terminal.stdio()).spawn().unwrap();
    wait_attached(&mut child);
    terminal.master.write_all(b"hello\r").unwrap();
    terminal.expect("<hello> 22 77");
    assert!(terminal.is_raw());
    let size = Winsize { ws_row: 30, ws_col: 90, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(&terminal.slave, size).unwrap();
    // The terminal is nobody's controlling terminal here, so the signal is sent by hand.
    sys::process::kill(child.id() as i32, 28).unwrap();
    std::thread::sleep(Duration::from_millis(100));
    terminal.master.write_all(b"x\r").unwrap();
    terminal.expect("<x> 30 90");
    terminal.master.write_all(b"\x10").unwrap();
    std::thread::sleep(Duration::from_millis(50));
    terminal.master.write_all(b"\x11").unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(!terminal.is_raw());
    assert!(world.exit_record().is_none(), "the container goes on");
}

#[test]
fn a_deadly_signal_restores_the_terminal() {
    let world = terminal_world();
    let mut terminal = Terminal::new();
    let mut child =
        attach(&world, &["tty"]).stdin(terminal.stdio()).stdout(terminal.stdio()).spawn().unwrap();
    wait_attached(&mut child);
    terminal.master.write_all(b"hello\r").unwrap();
    terminal.expect("<hello>");
    assert!(terminal.is_raw());
    sys::process::kill(child.id() as i32, 15).unwrap();
    let status = child.wait().unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(15));
    assert!(!terminal.is_raw());
}
