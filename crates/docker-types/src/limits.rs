//! Numbers that limit: `--cpus`, `--ulimit`.

use base::{ErrorKind, Kinded};

use crate::container::Ulimit;

/// Why a text is no limit. The words are Docker's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LimitError {
    /// `--cpus` is no number.
    #[error("failed to parse {0} as a rational number")]
    Cpus(String),
    /// `--cpus` has more than nine places.
    #[error("value is too precise")]
    Precise,
    /// `--ulimit` has no `=`.
    #[error("invalid ulimit argument: {0}")]
    Ulimit(String),
    /// `--ulimit` names an unknown resource.
    #[error("invalid ulimit type: {0}")]
    UlimitType(String),
    /// `--ulimit` has more than two values.
    #[error("too many limit value arguments - {0}, can only have up to two, `soft[:hard]`")]
    UlimitValues(String),
    /// A limit is no number.
    #[error("strconv.ParseInt: parsing {0:?}: invalid syntax")]
    Number(String),
    /// The soft limit is above the hard one.
    #[error("ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}")]
    SoftAboveHard {
        /// Soft limit.
        soft: i64,
        /// Hard limit.
        hard: i64,
    },
    /// The soft limit is unlimited, the hard one is not.
    #[error("ulimit soft limit must be less than or equal to hard limit: soft: -1 (unlimited), hard: {0}")]
    SoftUnlimited(i64),
}

impl Kinded for LimitError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }
}

/// Parses `--cpus` into units of 10⁻⁹ processors: `1.5`, `.5`, `1/2`, `1e1`.
pub fn parse_cpus(text: &str) -> Result<i64, LimitError> {
    let bad = || LimitError::Cpus(text.to_owned());
    let (numerator, denominator) = match text.split_once('/') {
        Some((a, b)) if b.bytes().all(|b| b.is_ascii_digit()) => (a, b.parse::<i128>().map_err(|_| bad())?),
        Some(_) => return Err(bad()),
        None => (text, 1),
    };
    let (digits, places) = rational(numerator).ok_or_else(bad)?;
    if denominator == 0 {
        return Err(bad());
    }
    let (scale, divisor) = if places <= 9 {
        (10_i128.checked_pow(u32::try_from(9 - places).map_err(|_| bad())?).ok_or_else(bad)?, 1)
    } else {
        (1, 10_i128.checked_pow(u32::try_from(places - 9).map_err(|_| bad())?).ok_or_else(bad)?)
    };
    let nanos = digits.checked_mul(scale).ok_or_else(bad)?;
    let divisor = divisor.checked_mul(denominator).ok_or_else(bad)?;
    if nanos % divisor != 0 {
        return Err(LimitError::Precise);
    }
    i64::try_from(nanos / divisor).map_err(|_| bad())
}

/// Reads a decimal number with an optional exponent as `digits · 10^-places`.
fn rational(text: &str) -> Option<(i128, i32)> {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i16>().ok()?),
        None => (text, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if (whole.trim_start_matches(['-', '+']).is_empty() && fraction.is_empty())
        || fraction.starts_with(['-', '+'])
    {
        return None;
    }
    let fraction = fraction.trim_end_matches('0');
    let digits = format!("{whole}{fraction}")
        .parse()
        .or_else(|e| if whole.is_empty() { Ok(0) } else { Err(e) })
        .ok()?;
    Some((digits, i32::try_from(fraction.len()).ok()? - i32::from(exponent)))
}

