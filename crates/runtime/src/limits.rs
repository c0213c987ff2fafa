//! Resource limits of a process. One that may not be raised is reported and cut to what there is.

use oci::runtime::{PosixRlimit, PosixRlimitType};
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit, setrlimit};

use crate::error::{Doing, Result};

fn resource(kind: PosixRlimitType) -> Resource {
    match kind {
        PosixRlimitType::RlimitCpu => Resource::Cpu,
        PosixRlimitType::RlimitFsize => Resource::Fsize,
        PosixRlimitType::RlimitData => Resource::Data,
        PosixRlimitType::RlimitStack => Resource::Stack,
        PosixRlimitType::RlimitCore => Resource::Core,
        PosixRlimitType::RlimitRss => Resource::Rss,
        PosixRlimitType::RlimitNproc => Resource::Nproc,
        PosixRlimitType::RlimitNofile => Resource::Nofile,
        PosixRlimitType::RlimitMemlock => Resource::Memlock,
        PosixRlimitType::RlimitAs => Resource::As,
        PosixRlimitType::RlimitLocks => Resource::Locks,
        PosixRlimitType::RlimitSigpending => Resource::Sigpending,
        PosixRlimitType::RlimitMsgqueue => Resource::Msgqueue,
        PosixRlimitType::RlimitNice => Resource::Nice,
        PosixRlimitType::RlimitRtprio => Resource::Rtprio,
        PosixRlimitType::RlimitRttime => Resource::Rttime,
    }
}

/// `RLIM_INFINITY` of the specification's numbers.
fn value(number: u64) -> Option<u64> {
    (number != u64::MAX).then_some(number)
}

fn exceeds(wanted: Option<u64>, there: Option<u64>) -> bool {
    match (wanted, there) {
        (_, None) => false,
        (None, Some(_)) => true,
        (Some(wanted), Some(there)) => wanted > there,
    }
}

/// Raises the hard limits of process `pid` where they are below what is wanted. Returns a warning for each that
/// may not be raised.
pub(crate) fn raise(pid: i32, limits: &[PosixRlimit]) -> Vec<String> {
    let Some(pid) = Pid::from_raw(pid) else { return Vec::new() };
    let mut warnings = Vec::new();
    for limit in limits {
        let resource = resource(limit.typ());
        let now = getrlimit(resource);
        let wanted = value(limit.hard());
        if !exceeds(wanted, now.maximum) {
            continue;
        }
        if let Err(error) = prlimit(Some(pid), resource, Rlimit { current: now.current, maximum: wanted }) {
            let show =
                |number: Option<u64>| number.map_or("unlimited".to_owned(), |number| number.to_string());
            let (wanted, there) = (show(wanted), show(now.maximum));
            warnings.push(format!("cannot raise {} to {wanted}, it stays {there}: {error}", limit.typ()));
        }
    }
    warnings
}

/// Sets the caller's limits, cut to the hard limits that it has.
pub(crate) fn set(limits: &[PosixRlimit]) -> Result<()> {
    for limit in limits {
        let resource = resource(limit.typ());
        let there = getrlimit(resource).maximum;
        let cut = |number: u64| {
            let wanted = value(number);
            if exceeds(wanted, there) { there } else { wanted }
        };
        let new = Rlimit { current: cut(limit.soft()), maximum: cut(limit.hard()) };
        setrlimit(resource, new)
            .doing(|| format!("set {} to {}:{}", limit.typ(), limit.soft(), limit.hard()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unlimited_exceeds_every_number() {
        for (wanted, there, expected) in
            [(Some(5), Some(5), false), (Some(6), Some(5), true), (None, Some(5), true), (None, None, false)]
        {
            assert_eq!(exceeds(wanted, there), expected);
        }
    }
}
