//! Waiting for what another process does.

use std::thread;
use std::time::{Duration, Instant};

/// How long a test waits for something that takes milliseconds on a quiet machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until `holds` returns true.
///
/// # Panics
/// After twenty seconds, with `what` in the message.
#[track_caller]
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "waited in vain: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}
