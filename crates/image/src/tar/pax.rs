//! Pax records: `length key=value\n`, before the header that they extend.

use super::Timestamp;

/// Splits the next record off `records`: key, value, rest.
///
/// Source: POSIX `pax`, "pax Extended Header".
pub(super) fn split(records: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let blank = records.iter().take(20).position(|b| *b == b' ')?;
    let length = usize::try_from(decimal(&records[..blank])?).ok()?;
    if length <= blank + 1 || length > records.len() || records[length - 1] != b'\n' {
        return None;
    }
    let record = &records[blank + 1..length - 1];
    let equals = record.iter().position(|b| *b == b'=')?;
    let key = &record[..equals];
    (!key.is_empty() && !key.contains(&0)).then_some((key, &record[equals + 1..], &records[length..]))
}

/// Reads digits only.
pub(super) fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0_u64, |value, digit| match digit {
        b'0'..=b'9' => value.checked_mul(10)?.checked_add(u64::from(digit - b'0')),
        _ => None,
    })
}

/// Reads `[-]seconds[.fraction]`; digits beyond nanoseconds are dropped.
pub(super) fn timestamp(text: &[u8]) -> Option<Timestamp> {
    let (negative, text) = match text.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let point = text.iter().position(|b| *b == b'.').unwrap_or(text.len());
    let seconds = i64::try_from(decimal(&text[..point])?).ok()?;
    let fraction = text.get(point + 1..).unwrap_or_default();
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digits = fraction.iter().copied().chain(std::iter::repeat(b'0')).take(9);
    let nanoseconds = digits.fold(0_u32, |value, digit| value * 10 + u32::from(digit - b'0'));
    Some(match (negative, nanoseconds) {
        (false, _) => Timestamp { seconds, nanoseconds },
        (true, 0) => Timestamp { seconds: -seconds, nanoseconds: 0 },
        (true, _) => Timestamp { seconds: -seconds - 1, nanoseconds: 1_000_000_000 - nanoseconds },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_split() {
        let (key, value, rest) = split(b"12 path=a/b\n6 a=\n").unwrap();
        assert_eq!((key, value, rest), (&b"path"[..], &b"a/b"[..], &b"6 a=\n"[..]));
        let (key, value, rest) = split(b"10 k=\0\n=\0\n").unwrap();
        assert_eq!((key, value, rest), (&b"k"[..], &b"\0\n=\0"[..], &b""[..]));
        for bad in [
            &b""[..],
            b"5",
            b"0 a=\n",
            b"4 =\n",
            b"99 a=b\n",
            b"6 ab\n\n",
            b"7 a=b\n",
            b"-6 a=\n",
            b"18446744073709551617 a=\n",
        ] {
            assert!(split(bad).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn times_have_nanoseconds() {
        let time = |text: &[u8]| timestamp(text).map(|t| (t.seconds, t.nanoseconds));
        assert_eq!(time(b"1.5"), Some((1, 500_000_000)));
        assert_eq!(time(b"1.0000000019"), Some((1, 1)));
        assert_eq!(time(b"-1.25"), Some((-2, 750_000_000)));
        assert_eq!(time(b"7"), Some((7, 0)));
        for bad in [&b""[..], b".5", b"1.x", b"1e3", b"99999999999999999999", b"--1"] {
            assert_eq!(time(bad), None, "{bad:?}");
        }
    }
}
