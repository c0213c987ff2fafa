//! Paths as archives write them: cleaning, splitting, whiteout names. Pure.

use super::guard::{self, Guard};

/// What a member's path means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Target<'a> {
    /// The root folder of the layer.
    Root,
    /// A member: folder above, name.
    Member(&'a [u8], &'a [u8]),
    /// `name` in the folder is gone.
    Whiteout(&'a [u8], &'a [u8]),
    /// What lower layers have in the folder is gone.
    Opaque(&'a [u8]),
    /// Book-keeping of aufs.
    Ignored,
}

/// Writes `path` without leading, double and trailing slashes and `.` into `clean`.
///
/// Fails with the reason for which it is refused.
pub(super) fn clean(path: &[u8], clean: &mut Vec<u8>) -> Result<(), &'static str> {
    clean.clear();
    for part in path.split(|b| *b == b'/') {
        match part {
            b"" | b"." => {}
            b".." if guard::is_on(Guard::DotDot) => return Err("it has \"..\" in its path"),
            part if part.contains(&0) => return Err("it has a NUL in its path"),
            part if part.len() > 255 => return Err("a part of its path is longer than 255 bytes"),
            part => {
                if !clean.is_empty() {
                    clean.push(b'/');
                }
                clean.extend_from_slice(part);
            }
        }
    }
    Ok(())
}

/// Splits a clean path into the folder above and the name.
pub(crate) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|b| *b == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    }
}

/// Says what a clean path means.
///
/// Source: image-spec `layer.md`, "Whiteouts"; aufs's own names begin with `.wh..wh.`.
pub(super) fn interpret(path: &[u8]) -> Result<Target<'_>, &'static str> {
    if path.is_empty() {
        return Ok(Target::Root);
    }
    let (folder, name) = split(path);
    match name.strip_prefix(b".wh.") {
        _ if path.starts_with(b".wh..wh.") && name != b".wh..wh..opq" => Ok(Target::Ignored),
        None => Ok(Target::Member(folder, name)),
        Some(b".wh..opq") => Ok(Target::Opaque(folder)),
        Some(hidden) if hidden.starts_with(b".wh.") => Ok(Target::Ignored),
        Some(b"" | b"." | b"..") => Err("it is a whiteout of nothing"),
        Some(hidden) => Ok(Target::Whiteout(folder, hidden)),
    }
}

/// Paths are bytes; JSON has text. They are kept as hexadecimal digits.
pub(super) mod hex_text {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(path: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&hex::encode(path))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        hex::decode(String::deserialize(from)?).map_err(serde::de::Error::custom)
    }
}

/// The same for lists.
pub(super) mod hex_list {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(paths: &[Vec<u8>], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(paths.iter().map(hex::encode))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Vec<u8>>, D::Error> {
        let paths = Vec::<String>::deserialize(from)?;
        paths.iter().map(|path| hex::decode(path).map_err(serde::de::Error::custom)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned() {
        for (path, wanted) in
            [("a/b", "a/b"), ("./a//b/", "a/b"), ("/etc/x", "etc/x"), ("./", ""), ("/", ""), ("...", "...")]
        {
            let mut cleaned = Vec::new();
            clean(path.as_bytes(), &mut cleaned).unwrap();
            assert_eq!(cleaned, wanted.as_bytes(), "{path}");
        }
        for path in ["..", "../x", "a/../b", "a/..", "/..", "a\0b", &"x".repeat(256)] {
            assert!(clean(path.as_bytes(), &mut Vec::new()).is_err(), "{path:?}");
        }
    }

    #[test]
    fn whiteouts_are_recognised() {
        for (path, wanted) in [
            ("", Ok(Target::Root)),
            ("a/b", Ok(Target::Member(b"a", b"b"))),
            ("a/.wh.b", Ok(Target::Whiteout(b"a", b"b"))),
            (".wh.b", Ok(Target::Whiteout(b"", b"b"))),
            ("a/.wh..wh..opq", Ok(Target::Opaque(b"a"))),
            (".wh..wh..opq", Ok(Target::Opaque(b""))),
            (".wh..wh.plnk/1.2", Ok(Target::Ignored)),
            ("a/.wh..wh.aufs", Ok(Target::Ignored)),
        ] {
            assert_eq!(interpret(path.as_bytes()), wanted, "{path}");
        }
        for path in ["a/.wh.", ".wh..", "a/.wh..."] {
            assert!(interpret(path.as_bytes()).is_err(), "{path}");
        }
    }
}
