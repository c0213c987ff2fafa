//! `--log-driver` and `--log-opt`: which options each driver takes, and what they mean.
//!
//! Source: the behaviour of docker's drivers json-file, local, journald and syslog, whose words the errors have.

use std::collections::BTreeMap;

use base::{ErrorKind, Kinded};
use regex_lite::Regex;

use crate::mount::parse_bool;
use crate::size;

/// Why a driver or one of its options is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// There is no such driver.
    #[error(
        "logger: no log driver named '{0}' is registered: there are json-file, local, journald, syslog and none"
    )]
    Driver(String),
    /// The driver does not take that option.
    #[error("unknown log opt '{option}' for {driver} log driver")]
    Option {
        /// The driver.
        driver: String,
        /// The option.
        option: String,
    },
    /// The driver `none` takes no option.
    #[error("invalid logging opts for driver none")]
    None,
    /// The option has another form.
    #[error("invalid log option {option}={value}: {why}")]
    Value {
        /// The option.
        option: String,
        /// What was given.
        value: String,
        /// What is wanted.
        why: String,
    },
    /// The options do not go together.
    #[error("{0}")]
    Conflict(&'static str),
}

impl Kinded for LogError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }
}

/// A log driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Driver {
    /// Files with a JSON object a line.
    #[default]
    JsonFile,
    /// The same, compressed unless told otherwise.
    Local,
    /// systemd's journal.
    Journald,
    /// A syslog.
    Syslog,
    /// No log.
    None,
}

/// What was asked for of a container's log; what is none is the default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogPlan {
    /// Which driver.
    pub driver: Driver,
    /// Bytes of one file.
    pub max_size: Option<i64>,
    /// How many files.
    pub max_file: Option<u32>,
    /// Whether rotated files are compressed.
    pub compress: Option<bool>,
    /// Whether the log is kept by the container's name when the container is removed. Brig's own.
    pub keep: bool,
    /// Bytes that are kept for a slow receiver; with one the container never waits.
    pub buffer: Option<usize>,
    /// Whether no files are written besides.
    pub no_cache: bool,
    /// Template of the tag.
    pub tag: Option<String>,
    /// Labels and variables that are logged with each line.
    pub extra: Extra,
    /// `syslog-address`.
    pub address: Option<Address>,
    /// The number of the facility; 3 is daemon.
    pub facility: Option<u8>,
    /// `rfc3164`, `rfc5424`, `rfc5424micro`, or empty.
    pub format: String,
}

/// Which labels and variables are logged with each line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Extra {
    labels: Vec<String>,
    labels_regex: Option<String>,
    env: Vec<String>,
    env_regex: Option<String>,
}

/// Where a syslog listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A socket of this machine.
    Unix(String),
    /// `host:port` for datagrams.
    Udp(String),
    /// `host:port` for a connection.
    Tcp(String),
}

const FILES: &[&str] = &["max-size", "max-file", "compress", "keep"];
const EXTRA: &[&str] = &["labels", "labels-regex", "env", "env-regex", "tag"];
const CACHE: &[&str] = &["cache-disabled", "cache-max-size", "cache-max-file", "cache-compress"];
const SYSLOG: &[&str] = &["syslog-address", "syslog-facility", "syslog-format"];
const MODE: &[&str] = &["mode", "max-buffer-size"];

const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp", "",
    "", "", "", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
];

impl Driver {
    fn parse(text: &str) -> Result<Self, LogError> {
        match text {
            "" | "json-file" => Ok(Self::JsonFile),
            "local" => Ok(Self::Local),
            "journald" => Ok(Self::Journald),
            "syslog" => Ok(Self::Syslog),
            "none" => Ok(Self::None),
            other => Err(LogError::Driver(other.to_owned())),
        }
    }

    fn takes(self, option: &str) -> bool {
        let lists: &[&[&str]] = match self {
            Self::JsonFile | Self::Local => &[FILES, EXTRA, MODE],
            Self::Journald => &[EXTRA, CACHE, MODE],
            Self::Syslog => &[SYSLOG, EXTRA, CACHE, MODE],
            Self::None => &[],
        };
        lists.iter().any(|list| list.contains(&option))
    }
}

