//! Every expectation is what docker 28.2's client sent to its server, or said, for the same arguments.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::FromArgMatches as _;
use serde_json::{Value, json};

use super::*;
use crate::cli::parse;
use crate::commands;

/// A world of its own: one variable, two files, `/here`.
struct Fake;

impl World for Fake {
    fn variable(&self, name: &str) -> Option<String> {
        (name == "HOME").then(|| "/root".to_owned())
    }

    fn read(&self, path: &Path) -> std::io::Result<Vec<u8>> {
        match path.to_str() {
            Some("env") => Ok(b"# c\nA=1\nHOME\nNOPE\n".to_vec()),
            Some("labels") => Ok(b"x=1\ny\n".to_vec()),
            Some("profile.json") => Ok(b"{ \"defaultAction\": \"x\" }\n".to_vec()),
            Some("bad.json") => Ok(b"bad".to_vec()),
            _ => Err(std::io::Error::new(std::io::ErrorKind::NotFound, "no such file or directory")),
        }
    }

    fn directory(&self) -> PathBuf {
        "/here".into()
    }
}

fn made(args: &[&str]) -> Result<ContainerSpec> {
    let entry = commands::find(&["create".to_owned()]).expect("create is a command");
    let words = args.iter().chain(&["x"]).map(Into::into).collect();
    let matches = parse::parse(entry, "brig create", words)?;
    let flags = ContainerFlags::from_arg_matches(&matches)?;
    spec(&flags, "x", &[], &Fake)
}

/// Returns the request as one flat object of `Config` and `HostConfig`.
fn flat(args: &[&str]) -> Value {
    let spec = made(args).unwrap_or_else(|error| panic!("{args:?}: {error:#}"));
    let mut object = serde_json::to_value(&spec.config).unwrap();
    let host = serde_json::to_value(&spec.host_config).unwrap();
    for (key, value) in host.as_object().unwrap() {
        object[key] = value.clone();
    }
    object
}

fn check(args: &[&str], expected: Value) {
    let have = flat(args);
    for (key, value) in expected.as_object().unwrap() {
        assert_eq!(&have[key], value, "{args:?}: {key}");
    }
}

fn refused(args: &[&str], message: &str) {
    let error = made(args).expect_err("it must be refused");
    assert_eq!(crate::error::render(&error), message, "{args:?}");
}

#[test]
fn streams_follow_the_flags() {
    check(
        &[],
        json!({"AttachStdin": false, "AttachStdout": true, "AttachStderr": true, "Tty": false, "OpenStdin": false}),
    );
    check(&["-it"], json!({"AttachStdin": true, "Tty": true, "OpenStdin": true, "StdinOnce": true}));
    check(
        &["-i", "-a", "STDOUT"],
        json!({"AttachStdin": false, "AttachStdout": true, "AttachStderr": false, "OpenStdin": true, "StdinOnce": false}),
    );
    check(&["--tty=false", "--init=true"], json!({"Tty": false, "Init": true}));
    check(&["-m", "1g", "-m", "2g"], json!({"Memory": 2_147_483_648_i64}));
}

#[test]
fn ports_follow_the_flags() {
    check(
        &["-p", "8080:80", "--expose", "90-91/udp", "-p", "127.0.0.1::80"],
        json!({
            "ExposedPorts": {"80/tcp": {}, "90-91/udp": {}},
            "PortBindings": {"80/tcp": [{"HostIp": "", "HostPort": "8080"}, {"HostIp": "127.0.0.1", "HostPort": ""}]},
        }),
    );
}

#[test]
fn volumes_follow_the_flags() {
    check(
        &[
            "-v",
            "/a",
            "-v",
            "/a:/b:ro",
            "-v",
            "./x:/c",
            "-v",
            "..:/d",
            "--tmpfs",
            "/t:size=1m",
            "--tmpfs",
            "/u",
        ],
        json!({
            "Volumes": {"/a": {}},
            "Binds": ["/a:/b:ro", "/here/x:/c", "/:/d"],
            "Tmpfs": {"/t": "size=1m", "/u": ""},
        }),
    );
    check(
        &["--mount", "type=bind,src=.,dst=/b"],
        json!({"Mounts": [{"Type": "bind", "Source": "/here", "Target": "/b", "ReadOnly": false}]}),
    );
}

#[test]
fn variables_and_labels_follow_the_flags() {
    check(
        &["-e", "A=1", "-eB=2", "--env=HOME", "-e", "NOPE"],
        json!({"Env": ["A=1", "B=2", "HOME=/root", "NOPE"]}),
    );
    check(&["--env-file", "env", "-e", "Z=1"], json!({"Env": ["A=1", "HOME=/root", "Z=1"]}));
    check(&["--label-file", "labels", "-l", "x=2"], json!({"Labels": {"x": "2", "y": ""}}));
}