/// The resources that a process may be limited in, as `--ulimit` names them.
pub const ULIMIT_NAMES: [&str; 16] = [
    "as",
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// Parses `--ulimit`: `name=soft[:hard]`, −1 meaning unlimited.
pub fn parse_ulimit(text: &str) -> Result<Ulimit, LimitError> {
    let (name, values) = text.split_once('=').ok_or_else(|| LimitError::Ulimit(text.to_owned()))?;
    if !ULIMIT_NAMES.contains(&name) {
        return Err(LimitError::UlimitType(name.to_owned()));
    }
    let number = |text: &str| text.parse::<i64>().map_err(|_| LimitError::Number(text.to_owned()));
    let parts: Vec<&str> = values.split(':').collect();
    let (soft, hard) = match parts[..] {
        [both] => (number(both)?, number(both)?),
        [soft, hard] => (number(soft)?, number(hard)?),
        _ => return Err(LimitError::UlimitValues(values.to_owned())),
    };
    if hard != -1 && soft == -1 {
        return Err(LimitError::SoftUnlimited(hard));
    }
    if hard != -1 && soft > hard {
        return Err(LimitError::SoftAboveHard { soft, hard });
    }
    Ok(Ulimit { name: name.to_owned(), soft, hard })
}

/// Renders a limit as docker's help and inspect do: `nofile=1024:2048`.
pub fn render_ulimit(limit: &Ulimit) -> String {
    format!("{}={}:{}", limit.name, limit.soft, limit.hard)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn cpus_are_read() {
        for (text, nanos) in [
            ("1", 1_000_000_000),
            ("0.5", 500_000_000),
            (".5", 500_000_000),
            ("1/2", 500_000_000),
            ("1e1", 10_000_000_000),
            ("100", 100_000_000_000),
            ("-1", -1_000_000_000),
            ("0.1000000000000", 100_000_000),
            ("5e-1", 500_000_000),
        ] {
            assert_eq!(parse_cpus(text), Ok(nanos), "{text}");
        }
        for (text, message) in [
            ("1.5555555555", "value is too precise"),
            ("0.0000000001", "value is too precise"),
            ("1/3", "value is too precise"),
            ("abc", "failed to parse abc as a rational number"),
            ("", "failed to parse  as a rational number"),
            ("1/0", "failed to parse 1/0 as a rational number"),
            (".", "failed to parse . as a rational number"),
        ] {
            assert_eq!(parse_cpus(text).unwrap_err().to_string(), message, "{text}");
        }
    }

    #[test]
    fn ulimits_are_read_as_docker_does() {
        for (text, soft, hard) in [
            ("nofile=1024", 1024, 1024),
            ("nofile=1024:2048", 1024, 2048),
            ("nofile=-1", -1, -1),
            ("nofile=5:-1", 5, -1),
        ] {
            assert_eq!(parse_ulimit(text), Ok(Ulimit { name: "nofile".into(), soft, hard }), "{text}");
        }
        for (text, message) in [
            ("nofile=2:1", "ulimit soft limit must be less than or equal to hard limit: 2 > 1"),
            ("nofile", "invalid ulimit argument: nofile"),
            ("foo=1", "invalid ulimit type: foo"),
            ("NOFILE=1", "invalid ulimit type: NOFILE"),
            ("nofile=a", "strconv.ParseInt: parsing \"a\": invalid syntax"),
            (
                "nofile=-1:5",
                "ulimit soft limit must be less than or equal to hard limit: soft: -1 (unlimited), hard: 5",
            ),
            (
                "nofile=1:2:3",
                "too many limit value arguments - 1:2:3, can only have up to two, `soft[:hard]`",
            ),
        ] {
            assert_eq!(parse_ulimit(text).unwrap_err().to_string(), message);
        }
    }

    proptest! {
        #[test]
        fn limits_come_back(soft in -1_i64..1 << 40, more in 0_i64..1 << 20) {
            let hard = if soft == -1 { -1 } else { soft + more };
            let limit = Ulimit { name: "nproc".into(), soft, hard };
            prop_assert_eq!(parse_ulimit(&render_ulimit(&limit)), Ok(limit));
        }

        #[test]
        fn any_text_is_parsed_or_refused(text in "[0-9eE./+-]{0,24}") {
            let _ = parse_cpus(&text);
        }
    }
}
