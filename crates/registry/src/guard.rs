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

base::guard_switches!(Guard);
