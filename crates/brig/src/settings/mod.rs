//! From what was typed to what is asked of the engine: flags, environment and files merged. Only this step knows defaults.

pub(crate) mod container;
pub(crate) mod flags;
mod health;
mod networks;
mod others;
pub(crate) mod process;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

pub(crate) use networks::wish;

/// What settings are read from besides the arguments, so that reading them is a function of its inputs.
pub(crate) trait World {
    /// Returns a variable of the environment.
    fn variable(&self, name: &str) -> Option<String>;
    /// Reads a file.
    fn read(&self, path: &Path) -> std::io::Result<Vec<u8>>;
    /// Returns the working directory.
    fn directory(&self) -> PathBuf;
}

/// The process's own environment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Real;

impl World for Real {
    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn read(&self, path: &Path) -> std::io::Result<Vec<u8>> {
        std::fs::read(path)
    }

    fn directory(&self) -> PathBuf {
        std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"))
    }
}

/// The largest file of variables, labels or profiles, in bytes.
const FILE_MAX: usize = 16 << 20;

/// Reads a file that a flag names, `-` being no exception.
fn read_file(world: &dyn World, flag: &str, path: &str) -> Result<Vec<u8>> {
    let content =
        world.read(Path::new(path)).with_context(|| format!("cannot read {path:?} given by {flag}"))?;
    anyhow::ensure!(
        content.len() <= FILE_MAX,
        "cannot read {path:?} given by {flag}: it is larger than {FILE_MAX} bytes"
    );
    Ok(content)
}