/// Reads a driver's name and its options.
pub fn parse(driver: &str, options: &BTreeMap<String, String>) -> Result<LogPlan, LogError> {
    let mut plan = LogPlan { driver: Driver::parse(driver)?, ..LogPlan::default() };
    if plan.driver == Driver::None && !options.is_empty() {
        return Err(LogError::None);
    }
    let name = if driver.is_empty() { "json-file" } else { driver };
    let mut buffer = None;
    let mut non_blocking = false;
    for (option, value) in options {
        if !plan.driver.takes(option) {
            return Err(LogError::Option { driver: name.to_owned(), option: option.clone() });
        }
        let wrong = |why: String| LogError::Value { option: option.clone(), value: value.clone(), why };
        let bytes = || size::parse_binary(value).map_err(|error| wrong(error.to_string()));
        let flag = || parse_bool(value).ok_or_else(|| wrong("true or false is wanted".to_owned()));
        let words =
            || value.split(',').map(str::trim).filter(|word| !word.is_empty()).map(str::to_owned).collect();
        let pattern = || match Regex::new(value) {
            Ok(_) => Ok(Some(value.clone())),
            Err(error) => Err(wrong(error.to_string())),
        };
        match option.as_str() {
            "max-size" | "cache-max-size" => plan.max_size = Some(bytes()?),
            "max-file" | "cache-max-file" => {
                let files = value.parse::<u32>().ok().filter(|files| *files > 0);
                plan.max_file =
                    Some(files.ok_or_else(|| wrong("max-file cannot be less than 1".to_owned()))?);
            }
            "compress" | "cache-compress" => plan.compress = Some(flag()?),
            "cache-disabled" => plan.no_cache = flag()?,
            "keep" => plan.keep = flag()?,
            "labels" => plan.extra.labels = words(),
            "labels-regex" => plan.extra.labels_regex = pattern()?,
            "env" => plan.extra.env = words(),
            "env-regex" => plan.extra.env_regex = pattern()?,
            "tag" => plan.tag = Some(value.clone()),
            "mode" => match value.as_str() {
                "" | "blocking" => {}
                "non-blocking" => non_blocking = true,
                _ => {
                    return Err(wrong(
                        "logging mode not supported: blocking and non-blocking are".to_owned(),
                    ));
                }
            },
            "max-buffer-size" => {
                buffer = Some(usize::try_from(bytes()?).map_err(|error| wrong(error.to_string()))?);
            }
            "syslog-address" => plan.address = Some(address(value).map_err(wrong)?),
            "syslog-facility" => {
                plan.facility =
                    Some(facility(value).ok_or_else(|| wrong("invalid syslog facility".to_owned()))?)
            }
            "syslog-format" => match value.as_str() {
                "" | "rfc3164" | "rfc5424" | "rfc5424micro" => plan.format = value.clone(),
                _ => return Err(wrong("Invalid syslog format".to_owned())),
            },
            _ => {}
        }
    }
    if buffer.is_some() && !non_blocking {
        return Err(LogError::Conflict(
            "logger: max-buffer-size option is only supported with 'mode=non-blocking'",
        ));
    }
    if plan.compress == Some(true) && plan.max_file == Some(1) {
        return Err(LogError::Conflict(
            "compress cannot be true when max-file is less than 2 or max-size is not set",
        ));
    }
    plan.buffer = non_blocking.then(|| buffer.unwrap_or(1 << 20));
    Ok(plan)
}

fn facility(text: &str) -> Option<u8> {
    let by_name = FACILITIES.iter().position(|name| !name.is_empty() && *name == text);
    by_name
        .and_then(|number| u8::try_from(number).ok())
        .or_else(|| text.parse().ok().filter(|number| *number < 24))
}

fn address(text: &str) -> Result<Address, String> {
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err(format!("syslog-address should be in form proto://address, got {text}"));
    };
    let with_port = |rest: &str| {
        let has_port = rest.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        match rest {
            "" => Err("a host is wanted".to_owned()),
            _ if has_port && !rest.ends_with(']') => Ok(rest.to_owned()),
            _ => Ok(format!("{rest}:514")),
        }
    };
    match scheme {
        "unix" | "unixgram" if rest.starts_with('/') => Ok(Address::Unix(rest.to_owned())),
        "unix" | "unixgram" => Err("an absolute path is wanted".to_owned()),
        "udp" => with_port(rest).map(Address::Udp),
        "tcp" => with_port(rest).map(Address::Tcp),
        "tcp+tls" => Err("tcp+tls is not supported: unix, unixgram, udp and tcp are".to_owned()),
        other => Err(format!("unsupported scheme: '{other}'")),
    }
}

