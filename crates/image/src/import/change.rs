//! Docker's `--change`: a few Dockerfile instructions that set fields of the configuration. Pure.

use oci::config::{ContainerDefaults, Empty, Healthcheck};

/// What [`parse_changes`] knows.
const KNOWN: &str = "CMD ENTRYPOINT ENV EXPOSE HEALTHCHECK LABEL ONBUILD STOPSIGNAL USER VOLUME WORKDIR";

/// A `--change` is malformed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{instruction:?}: {reason}")]
pub struct InvalidChange {
    /// What was given.
    pub instruction: String,
    /// What is wrong.
    pub reason: String,
}

/// Applies Docker's `--change` instructions to `config`: `CMD ENTRYPOINT ENV EXPOSE HEALTHCHECK LABEL ONBUILD
/// STOPSIGNAL USER VOLUME WORKDIR`.
pub fn parse_changes(
    config: &mut ContainerDefaults,
    changes: &[String],
) -> std::result::Result<(), InvalidChange> {
    for change in changes {
        apply(config, change.trim())
            .map_err(|reason| InvalidChange { instruction: change.clone(), reason })?;
    }
    Ok(())
}

fn apply(config: &mut ContainerDefaults, change: &str) -> Result<(), String> {
    let (instruction, rest) = change.split_once(char::is_whitespace).unwrap_or((change, ""));
    let rest = rest.trim();
    let instruction = instruction.to_ascii_uppercase();
    if rest.is_empty() {
        return Err(match KNOWN.split(' ').any(|known| known == instruction) {
            true => format!("{instruction} wants an argument"),
            false => unknown(&instruction),
        });
    }
    match instruction.as_str() {
        "CMD" => config.cmd = Some(command(rest)),
        "ENTRYPOINT" => {
            config.entrypoint = Some(command(rest));
            config.cmd = None;
        }
        "ENV" => {
            for (name, value) in pairs(rest, &config.env)? {
                set_env(&mut config.env, &name, &value);
            }
        }
        "LABEL" => config.labels.extend(pairs(rest, &config.env)?),
        "EXPOSE" => {
            for word in words(rest, &config.env)? {
                for port in ports(&word)? {
                    config.exposed_ports.insert(port, Empty {});
                }
            }
        }
        "VOLUME" => {
            let paths = json_list(rest).map_or_else(|| words(rest, &config.env), Ok)?;
            if paths.iter().any(String::is_empty) {
                return Err("VOLUME wants paths that are not empty".to_owned());
            }
            config.volumes.extend(paths.into_iter().map(|path| (path, Empty {})));
        }
        "USER" => config.user = one_word(rest, &config.env)?,
        "WORKDIR" => config.working_dir = join_folder(&config.working_dir, &one_word(rest, &config.env)?),
        "STOPSIGNAL" => config.stop_signal = Some(one_word(rest, &config.env)?),
        "ONBUILD" => config.on_build.push(on_build(rest)?),
        "HEALTHCHECK" => config.healthcheck = Some(healthcheck(rest)?),
        other => return Err(unknown(other)),
    }
    Ok(())
}

fn unknown(instruction: &str) -> String {
    format!("{instruction} is not a change; allowed are {KNOWN}")
}

/// A list in JSON is the command itself; everything else is a line for the shell.
fn command(text: &str) -> Vec<String> {
    json_list(text).unwrap_or_else(|| vec!["/bin/sh".to_owned(), "-c".to_owned(), text.to_owned()])
}

fn json_list(text: &str) -> Option<Vec<String>> {
    if text.starts_with('[') { serde_json::from_str(text).ok() } else { None }
}

fn set_env(env: &mut Vec<String>, name: &str, value: &str) {
    let new = format!("{name}={value}");
    match env.iter_mut().find(|old| old.split('=').next() == Some(name)) {
        Some(old) => *old = new,
        None => env.push(new),
    }
}

/// Reads `name=value name2="value 2"`, or the old form `name the rest of the line`.
fn pairs(text: &str, env: &[String]) -> Result<Vec<(String, String)>, String> {
    let first = split_words(text)?.into_iter().next().unwrap_or_default();
    if !first.contains('=') {
        let Some((name, value)) = text.split_once(char::is_whitespace) else {
            return Err("name=value is wanted".to_owned());
        };
        return Ok(vec![(expand(name, env)?, expand(value.trim(), env)?)]);
    }
    split_words(text)?
        .iter()
        .map(|word| match word.split_once('=') {
            Some((name, value)) if !name.is_empty() => Ok((expand(name, env)?, expand(value, env)?)),
            _ => Err(format!("name=value is wanted, not {word:?}")),
        })
        .collect()
}

fn words(text: &str, env: &[String]) -> Result<Vec<String>, String> {
    split_words(text)?.iter().map(|word| expand(word, env)).collect()
}

fn one_word(text: &str, env: &[String]) -> Result<String, String> {
    match expand(text, env)? {
        empty if empty.is_empty() => Err("the argument is empty".to_owned()),
        word => Ok(word),
    }
}

