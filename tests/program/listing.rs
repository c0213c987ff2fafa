//! `ps`, `inspect`, `port`, formats and filters.

use testkit::World;

#[test]
fn root_ps_table_and_columns() {
    let Some(world) = World::root() else { return };
    let head = world.brig(["ps"]).ok();
    assert_eq!(
        head.split("  ").map(str::trim).filter(|word| !word.is_empty()).collect::<Vec<_>>(),
        ["CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES"]
    );
    world.brig(["run", "-d", "--name", "up", "tiny", "sleep", "100"]).ok();
    world.brig(["run", "--name", "down", "tiny", "sh", "-c", "exit 3"]).exits(3);
    let row = world.brig(["ps"]).ok();
    assert!(row.contains("\"sleep 100\"") && row.contains("Up ") && row.ends_with("up"), "{row}");
    assert!(!row.contains("down"));
    assert!(world.brig(["ps", "-a"]).ok().contains("Exited (3) "));
    assert_eq!(world.brig(["ps", "-aq"]).ok().lines().count(), 2);
    assert_eq!(world.brig(["ps", "-q", "--no-trunc"]).ok().len(), 64);
    assert_eq!(world.brig(["ps", "-l", "--format", "{{.Names}}"]).ok(), "down");
    assert_eq!(world.brig(["ps", "-n", "1", "--format", "{{.Names}}"]).ok(), "down");
}

#[test]
fn root_filters() {
    let Some(world) = World::root() else { return };
    world.brig(["run", "-d", "--name", "one", "-l", "color=red", "tiny", "sleep", "100"]).ok();
    world.brig(["run", "--name", "two", "--label", "color=blue", "tiny", "sh", "-c", "exit 3"]).exits(3);
    world.brig(["create", "--name", "three", "tiny"]).ok();
    let names = |filter: &str| {
        let text = world.brig(["ps", "-a", "--filter", filter, "--format", "{{.Names}}"]).ok();
        let mut names: Vec<String> = text.lines().map(str::to_owned).collect();
        names.sort();
        names.join(" ")
    };
    for (filter, wanted) in [
        ("status=running", "one"),
        ("status=created", "three"),
        ("exited=3", "two"),
        ("label=color", "one two"),
        ("label=color=blue", "two"),
        ("name=t", "three two"),
        ("name=^one$", "one"),
        ("ancestor=tiny", "one three two"),
        ("before=two", "one"),
        ("since=two", "three"),
    ] {
        assert_eq!(names(filter), wanted, "{filter}");
    }
    world.brig(["ps", "--filter", "nonsense=1"]).refuses(1, &["nonsense"]);
}

#[test]
fn root_formats() {
    let Some(world) = World::root() else { return };
    world.brig(["run", "-d", "--name", "box", "-l", "a=b", "tiny", "sleep", "100"]).ok();
    assert_eq!(
        world.brig(["ps", "--format", "table {{.Names}}\t{{.Image}}"]).ok(),
        "NAMES     IMAGE\nbox       tiny"
    );
    let line = world.brig(["ps", "--format", "json"]).ok();
    let object: serde_json::Value = serde_json::from_str(&line).expect("one JSON object a line");
    assert_eq!(object["Names"], "box");
    assert_eq!(object["State"], "running");
    assert_eq!(
        world.brig(["ps", "--format", "{{json .Names}} {{.Label \"a\"}} {{upper .Names}}"]).ok(),
        "\"box\" b BOX"
    );
    assert_eq!(world.inspect("box", "{{range $k, $v := .Config.Labels}}{{$k}}={{$v}};{{end}}"), "a=b;");
    assert_eq!(
        world.inspect(
            "box",
            "{{if .State.Running}}yes{{else}}no{{end}} {{index .Config.Cmd 1}} {{len .Config.Cmd}}"
        ),
        "yes 100 2"
    );
    world.brig(["ps", "--format", "{{.Nonsense}}"]).refuses(1, &["Nonsense"]);
    world.brig(["ps", "--format", "{{"]).exits(1);
}

