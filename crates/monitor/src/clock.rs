//! Moments as text (RFC 3339, UTC) and back, without a calendar library: the monitor's memory is counted in pages.

use rustix::time::{ClockId, clock_gettime};

/// A moment: nanoseconds since 1970 in UTC.
pub type UnixNanos = i128;

const NANOS: i128 = 1_000_000_000;
const DAY: i64 = 86_400;

/// Returns the present moment.
pub(crate) fn now() -> UnixNanos {
    let now = clock_gettime(ClockId::Realtime);
    i128::from(now.tv_sec) * NANOS + i128::from(now.tv_nsec)
}

/// Renders moments as Go's `time.RFC3339Nano` does (no trailing zeros); remembers the last second.
#[derive(Debug)]
pub(crate) struct Renderer {
    second: i64,
    // "2026-11-23T00:10:24.123456789Z" at most.
    text: [u8; 30],
}

impl Default for Renderer {
    fn default() -> Self {
        Self { second: i64::MIN, text: *b"1970-01-01T00:00:00.000000000Z" }
    }
}

impl Renderer {
    /// Renders `moment`.
    pub(crate) fn render(&mut self, moment: UnixNanos) -> &str {
        let second = i64::try_from(moment.div_euclid(NANOS)).unwrap_or(0);
        if second != self.second {
            self.render_second(second);
        }
        let mut nanos = moment.rem_euclid(NANOS) as u32;
        let mut end = 20;
        for place in (20..29).rev() {
            let digit = (nanos % 10) as u8;
            nanos /= 10;
            if digit != 0 && end == 20 {
                end = place + 1;
            }
            self.text[place] = b'0' + digit;
        }
        // Without a fraction the point goes too.
        let end = if end == 20 { 19 } else { end };
        self.text[19] = b'.';
        self.text[end] = b'Z';
        std::str::from_utf8(&self.text[..=end]).unwrap_or("")
    }

    fn render_second(&mut self, second: i64) {
        let (year, month, day) = civil(second.div_euclid(DAY));
        let rest = second.rem_euclid(DAY);
        let fields = [
            (0, 4, year),
            (5, 2, month),
            (8, 2, day),
            (11, 2, rest / 3600),
            (14, 2, rest / 60 % 60),
            (17, 2, rest % 60),
        ];
        for (at, width, value) in fields {
            let mut value = value;
            for place in (at..at + width).rev() {
                self.text[place] = b'0' + (value % 10) as u8;
                value /= 10;
            }
        }
        self.second = second;
    }
}

/// Renders one moment, see [`Renderer`].
pub(crate) fn render(moment: UnixNanos) -> String {
    Renderer::default().render(moment).to_owned()
}

/// Parses an RFC 3339 moment in UTC (`Z`) or with an offset.
pub fn parse(text: &str) -> Option<UnixNanos> {
    let bytes = text.as_bytes();
    let digits = |from: usize, to: usize| -> Option<i64> {
        let part = bytes.get(from..to)?;
        part.iter().try_fold(0, |sum, byte| byte.is_ascii_digit().then(|| sum * 10 + i64::from(byte - b'0')))
    };
    let at = |index: usize, wanted: u8| (bytes.get(index)?.eq_ignore_ascii_case(&wanted)).then_some(());
    at(4, b'-').and(at(7, b'-')).and(at(10, b'T')).and(at(13, b':')).and(at(16, b':'))?;
    let (year, month, day) = (digits(0, 4)?, digits(5, 7)?, digits(8, 10)?);
    let (hour, minute, second) = (digits(11, 13)?, digits(14, 16)?, digits(17, 19)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let (nanos, rest) = fraction(bytes.get(19..)?)?;
    let offset = offset(rest)?;
    let seconds = days(year, month, day) * DAY + hour * 3600 + minute * 60 + second - offset;
    Some(i128::from(seconds) * NANOS + i128::from(nanos))
}

/// Splits `.123` off; digits after the ninth are dropped.
fn fraction(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let Some(rest) = bytes.strip_prefix(b".") else { return Some((0, bytes)) };
    let len = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let mut nanos = 0;
    for place in 0..9 {
        nanos = nanos * 10 + rest[..len].get(place).map_or(0, |byte| u32::from(byte - b'0'));
    }
    (len > 0).then_some((nanos, &rest[len..]))
}

/// Parses `Z`, `+01:00` or `-01:00` into seconds.
fn offset(bytes: &[u8]) -> Option<i64> {
    match bytes {
        b"Z" | b"z" => Some(0),
        [sign @ (b'+' | b'-'), a, b, b':', c, d] if [a, b, c, d].iter().all(|byte| byte.is_ascii_digit()) => {
            let value = |high: &u8, low: &u8| i64::from((high - b'0') * 10 + (low - b'0'));
            let seconds = value(a, b) * 3600 + value(c, d) * 60;
            Some(if *sign == b'-' { -seconds } else { seconds })
        }
        _ => None,
    }
}

/// Returns year, month and day of a day since 1970 (proleptic Gregorian; eras of 400 years that begin in March).
fn civil(day: i64) -> (i64, i64, i64) {
    let day = day + 719_468;
    let era = day.div_euclid(146_097);
    let of_era = day.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, of_year - (153 * shifted + 2) / 5 + 1)
}

/// The inverse of [`civil`].
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let shifted = if month > 2 { month - 3 } else { month + 9 };
    let of_year = (153 * shifted + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_render_as_go_renders_them() {
        for (moment, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (1, "1970-01-01T00:00:00.000000001Z"),
            (951_827_696_120_000_000, "2000-02-29T12:34:56.12Z"),
            (4_107_542_399_999_999_999, "2100-02-28T23:59:59.999999999Z"),
            (1_795_392_624 * NANOS, "2026-11-23T00:10:24Z"),
        ] {
            assert_eq!(render(moment), text);
            assert_eq!(parse(text), Some(moment), "{text}");
        }
    }

    #[test]
    fn one_renderer_renders_many() {
        let mut renderer = Renderer::default();
        assert_eq!(renderer.render(1_500_000_000), "1970-01-01T00:00:01.5Z");
        assert_eq!(renderer.render(1_000_000_000), "1970-01-01T00:00:01Z");
        assert_eq!(renderer.render(1_123_456_789), "1970-01-01T00:00:01.123456789Z");
        assert_eq!(renderer.render(61_000_000_000), "1970-01-01T00:01:01Z");
    }

    #[test]
    fn offsets_are_taken_off_and_nonsense_is_refused() {
        assert_eq!(parse("1970-01-01T01:00:00+01:00"), Some(0));
        assert_eq!(parse("1969-12-31T22:59:59.5-01:00"), Some(-500_000_000));
        for text in
            ["", "1970-01-01", "1970-13-01T00:00:00Z", "1970-01-01T00:00:00", "1970-01-01T00:00:00.Z", "x"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
