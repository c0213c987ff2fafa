//! Running a command line and reading the clock.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

/// A command line with its environment.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub(crate) argv: Vec<String>,
    pub(crate) env: Vec<(String, String)>,
}

impl Line {
    /// Makes a command line of plain words.
    pub(crate) fn of(words: &[&str]) -> Self {
        Self { argv: words.iter().map(|word| (*word).to_owned()).collect(), env: Vec::new() }
    }

    fn command(&self, errors: Stdio) -> Command {
        let mut command = Command::new(&self.argv[0]);
        command.args(&self.argv[1..]).envs(self.env.iter().cloned()).current_dir("/");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors);
        command
    }

    /// Runs it and returns how long it took.
    pub(crate) fn time(&self) -> Result<Duration> {
        // A file, not a pipe: what stays in the background may hold it open.
        let path = format!("/run/bench/errors.{:?}", thread::current().id());
        let errors = fs::File::create(&path).with_context(|| format!("cannot make {path}"))?;
        let start = Instant::now();
        let status = self
            .command(errors.into())
            .status()
            .with_context(|| format!("cannot start {:?}", self.argv[0]))?;
        let took = start.elapsed();
        if !status.success() {
            bail!(
                "{}: {status}: {}",
                self.argv.join(" "),
                fs::read_to_string(&path).unwrap_or_default().trim()
            );
        }
        Ok(took)
    }

    /// Runs it for its effect; a failure is an error.
    pub(crate) fn run(&self) -> Result<()> {
        self.time().map(drop)
    }

    /// Runs it and returns its standard output.
    pub(crate) fn output(&self) -> Result<String> {
        let mut command = self.command(Stdio::piped());
        let output = command
            .stdout(Stdio::piped())
            .output()
            .with_context(|| format!("cannot start {:?}", self.argv[0]))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            bail!("{}: {}: {said}", self.argv.join(" "), output.status);
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Starts it as a daemon whose output goes to `log`.
    pub(crate) fn daemon(&self, log: &str) -> Result<Child> {
        let file = fs::File::create(log).with_context(|| format!("cannot make {log}"))?;
        self.command(file.into()).spawn().with_context(|| format!("cannot start {:?}", self.argv[0]))
    }

    /// Runs it and returns how long it took and the peak of its resident memory in KiB (looked at every 2 ms).
    pub(crate) fn time_and_peak(&self) -> Result<(Duration, u64)> {
        let start = Instant::now();
        let mut child = self
            .command(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {:?}", self.argv[0]))?;
        let mut peak = 0;
        let status = loop {
            peak = peak.max(peak_kib(child.id()).unwrap_or(0));
            if let Some(status) = child.try_wait().context("cannot wait")? {
                break status;
            }
            thread::sleep(Duration::from_millis(2));
        };
        if !status.success() {
            bail!("{}: {status}", self.argv.join(" "));
        }
        Ok((start.elapsed(), peak))
    }
}

/// Returns the peak of the resident memory of the process `pid`, in KiB.
pub(crate) fn peak_kib(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Waits until `holds`, for at most `limit`.
pub(crate) fn wait_until(what: &str, limit: Duration, mut holds: impl FnMut() -> bool) -> Result<()> {
    let end = Instant::now() + limit;
    while !holds() {
        if Instant::now() > end {
            bail!("waited in vain for {what}");
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Milliseconds, as the tables have them.
pub(crate) fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
