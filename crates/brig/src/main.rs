//! The program `brig`: chooses the role, parses the arguments, calls one function, prints, returns an exit code.
//!
//! The roles (`runtime`, `monitor`) are taken before anything else: they enter namespaces and must have one thread.
//! Everything else is one file per command below [`commands`], dispatched by [`cli`].

mod cli;
mod commands;
mod error;
mod settings;
mod ui;
mod view;

use std::process::ExitCode;

/// The C library's allocator maps and unmaps pages for each larger object, which a short command pays for with a third
/// of its system calls.
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1).peekable();
    match args.peek().and_then(|role| role.to_str()) {
        Some("runtime") => engine::roles::runtime(args.skip(1)),
        Some("monitor") => engine::roles::monitor(args.skip(1)),
        _ => cli::main(args.collect()),
    }
}
