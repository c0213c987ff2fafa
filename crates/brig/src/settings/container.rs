//! Makes the request to the engine of the flags of `run` and `create`.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail};
use docker_types::container::{
    ContainerConfig, ContainerSpec, Empty, HostConfig, LogConfig, PortBinding, Resources,
};
use docker_types::{bind, env, logging, platform, policy, port, security};

use super::flags::{ContainerFlags, Stream};
use super::{World, health, networks, process, read_file};

/// Makes the request: `image` and what follows it on the command line, and the flags.
pub(crate) fn spec(
    flags: &ContainerFlags,
    image: &str,
    command: &[String],
    world: &dyn World,
) -> Result<ContainerSpec> {
    flags.others.check()?;
    if flags.rm && flags.restart.as_deref().is_some_and(|policy| !matches!(policy, "" | "no")) {
        bail!("conflicting options: cannot specify both --restart and --rm");
    }
    let platform = match flags.platform.as_deref().filter(|text| !text.is_empty()) {
        Some(text) => Some(
            text.parse::<platform::Platform>()
                .with_context(|| format!("error parsing specified platform: {text:?}"))?
                .to_string(),
        ),
        None => None,
    };
    let networking_config = networks::config(flags)?;
    Ok(ContainerSpec {
        name: flags.name.clone().filter(|name| !name.is_empty()),
        platform,
        config: config(flags, image, command, world)?,
        host_config: host_config(flags, world)?,
        networking_config,
    })
}

fn config(
    flags: &ContainerFlags,
    image: &str,
    command: &[String],
    world: &dyn World,
) -> Result<ContainerConfig> {
    let attached = |stream: Stream| flags.attach.contains(&stream);
    let everything = flags.attach.is_empty();
    let attach_stdin = attached(Stream::Stdin) || (everything && flags.interactive);
    Ok(ContainerConfig {
        hostname: flags.hostname.clone().unwrap_or_default(),
        domainname: flags.domainname.clone().unwrap_or_default(),
        user: flags.user.clone().unwrap_or_default(),
        attach_stdin,
        attach_stdout: attached(Stream::Stdout) || everything,
        attach_stderr: attached(Stream::Stderr) || everything,
        exposed_ports: exposed_ports(flags)?,
        tty: flags.tty,
        open_stdin: flags.interactive,
        stdin_once: flags.interactive && attach_stdin,
        env: process::variables(&flags.env, &flags.env_file, world)?,
        cmd: if command.is_empty() { None } else { Some(command.to_vec()) },
        healthcheck: health::check(flags)?,
        healthcheck_on_failure_action: flags.health_on_failure.clone().unwrap_or_default(),
        shell: None,
        image: image.to_owned(),
        volumes: anonymous_volumes(flags)?,
        working_dir: flags.workdir.clone().unwrap_or_default(),
        entrypoint: flags.entrypoint.clone().map(|entry| vec![entry]),
        labels: labels(flags, world)?,
        stop_signal: flags.stop_signal.clone(),
        stop_timeout: flags.stop_timeout,
    })
}

fn host_config(flags: &ContainerFlags, world: &dyn World) -> Result<HostConfig> {
    let (pid, uts) = (flags.pid.clone().unwrap_or_default(), flags.uts.clone().unwrap_or_default());
    let userns = flags.userns.clone().unwrap_or_default();
    let cgroupns = flags.cgroupns.clone().unwrap_or_default();
    policy::pid_mode(&pid)?;
    policy::uts_mode(&uts)?;
    policy::userns_mode(&userns)?;
    policy::cgroupns_mode(&cgroupns)?;
    let (security_opt, unmasked) = security_options(flags, world)?;
    Ok(HostConfig {
        binds: binds(flags, world)?,
        secrets: flags.secret.clone(),
        container_id_file: flags.cidfile.clone().unwrap_or_default(),
        log_config: log_config(flags)?,
        network_mode: networks::mode(flags),
        port_bindings: port_bindings(flags)?,
        publish_open: None,
        restart_policy: flags.restart_policy()?,
        auto_remove: flags.rm,
        volumes_from: list(&flags.volumes_from),
        mounts: mounts(flags, world),
        console_size: [0, 0],
        annotations: annotations(flags),
        cap_add: list(&security::capabilities(&flags.cap_add)),
        cap_drop: list(&security::capabilities(&flags.cap_drop)),
        cgroupns_mode: cgroupns,
        dns: flags.dns.clone(),
        dns_options: flags.dns_option.clone(),
        dns_search: flags.dns_search.clone(),
        extra_hosts: list(&flags.add_host),
        group_add: list(&flags.group_add),
        ipc_mode: flags.ipc.clone().unwrap_or_default(),
        oom_score_adj: flags.oom_score_adj.unwrap_or(0),
        pid_mode: pid,
        privileged: flags.privileged,
        publish_all_ports: flags.publish_all,
        readonly_rootfs: flags.read_only,
        security_opt,
        tmpfs: tmpfs(flags),
        uts_mode: uts,
        userns_mode: userns,
        shm_size: flags.shm_size.unwrap_or(0),
        sysctls: flags.sysctl.iter().cloned().collect(),
        init: flags.init.then_some(true),
        masked_paths: unmasked.then(Vec::new),
        readonly_paths: unmasked.then(Vec::new),
        resources: resources(flags)?,
    })
}

