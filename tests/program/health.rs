//! Health checks: of flags and images, their states, what fails, hangs or is paused, and what is done about it.

use testkit::{Done, World, eventually};

/// A check that looks for a file that the container may make and remove.
const FILE_CHECK: &str = "test -e /ok && echo fine || { echo missing; exit 3; }";

fn health(world: &World, name: &str) -> String {
    world
        .brig(["inspect", "--format", "{{if .State.Health}}{{.State.Health.Status}}{{end}}", name])
        .stdout
        .trim()
        .to_owned()
}

fn becomes(world: &World, name: &str, wanted: &str) {
    eventually(&format!("{name} becomes {wanted}"), || health(world, name) == wanted);
}

/// Runs a container in the background with quick checks and further flags.
fn run(world: &World, name: &str, flags: &[&str], command: &[&str]) -> Done {
    let quick = ["run", "-d", "--name", name, "--health-interval", "50ms", "--health-retries", "2"];
    world.brig(quick.iter().chain(flags).copied().chain(["tiny"]).chain(command.iter().copied()))
}

fn last_log(world: &World, name: &str) -> String {
    let format = "{{range .State.Health.Log}}{{.ExitCode}} {{.Output}}\n{{end}}";
    world.inspect(name, format).lines().last().unwrap_or_default().to_owned()
}

#[test]
fn root_health_follows_what_the_checks_come_to() {
    let Some(world) = World::root() else { return };
    run(&world, "box", &["--health-cmd", FILE_CHECK], &["sh", "-c", "touch /ok; sleep 1000"]).ok();
    becomes(&world, "box", "healthy");
    assert!(world.brig(["ps", "--format", "{{.Status}}"]).ok().ends_with("(healthy)"));
    assert_eq!(last_log(&world, "box"), "0 fine");
    world.brig(["exec", "box", "rm", "/ok"]).ok();
    becomes(&world, "box", "unhealthy");
    assert!(world.brig(["ps", "--format", "{{.Status}}"]).ok().ends_with("(unhealthy)"));
    assert_eq!(last_log(&world, "box"), "3 missing");
    let streak: u32 = world.inspect("box", "{{.State.Health.FailingStreak}}").parse().expect("a number");
    assert!(streak >= 2);
    eventually("five results", || world.inspect("box", "{{len .State.Health.Log}}") == "5");
    world.brig(["exec", "box", "touch", "/ok"]).ok();
    becomes(&world, "box", "healthy");
    assert_eq!(world.inspect("box", "{{.State.Health.FailingStreak}}"), "0");
    let events = [
        "events",
        "--since",
        "1h",
        "--until",
        "0s",
        "--filter",
        "event=health_status",
        "--format",
        "{{.Action}}",
    ];
    let changes = ["health_status: healthy", "health_status: unhealthy", "health_status: healthy"];
    let recorded = world.brig(events).ok();
    let recorded: Vec<&str> = recorded.lines().collect();
    assert!(recorded.ends_with(&changes), "{recorded:?}");
    world.brig(["stop", "-t", "0", "box"]).ok();
    // Nobody says of one that does not run that it is well.
    assert_eq!(health(&world, "box"), "unhealthy");
    assert!(world.brig(["ps", "-a", "--format", "{{.Status}}"]).ok().starts_with("Exited"));
    world.brig(["start", "box"]).ok();
    becomes(&world, "box", "healthy");
}

#[test]
fn root_a_plain_users_container_is_checked_too() {
    let Some(world) = World::plain_user() else { return };
    run(&world, "box", &["--network", "none", "--health-cmd", "id -u"], &["sleep", "1000"]).ok();
    becomes(&world, "box", "healthy");
    assert_eq!(last_log(&world, "box"), "0 0");
}

