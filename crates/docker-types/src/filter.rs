//! `--filter key=value`: several values of one key are alternatives (labels: all must match), several keys all must match.

use std::collections::BTreeMap;

use base::{ErrorKind, Kinded};
use regex_lite::Regex;

/// Why a text is no filter. The words are Docker's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// It has no `=`.
    #[error("invalid argument {0:?} for \"-f, --filter\" flag: bad format of filter (expected name=value)")]
    Format(String),
    /// The command does not know the key.
    #[error("invalid filter '{0}'")]
    Key(String),
    /// The key takes another value.
    #[error("invalid filter '{key}={value}'")]
    Value {
        /// The key.
        key: String,
        /// The value.
        value: String,
    },
}

impl Kinded for FilterError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }
}

/// Parsed filters: keys with their values.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filters {
    values: BTreeMap<String, Vec<String>>,
}

impl Filters {
    /// Parses the arguments of all `--filter` flags; only the keys in `known` are let through.
    pub fn parse(texts: &[String], known: &[&str]) -> Result<Self, FilterError> {
        let mut filters = Self::default();
        for text in texts.iter().filter(|text| !text.is_empty()) {
            let (key, value) = text.split_once('=').ok_or_else(|| FilterError::Format(text.clone()))?;
            let key = key.trim().to_ascii_lowercase();
            if !known.contains(&key.as_str()) {
                return Err(FilterError::Key(key));
            }
            filters.values.entry(key).or_default().push(value.trim().to_owned());
        }
        Ok(filters)
    }

    /// Says whether there is no filter at all.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Says whether `key` was given.
    pub fn contains(&self, key: &str) -> bool {
        self.values.contains_key(key)
    }

    /// Returns the values of `key`.
    pub fn get(&self, key: &str) -> &[String] {
        self.values.get(key).map_or(&[], Vec::as_slice)
    }

    /// Returns the boolean value of `key`; other words than true and false are an error.
    pub fn flag(&self, key: &str) -> Result<Option<bool>, FilterError> {
        let Some(value) = self.get(key).last() else { return Ok(None) };
        match crate::mount::parse_bool(value) {
            Some(flag) => Ok(Some(flag)),
            None => Err(FilterError::Value { key: key.to_owned(), value: value.clone() }),
        }
    }

    /// Says whether `value` is one of the values of `key`, or the key was not given.
    pub fn exact(&self, key: &str, value: &str) -> bool {
        self.any(key, |wanted| wanted == value)
    }

    /// Says whether `value` begins with one of the values of `key`, or the key was not given.
    pub fn prefix(&self, key: &str, value: &str) -> bool {
        self.any(key, |wanted| value.starts_with(wanted))
    }

    /// Says whether a value of `key` is found in `value` as a regular expression (as text when it is none),
    /// or the key was not given.
    pub fn pattern(&self, key: &str, value: &str) -> bool {
        self.any(key, |wanted| match Regex::new(wanted) {
            Ok(pattern) => pattern.is_match(value),
            Err(_) => value.contains(wanted),
        })
    }

    /// Says whether `test` holds for one of the values of `key`, or the key was not given.
    pub fn any(&self, key: &str, test: impl Fn(&str) -> bool) -> bool {
        match self.values.get(key) {
            None => true,
            Some(wanted) => wanted.iter().any(|wanted| test(wanted)),
        }
    }

    /// Says whether all values of `key` (`name` or `name=value`) are among `labels`.
    pub fn labels(&self, key: &str, labels: &BTreeMap<String, String>) -> bool {
        self.get(key).iter().all(|wanted| match wanted.split_once('=') {
            Some((name, value)) => labels.get(name).is_some_and(|have| have == value),
            None => labels.contains_key(wanted),
        })
    }

    /// Says whether none of the values of `key` (`name` or `name=value`) is among `labels`: `label!=`.
    pub fn labels_absent(&self, key: &str, labels: &BTreeMap<String, String>) -> bool {
        self.get(key).iter().all(|wanted| match wanted.split_once('=') {
            Some((name, value)) => labels.get(name).is_none_or(|have| have != value),
            None => !labels.contains_key(wanted),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filters(texts: &[&str]) -> Result<Filters, FilterError> {
        let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
        Filters::parse(&texts, &["name", "label", "status", "dangling", "label!"])
    }

    #[test]
    fn values_of_a_key_are_alternatives() {
        let f = filters(&["status=running", "STATUS = paused"]).unwrap();
        assert!(f.exact("status", "paused") && f.exact("status", "running") && !f.exact("status", "exited"));
        assert!(f.exact("name", "anything"));
    }

    #[test]
    fn names_are_patterns() {
        let f = filters(&["name=^/web$"]).unwrap();
        assert!(f.pattern("name", "/web") && !f.pattern("name", "/web2"));
        assert!(filters(&["name=eb"]).unwrap().pattern("name", "/web"));
        assert!(filters(&["name=we("]).unwrap().pattern("name", "/we(b"));
    }

    #[test]
    fn labels_must_all_match() {
        let labels = BTreeMap::from([("a".to_owned(), "1".to_owned()), ("b".to_owned(), String::new())]);
        assert!(filters(&["label=a", "label=a=1"]).unwrap().labels("label", &labels));
        assert!(!filters(&["label=a", "label=c"]).unwrap().labels("label", &labels));
        assert!(!filters(&["label!=a"]).unwrap().labels_absent("label!", &labels));
    }

    #[test]
    fn bad_filters_are_refused_in_dockers_words() {
        assert_eq!(filters(&["foo=x"]).unwrap_err().to_string(), "invalid filter 'foo'");
        assert_eq!(
            filters(&["name"]).unwrap_err().to_string(),
            "invalid argument \"name\" for \"-f, --filter\" flag: bad format of filter (expected name=value)"
        );
        assert_eq!(
            filters(&["dangling=maybe"]).unwrap().flag("dangling").unwrap_err().to_string(),
            "invalid filter 'dangling=maybe'"
        );
    }
}
