//! The fault harness: kills the program, or makes its system calls fail, at each step of a command, and looks at what stays.
//!
//! A *scene* is one command in one situation. A run without a fault counts its *points*: the calls that change something, of
//! every process that takes part. Then each point is played once for each *mode*: the process that makes the call is killed,
//! or all of the program's processes at once, or the call answers an error. After it the listings must agree with the
//! kernel, the repeated command must succeed, and when all is removed nothing may be left of it, nor anything missing.
//!
//! See `docs/design/crash-safety.md` for what is promised.

pub mod audit;
mod calls;
pub mod point;
pub mod scene;
pub mod stage;
pub mod tracer;

use scene::Scene;
use stage::Stage;
use tracer::{Fault, Mode, Point};

/// The faults of a scene: each point with each of its modes.
pub fn faults(points: &[Point]) -> Vec<(Point, Mode)> {
    let mut list = Vec::new();
    for point in points {
        let errors = calls::errors(&point.call).iter().map(|error| Mode::Error(*error));
        let modes = [Mode::Kill, Mode::KillAll].into_iter().chain(errors);
        list.extend(modes.map(|mode| (point.clone(), mode)));
    }
    list
}

/// How many points of one process that make the same call on the same kind of object are played.
const ALIKE: usize = 2;

/// Leaves out of a scene's points those that do the same as two before them in the same process.
pub fn distinct(points: Vec<Point>) -> Vec<Point> {
    let mut seen = std::collections::HashMap::<(String, String), usize>::new();
    let mut list = Vec::new();
    for point in points {
        let count = seen.entry((point.role.clone(), point.call.clone())).or_default();
        *count += 1;
        if *count <= ALIKE {
            list.push(point);
        }
    }
    list
}

/// How one point went, as a line of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// All as promised.
    Held,
    /// All as promised once `system prune` had run.
    Swept,
    /// The run never came to the point.
    Missed,
    /// Something is wrong.
    Broken,
}

impl Verdict {
    /// The word for it in the log.
    pub fn word(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Swept => "swept",
            Self::Missed => "missed",
            Self::Broken => "BROKEN",
        }
    }
}

/// Plays one point; returns how it went and the line of the log.
pub fn play(stage: &Stage, scene: &Scene, point: &Point, mode: Mode) -> (Verdict, String) {
    let fault = Fault { role: &point.role, number: point.number, mode };
    let outcome = point::run(stage, scene, &fault);
    let (verdict, why) = match outcome {
        Err(error) => (Verdict::Broken, format!("{error:#}")),
        Ok(outcome) if !outcome.findings.is_empty() => (Verdict::Broken, outcome.findings.join("; ")),
        Ok(outcome) if outcome.hit.is_none() => (Verdict::Missed, String::new()),
        Ok(outcome) if !outcome.swept.is_empty() => (Verdict::Swept, outcome.swept.join("; ")),
        Ok(_) => (Verdict::Held, String::new()),
    };
    (verdict, format!("{} {point} {mode} {} {why}", scene.name, verdict.word()).trim_end().to_owned())
}
