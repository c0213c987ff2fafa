//! The request completed by the image's defaults, and the command line that comes of both: pure functions.

use docker_types::ContainerSpec;
use docker_types::container::{Empty, Healthcheck};
use oci::config::ContainerDefaults;

use crate::error::{Error, Result};

/// Where programs are looked for when neither image nor user says.
pub(crate) const DEFAULT_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Completes `spec` by what the image says, and returns the command line.
///
/// An entry point of the request replaces the image's entry point *and* its arguments; arguments of the request replace the
/// image's arguments. Fails when nothing is left to run.
pub(crate) fn complete(spec: &mut ContainerSpec, image: &ContainerDefaults) -> Result<Vec<String>> {
    let config = &mut spec.config;
    let (entrypoint, cmd) = match (&config.entrypoint, &config.cmd) {
        (Some(entrypoint), cmd) => (entrypoint.clone(), cmd.clone().unwrap_or_default()),
        (None, Some(cmd)) if !cmd.is_empty() => (image.entrypoint.clone().unwrap_or_default(), cmd.clone()),
        (None, _) => (image.entrypoint.clone().unwrap_or_default(), image.cmd.clone().unwrap_or_default()),
    };
    let argv: Vec<String> =
        entrypoint.iter().filter(|word| !is_cleared(&entrypoint, word)).chain(&cmd).cloned().collect();
    if argv.first().is_none_or(String::is_empty) {
        return Err(Error::Invalid("no command specified".to_owned()));
    }
    config.entrypoint = (!entrypoint.is_empty()).then_some(entrypoint);
    config.cmd = (!cmd.is_empty()).then_some(cmd);
    config.env = environment(&image.env, &config.env);
    take_default(&mut config.user, &image.user);
    take_default(&mut config.working_dir, &image.working_dir);
    for (key, value) in &image.labels {
        config.labels.entry(key.clone()).or_insert_with(|| value.clone());
    }
    for port in image.exposed_ports.keys() {
        config.exposed_ports.entry(port.clone()).or_insert(Empty {});
    }
    for path in image.volumes.keys() {
        config.volumes.get_or_insert_default().entry(path.clone()).or_insert(Empty {});
    }
    // What is no signal stays behind, as in Docker: a container that can never be stopped helps nobody.
    let of_image = image.stop_signal.as_ref().filter(|text| docker_types::signal::parse(text).is_ok());
    config.stop_signal = config.stop_signal.take().or_else(|| of_image.cloned());
    config.stop_timeout = config.stop_timeout.or(image.stop_timeout);
    if let Some(of_image) = &image.healthcheck {
        complete_health(config.healthcheck.get_or_insert_default(), of_image);
    }
    config.shell =
        config.shell.take().or_else(|| Some(image.shell.clone()).filter(|shell| !shell.is_empty()));
    Ok(argv)
}

/// Each field that the request leaves open is the image's.
fn complete_health(check: &mut Healthcheck, image: &oci::config::Healthcheck) {
    if check.test.is_empty() {
        check.test.clone_from(&image.test);
    }
    let fields = [
        (&mut check.interval, image.interval),
        (&mut check.timeout, image.timeout),
        (&mut check.retries, image.retries),
        (&mut check.start_period, image.start_period),
        (&mut check.start_interval, image.start_interval),
    ];
    for (field, of_image) in fields {
        if *field == 0 {
            *field = of_image;
        }
    }
}

/// `--entrypoint ""` travels as one empty word.
fn is_cleared(entrypoint: &[String], word: &str) -> bool {
    entrypoint.len() == 1 && word.is_empty()
}

fn take_default(value: &mut String, default: &str) {
    if value.is_empty() {
        default.clone_into(value);
    }
}

/// Joins the environments: a later `NAME=value` replaces an earlier one in place, a bare `NAME` removes it.
pub(crate) fn environment(base: &[String], over: &[String]) -> Vec<String> {
    let mut list: Vec<String> = Vec::with_capacity(base.len() + over.len() + 1);
    if !base.iter().any(|line| line.starts_with("PATH=")) {
        list.push(DEFAULT_PATH.to_owned());
    }
    for line in base.iter().chain(over) {
        let name = line.split('=').next().unwrap_or(line);
        let place = list.iter().position(|have| have.split('=').next() == Some(name));
        match (line.contains('='), place) {
            (true, Some(place)) => list[place].clone_from(line),
            (true, None) => list.push(line.clone()),
            (false, Some(place)) => drop(list.remove(place)),
            (false, None) => {}
        }
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Option<Vec<String>> {
        Some(text.split_whitespace().map(str::to_owned).collect())
    }

    #[test]
    fn entry_point_and_arguments_follow_docker() {
        let image =
            ContainerDefaults { entrypoint: words("/entry -x"), cmd: words("serve"), ..Default::default() };
        for (entrypoint, cmd, want) in [
            (None, None, Some("/entry -x serve")),
            (None, words("other"), Some("/entry -x other")),
            (words("/bin/sh"), None, Some("/bin/sh")),
            (words("/bin/sh"), words("-c true"), Some("/bin/sh -c true")),
            (Some(vec![String::new()]), words("ls"), Some("ls")),
            (Some(vec![String::new()]), None, None),
        ] {
            let mut spec = ContainerSpec::default();
            (spec.config.entrypoint, spec.config.cmd) = (entrypoint, cmd);
            let got = complete(&mut spec, &image).ok().map(|argv| argv.join(" "));
            assert_eq!(got.as_deref(), want);
        }
    }

    #[test]
    fn a_health_check_is_completed_field_by_field() {
        let of_image = oci::config::Healthcheck {
            test: words("CMD a").unwrap_or_default(),
            interval: 5,
            retries: 7,
            ..Default::default()
        };
        let image = ContainerDefaults { cmd: words("x"), healthcheck: Some(of_image), ..Default::default() };
        let completed = |check: Option<Healthcheck>| {
            let mut spec = ContainerSpec::default();
            spec.config.healthcheck = check;
            complete(&mut spec, &image).unwrap();
            let check = spec.config.healthcheck.unwrap();
            (check.test.join(" "), check.interval, check.retries)
        };
        assert_eq!(completed(None), ("CMD a".to_owned(), 5, 7));
        let own = Healthcheck { test: words("NONE").unwrap_or_default(), ..Default::default() };
        assert_eq!(completed(Some(own)).0, "NONE");
        let own = Healthcheck { interval: 9, ..Default::default() };
        assert_eq!(completed(Some(own)), ("CMD a".to_owned(), 9, 7));
    }

    #[test]
    fn environment_replaces_in_place_and_removes() {
        let lines = |list: &[&str]| list.iter().map(|l| (*l).to_owned()).collect::<Vec<_>>();
        let got = environment(&lines(&["PATH=/p", "A=1", "B=2"]), &lines(&["A=3", "B", "C=4", "D"]));
        assert_eq!(got, lines(&["PATH=/p", "A=3", "C=4"]));
        assert_eq!(environment(&[], &[]), lines(&[DEFAULT_PATH]));
    }
}
