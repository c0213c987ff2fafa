//! Environment variables, labels, and the files that hold them (`-e`, `--env-file`, `-l`, `--label-file`).

use base::{ErrorKind, Kinded};

/// Why a text is no variable or label. The words are Docker's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvError {
    /// A variable has no name.
    #[error("invalid environment variable: {0}")]
    Variable(String),
    /// A label has no name.
    #[error("invalid label '{0}': empty name")]
    Label(String),
    /// A line of a file has no name.
    #[error("no variable name on line '{0}'")]
    NoName(String),
    /// A name in a file has a space.
    #[error("variable '{0}' contains whitespaces")]
    Space(String),
    /// A file is not UTF-8.
    #[error("invalid utf8 bytes at line {line}: {text:?}")]
    Utf8 {
        /// Which line, from 1.
        line: usize,
        /// The line, as far as it can be read.
        text: String,
    },
}

impl Kinded for EnvError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }
}

/// Resolves one `-e` argument: `NAME=value` stays, a bare `NAME` takes the value of `lookup`.
///
/// A bare name that `lookup` does not know stays bare, which removes the variable of the image.
pub fn variable(text: &str, lookup: impl Fn(&str) -> Option<String>) -> Result<String, EnvError> {
    let name = text.split('=').next().unwrap_or_default();
    if name.is_empty() {
        return Err(EnvError::Variable(text.to_owned()));
    }
    if text.contains('=') {
        return Ok(text.to_owned());
    }
    Ok(lookup(text).map_or_else(|| text.to_owned(), |value| format!("{text}={value}")))
}

/// Splits one `-l` argument into name and value.
pub fn label(text: &str) -> Result<(String, String), EnvError> {
    let (name, value) = text.split_once('=').unwrap_or((text, ""));
    if name.is_empty() {
        return Err(EnvError::Label(text.to_owned()));
    }
    Ok((name.to_owned(), value.to_owned()))
}

/// Reads a file of variables: one `NAME=value` a line, `#` begins a comment, a bare name takes the value of
/// `lookup` or is left out.
pub fn variables_file(
    content: &[u8],
    lookup: impl Fn(&str) -> Option<String>,
) -> Result<Vec<String>, EnvError> {
    read_lines(content, |name| lookup(name).map(|value| format!("{name}={value}")))
}

/// Reads a file of labels: one `name=value` a line, `#` begins a comment.
pub fn labels_file(content: &[u8]) -> Result<Vec<String>, EnvError> {
    read_lines(content, |name| Some(name.to_owned()))
}

fn read_lines(content: &[u8], bare: impl Fn(&str) -> Option<String>) -> Result<Vec<String>, EnvError> {
    let content = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content);
    let mut found = Vec::new();
    for (nth, raw) in content.split(|byte| *byte == b'\n').enumerate() {
        let raw = raw.strip_suffix(b"\r").unwrap_or(raw);
        let line = std::str::from_utf8(raw)
            .map_err(|_| EnvError::Utf8 { line: nth + 1, text: String::from_utf8_lossy(raw).into_owned() })?
            .trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, value) = line.split_once('=').map_or((line, None), |(name, value)| (name, Some(value)));
        let name = name.trim_start();
        if name.chars().any(char::is_whitespace) {
            return Err(EnvError::Space(name.to_owned()));
        }
        if name.is_empty() {
            return Err(EnvError::NoName(line.to_owned()));
        }
        match value {
            Some(value) => found.push(format!("{name}={value}")),
            None => found.extend(bare(name)),
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup(name: &str) -> Option<String> {
        (name == "HOME").then(|| "/root".to_owned())
    }

    #[test]
    fn variables_take_the_environment() {
        for (text, value) in
            [("A=b", "A=b"), ("A=", "A="), ("HOME", "HOME=/root"), ("NOPE", "NOPE"), ("A=b=c", "A=b=c")]
        {
            assert_eq!(variable(text, lookup).unwrap(), value);
        }
        assert_eq!(variable("=b", lookup).unwrap_err().to_string(), "invalid environment variable: =b");
        assert_eq!(label("=b").unwrap_err().to_string(), "invalid label '=b': empty name");
        assert_eq!(label("a").unwrap(), ("a".into(), String::new()));
    }

    #[test]
    fn files_are_read_as_docker_does() {
        let content = b"\xef\xbb\xbf# comment\nA=1\n\n  B= two \r\nHOME\nNOPE\nC=#x\n";
        assert_eq!(variables_file(content, lookup).unwrap(), ["A=1", "B= two ", "HOME=/root", "C=#x"]);
        assert_eq!(labels_file(b"a\nb=c").unwrap(), ["a", "b=c"]);
        assert_eq!(
            variables_file(b"A B=1", lookup).unwrap_err().to_string(),
            "variable 'A B' contains whitespaces"
        );
        assert_eq!(variables_file(b"=1", lookup).unwrap_err().to_string(), "no variable name on line '=1'");
        assert!(matches!(variables_file(b"A=1\nB=\xff", lookup), Err(EnvError::Utf8 { line: 2, .. })));
    }
}
