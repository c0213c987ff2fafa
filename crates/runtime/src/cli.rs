//! runc's command line: `brig runtime …`.

use std::ffi::OsString;
use std::process::ExitCode;

/// Runs the command line after the program's name and returns its exit code.
pub fn main(_args: impl Iterator<Item = OsString>) -> ExitCode {
    ExitCode::FAILURE
}