#[test]
fn root_lists_are_filtered_by_health() {
    let Some(world) = World::root() else { return };
    run(&world, "well", &["--health-cmd", "true"], &["sleep", "1000"]).ok();
    run(&world, "ill", &["--health-cmd", "false"], &["sleep", "1000"]).ok();
    world.brig(["run", "-d", "--name", "young", "--health-cmd", "true", "tiny", "sleep", "1000"]).ok();
    world.brig(["run", "-d", "--name", "plain", "tiny", "sleep", "1000"]).ok();
    becomes(&world, "well", "healthy");
    becomes(&world, "ill", "unhealthy");
    for (word, name) in [("healthy", "well"), ("unhealthy", "ill"), ("starting", "young"), ("none", "plain")]
    {
        let filter = format!("health={word}");
        assert_eq!(world.brig(["ps", "--filter", &filter, "--format", "{{.Names}}"]).ok(), name, "{word}");
    }
    world.brig(["ps", "--filter", "health=odd"]).refuses(1, &["invalid filter 'health=odd'"]);
    assert!(
        world
            .brig(["ps", "--filter", "name=young", "--format", "{{.Status}}"])
            .ok()
            .ends_with("(health: starting)")
    );
    assert_eq!(world.inspect("plain", "{{json .State.Health}}"), "null");
}

#[test]
fn root_an_images_check_holds_unless_it_is_changed_or_disabled() {
    let Some(world) = World::root() else { return };
    let archive = world.path("tiny.tar");
    let check = "HEALTHCHECK --interval=50ms --retries=1 CMD [\"/bin/sh\", \"-c\", \"echo of-image\"]";
    world.brig(["import", "--change", check, &archive.to_string_lossy(), "checked"]).ok();
    world.brig(["run", "-d", "--name", "of-image", "checked", "sleep", "1000"]).ok();
    becomes(&world, "of-image", "healthy");
    assert_eq!(last_log(&world, "of-image"), "0 of-image");
    world
        .brig(["run", "-d", "--name", "own", "--health-cmd", "echo own; exit 1", "checked", "sleep", "1000"])
        .ok();
    becomes(&world, "own", "unhealthy");
    assert_eq!(last_log(&world, "own"), "1 own");
    world.brig(["run", "-d", "--name", "off", "--no-healthcheck", "checked", "sleep", "1000"]).ok();
    assert_eq!(
        world.inspect("off", "{{json .Config.Healthcheck.Test}} {{json .State.Health}}"),
        "[\"NONE\"] null"
    );
}

#[test]
fn root_a_check_runs_as_the_user_with_the_environment_of_the_container() {
    let Some(world) = World::root() else { return };
    let flags =
        ["--health-cmd", "echo $(id -un) $WORD $(pwd)", "-u", "user", "-e", "WORD=given", "-w", "/tmp"];
    run(&world, "box", &flags, &["sleep", "1000"]).ok();
    becomes(&world, "box", "healthy");
    assert_eq!(last_log(&world, "box"), "0 user given /tmp");
}

#[test]
fn root_failures_in_the_start_period_do_not_count() {
    let Some(world) = World::root() else { return };
    let flags =
        ["--health-cmd", FILE_CHECK, "--health-start-period", "10m", "--health-start-interval", "50ms"];
    run(&world, "box", &flags, &["sleep", "1000"]).ok();
    eventually("checks that failed", || world.inspect("box", "{{len .State.Health.Log}}") == "5");
    assert_eq!(
        world.inspect("box", "{{.State.Health.Status}} {{.State.Health.FailingStreak}}"),
        "starting 0"
    );
    world.brig(["exec", "box", "touch", "/ok"]).ok();
    becomes(&world, "box", "healthy");
    // Once it was healthy failures count, start period or not.
    world.brig(["exec", "box", "rm", "/ok"]).ok();
    becomes(&world, "box", "unhealthy");
}

#[test]
fn root_a_check_that_hangs_is_killed_with_its_children() {
    let Some(world) = World::root() else { return };
    let flags = ["--health-cmd", "echo begun; sleep 4711 & sleep 4711", "--health-timeout", "300ms"];
    run(&world, "box", &flags, &["sleep", "1000"]).ok();
    becomes(&world, "box", "unhealthy");
    let last = world.inspect("box", "{{with index .State.Health.Log 0}}{{.ExitCode}} {{.Output}}{{end}}");
    assert_eq!(last, "-1 Health check exceeded timeout (300ms): begun");
    world.brig(["pause", "box"]).ok();
    let left = world.brig(["top", "box"]).ok().matches("sleep 4711").count();
    assert!(left <= 2, "only the check that runs is there: {left}");
    world.brig(["unpause", "box"]).ok();
}

