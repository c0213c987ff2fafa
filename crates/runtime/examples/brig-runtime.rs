//! The runtime alone as a program, for its tests and measurements.

fn main() -> std::process::ExitCode {
    runtime::cli::main(std::env::args_os().skip(1))
}
