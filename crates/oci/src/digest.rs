//! Content digests, `sha256:` followed by 64 lower-case hexadecimal digits.
//!
//! Nothing else is a digest here: what is not one never reaches a path or a request.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::guard::{Guard, stands};

/// A SHA-256 content digest.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(String);

/// The text is not a digest that Brig accepts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid digest {text:?}: \"sha256:\" and 64 lower-case hexadecimal digits are wanted")]
pub struct InvalidDigest {
    /// What was given.
    pub text: String,
}

impl Digest {
    /// Returns the digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self::from_sha256(Sha256::digest(bytes).into())
    }

    /// Returns the digest whose 32 raw bytes are `hash`.
    pub fn from_sha256(hash: [u8; 32]) -> Self {
        Self(format!("sha256:{}", hex::encode(hash)))
    }

    /// Returns the whole text, `sha256:…`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the 64 hexadecimal digits; safe as a file name.
    pub fn hex(&self) -> &str {
        &self.0["sha256:".len()..]
    }

    /// Returns the first twelve digits, the form that people see.
    pub fn short(&self) -> &str {
        &self.hex()[..12]
    }
}

impl FromStr for Digest {
    type Err = InvalidDigest;

    fn from_str(text: &str) -> Result<Self, InvalidDigest> {
        let valid = text.strip_prefix("sha256:").is_some_and(|hex| {
            !stands(Guard::Digest)
                || hex.len() == 64 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        });
        if valid { Ok(Self(text.to_owned())) } else { Err(InvalidDigest { text: text.to_owned() }) }
    }
}

impl TryFrom<String> for Digest {
    type Error = InvalidDigest;

    fn try_from(text: String) -> Result<Self, InvalidDigest> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sha256_is_a_digest() {
        let good = Digest::of(b"");
        assert_eq!(good.as_str(), "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        assert_eq!(good.as_str().parse::<Digest>(), Ok(good));
        for bad in
            ["", "sha256:", "sha256:..", "md5:00", &format!("sha256:{}", "G".repeat(64)), "sha256:/../x"]
        {
            assert!(bad.parse::<Digest>().is_err(), "{bad}");
        }
    }

    /// moby#44327, CVE-2024-3727: a digest becomes the name of a file and the path of a request.
    #[test]
    fn no_digest_leads_out_of_the_store() {
        let store = std::path::Path::new("/store/blobs/sha256");
        let leads_out = || {
            let given: Digest = serde_json::from_str(r#""sha256:../../../etc/passwd""#).ok()?;
            Some(store.join(given.hex()).components().any(|part| part == std::path::Component::ParentDir))
        };
        assert_eq!(leads_out(), None);
        assert_eq!(crate::guard::without(Guard::Digest, leads_out), Some(true), "the test proves nothing");
    }
}
