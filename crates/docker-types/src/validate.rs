//! What a host configuration may ask for, checked before anything is made. The words are those of Docker's daemon.

use base::{ErrorKind, Kinded};

use crate::container::{ContainerSpec, HostConfig, Mount, Resources, RestartPolicy};
use crate::{bind, policy};

/// The least memory that a container may be limited to.
pub const MEMORY_MIN: i64 = 6 << 20;

/// Why a request is refused. The words are Docker's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the message of each variant says what it is")]
pub enum InvalidSpec {
    #[error("Minimum memory limit allowed is 6MB")]
    MemoryMin,
    #[error("You should always set the Memory limit when using Memoryswap limit, see usage")]
    SwapWithoutMemory,
    #[error("Minimum memoryswap limit should be larger than memory limit, see usage")]
    SwapBelowMemory,
    #[error("Minimum memory reservation allowed is 6MB")]
    ReservationMin,
    #[error("Minimum memory limit can not be less than memory reservation limit, see usage")]
    ReservationAboveMemory,
    #[error("Invalid value: {0}, valid memory swappiness range is 0-100")]
    Swappiness(i64),
    #[error("Invalid value {0}, range for oom score adj is [-1000, 1000]")]
    OomScore(i32),
    #[error("Conflicting options: Nano CPUs and CPU Period cannot both be set.")]
    CpusAndPeriod,
    #[error("Conflicting options: Nano CPUs and CPU Quota cannot both be set.")]
    CpusAndQuota,
    #[error("range of CPUs is from 0.01 to {0}.00, as there are only {0} CPUs available")]
    Cpus(usize),
    #[error("CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)")]
    CpuPeriod,
    #[error("CPU cfs quota can not be less than 1ms (i.e. 1000)")]
    CpuQuota,
    #[error("Invalid value {0}: CPU shares must not be negative")]
    CpuShares(i64),
    #[error("invalid CPU set for {flag}: {value:?}; give numbers and ranges such as 0-2,4")]
    CpuSet { flag: &'static str, value: String },
    #[error("Range of blkio weight is from 10 to 1000")]
    BlkioWeight,
    #[error("SHM size can not be less than 0")]
    ShmSize,
    #[error(
        "invalid restart policy: unknown policy '{0}'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'"
    )]
    RestartName(String),
    #[error("invalid restart policy: maximum retry count cannot be negative")]
    RestartNegative,
    #[error("invalid restart policy: maximum retry count can only be used with 'on-failure'")]
    RestartCount,
    #[error("can't create 'AutoRemove' container with restart policy")]
    RestartAndRemove,
    #[error("invalid hostname: {0:?}: letters, digits, hyphens and dots are allowed, 64 at most")]
    Hostname(String),
    #[error("the working directory '{0}' is invalid, it needs to be an absolute path")]
    WorkingDir(String),
    #[error("invalid argument: stop timeout: {0} is below -1")]
    StopTimeout(i64),
    #[error("conflicting options: hostname and the network mode")]
    HostnameAndContainer,
    #[error("conflicting options: port publishing and the container type network mode")]
    PortsAndContainer,
    #[error("conflicting options: custom host-to-IP mapping and the network mode")]
    HostsAndContainer,
    #[error("conflicting options: mac-address and the network mode")]
    MacAndHost,
    #[error("conflicting options: dns and the network mode")]
    DnsAndContainer,
    #[error("conflicting options: port exposing and the container type network mode")]
    ExposeAndContainer,
    #[error("conflicting options: hostname and the UTS mode")]
    HostnameAndUts,
    #[error(
        "invalid endpoint settings: an IP address can be chosen on a bridge or a network of one's own only, not on {0:?}"
    )]
    AddressAndMode(String),
    #[error("{0} in Healthcheck cannot be less than 1ms")]
    HealthTime(&'static str),
    #[error("Retries in Healthcheck cannot be negative")]
    HealthRetries,
    #[error("invalid environment variable: {0}")]
    Env(String),
    #[error("invalid mount config for type {kind:?}: {why}")]
    Mount { kind: String, why: String },
    #[error("Duplicate mount point: {0}")]
    DuplicateMount(String),
    #[error("{0:?} contains a NUL byte")]
    Nul(&'static str),
    #[error(transparent)]
    Bind(#[from] bind::BindError),
    #[error(transparent)]
    Policy(#[from] policy::PolicyError),
    #[error(transparent)]
    Security(#[from] crate::security::SecurityError),
    #[error(transparent)]
    Device(#[from] crate::device::DeviceError),
    #[error(transparent)]
    Signal(#[from] crate::signal::SignalError),
}

impl Kinded for InvalidSpec {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }
}

/// Checks a whole request; `cpus` is how many processors the machine has.
pub fn spec(spec: &ContainerSpec, cpus: usize) -> Result<(), InvalidSpec> {
    config(spec)?;
    let host = &spec.host_config;
    resources(&host.resources, cpus)?;
    restart(&host.restart_policy, host.auto_remove)?;
    modes(host)?;
    network(spec)?;
    mounts(host)?;
    for option in host.security_opt.iter().flatten() {
        crate::security::parse_option(option)?;
    }
    for (name, value) in &host.sysctls {
        crate::security::parse_sysctl(&format!("{name}={value}"))?;
    }
    for rule in host.resources.device_cgroup_rules.iter().flatten() {
        crate::device::parse_rule(rule)?;
    }
    if host.oom_score_adj < -1000 || host.oom_score_adj > 1000 {
        return Err(InvalidSpec::OomScore(host.oom_score_adj));
    }
    if host.shm_size < 0 { Err(InvalidSpec::ShmSize) } else { Ok(()) }
}

/// The least time that a health check may name, in nanoseconds.
const HEALTH_TIME_MIN: i64 = 1_000_000;

fn health(check: &crate::container::Healthcheck) -> Result<(), InvalidSpec> {
    let times = [
        ("Interval", check.interval),
        ("Timeout", check.timeout),
        ("StartPeriod", check.start_period),
        ("StartInterval", check.start_interval),
    ];
    if let Some((name, _)) = times.into_iter().find(|(_, time)| *time != 0 && *time < HEALTH_TIME_MIN) {
        return Err(InvalidSpec::HealthTime(name));
    }
    if check.retries < 0 { Err(InvalidSpec::HealthRetries) } else { Ok(()) }
}

fn config(spec: &ContainerSpec) -> Result<(), InvalidSpec> {
    let config = &spec.config;
    config.healthcheck.as_ref().map_or(Ok(()), health)?;
    let strings =
        [("Hostname", &config.hostname), ("Domainname", &config.domainname), ("User", &config.user)];
    if let Some((field, _)) = strings.into_iter().find(|(_, text)| text.contains('\0')) {
        return Err(InvalidSpec::Nul(field));
    }
    let argv = config.cmd.iter().flatten().chain(config.entrypoint.iter().flatten());
    if argv.chain(&config.env).any(|text| text.contains('\0')) {
        return Err(InvalidSpec::Nul("Cmd, Entrypoint or Env"));
    }
    if !config.hostname.is_empty() && !is_hostname(&config.hostname) {
        return Err(InvalidSpec::Hostname(config.hostname.clone()));
    }
    if !config.working_dir.is_empty() && !config.working_dir.starts_with('/') {
        return Err(InvalidSpec::WorkingDir(config.working_dir.clone()));
    }
    if let Some(bad) = config.env.iter().find(|variable| variable.is_empty() || variable.starts_with('=')) {
        return Err(InvalidSpec::Env(bad.clone()));
    }
    if let Some(timeout) = config.stop_timeout.filter(|seconds| *seconds < -1) {
        return Err(InvalidSpec::StopTimeout(timeout));
    }
    if let Some(signal) = &config.stop_signal {
        crate::signal::parse(signal)?;
    }
    Ok(())
}

fn is_hostname(text: &str) -> bool {
    let label = |l: &str| {
        !l.is_empty()
            && !l.starts_with('-')
            && !l.ends_with('-')
            && l.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    text.len() <= 64 && text.split('.').all(label)
}

/// Checks the limits.
pub fn resources(limits: &Resources, cpus: usize) -> Result<(), InvalidSpec> {
    memory(limits)?;
    processors(limits, cpus)?;
    let weight = |weight: u16| weight == 0 || (10..=1000).contains(&weight);
    if !weight(limits.blkio_weight) || !limits.blkio_weight_device.iter().all(|device| weight(device.weight))
    {
        return Err(InvalidSpec::BlkioWeight);
    }
    Ok(())
}

fn memory(limits: &Resources) -> Result<(), InvalidSpec> {
    let Resources { memory, memory_swap, memory_reservation, .. } = *limits;
    if memory != 0 && memory < MEMORY_MIN {
        return Err(InvalidSpec::MemoryMin);
    }
    if memory_swap > 0 && memory == 0 {
        return Err(InvalidSpec::SwapWithoutMemory);
    }
    if memory_swap > 0 && memory_swap < memory {
        return Err(InvalidSpec::SwapBelowMemory);
    }
    if memory_reservation != 0 && memory_reservation < MEMORY_MIN {
        return Err(InvalidSpec::ReservationMin);
    }
    if memory > 0 && memory_reservation > memory {
        return Err(InvalidSpec::ReservationAboveMemory);
    }
    match limits.memory_swappiness {
        Some(value) if !(-1..=100).contains(&value) => Err(InvalidSpec::Swappiness(value)),
        _ => Ok(()),
    }
}

fn processors(limits: &Resources, cpus: usize) -> Result<(), InvalidSpec> {
    if limits.nano_cpus != 0 && limits.cpu_period != 0 {
        return Err(InvalidSpec::CpusAndPeriod);
    }
    if limits.nano_cpus != 0 && limits.cpu_quota != 0 {
        return Err(InvalidSpec::CpusAndQuota);
    }
    let most = i64::try_from(cpus).unwrap_or(i64::MAX).saturating_mul(1_000_000_000);
    if limits.nano_cpus != 0 && !(10_000_000..=most).contains(&limits.nano_cpus) {
        return Err(InvalidSpec::Cpus(cpus));
    }
    if limits.cpu_period != 0 && !(1_000..=1_000_000).contains(&limits.cpu_period) {
        return Err(InvalidSpec::CpuPeriod);
    }
    if limits.cpu_quota > 0 && limits.cpu_quota < 1_000 {
        return Err(InvalidSpec::CpuQuota);
    }
    if limits.cpu_shares < 0 {
        return Err(InvalidSpec::CpuShares(limits.cpu_shares));
    }
    for (flag, value) in [("--cpuset-cpus", &limits.cpuset_cpus), ("--cpuset-mems", &limits.cpuset_mems)] {
        if !value.is_empty() && !value.split(',').all(is_cpu_range) {
            return Err(InvalidSpec::CpuSet { flag, value: value.clone() });
        }
    }
    Ok(())
}

fn is_cpu_range(text: &str) -> bool {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    matches!((first.parse::<u16>(), last.parse::<u16>()), (Ok(first), Ok(last)) if first <= last)
}

/// Checks the restart policy.
pub fn restart(policy: &RestartPolicy, auto_remove: bool) -> Result<(), InvalidSpec> {
    let count = policy.maximum_retry_count;
    match policy.name.as_str() {
        "always" | "unless-stopped" | "no" | "" if count != 0 => return Err(InvalidSpec::RestartCount),
        "always" | "unless-stopped" | "no" | "" => {}
        "on-failure" if count < 0 => return Err(InvalidSpec::RestartNegative),
        "on-failure" => {}
        other => return Err(InvalidSpec::RestartName(other.to_owned())),
    }
    if auto_remove && !matches!(policy.name.as_str(), "" | "no") {
        return Err(InvalidSpec::RestartAndRemove);
    }
    Ok(())
}

fn modes(host: &HostConfig) -> Result<(), InvalidSpec> {
    policy::pid_mode(&host.pid_mode)?;
    policy::ipc_mode(&host.ipc_mode)?;
    policy::uts_mode(&host.uts_mode)?;
    policy::userns_mode(&host.userns_mode)?;
    policy::cgroupns_mode(&host.cgroupns_mode)?;
    Ok(())
}

fn network(spec: &ContainerSpec) -> Result<(), InvalidSpec> {
    let host = &spec.host_config;
    let mode = host.network_mode.as_str();
    let container = mode.starts_with("container:");
    if container && !spec.config.hostname.is_empty() {
        return Err(InvalidSpec::HostnameAndContainer);
    }
    if container && (!host.port_bindings.is_empty() || host.publish_all_ports) {
        return Err(InvalidSpec::PortsAndContainer);
    }
    if container && host.extra_hosts.as_ref().is_some_and(|hosts| !hosts.is_empty()) {
        return Err(InvalidSpec::HostsAndContainer);
    }
    if container && !(host.dns.is_empty() && host.dns_search.is_empty() && host.dns_options.is_empty()) {
        return Err(InvalidSpec::DnsAndContainer);
    }
    if container && !spec.config.exposed_ports.is_empty() {
        return Err(InvalidSpec::ExposeAndContainer);
    }
    if host.uts_mode == "host" && !spec.config.hostname.is_empty() {
        return Err(InvalidSpec::HostnameAndUts);
    }
    let chosen =
        spec.networking_config.endpoints_config.values().any(|endpoint| endpoint.ipam_config.is_some());
    if chosen && (container || matches!(mode, "host" | "none")) {
        return Err(InvalidSpec::AddressAndMode(mode.to_owned()));
    }
    let mac =
        spec.networking_config.endpoints_config.values().any(|endpoint| !endpoint.mac_address.is_empty());
    if mac && (container || matches!(mode, "host" | "none")) { Err(InvalidSpec::MacAndHost) } else { Ok(()) }
}

fn mounts(host: &HostConfig) -> Result<(), InvalidSpec> {
    let mut targets = Vec::new();
    for text in &host.binds {
        targets.push(clean(&bind::parse(text)?.target));
    }
    for entry in &host.mounts {
        mount(entry)?;
        targets.push(clean(&entry.target));
    }
    for target in host.tmpfs.keys() {
        if !target.starts_with('/') {
            return Err(mount_error(
                "tmpfs",
                format!("invalid mount path: '{target}' mount path must be absolute"),
            ));
        }
        targets.push(clean(target));
    }
    targets.sort();
    match targets.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(InvalidSpec::DuplicateMount(pair[0].clone())),
        None => Ok(()),
    }
}

/// Drops empty and `.` parts, so that one path has one spelling. `..` stays: the runtime resolves it beneath the root.
fn clean(path: &str) -> String {
    let parts: Vec<&str> = path.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    format!("/{}", parts.join("/"))
}

fn mount_error(kind: &str, why: impl Into<String>) -> InvalidSpec {
    InvalidSpec::Mount { kind: kind.to_owned(), why: why.into() }
}

/// Checks one mount in the long form.
pub fn mount(mount: &Mount) -> Result<(), InvalidSpec> {
    let refuse = |why: &str| Err(mount_error(&mount.kind, why));
    if mount.target.is_empty() {
        return refuse("field Target must not be empty");
    }
    if !mount.target.starts_with('/') {
        return refuse(&format!("invalid mount path: '{}' mount path must be absolute", mount.target));
    }
    if clean(&mount.target) == "/" {
        return refuse("invalid specification: destination can't be '/'");
    }
    match mount.kind.as_str() {
        "bind" if mount.source.is_empty() => refuse("field Source must not be empty"),
        "bind" if !mount.source.starts_with('/') => {
            refuse(&format!("invalid mount path: '{}' mount path must be absolute", mount.source))
        }
        "bind" => match mount.bind_options.as_ref().map(|options| options.propagation.as_str()) {
            None | Some("" | "private" | "rprivate" | "slave" | "rslave" | "shared" | "rshared") => Ok(()),
            Some(other) => refuse(&format!("invalid propagation mode: {other}")),
        },
        "volume" if !mount.source.is_empty() && !bind::is_volume_name(&mount.source) => {
            Err(bind::BindError::Name(mount.source.clone()).into())
        }
        "volume" => match mount.volume_options.as_ref().map(|options| options.subpath.as_str()) {
            Some(subpath) if subpath.starts_with('/') || subpath.split('/').any(|part| part == "..") => {
                refuse("subpath must be a relative path within the volume")
            }
            _ => Ok(()),
        },
        "tmpfs" if !mount.source.is_empty() => refuse("field Source must not be specified"),
        "tmpfs" => Ok(()),
        _ => refuse("mount type unknown"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(change: impl Fn(&mut ContainerSpec)) -> String {
        let mut request = ContainerSpec::default();
        change(&mut request);
        spec(&request, 4).map_or_else(|error| error.to_string(), |()| "ok".to_owned())
    }

    #[test]
    fn limits_are_checked_in_dockers_words() {
        let limits = |change: fn(&mut Resources)| check(|s| change(&mut s.host_config.resources));
        assert_eq!(limits(|r| r.memory = 6 << 20), "ok");
        assert_eq!(limits(|r| r.memory = 1), "Minimum memory limit allowed is 6MB");
        assert_eq!(
            limits(|r| r.memory_swap = 1 << 30),
            "You should always set the Memory limit when using Memoryswap limit, see usage"
        );
        assert_eq!(
            limits(|r| (r.memory, r.memory_swap) = (1 << 30, 1 << 20)),
            "Minimum memoryswap limit should be larger than memory limit, see usage"
        );
        assert_eq!(limits(|r| (r.memory, r.memory_swap) = (1 << 30, -1)), "ok");
        assert_eq!(
            limits(|r| r.memory_swappiness = Some(101)),
            "Invalid value: 101, valid memory swappiness range is 0-100"
        );
        assert_eq!(
            limits(|r| r.nano_cpus = 5_000_000_000),
            "range of CPUs is from 0.01 to 4.00, as there are only 4 CPUs available"
        );
        assert_eq!(
            limits(|r| (r.nano_cpus, r.cpu_quota) = (1_000_000_000, 5000)),
            "Conflicting options: Nano CPUs and CPU Quota cannot both be set."
        );
        assert_eq!(
            limits(|r| r.cpu_period = 1),
            "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)"
        );
        assert_eq!(limits(|r| r.blkio_weight = 5), "Range of blkio weight is from 10 to 1000");
        assert_eq!(limits(|r| r.cpuset_cpus = "0-1,3".into()), "ok");
        assert!(
            limits(|r| r.cpuset_cpus = "1-0".into())
                .starts_with("invalid CPU set for --cpuset-cpus: \"1-0\"")
        );
    }

    #[test]
    fn policies_are_checked() {
        let restart = |name: &str, count: i64| {
            check(|s| {
                s.host_config.restart_policy = RestartPolicy { name: name.into(), maximum_retry_count: count }
            })
        };
        assert_eq!(restart("on-failure", 3), "ok");
        assert_eq!(
            restart("always", 3),
            "invalid restart policy: maximum retry count can only be used with 'on-failure'"
        );
        assert_eq!(
            restart("foo", 0),
            "invalid restart policy: unknown policy 'foo'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'"
        );
        assert_eq!(check(|s| s.host_config.pid_mode = "x".into()), "--pid: invalid PID mode");
        assert_eq!(
            check(|s| s.config.working_dir = "rel".into()),
            "the working directory 'rel' is invalid, it needs to be an absolute path"
        );
        assert_eq!(check(|s| s.config.stop_signal = Some("foo".into())), "invalid signal: foo");
    }

    #[test]
    fn mounts_are_checked() {
        let mount = |kind: &str, source: &str, target: &str| {
            let mount =
                Mount { kind: kind.into(), source: source.into(), target: target.into(), ..Mount::default() };
            check(|s| s.host_config.mounts = vec![mount.clone()])
        };
        assert_eq!(mount("bind", "/a", "/b"), "ok");
        assert_eq!(mount("foo", "/a", "/b"), "invalid mount config for type \"foo\": mount type unknown");
        assert_eq!(
            mount("bind", "a", "/b"),
            "invalid mount config for type \"bind\": invalid mount path: 'a' mount path must be absolute"
        );
        assert_eq!(
            mount("bind", "", "/b"),
            "invalid mount config for type \"bind\": field Source must not be empty"
        );
        assert_eq!(
            mount("tmpfs", "/a", "/b"),
            "invalid mount config for type \"tmpfs\": field Source must not be specified"
        );
        assert_eq!(
            mount("volume", "v1", "//."),
            "invalid mount config for type \"volume\": invalid specification: destination can't be '/'"
        );
        assert_eq!(
            check(|s| s.host_config.binds = vec!["/a:/c".into(), "/b:/c/".into()]),
            "Duplicate mount point: /c"
        );
    }
}
