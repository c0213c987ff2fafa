//! The grammar of `-v`: `[source:]target[:options]`. A source with a slash is a path, another a volume's name.

use base::{ErrorKind, Kinded};

/// Why a text is no volume specification. The words are Docker's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BindError {
    /// There is nothing.
    #[error("invalid empty volume spec")]
    Empty,
    /// A part between colons is empty.
    #[error("invalid spec: {0}: empty section between colons")]
    EmptySection(String),
    /// There are more than three parts.
    #[error("invalid spec: {0}: too many colons")]
    Colons(String),
    /// The target is no absolute path.
    #[error(
        "invalid volume specification: '{spec}': invalid mount config for type {kind:?}: invalid mount path: '{target}' mount path must be absolute"
    )]
    Target {
        /// What was given.
        spec: String,
        /// `bind` or `volume`.
        kind: &'static str,
        /// The target.
        target: String,
    },
    /// The target is the root.
    #[error("invalid volume specification: '{0}': invalid specification: destination can't be '/'")]
    Root(String),
    /// The source is neither a path nor a volume's name.
    #[error(
        "{0:?} includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, use absolute path"
    )]
    Name(String),
    /// An option is unknown or contradicts another.
    #[error("invalid mode: {0}")]
    Mode(String),
}

impl Kinded for BindError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }
}

/// A parsed `-v` argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bind {
    /// Where it comes from.
    pub source: Source,
    /// Absolute path inside.
    pub target: String,
    /// The options as they were written, `ro,z`.
    pub mode: String,
    /// What the options say.
    pub options: Options,
}

/// Where a mount comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A new volume without a name.
    Anonymous,
    /// A volume by its name.
    Volume(String),
    /// An absolute path on the host.
    Path(String),
}

/// What the third part of `-v` says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// `ro`.
    pub read_only: bool,
    /// `nocopy`.
    pub no_copy: bool,
    /// `rprivate`, `rshared`, …; empty means the default.
    pub propagation: String,
    /// `z` or `Z`: label the source for SELinux.
    pub relabel: Option<char>,
}

/// Splits a `-v` argument at its colons: source (may be empty), target, mode (may be empty).
///
/// This is all that the command line checks; [`parse`] checks the rest.
pub fn split(text: &str) -> Result<(&str, &str, &str), BindError> {
    if text.is_empty() {
        return Err(BindError::Empty);
    }
    let parts: Vec<&str> = text.split(':').collect();
    if parts.len() > 3 {
        return Err(BindError::Colons(text.to_owned()));
    }
    if parts.iter().any(|part| part.is_empty()) {
        return Err(BindError::EmptySection(text.to_owned()));
    }
    Ok(match parts[..] {
        [target] => ("", target, ""),
        [source, target] => (source, target, ""),
        [source, target, mode] => (source, target, mode),
        _ => return Err(BindError::Empty),
    })
}

/// Parses an entry of `Binds` or `Volumes`.
pub fn parse(text: &str) -> Result<Bind, BindError> {
    let (source, target, mode) = split(text)?;
    let source = match source {
        "" => Source::Anonymous,
        path if path.starts_with('/') => Source::Path(path.to_owned()),
        name if is_volume_name(name) => Source::Volume(name.to_owned()),
        other => return Err(BindError::Name(other.to_owned())),
    };
    let is_path = matches!(source, Source::Path(_));
    if !target.starts_with('/') {
        let kind = if is_path { "bind" } else { "volume" };
        return Err(BindError::Target { spec: text.to_owned(), kind, target: target.to_owned() });
    }
    if target.split('/').all(|part| matches!(part, "" | ".")) {
        return Err(BindError::Root(text.to_owned()));
    }
    let options = parse_options(mode, is_path)?;
    Ok(Bind { source, target: target.to_owned(), mode: mode.to_owned(), options })
}

/// Says whether `name` may be a volume's: a letter or digit, then letters, digits, `_`, `.`, `-`; two at least.
pub fn is_volume_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphanumeric())
        && name.len() > 1
        && name.len() <= 255
        && bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

fn parse_options(mode: &str, is_path: bool) -> Result<Options, BindError> {
    let bad = || BindError::Mode(mode.to_owned());
    let mut options = Options::default();
    let (mut access, mut copy, mut propagation, mut relabel) = (0, 0, 0, 0);
    for word in mode.split(',').filter(|_| !mode.is_empty()) {
        match word {
            "ro" | "rw" => {
                access += 1;
                options.read_only = word == "ro";
            }
            "nocopy" => {
                copy += 1;
                options.no_copy = true;
            }
            "z" | "Z" => {
                relabel += 1;
                options.relabel = word.chars().next();
            }
            "private" | "rprivate" | "slave" | "rslave" | "shared" | "rshared" if is_path => {
                propagation += 1;
                word.clone_into(&mut options.propagation);
            }
            // Has no effect on Linux, Docker takes it for the sake of other systems.
            "consistent" | "cached" | "delegated" | "default" => {}
            _ => return Err(bad()),
        }
    }
    if [access, copy, propagation, relabel].into_iter().any(|count| count > 1) || (copy > 0 && is_path) {
        return Err(bad());
    }
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binds_are_read() {
        assert_eq!(parse("/a").unwrap().source, Source::Anonymous);
        assert_eq!(parse("/a:/b").unwrap().source, Source::Path("/a".into()));
        assert_eq!(parse("vol:/b:ro").unwrap().source, Source::Volume("vol".into()));
        assert!(parse("vol:/b:nocopy,ro").unwrap().options.no_copy);
        let shared = parse("/a:/b:rshared,z").unwrap().options;
        assert_eq!((shared.propagation.as_str(), shared.relabel), ("rshared", Some('z')));
    }

    #[test]
    fn binds_are_refused_in_dockers_words() {
        for (text, message) in [
            ("", "invalid empty volume spec"),
            (":/b", "invalid spec: :/b: empty section between colons"),
            ("/a:", "invalid spec: /a:: empty section between colons"),
            ("/a:/b:", "invalid spec: /a:/b:: empty section between colons"),
            ("/a:/b:ro:rw", "invalid spec: /a:/b:ro:rw: too many colons"),
            (
                "/a:b",
                "invalid volume specification: '/a:b': invalid mount config for type \"bind\": invalid mount path: 'b' mount path must be absolute",
            ),
            ("/a:/", "invalid volume specification: '/a:/': invalid specification: destination can't be '/'"),
            ("/a:/b:foo", "invalid mode: foo"),
            ("/a:/b:ro,rw", "invalid mode: ro,rw"),
            ("/a:/b:nocopy", "invalid mode: nocopy"),
            ("vol:/b:rshared", "invalid mode: rshared"),
            ("/a:/b:shared,slave", "invalid mode: shared,slave"),
        ] {
            assert_eq!(parse(text).unwrap_err().to_string(), message, "{text}");
        }
        assert!(matches!(parse("x/y:/b"), Err(BindError::Name(_))));
        assert!(matches!(parse("../../etc:/b"), Err(BindError::Name(_))));
    }
}