impl Extra {
    /// Picks of the container's labels and variables what is logged with each line.
    pub fn pick(&self, labels: &BTreeMap<String, String>, env: &[String]) -> BTreeMap<String, String> {
        let matches = |pattern: &Option<String>, name: &str| {
            pattern.as_ref().and_then(|text| Regex::new(text).ok()).is_some_and(|regex| regex.is_match(name))
        };
        let mut picked = BTreeMap::new();
        for (name, value) in labels {
            if self.labels.contains(name) || matches(&self.labels_regex, name) {
                picked.insert(name.clone(), value.clone());
            }
        }
        for (name, value) in env.iter().filter_map(|line| line.split_once('=')) {
            if self.env.iter().any(|wanted| wanted == name) || matches(&self.env_regex, name) {
                picked.insert(name.to_owned(), value.to_owned());
            }
        }
        picked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(driver: &str, options: &[(&str, &str)]) -> Result<LogPlan, String> {
        let options = options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        parse(driver, &options).map_err(|error| error.to_string())
    }

    #[test]
    fn each_driver_takes_its_own_options() {
        for (driver, options, wanted) in [
            (
                "json-file",
                &[("max-size", "10m"), ("max-file", "3"), ("compress", "true"), ("tag", "x")][..],
                "",
            ),
            (
                "",
                &[
                    ("labels", "a,b"),
                    ("env-regex", "^X"),
                    ("mode", "non-blocking"),
                    ("max-buffer-size", "4m"),
                ],
                "",
            ),
            ("local", &[("max-size", "1m"), ("compress", "false"), ("keep", "true")], ""),
            ("journald", &[("tag", "{{.Name}}"), ("cache-disabled", "true")], ""),
            ("syslog", &[("syslog-address", "udp://1.2.3.4"), ("syslog-facility", "local7")], ""),
            ("none", &[], ""),
            ("none", &[("tag", "x")], "invalid logging opts for driver none"),
            ("json-file", &[("colour", "x")], "unknown log opt 'colour' for json-file log driver"),
            ("journald", &[("max-size", "1m")], "unknown log opt 'max-size' for journald log driver"),
            ("", &[("syslog-address", "x")], "unknown log opt 'syslog-address' for json-file log driver"),
            (
                "gelf",
                &[],
                "logger: no log driver named 'gelf' is registered: there are json-file, local, journald, syslog and none",
            ),
            ("local", &[("max-file", "0")], "invalid log option max-file=0: max-file cannot be less than 1"),
            (
                "local",
                &[("max-file", "1"), ("compress", "true")],
                "compress cannot be true when max-file is less than 2 or max-size is not set",
            ),
            ("local", &[("max-size", "much")], "invalid log option max-size=much: invalid size: 'much'"),
            (
                "",
                &[("max-buffer-size", "1m")],
                "logger: max-buffer-size option is only supported with 'mode=non-blocking'",
            ),
            (
                "",
                &[("mode", "fast")],
                "invalid log option mode=fast: logging mode not supported: blocking and non-blocking are",
            ),
            (
                "syslog",
                &[("syslog-format", "x")],
                "invalid log option syslog-format=x: Invalid syslog format",
            ),
            (
                "syslog",
                &[("syslog-facility", "x")],
                "invalid log option syslog-facility=x: invalid syslog facility",
            ),
            (
                "syslog",
                &[("syslog-address", "x")],
                "invalid log option syslog-address=x: syslog-address should be in form proto://address, got x",
            ),
            (
                "syslog",
                &[("syslog-address", "http://x")],
                "invalid log option syslog-address=http://x: unsupported scheme: 'http'",
            ),
        ] {
            assert_eq!(plan(driver, options).err().unwrap_or_default(), wanted, "{driver} {options:?}");
        }
    }

    #[test]
    fn addresses_and_facilities_are_read() {
        for (text, wanted) in [
            ("udp://1.2.3.4", Address::Udp("1.2.3.4:514".into())),
            ("tcp://[::1]:601", Address::Tcp("[::1]:601".into())),
            ("tcp://[::1]", Address::Tcp("[::1]:514".into())),
            ("unixgram:///dev/log", Address::Unix("/dev/log".into())),
        ] {
            assert_eq!(address(text), Ok(wanted));
        }
        assert_eq!(
            [facility("daemon"), facility("local7"), facility("5"), facility("24")],
            [Some(3), Some(23), Some(5), None]
        );
    }

    #[test]
    fn labels_and_variables_are_picked() {
        let plan =
            plan("", &[("labels", "a"), ("labels-regex", "^b"), ("env", "X"), ("env-regex", "Y$")]).unwrap();
        let labels = [("a", "1"), ("bc", "2"), ("c", "3")].map(|(n, v)| (n.to_owned(), v.to_owned())).into();
        let env = ["X=4".to_owned(), "XY=5=5".to_owned(), "Z=6".to_owned(), "BARE".to_owned()];
        let picked: Vec<String> = plan
            .extra
            .pick(&labels, &env)
            .into_iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        assert_eq!(picked, ["X=4", "XY=5=5", "a=1", "bc=2"]);
    }
}
