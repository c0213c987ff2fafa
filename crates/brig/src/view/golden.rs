//! Tables and inspect answers compared with `tests/golden/`, made of one fixed set of objects at one fixed time.
//!
//! `UPDATE_GOLDEN=1 cargo test -p brig` writes the files anew; the change is then read in review.

use std::collections::BTreeMap;
use std::path::Path;

use base::ContainerId;
use docker_types::ContainerSpec;
use engine::model::{
    Container, Endpoint, Image, MountKind, MountPoint, Network, NetworkConfig, Port, State, Status, Subnet,
    Volume,
};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use oci::Digest;

use super::{containers, format, images, inspect, networks, volumes};

fn stamp(text: &str) -> Timestamp {
    text.parse().expect("a fixed time is well formed")
}

fn now() -> Timestamp {
    stamp("2026-01-10T12:00:00Z")
}

fn id(first: u8) -> ContainerId {
    let mut bytes = [0x11; 32];
    bytes[0] = first;
    ContainerId::from_random(bytes)
}

fn state(status: Status) -> State {
    State {
        status,
        pid: if status.is_alive() { 4242 } else { 0 },
        exit_code: if status == Status::Exited { 137 } else { 0 },
        oom_killed: status == Status::Exited,
        error: String::new(),
        started: (status != Status::Created).then(|| stamp("2026-01-10T09:00:00.5Z")),
        finished: (status == Status::Exited).then(|| stamp("2026-01-10T10:30:00Z")),
    }
}

fn container(first: u8, name: &str, status: Status) -> Container {
    let mut spec = ContainerSpec::default();
    spec.host_config.network_mode = "default".to_owned();
    spec.config.image = "debian:12".to_owned();
    Container {
        id: id(first),
        name: name.to_owned(),
        created: stamp("2026-01-10T08:59:59Z"),
        image_id: Digest::of(b"image"),
        image_name: "debian:12".to_owned(),
        spec,
        argv: vec!["/bin/sh".to_owned(), "-c".to_owned(), "echo a long command".to_owned()],
        state: state(status),
        restart_count: 0,
        mounts: Vec::new(),
        endpoints: Vec::new(),
        health: None,
        ports: Vec::new(),
        log_path: Some("/var/lib/brig/containers/x/log.json".into()),
        folder: "/var/lib/brig/containers/x".into(),
    }
}

fn web() -> Container {
    let mut web = container(0xaa, "web", Status::Running);
    web.spec.config.labels = BTreeMap::from([("com.example.tier".to_owned(), "front".to_owned())]);
    web.spec.config.exposed_ports = ["80/tcp", "81/tcp", "443/tcp", "53/udp"]
        .map(|port| (port.to_owned(), docker_types::container::Empty {}))
        .into();
    web.mounts = vec![
        mount(MountKind::Volume, Some("data-of-the-web-server"), "/data"),
        mount(MountKind::Bind, None, "/etc/x"),
    ];
    web.endpoints = vec![Endpoint {
        network: "bridge".to_owned(),
        ip4: Some([172, 30, 0, 2].into()),
        prefix4: 16,
        gateway4: Some([172, 30, 0, 1].into()),
        ip6: Some([0xfd00, 0, 0, 0, 0, 0, 0, 2].into()),
        prefix6: 64,
        gateway6: Some([0xfd00, 0, 0, 0, 0, 0, 0, 1].into()),
        mac: "02:00:ac:1e:00:02".to_owned(),
        ..Endpoint::default()
    }];
    web.ports = vec![
        Port {
            proto: "tcp".to_owned(),
            host_ip: None,
            host_first: 80,
            guest_first: 80,
            count: 2,
            open: false,
        },
        Port {
            proto: "tcp".to_owned(),
            host_ip: Some([127, 0, 0, 1].into()),
            host_first: 8443,
            guest_first: 443,
            count: 1,
            open: false,
        },
    ];
    web
}

fn mount(kind: MountKind, volume: Option<&str>, target: &str) -> MountPoint {
    MountPoint {
        kind,
        volume: volume.map(str::to_owned),
        source: "/srv/source".to_owned(),
        target: target.to_owned(),
        mode: "ro".to_owned(),
        writable: false,
        propagation: if kind == MountKind::Bind { "rprivate".to_owned() } else { String::new() },
        anonymous: false,
        options: Vec::new(),
        fill: false,
        subpath: String::new(),
        filesystem: None,
    }
}

fn all() -> Vec<Container> {
    vec![
        web(),
        container(0xbb, "paused_one", Status::Paused),
        container(0xcc, "db", Status::Exited),
        container(0xdd, "fresh", Status::Created),
        container(0xee, "flapping", Status::Restarting),
    ]
}

fn image() -> Image {
    let mut config = oci::config::ImageConfiguration {
        created: Some("2025-12-24T18:00:00Z".to_owned()),
        architecture: "amd64".to_owned(),
        os: "linux".to_owned(),
        ..Default::default()
    };
    config.config.env = vec!["PATH=/usr/bin:/bin".to_owned()];
    config.config.cmd = Some(vec!["bash".to_owned()]);
    config.rootfs.diff_ids = vec![Digest::of(b"layer")];
    Image {
        id: Digest::of(b"image"),
        manifest: Digest::of(b"manifest"),
        tags: ["debian:12", "ghcr.io/me/base:v1"].map(|name| name.parse().expect("a fixed name")).into(),
        digests: vec![format!("debian@{}", Digest::of(b"manifest")).parse().expect("a fixed name")],
        created: Some(stamp("2025-12-24T18:00:00Z")),
        config,
        size: 117_345_678,
        layer_sizes: vec![117_345_678],
        containers: 5,
    }
}