#[test]
fn limits_follow_the_flags() {
    check(
        &[
            "-m",
            "512m",
            "--memory-swap",
            "-1",
            "--cpus",
            "1.5",
            "-c",
            "512",
            "--pids-limit",
            "-1",
            "--shm-size",
            "64m",
        ],
        json!({"Memory": 536_870_912, "MemorySwap": -1, "NanoCpus": 1_500_000_000, "CpuShares": 512, "PidsLimit": -1, "ShmSize": 67_108_864}),
    );
    check(
        &["--ulimit", "nofile=1024:2048", "--device", "/dev/a:rw", "--device-cgroup-rule", "c 1:3 rwm"],
        json!({
            "Ulimits": [{"Name": "nofile", "Soft": 1024, "Hard": 2048}],
            "Devices": [{"PathOnHost": "/dev/a", "PathInContainer": "/dev/a", "CgroupPermissions": "rw"}],
            "DeviceCgroupRules": ["c 1:3 rwm"],
        }),
    );
    check(
        &["--device-read-bps", "/dev/a:1mb"],
        json!({"BlkioDeviceReadBps": [{"Path": "/dev/a", "Rate": 1_048_576}]}),
    );
}

#[test]
fn security_follows_the_flags() {
    check(
        &["--security-opt", "seccomp=profile.json"],
        json!({"SecurityOpt": ["seccomp={\"defaultAction\":\"x\"}"]}),
    );
    check(
        &["--security-opt", "systempaths=unconfined"],
        json!({"SecurityOpt": null, "MaskedPaths": [], "ReadonlyPaths": []}),
    );
    check(
        &["--cap-add", "SYS_ADMIN", "--cap-add", "ALL", "--cap-drop", "cap_chown"],
        json!({"CapAdd": ["ALL", "CAP_SYS_ADMIN"], "CapDrop": ["CAP_CHOWN"]}),
    );
    check(&["--sysctl", "net.ipv4.ip_forward=1"], json!({"Sysctls": {"net.ipv4.ip_forward": "1"}}));
}

#[test]
fn the_rest_follows_the_flags() {
    check(
        &[
            "--restart",
            "on-failure:3",
            "--add-host",
            "a:host-gateway",
            "--dns",
            "8.8.8.8",
            "-h",
            "web",
            "--stop-signal",
            "INT",
            "--stop-timeout",
            "5",
        ],
        json!({
            "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 3},
            "ExtraHosts": ["a:host-gateway"], "Dns": ["8.8.8.8"], "Hostname": "web", "StopSignal": "INT", "StopTimeout": 5,
        }),
    );
    check(&["--entrypoint", ""], json!({"Entrypoint": [""]}));
    check(
        &["--no-healthcheck"],
        json!({"Healthcheck": {"Test": ["NONE"], "Interval": 0, "Timeout": 0, "Retries": 0, "StartPeriod": 0, "StartInterval": 0}}),
    );
    check(
        &["--net", "host", "--pid=host", "--ipc", "private"],
        json!({"NetworkMode": "host", "PidMode": "host", "IpcMode": "private"}),
    );
    let spec = made(&["--network", "foo", "--ip", "1.2.3.4", "--mac-address", "92:d0:c6:0a:29:33"]).unwrap();
    let endpoint = &spec.networking_config.endpoints_config["foo"];
    assert_eq!(endpoint.ipam_config.as_ref().unwrap().ipv4_address, "1.2.3.4");
    assert_eq!(endpoint.mac_address, "92:d0:c6:0a:29:33");
    assert_eq!(made(&["--platform", "linux/aarch64"]).unwrap().platform.as_deref(), Some("linux/arm64"));
    assert_eq!(made(&[]).unwrap().networking_config.endpoints_config, BTreeMap::new());
}

#[test]
fn wrong_values_are_refused_in_dockers_words() {
    for (args, message) in [
        (&["-p", "abc"][..], "invalid containerPort: abc"),
        (&["-v", ":/b"], "invalid spec: :/b: empty section between colons"),
        (&["-v", ""], "invalid empty volume spec"),
        (&["--device", "a"], "a is not an absolute path"),
        (
            &["--restart", "on-failure:x"],
            "invalid restart policy format: maximum retry count must be an integer",
        ),
        (&["--rm", "--restart", "always"], "conflicting options: cannot specify both --restart and --rm"),
        (&["--security-opt", "foo"], "Invalid --security-opt: \"foo\""),
        (&["--uts", "container:x"], "--uts: invalid UTS mode"),
        (&["--userns", "x"], "--userns: invalid USER mode"),
        (&["--memory-swappiness", "101"], "invalid value: 101. Valid memory swappiness range is 0-100"),
        (&["--mac-address", "x"], "x is not a valid mac address"),
        (
            &["--pull", "foo"],
            "invalid pull option: 'foo': must be one of \"always\", \"missing\" or \"never\"",
        ),
        (&["--log-driver", "none", "--log-opt", "a=b"], "invalid logging opts for driver none"),
        (
            &["--platform", "foo"],
            "error parsing specified platform: \"foo\": \"foo\": unknown operating system or architecture: invalid argument",
        ),
        (
            &["--security-opt", "seccomp=/nope"],
            "opening seccomp profile (/nope) failed: no such file or directory",
        ),
    ] {
        let error = made(args).and_then(|_| flags_error(args)).expect_err("it must be refused");
        assert_eq!(crate::error::render(&error), message, "{args:?}");
    }
}

