//! `top`: the processes of a container, as the host's `ps` shows them. No program of the image is run for it.

use std::process::Command;

use crate::Engine;
use crate::error::{Doing, Error, Result};
use crate::events::of_container;

/// A table of processes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Top {
    /// Column titles.
    pub titles: Vec<String>,
    /// One row a process.
    pub processes: Vec<Vec<String>>,
}

impl Engine {
    /// Lists the processes of a running container with the host's `ps` and its arguments (`-ef` when there are none).
    pub fn top(&self, name: &str, ps_args: &[String]) -> Result<Top> {
        let row = self.row(name)?;
        if !self.state_of(&row).status.is_alive() {
            return Err(Error::Conflict(format!("container {} is not running", row.id)));
        }
        let pids = runtime::ps(&self.roots().run.join("runtime"), row.id.as_str())
            .doing(|| format!("cannot list the processes of container {}", row.name))?;
        let default = ["-ef".to_owned()];
        let args = if ps_args.is_empty() { &default[..] } else { ps_args };
        let output = Command::new("ps").args(args).current_dir("/").output().map_err(|source| {
            Error::System { action: "run ps (Debian: apt-get install procps)".to_owned(), source }
        })?;
        if !output.status.success() {
            let why = String::from_utf8_lossy(&output.stderr);
            return Err(Error::Invalid(format!("error running ps: {}", why.trim())));
        }
        let table = pick(&String::from_utf8_lossy(&output.stdout), &pids)?;
        self.record(&[of_container(&row.id, "top")]);
        Ok(table)
    }
}

/// Picks the lines of the processes `pids` from what `ps` printed. The last column keeps its blanks.
fn pick(text: &str, pids: &[i32]) -> Result<Top> {
    let mut lines = text.lines();
    let titles: Vec<String> =
        lines.next().unwrap_or_default().split_whitespace().map(str::to_owned).collect();
    let column = titles.iter().position(|title| title == "PID");
    let column = column.ok_or_else(|| Error::Invalid("Couldn't find PID field in ps output".to_owned()))?;
    let mut processes = Vec::new();
    for line in lines {
        let mut rest = line.trim_start();
        let mut fields = Vec::with_capacity(titles.len());
        while fields.len() + 1 < titles.len() {
            let (field, tail) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
            fields.push(field.to_owned());
            rest = tail.trim_start();
        }
        fields.push(rest.to_owned());
        if fields.get(column).and_then(|pid| pid.parse().ok()).is_some_and(|pid| pids.contains(&pid)) {
            processes.push(fields);
        }
    }
    Ok(Top { titles, processes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_containers_processes_are_shown() {
        let text = "UID          PID    PPID  CMD\nroot          12       1  sh -c sleep  9\nroot          13      12  sleep 9\n";
        let top = pick(text, &[12]).unwrap();
        assert_eq!(top.processes, [["root", "12", "1", "sh -c sleep  9"]]);
        assert!(pick("USER CMD\n", &[1]).is_err());
    }
}