/// Splits at blanks outside quotes; quotes and escapes stay for [`expand`].
fn split_words(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quote: Option<char> = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (_, '\\') if quote != Some('\'') => {
                word.push(c);
                word.extend(chars.next());
            }
            (None, '"' | '\'') => {
                quote = Some(c);
                word.push(c);
            }
            (Some(open), c) if c == open => {
                quote = None;
                word.push(c);
            }
            (None, c) if c.is_whitespace() => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
            }
            (_, c) => word.push(c),
        }
    }
    if quote.is_some() {
        return Err("a quote is not closed".to_owned());
    }
    if !word.is_empty() {
        words.push(word);
    }
    Ok(words)
}

/// Takes quotes and escapes away and puts variables of `env` in: `$NAME`, `${NAME}`, `${NAME:-else}`, `${NAME:+then}`.
fn expand(word: &str, env: &[String]) -> Result<String, String> {
    let mut out = String::new();
    let mut quote: Option<char> = None;
    let mut chars = word.chars().peekable();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some('\''), '\'') | (Some('"'), '"') => quote = None,
            (Some('\''), c) => out.push(c),
            (None, '"' | '\'') => quote = Some(c),
            (Some('"'), '\\') => match chars.next() {
                Some(c @ ('"' | '$' | '\\')) => out.push(c),
                Some(c) => out.extend(['\\', c]),
                None => out.push('\\'),
            },
            (_, '\\') => out.extend(chars.next()),
            (_, '$') => variable(&mut chars, env, &mut out)?,
            (_, c) => out.push(c),
        }
    }
    if quote.is_some() { Err("a quote is not closed".to_owned()) } else { Ok(out) }
}

fn variable(
    chars: &mut std::iter::Peekable<std::str::Chars<'_>>,
    env: &[String],
    out: &mut String,
) -> Result<(), String> {
    let is_name = |c: &char| c.is_ascii_alphanumeric() || *c == '_';
    let braces = chars.next_if_eq(&'{').is_some();
    let mut name = String::new();
    while let Some(c) = chars.next_if(is_name) {
        name.push(c);
    }
    let value = env.iter().find_map(|pair| pair.strip_prefix(&name)?.strip_prefix('='));
    if name.is_empty() && !braces {
        out.push('$');
        return Ok(());
    }
    if !braces {
        out.push_str(value.unwrap_or(""));
        return Ok(());
    }
    let rest: String = chars.by_ref().take_while(|c| *c != '}').collect();
    let value = value.filter(|value| !value.is_empty());
    match (rest.as_str(), rest.strip_prefix(":-"), rest.strip_prefix(":+")) {
        ("", ..) if !name.is_empty() => out.push_str(value.unwrap_or("")),
        (_, Some(otherwise), _) => out.push_str(value.unwrap_or(otherwise)),
        (_, _, Some(then)) => out.push_str(value.map_or("", |_| then)),
        _ => return Err(format!("${{{name}{rest}}} is not supported; allowed are ${{{name}}}, :- and :+")),
    }
    Ok(())
}

/// Reads `80`, `80/udp`, `8000-8010/tcp`.
fn ports(text: &str) -> Result<Vec<String>, String> {
    let bad =
        || format!("port {text:?}: 1 to 65535, or a range of them, with /tcp, /udp or /sctp, is wanted");
    let (range, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = protocol.to_ascii_lowercase();
    let (from, to) = range.split_once('-').unwrap_or((range, range));
    let (from, to): (u16, u16) = (from.parse().map_err(|_| bad())?, to.parse().map_err(|_| bad())?);
    if from == 0 || from > to || !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return Err(bad());
    }
    Ok((from..=to).map(|port| format!("{port}/{protocol}")).collect())
}

