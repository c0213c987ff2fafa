//! The other roles of the program, taken before anything else: the OCI runtime and the monitor.

use std::ffi::OsString;
use std::process::ExitCode;

/// Runs `brig runtime …`, the OCI runtime's command line.
pub fn runtime(args: impl Iterator<Item = OsString>) -> ExitCode {
    runtime::cli::main(args)
}

/// Runs `brig monitor …`, the process beside a container.
pub fn monitor(args: impl Iterator<Item = OsString>) -> ExitCode {
    monitor::monitor_main(args)
}
