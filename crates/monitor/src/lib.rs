//! The monitor, one small process beside each container, and the library to speak with it.
//!
//! The monitor ([`monitor_main`], the role `brig monitor`) is the parent of the container's init: it owns the
//! streams, writes the log, answers attach and exec on a socket, records the exit and has the clean-up done.
//! The design is written down in `docs/design/first-path.md`.
//!
//! * [`spawn`] starts one, [`Pending`] takes it through create and start.
//! * [`Client`] speaks with the one of a running container, [`ensure_monitor`] makes sure that there is one.
//! * [`interact`] joins a [`Session`] with the terminal of the caller.
//! * [`log`] writes and reads Docker's json-file format.
//! * [`events`] records what happens and reads it back.
//! * [`names`] is what it is told of the container's networks, to answer where others are.
//!
//! It knows neither images nor networks: at the end of a container it runs one command for the clean-up.

mod client;
mod clock;
mod connection;
pub mod creator;
pub mod error;
pub mod events;
pub mod health;
pub mod interact;
pub mod launch;
pub mod log;
pub mod names;
mod process;
pub mod record;
mod spawn;
mod transport;
mod wire;

pub use client::{AttachOptions, Claim, Client, Event, ExecLaunch, Session, SessionSender};
pub use error::{Error, Result};
pub use health::{HealthReport, HealthStatus, ProbeResult};
pub use launch::{CgroupManager, GuardSpec, HealthCheck, Launch, LaunchFds, LogSpec, StdinMode};
pub use process::{monitor_main, monitor_main_with};
pub use record::{ExecRecord, ExitRecord, StateRecord};
pub use spawn::{CreatedInfo, Pending, Started, ensure_monitor, spawn};
