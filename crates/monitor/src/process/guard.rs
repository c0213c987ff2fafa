//! Keeping watch over the firewall: when somebody changes rules, Brig's own may have gone with theirs. Of all monitors
//! one has them looked at, by a command, once.
//!
//! ```text
//! rules change ─▶ all monitors wake ─▶ a moment later, not all the same: has somebody looked since? ─ yes ─▶ done
//!                                                                                                  └ no ──▶ note it, run the command
//! ```
//! A filter in the kernel keeps what happens all day from waking anybody: elements of sets, such as published ports.

use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::fs::{FlockOperation, flock};
use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType};

use super::monitor::{Monitor, now_ms};
use super::poller::{READ, Token};
use crate::error::{Doing, Result};

/// The group of `NFNLGRP_NFTABLES`, number 7.
const NFTABLES: u32 = 1 << 6;
/// Messages that say nothing of rules: elements that come and go, and the number of the generation (`NFT_MSG_*` behind
/// the number of nftables).
const UNINTERESTING: [u16; 3] = [0x0a0c, 0x0a0e, 0x0a0f];
/// One reload is many messages: so long it is waited for the last of them.
const PAUSE_MS: u64 = 100;
/// Monitors look at times that differ by up to this, so that the first one does it for all.
const SPREAD_MS: u64 = 150;

/// The watch of one monitor.
#[derive(Debug)]
pub(super) struct Guard {
    socket: OwnedFd,
    /// When rules changed last, and when to look.
    due: Option<(u64, u64)>,
}

impl Monitor<'_> {
    /// Begins to watch, if the container depends on the firewall. One that cannot be watched for goes on without.
    pub(super) fn begin_guard(&mut self) {
        if self.launch.guard.is_some() && self.guard.is_none() {
            self.guard = self.watch_rules().ok().map(|socket| Guard { socket, due: None });
        }
    }

    fn watch_rules(&self) -> Result<OwnedFd> {
        let doing = || "watch the firewall".to_owned();
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let protocol = Some(netlink::NETFILTER);
        let socket = rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, protocol)
            .doing(doing)?;
        sys::netlink::refuse_first_types(&socket, &UNINTERESTING).doing(doing)?;
        rustix::net::bind(&socket, &SocketAddrNetlink::new(0, NFTABLES)).doing(doing)?;
        self.poller.add(&socket, Token::Guard, READ).doing(doing)?;
        Ok(socket)
    }

    /// Rules have changed: what they are now is seen later, so what is said of it is thrown away.
    pub(super) fn on_guard(&mut self) {
        let Some(guard) = &mut self.guard else { return };
        let mut bytes = [0; 512];
        while rustix::net::recv(&guard.socket, &mut bytes[..], RecvFlags::DONTWAIT | RecvFlags::TRUNC).is_ok()
        {
        }
        let now = now_ms();
        let spread = u64::from(std::process::id()) % SPREAD_MS;
        // Changes without end do not put it off.
        let due = guard.due.map_or(now + PAUSE_MS + spread, |(_, due)| due);
        guard.due = Some((now, due));
    }

    /// Milliseconds until the rules are to be looked at.
    pub(super) fn guard_wait(&self) -> Option<u64> {
        let (_, due) = self.guard.as_ref()?.due?;
        Some(due.saturating_sub(now_ms()))
    }

    /// Has the rules looked at when it is time, unless another monitor was faster.
    pub(super) fn tick_guard(&mut self) {
        if self.guard_wait() != Some(0) {
            return;
        }
        let Some((changed, _)) = self.guard.as_mut().and_then(|guard| guard.due.take()) else { return };
        let Some(spec) = &self.launch.guard else { return };
        // Where it cannot be known it is better done twice.
        if is_first_since(&spec.stamp, changed).unwrap_or(true) {
            let program = self.launch.program.as_deref().unwrap_or(Path::new("/proc/self/exe"));
            let mut command = Command::new(program);
            command.arg0("brig").args(&spec.command).current_dir("/");
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            // Its end is of no interest: it is reaped among the strays.
            drop(command.spawn());
        }
    }
}

/// Notes in the file `stamp` that the rules are looked at now, unless somebody has noted so since `changed`.
fn is_first_since(stamp: &Path, changed: u64) -> std::io::Result<bool> {
    let mut file = File::options().create(true).truncate(false).read(true).write(true).open(stamp)?;
    flock(&file, FlockOperation::LockExclusive)?;
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    let now = now_ms();
    // One from the future is of another boot.
    if text.trim().parse::<u64>().is_ok_and(|looked| looked >= changed && looked <= now) {
        return Ok(false);
    }
    file.set_len(0)?;
    file.rewind()?;
    write!(file, "{now}")?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_looks_for_all() {
        let stamp = std::env::temp_dir().join(format!("brig-guard-{}", std::process::id()));
        let changed = now_ms();
        assert!(is_first_since(&stamp, changed).unwrap());
        assert!(!is_first_since(&stamp, changed).unwrap());
        std::thread::sleep(std::time::Duration::from_millis(5));
        assert!(is_first_since(&stamp, now_ms()).unwrap());
        std::fs::write(&stamp, (now_ms() + 1_000_000).to_string()).unwrap();
        assert!(is_first_since(&stamp, changed).unwrap());
        std::fs::remove_file(&stamp).unwrap();
    }
}