fn resources(flags: &ContainerFlags) -> Result<Resources> {
    if let Some(swappiness) = flags.memory_swappiness.filter(|value| !(-1..=100).contains(value)) {
        bail!("invalid value: {swappiness}. Valid memory swappiness range is 0-100");
    }
    Ok(Resources {
        cpu_shares: flags.cpu_shares.unwrap_or(0),
        memory: flags.memory.unwrap_or(0),
        nano_cpus: flags.cpus.unwrap_or(0),
        cgroup_parent: flags.cgroup_parent.clone().unwrap_or_default(),
        blkio_weight: flags.blkio_weight.unwrap_or(0),
        blkio_weight_device: flags.blkio_weight_device.clone(),
        blkio_device_read_bps: flags.device_read_bps.clone(),
        blkio_device_write_bps: flags.device_write_bps.clone(),
        blkio_device_read_iops: flags.device_read_iops.clone(),
        blkio_device_write_iops: flags.device_write_iops.clone(),
        cpu_period: flags.cpu_period.unwrap_or(0),
        cpu_quota: flags.cpu_quota.unwrap_or(0),
        cpu_realtime_period: flags.cpu_rt_period.unwrap_or(0),
        cpu_realtime_runtime: flags.cpu_rt_runtime.unwrap_or(0),
        cpuset_cpus: flags.cpuset_cpus.clone().unwrap_or_default(),
        cpuset_mems: flags.cpuset_mems.clone().unwrap_or_default(),
        devices: list(&flags.devices()?),
        device_requests: list(&flags.device_requests()),
        device_cgroup_rules: list(&flags.device_cgroup_rule),
        memory_reservation: flags.memory_reservation.unwrap_or(0),
        memory_swap: flags.memory_swap.unwrap_or(0),
        memory_swappiness: flags.memory_swappiness.filter(|value| *value != -1),
        oom_kill_disable: flags.oom_kill_disable.then_some(true),
        pids_limit: flags.pids_limit,
        ulimits: list(&flags.ulimit),
    })
}

fn list<T: Clone>(values: &[T]) -> Option<Vec<T>> {
    if values.is_empty() { None } else { Some(values.to_vec()) }
}

