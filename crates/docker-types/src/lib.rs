//! The words of Docker: the JSON shapes of its Engine API, the parsers of its command line's flag syntaxes
//! (ports, mounts, sizes, ulimits, …), the way its tables and templates render. No I/O, no clock, no environment.

pub mod bind;
pub mod container;
pub mod csv;
pub mod device;
pub mod duration;
pub mod env;
pub mod filter;
pub mod host;
pub mod inspect;
pub mod limits;
pub mod logging;
pub mod mount;
pub mod names;
pub mod platform;
pub mod policy;
pub mod port;
pub mod secret;
pub mod security;
pub mod signal;
pub mod size;
pub mod summary;
pub mod table;
pub mod template;
pub mod time;
pub mod validate;

pub use container::{ContainerConfig, ContainerSpec, HostConfig};
