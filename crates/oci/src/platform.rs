//! Platforms (`linux/arm64/v8`): parsing, normal form, and which platforms a machine can use in place of another.
//! The rules are those of containerd's `platforms` package.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An operating system and processor, in normal form once parsed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Platform {
    /// Operating system in Go's words, such as `linux`.
    #[serde(default)]
    pub os: String,
    /// Processor in Go's words, such as `amd64`.
    #[serde(default)]
    pub architecture: String,
    /// Variant of the processor, such as `v7`; empty for the usual one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub variant: String,
    /// Version of the operating system (Windows images only).
    #[serde(default, rename = "os.version", skip_serializing_if = "String::is_empty")]
    pub os_version: String,
}

/// The text names no platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid platform {text:?}: \"os[/architecture[/variant]]\" is wanted, such as \"linux/arm64\"")]
pub struct InvalidPlatform {
    /// What was given.
    pub text: String,
}

impl Platform {
    /// Returns the platform of the program itself.
    pub fn host() -> Self {
        Self { os: "linux".to_owned(), ..Self::default() }.with_architecture(std::env::consts::ARCH, "")
    }

    /// Makes a platform in normal form.
    pub fn new(os: &str, architecture: &str, variant: &str) -> Self {
        Self { os: normal_os(os), ..Self::default() }.with_architecture(architecture, variant)
    }

    /// Returns the normal form: other spellings replaced, the usual variant left out.
    pub fn normalize(&self) -> Self {
        let mut normal = Self::new(&self.os, &self.architecture, &self.variant);
        normal.os_version.clone_from(&self.os_version);
        normal
    }

    fn with_architecture(mut self, architecture: &str, variant: &str) -> Self {
        let (architecture, variant) = normal_architecture(architecture, variant);
        self.architecture = architecture;
        self.variant = variant;
        self
    }

    /// Lists the platforms whose images run here, best first: this one, then older variants.
    ///
    /// `linux/arm/v7` gives v7, v6, v5; `linux/arm64/v9` gives v9 and the usual v8. With `other_architectures`
    /// the 32-bit sibling follows (`amd64` → `386`, `arm64` → `arm`), as when no platform was asked for.
    pub fn candidates(&self, other_architectures: bool) -> Vec<Self> {
        let normal = self.normalize();
        let mut all = vec![normal.clone()];
        let older = |architecture: &str, from: u32, to: u32| {
            let os = normal.os.clone();
            let architecture = architecture.to_owned();
            (to..=from)
                .rev()
                .map(move |n| Self::new(&os, &architecture, &format!("v{n}")))
                .collect::<Vec<_>>()
        };
        let level = normal.variant.strip_prefix('v').and_then(|v| v.split('.').next()?.parse::<u32>().ok());
        match (normal.architecture.as_str(), level) {
            ("amd64", Some(level @ 2..=9)) => all.extend(older("amd64", level - 1, 1)),
            ("arm64", Some(level @ 8..=9)) => all.extend(older("arm64", level, 8)),
            ("arm", Some(level @ 6..=9)) => all.extend(older("arm", level - 1, 5)),
            _ => {}
        }
        if other_architectures {
            match normal.architecture.as_str() {
                "amd64" => all.push(Self::new(&normal.os, "386", "")),
                "arm64" => all.extend(older("arm", 8, 5)),
                _ => {}
            }
        }
        all.dedup();
        all
    }
}

fn normal_os(os: &str) -> String {
    match os.to_ascii_lowercase().as_str() {
        "macos" => "darwin".to_owned(),
        other => other.to_owned(),
    }
}

