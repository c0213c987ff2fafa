//! `cargo xtask faults`: builds the program and the fault harness (crates/faults), and plays the faults.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::test::target_folder;

/// Plays the faults that `args` choose; the log goes to `target/faults/log.txt`.
pub(crate) fn run(root: &Path, args: &[String]) -> Result<bool> {
    let target = format!("{}-unknown-linux-musl", std::env::consts::ARCH);
    let mut build = Command::new("cargo");
    build.args(["build", "--package", "brig", "--package", "faults", "--target", &target]).current_dir(root);
    if !build.status().context("cannot start cargo")?.success() {
        return Ok(false);
    }
    let folder = target_folder(root);
    let built = folder.join(&target).join("debug");
    let mut harness = Command::new(built.join("faults"));
    harness.arg("--log").arg(folder.join("faults/log.txt")).args(args).current_dir(root);
    let brig = std::env::var_os("BRIG").unwrap_or_else(|| built.join("brig").into());
    harness.env("BRIG", brig);
    Ok(harness.status().context("cannot start the fault harness")?.success())
}
