//! The guards against hostile registries that a test can take away, to show that it fails without them.
//!
//! Outside of tests they always stand.

/// One guard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Guard {
    /// A redirect to another host carries no credential.
    CredentialsStay,
    /// A challenge of a host that was reached by a redirect is not answered.
    OnlyTheRegistryIsAnswered,
    /// No redirect and no token server leads from TLS to plain HTTP.
    NoWayOutOfTls,
    /// A document has the digest that was asked and announced.
    DocumentDigest,
    /// A blob has as many bytes as its descriptor says, and a range is the one that was asked.
    BlobLength,
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
