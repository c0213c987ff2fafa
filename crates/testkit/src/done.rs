//! What a command did: exit code and output, with the expectations that tests have of it.

use std::process::Output;

/// A command that ended.
#[derive(Debug, Clone)]
pub struct Done {
    /// The command line, for messages.
    pub line: String,
    /// The exit status; 128 plus the signal's number when a signal ended it.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Done {
    pub(crate) fn new(line: String, output: &Output) -> Self {
        use std::os::unix::process::ExitStatusExt as _;
        let signal = output.status.signal().map_or(-1, |signal| 128 + signal);
        Self {
            line,
            code: output.status.code().unwrap_or(signal),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Returns standard output without the white space around it.
    ///
    /// # Panics
    /// When the command failed.
    #[track_caller]
    pub fn ok(&self) -> String {
        self.exits(0);
        self.stdout.trim().to_owned()
    }

    /// Expects the exit status `code`, and returns standard error without the white space around it.
    ///
    /// # Panics
    /// When the command ended otherwise.
    #[track_caller]
    pub fn exits(&self, code: i32) -> String {
        assert!(self.code == code, "exit status {} where {code} was expected\n{}", self.code, self.report());
        self.stderr.trim().to_owned()
    }

    /// Expects the exit status `code` and an error that holds each of `words`, in whatever case.
    ///
    /// # Panics
    /// When the command ended otherwise or said something else.
    #[track_caller]
    pub fn refuses(&self, code: i32, words: &[&str]) {
        let said = self.exits(code).to_lowercase();
        for word in words {
            assert!(
                said.contains(&word.to_lowercase()),
                "the error does not say {word:?}\n{}",
                self.report()
            );
        }
    }

    fn report(&self) -> String {
        let Self { line, code, stdout, stderr } = self;
        format!("$ {line}\nexit status {code}\n--- stdout\n{stdout}\n--- stderr\n{stderr}")
    }
}