fn compare(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, text).expect("the golden file can be written");
    }
    let golden = std::fs::read_to_string(&path).expect("the golden file is there");
    assert_eq!(text, golden, "{name}; UPDATE_GOLDEN=1 writes it anew");
}

fn table(columns: &format::Columns, form: Option<&str>, normal: &str, rows: &[format::Row]) -> String {
    format::render(columns, form, normal, rows).expect("fixed templates render")
}

#[test]
fn ps_is_what_was_agreed() {
    let zone = TimeZone::UTC;
    let rows = |no_trunc: bool| -> Vec<format::Row> {
        all().iter().map(|c| containers::row(c, Some((1234, 117_346_912)), no_trunc, now(), &zone)).collect()
    };
    let (short, long) = (rows(false), rows(true));
    let columns = &containers::COLUMNS;
    let mut text = table(columns, None, containers::TABLE, &short);
    text += &table(columns, None, containers::TABLE_WITH_SIZE, &long);
    let wide = "table {{.Names}}\\t{{.Mounts}}\\t{{.LocalVolumes}}\\t{{.Networks}}\\t{{.CreatedAt}}\\t{{.Label \"com.example.tier\"}}";
    text += &table(columns, Some(wide), "", &short);
    text += &table(columns, Some("{{.Names}}|{{.State}}|{{.Image}}"), "", &short);
    text += &table(columns, Some("json"), "", &short[..1]);
    compare("ps.txt", &text);
}

#[test]
fn images_are_what_was_agreed() {
    let image = image();
    let zone = TimeZone::UTC;
    let rows = |digests: bool, no_trunc: bool| -> Vec<format::Row> {
        images::names(&image, digests)
            .iter()
            .map(|names| images::row(&image, names, no_trunc, now(), &zone))
            .collect()
    };
    let columns = &images::COLUMNS;
    let mut text = table(columns, None, images::TABLE, &rows(false, false));
    text += &table(columns, None, images::TABLE_WITH_DIGESTS, &rows(true, true));
    text += &table(columns, Some("json"), "", &rows(false, false)[..1]);
    compare("images.txt", &text);
}

#[test]
fn volumes_and_networks_are_what_was_agreed() {
    let volume = Volume {
        name: "data".to_owned(),
        labels: BTreeMap::from([("a".to_owned(), "b".to_owned())]),
        options: BTreeMap::new(),
        created: stamp("2026-01-01T00:00:00Z"),
        anonymous: false,
        mountpoint: "/var/lib/brig/volumes/data/_data".into(),
        used_by: vec![id(0xaa)],
    };
    let network = Network {
        id: "ddf7e9c909d30000".to_owned(),
        name: "bridge".to_owned(),
        driver: "bridge".to_owned(),
        created: stamp("2026-01-01T00:00:00Z"),
        builtin: true,
        config: NetworkConfig {
            subnets: vec![Subnet {
                address: [172, 30, 0, 0].into(),
                length: 16,
                gateway: Some([172, 30, 0, 1].into()),
                range: None,
                reserved: BTreeMap::new(),
            }],
            ipv4: true,
            ipv6: true,
            ..NetworkConfig::default()
        },
        containers: vec![(id(0xaa), "web".to_owned(), web().endpoints[0].clone())],
    };
    let mut text = table(&volumes::COLUMNS, None, volumes::TABLE, &[volumes::row(&volume, Some(1234))]);
    text +=
        &table(&networks::COLUMNS, None, networks::TABLE, &[networks::row(&network, false, &TimeZone::UTC)]);
    let values =
        [serde_json::to_value(inspect::volume(&volume)), serde_json::to_value(inspect::network(&network))];
    let values: Vec<_> = values.into_iter().map(|value| value.expect("it is JSON")).collect();
    text += &format::inspected(None, &values).expect("it renders");
    compare("volumes.txt", &text);
}

#[test]
fn inspect_is_what_was_agreed() {
    let values = [
        serde_json::to_value(inspect::container::container(&web(), Some((1, 2)))),
        serde_json::to_value(inspect::container::container(&container(0xcc, "db", Status::Exited), None)),
        serde_json::to_value(inspect::image::image(&image())),
    ];
    let values: Vec<_> = values.into_iter().map(|value| value.expect("it is JSON")).collect();
    let mut text = format::inspected(None, &values).expect("it renders");
    let form = "{{.Name}} {{.State.Status}} {{range $p, $c := .NetworkSettings.Ports}}{{$p}}={{with $c}}{{(index . 0).HostPort}}{{end}} {{end}}{{.NetworkSettings.Networks.bridge.IPAddress}}";
    text += &format::inspected(Some(form), &values[..2]).expect("it renders");
    compare("inspect.txt", &text);
}