fn pairs(texts: &[String]) -> BTreeMap<String, String> {
    texts
        .iter()
        .map(|text| text.split_once('=').unwrap_or((text, "")))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

fn annotations(flags: &ContainerFlags) -> BTreeMap<String, String> {
    let mut annotations = pairs(&flags.annotation);
    if let Some(whose) = &flags.proc {
        annotations.insert(engine::containers::PROC_ANNOTATION.to_owned(), whose.clone());
    }
    annotations
}

fn labels(flags: &ContainerFlags, world: &dyn World) -> Result<BTreeMap<String, String>> {
    let mut labels = BTreeMap::new();
    for path in &flags.label_file {
        let content = read_file(world, "--label-file", path)?;
        for line in env::labels_file(&content).with_context(|| format!("invalid label file: {path}"))? {
            labels.extend([env::label(&line)?]);
        }
    }
    for text in &flags.label {
        labels.extend([env::label(text)
            .with_context(|| format!("invalid argument {text:?} for \"-l, --label\" flag"))?]);
    }
    Ok(labels)
}

fn exposed_ports(flags: &ContainerFlags) -> Result<BTreeMap<String, Empty>> {
    let mut ports = BTreeMap::new();
    for text in &flags.publish {
        ports.insert(port::parse_publish(text)?.0.to_string(), Empty {});
    }
    for text in &flags.expose {
        ports.insert(port::parse_expose(text)?.to_string(), Empty {});
    }
    Ok(ports)
}

fn port_bindings(flags: &ContainerFlags) -> Result<BTreeMap<String, Option<Vec<PortBinding>>>> {
    let mut bindings: BTreeMap<String, Option<Vec<PortBinding>>> = BTreeMap::new();
    for text in &flags.publish {
        let (ports, binding) = port::parse_publish(text)?;
        bindings.entry(ports.to_string()).or_default().get_or_insert_default().push(binding);
    }
    Ok(bindings)
}

/// Makes a path that begins with `.` absolute, as Docker's client does; other sources stay as they are.
fn absolute(source: &str, world: &dyn World) -> String {
    if !source.starts_with('.') {
        return source.to_owned();
    }
    let mut path = world.directory();
    for part in source.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                path.pop();
            }
            part => path.push(part),
        }
    }
    path.to_string_lossy().into_owned()
}

fn binds(flags: &ContainerFlags, world: &dyn World) -> Result<Vec<String>> {
    let mut binds = Vec::new();
    for text in &flags.volume {
        let (source, target, mode) = bind::split(text)?;
        if !source.is_empty() {
            let mode = if mode.is_empty() { String::new() } else { format!(":{mode}") };
            let text = format!("{}:{target}{mode}", absolute(source, world));
            bind::parse(&text)?;
            binds.push(text);
        }
    }
    Ok(binds)
}

fn anonymous_volumes(flags: &ContainerFlags) -> Result<Option<BTreeMap<String, Empty>>> {
    let mut volumes = BTreeMap::new();
    for text in &flags.volume {
        let (source, target, _) = bind::split(text)?;
        if source.is_empty() {
            bind::parse(text)?;
            volumes.insert(target.to_owned(), Empty {});
        }
    }
    Ok(if volumes.is_empty() { None } else { Some(volumes) })
}

fn mounts(flags: &ContainerFlags, world: &dyn World) -> Vec<docker_types::container::Mount> {
    let mut mounts = flags.mount.clone();
    for mount in mounts.iter_mut().filter(|mount| mount.kind == "bind") {
        mount.source = absolute(&mount.source, world);
    }
    mounts
}

fn tmpfs(flags: &ContainerFlags) -> BTreeMap<String, String> {
    flags
        .tmpfs
        .iter()
        .map(|text| text.split_once(':').unwrap_or((text, "")))
        .map(|(path, options)| (path.to_owned(), options.to_owned()))
        .collect()
}

fn log_config(flags: &ContainerFlags) -> Result<LogConfig> {
    let driver = flags.log_driver.clone().unwrap_or_default();
    let mut config = pairs(&flags.log_opt);
    if flags.log_keep {
        config.insert("keep".to_owned(), "true".to_owned());
    }
    logging::parse(&driver, &config)?;
    Ok(LogConfig { driver, config })
}

/// Returns the options for the engine, and whether `systempaths=unconfined` was among them.
fn security_options(flags: &ContainerFlags, world: &dyn World) -> Result<(Option<Vec<String>>, bool)> {
    let mut options = Vec::new();
    let mut unmasked = false;
    for text in &flags.security_opt {
        match security::parse_option(text)? {
            security::SecurityOption::SystemPathsUnconfined => unmasked = true,
            security::SecurityOption::Seccomp(path) => {
                options.push(format!("seccomp={}", profile(&path, world)?))
            }
            _ => options.push(text.clone()),
        }
    }
    Ok((list(&options), unmasked))
}

/// Reads a seccomp profile and takes the spaces out, the form in which the engine keeps it.
fn profile(path: &str, world: &dyn World) -> Result<String> {
    let content = world
        .read(std::path::Path::new(path))
        .with_context(|| format!("opening seccomp profile ({path}) failed"))?;
    let value: serde_json::Value = serde_json::from_slice(&content)
        .with_context(|| format!("compacting json for seccomp profile ({path}) failed"))?;
    Ok(value.to_string())
}

#[cfg(test)]
#[path = "container_tests.rs"]
mod tests;
