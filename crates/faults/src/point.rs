//! One point: the scene is set, the fault happens, and what follows is compared with what was promised.

use std::fs;

use anyhow::Result;

use crate::scene::Scene;
use crate::stage::{LOOKS, PAUSE, Stage};
use crate::tracer::{self, Fault, Mode, Point, Run, Traced};

/// How a finding begins of something that stayed.
const LEFT: &str = "left: ";

/// What came of one point.
#[derive(Debug)]
pub struct Outcome {
    /// The point as it was met; `None` when the run went another way and never came there.
    pub hit: Option<Point>,
    /// What is wrong; nothing is.
    pub findings: Vec<String>,
    /// What only `system prune` took away.
    pub swept: Vec<String>,
}

/// Counts the points of a scene by a run without a fault, of which nothing may stay.
pub fn count(stage: &mut Stage, scene: &Scene) -> Result<Vec<Point>> {
    let mut findings = Vec::new();
    play(stage, scene, None, &mut findings)?;
    let mut swept = Vec::new();
    clean(stage, scene, &mut findings, &mut swept);
    // What the first of its kind makes may stay.
    findings.retain(|finding| !finding.starts_with(LEFT));
    anyhow::ensure!(
        findings.is_empty(),
        "scene {} fails without a fault: {}",
        scene.name,
        findings.join("; ")
    );
    stage.settle_empty()?;
    let traced = play(stage, scene, None, &mut findings)?;
    clean(stage, scene, &mut findings, &mut swept);
    anyhow::ensure!(
        findings.is_empty(),
        "scene {} fails without a fault: {}",
        scene.name,
        findings.join("; ")
    );
    Ok(traced.points)
}

/// Plays a scene with a fault.
pub fn run(stage: &Stage, scene: &Scene, fault: &Fault<'_>) -> Result<Outcome> {
    let (mut findings, mut swept) = (Vec::new(), Vec::new());
    let traced = play(stage, scene, Some(fault), &mut findings)?;
    if traced.hit.is_some() {
        verify(stage, scene, fault, &traced, &mut findings);
    }
    clean(stage, scene, &mut findings, &mut swept);
    Ok(Outcome { hit: traced.hit, findings, swept })
}

fn play(
    stage: &Stage,
    scene: &Scene,
    fault: Option<&Fault<'_>>,
    findings: &mut Vec<String>,
) -> Result<Traced> {
    for line in scene.before {
        stage.must(line)?;
    }
    let traced = tracer::run(
        &stage.command(scene.action),
        &Run {
            program: stage.world.program(),
            scratch: &stage.world.path(""),
            running: &stage.world.brig_processes(),
            follow: scene.follow,
            fault,
        },
    )?;
    let met = fault.is_some() && traced.hit.is_some();
    if !met && traced.code != 0 {
        findings.push(format!("exit status {}: {}", traced.code, traced.stderr.trim()));
    }
    // Whoever kills the container's own process ends the container, whatever the command has said.
    let killed_init = fault.is_some_and(|fault| fault.role.starts_with("init") && fault.mode == Mode::Kill);
    // An end that the monitor cannot record is one of which nobody knows how it went, and is told so.
    let unrecorded = traced
        .hit
        .as_ref()
        .is_some_and(|hit| hit.role.starts_with("monitor") && hit.call.contains("exit.tmp"));
    // The command had done its part; what others do after it is finished by the next listing.
    let later = scene.follow && traced.hit.as_ref().map(|hit| hit.role.starts_with("command")) == Some(false);
    let excused = met && killed_init || unrecorded || later;
    if traced.code == 0 && !excused {
        claims(stage, scene, "it said yes, but", findings);
    }
    Ok(traced)
}

/// What must hold right after the fault, and after the command is repeated.
fn verify(stage: &Stage, scene: &Scene, fault: &Fault<'_>, traced: &Traced, findings: &mut Vec<String>) {
    if traced.stderr.contains("panicked") {
        findings.push(format!("it panicked: {}", first_line(&traced.stderr)));
    }
    if matches!(fault.mode, Mode::Error(_)) && traced.code != 0 && traced.stderr.trim().is_empty() {
        findings.push(format!("exit status {} without a word", traced.code));
    }
    if traced.code == 124 {
        findings.push("it hung".to_owned());
    }
    truth(stage, findings);
    for line in scene.undo {
        let done = stage.run(line);
        if done.code != 0 && !done.stderr.contains("No such") {
            findings.push(format!("{line}: exit status {}: {}", done.code, first_line(&done.stderr)));
        }
    }
    let again = stage.run(scene.action);
    let was_done = !scene.done_before.is_empty() && again.stderr.contains(scene.done_before);
    if again.code != 0 && !was_done {
        findings.push(format!("again: exit status {}: {}", again.code, first_line(&again.stderr)));
    }
    claims(stage, scene, "after it was repeated", findings);
}

