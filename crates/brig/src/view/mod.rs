//! What is printed: the engine's objects in the shapes of Docker's API, and these as tables, JSON and templates.
//!
//! Pure functions: values in, text out; the time of day is an argument.

pub(crate) mod containers;
pub(crate) mod disk;
pub(crate) mod events;
pub(crate) mod format;
#[cfg(test)]
mod golden;
pub(crate) mod images;
pub(crate) mod inspect;
pub(crate) mod networks;
pub(crate) mod select;
pub(crate) mod stats;
pub(crate) mod volumes;

use std::collections::BTreeMap;

/// Cuts an id to the twelve digits that people see.
pub(crate) fn short_id(id: &str) -> &str {
    let bare = id.strip_prefix("sha256:").unwrap_or(id);
    bare.get(..12).unwrap_or(bare)
}

/// Shortens `text` to `width` characters, the last being `…` when something was cut.
pub(crate) fn ellipsis(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut cut: String = text.chars().take(width.saturating_sub(1)).collect();
    cut.push('…');
    cut
}

/// Renders labels on one line: `a=b,c=d`.
pub(crate) fn labels_line(labels: &BTreeMap<String, String>) -> String {
    labels.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_texts_are_cut() {
        assert_eq!(short_id("sha256:0123456789abcdef"), "0123456789ab");
        assert_eq!(short_id("abc"), "abc");
        assert_eq!(ellipsis("abcdef", 6), "abcdef");
        assert_eq!(ellipsis("abcdefg", 6), "abcde…");
    }
}
