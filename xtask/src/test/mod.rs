//! `cargo xtask test`: every test of the repository, summed up in one last line.
//!
//! The crates' tests run through `cargo test`, for the static target that is also released; then each
//! `tests/shell/*.sh` runs with `BRIG` naming the program that was built. A test that prints `SKIP why` counts as
//! skipped, not as passed, and is repeated at the end: nothing is left out silently. A shell test says the same by exit status 77.
//!
//! A few failed tests are run once more, each alone: what passes then was disturbed by its neighbours or by the machine. It is
//! counted apart and named at the end, to be mended; what fails again has failed.

mod tally;

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use anyhow::{Context as _, Result, bail};

use tally::Tally;

/// The exit status by which a shell test says that it was skipped (as automake has it).
const SKIPPED: i32 = 77;

/// So many failures may be chance; more are a fault that the repetition would only hide the end of.
const REPEATED: usize = 8;

/// Runs the tests; `args` go to `cargo test`, and when there are any, the shell tests are left out.
pub(crate) fn run(root: &Path, args: &[String]) -> Result<bool> {
    let target = format!("{}-unknown-linux-musl", std::env::consts::ARCH);
    let mut tally = Tally::default();
    let built = cargo(root, &target, "build").args(["--bins"]).status().context("cannot start cargo")?;
    if built.success() {
        run_cargo_tests(root, &target, args, &[], &mut tally)?;
        repeat_failures(root, &target, &mut tally)?;
        if args.is_empty() {
            let brig = target_folder(root).join(&target).join("debug/brig");
            run_shell_tests(root, &brig, &mut tally)?;
        }
    } else {
        tally.fail("cargo build");
    }
    print!("{}", tally.render());
    Ok(tally.failed() == 0)
}

/// Returns `cargo VERB --workspace --target TARGET`.
fn cargo(root: &Path, target: &str, verb: &str) -> Command {
    let mut command = Command::new("cargo");
    command.args([verb, "--workspace", "--target", target]).current_dir(root);
    command
}

pub(crate) fn target_folder(root: &Path) -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from)
}

/// Runs each failed test again, alone.
fn repeat_failures(root: &Path, target: &str, tally: &mut Tally) -> Result<()> {
    let names = tally.failures().to_vec();
    if names.len() > REPEATED {
        return Ok(());
    }
    for name in names {
        println!("again, alone: {name} ...");
        let mut alone = Tally::default();
        run_cargo_tests(root, target, &[], &["--exact", &name], &mut alone)?;
        if alone.failed() == 0 && alone.passed() > 0 {
            tally.passed_alone(&name);
        }
    }
    Ok(())
}

fn run_cargo_tests(
    root: &Path,
    target: &str,
    args: &[String],
    test_args: &[&str],
    tally: &mut Tally,
) -> Result<()> {
    let mut command = cargo(root, target, "test");
    command.arg("--no-fail-fast").args(args).args(["--", "--show-output"]).args(test_args);
    command.stdout(Stdio::piped());
    let mut child = command.spawn().context("cannot start cargo")?;
    let Some(output) = child.stdout.take() else { bail!("cargo has no output") };
    for line in BufReader::new(output).split(b'\n') {
        let line = line.context("cannot read cargo's output")?;
        let line = String::from_utf8_lossy(&line);
        if tally.read(&line) {
            println!("{line}");
        }
    }
    let status = child.wait().context("cannot wait for cargo")?;
    // A test program that did not build, or died without its result line, has no failed test of its own.
    if !status.success() && tally.failed() == 0 {
        tally.fail("cargo test");
    }
    Ok(())
}

fn run_shell_tests(root: &Path, brig: &Path, tally: &mut Tally) -> Result<()> {
    let folder = root.join("tests/shell");
    let Ok(entries) = fs::read_dir(&folder) else { return Ok(()) };
    let mut scripts: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    scripts.retain(|path| path.extension().is_some_and(|extension| extension == "sh"));
    scripts.sort();
    for script in scripts {
        let name = script.strip_prefix(root).unwrap_or(&script).display().to_string();
        println!("shell test {name} ...");
        let run = || {
            let mut command = Command::new(&script);
            command.current_dir(root).env("BRIG", brig).stdin(Stdio::null());
            command.status().with_context(|| format!("cannot start {name}"))
        };
        let status = run()?;
        record(&name, status, tally);
        if !status.success() && status.code() != Some(SKIPPED) {
            println!("again: {name} ...");
            if run()?.success() {
                tally.passed_alone(&name);
            }
        }
    }
    Ok(())
}

fn record(name: &str, status: ExitStatus, tally: &mut Tally) {
    match status.code() {
        Some(0) => tally.pass(),
        Some(SKIPPED) => tally.skip(name, "its last line says why"),
        _ => tally.fail(name),
    }
    println!("shell test {name}: {status}");
}
