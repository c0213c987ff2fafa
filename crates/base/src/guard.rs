//! The switches of guards: a test can take one away, to show that it fails without it. Outside of the tests of the crate
//! that has the guards they always stand, and there is no switch.

/// Defines `stands(guard)` for the guards that the type `$guard` lists and, in tests, `without(guard, f)`, which runs `f` in
/// its thread with that guard away.
#[macro_export]
macro_rules! guard_switches {
    ($guard:ident) => {
        /// Says whether the guard stands.
        #[cfg(not(test))]
        pub(crate) const fn stands(_: $guard) -> bool {
            true
        }

        #[cfg(test)]
        pub(crate) use switches::{stands, without};

        #[cfg(test)]
        mod switches {
            use super::$guard;
            use std::cell::Cell;

            thread_local!(static AWAY: Cell<Option<$guard>> = const { Cell::new(None) });

            pub(crate) fn stands(guard: $guard) -> bool {
                AWAY.get() != Some(guard)
            }

            /// Runs `f` in this thread without `guard`.
            pub(crate) fn without<T>(guard: $guard, f: impl FnOnce() -> T) -> T {
                AWAY.set(Some(guard));
                let result = f();
                AWAY.set(None);
                result
            }
        }
    };
}
