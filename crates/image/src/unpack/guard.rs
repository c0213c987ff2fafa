//! The guards of unpacking that tests can switch off, each to show that its test fails without it. In the program they
//! are always on: the switches do not exist there.

use rustix::fs::OFlags;

/// A guard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Guard {
    /// Folders on the way are not opened through links.
    FolderLinks,
    /// A file is made anew, never written through what has its name already.
    Replace,
    /// `..` in a member's path is refused (and would stop at the layer's root otherwise).
    DotDot,
    /// Overlayfs's own marks are not taken from an archive.
    Marks,
}

#[cfg(test)]
thread_local! {
    static OFF: std::cell::Cell<Option<Guard>> = const { std::cell::Cell::new(None) };
}

/// Says whether a guard is on.
pub(super) fn is_on(guard: Guard) -> bool {
    #[cfg(test)]
    if OFF.get() == Some(guard) {
        return false;
    }
    let _ = guard;
    true
}

/// Switches one guard off for the calling thread.
#[cfg(test)]
pub(super) fn switch_off(guard: Option<Guard>) {
    OFF.set(guard);
}

/// Flags that keep a folder from being opened through a link.
pub(super) fn no_links() -> OFlags {
    if is_on(Guard::FolderLinks) { OFlags::NOFOLLOW } else { OFlags::empty() }
}

/// Flags that keep a file from being written through what is there.
pub(super) fn anew() -> OFlags {
    if is_on(Guard::Replace) { OFlags::EXCL | OFlags::NOFOLLOW } else { OFlags::empty() }
}
