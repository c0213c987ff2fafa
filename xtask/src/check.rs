//! `cargo xtask check`: everything that must hold before a commit is shared, cheapest first.
//!
//! All steps run even when one fails, so that one run shows all that is wrong. The tests are not part of it
//! (`make test` is).

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};

use crate::tidy;

/// One step: its name and the command line.
struct Step {
    name: &'static str,
    argv: &'static [&'static str],
    env: Option<(&'static str, &'static str)>,
}

const STEPS: &[Step] = &[
    Step { name: "formatting", argv: &["cargo", "fmt", "--all", "--check"], env: None },
    Step {
        name: "clippy",
        argv: &["cargo", "clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"],
        env: None,
    },
    Step {
        name: "documentation",
        argv: &["cargo", "doc", "--quiet", "--workspace", "--no-deps"],
        env: Some(("RUSTDOCFLAGS", "-D warnings")),
    },
];

/// Runs every step; returns whether all were fine.
pub(crate) fn run(root: &Path) -> Result<bool> {
    let mut failed = Vec::new();
    println!("== tidy");
    if !tidy::run(root)? {
        failed.push("tidy");
    }
    for step in STEPS {
        if !run_step(root, step)? {
            failed.push(step.name);
        }
    }
    if has_cargo_deny(root) {
        let deny = Step {
            name: "licences and advisories",
            argv: &["cargo", "deny", "--offline", "check"],
            env: None,
        };
        if !run_step(root, &deny)? {
            failed.push(deny.name);
        }
    } else {
        println!("== SKIP licences and advisories: cargo-deny is not installed (cargo install cargo-deny)");
    }
    match failed.as_slice() {
        [] => println!("check: all fine"),
        _ => println!("check: FAILED: {}", failed.join(", ")),
    }
    Ok(failed.is_empty())
}

fn run_step(root: &Path, step: &Step) -> Result<bool> {
    println!("== {}: {}", step.name, step.argv.join(" "));
    let mut command = Command::new(step.argv[0]);
    command.args(&step.argv[1..]).current_dir(root).envs(step.env);
    let status = command.status().with_context(|| format!("cannot start {:?}", step.argv[0]))?;
    Ok(status.success())
}

fn has_cargo_deny(root: &Path) -> bool {
    let mut command = Command::new("cargo");
    command.args(["deny", "--version"]).current_dir(root).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
