//! Capability sets: from the spec's names to the kernel's bits, cut to what this kernel and this caller have.

use oci::runtime::{Capabilities, Capability, LinuxCapabilities};
use rustix::thread::{CapabilitySet, CapabilitySets};

/// The five sets of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sets {
    pub(crate) bounding: CapabilitySet,
    pub(crate) effective: CapabilitySet,
    pub(crate) permitted: CapabilitySet,
    pub(crate) inheritable: CapabilitySet,
    pub(crate) ambient: CapabilitySet,
}

/// Names by bit. Source: `linux/capability.h`.
const NAMES: [(Capability, &str); 41] = [
    (Capability::Chown, "CAP_CHOWN"),
    (Capability::DacOverride, "CAP_DAC_OVERRIDE"),
    (Capability::DacReadSearch, "CAP_DAC_READ_SEARCH"),
    (Capability::Fowner, "CAP_FOWNER"),
    (Capability::Fsetid, "CAP_FSETID"),
    (Capability::Kill, "CAP_KILL"),
    (Capability::Setgid, "CAP_SETGID"),
    (Capability::Setuid, "CAP_SETUID"),
    (Capability::Setpcap, "CAP_SETPCAP"),
    (Capability::LinuxImmutable, "CAP_LINUX_IMMUTABLE"),
    (Capability::NetBindService, "CAP_NET_BIND_SERVICE"),
    (Capability::NetBroadcast, "CAP_NET_BROADCAST"),
    (Capability::NetAdmin, "CAP_NET_ADMIN"),
    (Capability::NetRaw, "CAP_NET_RAW"),
    (Capability::IpcLock, "CAP_IPC_LOCK"),
    (Capability::IpcOwner, "CAP_IPC_OWNER"),
    (Capability::SysModule, "CAP_SYS_MODULE"),
    (Capability::SysRawio, "CAP_SYS_RAWIO"),
    (Capability::SysChroot, "CAP_SYS_CHROOT"),
    (Capability::SysPtrace, "CAP_SYS_PTRACE"),
    (Capability::SysPacct, "CAP_SYS_PACCT"),
    (Capability::SysAdmin, "CAP_SYS_ADMIN"),
    (Capability::SysBoot, "CAP_SYS_BOOT"),
    (Capability::SysNice, "CAP_SYS_NICE"),
    (Capability::SysResource, "CAP_SYS_RESOURCE"),
    (Capability::SysTime, "CAP_SYS_TIME"),
    (Capability::SysTtyConfig, "CAP_SYS_TTY_CONFIG"),
    (Capability::Mknod, "CAP_MKNOD"),
    (Capability::Lease, "CAP_LEASE"),
    (Capability::AuditWrite, "CAP_AUDIT_WRITE"),
    (Capability::AuditControl, "CAP_AUDIT_CONTROL"),
    (Capability::Setfcap, "CAP_SETFCAP"),
    (Capability::MacOverride, "CAP_MAC_OVERRIDE"),
    (Capability::MacAdmin, "CAP_MAC_ADMIN"),
    (Capability::Syslog, "CAP_SYSLOG"),
    (Capability::WakeAlarm, "CAP_WAKE_ALARM"),
    (Capability::BlockSuspend, "CAP_BLOCK_SUSPEND"),
    (Capability::AuditRead, "CAP_AUDIT_READ"),
    (Capability::Perfmon, "CAP_PERFMON"),
    (Capability::Bpf, "CAP_BPF"),
    (Capability::CheckpointRestore, "CAP_CHECKPOINT_RESTORE"),
];

/// Returns the names of all capabilities that we know, by bit.
pub(crate) fn names() -> Vec<String> {
    NAMES.iter().map(|(_, name)| (*name).to_owned()).collect()
}