fn claims(stage: &Stage, scene: &Scene, when: &str, findings: &mut Vec<String>) {
    for (line, expected) in scene.claims {
        let mut done = stage.run(line);
        // What follows the end of a container nobody waits for is seen a little later.
        let mut looks = if scene.follow && !line.starts_with("wait ") { LOOKS } else { 0 };
        while done.stdout.trim() != *expected && looks > 0 {
            looks -= 1;
            std::thread::sleep(PAUSE);
            done = stage.run(line);
        }
        if done.code != 0 || done.stdout.trim() != *expected {
            let said = if done.code == 0 { done.stdout.trim() } else { first_line(&done.stderr) };
            findings.push(format!("{when} {line} says {said:?}"));
        }
    }
}

/// Whether what the listings say agrees with the kernel.
fn truth(stage: &Stage, findings: &mut Vec<String>) {
    let listed = stage.run("ps -a --no-trunc --format '{{.ID}} {{.Names}}'");
    if listed.code != 0 {
        findings.push(format!("ps -a: exit status {}: {}", listed.code, first_line(&listed.stderr)));
    }
    for line in listed.stdout.lines() {
        let Some((id, name)) = line.split_once(' ') else {
            findings.push(format!("ps -a says {line:?}"));
            continue;
        };
        // What ends by itself between the question and the look at the kernel is asked for again.
        if let Some(_lie) = lie(stage, id)
            && let Some(lie) = lie(stage, id)
        {
            findings.push(format!("{name} is said to be {lie}"));
        }
    }
    for line in ["images", "volume ls", "info"] {
        let done = stage.run(line);
        if done.code != 0 {
            findings.push(format!("{line}: exit status {}: {}", done.code, first_line(&done.stderr)));
        }
    }
}

/// What is said of a container that is not so: its state and its process.
fn lie(stage: &Stage, id: &str) -> Option<String> {
    let told = stage.run(&format!("inspect -f '{{{{.State.Status}}}} {{{{.State.Pid}}}}' {id}"));
    if told.stderr.to_lowercase().contains("no such") {
        // With --rm it went meanwhile.
        return None;
    }
    let (state, pid) = told.stdout.trim().split_once(' ').unwrap_or_default();
    let process = format!("/proc/{}/root/proc/{pid}", stage.world.first_process());
    let alive = pid != "0" && !pid.is_empty() && fs::metadata(process).is_ok();
    let runs = matches!(state, "running" | "paused");
    (told.code != 0 || runs != alive)
        .then(|| format!("{state} with process {pid:?} {}", first_line(&told.stderr)).trim().to_owned())
}

/// Takes the scene away and compares what is there with what was there before it.
fn clean(stage: &Stage, scene: &Scene, findings: &mut Vec<String>, swept: &mut Vec<String>) {
    let ids: Vec<String> = stage.run("ps -aq --no-trunc").stdout.lines().map(str::to_owned).collect();
    if !ids.is_empty() {
        let done = stage.run(&format!("rm -f -v {}", ids.join(" ")));
        if done.code != 0 {
            findings.push(format!("rm -f -v: exit status {}: {}", done.code, first_line(&done.stderr)));
        }
    }
    for line in scene.after {
        let done = stage.run(line);
        if done.code != 0 && !done.stderr.to_lowercase().contains("no such") {
            findings.push(format!("{line}: exit status {}: {}", done.code, first_line(&done.stderr)));
        }
    }
    let _ = fs::remove_file(stage.world.path("out.tar"));
    let left = stage.differences(&ids);
    if left.is_empty() {
        return;
    }
    let done = stage.run("system prune -f --volumes");
    if done.code != 0 {
        findings.push(format!("system prune: exit status {}: {}", done.code, first_line(&done.stderr)));
    }
    let stays = stage.differences(&ids);
    swept.extend(left.into_iter().filter(|line| !stays.contains(line)));
    findings.extend(stays.into_iter().map(|line| format!("{LEFT}{line}")));
}

fn first_line(text: &str) -> &str {
    text.trim().lines().next().unwrap_or_default()
}
