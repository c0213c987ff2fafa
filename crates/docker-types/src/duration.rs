//! Durations: Go's syntax (`1h30m`, `500ms`) and the rounded words of docker's tables (`About an hour`).

use base::{ErrorKind, Kinded};

/// Nanoseconds of a second.
const SECOND: i64 = 1_000_000_000;

/// Why a text is no duration. The words are Go's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// It is not of the form `[+-]<number><unit>…`, or too large.
    #[error("time: invalid duration {0:?}")]
    Malformed(String),
    /// A number has no unit.
    #[error("time: missing unit in duration {0:?}")]
    MissingUnit(String),
    /// A unit is none of ns, us, ms, s, m, h.
    #[error("time: unknown unit {unit:?} in duration {text:?}")]
    UnknownUnit {
        /// The unit.
        unit: String,
        /// What was given.
        text: String,
    },
}

impl Kinded for DurationError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }
}

/// Parses Go's syntax into nanoseconds: `300ms`, `-1.5h`, `2h45m`, `0`.
pub fn parse(text: &str) -> Result<i64, DurationError> {
    let malformed = || DurationError::Malformed(text.to_owned());
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(malformed());
    }
    let mut total: i128 = 0;
    while !rest.is_empty() {
        let number_len = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, after) = rest.split_at(number_len);
        let unit_len = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, next) = after.split_at(unit_len);
        let whole = decimal(number).ok_or_else(malformed)?;
        if unit.is_empty() {
            return Err(DurationError::MissingUnit(text.to_owned()));
        }
        let scale = scale(unit)
            .ok_or_else(|| DurationError::UnknownUnit { unit: unit.to_owned(), text: text.to_owned() })?;
        total = whole.times(scale).and_then(|part| total.checked_add(part)).ok_or_else(malformed)?;
        rest = next;
    }
    let total = i64::try_from(total).map_err(|_| malformed())?;
    Ok(if negative { -total } else { total })
}

/// A decimal number: its digits and how many of them are behind the point.
struct Decimal {
    digits: i128,
    places: u32,
}

impl Decimal {
    fn times(&self, scale: i64) -> Option<i128> {
        Some(self.digits.checked_mul(i128::from(scale))? / 10_i128.checked_pow(self.places)?)
    }
}

fn decimal(number: &str) -> Option<Decimal> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
        return None;
    }
    // Digits below the nanosecond have no effect and would overflow.
    let fraction = &fraction[..fraction.len().min(15)];
    let digits = format!("{whole}{fraction}").parse().ok()?;
    Some(Decimal { digits, places: u32::try_from(fraction.len()).ok()? })
}

fn scale(unit: &str) -> Option<i64> {
    Some(match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => SECOND,
        "m" => 60 * SECOND,
        "h" => 3600 * SECOND,
        _ => return None,
    })
}

/// Renders nanoseconds in Go's form: `1h30m0s`, `1.5s`, `2ms`, `0s`.
pub fn render(nanoseconds: i64) -> String {
    let sign = if nanoseconds < 0 { "-" } else { "" };
    let nanos = nanoseconds.unsigned_abs();
    let part = |value: u64, unit: u64| {
        let text = format!("{}.{:0width$}", value / unit, value % unit, width = unit.ilog10() as usize);
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    };
    match nanos {
        0 => "0s".to_owned(),
        1..1_000 => format!("{sign}{nanos}ns"),
        1_000..1_000_000 => format!("{sign}{}µs", part(nanos, 1_000)),
        1_000_000..1_000_000_000 => format!("{sign}{}ms", part(nanos, 1_000_000)),
        _ => {
            let (hours, rest) = (nanos / 3_600_000_000_000, nanos % 3_600_000_000_000);
            let (minutes, rest) = (rest / 60_000_000_000, rest % 60_000_000_000);
            let seconds = part(rest, 1_000_000_000);
            match (hours, minutes) {
                (0, 0) => format!("{sign}{seconds}s"),
                (0, _) => format!("{sign}{minutes}m{seconds}s"),
                _ => format!("{sign}{hours}h{minutes}m{seconds}s"),
            }
        }
    }
}

/// Renders a span of time for people: `Less than a second`, `12 seconds`, `About an hour`, `3 weeks`.
pub fn human(seconds: i64) -> String {
    let minutes = seconds / 60;
    // Hours are rounded to the nearest, the others are cut.
    let hours = (seconds + 1800).div_euclid(3600);
    match (seconds, minutes, hours) {
        (..1, _, _) => "Less than a second".to_owned(),
        (1, _, _) => "1 second".to_owned(),
        (..60, _, _) => format!("{seconds} seconds"),
        (_, 1, _) => "About a minute".to_owned(),
        (_, ..60, _) => format!("{minutes} minutes"),
        (_, _, 1) => "About an hour".to_owned(),
        (_, _, ..48) => format!("{hours} hours"),
        (_, _, ..336) => format!("{} days", hours / 24),
        (_, _, ..1440) => format!("{} weeks", hours / 24 / 7),
        (_, _, ..17520) => format!("{} months", hours / 24 / 30),
        _ => format!("{} years", seconds / 3600 / 24 / 365),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn go_syntax_is_read() {
        for (text, nanos) in [
            ("0", 0),
            ("1s", SECOND),
            ("1h30m", 5400 * SECOND),
            ("1.5h", 5400 * SECOND),
            ("300ms", 300_000_000),
            ("-2m", -120 * SECOND),
            ("+5s", 5 * SECOND),
            (".5s", SECOND / 2),
            ("1us", 1000),
            ("1µs", 1000),
            ("2h45m1ns", 9900 * SECOND + 1),
        ] {
            assert_eq!(parse(text), Ok(nanos), "{text}");
        }
    }

    #[test]
    fn other_text_is_refused_in_gos_words() {
        for (text, message) in [
            ("x", "time: invalid duration \"x\""),
            ("", "time: invalid duration \"\""),
            ("1", "time: missing unit in duration \"1\""),
            ("1x", "time: unknown unit \"x\" in duration \"1x\""),
            ("1.2.3s", "time: invalid duration \"1.2.3s\""),
            ("99999999999h", "time: invalid duration \"99999999999h\""),
            ("-", "time: invalid duration \"-\""),
        ] {
            assert_eq!(parse(text).unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn spans_read_as_in_docker_ps() {
        for (seconds, text) in [
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "About a minute"),
            (119, "About a minute"),
            (120, "2 minutes"),
            (3599, "59 minutes"),
            (3600, "About an hour"),
            (5399, "About an hour"),
            (5400, "2 hours"),
            (47 * 3600, "47 hours"),
            (48 * 3600, "2 days"),
            (14 * 86400, "2 weeks"),
            (60 * 86400, "2 months"),
            (800 * 86400, "2 years"),
        ] {
            assert_eq!(human(seconds), text, "{seconds}");
        }
    }

    proptest! {
        #[test]
        fn parse_reverses_render(nanos in i64::MIN / 4..i64::MAX / 4) {
            prop_assert_eq!(parse(&render(nanos)), Ok(nanos));
        }

        #[test]
        fn any_text_is_parsed_or_refused(text in ".{0,16}") {
            let _ = parse(&text);
        }
    }
}
