//! One line of JSON becomes one line of output again. Files that Docker wrote read too.

use serde::Deserialize;

/// A decoded record; the text is in the caller's buffer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Record<'a> {
    pub(super) stderr: bool,
    pub(super) time: &'a str,
    /// A JSON object, or nothing.
    pub(super) attrs: &'a str,
}

/// Decodes `line` (without its newline) and puts its text into `text`; `None` for what is no record.
pub(super) fn record<'a>(line: &'a [u8], text: &mut Vec<u8>, time: &'a mut String) -> Option<Record<'a>> {
    text.clear();
    if let Some((stderr, found, attrs)) = ours(line, text) {
        return Some(Record { stderr, time: found, attrs });
    }
    text.clear();
    let general: General<'_> = serde_json::from_slice(line).ok()?;
    text.extend_from_slice(general.log.as_bytes());
    *time = general.time;
    let attrs = general.attrs.map_or("", serde_json::value::RawValue::get);
    Some(Record { stderr: general.stream == "stderr", time, attrs })
}

/// Any order of fields, any further fields (Docker writes `attrs` when asked to).
#[derive(Deserialize)]
struct General<'a> {
    #[serde(default, borrow)]
    attrs: Option<&'a serde_json::value::RawValue>,
    #[serde(default)]
    log: String,
    #[serde(default)]
    stream: String,
    #[serde(default)]
    time: String,
}

/// Decodes the form that is always written, several times as fast.
fn ours<'a>(line: &'a [u8], text: &mut Vec<u8>) -> Option<(bool, &'a str, &'a str)> {
    let rest = unescape(line.strip_prefix(br#"{"log":""#)?, text)?;
    let rest = rest.strip_prefix(br#","stream":"std"#)?;
    let (stderr, rest) = match rest.split_first_chunk::<3>()? {
        (b"out", rest) => (false, rest),
        (b"err", rest) => (true, rest),
        _ => return None,
    };
    let rest = rest.strip_prefix(b"\"")?.strip_suffix(br#""}"#)?;
    const TIME: &[u8] = br#","time":""#;
    let (attrs, time) = match rest.strip_prefix(br#","attrs":"#) {
        None => (&b""[..], rest.strip_prefix(TIME)?),
        Some(rest) => {
            // A moment has no quote, so that the last of these is ours, whatever stands in the attributes.
            let at = rest.windows(TIME.len()).rposition(|window| window == TIME)?;
            (&rest[..at], &rest[at + TIME.len()..])
        }
    };
    let plain = time.iter().all(|byte| byte.is_ascii() && !matches!(byte, b'"' | b'\\'));
    let time = std::str::from_utf8(time).ok().filter(|_| plain)?;
    Some((stderr, time, std::str::from_utf8(attrs).ok()?))
}

/// Takes the string's text up to its quote and returns what follows the quote.
fn unescape<'a>(mut rest: &'a [u8], text: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        let at = rest.iter().position(|byte| matches!(byte, b'"' | b'\\'))?;
        text.extend_from_slice(&rest[..at]);
        let after = &rest[at + 1..];
        if rest[at] == b'"' {
            return Some(after);
        }
        let (escape, after) = after.split_first()?;
        rest = after;
        match escape {
            b'n' => text.push(b'\n'),
            b'r' => text.push(b'\r'),
            b't' => text.push(b'\t'),
            b'"' | b'\\' | b'/' => text.push(*escape),
            b'u' => {
                let (digits, after) = rest.split_first_chunk::<4>()?;
                let code = u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
                // Halves of a pair are left to the general parser.
                let mut bytes = [0; 4];
                text.extend_from_slice(char::from_u32(code)?.encode_utf8(&mut bytes).as_bytes());
                rest = after;
            }
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Stream;
    use super::super::encode::{self, Cursor, max_encoded};
    use super::*;
    use proptest::prelude::*;

    fn decoded(line: &[u8]) -> Option<(bool, String, Vec<u8>)> {
        let (mut text, mut time) = (Vec::new(), String::new());
        let found = record(line, &mut text, &mut time).map(|record| (record.stderr, record.time.to_owned()));
        found.map(|(stderr, time)| (stderr, time, text))
    }

    #[test]
    fn other_writers_lines_read_too() {
        for line in [
            r#"{"stream":"stderr","log":"a\tb\n","time":"T"}"#,
            r#"{"log":"a\tb\n","stream":"stderr","attrs":{"k":"v"},"time":"T"}"#,
            r#"{"log":"a\tb\n","stream":"stderr","time":"T"}"#,
        ] {
            assert_eq!(decoded(line.as_bytes()), Some((true, "T".into(), b"a\tb\n".to_vec())), "{line}");
        }
        let pair = decoded(br#"{"log":"\ud83d\ude00","stream":"stdout","time":"T"}"#).unwrap();
        assert_eq!(pair.2, "\u{1f600}".as_bytes());
        for line in ["", "{", r#"{"log":"a"#, r#"{"log":"\"#, "null"] {
            assert_eq!(decoded(line.as_bytes()), None, "{line}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(text in ".{0,80}", stderr in any::<bool>()) {
            let mut buffer = vec![0; max_encoded(text.len())];
            let mut out = Cursor::new(&mut buffer, 0);
            let stream = if stderr { Stream::Stderr } else { Stream::Stdout };
            encode::record(&mut out, stream, "", "T", text.as_bytes(), false);
            let used = out.used();
            prop_assert_eq!(decoded(&buffer[..used - 1]), Some((stderr, "T".to_owned(), text.into_bytes())));
        }

        #[test]
        fn any_bytes_are_a_record_or_none(line in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = decoded(&line);
        }
    }
}
