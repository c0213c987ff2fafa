//! Where errors and warnings go: standard error, and the file of `--log`, as text or as JSON lines (which engines read).

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;

use crate::clock;
use crate::error::{Doing, Result};

/// The form of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Format {
    /// `time="…" level=… msg="…"`.
    #[default]
    Text,
    /// `{"level":…,"msg":…,"time":…}`.
    Json,
}

/// The log.
#[derive(Debug, Default)]
pub(crate) struct Log {
    file: Option<File>,
    pub(crate) format: Format,
    pub(crate) debug: bool,
}

impl Log {
    /// Appends to the file `path` from now on.
    pub(crate) fn open(&mut self, path: PathBuf) -> Result<()> {
        let file = File::options()
            .create(true)
            .append(true)
            .open(&path)
            .doing(|| format!("open the log {path:?}"))?;
        self.file = Some(file);
        Ok(())
    }

    /// Says what ended the command: on standard error too, for a person.
    pub(crate) fn error(&self, text: &str) {
        self.write("error", text);
        let _ = writeln!(std::io::stderr(), "brig runtime: error: {text}");
    }

    /// Says what was not done and need not be: in the log, and to a person. Standard error that is no terminal is the
    /// container's own, or what an engine takes for it.
    pub(crate) fn warning(&self, text: &str) {
        self.write("warning", text);
        if self.debug || rustix::termios::isatty(rustix::stdio::stderr()) {
            let _ = writeln!(std::io::stderr(), "brig runtime: warning: {text}");
        }
    }

    /// Says what happens, when `--debug` asks for it.
    pub(crate) fn debug(&self, text: impl FnOnce() -> String) {
        if !self.debug {
            return;
        }
        let text = text();
        self.write("debug", &text);
        if self.file.is_none() {
            let _ = writeln!(std::io::stderr(), "brig runtime: {text}");
        }
    }

    fn write(&self, level: &str, text: &str) {
        let Some(mut file) = self.file.as_ref() else { return };
        let line = render(self.format, level, text, &clock::now());
        // There is no better place to say that the log cannot be written.
        let _ = file.write_all(line.as_bytes());
    }
}

fn render(format: Format, level: &str, text: &str, time: &str) -> String {
    match format {
        Format::Json => format!("{}\n", serde_json::json!({"level": level, "msg": text, "time": time})),
        Format::Text => format!("time={time:?} level={level} msg={text:?}\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_one_line() {
        let json = render(Format::Json, "error", "a\nb", "now");
        assert_eq!(json, "{\"level\":\"error\",\"msg\":\"a\\nb\",\"time\":\"now\"}\n");
        assert_eq!(render(Format::Text, "error", "a\nb", "now").lines().count(), 1);
    }
}
