//! `container inspect`.

use std::collections::BTreeMap;

use docker_types::container::{ContainerConfig, EndpointConfig, HostConfig, PortBinding};
use docker_types::inspect::container::{
    ContainerInspect, ContainerState, EndpointSettings, GraphDriver, Health, HealthResult, MountPoint,
    NetworkSettings,
};
use docker_types::{port, time};
use engine::model::{self, Container, HealthReport, MountKind, ProbeResult, Status};
use jiff::Timestamp;

/// Size of `/dev/shm` when nobody says, in bytes.
const SHM_SIZE: i64 = 64 << 20;

/// Returns what `container inspect` shows; `sizes` is there when it was asked for.
pub(crate) fn container(container: &Container, sizes: Option<(u64, u64)>) -> ContainerInspect {
    let bytes = |size: u64| i64::try_from(size).unwrap_or(i64::MAX);
    let file = |name: &str| container.folder.join(name).to_string_lossy().into_owned();
    let started = container.state.started.is_some() || container.state.status.is_alive();
    let path = |name: &str| if started { file(name) } else { String::new() };
    ContainerInspect {
        id: container.id.to_string(),
        created: time::rfc3339(container.created),
        path: container.argv.first().cloned().unwrap_or_default(),
        args: container.argv.get(1..).unwrap_or_default().to_vec(),
        state: state(container),
        image: container.image_id.to_string(),
        resolv_conf_path: path("resolv.conf"),
        hostname_path: path("hostname"),
        hosts_path: path("hosts"),
        log_path: container
            .log_path
            .as_ref()
            .map_or_else(String::new, |path| path.to_string_lossy().into_owned()),
        name: format!("/{}", container.name),
        restart_count: i64::from(container.restart_count),
        driver: "overlayfs".to_owned(),
        platform: "linux".to_owned(),
        host_config: host_config(container),
        graph_driver: GraphDriver { data: BTreeMap::new(), name: "overlayfs".to_owned() },
        size_rw: sizes.map(|(written, _)| bytes(written)),
        size_root_fs: sizes.map(|(_, whole)| bytes(whole)),
        mounts: container.mounts.iter().map(mount_point).collect(),
        config: config(container),
        network_settings: network_settings(container),
        ..ContainerInspect::default()
    }
}

/// What was asked for, with the defaults that Docker shows filled in.
fn host_config(container: &Container) -> HostConfig {
    let mut host = container.spec.host_config.clone();
    let default = |text: &mut String, word: &str| {
        if matches!(text.as_str(), "" | "default") {
            word.clone_into(text);
        }
    };
    default(&mut host.network_mode, "bridge");
    default(&mut host.ipc_mode, "private");
    default(&mut host.log_config.driver, "json-file");
    default(&mut host.restart_policy.name, "no");
    host.port_bindings = port::expand_bindings(&host.port_bindings);
    if host.shm_size == 0 {
        host.shm_size = SHM_SIZE;
    }
    host
}

/// What the process is, with the host name that it has when nobody gave one.
fn config(container: &Container) -> ContainerConfig {
    let mut config = container.spec.config.clone();
    config.exposed_ports = port::expand_exposed(&config.exposed_ports);
    let host = &container.spec.host_config;
    let shared =
        host.network_mode == "host" || host.network_mode.starts_with("container:") || host.uts_mode == "host";
    if config.hostname.is_empty() && !shared {
        container.id.short().clone_into(&mut config.hostname);
    }
    config
}

fn state(container: &Container) -> ContainerState {
    let state = &container.state;
    let stamp = |stamp: Option<Timestamp>| stamp.map_or_else(|| time::ZERO.to_owned(), time::rfc3339);
    ContainerState {
        status: state.status.as_str().to_owned(),
        running: state.status.is_alive() || state.status == Status::Restarting,
        paused: state.status == Status::Paused,
        restarting: state.status == Status::Restarting,
        oom_killed: state.oom_killed,
        dead: state.status == Status::Dead,
        pid: i64::from(state.pid),
        exit_code: i64::from(state.exit_code),
        error: state.error.clone(),
        started_at: stamp(state.started),
        finished_at: stamp(state.finished),
        health: container.health.as_ref().map(health),
    }
}