fn normal_architecture(architecture: &str, variant: &str) -> (String, String) {
    let architecture = architecture.to_ascii_lowercase();
    let variant = variant.to_ascii_lowercase();
    let (architecture, variant) = match (architecture.as_str(), variant.as_str()) {
        ("i386" | "i486" | "i586" | "i686" | "x86" | "386", _) => ("386", ""),
        ("x86_64" | "x86-64" | "amd64", "v1") => ("amd64", ""),
        ("x86_64" | "x86-64" | "amd64", variant) => ("amd64", variant),
        ("aarch64" | "arm64", "8" | "v8" | "v8.0" | "8.0") => ("arm64", ""),
        ("aarch64" | "arm64", "9" | "9.0" | "v9.0") => ("arm64", "v9"),
        ("aarch64" | "arm64", variant) => ("arm64", variant),
        ("armhf", _) => ("arm", "v7"),
        ("armel", _) => ("arm", "v6"),
        ("arm", "" | "7") => ("arm", "v7"),
        ("arm", "5") => ("arm", "v5"),
        ("arm", "6") => ("arm", "v6"),
        ("arm", "8") => ("arm", "v8"),
        ("powerpc64le", variant) => ("ppc64le", variant),
        ("loongarch64", variant) => ("loong64", variant),
        (architecture, variant) => (architecture, variant),
    };
    (architecture.to_owned(), variant.to_owned())
}

impl FromStr for Platform {
    type Err = InvalidPlatform;

    /// Reads `os/architecture[/variant]`, or one word: a known system, or else a processor of Linux.
    fn from_str(text: &str) -> Result<Self, InvalidPlatform> {
        let invalid = || InvalidPlatform { text: text.to_owned() };
        let word = |w: &&str| {
            w.starts_with(|c: char| c.is_ascii_alphanumeric())
                && w.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
        };
        let parts: Vec<&str> = text.split('/').collect();
        if !parts.iter().all(word) {
            return Err(invalid());
        }
        match parts.as_slice() {
            [one] => match normal_os(one).as_str() {
                os @ ("linux" | "windows" | "darwin" | "freebsd") => {
                    Ok(Self::new(os, std::env::consts::ARCH, ""))
                }
                _ if is_known_architecture(one) => Ok(Self::new("linux", one, "")),
                _ => Err(invalid()),
            },
            [os, architecture] => Ok(Self::new(os, architecture, "")),
            [os, architecture, variant] => Ok(Self::new(os, architecture, variant)),
            _ => Err(invalid()),
        }
    }
}

fn is_known_architecture(text: &str) -> bool {
    let (architecture, _) = normal_architecture(text, "");
    matches!(
        architecture.as_str(),
        "386" | "amd64" | "arm" | "arm64" | "loong64" | "mips64le" | "ppc64le" | "riscv64" | "s390x"
    )
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
    fn other_spellings_become_normal() {
        for (text, normal) in [
            ("linux/x86_64", "linux/amd64"),
            ("linux/arm64/v8", "linux/arm64"),
            ("aarch64", "linux/arm64"),
            ("armhf", "linux/arm/v7"),
            ("linux/arm", "linux/arm/v7"),
            ("Linux/ARM/6", "linux/arm/v6"),
            ("linux/amd64/v1", "linux/amd64"),
            ("linux/amd64/v3", "linux/amd64/v3"),
            ("windows/amd64", "windows/amd64"),
        ] {
            assert_eq!(text.parse::<Platform>().unwrap().to_string(), normal, "{text}");
        }
        for text in ["", "/", "linux/", "nonsense", "a/b/c/d", "linux/a b", "linux/../x"] {
            assert!(text.parse::<Platform>().is_err(), "{text}");
        }
    }

    #[test]
    fn older_variants_follow() {
        let list = |text: &str, other| {
            let platform: Platform = text.parse().unwrap();
            platform.candidates(other).iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(list("linux/arm/v7", false), "linux/arm/v7 linux/arm/v6 linux/arm/v5");
        assert_eq!(list("linux/amd64/v3", false), "linux/amd64/v3 linux/amd64/v2 linux/amd64");
        assert_eq!(list("linux/amd64", true), "linux/amd64 linux/386");
        assert_eq!(
            list("linux/arm64", true),
            "linux/arm64 linux/arm/v8 linux/arm/v7 linux/arm/v6 linux/arm/v5"
        );
        assert_eq!(list("linux/s390x", true), "linux/s390x");
    }
}
