//! Signals by name and number, as Linux numbers them on amd64 and arm64.

use base::{ErrorKind, Kinded};

/// The text names no signal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid signal: {0}")]
pub struct SignalError(pub String);

impl Kinded for SignalError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }
}

/// Names without `SIG`; the place in the list is the number less one.
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE",
    "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ",
    "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

/// First real-time signal that a program may use; the C library keeps 32 and 33.
const RTMIN: i32 = 34;
/// Last real-time signal.
const RTMAX: i32 = 64;

/// Parses a signal: `15`, `TERM`, `SIGTERM`, `sigterm`, `RTMIN+3`, `RTMAX-1`.
pub fn parse(text: &str) -> Result<i32, SignalError> {
    let bad = || SignalError(text.to_owned());
    if let Ok(number) = text.parse::<i32>() {
        return if (1..=RTMAX).contains(&number) { Ok(number) } else { Err(bad()) };
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let offset = |text: &str| text.parse::<i32>().ok().filter(|n| (0..=30).contains(n));
    let alias = match name {
        "IOT" => "ABRT",
        "CLD" => "CHLD",
        "POLL" => "IO",
        other => other,
    };
    if let Some(place) = NAMES.iter().position(|known| *known == alias) {
        return i32::try_from(place + 1).map_err(|_| bad());
    }
    match alias {
        "RTMIN" => Ok(RTMIN),
        "RTMAX" => Ok(RTMAX),
        other => {
            let up = other.strip_prefix("RTMIN+").and_then(offset).map(|n| RTMIN + n);
            let down = other.strip_prefix("RTMAX-").and_then(offset).map(|n| RTMAX - n);
            up.or(down).ok_or_else(bad)
        }
    }
}

/// Returns the signal's name, `SIGTERM`; a number that has none is returned as such.
pub fn name(number: i32) -> String {
    let place = usize::try_from(number - 1).ok();
    match place.and_then(|place| NAMES.get(place)) {
        Some(name) => format!("SIG{name}"),
        None if number == RTMIN => "SIGRTMIN".to_owned(),
        None if number == RTMAX => "SIGRTMAX".to_owned(),
        None if (RTMIN..RTMAX).contains(&number) => format!("SIGRTMIN+{}", number - RTMIN),
        None => number.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_read() {
        for (text, number) in [
            ("15", 15),
            ("TERM", 15),
            ("SIGTERM", 15),
            ("sigkill", 9),
            ("SIGRTMIN+3", 37),
            ("RTMAX", 64),
            ("RTMAX-1", 63),
            ("CLD", 17),
            ("WINCH", 28),
        ] {
            assert_eq!(parse(text), Ok(number), "{text}");
        }
        for text in ["foo", "", "0", "65", "-1", "SIG", "RTMIN+99", "RTMIN+", "SIGSIGTERM"] {
            assert_eq!(parse(text).unwrap_err().to_string(), format!("invalid signal: {text}"));
        }
    }

    #[test]
    fn names_come_back() {
        for number in (1..=31).chain(34..=64) {
            assert_eq!(parse(&name(number)), Ok(number));
        }
    }
}
