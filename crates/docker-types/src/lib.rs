//! The words of Docker: the JSON shapes of its Engine API, and the parsers of its command line's flag syntaxes
//! (ports, mounts, sizes, ulimits, …). No I/O.

pub mod container;

pub use container::{ContainerConfig, ContainerSpec, HostConfig};
