//! The closed set of error kinds. Every crate has error enums of its own; each answers [`Kinded::kind`],
//! and each door maps the kind to its own code (exit status, HTTP status) in one function.

use std::error::Error;
use std::fmt::Write as _;

/// What a caller can do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The named object does not exist.
    NotFound,
    /// The input is malformed or out of range.
    Invalid,
    /// An object of that name exists already.
    AlreadyExists,
    /// The object is in a state that does not allow the action.
    Conflict,
    /// The caller may not do this.
    Denied,
    /// It failed now and may succeed later: network, busy, locked.
    Unavailable,
    /// Brig, the kernel or the machine lacks what this needs.
    Unsupported,
    /// The command to run was not found in the container (exit status 127).
    CommandNotFound,
    /// The command to run cannot be executed (exit status 126).
    CommandNotExecutable,
    /// A fault of the machine or of Brig itself.
    Internal,
}

/// An error that knows its [`ErrorKind`].
pub trait Kinded: Error {
    /// Returns what the caller can do about it.
    fn kind(&self) -> ErrorKind;
}

/// Renders `error` and its chain of causes on one line, `outer: cause: cause`.
///
/// A cause whose text the line ends with already is not repeated.
pub fn render_chain(error: &(dyn Error + 'static)) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let text = cause.to_string();
        if !line.ends_with(&text) {
            let _ = write!(line, ": {text}");
        }
        source = cause.source();
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot read \"/x\"")]
    struct Outer(#[source] std::io::Error);

    #[test]
    fn chain_names_each_cause_once() {
        let error = Outer(std::io::Error::new(std::io::ErrorKind::NotFound, "no such file"));
        assert_eq!(render_chain(&error), "cannot read \"/x\": no such file");
    }
}
