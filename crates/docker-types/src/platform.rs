//! Platforms: `os/arch[/variant]`, normalised.

use std::fmt;
use std::str::FromStr;

use base::{ErrorKind, Kinded};

/// Why a text is no platform. The words are Docker's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlatformError {
    /// A part is empty or has other characters.
    #[error(
        "{text:?} is an invalid component of {whole:?}: platform specifier component must match \"^[A-Za-z0-9_-]+$\": invalid argument"
    )]
    Component {
        /// The part.
        text: String,
        /// What was given.
        whole: String,
    },
    /// One word that is neither a system nor an architecture.
    #[error("{0:?}: unknown operating system or architecture: invalid argument")]
    Unknown(String),
    /// More than three parts.
    #[error("{0:?}: cannot parse platform specifier: invalid argument")]
    Parts(String),
}

impl Kinded for PlatformError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }
}

/// A platform, its words normalised: `aarch64` is `arm64`, `x86_64` is `amd64`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Platform {
    /// `linux`.
    pub os: String,
    /// `amd64`, `arm64`, `arm`, ….
    pub architecture: String,
    /// `v7`, `v8`; empty when it is the architecture's normal one.
    pub variant: String,
}

const SYSTEMS: [&str; 12] = [
    "linux",
    "windows",
    "darwin",
    "freebsd",
    "netbsd",
    "openbsd",
    "dragonfly",
    "solaris",
    "android",
    "ios",
    "aix",
    "illumos",
];
const ARCHITECTURES: [&str; 13] = [
    "amd64", "arm64", "arm", "386", "ppc64le", "ppc64", "s390x", "riscv64", "mips64le", "mips64", "mips",
    "mipsle", "loong64",
];

impl FromStr for Platform {
    type Err = PlatformError;

    fn from_str(text: &str) -> Result<Self, PlatformError> {
        let parts: Vec<&str> = text.split('/').collect();
        for part in &parts {
            if part.is_empty() || !part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
            {
                return Err(PlatformError::Component { text: (*part).to_owned(), whole: text.to_owned() });
            }
        }
        let lower: Vec<String> = parts.iter().map(|part| part.to_ascii_lowercase()).collect();
        match &lower[..] {
            [word] => Self::from_word(word).ok_or_else(|| PlatformError::Unknown(text.to_owned())),
            [os, arch] => Ok(Self::normal(os, arch, "")),
            [os, arch, variant] => Ok(Self::normal(os, arch, variant)),
            _ => Err(PlatformError::Parts(text.to_owned())),
        }
    }
}

impl Platform {
    /// Returns the platform of the machine that this program was built for.
    pub fn host() -> Self {
        Self::normal(std::env::consts::OS, std::env::consts::ARCH, "")
    }

    fn from_word(word: &str) -> Option<Self> {
        let host = Self::host();
        if SYSTEMS.contains(&word) || word == "macos" {
            return Some(Self::normal(word, &host.architecture, &host.variant));
        }
        let platform = Self::normal("linux", word, "");
        ARCHITECTURES.contains(&platform.architecture.as_str()).then_some(platform)
    }

    fn normal(os: &str, arch: &str, variant: &str) -> Self {
        let os = if os == "macos" { "darwin" } else { os };
        let (arch, variant) = match (arch, variant) {
            ("x86_64" | "x86-64" | "amd64", "v1" | "") => ("amd64", ""),
            ("x86_64" | "x86-64", variant) => ("amd64", variant),
            ("i386" | "x86", _) => ("386", ""),
            ("aarch64" | "arm64", "8" | "v8" | "") => ("arm64", ""),
            ("aarch64", variant) => ("arm64", variant),
            ("armhf", _) | ("arm", "" | "7") => ("arm", "v7"),
            ("armel", _) | ("arm", "6") => ("arm", "v6"),
            ("arm", "5") => ("arm", "v5"),
            ("arm", "8") => ("arm", "v8"),
            other => other,
        };
        Self { os: os.to_owned(), architecture: arch.to_owned(), variant: variant.to_owned() }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        if self.variant.is_empty() { Ok(()) } else { write!(f, "/{}", self.variant) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platforms_are_normalised() {
        for (text, normal) in [
            ("linux/amd64", "linux/amd64"),
            ("linux/x86_64", "linux/amd64"),
            ("linux/arm64/v8", "linux/arm64"),
            ("arm64", "linux/arm64"),
            ("linux/arm", "linux/arm/v7"),
            ("Linux/ARM/v6", "linux/arm/v6"),
            ("aarch64", "linux/arm64"),
            ("linux/s390x", "linux/s390x"),
        ] {
            assert_eq!(text.parse::<Platform>().unwrap().to_string(), normal, "{text}");
        }
        for (text, message) in [
            ("foo", "\"foo\": unknown operating system or architecture: invalid argument"),
            ("a/b/c/d", "\"a/b/c/d\": cannot parse platform specifier: invalid argument"),
        ] {
            assert_eq!(text.parse::<Platform>().unwrap_err().to_string(), message);
        }
        assert!("".parse::<Platform>().is_err() && "linux/".parse::<Platform>().is_err());
    }
}