fn join_folder(present: &str, folder: &str) -> String {
    let whole = if folder.starts_with('/') { folder.to_owned() } else { format!("{present}/{folder}") };
    let mut parts: Vec<&str> = Vec::new();
    for part in whole.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

fn on_build(text: &str) -> Result<String, String> {
    let instruction = text.split_whitespace().next().unwrap_or("").to_ascii_uppercase();
    match instruction.as_str() {
        "ONBUILD" => Err("ONBUILD cannot be chained".to_owned()),
        "FROM" | "MAINTAINER" => Err(format!("{instruction} is not allowed as an ONBUILD trigger")),
        _ => Ok(text.to_owned()),
    }
}

fn healthcheck(text: &str) -> Result<Healthcheck, String> {
    let mut check = Healthcheck::default();
    let mut rest = text;
    while let Some(flag) = rest.strip_prefix("--") {
        let (flag, more) = flag.split_once(char::is_whitespace).unwrap_or((flag, ""));
        let (name, value) = flag.split_once('=').ok_or_else(|| format!("--{flag} wants =value"))?;
        match name {
            "interval" => check.interval = duration(value)?,
            "timeout" => check.timeout = duration(value)?,
            "start-period" => check.start_period = duration(value)?,
            "start-interval" => check.start_interval = duration(value)?,
            "retries" => {
                let number = value.parse().ok().filter(|n| *n >= 0);
                check.retries = number.ok_or_else(|| format!("--retries={value}: a number is wanted"))?;
            }
            other => return Err(format!("unknown flag --{other} of HEALTHCHECK")),
        }
        rest = more.trim_start();
    }
    let (kind, line) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    check.test = match (kind.to_ascii_uppercase().as_str(), line.trim()) {
        ("NONE", "") => vec!["NONE".to_owned()],
        ("CMD", line) if !line.is_empty() => match json_list(line) {
            Some(list) => [vec!["CMD".to_owned()], list].concat(),
            None => vec!["CMD-SHELL".to_owned(), line.to_owned()],
        },
        _ => return Err("HEALTHCHECK wants NONE or CMD with a command".to_owned()),
    };
    Ok(check)
}

/// Reads a duration as Go writes it (`1m30s`, `500ms`) into nanoseconds; at least 1 ms, or 0.
fn duration(text: &str) -> Result<i64, String> {
    let bad =
        || format!("duration {text:?}: a number with unit (ns, us, ms, s, m, h) of at least 1ms is wanted");
    if text == "0" {
        return Ok(0);
    }
    let mut rest = text;
    let mut sum = 0.0_f64;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(bad)?;
        let number: f64 = rest[..end].parse().map_err(|_| bad())?;
        let unit_end =
            rest[end..].find(|c: char| c.is_ascii_digit() || c == '.').map_or(rest.len(), |n| end + n);
        let unit = match &rest[end..unit_end] {
            "ns" => 1.0,
            "us" | "µs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            _ => return Err(bad()),
        };
        sum += number * unit;
        rest = &rest[unit_end..];
    }
    let in_range = (1e6..9e18).contains(&sum) || (sum == 0.0 && !text.is_empty());
    #[expect(clippy::cast_possible_truncation, reason = "the range was checked")]
    if in_range { Ok(sum as i64) } else { Err(bad()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(changes: &[&str]) -> Result<ContainerDefaults, String> {
        let mut config = ContainerDefaults::default();
        let changes: Vec<String> = changes.iter().map(|&c| c.to_owned()).collect();
        parse_changes(&mut config, &changes).map(|()| config).map_err(|e| e.to_string())
    }

    #[test]
    fn every_instruction_sets_its_field() {
        let config = changed(&[
            "ENV A=1 B=\"two words\" C='$A'",
            "env D $A/x",
            "ENV A=3",
            "CMD [\"a\", \"b c\"]",
            "EXPOSE 80 53/udp 8000-8001",
            "LABEL x=${A} y=\"q\\\"q\"",
            "USER ${NOBODY:-me}",
            "WORKDIR /a",
            "WORKDIR b/../c",
            "VOLUME /data /more",
            "VOLUME [\"/j\"]",
            "STOPSIGNAL SIGINT",
            "ONBUILD RUN x",
            "HEALTHCHECK --interval=1m30s --retries=3 CMD curl localhost",
        ])
        .unwrap();
        assert_eq!(config.env, ["A=3", "B=two words", "C=$A", "D=1/x"]);
        assert_eq!(config.cmd.unwrap(), ["a", "b c"]);
        let ports: Vec<_> = config.exposed_ports.keys().map(String::as_str).collect();
        assert_eq!(ports, ["53/udp", "80/tcp", "8000/tcp", "8001/tcp"]);
        assert_eq!((config.labels["x"].as_str(), config.labels["y"].as_str()), ("3", "q\"q"));
        assert_eq!((config.user.as_str(), config.working_dir.as_str()), ("me", "/a/c"));
        assert_eq!(config.volumes.len(), 3);
        assert_eq!(config.on_build, ["RUN x"]);
        let check = config.healthcheck.unwrap();
        assert_eq!((check.interval, check.retries), (90_000_000_000, 3));
        assert_eq!(check.test, ["CMD-SHELL", "curl localhost"]);
        let config = changed(&["CMD echo hi", "ENTRYPOINT [\"x\"]"]).unwrap();
        assert_eq!((config.cmd, config.entrypoint), (None, Some(vec!["x".to_owned()])));
        assert_eq!(changed(&["CMD echo hi"]).unwrap().cmd.unwrap(), ["/bin/sh", "-c", "echo hi"]);
    }

    #[test]
    fn other_instructions_are_refused() {
        for change in [
            "RUN x",
            "FROM x",
            "",
            "CMD",
            "ENV A",
            "ENV =1",
            "ENV A=\"x",
            "EXPOSE 0",
            "EXPOSE 70000",
            "EXPOSE 9-8",
            "EXPOSE 1/xyz",
            "ONBUILD FROM x",
            "HEALTHCHECK x",
            "HEALTHCHECK --interval=1 CMD x",
            "USER ${A:?b}",
            "COPY a b",
        ] {
            assert!(changed(&[change]).is_err(), "{change}");
        }
        assert!(changed(&["RUN x"]).unwrap_err().contains("allowed are CMD"));
    }
}
