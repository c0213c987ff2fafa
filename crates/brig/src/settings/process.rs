//! What `run`, `create` and `exec` say of a process.

use anyhow::{Context as _, Result};
use docker_types::env;

use super::{World, read_file};

/// Merges `--env-file` and `--env`; later ones win where the engine merges them by name.
pub(crate) fn variables(flags: &[String], files: &[String], world: &dyn World) -> Result<Vec<String>> {
    let lookup = |name: &str| world.variable(name);
    let mut variables = Vec::new();
    for path in files {
        let content = read_file(world, "--env-file", path)?;
        variables.extend(
            env::variables_file(&content, lookup).with_context(|| format!("invalid env file: {path}"))?,
        );
    }
    for text in flags {
        let variable = env::variable(text, lookup)
            .with_context(|| format!("invalid argument {text:?} for \"-e, --env\" flag"))?;
        variables.push(variable);
    }
    Ok(variables)
}