#[test]
fn root_a_check_that_cannot_be_run_is_a_failure_that_says_why() {
    let Some(world) = World::root() else { return };
    let archive = world.path("tiny.tar");
    let check = "HEALTHCHECK --interval=50ms --retries=1 CMD [\"/not/there\"]";
    world.brig(["import", "--change", check, &archive.to_string_lossy(), "checked"]).ok();
    world.brig(["run", "-d", "--name", "box", "checked", "sleep", "1000"]).ok();
    becomes(&world, "box", "unhealthy");
    let last = last_log(&world, "box");
    assert!(last.starts_with("-1 ") && last.contains("/not/there"), "{last}");
}

#[test]
fn root_the_beginning_of_much_output_is_kept() {
    let Some(world) = World::root() else { return };
    run(&world, "box", &["--health-cmd", "yes | head -c 300000"], &["sleep", "1000"]).ok();
    becomes(&world, "box", "healthy");
    let output = world.inspect("box", "{{(index .State.Health.Log 0).Output}}");
    assert_eq!(output.len(), 4096 + 3);
    assert!(output.ends_with("..."));
}

#[test]
fn root_a_paused_container_is_not_checked() {
    let Some(world) = World::root() else { return };
    let flags = ["--health-cmd", "echo x >> /checks", "--health-timeout", "500ms"];
    run(&world, "box", &flags, &["sleep", "1000"]).ok();
    becomes(&world, "box", "healthy");
    let log = || world.inspect("box", "{{json .State.Health}}");
    world.brig(["pause", "box"]).ok();
    // One that ran when the container was frozen waits with it.
    let before = log();
    std::thread::sleep(std::time::Duration::from_millis(1200));
    assert_eq!(log(), before);
    assert!(world.brig(["ps", "--format", "{{.Status}}"]).ok().ends_with("(Paused)"));
    world.brig(["unpause", "box"]).ok();
    eventually("checks go on", || log() != before);
    assert_eq!(health(&world, "box"), "healthy");
}

#[test]
fn root_health_goes_on_after_its_monitor_was_killed() {
    let Some(world) = World::root() else { return };
    run(&world, "box", &["--health-cmd", FILE_CHECK], &["sleep", "1000"]).ok();
    becomes(&world, "box", "unhealthy");
    world.kill_brig_processes();
    // The record outlives its writer, and the next command has another monitor take over.
    assert_eq!(health(&world, "box"), "unhealthy");
    world.brig(["exec", "box", "touch", "/ok"]).ok();
    becomes(&world, "box", "healthy");
}

#[test]
fn root_a_hanging_check_of_a_killed_monitor_is_ended() {
    let Some(world) = World::root() else { return };
    let flags = ["--health-cmd", "echo $$ >> /pids; sleep 4711", "--health-timeout", "10m"];
    run(&world, "box", &flags, &["sleep", "1000"]).ok();
    let checks = || world.brig(["exec", "box", "cat", "/pids"]).stdout.lines().count();
    eventually("a check runs", || checks() == 1);
    world.kill_brig_processes();
    eventually("another check runs", || checks() == 2);
    let hanging = || {
        world.brig(["top", "box"]).ok().lines().filter(|line| line.trim_end().ends_with("sleep 4711")).count()
    };
    eventually("the former check is gone", || hanging() <= 2);
}

