//! `--log-driver` and `--log-opt`: what each driver keeps, where it sends, and what it refuses.

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use testkit::{World, eventually};

/// What a receiver got, as text, once `wanted` is in it.
fn received(socket: &UnixDatagram, wanted: &str) -> String {
    socket.set_read_timeout(Some(Duration::from_secs(20))).expect("set the time-out");
    let mut all = String::new();
    let mut buffer = [0; 65536];
    while !all.contains(wanted) {
        let got =
            socket.recv(&mut buffer).unwrap_or_else(|error| panic!("{error}: {wanted:?} is not in {all:?}"));
        all += &String::from_utf8_lossy(&buffer[..got]);
        all.push('\n');
    }
    all
}

#[test]
fn root_wrong_drivers_and_options_make_nothing() {
    let Some(world) = World::root() else { return };
    for (args, text) in [
        (&["--log-driver", "gelf"][..], "no log driver named 'gelf' is registered"),
        (&["--log-opt", "colour=red"], "unknown log opt 'colour' for json-file log driver"),
        (&["--log-driver", "local", "--log-opt", "max-file=0"], "max-file cannot be less than 1"),
        (&["--log-driver", "none", "--log-opt", "tag=x"], "invalid logging opts for driver none"),
        (&["--log-driver", "syslog", "--log-opt", "syslog-address=x"], "should be in form proto://address"),
        (&["--log-opt", "max-buffer-size=1m"], "only supported with 'mode=non-blocking'"),
    ] {
        let done = world.brig(["create"].iter().chain(args).chain(&["tiny"]));
        assert!(done.code != 0 && done.stderr.contains(text), "{args:?}: {}", done.stderr);
    }
    assert_eq!(world.brig(["ps", "-aq"]).ok(), "");
}

#[test]
fn root_labels_variables_and_tag_are_details() {
    let Some(world) = World::root() else { return };
    let opts = ["--log-opt", "labels=tier", "--log-opt", "env-regex=^MODE", "--log-opt", "tag={{.Name}}"];
    let line = ["run", "--name", "box", "-l", "tier=a b", "-l", "other=1", "-e", "MODE_X=2"];
    world.brig(line.iter().chain(&opts).chain(&["tiny", "echo", "hello"])).ok();
    assert_eq!(world.brig(["logs", "--details", "box"]).ok(), "MODE_X=2,tag=box,tier=a+b hello");
    assert_eq!(world.brig(["logs", "box"]).ok(), "hello");
    world.brig(["run", "--name", "plain", "tiny", "echo", "hello"]).ok();
    assert_eq!(world.brig(["logs", "--details", "plain"]).stdout, " hello\n");
}

#[test]
fn root_a_local_log_is_compressed_and_read_like_another() {
    let Some(world) = World::root() else { return };
    let script =
        "i=0; while [ $i -lt 4000 ]; do echo line $i; i=$((i+1)); [ $((i % 500)) = 0 ] && sleep 0.1; done";
    let opts = ["--log-driver", "local", "--log-opt", "max-size=64k", "--log-opt", "max-file=8"];
    world.brig(["run", "--name", "box"].iter().chain(&opts).chain(&["tiny", "sh", "-c", script])).ok();
    let id = world.inspect("box", "{{.Id}}");
    let folder = world.data_root().join("containers").join(id.trim());
    eventually("a file is compressed", || {
        std::fs::read_dir(&folder)
            .unwrap()
            .flatten()
            .any(|entry| entry.file_name().to_string_lossy().ends_with(".gz"))
    });
    let wanted: String = (0..4000).map(|number| format!("line {number}\n")).collect();
    assert_eq!(world.brig(["logs", "box"]).stdout, wanted);
    assert_eq!(world.brig(["logs", "-n", "3000", "box"]).stdout.lines().next(), Some("line 1000"));
}

#[test]
fn root_a_log_is_kept_over_recreations() {
    let Some(world) = World::root() else { return };
    for number in 0..5 {
        let script = format!("echo begin {number}; echo end {number}");
        world.brig(["run", "--rm", "--log-keep", "--name", "web", "tiny", "sh", "-c", &script]).ok();
    }
    let wanted: String = (0..5).map(|number| format!("begin {number}\nend {number}\n")).collect();
    assert_eq!(world.brig(["logs", "web"]).stdout, wanted);
    world.brig(["create", "--log-keep", "--name", "web", "tiny", "true"]).ok();
    assert_eq!(world.brig(["logs", "-n", "1", "web"]).ok(), "end 4");
    world.brig(["rename", "web", "shop"]).ok();
    assert_eq!(world.brig(["logs", "-n", "1", "shop"]).ok(), "end 4");
    world.brig(["rm", "shop"]).ok();
    world.brig(["logs", "web"]).exits(1);
    world.brig(["system", "prune", "-f", "--volumes"]).ok();
    world.brig(["logs", "shop"]).exits(1);
}

#[test]
fn root_syslog_gets_each_line_and_logs_still_reads() {
    let Some(world) = World::root() else { return };
    let path = world.path("syslog.sock");
    let socket = UnixDatagram::bind(&path).unwrap();
    world.own(&path);
    let address = format!("syslog-address=unixgram://{}", path.display());
    let opts = [
        "--log-driver",
        "syslog",
        "--log-opt",
        &address,
        "--log-opt",
        "tag=shop",
        "--log-opt",
        "syslog-facility=local0",
    ];
    world
        .brig(["run", "--name", "box"].iter().chain(&opts).chain(&[
            "tiny",
            "sh",
            "-c",
            "echo out; echo err >&2",
        ]))
        .ok();
    let text = received(&socket, ": err");
    assert!(text.contains("<134>") && text.contains(" shop[") && text.contains("]: out"), "{text}");
    assert!(text.contains("<131>"), "{text}");
    let done = world.brig(["logs", "box"]);
    assert_eq!((done.stdout.as_str(), done.stderr.as_str()), ("out\n", "err\n"));
    drop(socket);
    std::fs::remove_file(&path).unwrap();
    let done = world.brig(["run", "--rm"].iter().chain(&opts).chain(&["tiny", "true"]));
    assert_eq!(done.code, 125);
    assert!(done.stderr.contains("initialize logging driver: dial unix"), "{}", done.stderr);
    let opts = [
        "--log-driver",
        "syslog",
        "--log-opt",
        "syslog-address=udp://127.0.0.1:5514",
        "--log-opt",
        "cache-disabled=true",
    ];
    world.brig(["run", "--name", "far"].iter().chain(&opts).chain(&["tiny", "echo", "hello"])).ok();
    let done = world.brig(["logs", "far"]);
    assert!(done.code == 1 && done.stderr.contains("does not support reading"), "{}", done.stderr);
}

#[test]
fn root_journald_gets_fields_and_lines() {
    let Some(world) = World::root() else { return };
    let path = world.path("journal.sock");
    let socket = UnixDatagram::bind(&path).unwrap();
    world.own(&path);
    // The world has mounts of its own: the machine's journal is not touched.
    let script = format!(
        "mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/journal && ln -s {} /run/systemd/journal/socket",
        path.display()
    );
    world.sh_as_root(&script).ok();
    world.brig(["run", "--name", "box", "--log-driver", "journald", "tiny", "echo", "hello"]).ok();
    let text = received(&socket, "MESSAGE=hello\n");
    for field in ["CONTAINER_NAME=box\n", "IMAGE_NAME=tiny\n", "PRIORITY=6\n"] {
        assert!(text.contains(field), "{field} is not in {text}");
    }
    assert_eq!(world.brig(["logs", "box"]).ok(), "hello");
}
