//! A few points of the busiest scenes, so that every run of the tests plays some; `make faults` plays them all.

use faults::scene;
use faults::stage::Stage;
use faults::tracer::Mode;
use faults::{Verdict, distinct, play, point};

/// Points of each scene, spread over its length.
const POINTS: usize = 4;

#[test]
fn root_a_few_points_of_run_stop_and_load_hold() {
    let registry = env!("CARGO_BIN_EXE_faults");
    let Some(mut stage) = Stage::new(registry.as_ref()).expect("make a world") else { return };
    let mut broken = Vec::new();
    for name in ["run", "stop", "load"] {
        let scene = scene::find(name).expect("the scene is there");
        let points = distinct(point::count(&mut stage, scene).expect("the scene holds without a fault"));
        let step = (points.len() / POINTS).max(1);
        for (at, point) in points.iter().step_by(step).take(POINTS).enumerate() {
            let mode = if at % 2 == 0 { Mode::Kill } else { Mode::KillAll };
            let (verdict, line) = play(&stage, scene, point, mode);
            if verdict == Verdict::Broken {
                broken.push(line);
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}
