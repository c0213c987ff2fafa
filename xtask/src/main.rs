//! Chores of the repository, one word each: `cargo xtask check | faults | tidy | test`.
//!
//! A chore says what it does before it does it and ends with a non-zero status when anything is wrong. None of
//! them changes the machine; what they need installed is the business of `scripts/deps.sh`.

mod check;
mod faults;
mod test;
mod tidy;

use std::path::PathBuf;
use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask CHORE

  check   formatting, clippy, tidy, documentation, licences and advisories
  faults  the program killed, and its system calls made to fail, at every step (--help lists what can be chosen)
  tidy    the rules of this repository that no other tool knows
  test    every test, summed up in one last line (arguments go to `cargo test`)";

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let chore = args.next().unwrap_or_default();
    let rest: Vec<String> = args.collect();
    let root = repository();
    let result = match chore.as_str() {
        "check" => check::run(&root),
        "faults" => faults::run(&root, &rest),
        "tidy" => tidy::run(&root),
        "test" => test::run(&root, &rest),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("xtask {chore}: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Returns the root of the repository: the folder above this crate's.
fn repository() -> PathBuf {
    let mut path = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    path.pop();
    path
}
