//! Points in time: `--since` and `--until` in all their forms, and how times are printed.

use base::{ErrorKind, Kinded};
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::duration;

/// The text is no point in time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "invalid value for time: failed to parse {0:?}; give a time such as \"2013-01-02T13:23:37Z\", seconds since 1970, or a duration such as \"42m\""
)]
pub struct TimeError(pub String);

impl Kinded for TimeError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }
}

/// What `inspect` prints for a time that never was.
pub const ZERO: &str = "0001-01-01T00:00:00Z";

/// Parses a point in time: RFC 3339 (also without seconds, time or zone; `zone` is meant then), seconds since 1970 with an
/// optional fraction, or a duration before `now`.
pub fn parse(text: &str, now: Timestamp, zone: &TimeZone) -> Result<Timestamp, TimeError> {
    let bad = || TimeError(text.to_owned());
    if let Ok(nanos) = duration::parse(text) {
        return now.checked_sub(SignedDuration::from_nanos(nanos)).map_err(|_| bad());
    }
    if let Some(stamp) = parse_unix(text) {
        return Ok(stamp);
    }
    if let Ok(stamp) = text.parse::<Timestamp>() {
        return Ok(stamp);
    }
    let civil = parse_civil(text).ok_or_else(bad)?;
    Ok(civil.to_zoned(zone.clone()).map_err(|_| bad())?.timestamp())
}

fn parse_unix(text: &str) -> Option<Timestamp> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |t: &str| t.bytes().all(|b| b.is_ascii_digit());
    let unsigned = seconds.strip_prefix('-').unwrap_or(seconds);
    if unsigned.is_empty() || !digits(unsigned) || !digits(fraction) || fraction.len() > 9 {
        return None;
    }
    let nanos: i32 = format!("{fraction:0<9}").parse().ok()?;
    Timestamp::new(seconds.parse().ok()?, nanos).ok()
}

fn parse_civil(text: &str) -> Option<DateTime> {
    let text = text.strip_suffix('Z').unwrap_or(text);
    let full = match text.matches(':').count() {
        0 if text.contains('T') => format!("{text}:00:00"),
        0 => format!("{text}T00:00:00"),
        1 => format!("{text}:00"),
        _ => text.to_owned(),
    };
    full.parse().ok()
}

/// Renders as Go's RFC 3339 with nanoseconds does: `2013-01-02T13:23:37.123456789Z`, no trailing zeros.
pub fn rfc3339(stamp: Timestamp) -> String {
    stamp.to_string()
}

/// Renders with all nine digits, the form of log lines: `2013-01-02T13:23:37.120000000Z`.
pub fn rfc3339_nanos(stamp: Timestamp) -> String {
    format!("{stamp:.9}")
}

/// Gives a UTC time of RFC 3339 all nine digits of its second, as the lines of `logs -t` have them; another text stays.
pub fn all_nanos(text: &str) -> String {
    let Some(time) = text.strip_suffix('Z') else { return text.to_owned() };
    let (seconds, fraction) = time.split_once('.').unwrap_or((time, ""));
    format!("{seconds}.{fraction:0<9}Z")
}

/// Renders as the CREATED AT columns do: `2013-01-02 13:23:37 +0000 UTC`.
pub fn created_at(stamp: Timestamp, zone: &TimeZone) -> String {
    stamp.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S %z %Z").to_string()
}

/// Renders how long ago `stamp` was: `3 minutes ago`.
pub fn ago(stamp: Timestamp, now: Timestamp) -> String {
    format!("{} ago", duration::human(now.as_second() - stamp.as_second()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_gets_all_its_digits() {
        for (text, want) in [
            ("2026-11-23T02:23:50.61021152Z", "2026-11-23T02:23:50.610211520Z"),
            ("2026-11-23T02:23:50Z", "2026-11-23T02:23:50.000000000Z"),
            ("2026-11-23T02:23:50.123456789Z", "2026-11-23T02:23:50.123456789Z"),
            ("2026-11-23T02:23:50+01:00", "2026-11-23T02:23:50+01:00"),
        ] {
            assert_eq!(all_nanos(text), want);
        }
    }

    #[test]
    fn times_are_read_in_all_forms() {
        let now: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
        for (text, stamp) in [
            ("42m", "2026-01-02T02:22:05Z"),
            ("2013-01-02T13:23:37Z", "2013-01-02T13:23:37Z"),
            ("2013-01-02T13:23:37.5Z", "2013-01-02T13:23:37.5Z"),
            ("2013-01-02T13:23:37+02:00", "2013-01-02T11:23:37Z"),
            ("2013-01-02T13:23", "2013-01-02T13:23:00Z"),
            ("2013-01-02T13", "2013-01-02T13:00:00Z"),
            ("2013-01-02", "2013-01-02T00:00:00Z"),
            ("1136073845", "2006-01-01T00:04:05Z"),
            ("1136073845.000000001", "2006-01-01T00:04:05.000000001Z"),
        ] {
            assert_eq!(rfc3339(parse(text, now, &TimeZone::UTC).unwrap()), stamp, "{text}");
        }
        for text in ["", "x", "2013-13-01", "1.2.3", "99999999999999999999"] {
            assert!(parse(text, now, &TimeZone::UTC).is_err(), "{text}");
        }
    }

    #[test]
    fn times_are_printed_as_docker_does() {
        let stamp: Timestamp = "2013-01-02T13:23:37.12Z".parse().unwrap();
        assert_eq!(rfc3339_nanos(stamp), "2013-01-02T13:23:37.120000000Z");
        assert_eq!(created_at(stamp, &TimeZone::UTC), "2013-01-02 13:23:37 +0000 UTC");
        assert_eq!(ago(stamp, "2013-01-02T13:33:37Z".parse().unwrap()), "10 minutes ago");
    }
}