/// Returns the sets that `spec` asks for, cut to `available`, and the names that were cut off.
///
/// Without capabilities in the spec all sets are empty. Ambient ones that are not both permitted and inheritable are cut
/// too: the kernel would refuse them.
pub(crate) fn sets(spec: Option<&LinuxCapabilities>, available: CapabilitySet) -> (Sets, Vec<&'static str>) {
    let set = |names: Option<&Capabilities>| {
        let bits = |name: &Capability| NAMES.iter().position(|(known, _)| known == name).unwrap_or(0);
        names
            .into_iter()
            .flatten()
            .fold(CapabilitySet::empty(), |set, name| set | CapabilitySet::from_bits_retain(1 << bits(name)))
    };
    let asked = Sets {
        bounding: set(spec.and_then(|caps| caps.bounding().as_ref())),
        effective: set(spec.and_then(|caps| caps.effective().as_ref())),
        permitted: set(spec.and_then(|caps| caps.permitted().as_ref())),
        inheritable: set(spec.and_then(|caps| caps.inheritable().as_ref())),
        ambient: set(spec.and_then(|caps| caps.ambient().as_ref())),
    };
    let permitted = asked.permitted & available;
    // What is inheritable only helps programs whose files carry inheritable capabilities to get more than they were given.
    let inheritable = if crate::unguard::off("caps") { permitted } else { asked.inheritable & available };
    let cut = Sets {
        bounding: asked.bounding & available,
        effective: asked.effective & permitted,
        permitted,
        inheritable,
        ambient: asked.ambient & permitted & inheritable,
    };
    let lost = (asked.bounding | asked.permitted | asked.effective | asked.inheritable) - available;
    let lost_names = NAMES.iter().enumerate().filter(|(bit, _)| lost.bits() & (1 << bit) != 0);
    (cut, lost_names.map(|(_, (_, name))| *name).collect())
}

impl Sets {
    /// Drops everything that is not in the bounding set from the calling thread's bounding set.
    pub(crate) fn apply_bounding(&self) -> rustix::io::Result<()> {
        for bit in 0..64 {
            let one = CapabilitySet::from_bits_retain(1 << bit);
            if self.bounding.contains(one) {
                continue;
            }
            match rustix::thread::remove_capability_from_bounding_set(one) {
                Ok(()) => {}
                // The first number that the kernel does not know.
                Err(rustix::io::Errno::INVAL) => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Sets the other four sets of the calling thread.
    pub(crate) fn apply(&self) -> rustix::io::Result<()> {
        let Self { effective, permitted, inheritable, ambient, .. } = *self;
        rustix::thread::set_capabilities(None, CapabilitySets { effective, permitted, inheritable })?;
        rustix::thread::clear_ambient_capability_set()?;
        for one in ambient.iter() {
            rustix::thread::configure_capability_in_ambient_set(one, true)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_cut_to_what_there_is() {
        let json = serde_json::json!({"bounding": ["CAP_KILL", "CAP_BPF"], "effective": ["CAP_KILL", "CAP_BPF"],
            "permitted": ["CAP_KILL", "CAP_BPF"], "ambient": ["CAP_KILL"]});
        let spec: LinuxCapabilities = serde_json::from_value(json).unwrap();
        let (sets, lost) = sets(Some(&spec), CapabilitySet::KILL);
        assert_eq!(lost, ["CAP_BPF"]);
        assert_eq!((sets.bounding, sets.effective), (CapabilitySet::KILL, CapabilitySet::KILL));
        assert!(sets.ambient.is_empty(), "not inheritable");
    }

    #[test]
    fn no_capabilities_means_none() {
        assert_eq!(super::sets(None, CapabilitySet::all()).0.permitted, CapabilitySet::empty());
    }

    #[test]
    fn names_stand_at_their_bits() {
        for (bit, name) in [(0, "CAP_CHOWN"), (21, "CAP_SYS_ADMIN"), (40, "CAP_CHECKPOINT_RESTORE")] {
            assert_eq!(NAMES[bit].1, name);
        }
    }
}
