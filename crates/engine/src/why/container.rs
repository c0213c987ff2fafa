//! Why a container is as it is.

use std::time::Duration;

use docker_types::{duration, signal};
use jiff::Timestamp;
use monitor::{ExitRecord, HealthStatus};
use oci::Platform;

use super::{Answer, sockets};
use crate::Engine;
use crate::containers::LogOptions;
use crate::db::ContainerRow;
use crate::error::Result;
use crate::model::{Container, Status};

/// As many last lines of a log as say what a program died of.
const LAST_LINES: u64 = 5;
/// The longest output that is quoted.
const QUOTED: usize = 1000;
/// Exit code of a start that failed before the program was tried.
const NOT_STARTED: i32 = 128;

impl Engine {
    pub(super) fn why_container(&self, row: ContainerRow) -> Result<Answer> {
        let container = self.container(row.id.as_str())?;
        let state = &container.state;
        let mut answer = match state.status {
            Status::Running => self.why_running(&container),
            Status::Paused => {
                let mut answer = Answer::new("container", "", "paused", "somebody paused it");
                answer.next(format!("brig unpause {}", container.name));
                answer
            }
            Status::Restarting => self.why_restarting(&row, &container),
            Status::Created | Status::Exited if !state.error.is_empty() => self.why_failed(&row, &container),
            Status::Created => {
                let mut answer = Answer::new("container", "", "not running", "it was made and never started");
                answer.next(format!("brig start {}", container.name));
                answer
            }
            Status::Exited => self.why_ended(&row, &container),
            Status::Removing | Status::Dead => {
                let because = "its removal was begun and did not come to its end";
                let mut answer = Answer::new("container", "", "being removed", because);
                answer.fact("error", state.error.clone());
                answer.next(format!("brig rm -f {}", container.name));
                answer
            }
        };
        answer.name.clone_from(&container.name);
        answer.id = container.id.to_string();
        Ok(answer)
    }

    /// It runs: is it well, and can it be reached?
    fn why_running(&self, container: &Container) -> Answer {
        let name = &container.name;
        let started = container.state.started.map(ago).unwrap_or_default();
        let health = container.health.as_ref();
        let mut answer = match health.map(|health| health.status) {
            Some(HealthStatus::Unhealthy) => {
                let streak = health.map_or(0, |health| health.failing_streak);
                let because = format!("its health check failed {streak} times in a row");
                let mut answer = Answer::new("container", "", "unhealthy", because);
                answer.next(format!("brig logs {name}"));
                answer
            }
            Some(HealthStatus::Starting) => {
                let because = "its health check has not succeeded yet";
                Answer::new("container", "", "starting", because)
            }
            Some(HealthStatus::Healthy) => {
                Answer::new("container", "", "running", "it was started and its health check succeeds")
            }
            None => Answer::new("container", "", "running", "it was started and has not ended"),
        };
        answer.fact("started", started);
        if let Some(health) = health {
            let check = container.spec.config.healthcheck.as_ref();
            answer.fact("health check", check.map_or_else(String::new, |check| check.test.join(" ")));
            if let Some(last) = health.log.last() {
                answer.fact("its last exit code", last.exit_code.to_string());
                answer.fact("its last output", quoted(&last.output));
            }
        }
        let restarts = container.restart_count;
        if restarts > 0 {
            answer.fact("restarts", format!("its restart policy has started it again {restarts} times"));
        }
        self.reach(container, &mut answer);
        answer
    }

