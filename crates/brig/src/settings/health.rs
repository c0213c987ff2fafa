//! The health check that the flags of `run` and `create` ask for.

use anyhow::{Result, bail};
use docker_types::container::Healthcheck;

use super::flags::ContainerFlags;

/// Makes the request's health check; none leaves the image's as it is.
pub(super) fn check(flags: &ContainerFlags) -> Result<Option<Healthcheck>> {
    let command = flags.health_cmd.as_deref().filter(|command| !command.is_empty());
    let values = [
        ("--health-interval", flags.health_interval),
        ("--health-timeout", flags.health_timeout),
        ("--health-retries", flags.health_retries),
        ("--health-start-period", flags.health_start_period),
        ("--health-start-interval", flags.health_start_interval),
    ];
    let [interval, timeout, retries, start_period, start_interval] =
        values.map(|(_, value)| value.unwrap_or(0));
    let given = command.is_some() || values.iter().any(|(_, value)| value.is_some_and(|value| value != 0));
    if flags.no_healthcheck {
        if given {
            bail!("--no-healthcheck conflicts with --health-* options");
        }
        return Ok(Some(Healthcheck { test: vec!["NONE".to_owned()], ..Healthcheck::default() }));
    }
    if !given {
        return Ok(None);
    }
    if let Some((flag, _)) = values.iter().find(|(_, value)| value.is_some_and(|value| value < 0)) {
        bail!("{flag} cannot be negative");
    }
    let test = command.map_or_else(Vec::new, |command| vec!["CMD-SHELL".to_owned(), command.to_owned()]);
    Ok(Some(Healthcheck { test, interval, timeout, retries, start_period, start_interval }))
}
