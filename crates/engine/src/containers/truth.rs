//! What is true of a container: the row compared with the monitor's files and the kernel.

use std::path::Path;
use std::time::{Duration, Instant};

use base::ContainerId;
use jiff::Timestamp;
use monitor::{ExitRecord, StateRecord};

use super::EXIT_FILE;
use crate::Engine;
use crate::db::{ContainerRow, RunResult};
use crate::model::{State, Status};

/// Exit code of a container of whose end nothing is known (the machine fell, or its monitor was killed on an old
/// kernel), as Docker has it.
const UNKNOWN_EXIT: i32 = 255;

/// How long a living monitor may take to write its record, and how often one looks.
const RECORD_PATIENCE: Duration = Duration::from_millis(500);
const RECORD_POLL: Duration = Duration::from_millis(2);

/// What the kernel and the monitor's files say of one that is recorded as running.
#[derive(Debug)]
pub(crate) enum Truth {
    /// Its init lives.
    Alive(StateRecord),
    /// It ended; the monitor's record says how.
    Ended(ExitRecord),
    /// It is gone, and nobody recorded how.
    Lost,
}

impl Engine {
    /// Asks the kernel and the monitor's files. What a living monitor is just about to write is waited for: its record of a
    /// start comes after the row's, its record of an end after the end.
    pub(crate) fn truth(&self, id: &ContainerId) -> Truth {
        let end = Instant::now() + RECORD_PATIENCE;
        loop {
            match self.told(id) {
                Truth::Lost if Instant::now() < end && self.is_watched(id) => std::thread::sleep(RECORD_POLL),
                // It may have been written, and the monitor have ended, between the two questions.
                Truth::Lost => return self.told(id),
                truth => return truth,
            }
        }
    }

    /// Whether a container of which nothing is told has a monitor.
    fn is_watched(&self, id: &ContainerId) -> bool {
        let run_dir = self.roots().container_run(id.as_str());
        match StateRecord::load(&run_dir) {
            Ok(Some(state)) => state.has_monitor(),
            _ => monitor::Client::connect(&run_dir).is_ok(),
        }
    }

    /// Reads what there is to read now.
    fn told(&self, id: &ContainerId) -> Truth {
        if let Ok(Some(state)) = StateRecord::load(&self.roots().container_run(id.as_str()))
            && state.is_alive()
        {
            return Truth::Alive(state);
        }
        match ExitRecord::load(&self.container_path(id).join(EXIT_FILE)) {
            Ok(Some(exit)) => Truth::Ended(exit),
            _ => Truth::Lost,
        }
    }

    /// Whether the kernel has stopped the container's processes, as far as it can be asked.
    fn is_frozen(&self, id: &ContainerId) -> bool {
        let state = runtime::state(&self.roots().run.join("runtime"), id.as_str());
        state.map_or(true, |state| state.status == runtime::Status::Paused)
    }

    /// Returns the state of a row as it really is.
    pub(crate) fn state_of(&self, row: &ContainerRow) -> State {
        let recorded = State {
            status: row.status,
            pid: 0,
            exit_code: row.exit_code,
            oom_killed: row.oom_killed,
            error: row.error.clone(),
            started: row.started,
            finished: row.finished,
        };
        if row.status != Status::Running {
            return recorded;
        }
        match self.truth(&row.id) {
            Truth::Alive(state) => {
                let frozen = row.paused && self.is_frozen(&row.id);
                let status = if frozen { Status::Paused } else { Status::Running };
                State { status, pid: state.pid, finished: None, ..recorded }
            }
            ended => {
                let result = run_result(&ended, &self.container_path(&row.id));
                State {
                    status: Status::Exited,
                    exit_code: result.exit_code,
                    oom_killed: result.oom_killed,
                    error: result.error,
                    started: result.started.or(row.started),
                    finished: Some(result.finished),
                    ..recorded
                }
            }
        }
    }
}

/// How the run ended, as far as anybody knows.
pub(crate) fn run_result(truth: &Truth, folder: &Path) -> RunResult {
    match truth {
        Truth::Ended(exit) if !exit.unknown => RunResult {
            exit_code: exit.exit_code,
            oom_killed: exit.oom_killed,
            error: String::new(),
            started: exit.started_at.parse().ok(),
            finished: exit.finished_at.parse().unwrap_or_else(|_| Timestamp::now()),
        },
        _ => RunResult {
            exit_code: UNKNOWN_EXIT,
            oom_killed: false,
            error: "it ended while nobody watched: the machine went down, or its monitor was killed; the exit code is not known"
                .to_owned(),
            started: None,
            finished: last_sign_of_life(folder),
        },
    }
}

/// The best guess at when a container ended that nobody watched: the last write to its log.
fn last_sign_of_life(folder: &Path) -> Timestamp {
    let modified = std::fs::metadata(folder.join(super::LOG_FILE)).and_then(|meta| meta.modified()).ok();
    modified.and_then(|time| Timestamp::try_from(time).ok()).unwrap_or_else(Timestamp::now)
}
