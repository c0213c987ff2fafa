//! The role `brig monitor`: one thread, one epoll set, few kilobytes.
//!
//! ```text
//! Creating ──made──▶ Created ──Start──▶ Starting ──started──▶ Running ──init ended──▶ Ended
//!    │                  │ Abort, init died   │ refused            ▲                      │
//!    └─refused─▶ Done ◀─┴────────────────────┘         --takeover─┘     claimed?  ┌──────┴──────┐
//!                 ▲                                                            Claimed      Cleaning
//!                 ├──────────────────────── Cleaned ──────────────────────────────┘ │  client   │
//!                 ├────────────────────────────────────────────────────────────────-┼───────────┤
//!                 └── Cleaning (--restart) ◀──time passed── Waiting ◀──"restart ms"─┘───────────┘
//! ```
//!
//! [`monitor::Phase`] holds the state; [`life`] owns all transitions. In `Done` nothing is left to do but to hand the
//! last bytes to clients that are slow.

mod clients;
mod endpoint;
mod events;
mod execs;
mod fork;
mod guard;
mod health;
mod life;
mod monitor;
mod names;
mod names_tcp;
mod peer;
mod poller;
mod streams;
mod table;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use crate::creator::{Creator, RuntimeCreator};
use crate::error::Result;
use crate::launch::{Launch, LaunchFds};
use crate::wire;

/// The descriptor on which the starter listens; those of the container follow.
const CONTROL: i32 = 3;

/// The exit status of a monitor that could not begin.
const FAILED: u8 = 125;

/// The role `brig monitor`: arguments after `monitor`. Started by [`crate::spawn`] and [`crate::ensure_monitor`] only.
pub fn monitor_main(args: impl Iterator<Item = OsString>) -> ExitCode {
    monitor_main_with(args, &RuntimeCreator)
}

/// [`monitor_main`] with another creator, for tests.
pub fn monitor_main_with(args: impl Iterator<Item = OsString>, creator: &dyn Creator) -> ExitCode {
    let Some(control) = sys::detach::take_inherited(CONTROL) else { return ExitCode::from(FAILED) };
    let arguments = Arguments::parse(args);
    let mut next = CONTROL;
    let mut take = |given: bool| {
        given.then(|| {
            next += 1;
            sys::detach::take_inherited(next)
        })?
    };
    let fds = LaunchFds {
        rootfs: take(arguments.rootfs),
        netns: take(arguments.netns),
        userns: take(arguments.userns),
        keep: take(arguments.keep),
    };
    let begun = Launch::load(&arguments.run_dir).and_then(|launch| {
        // Nothing but SIGKILL shall end it; what it starts gets clean signals.
        let _ = sys::sigset::block_all();
        monitor::Monitor::begin(creator, launch, arguments.takeover)
    });
    let done = match begun {
        Ok(monitor) => monitor.run(control, fds),
        Err(error) => {
            report(&control, &error);
            Err(error)
        }
    };
    if failed(done) { ExitCode::from(FAILED) } else { ExitCode::SUCCESS }
}

/// Tells the starter, if it is still there, why there is no monitor.
fn report(control: &std::os::fd::OwnedFd, error: &crate::Error) {
    let mut frames = Vec::new();
    wire::encode(wire::Kind::Hello, &[wire::VERSION], &mut frames);
    wire::encode_json(wire::Kind::Failed, &wire::Failure::of(error), &mut frames);
    let flags = rustix::net::SendFlags::NOSIGNAL | rustix::net::SendFlags::DONTWAIT;
    let _ = rustix::net::send(control, &frames, flags);
}

#[derive(Default)]
struct Arguments {
    run_dir: PathBuf,
    rootfs: bool,
    netns: bool,
    userns: bool,
    keep: bool,
    takeover: bool,
}

impl Arguments {
    /// The only callers are in this crate, so there is nobody to explain a wrong argument to.
    fn parse(mut args: impl Iterator<Item = OsString>) -> Self {
        let mut parsed = Self::default();
        while let Some(arg) = args.next() {
            match arg.to_str() {
                Some("--run-dir") => parsed.run_dir = args.next().unwrap_or_default().into(),
                Some("--rootfs") => parsed.rootfs = true,
                Some("--netns") => parsed.netns = true,
                Some("--userns") => parsed.userns = true,
                Some("--keep") => parsed.keep = true,
                Some("--takeover") => parsed.takeover = true,
                _ => {}
            }
        }
        parsed
    }
}

/// Says whether `result` is an error, for places where nothing can be done about it and nobody is there to tell.
fn failed<T>(result: Result<T>) -> bool {
    result.is_err()
}
