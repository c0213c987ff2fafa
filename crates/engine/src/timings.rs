//! Where a command's time went: phases since the program started, printed when `BRIG_TIMINGS=1`.

use std::cell::RefCell;
use std::time::{Duration, Instant};

/// The beginning, and each phase with the time of its end since then.
type Phases = (Instant, Vec<(&'static str, Duration)>);

thread_local! {
    static PHASES: RefCell<Option<Phases>> = const { RefCell::new(None) };
}

/// Begins to measure; without this call [`mark`] does nothing.
pub fn enable() {
    PHASES.with(|phases| *phases.borrow_mut() = Some((Instant::now(), Vec::new())));
}

/// Says that the phase `name` is over now.
pub fn mark(name: &'static str) {
    PHASES.with(|phases| {
        if let Some((begin, list)) = phases.borrow_mut().as_mut() {
            list.push((name, begin.elapsed()));
        }
    });
}

/// Renders one line a phase: its length and when it ended, in milliseconds. Empty when nothing was measured.
pub fn render() -> String {
    PHASES.with(|phases| {
        let phases = phases.borrow();
        let Some((_, list)) = phases.as_ref() else { return String::new() };
        let mut text = String::from("phase                          ms    at ms\n");
        let mut last = Duration::ZERO;
        for (name, at) in list {
            let length = (*at - last).as_secs_f64() * 1e3;
            text += &format!("{name:<26} {length:>7.3} {:>8.3}\n", at.as_secs_f64() * 1e3);
            last = *at;
        }
        text
    })
}
