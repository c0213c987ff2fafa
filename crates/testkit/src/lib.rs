//! Helpers that tests share. Nothing of it is part of the program.
//!
//! - [`World`]: a machine of a test's own, in which the built program runs: namespaces, folders, a tiny image; when it is
//!   dropped, it looks for what was left behind and fails the test that left it.
//! - [`tiny`]: the smallest image there is, made from the machine's own static busybox.
//! - [`registry`]: a registry inside the test, honest or not.
//! - [`needs`]: what a test needs of the machine; says `SKIP why` where that is missing.
//!
//! A failed expectation panics with the command line and all that it printed: these are helpers for tests.

pub mod done;
pub mod needs;
pub mod registry;
pub mod tiny;
pub mod wait;
pub mod world;

mod leftovers;
mod sandbox;

pub use done::Done;
pub use wait::eventually;
pub use world::World;
