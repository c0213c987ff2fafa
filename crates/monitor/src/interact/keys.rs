//! Detach keys: Docker's syntax, and finding them in what is typed.

use crate::error::{Error, Result};

/// The default, `ctrl-p,ctrl-q`.
pub const DEFAULT_DETACH_KEYS: &[u8] = &[16, 17];

/// Parses Docker's syntax: keys joined by commas, each one character, `DEL`, or `ctrl-` and one of `a`–`z @ [ \ ] ^ _`.
///
/// An empty text means the default in Docker's configuration; here it means no keys.
pub fn parse_detach_keys(text: &str) -> Result<Vec<u8>> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    text.split(',')
        .map(|part| {
            parse_key(part).ok_or_else(|| Error::DetachKeys { text: text.to_owned(), part: part.to_owned() })
        })
        .collect()
}

fn parse_key(part: &str) -> Option<u8> {
    match part.as_bytes() {
        [byte] if byte.is_ascii() => Some(*byte),
        b"DEL" => Some(0x7f),
        [b'c' | b'C', b't' | b'T', b'r' | b'R', b'l' | b'L', b'-', key] => match key {
            b'a'..=b'z' => Some(key - b'a' + 1),
            b'@' | b'[' | b'\\' | b']' | b'^' | b'_' => Some(key & 0x1f),
            _ => None,
        },
        _ => None,
    }
}

/// Finds the keys in a stream of input. Keys that may be the beginning of the sequence are held back until that is decided.
#[derive(Debug)]
pub(super) struct Matcher {
    keys: Vec<u8>,
    matched: usize,
}

impl Matcher {
    pub(super) fn new(keys: Vec<u8>) -> Self {
        Self { keys, matched: 0 }
    }

    /// Appends what is input to `typed`; `true` when the sequence is complete: what follows it is dropped.
    pub(super) fn feed(&mut self, data: &[u8], typed: &mut Vec<u8>) -> bool {
        if self.keys.is_empty() {
            typed.extend_from_slice(data);
            return false;
        }
        for byte in data {
            while self.matched > 0 && self.keys[self.matched] != *byte {
                self.fall_back(typed);
            }
            if self.keys[self.matched] == *byte {
                self.matched += 1;
                if self.matched == self.keys.len() {
                    return true;
                }
            } else {
                typed.push(*byte);
            }
        }
        false
    }

    /// Gives up the longest beginning that cannot be one any more.
    fn fall_back(&mut self, typed: &mut Vec<u8>) {
        let held = &self.keys[..self.matched];
        let shorter = (0..self.matched).rev().find(|len| held.ends_with(&self.keys[..*len])).unwrap_or(0);
        typed.extend_from_slice(&held[..self.matched - shorter]);
        self.matched = shorter;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn dockers_syntax_is_understood() {
        for (text, keys) in [
            ("ctrl-p,ctrl-q", Some(&[16, 17][..])),
            ("a", Some(b"a")),
            ("a,b,DEL", Some(&[b'a', b'b', 0x7f])),
            ("ctrl-a,ctrl-z", Some(&[1, 26])),
            ("CTRL-a", Some(&[1])),
            ("ctrl-@,ctrl-[,ctrl-\\,ctrl-],ctrl-^,ctrl-_", Some(&[0, 27, 28, 29, 30, 31])),
            ("", Some(&[])),
            (",", None),
            ("ctrl-", None),
            ("ctrl-1", None),
            ("ctrl-A", None),
            ("ab", None),
            ("a,", None),
            ("é", None),
        ] {
            assert_eq!(parse_detach_keys(text).ok().as_deref(), keys, "{text:?}");
        }
    }

    fn typed(keys: &[u8], pieces: &[&[u8]]) -> (Vec<u8>, bool) {
        let mut matcher = Matcher::new(keys.to_vec());
        let mut out = Vec::new();
        let detached = pieces.iter().any(|piece| matcher.feed(piece, &mut out));
        (out, detached)
    }

    #[test]
    fn the_sequence_is_found_across_reads_and_nothing_else_is_lost() {
        assert_eq!(typed(b"pq", &[b"apq"]), (b"a".to_vec(), true));
        assert_eq!(typed(b"pq", &[b"ap", b"q"]), (b"a".to_vec(), true));
        assert_eq!(typed(b"pq", &[b"ppx"]), (b"ppx".to_vec(), false));
        assert_eq!(typed(b"pq", &[b"ppq"]), (b"p".to_vec(), true));
        assert_eq!(typed(b"aab", &[b"aaab"]), (b"a".to_vec(), true));
        assert_eq!(typed(b"", &[b"pq"]), (b"pq".to_vec(), false));
    }

    proptest! {
        #[test]
        fn the_first_occurrence_detaches(data in "[pqr]{0,30}", keys in "[pq]{1,3}") {
            let (out, detached) = typed(keys.as_bytes(), &[data.as_bytes()]);
            match data.find(&keys) {
                Some(at) => {
                    prop_assert!(detached);
                    prop_assert_eq!(&out, &data.as_bytes()[..at]);
                }
                None => {
                    prop_assert!(!detached);
                    prop_assert!(data.as_bytes().starts_with(&out));
                    prop_assert!(data.len() - out.len() < keys.len());
                }
            }
        }
    }
}
