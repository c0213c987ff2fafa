//! What a container gets when nobody says otherwise: Docker's lists of today (moby 29, August 2026). How ours differ is
//! in docs/security.md.

/// The capabilities of a container's process, in its bounding, permitted and effective sets.
///
/// Source: moby `daemon/pkg/oci/caps/defaults.go`.
pub const CAPABILITIES: &[&str] = &[
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
];

/// Paths that are covered so that nothing of them can be read or written.
///
/// [`masked_paths`] adds those that depend on the machine. Source: moby `daemon/pkg/oci/defaults.go`, GHSA-6fw5-f8r9-fgfm, GHSA-jq35-85cj-fj4p.
pub const MASKED_PATHS: &[&str] = &[
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];

/// Returns [`MASKED_PATHS`] and, as Docker does, `/sys/devices/system/cpu/cpuN/thermal_throttle` for each processor that has it:
/// counters that one container could watch another by.
pub fn masked_paths() -> Vec<String> {
    let throttled = |entry: std::fs::DirEntry| {
        let name = entry.file_name().into_string().ok()?;
        let number = name.strip_prefix("cpu")?;
        let path = entry.path().join("thermal_throttle");
        let wanted = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()) && path.exists();
        if wanted { path.into_os_string().into_string().ok() } else { None }
    };
    let processors = std::fs::read_dir("/sys/devices/system/cpu").into_iter().flatten().flatten();
    let mut paths: Vec<String> = processors.filter_map(throttled).collect();
    paths.sort();
    MASKED_PATHS.iter().map(|path| (*path).to_owned()).chain(paths).collect()
}

/// Paths that can be read and not written.
///
/// Source: moby `daemon/pkg/oci/defaults.go`.
pub const READONLY_PATHS: &[&str] =
    &["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];
