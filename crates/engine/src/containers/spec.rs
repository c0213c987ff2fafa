//! `config.json` of a container: the completed request, what was resolved for this start, and the defaults become one
//! document of the OCI runtime specification. A pure function; it can be printed and compared without a kernel.

use docker_types::container::{HostConfig, Resources};
use docker_types::security::{self, SecurityOption};
use docker_types::{ContainerSpec, device};
use serde_json::{Value, json};

use super::devices;
use super::user::Identity;
use crate::error::{Error, Result};
use crate::model::{Filesystem, MountKind, MountPoint};

/// Size of `/dev/shm` when nobody says, in bytes, as in Docker.
const SHM_SIZE: i64 = 64 << 20;
/// The group `tty`, to which terminals belong.
const TTY_GROUP: u32 = 5;
/// The highest group that the kernel takes for `ping_group_range`.
const PING_GROUP_MAX: u32 = 2_147_483_647;
/// Version of the runtime specification that the document follows.
const OCI_VERSION: &str = "1.2.0";

/// What was found out for this start.
#[derive(Debug)]
pub(crate) struct Resolved<'a> {
    pub(crate) id: &'a str,
    pub(crate) argv: &'a [String],
    pub(crate) spec: &'a ContainerSpec,
    pub(crate) user: &'a Identity,
    pub(crate) hostname: &'a str,
    /// Mounts with their host paths filled in.
    pub(crate) mounts: &'a [MountPoint],
    /// `hosts`, `hostname`, `resolv.conf`: host path and path inside.
    pub(crate) files: &'a [(String, &'static str)],
    /// Namespaces of other containers, `("pid", "/proc/7/ns/pid")`.
    pub(crate) joined: &'a [(&'static str, String)],
    /// Folder of another container's `/dev/shm`, or the host's.
    pub(crate) shm: Option<&'a str>,
    /// What is masked when the request does not say.
    pub(crate) masked_paths: &'a [String],
    /// Device nodes.
    pub(crate) devices: &'a [Value],
    /// Rules of the device cgroup for them.
    pub(crate) device_rules: &'a [Value],
    /// Limits of single block devices.
    pub(crate) block: &'a BlockLimits,
    /// The seccomp section, or none.
    pub(crate) seccomp: Option<Value>,
    /// Whether the machine has cgroup v2 only.
    pub(crate) unified: bool,
    /// The highest group that exists: a user namespace has fewer than the machine.
    pub(crate) highest_gid: u32,
    /// The user and group maps of a user namespace of its own.
    pub(crate) maps: Option<MapLines<'a>>,
    /// Whether files are shown through those maps.
    pub(crate) shifted: bool,
    /// Whether root is not the machine's root.
    pub(crate) rootless: bool,
}

/// The lines of a user map and of a group map: first number inside, first number outside, count.
pub(crate) type MapLines<'a> = (&'a [[u32; 3]], &'a [[u32; 3]]);

/// Major and minor number of a device.
pub(crate) type DeviceNumber = (u32, u32);

