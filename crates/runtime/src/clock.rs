//! RFC 3339 text of a moment.

/// Renders `seconds` and `nanos` since 1970 as RFC 3339 in UTC.
///
/// The calendar is Howard Hinnant's `civil_from_days`: years begin in March, so that a leap day is the last of its year.
pub(crate) fn rfc3339(seconds: i64, nanos: u32) -> String {
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{nanos:09}Z")
}

/// Renders the present moment.
pub(crate) fn now() -> String {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    rfc3339(time.tv_sec, u32::try_from(time.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::rfc3339;

    #[test]
    fn known_moments() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00.000000001Z"),
            (951_782_400, "2000-02-29T00:00:00.000000001Z"),
            (1_764_547_199, "2025-11-30T23:59:59.000000001Z"),
            (-1, "1969-12-31T23:59:59.000000001Z"),
        ] {
            assert_eq!(rfc3339(seconds, 1), text);
        }
    }
}