    /// Looks whether somebody listens behind each published port.
    fn reach(&self, container: &Container, answer: &mut Answer) {
        let pid = container.state.pid.to_string();
        let mut deaf = Vec::new();
        for port in &container.ports {
            let listeners = sockets::listeners(&pid, &port.proto);
            for offset in 0..port.count.min(64) {
                let (guest, host) =
                    (port.guest_first.saturating_add(offset), port.host_first.saturating_add(offset));
                let here: Vec<_> = listeners.iter().filter(|listener| listener.port == guest).collect();
                let what = match here.first() {
                    None => format!("{host}/{}: nothing inside listens on port {guest}", port.proto),
                    Some(first) if here.iter().all(|listener| listener.ip.is_loopback()) => format!(
                        "{host}/{}: the program listens on {}:{guest} inside only; let it listen on 0.0.0.0",
                        port.proto, first.ip
                    ),
                    Some(_) => continue,
                };
                deaf.push(what);
            }
        }
        if container.ports.is_empty() {
            answer.fact("published ports", "none: it is reached from this machine and its networks only");
        }
        if deaf.is_empty() {
            return;
        }
        if answer.state == "running" {
            "unreachable".clone_into(&mut answer.state);
            answer.because = match deaf.len() {
                1 => format!("published port {}", deaf[0]),
                count => format!("behind {count} of its published ports nobody can be reached"),
            };
        }
        answer.fact("unreachable", deaf.join("\n"));
        answer.next(format!("brig exec {} netstat -ltn", container.name));
    }

    fn why_restarting(&self, row: &ContainerRow, container: &Container) -> Answer {
        let state = &container.state;
        let policy = &container.spec.host_config.restart_policy;
        let because = format!(
            "{}, and its restart policy {} starts it again",
            self.end_of(row, container),
            policy.name
        );
        let mut answer = Answer::new("container", "", "restarting", because);
        answer.fact("exit code", state.exit_code.to_string());
        answer.fact("restarts", format!("{} so far", container.restart_count));
        let wait = Duration::from_millis(row.restart_wait.into());
        let next = state.finished.and_then(|finished| finished.checked_add(wait).ok());
        if let Some(left) = next.and_then(|next| Duration::try_from(next - Timestamp::now()).ok()) {
            answer.fact(
                "next attempt",
                format!("in {:.1} s, {:.1} s after its end", left.as_secs_f64(), wait.as_secs_f64()),
            );
        } else {
            answer.fact("next attempt", "now");
        }
        answer.fact("its last words", self.last_words(container));
        answer.next(format!("brig logs {}", container.name));
        answer.next(format!("brig stop {}", container.name));
        answer
    }

    /// A start failed, or nobody saw the end.
    fn why_failed(&self, row: &ContainerRow, container: &Container) -> Answer {
        let state = &container.state;
        let name = &container.name;
        let because = match state.exit_code {
            126 | 127 | NOT_STARTED => format!("its start failed: {}", state.error),
            _ => state.error.clone(),
        };
        let mut answer = Answer::new("container", "", "not running", because);
        answer.fact("exit code", state.exit_code.to_string());
        answer.fact("command", container.argv.join(" "));
        match state.exit_code {
            127 => {
                let path = row.spec.config.env.iter().find_map(|line| line.strip_prefix("PATH="));
                answer.fact("PATH inside", path.unwrap_or_default());
                answer.next(format!("brig run --rm {} COMMAND", container.image_name));
                answer.next(format!("brig inspect --format '{{{{.Path}}}} {{{{.Args}}}}' {name}"));
            }
            126 => {
                if let Some((image, machine)) = self.foreign_platform(row) {
                    answer.fact("the image is for", image);
                    answer.fact("this machine is", machine.clone());
                    answer.next(format!("brig pull --platform {machine} {}", container.image_name));
                } else {
                    answer.next(format!(
                        "brig cp {name}:{} -",
                        container.argv.first().map_or("", String::as_str)
                    ));
                }
            }
            _ => {
                for port in container.spec.host_config.port_bindings.values().flatten().flatten() {
                    if let Some((number, proto)) = sockets::parse(&port.host_port)
                        && let Some(holder) = self.port_holder(number, proto, name)
                    {
                        answer.fact("port taken", format!("{number}/{proto} by {holder}"));
                        answer.next(format!("brig why {number}/{proto}"));
                    }
                }
            }
        }
        answer.next(format!("brig start {name}"));
        answer
    }

