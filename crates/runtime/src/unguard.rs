//! Switches single guards off in tests (feature `unguarded`), to show that the tests fail without them. In every other
//! build each guard is on, and this is no code at all.

/// Returns whether the test has switched the guard `name` off.
#[cfg(feature = "unguarded")]
pub(crate) fn off(name: &str) -> bool {
    std::env::var("BRIG_UNGUARD").is_ok_and(|list| list.split(',').any(|off| off == name))
}

/// Returns that the guard is on.
#[cfg(not(feature = "unguarded"))]
pub(crate) const fn off(_name: &str) -> bool {
    false
}
