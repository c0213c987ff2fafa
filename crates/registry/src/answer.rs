//! What an HTTP status means here, and what a registry says beside it.

use std::time::{Duration, SystemTime};

use serde::Deserialize;

use crate::error::{Error, Result, clean};
use crate::transport::{Answer, Asked};

/// More of an error's body is not read.
const LONGEST_ERROR: u64 = 64 << 10;

/// Returns `answer` if it is a success, else the error that it means.
pub(crate) fn expect_success(answer: Answer, asked: &Asked, logged_in: bool) -> Result<Answer> {
    if (200..300).contains(&answer.status) { Ok(answer) } else { Err(error_of(answer, asked, logged_in)) }
}

/// Makes the error of an answer that is no success; reads its body.
pub(crate) fn error_of(answer: Answer, asked: &Asked, logged_in: bool) -> Error {
    let status = answer.status;
    let retry_after =
        answer.header("retry-after").and_then(|text| parse_retry_after(text, SystemTime::now()));
    let elsewhere = answer.elsewhere.then(|| answer.url.authority.clone());
    // An error's body that breaks leaves its status, which is what counts.
    let detail = answer.read(LONGEST_ERROR).map(|bytes| detail_of(&bytes)).unwrap_or_default();
    let (what, domain) = (asked.what.clone(), asked.domain.clone());
    let registry = match elsewhere {
        Some(host) => format!("{} (redirected to {host})", asked.registry),
        None => asked.registry.clone(),
    };
    match status {
        404 => Error::NotFound { what, registry, detail },
        401 | 403 if !registry.contains("(redirected") => {
            Error::Denied { what, registry, domain, logged_in, detail }
        }
        429 => Error::RateLimited { what, registry, domain, retry_after, detail },
        _ => Error::Status { what, registry, status, retry_after, detail },
    }
}

#[derive(Deserialize)]
struct ErrorBody {
    #[serde(default)]
    errors: Vec<ErrorItem>,
    #[serde(default)]
    details: Option<String>,
    #[serde(default)]
    error_description: Option<String>,
}

#[derive(Deserialize)]
struct ErrorItem {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

/// Returns what an error's body says; a body that is not the specification's JSON says nothing.
fn detail_of(bytes: &[u8]) -> String {
    let Ok(body) = serde_json::from_slice::<ErrorBody>(bytes) else { return String::new() };
    let item = body.errors.into_iter().next();
    let said = item.map(|item| if item.message.is_empty() { item.code.to_lowercase() } else { item.message });
    clean(&said.or(body.details).or(body.error_description).unwrap_or_default())
}

/// Reads `Retry-After`: seconds, or a date of HTTP (RFC 9110, 10.2.3).
fn parse_retry_after(text: &str, now: SystemTime) -> Option<Duration> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let at = SystemTime::UNIX_EPOCH + Duration::from_secs(parse_http_date(text)?);
    Some(at.duration_since(now).unwrap_or_default())
}

/// Reads `Sun, 06 Nov 1994 08:49:37 GMT` as seconds since 1970.
fn parse_http_date(text: &str) -> Option<u64> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let words: Vec<&str> = text.split([' ', ':']).collect();
    let [_, day, month, year, hour, minute, second, "GMT"] = words.as_slice() else { return None };
    let number = |text: &str| text.parse::<u64>().ok();
    let month = MONTHS.iter().position(|name| name == month)? as u64 + 1;
    let (day, year) = (number(day)?, number(year)?);
    if !(1970..10_000).contains(&year) || !(1..=31).contains(&day) {
        return None;
    }
    // Days since 1970-03-01 plus the 59 before it: a year that begins in March has its leap day at its end.
    let (y, m) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1;
    let since_epoch = days.checked_sub(719_468)?;
    Some(
        ((since_epoch * 24 + number(hour)?.min(23)) * 60 + number(minute)?.min(59)) * 60
            + number(second)?.min(60),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_read() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        for (text, seconds) in [
            ("7", Some(7)),
            ("Sun, 06 Nov 1994 08:49:47 GMT", Some(10)),
            ("Sun, 06 Nov 1994 08:49:00 GMT", Some(0)),
            ("Tue, 29 Feb 2000 00:00:00 GMT", Some(951_782_400 - 784_111_777)),
            ("soon", None),
            ("-1", None),
            ("Sun, 06 Nov 0000 08:49:47 GMT", None),
        ] {
            assert_eq!(parse_retry_after(text, now), seconds.map(Duration::from_secs), "{text}");
        }
    }

    #[test]
    fn the_registrys_words_are_found() {
        for (body, said) in [
            (r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#, "manifest unknown"),
            (r#"{"errors":[{"code":"DENIED"}]}"#, "denied"),
            (r#"{"details":"incorrect username or password"}"#, "incorrect username or password"),
            ("<html>", ""),
            ("", ""),
        ] {
            assert_eq!(detail_of(body.as_bytes()), said, "{body}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_header_and_no_body_makes_us_panic(text in "\\PC*", bytes: Vec<u8>, date in "[A-Z][a-z]{2}, [0-9]{1,20} [A-Z][a-z]{2} [0-9]{1,20} [0-9]{1,20}:[0-9]{1,20}:[0-9]{1,20} GMT") {
            let _ = parse_retry_after(&text, SystemTime::UNIX_EPOCH);
            let _ = parse_retry_after(&date, SystemTime::UNIX_EPOCH);
            proptest::prop_assert!(detail_of(&bytes).len() <= 2000);
        }
    }
}