/// What is read of the flags beside the request.
fn flags_error(args: &[&str]) -> Result<()> {
    let entry = commands::find(&["create".to_owned()]).expect("create is a command");
    let words = args.iter().chain(&["x"]).map(Into::into).collect();
    let flags = ContainerFlags::from_arg_matches(&parse::parse(entry, "brig create", words)?)?;
    flags.create_options().map(|_| ())
}

#[test]
fn wrong_flags_are_refused_in_dockers_words() {
    for (args, message) in [
        (&["-m", "abc"][..], "invalid argument \"abc\" for \"-m, --memory\" flag: invalid size: 'abc'"),
        (&["-m", "-1"], "invalid argument \"-1\" for \"-m, --memory\" flag: invalid size: '-1'"),
        (
            &["--cpus", "1.5555555555"],
            "invalid argument \"1.5555555555\" for \"--cpus\" flag: value is too precise",
        ),
        (
            &["--ulimit", "foo=1"],
            "invalid argument \"foo=1\" for \"--ulimit\" flag: invalid ulimit type: foo",
        ),
        (
            &["--mount", "type=bind"],
            "invalid argument \"type=bind\" for \"--mount\" flag: target is required",
        ),
        (
            &["--add-host", "a"],
            "invalid argument \"a\" for \"--add-host\" flag: bad format for add-host: \"a\"",
        ),
        (&["--sysctl", "a=b"], "invalid argument \"a=b\" for \"--sysctl\" flag: sysctl 'a=b' is not allowed"),
        (
            &["--dns", "x"],
            "invalid argument \"x\" for \"--dns\" flag: IP address is not correctly formatted: x",
        ),
        (
            &["-a", "foo"],
            "invalid argument \"foo\" for \"-a, --attach\" flag: valid streams are STDIN, STDOUT and STDERR",
        ),
        (
            &["--pids-limit", "x"],
            "invalid argument \"x\" for \"--pids-limit\" flag: strconv.ParseInt: parsing \"x\": invalid syntax",
        ),
        (
            &["--pids-limit", "99999999999999999999"],
            "invalid argument \"99999999999999999999\" for \"--pids-limit\" flag: strconv.ParseInt: parsing \"99999999999999999999\": value out of range",
        ),
        (
            &["--blkio-weight", "-1"],
            "invalid argument \"-1\" for \"--blkio-weight\" flag: strconv.ParseUint: parsing \"-1\": invalid syntax",
        ),
        (
            &["--tty=maybe"],
            "invalid argument \"maybe\" for \"-t, --tty\" flag: strconv.ParseBool: parsing \"maybe\": invalid syntax",
        ),
        (&["-e", "=b"], "invalid argument \"=b\" for \"-e, --env\" flag: invalid environment variable: =b"),
        (&["-l", "=b"], "invalid argument \"=b\" for \"-l, --label\" flag: invalid label '=b': empty name"),
        (&["--publsh", "80"], "unknown flag: --publsh\n\nDid you mean '--publish'?"),
        (&["-Z"], "unknown shorthand flag: 'Z' in -Z"),
        (
            &["--volume-driver", "x"],
            "invalid argument \"x\" for \"--volume-driver\" flag: volume driver \"x\" is not supported: only \"local\" is",
        ),
        (
            &["--gpus", "many"],
            "invalid argument \"many\" for \"--gpus\" flag: invalid count (many): value must be either \"all\" or an integer",
        ),
        (
            &["--use-api-socket"],
            "--use-api-socket is not supported: there is no API server whose socket could be mounted",
        ),
        (&["--cpu-count", "2"], "--cpu-count is for containers of Windows; on Linux give --cpus"),
        (&["--isolation", "hyperv"], "invalid isolation \"hyperv\" on linux"),
        (
            &["--runtime", "runc"],
            "unknown or invalid runtime name: runc; containers run by Brig's own runtime, \"brig\"",
        ),
        (
            &["--disable-content-trust=false"],
            "--disable-content-trust=false is not supported: Docker's content trust cannot be verified",
        ),
        (
            &["--kernel-memory", "1g"],
            "--kernel-memory is not supported: Linux has had no limit of kernel memory since 5.16; give --memory, which counts it",
        ),
    ] {
        refused(args, message);
    }
}

#[test]
fn flags_end_at_the_image() {
    let entry = commands::find(&["create".to_owned()]).expect("create is a command");
    for (words, rest) in [
        (&["-it", "alpine", "ls", "-la", "--rm"][..], &["alpine", "ls", "-la", "--rm"][..]),
        (&["--rm", "--", "alpine", "--", "x"], &["alpine", "--", "x"]),
        (&["alpine"], &["alpine"]),
        (&["-e", "-x", "alpine", "--help"], &["alpine", "--help"]),
    ] {
        let matches = parse::parse(entry, "brig create", words.iter().map(Into::into).collect()).unwrap();
        let found: Vec<&String> = matches.get_many("words").unwrap().collect();
        assert_eq!(found, rest.iter().collect::<Vec<_>>(), "{words:?}");
    }
}
