//! `stats`: what containers use, in Docker's columns.

use testkit::{World, eventually};

fn fields(line: &str) -> serde_json::Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"))
}

/// The number in front of a percent sign.
fn percent(value: &serde_json::Value) -> f64 {
    value
        .as_str()
        .and_then(|text| text.strip_suffix('%'))
        .and_then(|text| text.parse().ok())
        .expect("a share")
}

#[test]
fn root_a_busy_container_and_an_idle_one_are_told_apart() {
    let Some(world) = World::root_because("limits need a control group with controllers") else { return };
    world.brig(["run", "-d", "--name", "busy", "-m", "64m", "tiny", "sh", "-c", "while :; do :; done"]).ok();
    world.brig(["run", "-d", "--name", "idle", "tiny", "sleep", "1000"]).ok();
    world.brig(["create", "--name", "made", "tiny"]).ok();
    let table = world.brig(["stats", "--no-stream"]).ok();
    let mut lines = table.lines();
    let heading: Vec<&str> =
        lines.next().unwrap().split("   ").map(str::trim).filter(|word| !word.is_empty()).collect();
    assert_eq!(
        heading,
        ["CONTAINER ID", "NAME", "CPU %", "MEM USAGE / LIMIT", "MEM %", "NET I/O", "BLOCK I/O", "PIDS"]
    );
    assert_eq!(lines.count(), 2, "{table}");
    eventually("the busy one has most of a processor", || {
        let line = world.brig(["stats", "--no-stream", "--format", "json", "busy"]).ok();
        let busy = fields(&line);
        assert_eq!((busy["Name"].as_str(), busy["Container"].as_str()), (Some("busy"), Some("busy")));
        assert_eq!(busy["PIDs"], "1");
        percent(&busy["CPUPerc"]) > 10.0
    });
    let line = world.brig(["stats", "--no-stream", "--format", "{{.Name}} {{.MemUsage}}", "busy"]).ok();
    if world.sh("test -e /sys/fs/cgroup/memory || grep -q memory /sys/fs/cgroup/cgroup.controllers").code == 0
    {
        assert!(line.trim_end().ends_with("/ 64MiB") && !line.contains(" 0B"), "{line}");
    }
    let idle = fields(&world.brig(["stats", "--no-stream", "--format", "json", "idle"]).ok());
    assert!(percent(&idle["CPUPerc"]) < 10.0, "{idle}");
    let all =
        world.brig(["stats", "-a", "--no-stream", "--no-trunc", "--format", "{{.ID}} {{.Name}} {{.PIDs}}"]);
    let made =
        all.ok().lines().find(|line| line.contains(" made ")).map(str::to_owned).expect("made is listed");
    assert!(made.len() > 64 && made.ends_with(" 0"), "{made}");
}

#[test]
fn root_the_stream_goes_on_until_its_reader_leaves() {
    let Some(world) = World::root() else { return };
    world.brig(["run", "-d", "--name", "box", "tiny", "sleep", "1000"]).ok();
    let script = format!("{} stats --format '{{{{.Name}}}}' | head -n 3", world.program().display());
    assert_eq!(world.sh(&script).ok(), "box\nbox\nbox");
    let missing = world.brig(["stats", "--no-stream", "nobody"]);
    assert_eq!((missing.code, missing.stderr.contains("No such container: nobody")), (1, true));
    world.brig(["stats", "--no-stream", "--format", "{{.Nothing}}"]).exits(1);
}