#[test]
fn root_what_is_to_be_done_about_an_unhealthy_container_is_done() {
    let Some(world) = World::root() else { return };
    let ill = ["--health-cmd", "false", "--health-on-failure"];
    let run = |name: &str, action: &str| {
        run(&world, name, &[ill[0], ill[1], ill[2], action], &["sleep", "1000"]).ok()
    };
    run("killed", "kill");
    run("stopped", "stop");
    run("left", "none");
    world.wait_for_state("killed", "exited");
    assert_eq!(world.inspect("killed", "{{.State.ExitCode}}"), "137");
    world.wait_for_state("stopped", "exited");
    becomes(&world, "left", "unhealthy");
    assert_eq!(world.inspect("left", "{{.State.Status}}"), "running");
    let archive = world.path("tiny.tar");
    world.brig(["import", &archive.to_string_lossy(), "other"]).ok();
    let script = "echo begun; trap 'exit 0' TERM; while :; do sleep 1 & wait $!; done";
    let flags = ["run", "-d", "--name", "again", "--health-interval", "50ms", "--health-retries", "1"];
    world
        .brig(flags.into_iter().chain([
            "--health-cmd",
            "false",
            "--health-on-failure",
            "restart",
            "other",
            "sh",
            "-c",
            script,
        ]))
        .ok();
    eventually("it is restarted twice", || world.brig(["logs", "again"]).stdout.matches("begun").count() > 2);
    world.brig(["rm", "-f", "again"]).ok();
}

#[test]
fn root_flags_that_make_no_sense_are_refused() {
    let Some(world) = World::root() else { return };
    for (flags, message) in [
        (
            &["--no-healthcheck", "--health-cmd", "x"][..],
            "--no-healthcheck conflicts with --health-* options",
        ),
        (&["--health-cmd", "x", "--health-interval=-1s"], "--health-interval cannot be negative"),
        (&["--health-cmd", "x", "--health-retries=-1"], "--health-retries cannot be negative"),
        (
            &["--health-cmd", "x", "--health-interval", "1us"],
            "Interval in Healthcheck cannot be less than 1ms",
        ),
        (&["--health-cmd", "x", "--health-timeout", "5"], "time: missing unit in duration \"5\""),
        (&["--health-cmd", "x", "--health-on-failure", "cry"], "invalid on-failure action"),
        (&["--health-on-failure", "kill"], "without a health check"),
    ] {
        let done = world.brig(["create"].into_iter().chain(flags.iter().copied()).chain(["tiny", "true"]));
        assert!(done.code == 125 || done.code == 1, "{flags:?} {done:?}");
        assert!(done.stderr.contains(message), "{flags:?}: {}", done.stderr);
    }
    assert_eq!(world.brig(["ps", "-aq"]).ok(), "");
}

/// A thousand checks leave neither memory nor descriptors behind in the monitor.
#[test]
fn root_many_checks_cost_the_monitor_nothing_that_stays() {
    let Some(world) = World::root() else { return };
    run(
        &world,
        "box",
        &["--health-interval", "1ms", "--health-cmd", "echo x >> /checks"],
        &["sleep", "1000"],
    )
    .ok();
    let checks = || {
        world.brig(["exec", "box", "sh", "-c", "wc -l < /checks"]).stdout.trim().parse::<u32>().unwrap_or(0)
    };
    eventually("some checks", || checks() > 20);
    let monitor = world
        .brig_processes()
        .into_iter()
        .find(|pid| {
            std::fs::read(format!("/proc/{pid}/cmdline"))
                .is_ok_and(|line| line.starts_with(b"brig\0monitor\0"))
        })
        .expect("there is a monitor");
    let heap = || {
        let maps = std::fs::read_to_string(format!("/proc/{monitor}/status")).unwrap_or_default();
        let line = maps.lines().find(|line| line.starts_with("VmData:")).unwrap_or_default().to_owned();
        line.split_whitespace().nth(1).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0)
    };
    let descriptors =
        || std::fs::read_dir(format!("/proc/{monitor}/fd")).map_or(0, |entries| entries.count());
    // While a check runs there are a few more; the least of some looks is what stays.
    let least = |look: &dyn Fn() -> u64| {
        (0..40)
            .map(|_| {
                std::thread::sleep(std::time::Duration::from_millis(5));
                look()
            })
            .min()
            .unwrap_or(0)
    };
    let before = (least(&heap), least(&|| descriptors() as u64));
    let first = checks();
    eventually("a thousand checks", || checks() >= first + 1000);
    let after = (least(&heap), least(&|| descriptors() as u64));
    assert!(after.0 <= before.0 + 16, "memory grew from {} to {} KiB", before.0, after.0);
    assert!(after.1 <= before.1, "descriptors grew from {} to {}", before.1, after.1);
}
