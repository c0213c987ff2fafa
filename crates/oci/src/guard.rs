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

/// Says whether `guard` stands.
#[cfg(not(test))]
pub(crate) const fn stands(_: Guard) -> bool {
    true
}

#[cfg(test)]
pub(crate) use hook::{stands, without};

#[cfg(test)]
mod hook {
    use super::Guard;
    use std::cell::Cell;

    thread_local!(static AWAY: Cell<Option<Guard>> = const { Cell::new(None) });

    pub(crate) fn stands(guard: Guard) -> bool {
        AWAY.get() != Some(guard)
    }

    /// Runs `f` in this thread without `guard`.
    pub(crate) fn without<T>(guard: Guard, f: impl FnOnce() -> T) -> T {
        AWAY.set(Some(guard));
        let result = f();
        AWAY.set(None);
        result
    }
}
