//! Sizes as people write and read them: `512m` in flags (binary), `1.23kB` in output (decimal).
//!
//! Source: the behaviour of docker's `--memory` and of the SIZE columns.

use base::{ErrorKind, Kinded};

/// Why a text is no size. The words are Docker's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SizeError {
    /// It has no number in front.
    #[error("invalid size: '{0}'")]
    Size(String),
    /// Its number is malformed.
    #[error("strconv.ParseFloat: parsing {0:?}: invalid syntax")]
    Number(String),
    /// Its unit is unknown.
    #[error("invalid suffix: '{0}'")]
    Suffix(String),
    /// It is larger than 2⁶³ − 1 bytes.
    #[error("size is too large: '{0}'")]
    Range(String),
}

impl Kinded for SizeError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }
}

/// Parses a size in bytes, its units being powers of 1024: `512m`, `1.5G`, `10kb`, `1KiB`.
pub fn parse_binary(text: &str) -> Result<i64, SizeError> {
    parse(text, 1024.0)
}

/// Parses a size in bytes, its units being powers of 1000: `10kB` is 10,000.
pub fn parse_decimal(text: &str) -> Result<i64, SizeError> {
    parse(text, 1000.0)
}

fn parse(text: &str, step: f64) -> Result<i64, SizeError> {
    let bad = || SizeError::Size(text.to_owned());
    let number_end = text.rfind(|c: char| c.is_ascii_digit() || c == '.').ok_or_else(bad)? + 1;
    let (number, rest) = text.split_at(number_end);
    let (number, suffix) = match rest.strip_prefix(' ') {
        Some(suffix) if !suffix.is_empty() => (number, suffix),
        Some(_) => return Err(SizeError::Number(number.to_owned())),
        None => (number, rest),
    };
    if number.starts_with('-') || number.is_empty() || suffix.starts_with(['+', '-']) {
        return Err(bad());
    }
    let plain = number.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-'));
    let value: f64 =
        number.parse().ok().filter(|_| plain).ok_or_else(|| SizeError::Number(number.to_owned()))?;
    let bytes = value * step.powi(exponent(suffix)?);
    // 2⁶³ as a float; Docker wraps to a negative number here, which helps nobody.
    if bytes >= 9_223_372_036_854_775_808.0 {
        return Err(SizeError::Range(text.to_owned()));
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the range is checked above; the fraction of a byte is dropped"
    )]
    Ok(bytes as i64)
}

fn exponent(suffix: &str) -> Result<i32, SizeError> {
    let lower = suffix.to_ascii_lowercase();
    let unit = match lower.as_str() {
        "" | "b" => return Ok(0),
        other => other.strip_suffix("ib").or_else(|| other.strip_suffix('b')).unwrap_or(other),
    };
    match unit {
        "k" => Ok(1),
        "m" => Ok(2),
        "g" => Ok(3),
        "t" => Ok(4),
        "p" => Ok(5),
        _ => Err(SizeError::Suffix(lower)),
    }
}

/// Renders `bytes` with decimal units and three significant digits: `1.23kB`, the form of docker's tables.
pub fn human(bytes: i64) -> String {
    human_with(bytes, 3)
}

/// Renders `bytes` with decimal units and `digits` significant digits.
pub fn human_with(bytes: i64, digits: usize) -> String {
    with_units(bytes, 1000.0, &["B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"], digits)
}

/// Renders `bytes` with binary units and four significant digits: `1.906GiB`, the form of `docker info`.
pub fn human_binary(bytes: i64) -> String {
    with_units(bytes, 1024.0, &["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"], 4)
}

fn with_units(bytes: i64, step: f64, units: &[&str], digits: usize) -> String {
    #[expect(clippy::cast_precision_loss, reason = "four digits are shown")]
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= step && unit + 1 < units.len() {
        value /= step;
        unit += 1;
    }
    format!("{}{}", significant(value, digits), units[unit])
}

/// Renders like C's `%.<digits>g`: `digits` significant digits, no trailing zeros, an exponent when it is needed.
pub fn significant(value: f64, digits: usize) -> String {
    let digits = digits.max(1);
    let scientific = format!("{:.*e}", digits - 1, value);
    let Some((mantissa, exponent)) = scientific.split_once('e') else { return scientific };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let precision = i32::try_from(digits).unwrap_or(i32::MAX);
    if exponent < -4 || exponent >= precision {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{}e{sign}{:02}", trim_zeros(mantissa), exponent.abs());
    }
    let decimals = usize::try_from(precision - 1 - exponent).unwrap_or(0);
    trim_zeros(&format!("{value:.decimals$}")).to_owned()
}

fn trim_zeros(text: &str) -> &str {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn docker_accepts_these() {
        for (text, bytes) in [
            ("512m", 536_870_912),
            ("1g", 1 << 30),
            ("1.5G", 1_610_612_736),
            ("10kb", 10_240),
            ("1KiB", 1024),
            ("1 m", 1 << 20),
            ("1b", 1),
            ("1TB", 1 << 40),
            (".5m", 524_288),
            ("1e3", 1000),
            ("4", 4),
            ("6mib", 6_291_456),
            ("8p", 9_007_199_254_740_992),
            ("0", 0),
        ] {
            assert_eq!(parse_binary(text), Ok(bytes), "{text}");
        }
        assert_eq!(parse_decimal("10kB"), Ok(10_000));
        assert_eq!(parse_decimal("1.5 GB"), Ok(1_500_000_000));
    }

    #[test]
    fn docker_refuses_these_in_these_words() {
        for (text, message) in [
            ("abc", "invalid size: 'abc'"),
            ("-1", "invalid size: '-1'"),
            ("", "invalid size: ''"),
            ("1z", "invalid suffix: 'z'"),
            ("1.5.5", "strconv.ParseFloat: parsing \"1.5.5\": invalid syntax"),
            ("9999999999g", "size is too large: '9999999999g'"),
            ("infinity1", "strconv.ParseFloat: parsing \"infinity1\": invalid syntax"),
        ] {
            assert_eq!(parse_binary(text).unwrap_err().to_string(), message, "{text}");
        }
    }

    #[test]
    fn sizes_render_as_docker_prints_them() {
        for (bytes, text) in [
            (0, "0B"),
            (999, "999B"),
            (1000, "1kB"),
            (1234, "1.23kB"),
            (7_340_000, "7.34MB"),
            (117_000_000, "117MB"),
            (999_999, "1e+03kB"),
            (1_500_000_000, "1.5GB"),
        ] {
            assert_eq!(human(bytes), text);
        }
        assert_eq!(human_binary(2_046_820_352), "1.906GiB");
        assert_eq!(human_with(12_345_678, 4), "12.35MB");
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_or_refused(text in ".{0,12}") {
            if let Ok(bytes) = parse_binary(&text) {
                prop_assert!(bytes >= 0);
            }
        }

        #[test]
        fn whole_numbers_come_back(bytes in 0_i64..(1 << 50)) {
            prop_assert_eq!(parse_binary(&bytes.to_string()), Ok(bytes));
        }
    }
}