/// Limits of block devices, by device number.
#[derive(Debug, Default)]
pub(crate) struct BlockLimits {
    /// Device and weight.
    pub(crate) weights: Vec<(DeviceNumber, u16)>,
    /// Key of the specification; devices with bytes or operations a second.
    pub(crate) throttles: Vec<(&'static str, Vec<(DeviceNumber, u64)>)>,
}

/// Renders the document.
pub(crate) fn render(input: &Resolved<'_>) -> Result<Value> {
    let host = &input.spec.host_config;
    let security = Security::of(host)?;
    let mut document = json!({
        "ociVersion": OCI_VERSION,
        "process": process(input, &security)?,
        "root": { "path": "rootfs", "readonly": host.readonly_rootfs },
        "hostname": input.hostname,
        "mounts": mounts(input)?,
        "linux": linux(input, &security)?,
        "annotations": host.annotations,
    });
    if host.uts_mode == "host" {
        document.as_object_mut().map(|map| map.remove("hostname"));
    } else if !input.spec.config.domainname.is_empty() {
        document["domainname"] = json!(input.spec.config.domainname);
    }
    Ok(document)
}

/// What `--security-opt` and `--privileged` say.
#[derive(Debug, Default)]
pub(crate) struct Security {
    pub(crate) no_new_privileges: bool,
    pub(crate) unmasked: bool,
    pub(crate) seccomp: Option<SecurityOption>,
    apparmor: Option<String>,
    labels: Vec<String>,
}

impl Security {
    pub(crate) fn of(host: &HostConfig) -> Result<Self> {
        let mut security = Self { unmasked: host.privileged, ..Self::default() };
        for text in host.security_opt.iter().flatten() {
            match security::parse_option(text).map_err(|error| Error::Invalid(error.to_string()))? {
                SecurityOption::NoNewPrivileges(on) => security.no_new_privileges = on,
                SecurityOption::SystemPathsUnconfined => security.unmasked = true,
                SecurityOption::AppArmor(profile) => security.apparmor = Some(profile),
                SecurityOption::Label(label) => security.labels.push(label),
                option => security.seccomp = Some(option),
            }
        }
        Ok(security)
    }
}

/// The capabilities of a container: Docker's default set, or all, less what is dropped, plus what is added.
pub(crate) fn capabilities(host: &HostConfig) -> Result<Vec<String>> {
    let given = |list: &Option<Vec<String>>| security::capabilities(list.as_deref().unwrap_or_default());
    let (add, drop) = (given(&host.cap_add), given(&host.cap_drop));
    let known = runtime::capability_names();
    for name in add.iter().chain(&drop) {
        if name != "ALL" && name != "CAP_ALL" && !known.contains(name) {
            return Err(Error::Invalid(format!(
                "invalid capability: {name:?}; see capabilities(7) for the names"
            )));
        }
    }
    let all = |list: &[String]| list.iter().any(|name| name == "ALL" || name == "CAP_ALL");
    if host.privileged {
        return Ok(known);
    }
    let mut set: Vec<String> = match (all(&add), all(&drop)) {
        (true, _) => known,
        (false, true) => Vec::new(),
        (false, false) => runtime::defaults::CAPABILITIES.iter().map(|name| (*name).to_owned()).collect(),
    };
    set.retain(|name| !drop.contains(name));
    for name in add {
        if name != "ALL" && name != "CAP_ALL" && !set.contains(&name) {
            set.push(name);
        }
    }
    Ok(set)
}

fn process(input: &Resolved<'_>, security: &Security) -> Result<Value> {
    let config = &input.spec.config;
    let host = &input.spec.host_config;
    let caps = capabilities(host)?;
    // Somebody who is not root gets no effective capabilities, as in Docker; the bounding set still limits set-id programs.
    let held: &[String] = if input.user.uid == 0 { &caps } else { &[] };
    let mut env = config.env.clone();
    if !env.iter().any(|line| line.starts_with("HOSTNAME=")) {
        env.insert(env.len().min(1), format!("HOSTNAME={}", input.hostname));
    }
    if config.tty && !env.iter().any(|line| line.starts_with("TERM=")) {
        env.push("TERM=xterm".to_owned());
    }
    if !env.iter().any(|line| line.starts_with("HOME=")) {
        env.push(format!("HOME={}", input.user.home));
    }
    let mut process = json!({
        "terminal": config.tty,
        "user": { "uid": input.user.uid, "gid": input.user.gid, "additionalGids": input.user.groups },
        "args": input.argv,
        "env": env,
        "cwd": if config.working_dir.is_empty() { "/" } else { &config.working_dir },
        "capabilities": { "bounding": caps, "effective": held, "permitted": held },
        "noNewPrivileges": security.no_new_privileges,
        "oomScoreAdj": host.oom_score_adj,
        "rlimits": rlimits(host),
    });
    if (input.rootless || input.maps.is_some()) && host.oom_score_adj == 0 {
        // A desktop gives its users a higher score, and they may not lower it; nobody asked to.
        process.as_object_mut().map(|map| map.remove("oomScoreAdj"));
    }
    if let Some(profile) = security.apparmor.as_deref().filter(|profile| *profile != "unconfined") {
        process["apparmorProfile"] = json!(profile);
    }
    if let Some(label) = selinux_label(&security.labels)? {
        process["selinuxLabel"] = json!(label);
    }
    if config.tty && host.console_size != [0, 0] {
        process["consoleSize"] = json!({ "height": host.console_size[0], "width": host.console_size[1] });
    }
    Ok(process)
}

/// `label=user:U` and so on become one label; `label=disable` means none.
fn selinux_label(labels: &[String]) -> Result<Option<String>> {
    if labels.is_empty() || labels.iter().any(|label| label == "disable") {
        return Ok(None);
    }
    if !std::path::Path::new("/sys/fs/selinux/enforce").exists() {
        return Err(Error::Unsupported(format!(
            "--security-opt label={}: SELinux is not enabled on this machine",
            labels[0]
        )));
    }
    let part = |name: &str, default: &str| {
        let found = labels.iter().find_map(|label| label.strip_prefix(name)?.strip_prefix(':'));
        found.unwrap_or(default).to_owned()
    };
    Ok(Some(format!(
        "{}:{}:{}:{}",
        part("user", "system_u"),
        part("role", "system_r"),
        part("type", "container_t"),
        part("level", "s0")
    )))
}

fn rlimits(host: &HostConfig) -> Vec<Value> {
    let limit = |value: i64| if value < 0 { u64::MAX } else { value.unsigned_abs() };
    let list = host.resources.ulimits.iter().flatten();
    list.map(|ulimit| {
        json!({
            "type": format!("RLIMIT_{}", ulimit.name.to_uppercase()),
            "soft": limit(ulimit.soft),
            "hard": limit(ulimit.hard),
        })
    })
    .collect()
}

fn mounts(input: &Resolved<'_>) -> Result<Vec<Value>> {
    let host = &input.spec.host_config;
    let rw = if host.privileged { "rw" } else { "ro" };
    let shm_size = if host.shm_size > 0 { host.shm_size } else { SHM_SIZE };
    let mut pts = vec!["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"];
    if input.highest_gid >= TTY_GROUP {
        pts.push("gid=5");
    }
    let mount = |target: &str, kind: &str, source: &str, options: &[&str]| json!({ "destination": target, "type": kind, "source": source, "options": options });
    let mut list = vec![
        mount("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"]),
        mount("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        mount("/dev/pts", "devpts", "devpts", &pts),
        mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", rw]),
        mount("/sys/fs/cgroup", "cgroup", "cgroup", &[rw, "nosuid", "noexec", "nodev"]),
        mount("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
    ];
    match (host.ipc_mode.as_str(), input.shm) {
        ("none", _) => {}
        (_, Some(folder)) => list.push(mount("/dev/shm", "bind", folder, &["rbind", "rprivate"])),
        _ => list.push(mount(
            "/dev/shm",
            "tmpfs",
            "shm",
            &["nosuid", "noexec", "nodev", "mode=1777", &format!("size={shm_size}")],
        )),
    }
    let covered = |target: &str| input.mounts.iter().any(|point| point.target == target);
    for (path, target) in input.files {
        if !covered(target) {
            let options: &[&str] =
                if input.shifted { &["bind", "rprivate", "idmap"] } else { &["rbind", "rprivate"] };
            list.push(mount(target, "bind", path, options));
        }
    }
    list.retain(|value| {
        value["destination"]
            .as_str()
            .is_none_or(|target| !covered(target) || target == "/proc" || target == "/dev")
    });
    for node in input.devices.iter().filter(|node| devices::is_bound(node)) {
        list.push(json!({ "destination": node["path"], "type": "bind", "source": node["source"], "options": ["bind", "rprivate", "nosuid", "noexec"] }));
    }
    for point in input.mounts {
        if matches!(point.target.as_str(), "/proc" | "/dev")
            || point.target.starts_with("/proc/") && point.kind != MountKind::Bind
        {
            return Err(Error::Invalid(format!(
                "cannot mount on {}: the container's own {} stands there",
                point.target,
                if point.target == "/dev" { "/dev" } else { "/proc" }
            )));
        }
        list.push(user_mount(point, input.shifted));
    }
    Ok(list)
}

fn user_mount(point: &MountPoint, shifted: bool) -> Value {
    let option = |name: &str| point.options.iter().any(|option| option == name);
    if point.kind == MountKind::Tmpfs {
        let mut options = point.options.clone();
        if !point.writable && !option("ro") {
            options.push("ro".to_owned());
        }
        return json!({ "destination": point.target, "type": "tmpfs", "source": "tmpfs", "options": options });
    }
    if let Some(filesystem) = &point.filesystem {
        return filesystem_mount(point, filesystem);
    }
    let mut options = vec![if option("bind") { "bind" } else { "rbind" }];
    if !point.writable {
        // Read-only covers the mounts below too, where the kernel can (5.12).
        options.push(if option("ro-top") || option("bind") { "ro" } else { "rro" });
    }
    options.push(if point.propagation.is_empty() { "rprivate" } else { &point.propagation });
    if shifted && point.kind == MountKind::Volume {
        // In a volume are the container's own numbers, whatever they are outside.
        options[0] = "bind";
        options.push("idmap");
    }
    json!({ "destination": point.target, "type": "bind", "source": point.source, "options": options })
}

/// A volume whose options name a file system or a folder of the host.
fn filesystem_mount(point: &MountPoint, filesystem: &Filesystem) -> Value {
    let mut options = filesystem.options.clone();
    if !point.writable && !options.iter().any(|option| option == "ro") {
        options.push("ro".to_owned());
    }
    let kind = if filesystem.is_bind() { "bind" } else { &filesystem.kind };
    json!({ "destination": point.target, "type": kind, "source": filesystem.device, "options": options })
}

fn linux(input: &Resolved<'_>, security: &Security) -> Result<Value> {
    let host = &input.spec.host_config;
    let mut linux = json!({
        "namespaces": namespaces(input),
        "cgroupsPath": cgroups_path(host, input.id),
        "resources": resources(input)?,
        "devices": input.devices.iter().filter(|node| !devices::is_bound(node)).collect::<Vec<_>>(),
    });
    if let Some((users, groups)) = input.maps {
        let map = |lines: &[[u32; 3]]| -> Vec<Value> {
            let line = |[inside, outside, count]: &[u32; 3]| json!({ "containerID": inside, "hostID": outside, "size": count });
            lines.iter().map(line).collect()
        };
        linux["uidMappings"] = json!(map(users));
        linux["gidMappings"] = json!(map(groups));
    }
    let mut sysctl = host.sysctls.clone();
    let own_network = host.network_mode != "host" && !host.network_mode.starts_with("container:");
    // With the host's processes, root of a user namespace gets no procfs of its own, and may not write the host's.
    let writable = !(input.rootless && host.pid_mode == "host");
    if own_network && writable {
        // As Docker: anybody inside may listen on low ports and send pings; it is the container's own network.
        sysctl.entry("net.ipv4.ip_unprivileged_port_start".to_owned()).or_insert_with(|| "0".to_owned());
        sysctl
            .entry("net.ipv4.ping_group_range".to_owned())
            .or_insert_with(|| format!("0 {}", input.highest_gid.min(PING_GROUP_MAX)));
    }
    linux["sysctl"] = json!(sysctl);
    if !security.unmasked {
        linux["maskedPaths"] = json!(host.masked_paths.as_deref().unwrap_or(input.masked_paths));
        linux["readonlyPaths"] = match &host.readonly_paths {
            Some(list) => json!(list),
            None => json!(runtime::defaults::READONLY_PATHS),
        };
    }
    if let Some(seccomp) = &input.seccomp {
        linux["seccomp"] = seccomp.clone();
    }
    Ok(linux)
}

/// The path of a container's control group; a plain user's are below what was delegated to the session.
pub(crate) fn cgroups_path(host: &HostConfig, id: &str) -> String {
    let base = crate::rootless::delegated::base().unwrap_or_default();
    match host.resources.cgroup_parent.trim_matches('/') {
        "" => format!("{base}/brig/{id}"),
        parent => format!("{base}/{parent}/{id}"),
    }
}

fn namespaces(input: &Resolved<'_>) -> Vec<Value> {
    let host = &input.spec.host_config;
    let mut list = vec![json!({ "type": "mount" })];
    let mut add = |kind: &'static str, mode: &str| {
        if let Some((_, path)) = input.joined.iter().find(|(joined, _)| *joined == kind) {
            list.push(json!({ "type": kind, "path": path }));
        } else if mode != "host" {
            list.push(json!({ "type": kind }));
        }
    };
    if input.maps.is_some() {
        add("user", "private");
    }
    add("pid", &host.pid_mode);
    add("ipc", &host.ipc_mode);
    add("uts", &host.uts_mode);
    add("network", &host.network_mode);
    let cgroupns = match host.cgroupns_mode.as_str() {
        "" if input.unified && !host.privileged => "private",
        "" => "host",
        mode => mode,
    };
    add("cgroup", cgroupns);
    list
}

fn resources(input: &Resolved<'_>) -> Result<Value> {
    let host = &input.spec.host_config;
    let r = &host.resources;
    let mut value = json!({ "devices": device_rules(host, input.device_rules)? });
    let mut set = |section: &str, key: &str, number: i64| {
        if number != 0 {
            value[section][key] = json!(number);
        }
    };
    set("memory", "limit", r.memory);
    set("memory", "reservation", r.memory_reservation);
    set("memory", "swap", swap(r));
    set("cpu", "shares", r.cpu_shares);
    set("cpu", "period", cpu_period(r));
    set("cpu", "quota", cpu_quota(r));
    set("cpu", "realtimePeriod", r.cpu_realtime_period);
    set("cpu", "realtimeRuntime", r.cpu_realtime_runtime);
    set("blockIO", "weight", i64::from(r.blkio_weight));
    if let Some(limit) = r.pids_limit.filter(|limit| *limit > 0) {
        set("pids", "limit", limit);
    }
    if let Some(swappiness) = r.memory_swappiness.filter(|value| *value >= 0) {
        value["memory"]["swappiness"] = json!(swappiness);
    }
    if let Some(true) = r.oom_kill_disable {
        value["memory"]["disableOOMKiller"] = json!(true);
    }
    for (key, text) in [("cpus", &r.cpuset_cpus), ("mems", &r.cpuset_mems)] {
        if !text.is_empty() {
            value["cpu"][key] = json!(text);
        }
    }
    let weights =
        input.block.weights.iter().map(|(device, weight)| block(*device, "weight", u64::from(*weight)));
    let weights: Vec<Value> = weights.collect();
    if !weights.is_empty() {
        value["blockIO"]["weightDevice"] = json!(weights);
    }
    for (key, rates) in &input.block.throttles {
        let rates: Vec<Value> = rates.iter().map(|(device, rate)| block(*device, "rate", *rate)).collect();
        if !rates.is_empty() {
            value["blockIO"][*key] = json!(rates);
        }
    }
    Ok(value)
}

/// Memory and swap together. As Docker: without a word on swap, as much again as memory.
pub(super) fn swap(limits: &Resources) -> i64 {
    let implied = limits.memory_swap == 0 && limits.memory > 0;
    if implied { limits.memory.saturating_mul(2) } else { limits.memory_swap }
}

/// The CPU period in microseconds; 0 means the kernel's.
pub(super) fn cpu_period(limits: &Resources) -> i64 {
    if limits.nano_cpus > 0 { 100_000 } else { limits.cpu_period }
}

/// CPU time in each period in microseconds; 0 means unlimited.
pub(super) fn cpu_quota(limits: &Resources) -> i64 {
    if limits.nano_cpus > 0 { limits.nano_cpus / 10_000 } else { limits.cpu_quota }
}

fn block((major, minor): DeviceNumber, key: &str, number: u64) -> Value {
    json!({ "major": major, "minor": minor, key: number })
}

fn device_rules(host: &HostConfig, given: &[Value]) -> Result<Vec<Value>> {
    if host.privileged {
        return Ok(vec![json!({ "allow": true, "access": "rwm" })]);
    }
    let mut rules = vec![json!({ "allow": false, "access": "rwm" })];
    rules.extend_from_slice(given);
    for text in host.resources.device_cgroup_rules.iter().flatten() {
        let rule = device::parse_rule(text).map_err(|error| Error::Invalid(error.to_string()))?;
        let mut value = json!({ "allow": true, "type": rule.kind.to_string(), "access": rule.access });
        if let Some(major) = rule.major {
            value["major"] = json!(major);
        }
        if let Some(minor) = rule.minor {
            value["minor"] = json!(minor);
        }
        rules.push(value);
    }
    Ok(rules)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> Identity {
        Identity { uid: 0, gid: 0, groups: vec![0], home: "/root".into() }
    }

    fn rendered(change: impl FnOnce(&mut ContainerSpec)) -> Value {
        let mut spec = ContainerSpec::default();
        change(&mut spec);
        let user = identity();
        let input = Resolved {
            id: "i",
            argv: &["true".to_owned()],
            spec: &spec,
            user: &user,
            hostname: "h",
            mounts: &[],
            files: &[],
            joined: &[],
            shm: None,
            masked_paths: &["/proc/kcore".to_owned()],
            devices: &[],
            device_rules: &[],
            block: &BlockLimits::default(),
            seccomp: None,
            unified: true,
            highest_gid: u32::MAX - 1,
            maps: None,
            shifted: false,
            rootless: false,
        };
        render(&input).unwrap()
    }

    #[test]
    fn the_document_is_one_of_the_specification() {
        let value = rendered(|_| {});
        let spec: oci::runtime::Spec = serde_json::from_value(value).unwrap();
        assert_eq!(spec.hostname().as_deref(), Some("h"));
    }

    #[test]
    fn inheritable_and_ambient_stay_empty() {
        let caps = &rendered(|_| {})["process"]["capabilities"];
        assert!(caps.get("inheritable").is_none() && caps.get("ambient").is_none());
    }

    #[test]
    fn limits_become_resources() {
        let value = rendered(|spec| {
            let r = &mut spec.host_config.resources;
            (r.memory, r.nano_cpus, r.pids_limit) = (1 << 20, 1_500_000_000, Some(7));
        });
        let r = &value["linux"]["resources"];
        assert_eq!(r["memory"], json!({ "limit": 1 << 20, "swap": 2 << 20 }));
        assert_eq!(r["cpu"], json!({ "period": 100_000, "quota": 150_000 }));
        assert_eq!(r["pids"]["limit"], 7);
    }

    #[test]
    fn privileges_come_only_when_asked_for() {
        assert!(rendered(|_| {})["linux"]["maskedPaths"].as_array().is_some_and(|list| !list.is_empty()));
        let all = rendered(|spec| spec.host_config.privileged = true);
        assert!(all["linux"].get("maskedPaths").is_none());
        let none = rendered(|spec| spec.host_config.cap_drop = Some(vec!["ALL".into()]));
        assert_eq!(none["process"]["capabilities"]["bounding"], json!([]));
    }
}
