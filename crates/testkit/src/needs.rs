//! What a test needs of the machine. Each function says `SKIP why` on standard error and returns false when it is
//! missing: the test returns then, and the test chore counts it as skipped.

use std::env;
use std::path::Path;

/// Whether the test runs as root.
pub fn root() -> bool {
    said(rustix::process::geteuid().is_root(), "root is wanted")
}

/// Whether each of `programs` is in the path.
pub fn programs(programs: &[&str]) -> bool {
    programs.iter().all(|program| said(find(program), &format!("the program {program} is wanted")))
}

/// Whether the file `path` is there.
pub fn file(path: &str) -> bool {
    said(Path::new(path).exists(), &format!("{path} is wanted"))
}

fn said(there: bool, why: &str) -> bool {
    if !there {
        eprintln!("SKIP {why}");
    }
    there
}

fn find(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|folder| folder.join(program).is_file())
}
