//! The words that every crate of Brig shares: error kinds, container identities, sizes, Docker's
//! human formats, Go durations. Values in, values out: no I/O, no clock, no environment, no async.

pub mod error;
pub mod guard;
pub mod id;

pub use error::{ErrorKind, Kinded};
pub use id::ContainerId;
