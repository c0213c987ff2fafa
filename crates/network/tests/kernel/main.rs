//! The network as the kernel shows it: real traffic between namespaces. The "host" of each test is a fresh namespace
//! too, so that the machine's own is never touched and the tests run in parallel.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod bridge;
mod firewall;
mod gate;
mod isolation;
mod published;
mod world;
