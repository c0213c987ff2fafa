//! Options before the command: `brig --root /x ps`.

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::Result;

use crate::error::UsageError;
use crate::ui::Level;

/// What help says of each option: name, value, text.
pub(crate) const OPTIONS: [(&str, &str, &str); 6] = [
    ("    --config", "file", "Configuration file (default \"/etc/brig/brig.toml\"; BRIG_CONFIG)"),
    ("-D, --debug", "", "Say what helps to find a fault; the same as --log-level debug"),
    (
        "-l, --log-level",
        "string",
        "What to say on the standard error (\"debug\", \"info\", \"warn\", \"error\", \"fatal\") (default \"info\")",
    ),
    (
        "    --root",
        "dir",
        "Where images, containers and volumes are kept (default \"/var/lib/brig\"; BRIG_ROOT)",
    ),
    (
        "    --run-root",
        "dir",
        "Where the files of running containers are kept (default \"/run/brig\"; BRIG_RUN)",
    ),
    ("-v, --version", "", "Print the version and quit"),
];

/// The parsed options.
#[derive(Debug, Clone)]
pub(crate) struct Global {
    /// `--root`.
    pub(crate) root: Option<PathBuf>,
    /// `--run-root`.
    pub(crate) run_root: Option<PathBuf>,
    /// `--config`.
    pub(crate) config: Option<PathBuf>,
    /// `--log-level`.
    pub(crate) level: Level,
    /// `--version`.
    pub(crate) version: bool,
    /// `--help`.
    pub(crate) help: bool,
}

impl Global {
    /// Returns where the engine keeps its things.
    pub(crate) fn roots(&self) -> engine::Roots {
        let uid = engine::rootless::caller();
        engine::Roots::find(self.root.clone(), self.run_root.clone(), self.config.clone(), uid, |name| {
            std::env::var_os(name)
        })
    }
}

/// Takes the options off the front of `args`; what is left begins with the command.
pub(crate) fn parse(args: Vec<OsString>) -> Result<(Global, Vec<OsString>)> {
    let mut global =
        Global { root: None, run_root: None, config: None, level: Level::Info, version: false, help: false };
    let mut args = args.into_iter().peekable();
    while let Some(arg) =
        args.next_if(|arg| arg.to_str().is_some_and(|text| text.starts_with('-') && text.len() > 1))
    {
        let text = arg.to_string_lossy().into_owned();
        let (name, attached) = match text.split_once('=') {
            Some((name, value)) if text.starts_with("--") => (name.to_owned(), Some(OsString::from(value))),
            _ => (text.clone(), None),
        };
        let mut value = || {
            attached
                .clone()
                .or_else(|| args.next())
                .ok_or_else(|| wrong(format!("flag needs an argument: {name}")))
        };
        match name.as_str() {
            "--root" => global.root = Some(value()?.into()),
            "--run-root" => global.run_root = Some(value()?.into()),
            "--config" => global.config = Some(value()?.into()),
            "-l" | "--log-level" => global.level = value()?.to_string_lossy().parse().map_err(wrong)?,
            "-D" | "--debug" => global.level = Level::Debug,
            "-v" | "--version" => global.version = true,
            "-h" | "--help" => global.help = true,
            _ => return Err(wrong(format!("unknown flag: {name}"))),
        }
    }
    Ok((global, args.collect()))
}

fn wrong(message: String) -> anyhow::Error {
    let usage = "brig [OPTIONS] COMMAND [ARG...]".to_owned();
    UsageError { message, usage, command: "brig".to_owned(), code: 125 }.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_words(words: &[&str]) -> Result<(Global, Vec<OsString>)> {
        parse(words.iter().map(OsString::from).collect())
    }

    #[test]
    fn options_end_at_the_command() {
        let (global, rest) =
            parse_words(&["--root", "/a", "--run-root=/b", "-l", "debug", "ps", "--root", "x"]).unwrap();
        assert_eq!(global.root, Some("/a".into()));
        assert_eq!(global.run_root, Some("/b".into()));
        assert_eq!(global.level, Level::Debug);
        assert_eq!(rest, ["ps", "--root", "x"]);
    }

    #[test]
    fn wrong_options_are_refused() {
        for (words, message) in [
            (&["--foo", "ps"][..], "unknown flag: --foo"),
            (&["--root"], "flag needs an argument: --root"),
            (&["-l", "x"], "unable to parse logging level: x; give debug, info, warn, error or fatal"),
        ] {
            assert_eq!(parse_words(words).unwrap_err().to_string(), message);
        }
    }
}
