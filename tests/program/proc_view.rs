//! `--proc truthful`: a container's own figures in `/proc`.

use testkit::{World, eventually, needs};

const TRUTHFUL: [&str; 4] = ["--proc", "truthful", "--memory", "64m"];

/// Runs a container with a truthful `/proc` that sleeps.
fn start(world: &World, more: &[&str]) {
    let args = [&["run", "-d", "--name", "box"], &TRUTHFUL[..], more, &["tiny", "sleep", "1000"]].concat();
    world.brig(args).ok();
}

/// Returns the first number of the line `name` of a file in the container, in its unit.
#[track_caller]
fn figure(world: &World, file: &str, name: &str) -> u64 {
    let text = world.brig(["exec", "box", "cat", file]).ok();
    let line = text
        .lines()
        .find(|line| line.starts_with(name))
        .unwrap_or_else(|| panic!("{name} is not in\n{text}"));
    let number = line[name.len()..].trim_start_matches(':').split_whitespace().next().expect("a number");
    number.parse().expect("a number")
}

/// The servers of this world.
fn servers(world: &World) -> usize {
    let ours = world.brig_processes();
    let names =
        ours.iter().map(|pid| std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default());
    names.filter(|name| name.trim() == "brig-proc").count()
}

#[test]
fn root_a_truthful_proc_shows_the_limits() {
    let Some(world) = World::root_because("limits need a control group with controllers") else { return };
    if !needs::file("/dev/fuse") {
        return;
    }
    start(&world, &["--cpus", "1", "--memory-swap", "64m"]);
    assert_eq!(figure(&world, "/proc/meminfo", "MemTotal"), 64 << 10);
    assert_eq!(figure(&world, "/proc/meminfo", "SwapTotal"), 0);
    let free = figure(&world, "/proc/meminfo", "MemFree");
    assert!(free > 32 << 10 && free < 64 << 10, "{free}");
    let sh = |script: &str| world.brig(["exec", "box", "sh", "-c", script]).ok();
    assert_eq!(sh("grep -c ^processor /proc/cpuinfo"), "1");
    assert_eq!(sh("cat /sys/devices/system/cpu/online"), "0");
    assert_eq!(sh("grep -c '^cpu[0-9]' /proc/stat"), "1");
    assert_eq!(sh("wc -l < /proc/swaps"), "1");
    assert!(sh("cut -d' ' -f1 /proc/uptime").parse::<f64>().expect("seconds") < 200.0);
    assert_eq!(sh("cut -d' ' -f4 /proc/loadavg | cut -d/ -f2").parse::<u32>().expect("a number") & !7, 0);
    // Live: what a process takes is missing at once.
    let script = "head -c 20m /dev/zero > /dev/shm/x; grep MemFree /proc/meminfo | tr -dc 0-9";
    let less: u64 = sh(script).parse().expect("a number");
    assert!(less + (15 << 10) < free, "{less} of {free}");
    // Read-only, in pieces, and by many at once.
    assert_ne!(world.brig(["exec", "box", "sh", "-c", "echo 1 > /proc/meminfo"]).code, 0);
    assert_eq!(sh("dd if=/proc/meminfo bs=7 2>/dev/null | grep -c MemTotal"), "1");
    assert_eq!(
        sh("for i in 1 2 3 4 5 6 7 8; do cat /proc/meminfo > /dev/null & done; wait; echo done"),
        "done"
    );
    assert_eq!(servers(&world), 1);
    world.brig(["rm", "-f", "box"]).ok();
    eventually("the end of the server", || servers(&world) == 0);
}

#[test]
fn root_a_truthful_proc_outlives_the_monitor() {
    let Some(world) = World::root_because("limits need a control group with controllers") else { return };
    if !needs::file("/dev/fuse") {
        return;
    }
    start(&world, &[]);
    let is_monitor = |pid: &i32| {
        std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() != "brig-proc")
    };
    let monitor = world.brig_processes().into_iter().find(is_monitor).expect("the monitor");
    let killed =
        std::process::Command::new("kill").args(["-9", &monitor.to_string()]).status().expect("run kill");
    assert!(killed.success());
    assert_eq!(figure(&world, "/proc/meminfo", "MemTotal"), 64 << 10);
    // Without its server a container hears of an error, never of the machine's figures.
    world.kill_brig_processes();
    assert_ne!(world.brig(["exec", "box", "cat", "/proc/meminfo"]).code, 0);
    world.brig(["rm", "-f", "box"]).ok();
}

#[test]
fn root_proc_is_the_machines_unless_asked() {
    let Some(world) = World::root_because("limits need a control group with controllers") else { return };
    let total = "grep MemTotal /proc/meminfo";
    let here = world.sh(total).ok();
    assert_eq!(world.brig(["run", "--rm", "--memory", "64m", "tiny", "sh", "-c", total]).ok(), here);
    world.brig(["run", "--rm", "--proc", "wrong", "tiny", "true"]).refuses(125, &["--proc", "wrong"]);
    if !needs::file("/dev/fuse") {
        return;
    }
    let config = world.path("brig.toml");
    std::fs::write(&config, "[runtime]\nproc = \"truthful\"\n").expect("write");
    let run = |more: &[&str]| {
        let config = config.display().to_string();
        let args =
            [&["--config", &config, "run", "--rm", "--memory", "64m"], more, &["tiny", "sh", "-c", total]]
                .concat();
        world.brig(args).ok()
    };
    assert_eq!(run(&[]).split_whitespace().nth(1), Some("65536"));
    assert_eq!(run(&["--proc", "host"]), here);
}
