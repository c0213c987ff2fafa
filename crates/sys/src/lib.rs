//! System calls, thin and honest: the only crate with `unsafe`. Owned and borrowed descriptors instead of
//! integers, flag types, out-parameters returned. It adds no policy; what rustix has is used from rustix.
//!
//! Each file that needs `unsafe` allows it for itself, with a `SAFETY:` comment at each block.

pub mod beneath;
pub mod bpf;
pub mod detach;
pub mod fork;
pub mod mount;
pub mod netlink;
pub mod netns;
pub mod pages;
pub mod pidfd_info;
pub mod process;
pub mod sched;
pub mod seccomp;
pub mod signalfd;
pub mod sigset;
pub mod thread;
pub mod trace;
pub mod xtables;
