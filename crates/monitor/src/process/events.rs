//! What the monitor records of its container's life: it alone sees the start and the end as they happen.

use super::monitor::Monitor;
use crate::clock;
use crate::events::{self, Event};
use crate::record::ExitRecord;

impl Monitor<'_> {
    /// Records the end as events, before anybody is told of it and can record what follows from it.
    pub(super) fn record_end(&self, record: &ExitRecord, now: clock::UnixNanos) {
        if record.oom_killed {
            self.record_event("oom", &[]);
        }
        let started = clock::parse(&self.started_at).unwrap_or(now);
        let seconds = ((now - started) / 1_000_000_000).to_string();
        let code = record.exit_code.to_string();
        self.record_event("die", &[("execDuration", &seconds), ("exitCode", &code)]);
    }

    /// Records what happened to the container.
    pub(super) fn record_event(&self, action: &str, attributes: &[(&str, &str)]) {
        let Some(folder) = &self.launch.events else { return };
        let event = Event::new(events::Kind::Container, action, self.launch.id.as_str());
        let event = attributes.iter().fold(event, |event, (name, value)| event.with(name, value));
        events::record(folder, &[event]);
    }
}