#[test]
fn root_inspect_is_dockers_document() {
    let Some(world) = World::root() else { return };
    world
        .brig([
            "run",
            "-d",
            "--name",
            "box",
            "-p",
            "127.0.0.1:0:80",
            "-m",
            "64m",
            "-v",
            "data:/data",
            "tiny",
            "sleep",
            "100",
        ])
        .ok();
    let text = world.brig(["inspect", "box"]).ok();
    let document: serde_json::Value = serde_json::from_str(&text).expect("a JSON document");
    let container = &document[0];
    for (pointer, wanted) in [
        ("/Name", serde_json::json!("/box")),
        ("/Path", serde_json::json!("sleep")),
        ("/Args/0", serde_json::json!("100")),
        ("/State/Running", serde_json::json!(true)),
        ("/Config/Image", serde_json::json!("tiny")),
        ("/HostConfig/Memory", serde_json::json!(64 << 20)),
        ("/Mounts/0/Name", serde_json::json!("data")),
        ("/Mounts/0/Destination", serde_json::json!("/data")),
        ("/Mounts/0/RW", serde_json::json!(true)),
        ("/NetworkSettings/Ports/80~1tcp/0/HostIp", serde_json::json!("127.0.0.1")),
    ] {
        assert_eq!(container.pointer(pointer), Some(&wanted), "{pointer}\n{text}");
    }
    let done = world.brig(["inspect", "box", "nobody"]);
    done.refuses(1, &["nobody"]);
    assert!(done.stdout.contains("\"/box\""));
    world.brig(["inspect", "--type", "image", "box"]).exits(1);
    world.brig(["rm", "-f", "box"]).ok();
    world.brig(["volume", "rm", "data"]).ok();
}

#[test]
fn root_ambiguous_short_identities_are_refused() {
    let Some(world) = World::root() else { return };
    // Seventeen containers share a first digit at least once.
    let ids: Vec<String> = (0..17).map(|_| world.brig(["create", "tiny"]).ok()).collect();
    let shared = ids
        .iter()
        .find(|id| ids.iter().filter(|other| other[..1] == id[..1]).count() > 1)
        .expect("17 of 16 digits");
    world.brig(["inspect", "--type", "container", &shared[..1]]).exits(1);
    assert_eq!(world.inspect(&ids[0][..20], "{{.Id}}"), ids[0]);
}

#[test]
fn root_version_and_info() {
    let Some(world) = World::root() else { return };
    assert!(world.brig(["version"]).ok().contains("Version:"));
    assert!(world.brig(["--version"]).ok().to_lowercase().starts_with("brig"));
    let info = world.brig(["info"]).ok();
    for word in ["Containers:", "Images:", "Storage Driver:", "Cgroup", "Kernel Version:", "CPUs:"] {
        assert!(info.contains(word), "{word} is not in\n{info}");
    }
}

#[test]
fn root_disk_usage_is_what_du_says() {
    let Some(world) = World::root() else { return };
    let write = "mkdir /d; dd if=/dev/zero of=/d/f bs=4096 count=100; ln /d/f /d/g; truncate -s 1G /d/sparse";
    world
        .brig(["run", "--name", "box", "-v", "vol:/v", "tiny", "sh", "-c", &format!("{write}; cp /d/f /v")])
        .ok();
    let du = |paths: &str| -> f64 {
        let root = world.data_root().display().to_string();
        let said =
            world.sh(&format!("cd {root} && du -sc --block-size=1 {paths} | tail -n 1 | cut -f 1")).ok();
        said.parse().expect("a number")
    };
    let of = |row: usize, column: &str| {
        let form = format!("{{{{.{column}}}}}");
        let text = world.brig(["system", "df", "--format", &form]).ok();
        let text = text.lines().nth(row).expect("a row").split(' ').next().expect("a size").to_owned();
        let (number, unit) = text.split_at(text.find(|c: char| c.is_ascii_alphabetic()).expect("a unit"));
        let factor = match unit {
            "B" => 1.0,
            "kB" => 1e3,
            _ => 1e6,
        };
        number.parse::<f64>().expect("a number") * factor
    };
    let near = |said: f64, real: f64| (said - real).abs() <= real * 0.01;
    // The folders of the store itself are not an image's.
    let images = du("layers/*/ content/blobs/sha256/*");
    assert!(near(of(0, "Size"), images), "{} {images}", of(0, "Size"));
    assert!(of(0, "Reclaimable") < images * 0.1, "the image is in use");
    assert!(near(of(1, "Size"), du("snapshots/*/ containers/*/")), "{}", of(1, "Size"));
    assert!(near(of(2, "Size"), du("volumes/vol/_data")), "{}", of(2, "Size"));
    world.brig(["rm", "box"]).ok();
    assert!(near(of(0, "Reclaimable"), images), "{}", of(0, "Reclaimable"));
    world.brig(["volume", "rm", "vol"]).ok();
}