fn health(report: &HealthReport) -> Health {
    let stamp = |nanos: i128| time::rfc3339(Timestamp::from_nanosecond(nanos).unwrap_or_default());
    let result = |result: &ProbeResult| HealthResult {
        start: stamp(result.start),
        end: stamp(result.end),
        exit_code: i64::from(result.exit_code),
        output: result.output.clone(),
    };
    Health {
        status: report.status.as_str().to_owned(),
        failing_streak: i64::from(report.failing_streak),
        log: report.log.iter().map(result).collect(),
    }
}

/// Returns one mount as the API shows it.
pub(crate) fn mount_point(mount: &model::MountPoint) -> MountPoint {
    let kind = match mount.kind {
        MountKind::Bind => "bind",
        MountKind::Volume => "volume",
        MountKind::Tmpfs => "tmpfs",
    };
    MountPoint {
        kind: kind.to_owned(),
        name: mount.volume.clone().unwrap_or_default(),
        source: mount.source.clone(),
        destination: mount.target.clone(),
        driver: if mount.kind == MountKind::Volume { "local".to_owned() } else { String::new() },
        mode: mount.mode.clone(),
        rw: mount.writable,
        propagation: mount.propagation.clone(),
    }
}

/// Returns one attachment as the API shows it.
pub(crate) fn endpoint_settings(container: &Container, name: &str, wish: EndpointConfig) -> EndpointSettings {
    let endpoint = container.endpoint(name).cloned().unwrap_or_default();
    let text = |address: Option<String>| address.unwrap_or_default();
    let named = !matches!(name, "bridge" | "host" | "none");
    // An unspecified gateway is the link itself.
    let gateway4 = endpoint.gateway4.filter(|ip| !ip.is_unspecified());
    let gateway6 = endpoint.gateway6.filter(|ip| !ip.is_unspecified());
    EndpointSettings {
        ipam_config: wish.ipam_config,
        links: wish.links,
        aliases: wish.aliases.clone(),
        driver_opts: wish.driver_opts,
        gw_priority: wish.gw_priority,
        endpoint_id: container.endpoint(name).map(|endpoint| endpoint.id(&container.id)).unwrap_or_default(),
        network_id: endpoint.network_id.clone(),
        mac_address: endpoint.mac.clone(),
        gateway: text(gateway4.map(|ip| ip.to_string())),
        ip_address: text(endpoint.ip4.map(|ip| ip.to_string())),
        ip_prefix_len: if endpoint.ip4.is_some() { endpoint.prefix4 } else { 0 },
        ipv6_gateway: text(gateway6.map(|ip| ip.to_string())),
        global_ipv6_address: text(endpoint.ip6.map(|ip| ip.to_string())),
        global_ipv6_prefix_len: if endpoint.ip6.is_some() { endpoint.prefix6 } else { 0 },
        dns_names: named.then(|| container.names_on(&wish.aliases.unwrap_or_default())),
    }
}

fn network_settings(container: &Container) -> NetworkSettings {
    let networks: BTreeMap<String, EndpointSettings> = container
        .networks()
        .into_iter()
        .map(|(name, wish)| {
            let settings = endpoint_settings(container, &name, wish);
            (name, settings)
        })
        .collect();
    let bridge = networks.get("bridge").cloned().unwrap_or_default();
    NetworkSettings {
        sandbox_key: match container.state.pid {
            0 => String::new(),
            pid => format!("/proc/{pid}/ns/net"),
        },
        ports: ports(container),
        ip_address: bridge.ip_address,
        ip_prefix_len: bridge.ip_prefix_len,
        gateway: bridge.gateway,
        global_ipv6_address: bridge.global_ipv6_address,
        global_ipv6_prefix_len: bridge.global_ipv6_prefix_len,
        ipv6_gateway: bridge.ipv6_gateway,
        mac_address: bridge.mac_address,
        networks,
        ..NetworkSettings::default()
    }
}

fn ports(container: &Container) -> BTreeMap<String, Option<Vec<PortBinding>>> {
    let mut map: BTreeMap<String, Option<Vec<PortBinding>>> = BTreeMap::new();
    for port in crate::view::containers::ports(container) {
        let entry = map.entry(format!("{}/{}", port.private_port, port.protocol)).or_default();
        if port.public_port != 0 {
            let binding = PortBinding { host_ip: port.ip, host_port: port.public_port.to_string() };
            entry.get_or_insert_default().push(binding);
        }
    }
    map
}
