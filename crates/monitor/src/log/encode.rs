//! One line of output becomes one line of JSON.

use super::Stream;

/// The most that encoding can make of `len` bytes of text: each byte `\u00xx`, and what stands around them.
pub(super) const fn max_encoded(len: usize) -> usize {
    len * 6 + 96
}

/// A fixed buffer that is filled from the front.
pub(super) struct Cursor<'a> {
    buffer: &'a mut [u8],
    used: usize,
}

impl<'a> Cursor<'a> {
    /// Begins to fill `buffer` at `used`; there must be room for all that will be put.
    pub(super) fn new(buffer: &'a mut [u8], used: usize) -> Self {
        Self { buffer, used }
    }

    /// Returns how many bytes are filled.
    pub(super) fn used(&self) -> usize {
        self.used
    }

    fn put(&mut self, bytes: &[u8]) {
        self.buffer[self.used..self.used + bytes.len()].copy_from_slice(bytes);
        self.used += bytes.len();
    }
}

/// Encodes `text`, with a newline at its end if `ends_line`. `attrs` is a JSON object, or nothing.
pub(super) fn record(
    out: &mut Cursor<'_>,
    stream: Stream,
    attrs: &str,
    time: &str,
    text: &[u8],
    ends_line: bool,
) {
    out.put(br#"{"log":""#);
    for chunk in text.utf8_chunks() {
        escape(out, chunk.valid().as_bytes());
        for _ in chunk.invalid() {
            out.put(br"\ufffd");
        }
    }
    if ends_line {
        out.put(br"\n");
    }
    out.put(match stream {
        Stream::Stdout => br#"","stream":"stdout""#,
        Stream::Stderr => br#"","stream":"stderr""#,
    });
    if !attrs.is_empty() {
        out.put(br#","attrs":"#);
        out.put(attrs.as_bytes());
    }
    out.put(br#","time":""#);
    out.put(time.as_bytes());
    out.put(b"\"}\n");
}

/// Bytes that do not stand for themselves; 0xe2 begins U+2028 and U+2029.
const SPECIAL: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 0x20 {
        table[byte] = true;
        byte += 1;
    }
    let others = [b'"', b'\\', b'<', b'>', b'&', 0xe2];
    let mut index = 0;
    while index < others.len() {
        table[others[index] as usize] = true;
        index += 1;
    }
    table
};

fn escape(out: &mut Cursor<'_>, mut text: &[u8]) {
    while let Some(at) = text.iter().position(|byte| SPECIAL[usize::from(*byte)]) {
        out.put(&text[..at]);
        let taken = escape_one(out, &text[at..]);
        text = &text[at + taken..];
    }
    out.put(text);
}

/// Writes the character that `text` begins with and returns its length.
fn escape_one(out: &mut Cursor<'_>, text: &[u8]) -> usize {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    match *text {
        [byte @ (b'"' | b'\\'), ..] => out.put(&[b'\\', byte]),
        [b'\n', ..] => out.put(br"\n"),
        [b'\r', ..] => out.put(br"\r"),
        [0xe2, 0x80, last @ (0xa8 | 0xa9), ..] => {
            out.put(br"\u202");
            out.put(&[HEX[usize::from(last & 15)]]);
            return 3;
        }
        [byte, ..] if byte >= 0x80 => out.put(&[byte]),
        [byte, ..] => {
            out.put(br"\u00");
            out.put(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
        [] => return 0,
    }
    1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(text: &[u8], ends_line: bool) -> String {
        let mut buffer = vec![0; max_encoded(text.len())];
        let mut out = Cursor::new(&mut buffer, 0);
        record(&mut out, Stream::Stderr, "", "T", text, ends_line);
        let used = out.used();
        buffer.truncate(used);
        String::from_utf8(buffer).unwrap()
    }

    #[test]
    fn text_is_escaped_as_docker_escapes_it() {
        for (text, wanted) in [
            (&b"plain"[..], r"plain\n"),
            (b"", r"\n"),
            (b"a\"b\\c\td\re\x1b[0m", r#"a\"b\\c\u0009d\re\u001b[0m\n"#),
            (b"<a href=x>&amp;", r"\u003ca href=x\u003e\u0026amp;\n"),
            ("żółć â \u{2028}\u{2029}\u{1f600}".as_bytes(), "żółć â \\u2028\\u2029\u{1f600}\\n"),
            (b"\xff\xfe ok \xe2\x82", r"\ufffd\ufffd ok \ufffd\ufffd\n"),
        ] {
            let wanted = format!("{{\"log\":\"{wanted}\",\"stream\":\"stderr\",\"time\":\"T\"}}\n");
            assert_eq!(encoded(text, true), wanted);
        }
        assert_eq!(encoded(b"part", false), "{\"log\":\"part\",\"stream\":\"stderr\",\"time\":\"T\"}\n");
    }

    #[test]
    fn the_bound_holds_for_the_worst_text() {
        assert!(encoded(&[1; 16384], true).len() <= max_encoded(16384));
        assert!(encoded(&[0xff; 16384], true).len() <= max_encoded(16384));
    }
}