    fn why_ended(&self, row: &ContainerRow, container: &Container) -> Answer {
        let state = &container.state;
        let name = &container.name;
        let mut answer = Answer::new("container", "", "not running", self.end_of(row, container));
        answer.fact("exit code", state.exit_code.to_string());
        answer.fact("ended", state.finished.map(ago).unwrap_or_default());
        let policy = &container.spec.host_config.restart_policy;
        let why_not = match policy.name.as_str() {
            "" | "no" => "none: nobody starts it again".to_owned(),
            other if row.stopped_by_user => format!("{other}: not after a stop by a person"),
            "on-failure" if state.exit_code == 0 => "on-failure: not after a success".to_owned(),
            "on-failure" => format!("on-failure: given up after {} restarts", container.restart_count),
            other => other.to_owned(),
        };
        answer.fact("restart policy", why_not);
        if state.exit_code != 0 && !row.stopped_by_user {
            answer.fact("its last words", self.last_words(container));
        }
        if state.oom_killed {
            let limit = container.spec.host_config.resources.memory;
            if limit > 0 {
                answer.next(format!("brig run -m {}m … {}", (limit >> 20).max(1) * 2, container.image_name));
            }
        }
        answer.next(format!("brig logs {name}"));
        answer.next(format!("brig start {name}"));
        answer
    }

    /// How a run ended, in a clause.
    fn end_of(&self, row: &ContainerRow, container: &Container) -> String {
        let state = &container.state;
        if state.oom_killed {
            return self.oom_kill(row).unwrap_or_default().render();
        }
        if row.stopped_by_user {
            return format!("somebody stopped it (exit code {})", state.exit_code);
        }
        let exit = ExitRecord::load(&self.container_path(&row.id).join(crate::containers::EXIT_FILE));
        let by_signal = exit.ok().flatten().and_then(|exit| exit.signal);
        match (by_signal, state.exit_code) {
            (Some(number), _) => {
                let name = signal::name(number);
                match number {
                    9 => format!("its program was killed ({name}) by somebody else than brig"),
                    15 | 2 | 1 => format!("its program was asked to end ({name}) by somebody else than brig"),
                    _ => format!("its program died of a fault ({name})"),
                }
            }
            (None, 0) => "its program came to its end without a fault".to_owned(),
            (None, 126) => "its program, a shell perhaps, could not run a command (exit code 126)".to_owned(),
            (None, 127) => "its program, a shell perhaps, did not find a command (exit code 127)".to_owned(),
            (None, code) => format!("its program ended with exit code {code}"),
        }
    }

    /// What the image is for and what this machine is, when they differ.
    pub(crate) fn foreign_platform(&self, row: &ContainerRow) -> Option<(String, String)> {
        let image = self.find_image(row.image.as_str()).ok()?;
        let (image, machine) = (image.config.platform().normalize(), Platform::host().normalize());
        (image.architecture != machine.architecture).then(|| (image.to_string(), machine.to_string()))
    }

    fn last_words(&self, container: &Container) -> String {
        let options =
            LogOptions { tail: Some(LAST_LINES), stdout: true, stderr: true, ..LogOptions::default() };
        let mut words = String::new();
        // A log that cannot be read has no words.
        let _ = self.logs(container.id.as_str(), &options, &mut |line| {
            words += &String::from_utf8_lossy(line.text);
            Ok(true)
        });
        quoted(&words)
    }
}

/// The end of an output.
fn quoted(text: &str) -> String {
    let text = text.trim_end();
    let start = text.len().saturating_sub(QUOTED);
    let start = (start..text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
    text[start..].to_owned()
}

fn ago(stamp: Timestamp) -> String {
    let seconds = Timestamp::now().as_second() - stamp.as_second();
    format!("{} ago", duration::human(seconds))
}
