//! The guards of living trees that tests can switch off, each to show that its test fails without it. In the program
//! they are always on: the switches do not exist there.

use rustix::fs::{OFlags, ResolveFlags};

/// A guard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Guard {
    /// Typed paths are resolved beneath the root.
    InRoot,
    /// Nothing below that is opened through links.
    Links,
    /// A file is made anew, never written through what has its name already.
    Replace,
    /// `..` in a member's path is refused.
    DotDot,
}

#[cfg(test)]
thread_local! {
    static OFF: std::cell::RefCell<Vec<Guard>> = const { std::cell::RefCell::new(Vec::new()) };
}

/// Says whether a guard is on.
pub(crate) fn is_on(guard: Guard) -> bool {
    #[cfg(test)]
    if OFF.with_borrow(|off| off.contains(&guard)) {
        return false;
    }
    let _ = guard;
    true
}

/// Switches guards off for the calling thread.
#[cfg(test)]
pub(crate) fn switch_off(guards: &[Guard]) {
    OFF.set(guards.to_vec());
}

/// Flags that keep something from being opened through a link.
pub(crate) fn no_links() -> OFlags {
    if is_on(Guard::Links) { OFlags::NOFOLLOW } else { OFlags::empty() }
}

/// Flags that keep a file from being written through what is there.
pub(crate) fn anew() -> OFlags {
    if is_on(Guard::Replace) { OFlags::EXCL | OFlags::NOFOLLOW } else { OFlags::TRUNC }
}

/// How typed paths are resolved.
pub(crate) fn in_root() -> ResolveFlags {
    match is_on(Guard::InRoot) {
        true => ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
        false => ResolveFlags::NO_MAGICLINKS,
    }
}
