//! The guards against lying documents that a test can take away, to show that it fails without them.
//!
//! Outside of this crate's tests they always stand.

/// One guard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Guard {
    /// What is not a digest is none.
    Digest,
    /// A document is a manifest or an index, never both.
    OneKind,
}

base::guard_switches!(Guard);
