//! The answers of `inspect`, `info` and `version`: fields in the order and under the names of the Engine API.
//!
//! Source: Docker Engine API 1.50 to 1.55. Older clients find what they look for; fields that Docker dropped are left out.

pub mod container;
pub mod event;
pub mod image;
pub mod network;
pub mod stats;
pub mod system;
pub mod volume;
