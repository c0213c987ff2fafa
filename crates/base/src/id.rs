//! Container identities: 64 lower-case hexadecimal digits, of which people see the first twelve.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The identity of a container: 64 lower-case hexadecimal digits.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ContainerId(String);

/// The text is not 64 lower-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid container id {text:?}: 64 lower-case hexadecimal digits are wanted")]
pub struct InvalidId {
    /// What was given.
    pub text: String,
}

impl ContainerId {
    /// Makes an id from 32 random bytes; the caller brings the randomness.
    pub fn from_random(bytes: [u8; 32]) -> Self {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble & 15)]);
        Self(bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect())
    }

    /// Returns all 64 digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the first twelve digits, the form that people see.
    pub fn short(&self) -> &str {
        &self.0[..12]
    }
}

impl FromStr for ContainerId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let valid = text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if valid { Ok(Self(text.to_owned())) } else { Err(InvalidId { text: text.to_owned() }) }
    }
}

impl TryFrom<String> for ContainerId {
    type Error = InvalidId;

    fn try_from(text: String) -> Result<Self, InvalidId> {
        text.parse()
    }
}

impl From<ContainerId> for String {
    fn from(id: ContainerId) -> Self {
        id.0
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ContainerId({})", self.short())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_bytes_become_hexadecimal() {
        let mut bytes = [0; 32];
        bytes[0] = 0xa7;
        let id = ContainerId::from_random(bytes);
        assert_eq!(id.short(), "a70000000000");
        assert_eq!(id.as_str().parse::<ContainerId>(), Ok(id));
    }

    #[test]
    fn other_text_is_refused() {
        for text in ["", "a7", "../../../etc", &"A".repeat(64), &"é".repeat(32)] {
            assert!(text.parse::<ContainerId>().is_err(), "{text}");
        }
    }
}
